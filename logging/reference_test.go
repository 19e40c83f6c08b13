package logging

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"nextbest"
)

// randomLog is a small log made of the awkward cases: times on a coarse grid, so
// that rewards fall exactly on decisions and on the ends of windows; ties; late,
// repeated, corrected, moved and withdrawn rewards; rewards that name unknown
// decisions and strangers; several placements, versions, sources, arms and
// slots; decisions delivered twice, the second time with other contents.
type randomLog struct {
	decisions []placedDecision
	reports   []placedReward
	shown     []placedImpression
	last      uint64 // position
}

type placedDecision struct {
	position uint64
	d        nextbest.Decision
}

type placedReward struct {
	position uint64
	r        nextbest.Reward
}

type placedImpression struct {
	position uint64
	m        nextbest.Impression
}

const grid = 10 * time.Minute

func newRandomLog(rng *rand.Rand, decisions, reports int) *randomLog {
	l := &randomLog{}
	pick := func(texts ...string) string { return texts[rng.IntN(len(texts))] }
	moment := func() time.Time { return t0.Add(time.Duration(rng.IntN(120)) * grid) }
	customers := make([]string, 12)
	for i := range customers {
		customers[i] = fmt.Sprintf("%x", rng.Uint64()>>(8*rng.IntN(7)))
	}
	customers[0] = "" // an import without customers
	all := []string{"mens-email", "womens-email", "call", "do-nothing"}
	for range decisions {
		l.last++
		at := moment()
		d := nextbest.Decision{
			ID: newID(at, rng), Slot: 1, Time: at, Placement: pick("web@1", "web@2", "email@1"), Customer: customers[rng.IntN(len(customers))],
			Source: pick("live", "live", "import-1"), Policy: pick("p@1", "p@2"), Features: pick("f@1", "f@2"), Experiment: pick("", "exp@1", "exp@2", "other@1"),
			SetAside: rng.IntN(5) == 0, Floor: float64(rng.IntN(3)) / 100, Context: []byte(fmt.Sprintf(`{"n":%d}`, rng.IntN(1000))),
			Key: pick("", "k1", "k2", "k'3"), Model: rng.Uint64N(3),
		}
		if d.Experiment != "" {
			d.Arm = pick("holdout", "a", "b")
			d.Arms = []nextbest.ArmProbability{{Arm: "holdout", Share: 0.2}, {Arm: "a", Share: 0.3, Policy: "p@1"}, {Arm: "b", Share: 0.5, Policy: "p@2"}}
			for k := range d.Arms {
				d.Arms[k].Probability, d.Arms[k].Floor = rng.Float64(), rng.Float64()
			}
		}
		for _, a := range all[rng.IntN(4):] {
			d.Eligible = append(d.Eligible, a)
			d.Probabilities = append(d.Probabilities, rng.Float64())
		}
		d.Action = d.Eligible[rng.IntN(len(d.Eligible))]
		if d.Action == "do-nothing" {
			d.Excluded = []nextbest.Exclusion{{Action: "call", Reason: nextbest.ReasonCap, Detail: "1 of 1"}}
		} else {
			d.Treatment, d.Channel = "t", pick("email", "phone")
		}
		d.Propensity = d.Probabilities[0]
		for range 3 {
			d.X = append(d.X, rng.Float32())
		}
		l.decisions = append(l.decisions, placedDecision{l.last, d})
		if rng.IntN(4) == 0 { // a second slot of the same call
			e := d
			e.Slot = 2
			l.decisions = append(l.decisions, placedDecision{l.last, e})
		}
		if rng.IntN(10) == 0 { // delivered again, changed: the first stays
			l.last++
			e := d
			e.Customer, e.Action = customers[rng.IntN(len(customers))], e.Eligible[0]
			l.decisions = append(l.decisions, placedDecision{l.last, e})
		}
	}
	for range reports {
		l.last++
		r := nextbest.Reward{
			ID: fmt.Sprintf("r%d", rng.IntN(reports*3/4)), Kind: pick("visit", "purchase", "opt_out"), Value: float64(rng.IntN(2000)-500) / 7,
			Time: moment().Add(time.Duration(rng.IntN(3)-1) * time.Microsecond), Slot: 1, Withdrawn: rng.IntN(8) == 0,
		}
		about := l.decisions[rng.IntN(len(l.decisions))].d
		switch rng.IntN(5) {
		case 0, 1:
			r.DecisionID, r.Slot = about.ID, uint8(1+rng.IntN(2))
			r.Time = about.Time.Add(time.Duration(rng.IntN(12)) * grid)
		case 2, 3:
			if r.Customer = about.Customer; r.Customer == "" {
				r.Customer = "stranger"
			}
		case 4:
			r.DecisionID = newID(r.Time, rng)
			if rng.IntN(2) == 0 {
				r.DecisionID, r.Customer = uuid.Nil, "stranger"
			}
		}
		l.reports = append(l.reports, placedReward{l.last, r})
	}
	// A customer whose only decision comes after the reward, and a decision that
	// comes after the reward that names it.
	l.last += 3
	late := nextbest.Decision{ID: newID(t0.Add(80*grid), rng), Slot: 1, Time: t0.Add(80 * grid), Placement: "web@1", Customer: "late", Source: "live", Policy: "p@1",
		Action: "call", Eligible: []string{"call"}, Probabilities: []float64{1}, Propensity: 1, X: []float32{1, 2, 3}, Context: []byte(`{}`)}
	l.decisions = append(l.decisions, placedDecision{l.last - 2, late})
	l.reports = append(l.reports,
		placedReward{l.last - 1, nextbest.Reward{ID: "early-1", Kind: "visit", Value: 1, Time: t0.Add(20 * grid), Slot: 1, Customer: "late"}},
		placedReward{l.last, nextbest.Reward{ID: "early-2", Kind: "visit", Value: 1, Time: t0.Add(20 * grid), Slot: 1, DecisionID: late.ID}})
	for range decisions / 2 {
		l.last++
		about := l.decisions[rng.IntN(len(l.decisions))].d
		status := []nextbest.ImpressionStatus{nextbest.Shown, nextbest.Delivered, nextbest.Bounced, nextbest.NotShown, nextbest.Overridden}[rng.IntN(5)]
		m := nextbest.Impression{DecisionID: about.ID, Slot: about.Slot, Status: status, Time: about.Time.Add(time.Second)}
		if status == nextbest.Overridden {
			m.Action = pick("call", "do-nothing", "")
		}
		l.shown = append(l.shown, placedImpression{l.last, m})
	}
	return l
}

