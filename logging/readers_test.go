package logging

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"nextbest"
)

// filledStore returns a store with a random log.
func filledStore(t *testing.T, seed uint64) (*Store, *randomLog) {
	t.Helper()
	store := testStore(t)
	rng := rand.New(rand.NewPCG(seed, 11))
	log := newRandomLog(rng, 250, 700)
	log.insert(t, store, rng)
	return store, log
}

func experimentID(ref string) string { return placementID(ref) }

func TestDecisionsAgainstReference(t *testing.T) {
	store, log := filledStore(t, 1)
	decided := log.decided(0)
	var keys []key
	for k := range decided {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compareKeys)
	one := decided[keys[len(keys)/2]]
	some := []uuid.UUID{keys[3].id, keys[90].id, keys[3].id, uuid.Max}
	for name, c := range map[string]struct {
		q    DecisionQuery
		want func(d *nextbest.Decision) bool
	}{
		"everything": {DecisionQuery{}, func(*nextbest.Decision) bool { return true }},
		"ids":        {DecisionQuery{IDs: some}, func(d *nextbest.Decision) bool { return slices.Contains(some, d.ID) }},
		"no ids":     {DecisionQuery{IDs: []uuid.UUID{}}, func(*nextbest.Decision) bool { return false }},
		"newest":     {DecisionQuery{Newest: true, Limit: 17}, func(*nextbest.Decision) bool { return true }},
		"oldest":     {DecisionQuery{Limit: 17}, func(*nextbest.Decision) bool { return true }},
		"key":        {DecisionQuery{Key: "k'3"}, func(d *nextbest.Decision) bool { return d.Key == "k'3" }},
		"customer":   {DecisionQuery{Customer: one.Customer}, func(d *nextbest.Decision) bool { return one.Customer == "" || d.Customer == one.Customer }},
		"placement":  {DecisionQuery{Placement: "web"}, func(d *nextbest.Decision) bool { return placementID(d.Placement) == "web" }},
		"version":    {DecisionQuery{Placement: "web@2"}, func(d *nextbest.Decision) bool { return d.Placement == "web@2" }},
		"time": {DecisionQuery{From: one.Time, To: one.Time.Add(5 * grid)}, func(d *nextbest.Decision) bool {
			return !d.Time.Before(one.Time) && d.Time.Before(one.Time.Add(5*grid))
		}},
	} {
		var want []string
		for _, k := range keys {
			if d := decided[k]; c.want(&d) {
				want = append(want, fmt.Sprintf("%+v", d))
			}
		}
		if c.q.Newest { // slots of one decision stay in order
			want = nil
			for _, k := range slices.SortedFunc(maps.Keys(decided), func(a, b key) int { return cmp.Or(-slices.Compare(a.id[:], b.id[:]), cmp.Compare(a.slot, b.slot)) }) {
				want = append(want, fmt.Sprintf("%+v", decided[k]))
			}
		}
		if c.q.Limit > 0 {
			want = want[:c.q.Limit]
		}
		var got []string
		if err := store.Decisions(t.Context(), c.q, func(d *nextbest.Decision) error {
			got = append(got, fmt.Sprintf("%+v", *d))
			return nil
		}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
			t.Errorf("%s gave %d decisions\n%s\nwant %d\n%s", name, len(got), g, len(want), w)
		}
	}
}

func TestDecisionsCarryEveryField(t *testing.T) {
	store := testStore(t)
	rng := rand.New(rand.NewPCG(5, 5))
	full, odd := fullDecision(rng, t0), oddDecision(rng, t0.Add(time.Second))
	c := newDecisionColumns()
	c.append(1, 0, &full)
	c.append(1, 1, &odd)
	if err := store.insert(t.Context(), &c.inserter); err != nil {
		t.Fatal(err)
	}
	var got []nextbest.Decision
	if err := store.Decisions(t.Context(), DecisionQuery{}, func(d *nextbest.Decision) error { got = append(got, *d); return nil }); err != nil {
		t.Fatal(err)
	}
	if g, w := fmt.Sprintf("%#v", got), fmt.Sprintf("%#v", []nextbest.Decision{full, odd}); g != w {
		t.Errorf("the log has\n%s\nwant\n%s", g, w)
	}
	stop := errors.New("enough")
	if err := store.Decisions(t.Context(), DecisionQuery{}, func(*nextbest.Decision) error { return stop }); err != stop {
		t.Errorf("%v, want the caller's error", err)
	}
	if err := store.Decisions(t.Context(), DecisionQuery{Placement: "A b"}, nil); nextbest.CodeOf(err) != nextbest.Invalid {
		t.Errorf("%v, want an invalid placement", err)
	}
}

