package logging

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/uuid"

	"nextbest"
)

// touchedBy says whether the events after a position change the rows of a
// query, by the plain reference.
func (l *randomLog) touchedBy(q nextbest.Query, after uint64) bool {
	now := l.rows(q)
	if after == 0 {
		return len(now) > 0 // position 0 is before everything; as Upto it would be the end
	}
	q.Upto = after
	before := l.rows(q)
	if len(before) != len(now) {
		return true
	}
	for k, r := range now {
		if b, ok := before[k]; !ok || b.matched != r.matched || !near(b.reward, r.reward) {
			return true
		}
	}
	return false
}

// TestTouchedAgainstReference asks about random stretches of random logs. What
// changes a row must never be missed; what changes none may be said to, but
// seldom, and only where an aggregation leaves something out.
func TestTouchedAgainstReference(t *testing.T) {
	store := testStore(t)
	var yes, no, wrong int
	for seed := range uint64(2) {
		rng := rand.New(rand.NewPCG(seed, 17))
		for _, table := range []string{tableDecisions, tableRewards, tableRewardReports} {
			if err := store.conn.Exec(t.Context(), "TRUNCATE TABLE "+table); err != nil {
				t.Fatal(err)
			}
		}
		log := newRandomLog(rng, 60, 300)
		log.insert(t, store, rng)
		for range 20 {
			q := randomQuery(rng, log.last)
			end := q.Upto
			if end == 0 {
				end = log.last
			}
			after := end - min(end, 1+rng.Uint64N(150))
			want := log.touchedBy(q, after)
			got, err := store.Touched(t.Context(), q, after)
			if err != nil {
				t.Fatalf("seed %d, after %d, %+v: %v", seed, after, q, err)
			}
			switch {
			case want && !got:
				t.Fatalf("seed %d: what came after %d changes rows and was missed: %+v", seed, after, q)
			case want:
				yes++
			case got:
				wrong++
				if a := q.Objective.Aggregation; a == "" || a == "sum" {
					t.Errorf("seed %d: nothing after %d changes a row of %+v", seed, after, q)
				}
			default:
				no++
			}
		}
	}
	t.Logf("%d changed, %d not, %d not and yet said to", yes, no, wrong)
	if yes < 5 || no < 5 || wrong > no/4 {
		t.Errorf("%d changed, %d not, %d not and yet said to", yes, no, wrong)
	}
}

// TestTouched names the cases that matter to live learning.
func TestTouched(t *testing.T) {
	store := testStore(t)
	rng := rand.New(rand.NewPCG(3, 3))
	decide := func(customer string, at time.Duration) nextbest.Decision {
		d := fullDecision(rng, t0.Add(at))
		d.Customer, d.Placement, d.SetAside = customer, "web@1", false
		return d
	}
	old, recent := decide("a", 0), decide("a", 50*time.Minute)
	reward := func(id string, at time.Duration, d *nextbest.Decision, customer string) nextbest.Reward {
		r := nextbest.Reward{ID: id, Kind: "purchase", Value: 1, Time: t0.Add(at), Slot: 1, Customer: customer}
		if d != nil {
			r.DecisionID = d.ID
		}
		return r
	}
	first := reward("first", time.Minute, &old, "")
	log := &randomLog{last: 3, decisions: []placedDecision{{1, old}, {2, recent}}, reports: []placedReward{{3, first}}}
	q := nextbest.Query{Placement: "web", To: t0.Add(30 * time.Minute), MatureAt: t0.Add(90 * time.Minute), SkipSetAside: true,
		Objective: nextbest.Objective{Terms: []nextbest.Term{{Reward: "purchase", Weight: 1}}, Window: nextbest.Duration(time.Hour)}}
	corrected, withdrawn, moved, visit := first, first, first, first
	corrected.Value = 2
	withdrawn.Withdrawn = true
	moved.Time = t0.Add(2 * time.Hour)
	visit.ID, visit.Kind = "visit", "visit"
	aside := decide("b", time.Minute)
	aside.SetAside = true
	for _, c := range []struct {
		name  string
		event any
		want  bool
	}{
		{"a decision after the range", decide("b", 45*time.Minute), false},
		{"a decision in the range", decide("b", 10*time.Minute), true},
		{"a decision in the range, set aside", aside, false},
		{"the same decision again", old, false},
		{"a reward of a decision after the range", reward("r1", 55*time.Minute, &recent, ""), false},
		{"a reward of a decision in the range", reward("r2", 55*time.Minute, &old, ""), true},
		{"a reward after the window", reward("r3", 61*time.Minute, &old, ""), false},
		{"a reward of a kind that does not count", visit, false},
		{"the same reward again", first, false},
		{"a correction", corrected, true},
		{"a withdrawal", withdrawn, true},
		{"a reward moved out of the window", moved, true},
		{"a reward that names the customer before the later decision", reward("r4", 40*time.Minute, nil, "a"), true},
		{"a reward that names the customer after it", reward("r5", 55*time.Minute, nil, "a"), false},
		{"a reward of a stranger", reward("r6", time.Minute, nil, "nobody"), false},
		{"a reward of an unknown decision", nextbest.Reward{ID: "r7", Kind: "purchase", Value: 1, Time: t0.Add(time.Minute), Slot: 1, DecisionID: uuid.UUID{1}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, table := range []string{tableDecisions, tableRewards, tableRewardReports} {
				if err := store.conn.Exec(t.Context(), "TRUNCATE TABLE "+table); err != nil {
					t.Fatal(err)
				}
			}
			now := *log
			now.last = 4
			switch e := c.event.(type) {
			case nextbest.Decision:
				now.decisions = append(now.decisions[:2:2], placedDecision{4, e})
			case nextbest.Reward:
				now.reports = append(now.reports[:1:1], placedReward{4, e})
			}
			now.insert(t, store, rng)
			if now.touchedBy(q, 3) != c.want {
				t.Fatal("the reference disagrees with the table")
			}
			if got, err := store.Touched(t.Context(), q, 3); err != nil || got != c.want {
				t.Errorf("%v, %v; want %v", got, err, c.want)
			}
			if got, err := store.Touched(t.Context(), q, 4); err != nil || got {
				t.Errorf("after everything: %v, %v", got, err)
			}
		})
	}
}