// insert puts the log into the store in shuffled pieces, some of them twice.
func (l *randomLog) insert(t testing.TB, s *Store, rng *rand.Rand) {
	t.Helper()
	send := func(in *inserter) {
		if in.rows() == 0 {
			return
		}
		if err := s.insert(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
	for range 4 {
		d, r, m := newDecisionColumns(), newRewardColumns(), newImpressionColumns()
		for _, i := range rng.Perm(len(l.decisions)) {
			if rng.IntN(3) == 0 {
				d.append(l.decisions[i].position, int(l.decisions[i].d.Slot), &l.decisions[i].d)
			}
		}
		for _, i := range rng.Perm(len(l.reports)) {
			if rng.IntN(3) == 0 {
				r.append(l.reports[i].position, 0, &l.reports[i].r)
			}
		}
		for _, i := range rng.Perm(len(l.shown)) {
			if rng.IntN(3) == 0 {
				m.append(l.shown[i].position, 0, &l.shown[i].m)
			}
		}
		send(&d.inserter)
		send(&r.inserter)
		send(&inserter{table: tableRewardReports, input: r.input})
		send(&m.inserter)
	}
	d, r, m := newDecisionColumns(), newRewardColumns(), newImpressionColumns()
	for i := range l.decisions {
		d.append(l.decisions[i].position, int(l.decisions[i].d.Slot), &l.decisions[i].d)
	}
	for i := range l.reports {
		r.append(l.reports[i].position, 0, &l.reports[i].r)
	}
	for i := range l.shown {
		m.append(l.shown[i].position, 0, &l.shown[i].m)
	}
	send(&d.inserter)
	send(&r.inserter)
	send(&inserter{table: tableRewardReports, input: r.input})
	send(&m.inserter)
}

// key is one decided slot.
type key struct {
	id   uuid.UUID
	slot uint8
}

func compareKeys(a, b key) int {
	return cmp.Or(slices.Compare(a.id[:], b.id[:]), cmp.Compare(a.slot, b.slot))
}

// decided are the decisions as of a position (0: the end), the first report of
// each.
func (l *randomLog) decided(upto uint64) map[key]nextbest.Decision {
	at := make(map[key]uint64)
	got := make(map[key]nextbest.Decision)
	for _, p := range l.decisions {
		k := key{p.d.ID, p.d.Slot}
		if old, ok := at[k]; ok && old <= p.position {
			continue
		}
		at[k], got[k] = p.position, p.d
	}
	for k, p := range at {
		if upto > 0 && p > upto {
			delete(got, k)
		}
	}
	return got
}

// rewarded are the rewards as of a position, the last report of each, ordered by
// time and id.
func (l *randomLog) rewarded(upto uint64) []nextbest.Reward {
	newest := make(map[string]placedReward)
	for _, p := range l.reports {
		if (upto == 0 || p.position <= upto) && p.position >= newest[p.r.ID].position {
			newest[p.r.ID] = p
		}
	}
	var list []nextbest.Reward
	for _, p := range newest {
		if !p.r.Withdrawn {
			list = append(list, p.r)
		}
	}
	slices.SortFunc(list, func(a, b nextbest.Reward) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID)) })
	return list
}