// TestManyIDs asks for more ids than fit into one statement.
func TestManyIDs(t *testing.T) {
	store := testStore(t)
	rng := rand.New(rand.NewPCG(6, 6))
	c := newDecisionColumns()
	ids := make([]uuid.UUID, 2*idsAtOnce+10)
	for i := range ids {
		d := nextbest.Decision{ID: newID(t0.Add(time.Duration(i)*time.Second), rng), Slot: 1, Time: t0, Action: "a", Eligible: []string{"a"}, Probabilities: []float64{1}}
		ids[i] = d.ID
		c.append(uint64(i+1), 0, &d)
	}
	if err := store.insert(t.Context(), &c.inserter); err != nil {
		t.Fatal(err)
	}
	for limit, want := range map[int]int{0: len(ids), idsAtOnce + 5: idsAtOnce + 5} {
		shuffled := slices.Clone(ids)
		rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		n := 0
		if err := store.Decisions(t.Context(), DecisionQuery{IDs: shuffled, Limit: limit}, func(d *nextbest.Decision) error {
			if d.ID != ids[n] {
				t.Fatalf("decision %d is %s, want %s", n, d.ID, ids[n])
			}
			n++
			return nil
		}); err != nil || n != want {
			t.Errorf("limit %d: %d decisions, %v; want %d", limit, n, err, want)
		}
	}
}

