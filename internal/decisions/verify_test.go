package decisions

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"nextbest"
)

// logged makes decisions of every kind: each policy, an experiment with holdout
// and ramp, definitions changing underneath, caps, rules over now. It returns
// them with the catalogue of all versions.
func logged(t testing.TB, each int) ([]nextbest.Decision, *Catalogue) {
	t.Helper()
	d := shop(t, "uniform", 0)
	w := newWorld(d.compile())
	p := w.pipeline(t)
	n := 0
	decide := func() {
		for range each {
			n++
			c := call(fmt.Sprint("C-", n%each))
			c.Context = map[string]any{"recency": float64(n%37)/3.7 - 2, "note": "\u00e9\"\n", "deep": map[string]any{"list": []any{1.5, nil, true}}}
			if n%3 == 0 {
				c.Customer.Attributes = map[string]any{"segment": "gold", "consent": map[string]any{"email": true}}
			}
			if _, err := p.Decide(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			w.pass(1234567 * time.Microsecond)
		}
	}
	update := func() {
		c, err := w.catalogue.Update(d.records, d.blob)
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Broken()) > 0 {
			t.Fatal(c.Broken())
		}
		w.catalogue = c
	}
	for _, policy := range []string{"uniform", "fixed", "rules", "ucb", "lints", "plain"} {
		model := uint64(1)
		if policy == "uniform" || policy == "fixed" || policy == "rules" {
			model = 0
		}
		d.place(policy, model)
		update()
		decide()
	}
	// Actions change their worth and their rules; replays must use the old ones.
	d.put(nextbest.KindAction, "mens", `{"group":"vip","treatments":[{"id":"a","channel":"email"}],"value":3,"cost":{"per_contact":0.5}}`)
	d.put(nextbest.KindPolicy, "rules", `{"algorithm":"rules","features":"retail@1","params":{"epsilon":0.1},"rules":[{"when":"now.getMinutes() < 30 && action.group == 'vip'","action":"mens"}]}`)
	d.put(nextbest.KindPlacement, "email", `{"channels":["email"],"objective":"value@1","actions":["mens","womens","sale"],"policy":"rules@2"}`)
	update()
	decide()
	d.holdout(0.2)
	update()
	decide()
	d.experiment("running", `,"ramp":0.5`)
	update()
	decide()
	d.experiment("running", `,"ramp":1`)
	d.put(nextbest.KindSecret, "s2", `{"value":"salt-two"}`)
	update()
	decide()
	d.experiment("stopped", `,"ramp":1`)
	d.put(nextbest.KindAction, "womens", ``)
	d.put(nextbest.KindPlacement, "email", `{"channels":["email"],"objective":"value@1","actions":["mens","sale"],"policy":"lints@1","learning":"online"}`)
	update()
	decide()
	return w.rows, d.compile()
}