func placementID(ref string) string { id, _, _ := strings.Cut(ref, "@"); return id }

// owner returns the decision a reward belongs to at a placement: the
// definition, written as slowly and plainly as possible.
func owner(decided map[key]nextbest.Decision, r nextbest.Reward, placement string, window time.Duration) (k key, ok bool) {
	if r.DecisionID != uuid.Nil {
		k = key{r.DecisionID, r.Slot}
		d, ok := decided[k]
		return k, ok && placementID(d.Placement) == placement && !r.Time.Before(d.Time) && r.Time.Before(d.Time.Add(window))
	}
	var best nextbest.Decision
	for _, d := range decided {
		if d.Customer != r.Customer || d.Slot != 1 || placementID(d.Placement) != placement || d.Time.After(r.Time) {
			continue
		}
		if !ok || cmp.Or(d.Time.Compare(best.Time), slices.Compare(d.ID[:], best.ID[:])) > 0 {
			best, ok = d, true
		}
	}
	return key{best.ID, 1}, ok && r.Time.Before(best.Time.Add(window))
}

// row is what a query should give for one decision.
type row struct {
	d       nextbest.Decision
	reward  float64
	matched bool
}

// rows answers a query.
func (l *randomLog) rows(q nextbest.Query) map[key]row {
	decided, window := l.decided(q.Upto), q.Objective.Window.Std()
	ref, _ := nextbest.ParseRef(q.Placement)
	followed := make(map[key][]nextbest.Reward)
	for _, r := range l.rewarded(q.Upto) {
		if k, ok := owner(decided, r, ref.ID, window); ok {
			followed[k] = append(followed[k], r)
		}
	}
	got := make(map[key]row)
	for k, d := range decided {
		experiment, _, _ := strings.Cut(d.Experiment, "@")
		switch {
		case placementID(d.Placement) != ref.ID, ref.Version != 0 && d.Placement != q.Placement,
			q.Source != "" && d.Source != q.Source,
			!q.From.IsZero() && d.Time.Before(q.From), !q.To.IsZero() && !d.Time.Before(q.To),
			d.Time.Add(window).After(q.MatureAt),
			q.Experiment != "" && q.Experiment != experiment && q.Experiment != d.Experiment,
			len(q.Arms) > 0 && !slices.Contains(q.Arms, d.Arm),
			q.SkipHeld && d.Arm == "holdout",
			q.SkipSetAside && d.SetAside, !q.Split.Contains(d.Customer):
			continue
		}
		r := row{d: d}
		for _, term := range q.Objective.Terms {
			var values []float64
			for _, f := range followed[k] {
				if f.Kind == term.Reward {
					values = append(values, f.Value)
				}
			}
			if len(values) == 0 {
				continue
			}
			r.matched = true
			value := 0.0
			switch q.Objective.Aggregation {
			case "", "sum":
				for _, v := range values {
					value += v
				}
			case "first":
				value = values[0]
			case "last":
				value = values[len(values)-1]
			case "max":
				value = slices.Max(values)
			}
			r.reward += term.Weight * value
		}
		if !r.matched {
			r.reward = q.Objective.Default
		}
		got[k] = r
	}
	return got
}

// propensityOf gives the propensity that a query asks for, and the floor of the
// same arms.
func propensityOf(q nextbest.Query, d nextbest.Decision) (propensity, floor float64) {
	all, shares := d.Arms, 0.0
	d.Arms = nil
	for _, a := range all {
		if q.Own && a.Arm == d.Arm {
			return d.Propensity, a.Floor
		}
		if len(q.Arms) > 0 && slices.Contains(q.Arms, a.Arm) || len(q.Arms) == 0 && (a.Arm != "holdout" || !q.SkipHeld && q.Experiment == "") {
			d.Arms = append(d.Arms, a)
			floor, shares = floor+a.Share*a.Floor, shares+a.Share
		}
	}
	if len(d.Arms) == len(all) && len(q.Arms) == 0 {
		return d.MixturePropensity(), d.Floor
	}
	return d.MixturePropensity(), floor / shares
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*(1+math.Abs(a)) }