func TestContactsAgainstReference(t *testing.T) {
	store, log := filledStore(t, 2)
	newest := make(map[key]placedImpression)
	for _, p := range log.shown {
		if k := (key{p.m.DecisionID, p.m.Slot}); p.position > newest[k].position {
			newest[k] = p
		}
	}
	since := t0.Add(30 * grid)
	var want, got []string
	kinds := make(map[string]int)
	for k, d := range log.decided(0) {
		i, reported := newest[k]
		c := nextbest.Contact{DecisionID: k.id, Slot: k.slot, Action: d.Action, Channel: d.Channel, Time: d.Time, Status: nextbest.Reserved}
		if reported {
			c.Status = nextbest.Contacted
			if i.m.Status == nextbest.Overridden && i.m.Action != "" {
				c.Action = i.m.Action
			}
		}
		if d.Source != "live" || d.Time.Before(since) || c.Action == nextbest.DoNothing || i.m.Status == nextbest.Bounced || i.m.Status == nextbest.NotShown {
			kinds["none"]++
			continue
		}
		kinds[string(c.Status)+" "+string(i.m.Status)]++
		want = append(want, fmt.Sprintf("%q %+v", d.Customer, c))
	}
	if len(kinds) < 5 {
		t.Fatalf("the log has only %v", kinds)
	}
	last := ""
	if err := store.Contacts(t.Context(), since, func(customer string, c nextbest.Contact) error {
		if customer < last {
			t.Errorf("%q comes after %q", customer, last)
		}
		last = customer
		got = append(got, fmt.Sprintf("%q %+v", customer, c))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	slices.Sort(got)
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got %d contacts\n%s\nwant %d\n%s", len(got), g, len(want), w)
	}
	stop := errors.New("enough")
	if err := store.Contacts(t.Context(), since, func(string, nextbest.Contact) error { return stop }); err != stop {
		t.Errorf("%v, want the caller's error", err)
	}
}

func TestEnrolmentsAgainstReference(t *testing.T) {
	store, log := filledStore(t, 3)
	decided, rewards := log.decided(0), log.rewarded(0)
	total := 0
	for _, q := range []nextbest.EnrolmentQuery{
		{Experiment: "exp", Rewards: []string{"purchase", "opt_out", "visit"}, Window: nextbest.Duration(20 * grid), MatureAt: t0.Add(1000 * grid)},
		{Experiment: "exp", Rewards: []string{"visit"}, Window: nextbest.Duration(30 * grid), MatureAt: t0.Add(50 * grid)},
		{Experiment: "other", Window: nextbest.Duration(100 * grid), MatureAt: t0.Add(1000 * grid)},
		{Experiment: "nothing", Rewards: []string{"visit"}, Window: nextbest.Duration(grid)},
	} {
		window := q.Window.Std()
		first := make(map[string]nextbest.Decision)
		for _, d := range decided {
			if experimentID(d.Experiment) != q.Experiment {
				continue
			}
			old, ok := first[d.Customer]
			if !ok || cmp.Or(d.Time.Compare(old.Time), slices.Compare(d.ID[:], old.ID[:]), cmp.Compare(d.Slot, old.Slot)) < 0 {
				first[d.Customer] = d
			}
		}
		want := make(map[string]nextbest.Enrolment)
		for customer, f := range first {
			if f.Time.Add(window).After(q.MatureAt) {
				continue
			}
			within := func(at time.Time) bool { return !at.Before(f.Time) && at.Before(f.Time.Add(window)) }
			e := nextbest.Enrolment{Customer: customer, Arm: f.Arm, Time: f.Time, First: make([]time.Time, len(q.Rewards)), Total: make([]float64, len(q.Rewards))}
			for _, d := range decided {
				if d.Customer == customer && experimentID(d.Experiment) == q.Experiment && d.Slot == 1 && within(d.Time) {
					e.Decisions++
				}
			}
			for _, r := range rewards {
				who, ok := r.Customer, true
				if r.DecisionID != uuid.Nil {
					var d nextbest.Decision
					d, ok = decided[key{r.DecisionID, r.Slot}]
					who = d.Customer
				}
				k := slices.Index(q.Rewards, r.Kind)
				if !ok || who != customer || k < 0 || !within(r.Time) {
					continue
				}
				if e.First[k].IsZero() || r.Time.Before(e.First[k]) {
					e.First[k] = r.Time
				}
				e.Total[k] += r.Value
			}
			want[customer] = e
		}
		var last nextbest.Enrolment
		if err := store.Enrolments(t.Context(), q, func(e nextbest.Enrolment) error {
			total++
			w, ok := want[e.Customer]
			if !ok || cmp.Or(last.Time.Compare(e.Time), cmp.Compare(last.Customer, e.Customer)) > 0 {
				t.Errorf("customer %q should not be there, or comes after %q", e.Customer, last.Customer)
			}
			delete(want, e.Customer)
			last = e
			for k := range e.Total {
				if !near(e.Total[k], w.Total[k]) {
					t.Errorf("customer %q has %v of %s, want %v", e.Customer, e.Total[k], q.Rewards[k], w.Total[k])
				}
			}
			e.Total, w.Total = nil, nil
			if g, s := fmt.Sprintf("%+v", e), fmt.Sprintf("%+v", w); g != s {
				t.Errorf("enrolment\n%s\nwant\n%s", g, s)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for customer := range want {
			t.Errorf("experiment %s: customer %q is missing", q.Experiment, customer)
		}
	}
	if total < 20 {
		t.Errorf("only %d enrolments were compared", total)
	}
	for field, q := range map[string]nextbest.EnrolmentQuery{
		"experiment": {Experiment: "exp@1", Window: 1000},
		"window":     {Experiment: "exp"},
		"rewards[1]": {Experiment: "exp", Window: nextbest.Duration(grid), Rewards: []string{"visit", "visit"}},
	} {
		var e *nextbest.Error
		if q.Window == 1000 {
			q.Window = nextbest.Duration(grid)
		}
		if err := store.Enrolments(t.Context(), q, nil); !errors.As(err, &e) || len(e.Problems) != 1 || e.Problems[0].Field != field {
			t.Errorf("%s: %v, want one problem with that field", field, err)
		}
	}
}

func TestValuesAgainstReference(t *testing.T) {
	store, log := filledStore(t, 4)
	objective := nextbest.Objective{Terms: []nextbest.Term{{Reward: "purchase", Weight: 1}, {Reward: "opt_out", Weight: -5}}, Window: nextbest.Duration(10 * grid), Default: 0.5}
	for _, q := range []ValueQuery{
		{Placement: "web", Objective: objective, Bucket: time.Hour},
		{Placement: "web", Objective: objective, Holdout: true, Mature: true},
		{Placement: "email@1", Objective: objective, Experiment: "exp", From: t0.Add(20 * grid)},
	} {
		rows := log.rows(nextbest.Query{Placement: q.Placement, Experiment: q.Experiment, From: q.From, Objective: objective, MatureAt: time.Now()})
		type group struct {
			decisions, matched int64
			customers          map[string]float64
		}
		want := make(map[Value]*group)
		for _, r := range rows {
			k := Value{Experiment: r.d.Experiment, Arm: r.d.Arm}
			if q.Holdout {
				k.Experiment = ""
				if k.Arm != "holdout" {
					k.Arm = "treated"
				}
			}
			if q.Bucket > 0 {
				k.Time = r.d.Time.Truncate(q.Bucket)
			}
			g := want[k]
			if g == nil {
				g = &group{customers: make(map[string]float64)}
				want[k] = g
			}
			g.decisions++
			if r.matched {
				g.matched++
			}
			g.customers[r.d.Customer] += r.reward
		}
		got, err := store.Values(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) || len(got) < 2 {
			t.Errorf("%d groups, want %d and at least 2", len(got), len(want))
		}
		for _, v := range got {
			g := want[Value{Time: v.Time, Experiment: v.Experiment, Arm: v.Arm}]
			if g == nil {
				t.Errorf("%+v should not be there", v)
				continue
			}
			n, sum, squares := float64(len(g.customers)), 0.0, 0.0
			for _, x := range g.customers {
				sum += x
			}
			for _, x := range g.customers {
				squares += (x - sum/n) * (x - sum/n)
			}
			sd := 0.0
			if n > 1 {
				sd = math.Sqrt(squares / (n - 1))
			}
			if v.Decisions != g.decisions || v.Matched != g.matched || float64(v.Customers) != n || !near(v.Sum, sum) || !near(v.Mean, sum/n) || !near(v.SD, sd) {
				t.Errorf("%+v, want %d decisions, %d matched, %v customers, sum %v, mean %v, sd %v", v, g.decisions, g.matched, n, sum, sum/n, sd)
			}
		}
	}
	if _, err := store.Values(t.Context(), ValueQuery{Placement: "web", Objective: objective, Bucket: -1}); nextbest.CodeOf(err) != nextbest.Invalid {
		t.Errorf("negative bucket: %v", err)
	}
}

// TestAttributionView compares the view for people who write SQL with the
// reference.
func TestAttributionView(t *testing.T) {
	store, log := filledStore(t, 5)
	decided, window := log.decided(0), 8*grid
	want := make(map[string]bool)
	for _, r := range log.rewarded(0) {
		for _, placement := range []string{"web", "email"} {
			if k, ok := owner(decided, r, placement, window); ok {
				want[fmt.Sprintf("%s %s %d %s", r.ID, k.id, k.slot, placement)] = true
			}
		}
	}
	var got []string
	queryRow(t, store, fmt.Sprintf("SELECT groupArray(concat(reward_id, ' ', toString(decision_id), ' ', toString(slot), ' ', placement_id)) FROM attributed_rewards(window = %d)", int(window.Seconds())), &got)
	for _, g := range got {
		if !want[g] {
			t.Errorf("the view has %s", g)
		}
		delete(want, g)
	}
	for w := range want {
		t.Errorf("the view lacks %s", w)
	}
}