func verify(t testing.TB, c *Catalogue, rows []nextbest.Decision) *Verified {
	t.Helper()
	v, err := Verify(t.Context(), c, func(each func(*nextbest.Decision) error) error {
		for i := range rows {
			if err := each(&rows[i]); err != nil {
				return err
			}
		}
		return nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVerify(t *testing.T) {
	rows, c := logged(t, 60)
	arms := map[string]int{}
	for _, r := range rows {
		arms[r.Experiment+"/"+r.Arm]++
	}
	for _, arm := range []string{"/", "/holdout", "exp@1/candidate", "exp@2/control", "exp@2/simple"} {
		if arms[arm] == 0 {
			t.Errorf("no row of %q: %v", arm, arms)
		}
	}
	v := verify(t, c, rows)
	if v.Checked != int64(len(rows)) || v.Identical != v.Checked {
		t.Errorf("%d of %d replayed identically; first differences %+v", v.Identical, v.Checked, v.Differences[:min(3, len(v.Differences))])
	}
	imported := nextbest.Decision{Source: "hillstrom"}
	if v := verify(t, c, []nextbest.Decision{imported}); v.Skipped != 1 || v.Checked != 0 {
		t.Errorf("an imported row: %+v", v)
	}
}

// TestVerifyCatchesTampering changes one thing in one row at a time.
func TestVerifyCatchesTampering(t *testing.T) {
	rows, c := logged(t, 60)
	in := func(is func(*nextbest.Decision) bool) nextbest.Decision {
		i := slices.IndexFunc(rows, func(d nextbest.Decision) bool { return is(&d) })
		if i < 0 {
			t.Fatal("no such row")
		}
		r := rows[i]
		r.Eligible, r.Probabilities, r.Scores = slices.Clone(r.Eligible), slices.Clone(r.Probabilities), slices.Clone(r.Scores)
		r.X, r.Arms = slices.Clone(r.X), slices.Clone(r.Arms)
		return r
	}
	candidate := func(d *nextbest.Decision) bool { return d.Arm == "candidate" && d.Propensity < .99 }
	ucb := func(d *nextbest.Decision) bool { return d.Policy == "ucb@1" && d.Action != "do-nothing" }
	byRule := func(d *nextbest.Decision) bool { return d.Policy == "rules@2" && d.Arm == "" && d.Propensity > .8 }
	for name, c2 := range map[string]struct {
		row  func(*nextbest.Decision) bool
		do   func(*nextbest.Decision)
		what string
	}{
		"action":            {ucb, func(d *nextbest.Decision) { d.Action = "do-nothing" }, "draw"},
		"id":                {candidate, func(d *nextbest.Decision) { d.Salt = "s3" }, "salt"},
		"propensity":        {ucb, func(d *nextbest.Decision) { d.Propensity *= 1 + 1e-15 }, "propensity"},
		"probability":       {ucb, func(d *nextbest.Decision) { d.Probabilities[0] += 1e-3; d.Probabilities[1] -= 1e-3 }, "distribution"},
		"score":             {ucb, func(d *nextbest.Decision) { d.Scores[1] += 1e-13 }, "scores"},
		"x":                 {ucb, func(d *nextbest.Decision) { d.X[1] += 1e-3 }, "x"},
		"context":           {ucb, func(d *nextbest.Decision) { d.Context = []byte(`{"context":{"recency":9},"customer":{}}`) }, "x"},
		"no context":        {ucb, func(d *nextbest.Decision) { d.Context = nil }, "context"},
		"model":             {ucb, func(d *nextbest.Decision) { d.Model = 0 }, "scores"},
		"policy":            {ucb, func(d *nextbest.Decision) { d.Policy = "gone@1" }, "distribution"},
		"features":          {ucb, func(d *nextbest.Decision) { d.Features = "gone@1" }, "features"},
		"floor":             {ucb, func(d *nextbest.Decision) { d.Floor *= 2 }, "floor"},
		"time of a rule":    {byRule, func(d *nextbest.Decision) { d.Time = d.Time.Add(30 * time.Minute) }, "distribution"},
		"catalogue":         {ucb, func(d *nextbest.Decision) { d.Catalogue = 1 << 40 }, "shares"},
		"arm":               {candidate, func(d *nextbest.Decision) { d.Arm = "control" }, "assignment"},
		"experiment":        {candidate, func(d *nextbest.Decision) { d.Experiment = "" }, "assignment"},
		"customer":          {candidate, func(d *nextbest.Decision) { d.Customer = strings.Repeat("0", 32) }, "assignment"},
		"share":             {candidate, func(d *nextbest.Decision) { d.Arms[0].Share += .01 }, "shares"},
		"other arm":         {candidate, func(d *nextbest.Decision) { d.Arms[1].Probability += 1e-9 }, "arm control"},
		"other arm's floor": {candidate, func(d *nextbest.Decision) { d.Arms[1].Floor *= 2 }, "floor of arm control"},
		"missing arm":       {candidate, func(d *nextbest.Decision) { d.Arms = d.Arms[:2] }, "arms"},
		"set aside":         {candidate, func(d *nextbest.Decision) { d.SetAside = true }, "set_aside"},
		"eligible":          {ucb, func(d *nextbest.Decision) { d.Eligible = d.Eligible[1:] }, "eligible"},
		"order of eligible": {ucb, func(d *nextbest.Decision) { slices.Reverse(d.Eligible) }, "eligible"},
	} {
		r := in(c2.row)
		if v := verify(t, c, []nextbest.Decision{r}); v.Identical != 1 {
			t.Fatalf("%s: the row differs before it is tampered with: %+v", name, v.Differences)
		}
		c2.do(&r)
		v := verify(t, c, []nextbest.Decision{r})
		if v.Identical != 0 || !slices.ContainsFunc(v.Differences, func(d Difference) bool { return d.What == c2.what && d.Decision == r.ID.String() }) {
			t.Errorf("%s: %+v, want a difference in %s", name, v.Differences, c2.what)
		}
	}
	// Other arithmetic is allowed rounding, and no more.
	r := in(ucb)
	r.Numerics = "riscv64/1"
	r.Scores[1] += 1e-14
	if v := verify(t, c, []nextbest.Decision{r}); v.Identical != 1 {
		t.Errorf("rounding on another machine: %+v", v.Differences)
	}
	r.Scores[1] += 1e-9
	if v := verify(t, c, []nextbest.Decision{r}); v.Identical != 0 {
		t.Error("1e-9 on another machine passed")
	}
}

// TestCandidate puts the serving policy before its own rows: the distribution
// must be the logged one, with contexts or by X.
func TestCandidate(t *testing.T) {
	for policy, model := range map[string]uint64{"uniform": 0, "fixed": 0, "rules": 0, "ucb": 1, "lints": 1, "plain": 1, "lints prior": 0} {
		id, _, _ := strings.Cut(policy, " ")
		d := shop(t, id, model)
		w := newWorld(d.compile())
		p := w.pipeline(t)
		for i := range 40 {
			c := call(fmt.Sprint("C-", i%7))
			c.Context["recency"] = float64(i) / 4
			if i%2 == 0 {
				c.Customer.Attributes = map[string]any{"segment": "gold"}
			}
			if _, err := p.Decide(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		k, err := w.catalogue.Candidate(nextbest.Ref{ID: id, Version: 1}, model)
		if err != nil {
			t.Fatal(err)
		}
		want := id + "@1"
		if model > 0 {
			want += "/1"
		}
		if k.Name() != want {
			t.Errorf("name %s, want %s", k.Name(), want)
		}
		b := batch(w.rows)
		for _, contexts := range []bool{true, false} {
			if !contexts {
				b.Contexts = nil
			}
			for i := range b.N() {
				_, logged := b.Row(i)
				got := make([]float64, len(logged))
				err := k.Distribution(got, b, i)
				if id == "rules" && !contexts {
					if nextbest.CodeOf(err) != nextbest.Invalid || k.ContextFree([]string{"shop@1"}) {
						t.Fatalf("rules without contexts: %v", err)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(got, logged) {
					t.Fatalf("%s, contexts %v, row %d: %v, logged %v", policy, contexts, i, got, logged)
				}
			}
		}
		// A row without a feature that the schema requires is one that offline counts.
		if k.arm.features.ID != "" {
			lacking := batch(w.rows[:1])
			lacking.Width, lacking.X, lacking.Features = 0, nil, nil
			lacking.Contexts[0] = []byte(`{"context":{},"customer":{}}`)
			err := k.Distribution(make([]float64, 5), lacking, 0)
			if u := (interface{ Unanswered() })(nil); !errors.As(err, &u) || nextbest.CodeOf(err) != nextbest.Invalid {
				t.Errorf("%s without a required feature: %v", policy, err)
			}
		}
		b.Width, b.X = 2, make([]float32, 2*b.N())
		if !k.ContextFree([]string{"other@1"}) {
			if err := k.Distribution(make([]float64, 5), b, 0); nextbest.CodeOf(err) != nextbest.Invalid {
				t.Errorf("%s on rows of another width: %v", policy, err)
			}
		}
	}
	c := shop(t, "uniform", 0).compile()
	for _, bad := range []nextbest.Ref{{ID: "ucb"}, {ID: "ucb", Version: 9}, {ID: "gone", Version: 1}} {
		if _, err := c.Candidate(bad, 0); err == nil {
			t.Errorf("%s is a candidate", bad)
		}
	}
	if _, err := c.Candidate(nextbest.Ref{ID: "uniform", Version: 1}, 1); nextbest.CodeOf(err) != nextbest.Invalid {
		t.Errorf("uniform with a model: %v", err)
	}
	if _, err := c.Candidate(nextbest.Ref{ID: "ucb", Version: 1}, 7); nextbest.CodeOf(err) != nextbest.NotFound {
		t.Errorf("ucb with a model that does not exist: %v", err)
	}
}

func batch(rows []nextbest.Decision) *nextbest.Batch {
	b := &nextbest.Batch{Offsets: []int{0}, Width: len(rows[0].X)}
	index := map[string]uint32{}
	for _, r := range rows {
		for i, a := range r.Eligible {
			if _, ok := index[a]; !ok {
				index[a] = uint32(len(b.Actions))
				b.Actions = append(b.Actions, a)
			}
			b.Eligible = append(b.Eligible, index[a])
			b.Probabilities = append(b.Probabilities, r.Probabilities[i])
		}
		b.Offsets = append(b.Offsets, len(b.Eligible))
		b.Decision = append(b.Decision, r.ID)
		b.Time = append(b.Time, r.Time.UnixMicro())
		b.X, b.Features = append(b.X, r.X...), append(b.Features, r.Features)
		b.Contexts = append(b.Contexts, r.Context)
	}
	return b
}

func BenchmarkVerify(b *testing.B) {
	rows, c := logged(b, 100)
	v := newVerifier(c)
	b.ResetTimer()
	b.ReportAllocs()
	for i := range b.N {
		if found := v.row(&rows[i%len(rows)]); len(found) > 0 {
			b.Fatal(found)
		}
	}
}
