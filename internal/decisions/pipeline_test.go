package decisions

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"nextbest"
	"nextbest/bandit"
)

func TestDecide(t *testing.T) {
	d := shop(t, "lints", 1)
	w := newWorld(d.compile())
	p := w.pipeline(t)
	c := call("C-1042")
	c.Customer.Attributes = map[string]any{"segment": "gold", "id": "C-1042", "type": "crm"}
	a, err := p.Decide(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if len(w.rows) != 1 || !a.Durable || a.Repeated {
		t.Fatalf("%d rows, %+v", len(w.rows), a)
	}
	r := w.rows[0]
	if strings.Contains(mustJSON(r), "C-1042") {
		t.Errorf("the identifier is in the log: %s", mustJSON(r))
	}
	if got, want := string(r.Context), `{"context":{"newbie":true,"recency":2},"customer":{"segment":"gold"}}`; got != want {
		t.Errorf("context %s, want %s", got, want)
	}
	if want := []string{"do-nothing", "mens", "sale", "vip", "womens"}; !slices.Equal(r.Eligible, want) {
		t.Errorf("eligible %v, want %v", r.Eligible, want)
	}
	i := slices.Index(r.Eligible, r.Action)
	if a.DecisionID != r.ID || a.Action != r.Action || a.Propensity != r.Probabilities[i] || r.Propensity != a.Propensity {
		t.Errorf("answer %+v and row %+v differ", a, r)
	}
	if i2 := bandit.Draw(r.Probabilities, bandit.DrawUniform("salt-one", r.ID, 1)); i2 != i {
		t.Errorf("the draw repeats as %d, was %d", i2, i)
	}
	if r.Placement != "email@1" || r.Objective != "value@1" || r.Policy != "lints@1" || r.Model != 1 || r.Features != "retail@1" || r.Salt != "s1" ||
		r.Catalogue != w.catalogue.Revision || r.Numerics != bandit.Numerics || r.Source != "live" || r.Slot != 1 || len(r.Scores) != 5 || len(r.X) != 3 ||
		r.Floor != .04/5 || len(r.Arms) != 0 || r.ID.Version() != 7 || !r.Time.Equal(w.now.Truncate(time.Microsecond)) {
		t.Errorf("row %+v", r)
	}
	if r.Action != nextbest.DoNothing && (r.Treatment == "" || r.Channel != "email") {
		t.Errorf("%s by treatment %q in channel %q", r.Action, r.Treatment, r.Channel)
	}
	if again, _ := p.Decide(t.Context(), call("C-1042")); again.DecisionID == a.DecisionID {
		t.Error("two calls without a key got one decision")
	}
	if !slices.ContainsFunc(w.rows[1].Excluded, func(e nextbest.Exclusion) bool { return e.Action == "vip" && e.Reason == nextbest.ReasonRule }) {
		t.Errorf("excluded %v, want vip by its rule", w.rows[1].Excluded)
	}
}

// TestBadCalls checks that each bad call names its field and leaves no trace.
func TestBadCalls(t *testing.T) {
	w := newWorld(shop(t, "lints", 1).compile())
	p := w.pipeline(t)
	for name, c := range map[string]struct {
		break_ func(*Call)
		code   nextbest.Code
		field  string
	}{
		"unknown placement":  {func(c *Call) { c.Placement = "push" }, nextbest.NotFound, ""},
		"old placement":      {func(c *Call) { c.Placement = "email@7" }, nextbest.NotFound, ""},
		"no customer":        {func(c *Call) { c.Customer.ID = "" }, nextbest.Invalid, "customer.id"},
		"long customer":      {func(c *Call) { c.Customer.ID = strings.Repeat("x", 513) }, nextbest.Invalid, "customer.id"},
		"type with colon":    {func(c *Call) { c.Customer.Type = "a:b" }, nextbest.Invalid, "customer.type"},
		"feature missing":    {func(c *Call) { delete(c.Context, "recency") }, nextbest.Invalid, "context.recency"},
		"feature null":       {func(c *Call) { c.Context["recency"] = nil }, nextbest.Invalid, "context.recency"},
		"feature wrong type": {func(c *Call) { c.Context["recency"] = "two" }, nextbest.Invalid, "context.recency"},
		"not a number":       {func(c *Call) { c.Context["recency"] = math.NaN() }, nextbest.Invalid, "context.recency"},
		"infinite elsewhere": {func(c *Call) { c.Context["other"] = math.Inf(1) }, nextbest.Invalid, "context.other"},
		"nested infinity":    {func(c *Call) { c.Customer.Attributes = map[string]any{"a": []any{map[string]any{"b": math.Inf(-1)}}} }, nextbest.Invalid, "customer.a.0.b"},
		"foreign type":       {func(c *Call) { c.Context["other"] = struct{}{} }, nextbest.Invalid, "context.other"},
		"bad text":           {func(c *Call) { c.Context["other"] = "\xff" }, nextbest.Invalid, "context.other"},
		"bad name":           {func(c *Call) { c.Context["\xff"] = 1.0 }, nextbest.Invalid, "context"},
		"too large":          {func(c *Call) { c.Context["other"] = strings.Repeat("x", 1<<17) }, nextbest.TooLarge, ""},
		"too deep": {func(c *Call) {
			v := any(1.0)
			for range 40 {
				v = []any{v}
			}
			c.Context["other"] = v
		}, nextbest.Invalid, ""},
		"long key": {func(c *Call) { c.Key = strings.Repeat("k", 300) }, nextbest.Invalid, "Idempotency-Key"},
	} {
		bad := call("C-1")
		c.break_(&bad)
		_, err := p.Decide(t.Context(), bad)
		if nextbest.CodeOf(err) != c.code || c.field != "" && !slices.Contains(fields(err), c.field) {
			t.Errorf("%s: %v (fields %v), want %s of %q", name, err, fields(err), c.code, c.field)
		}
	}
	if len(w.rows)+len(w.values)+len(w.claims) != 0 {
		t.Errorf("bad calls left %d rows, %d histories, %d claims", len(w.rows), len(w.values), len(w.claims))
	}
	good := call("C-1")
	good.Placement = "email@1"
	good.Context["recency"] = 2 // an int, as a Go caller may write it
	if _, err := p.Decide(t.Context(), good); err != nil || w.rows[0].X[1] != -1 {
		t.Errorf("a whole number: %v, x %v", err, w.rows)
	}
}

func TestEnginesAway(t *testing.T) {
	w := newWorld(shop(t, "uniform", 0).compile())
	p := w.pipeline(t)
	w.down = errors.New("no responders")
	if _, err := p.Decide(t.Context(), call("C-1")); nextbest.CodeOf(err) != nextbest.Unavailable {
		t.Errorf("journal away: %v", err)
	}
	w.down = nil
	w.catalogue = define(t).compile()
	w.catalogue.salt = ""
	w.catalogue.placements["email"] = &placement{}
	if _, err := p.Decide(t.Context(), call("C-1")); nextbest.CodeOf(err) != nextbest.Unavailable {
		t.Errorf("no salt: %v", err)
	}
	if _, err := NewPipeline(Options{}); len(fields(err)) != 5 {
		t.Errorf("empty options: %v", err)
	}
}

func TestRelaxed(t *testing.T) {
	w := newWorld(shop(t, "uniform", 0).compile())
	p := w.pipeline(t)
	w.down = errors.New("away for a moment")
	c := call("C-1")
	c.Relaxed = true
	a, err := p.Decide(t.Context(), c)
	if err != nil || a.Durable {
		t.Fatalf("relaxed: %+v, %v", a, err)
	}
	w.Lock()
	w.down = nil
	w.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := p.Drain(ctx); err != nil || len(w.rows) != 1 || w.rows[0].ID != a.DecisionID {
		t.Errorf("after Drain: %v, %d rows", err, len(w.rows))
	}
}

func TestHistoryLoading(t *testing.T) {
	w := newWorld(shop(t, "uniform", 0).compile())
	ready := false
	o := w.options()
	o.HistoryReady = func() bool { return ready }
	p, err := NewPipeline(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{false, true} {
		ready = want
		a, err := p.Decide(t.Context(), call("C-1"))
		if err != nil {
			t.Fatal(err)
		}
		loading := slices.Contains(a.Excluded, nextbest.Exclusion{Action: "sale", Reason: nextbest.ReasonHistoryLoading})
		if loading == ready {
			t.Errorf("ready %v: excluded %v", ready, a.Excluded)
		}
	}
}

// TestIneligibleActionChangesNothing adds actions that cannot be taken and
// expects the same distribution and, for the same uniform number, the same draw.
func TestIneligibleActionChangesNothing(t *testing.T) {
	for _, policy := range []string{"uniform", "fixed", "rules", "ucb", "lints", "plain"} {
		model := uint64(0)
		if policy == "ucb" || policy == "lints" || policy == "plain" {
			model = 1
		}
		d := shop(t, policy, model)
		before := d.compile()
		d.put(nextbest.KindAction, "aaa", `{"treatments":[{"id":"a","channel":"email"}],"lifecycle":"paused","value":7}`)
		d.put(nextbest.KindAction, "zzz", `{"treatments":[{"id":"a","channel":"post"}]}`)
		d.put(nextbest.KindPlacement, "email", `{"channels":["email"],"objective":"value@1","actions":["zzz","mens","womens","sale","vip","aaa"],"policy":"`+policy+`@1","model":`+string('0'+rune(model))+`}`)
		after := d.compile()
		for i := range 50 {
			c := call("C-1")
			c.Context["recency"] = float64(i) / 5
			var drawn [2]string
			var p [2][]float64
			for k, cat := range []*Catalogue{before, after} {
				w := new(work)
				pl := cat.placements["email"]
				if err := w.prepare(cat, pl, &c, 1<<16); err != nil {
					t.Fatal(err)
				}
				w.assign(cat, pl)
				w.uniform = nextbest.Uniform("u", c.Customer.ID)
				if err := w.decide(pl); err != nil {
					t.Fatal(err)
				}
				drawn[k], p[k] = w.question.names[w.drawn], w.p[w.serving]
			}
			if drawn[0] != drawn[1] || !slices.Equal(p[0], p[1]) {
				t.Fatalf("%s, recency %v: %s of %v, then %s of %v", policy, c.Context["recency"], drawn[0], p[0], drawn[1], p[1])
			}
		}
	}
}

// TestPropensityIsTheFrequency compares how often each action is drawn with its
// logged propensity by χ²: the bound is the 1 − 1e-4 quantile, the salt fixed.
func TestPropensityIsTheFrequency(t *testing.T) {
	n := 40_000
	if testing.Short() {
		n = 8_000
	}
	for _, policy := range []string{"fixed", "rules", "lints"} {
		model := uint64(0)
		if policy == "lints" {
			model = 1
		}
		d := shop(t, policy, model)
		c := d.compile()
		pl := c.placements["email"]
		w := new(work)
		cl := call("C-1")
		if err := w.prepare(c, pl, &cl, 1<<16); err != nil {
			t.Fatal(err)
		}
		w.assign(c, pl)
		var m Minter
		counts := map[int]float64{}
		start := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
		for i := range n {
			w.uniform = bandit.DrawUniform("salt-one", m.Mint(start.Add(time.Duration(i)*time.Millisecond)), 1)
			if err := w.decide(pl); err != nil {
				t.Fatal(err)
			}
			counts[w.drawn]++
		}
		chi, cells := 0.0, 0
		for j, p := range w.p[w.serving] {
			if p == 0 {
				if counts[j] > 0 {
					t.Errorf("%s: %s was drawn at probability 0", policy, w.question.names[j])
				}
				continue
			}
			expected := p * float64(n)
			chi += (counts[j] - expected) * (counts[j] - expected) / expected
			cells++
		}
		// Quantiles 1 − 1e-4 of χ² with 1 … 4 degrees of freedom.
		if bound := []float64{15.14, 18.42, 21.11, 23.51}[cells-2]; chi > bound {
			t.Errorf("%s: χ² = %.1f over %d cells, bound %.1f; counts %v of %v", policy, chi, cells, bound, counts, w.p[w.serving])
		}
	}
}

// TestMixture runs an experiment with holdout and ramp over many customers of
// one context, and checks that the logged mixture's propensity is the frequency
// with which the platform as a whole takes each action: the mean over all rows
// of 1{action = a}/μ(a) is 1.
func TestMixture(t *testing.T) {
	n := 12_000
	if testing.Short() {
		n = 4_000
	}
	d := shop(t, "uniform", 0).holdout(0.1).experiment("running", `,"ramp":0.6,"set_aside":true`)
	c := d.compile()
	w := newWorld(c)
	p := w.pipeline(t)
	for i := range n {
		cl := call("C-" + strings.Repeat("x", i%7) + string(rune('0'+i%10)) + time.Duration(i).String())
		if _, err := p.Decide(t.Context(), cl); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Millisecond)
	}
	sum, square := map[string]float64{}, map[string]float64{}
	arms := map[string]float64{}
	for _, r := range w.rows {
		inverse := 1 / r.MixturePropensity()
		// The eligible set is the same for all, so each group of customers with
		// one mixture contributes 1 in the mean for every action.
		sum[r.Action] += inverse
		square[r.Action] += inverse * inverse
		arms[r.Arm]++
		shares := 0.0
		for _, a := range r.Arms {
			shares += a.Share
			if a.Arm == r.Arm && a.Probability != r.Propensity {
				t.Fatalf("the serving arm's probability %v is not the propensity %v", a.Probability, r.Propensity)
			}
		}
		if math.Abs(shares-1) > 1e-12 {
			t.Fatalf("shares sum to %v", shares)
		}
		enrolled := len(r.Arms) == 4
		if r.SetAside != enrolled || (r.Experiment != "") != (enrolled && r.Arm != "holdout") {
			t.Fatalf("enrolled %v: set aside %v, experiment %q, arm %q", enrolled, r.SetAside, r.Experiment, r.Arm)
		}
		if r.Arm == "holdout" && (r.Action != nextbest.DoNothing || r.Propensity != 1 || r.Policy != "") {
			t.Fatalf("holdout row %+v", r)
		}
		if len(r.X) != 3 || r.Features != "retail@1" {
			t.Fatalf("arm %q: X %v of %q", r.Arm, r.X, r.Features)
		}
	}
	for a, s := range sum {
		mean := s / float64(n)
		se := math.Sqrt(square[a]/float64(n)-mean*mean) / math.Sqrt(float64(n))
		if math.Abs(mean-1) > 4*se {
			t.Errorf("%s: mean inverse propensity %.3f ± %.3f, want 1", a, mean, se)
		}
	}
	for arm, share := range map[string]float64{"holdout": .1, "": .9 * .4, "control": .9 * .6 * .5, "candidate": .9 * .6 * .3, "simple": .9 * .6 * .2} {
		if got := arms[arm] / float64(n); math.Abs(got-share) > 4*math.Sqrt(share*(1-share)/float64(n)) {
			t.Errorf("arm %q has %.3f of the customers, want %.3f", arm, got, share)
		}
	}
	// Floor: Σ s_k floor_k(K).
	for _, r := range w.rows {
		k := float64(len(r.Eligible))
		want := .9 * 1 / k
		if len(r.Arms) == 4 {
			want = .9 * (.5*.2 + .3*.04 + .2*.2) / k
		}
		var own float64
		for _, a := range r.Arms {
			least := map[string]float64{"": 1, "control": .2, "candidate": .04, "simple": .2}[a.Arm] / k
			if math.Abs(a.Floor-least) > 1e-12 {
				t.Fatalf("arm %q: floor %v, want %v", a.Arm, a.Floor, least)
			}
			own += a.Share * a.Floor
		}
		if math.Abs(r.Floor-want) > 1e-12 || math.Abs(r.Floor-own) > 1e-12 {
			t.Fatalf("floor %v with arms %v, want %v", r.Floor, r.Arms, want)
		}
	}
}

func TestMint(t *testing.T) {
	var m Minter
	now := time.Date(2026, 11, 23, 10, 0, 0, 987654321, time.UTC)
	last := m.Mint(now)
	if last.Version() != 7 || last.Variant() != 1 || !MintedAt(last).Equal(now.Truncate(time.Millisecond)) {
		t.Errorf("%s: version %d, variant %d, minted at %s", last, last.Version(), last.Variant(), MintedAt(last))
	}
	for range 10_000 { // the clock stands still, then goes back
		id := m.Mint(now)
		if id.String() <= last.String() {
			t.Fatalf("%s after %s", id, last)
		}
		last, now = id, now.Add(-time.Nanosecond)
	}
}
