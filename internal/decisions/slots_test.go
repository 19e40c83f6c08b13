package decisions

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"nextbest"
)

// page gives the shop's placement several slots.
func page(t testing.TB, policy string, model uint64, slots int) *definitions {
	return shop(t, policy, model).put(nextbest.KindPlacement, "email", fmt.Sprintf(`{"channels":["email"],"objective":"value@1","actions":["mens","womens","sale","vip"],"policy":"%s@1","model":%d,"slots":%d}`, policy, model, slots))
}

// TestSlots decides lists with every kind of policy, in an experiment with a
// holdout: every slot's row sums to 1 over what is left, no action comes twice,
// do-nothing ends the list, and every slot replays identically.
func TestSlots(t *testing.T) {
	d := page(t, "uniform", 0, 4)
	w := newWorld(d.compile())
	p := w.pipeline(t)
	lengths := map[int]int{}
	decide := func(n int) {
		t.Helper()
		for i := range n {
			c := call(fmt.Sprint("C-", i))
			c.Context["recency"] = float64(i % 9)
			if i%2 == 0 {
				c.Customer.Attributes = map[string]any{"segment": "gold"}
			}
			before := len(w.rows)
			a, err := p.Decide(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			w.pass(8 * 24 * time.Hour)
			rows := w.rows[before:]
			lengths[len(rows)]++
			if len(a.Slots) != len(rows) || a.Action != a.Slots[0].Action || a.Propensity != a.Slots[0].Propensity {
				t.Fatalf("%d slots in the answer, %d rows: %+v", len(a.Slots), len(rows), a)
			}
			var drawn []string
			for j, r := range rows {
				sum := 0.0
				for _, v := range r.Probabilities {
					sum += v
				}
				s := a.Slots[j]
				if r.ID != a.DecisionID || int(r.Slot) != j+1 || s.Slot != r.Slot || s.Action != r.Action || s.Propensity != r.Propensity || math.Abs(sum-1) > 1e-12 {
					t.Fatalf("slot %d: row %+v, answer %+v, probabilities sum to %v", j+1, r, s, sum)
				}
				for k, before := range drawn {
					if slices.Contains(r.Eligible, before) || !slices.Contains(r.Excluded, nextbest.Exclusion{Action: before, Reason: nextbest.ReasonEarlierSlot, Detail: fmt.Sprint("slot ", k+1)}) {
						t.Fatalf("slot %d: %s is eligible again, or not excluded: %v, %v", j+1, before, r.Eligible, r.Excluded)
					}
				}
				if last := j == len(rows)-1; last != (r.Action == nextbest.DoNothing || j == 3) {
					t.Fatalf("%s in slot %d of %d", r.Action, j+1, len(rows))
				}
				for _, k := range r.Arms {
					if k.Arm == r.Arm && k.Probability != r.Propensity {
						t.Fatalf("slot %d: arm %+v serves with %v", j+1, k, r.Propensity)
					}
				}
				drawn = append(drawn, r.Action)
			}
		}
	}
	update := func() {
		c, err := w.catalogue.Update(d.records, d.blob)
		if err != nil {
			t.Fatal(err)
		}
		w.catalogue = c
	}
	for policy, model := range map[string]uint64{"uniform": 0, "fixed": 0, "rules": 0, "ucb": 1, "lints": 1, "plain": 1} {
		d.put(nextbest.KindPlacement, "email", fmt.Sprintf(`{"channels":["email"],"objective":"value@1","actions":["mens","womens","sale","vip"],"policy":"%s@1","model":%d,"slots":4}`, policy, model))
		update()
		decide(40)
	}
	d.holdout(0.2)
	d.experiment("running", `,"ramp":0.7`)
	update()
	decide(120)
	if lengths[1] == 0 || lengths[2] == 0 || lengths[4] == 0 {
		t.Errorf("lists by length: %v", lengths)
	}
	all := d.compile()
	if v := verify(t, all, w.rows); v.Identical != int64(len(w.rows)) {
		t.Errorf("%d of %d slots replayed identically: %+v", v.Identical, len(w.rows), v.Differences[:min(3, len(v.Differences))])
	}
	// A row that could have drawn what an earlier slot has is found.
	i := slices.IndexFunc(w.rows, func(r nextbest.Decision) bool { return r.Slot == 2 })
	bad := slices.Clone(w.rows[i-1 : i+1])
	bad[0].Action = bad[1].Action
	v := verify(t, all, bad)
	if !slices.ContainsFunc(v.Differences, func(d Difference) bool { return d.Slot == 2 && d.What == "eligible" }) {
		t.Errorf("drawn twice: %+v", v.Differences)
	}
}

// TestSlotPairs draws many pairs and compares their frequencies with the
// product of the conditionals of an independent calculation: fixed weights
// without replacement.
func TestSlotPairs(t *testing.T) {
	n := 20_000
	if testing.Short() {
		n = 8_000
	}
	d := page(t, "fixed", 0, 2)
	w := newWorld(d.compile())
	o := w.options()
	o.Journal = nowhere{}
	p, err := NewPipeline(o)
	if err != nil {
		t.Fatal(err)
	}
	weights := map[string]float64{"mens": .5, "womens": .2, "sale": .2, "do-nothing": .1}
	counts := map[[2]string]float64{}
	for i := range n {
		a, err := p.Decide(t.Context(), call(fmt.Sprint("P-", i)))
		if err != nil {
			t.Fatal(err)
		}
		w.pass(time.Millisecond)
		pair := [2]string{a.Slots[0].Action}
		if len(a.Slots) > 1 {
			pair[1] = a.Slots[1].Action
		}
		counts[pair]++
	}
	chi, cells := 0.0, 0
	add := func(first, second string, p float64) {
		e := float64(n) * p
		c := counts[[2]string{first, second}]
		chi += (c - e) * (c - e) / e
		cells++
		delete(counts, [2]string{first, second})
	}
	for first, p1 := range weights {
		if first == nextbest.DoNothing {
			add(first, "", p1)
			continue
		}
		for second, p2 := range weights {
			if second != first {
				add(first, second, p1*p2/(1-p1))
			}
		}
	}
	// 1 − 1e-4 quantile of χ² with 9 degrees of freedom.
	if cells != 10 || len(counts) > 0 || chi > 33.72 {
		t.Errorf("χ² = %.1f over %d cells, others %v", chi, cells, counts)
	}
}

// TestSlotCaps: slots count against the caps of the slots after them, all
// contacts are reserved at once, and each slot's impression is its own.
func TestSlotCaps(t *testing.T) {
	d := shop(t, "uniform", 0)
	for _, a := range []string{"p1", "p2", "p3"} {
		d.put(nextbest.KindAction, a, `{"group":"promo","treatments":[{"id":"x","channel":"email"}],"caps":[{"scope":"group","max":2,"per":"7d"}]}`)
	}
	d.put(nextbest.KindPolicy, "always", `{"algorithm":"fixed","weights":{"p1":1,"p2":1,"p3":1}}`)
	d.put(nextbest.KindPlacement, "email", `{"channels":["email"],"objective":"value@1","actions":["p1","p2","p3"],"policy":"always@1","slots":5}`)
	w := newWorld(d.compile())
	p := w.pipeline(t)
	c := call("C-1")
	c.Key = "k"
	a, err := p.Decide(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Slots) != 3 || a.Slots[2].Action != nextbest.DoNothing || a.Slots[2].Propensity != 1 || a.Slots[0].Action == a.Slots[1].Action {
		t.Fatalf("two contacts are allowed: %+v", a.Slots)
	}
	capped := slices.IndexFunc(a.Slots[2].Excluded, func(e nextbest.Exclusion) bool { return e.Reason == nextbest.ReasonCap })
	if capped < 0 || len(w.contacts(t, "C-1")) != 2 {
		t.Errorf("excluded %+v, contacts %+v", a.Slots[2].Excluded, w.contacts(t, "C-1"))
	}
	// The same key gives all slots again and reserves nothing, from the claim
	// and from the log.
	for range 2 {
		again, err := p.Decide(t.Context(), c)
		if err != nil || !again.Repeated || again.DecisionID != a.DecisionID || mustJSON(again.Slots) != mustJSON(a.Slots) {
			t.Errorf("repeated: %+v, %v", again, err)
		}
		if k := w.contacts(t, "C-1"); len(k) != 2 || len(w.rows) != 3 {
			t.Errorf("%d contacts, %d rows after the repeat", len(k), len(w.rows))
		}
		clear(w.claims)
		if err := LoadClaims(t.Context(), w, w.now, func(_ contextType, key string, value []byte, _ time.Time) error {
			_, _, err := w.Claim(t.Context(), key, value)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	// The second slot was not shown: its place is free, the first's is not.
	for slot, status := range map[uint8]nextbest.ImpressionStatus{1: nextbest.Shown, 2: nextbest.NotShown} {
		if err := p.Impression(t.Context(), nextbest.Impression{DecisionID: a.DecisionID, Slot: slot, Status: status}); err != nil {
			t.Fatal(err)
		}
	}
	k := w.contacts(t, "C-1")
	if len(k) != 1 || k[0].Slot != 1 || k[0].Action != a.Slots[0].Action || k[0].Status != nextbest.Contacted {
		t.Errorf("contacts %+v", k)
	}
	if b, err := p.Decide(t.Context(), call("C-1")); err != nil || len(b.Slots) != 2 {
		t.Errorf("one contact is left: %+v, %v", b.Slots, err)
	}
}
