package logging

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"nextbest"
)

func TestActionMix(t *testing.T) {
	store, log := filledStore(t, 6)
	all := make(map[time.Time]int64)
	want := make(map[ActionCount]int64)
	for _, d := range log.decided(0) {
		if d.Source == "live" && placementID(d.Placement) == "web" {
			hour := d.Time.Truncate(time.Hour)
			all[hour]++
			want[ActionCount{Time: hour, Action: d.Action}]++
		}
	}
	got, err := store.ActionMix(t.Context(), Span{Placement: "web", Source: "live"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) || len(got) < 20 {
		t.Errorf("%d counts, want %d and at least 20", len(got), len(want))
	}
	for i, c := range got {
		n := want[ActionCount{Time: c.Time, Action: c.Action}]
		if c.Decisions != n || !near(c.Share, float64(n)/float64(all[c.Time])) {
			t.Errorf("%+v, want %d of %d", c, n, all[c.Time])
		}
		if i > 0 && cmp.Or(got[i-1].Time.Compare(c.Time), cmp.Compare(got[i-1].Action, c.Action)) >= 0 {
			t.Errorf("%+v comes after %+v", c, got[i-1])
		}
	}
}

func TestExclusions(t *testing.T) {
	store := testStore(t)
	c := newDecisionColumns()
	for i := range 10 {
		d := nextbest.Decision{ID: uuid.Must(uuid.NewV7()), Slot: 1, Time: t0, Placement: "web@1", Action: "x", Eligible: []string{"x"}, Probabilities: []float64{1}}
		d.Excluded = append(d.Excluded, nextbest.Exclusion{Action: "a", Reason: nextbest.ReasonCap})
		if i < 4 {
			d.Excluded = append(d.Excluded, nextbest.Exclusion{Action: "b", Reason: nextbest.ReasonConsent}, nextbest.Exclusion{Action: "c", Reason: nextbest.ReasonRule})
		}
		if i == 9 {
			d.Placement = "email@1"
		}
		c.append(uint64(i+1), 0, &d)
	}
	if err := store.insert(t.Context(), &c.inserter); err != nil {
		t.Fatal(err)
	}
	got, err := store.Exclusions(t.Context(), Span{Placement: "web"}, 2)
	if want := []ExclusionCount{{"a", nextbest.ReasonCap, 9}, {"b", nextbest.ReasonConsent, 4}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
}

func TestCounts(t *testing.T) {
	store, log := filledStore(t, 7)
	span := Span{Placement: "web", From: t0.Add(10 * grid), To: t0.Add(90 * grid)}
	in := func(at time.Time) bool { return !at.Before(span.From) && at.Before(span.To) }
	decided := log.decided(0)
	newest := make(map[key]placedImpression)
	for _, p := range log.shown {
		if k := (key{p.m.DecisionID, p.m.Slot}); p.position > newest[k].position {
			newest[k] = p
		}
	}
	want := Counts{Impressions: make(map[nextbest.ImpressionStatus]int64), Rewards: make(map[string]int64)}
	customers, ids := make(map[string]bool), make(map[uuid.UUID]bool)
	for k, d := range decided {
		if placementID(d.Placement) != "web" || !in(d.Time) {
			continue
		}
		customers[d.Customer], ids[d.ID] = true, true
		if d.Time.After(want.LastDecision) {
			want.LastDecision = d.Time
		}
		if i, ok := newest[k]; ok {
			want.Impressions[i.m.Status]++
		}
	}
	want.Decisions, want.Customers = int64(len(ids)), int64(len(customers))
	var unmatched []string
	for _, r := range log.rewarded(0) {
		if !in(r.Time) {
			continue
		}
		want.Rewards[r.Kind]++
		if r.Time.After(want.LastReward) {
			want.LastReward = r.Time
		}
		possible := false
		for _, placement := range []string{"web", "email"} {
			_, ok := owner(decided, r, placement, 1000*time.Hour)
			possible = possible || ok
		}
		if !possible {
			want.Unmatched++
			unmatched = append(unmatched, r.ID)
		}
	}
	got, err := store.Counts(t.Context(), span)
	if err != nil {
		t.Fatal(err)
	}
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w || want.Unmatched == 0 {
		t.Errorf("%s\nwant (with some unmatched)\n%s", g, w)
	}

	attributed := make(map[string]int64)
	for _, r := range log.rewarded(0) {
		if k, ok := owner(decided, r, "web", time.Hour); ok && in(decided[k].Time) {
			attributed[r.Kind]++
		}
	}
	if mine, err := store.AttributedRewards(t.Context(), span, time.Hour); err != nil || !maps.Equal(mine, attributed) || len(mine) == 0 || mine["visit"] >= got.Rewards["visit"] {
		t.Errorf("rewards of the placement's decisions %v, want %v, %v", mine, attributed, err)
	}

	list, err := store.Unmatched(t.Context(), UnmatchedQuery{From: span.From, To: span.To})
	if err != nil {
		t.Fatal(err)
	}
	var ids2 []string
	why := make(map[string]int)
	for i, r := range list {
		ids2 = append(ids2, r.ID)
		why[r.Why]++
		if i > 0 && r.Time.After(list[i-1].Time) {
			t.Errorf("%v comes after %v", r.Time, list[i-1].Time)
		}
	}
	slices.Sort(unmatched)
	slices.Sort(ids2)
	if !slices.Equal(unmatched, ids2) || len(why) != 4 {
		t.Errorf("unmatched %v (%v), want %v for all four reasons", ids2, why, unmatched)
	}
	visits, err := store.Unmatched(t.Context(), UnmatchedQuery{Kind: "visit", Limit: 2})
	if err != nil || len(visits) != 2 || visits[0].Kind != "visit" || visits[1].Kind != "visit" {
		t.Errorf("two unmatched visits: %v, %v", visits, err)
	}
	empty := testStore(t)
	if c, err := empty.Counts(t.Context(), Span{}); err != nil || c.Decisions != 0 || !c.LastDecision.IsZero() || !c.LastReward.IsZero() {
		t.Errorf("an empty log: %+v, %v", c, err)
	}
}
