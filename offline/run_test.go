package offline

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"nextbest"
	"nextbest/estimators"
)

func conversions() *Simulation {
	return &Simulation{Types: 6, Actions: 5, Customers: 12000, Each: 2, Rate: 0.1, Epsilon: 0.3, Seed: 3}
}

func request(s *Simulation, candidates ...Candidate) Request {
	return Request{
		Query: nextbest.Query{Placement: "email-daily", MatureAt: s.End().Add(48 * time.Hour),
			Objective: nextbest.Objective{Terms: []nextbest.Term{{Reward: "purchase", Weight: 1}}, Window: nextbest.Duration(24 * time.Hour)}},
		Candidates: candidates, Seed: 7,
	}
}

func evaluated(t *testing.T, r Reader, req Request) *Report {
	t.Helper()
	report, err := Run(context.Background(), r, req, nil)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func get(t *testing.T, r *Report, name string) *Result {
	t.Helper()
	x, ok := r.Result(name)
	if !ok {
		t.Fatalf("no result %q", name)
	}
	return x
}

func TestRunFindsTheTruth(t *testing.T) {
	s := conversions()
	report := evaluated(t, s, request(s, s.Best(), s.Best().Explore(0.1)))
	var table bytes.Buffer
	if err := report.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + table.String())
	truth := map[string]float64{
		"best": s.Best().Value(), "best+0.1": s.Best().Explore(0.1).Value(), "logged": s.Logger().Value(),
		"best_fixed": s.Always(1).Value(), "do-nothing": s.Always(0).Value(),
	}
	for name, v := range truth {
		x := get(t, report, name)
		if x.Refused() {
			t.Errorf("%s: refused: %v", name, x.Refusals)
			continue
		}
		for which, f := range map[string]*Figure{"IPS": x.IPS, "SNIPS": x.SNIPS, "DR": x.DR} {
			if !(f.Low <= f.Value && f.Value <= f.High) {
				t.Errorf("%s %s: value outside its interval: %+v", name, which, *f)
			}
			if d := math.Abs(f.Value - v); d > 1.7*(f.High-f.Low) || f.Method != methodLikelihood {
				t.Errorf("%s %s: %+v, truth %g", name, which, *f, v)
			}
		}
	}
	best := get(t, report, "best")
	if !strings.Contains(best.Verdict, "better than what ran") || !best.Gate.Passed || best.Gate.Lower <= 0 || best.Gate.Delta != 0.025 {
		t.Errorf("verdict %q, gate %+v", best.Verdict, *best.Gate)
	}
	if d := truth["best"] - truth["logged"]; !(best.VsLogged.Low < d && d < best.VsLogged.High) {
		t.Errorf("difference from what ran %+v, truth %g", *best.VsLogged, d)
	}
	if d := truth["best"] - truth["best_fixed"]; !(best.VsBestFixed.Low < d && d < best.VsBestFixed.High) {
		t.Errorf("difference from the best fixed action %+v, truth %g", *best.VsBestFixed, d)
	}
	for _, b := range report.BestFixed[1:] {
		if b != "offer-01" {
			t.Errorf("best fixed action %v", report.BestFixed)
		}
	}
	if !strings.HasPrefix(get(t, report, "do-nothing").Verdict, "worse than what ran") {
		t.Errorf("do-nothing: %q", get(t, report, "do-nothing").Verdict)
	}
}

// The same request gives the same report bit for bit, however rows are cut
// into batches and whether lanes run side by side or not.
func TestRunRepeats(t *testing.T) {
	s := conversions()
	s.Customers, s.Revenue = 1500, true // clustered, skewed
	encode := func(size int, c Candidate) string {
		req := request(s, c)
		req.Query.BatchSize = size
		report := evaluated(t, s, req)
		b, err := json.MarshalIndent(report, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	want := encode(0, s.Best())
	for _, size := range []int{1, 97, 1024} {
		if got := encode(size, s.Best()); got != want {
			t.Errorf("batches of %d give another report", size)
		}
	}
	if got := encode(100, unforked{s.Best()}); got != want {
		t.Error("one core gives another report than two")
	}
	if !strings.Contains(want, `"matched_conversions"`) || strings.Contains(want, "NaN") {
		t.Errorf("JSON: %s", want)
	}
	req := request(s, s.Best())
	req.Seed = 8
	if evaluated(t, s, req).Results[0].DR.Value == evaluated(t, s, request(s, s.Best())).Results[0].DR.Value {
		t.Error("the seed changes nothing")
	}
}

type unforked struct{ p SimulatedPolicy }

func (u unforked) Name() string { return u.p.Name() }

func (u unforked) Distribution(p []float64, b *nextbest.Batch, i int) error {
	return u.p.Distribution(p, b, i)
}

func TestRunRefuses(t *testing.T) {
	small := func() *Simulation { s := conversions(); s.Customers = 2000; return s }
	for _, c := range []struct {
		name  string
		sim   func() *Simulation
		ask   func(*Simulation, *Request)
		code  string
		cure  string
		other bool // more refusals are expected
	}{
		{name: "rules alone", sim: func() *Simulation { s := small(); s.Epsilon = 0; return s }, code: estimators.RefusedDeterministic, cure: "exploration: ε ≥ 0.05", other: true},
		{name: "missing propensities", sim: func() *Simulation { s := small(); s.Unlogged = 0.001; return s }, code: estimators.RefusedPropensity, cure: "randomised"},
		{name: "changed after logging", sim: func() *Simulation { s := small(); s.Redraw = 0.1; return s }, code: estimators.RefusedCalibration, cure: "evaluate rows logged since", other: true},
		{name: "few conversions", sim: func() *Simulation { s := small(); s.Rate = 0.002; return s }, code: estimators.RefusedConversions, cure: "customers", other: true},
		{name: "few customers", sim: func() *Simulation { s := small(); s.Customers = 120; s.Rate = 0.45; return s }, code: estimators.RefusedESS, cure: "times as many", other: true},
		{name: "not mature", ask: func(s *Simulation, r *Request) { r.Query.MatureAt = s.End() }, code: estimators.RefusedImmature, cure: "1d"},
		{name: "trained on a split", ask: func(_ *Simulation, r *Request) {
			r.Training = []nextbest.Split{{Salt: "half", From: 0, To: 0.5}}
		}, code: estimators.RefusedTraining, cure: "other customers"},
		{name: "trained on a period", ask: func(s *Simulation, r *Request) {
			r.TrainedOn = []Period{{To: simulationStart.Add(time.Hour)}}
		}, code: estimators.RefusedTraining, cure: "later decisions"},
		{name: "floor too high", ask: func(_ *Simulation, r *Request) { r.MaxWeight = 1.5 }, code: estimators.RefusedFloor, cure: "floor"},
		{name: "nothing there", sim: func() *Simulation { s := small(); s.Customers = 0; return s }, code: estimators.RefusedEmpty, cure: "range"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.sim == nil {
				c.sim = small
			}
			s := c.sim()
			req := request(s, s.Best())
			if c.ask != nil {
				c.ask(s, &req)
			}
			report := evaluated(t, s, req)
			x := get(t, report, "best")
			found := false
			for _, r := range x.Refusals {
				if r.Code == c.code {
					found = true
					if !strings.Contains(r.Cure, c.cure) {
						t.Errorf("cure %q", r.Cure)
					}
				}
			}
			if !found || len(x.Refusals) > 1 && !c.other {
				t.Errorf("refusals %+v", x.Refusals)
			}
			if !strings.HasPrefix(x.Verdict, "REFUSED: ") || x.Gate != nil && x.Gate.Passed {
				t.Errorf("verdict %q, gate %+v", x.Verdict, x.Gate)
			}
			if _, err := json.Marshal(report); err != nil {
				t.Errorf("JSON: %v", err)
			}
			var b bytes.Buffer
			if err := report.WriteTable(&b); err != nil || !strings.Contains(b.String(), "REFUSED") {
				t.Errorf("table: %v\n%s", err, b.String())
			}
			t.Log(x.Verdict)
		})
	}
	s := small()
	if x := get(t, evaluated(t, s, request(s, s.Best())), "best"); x.Refused() {
		t.Errorf("a healthy log is refused: %v", x.Refusals)
	}
}

// Beside a holdout, rules alone are still found out, though no propensity is
// 1; doing nothing can be evaluated from the holdout, and with exploration the
// mixture's propensities give the truth.
func TestRunWithHoldout(t *testing.T) {
	s := conversions()
	s.Holdout, s.Epsilon, s.Each = 0.2, 0, 1
	report := evaluated(t, s, request(s, s.Best()))
	x := get(t, report, "best")
	if !x.Refused() || x.Refusals[0].Code != estimators.RefusedDeterministic || x.DR != nil {
		t.Errorf("rules and a holdout: %+v", x.Refusals)
	}
	x = get(t, report, nextbest.DoNothing)
	v := s.Always(0).Value()
	if x.Refused() || !(x.IPS.Low < v && v < x.IPS.High) {
		t.Errorf("do-nothing %+v %+v, truth %g", x.Refusals, x.IPS, v)
	}
	s.Epsilon = 0.3
	x = get(t, evaluated(t, s, request(s, s.Best())), "best")
	if v = s.Best().Value(); x.Refused() || !(x.DR.Low < v && v < x.DR.High) {
		t.Errorf("best %+v %+v, truth %g", x.Refusals, x.DR, v)
	}
}

// A day on which the logged propensities were not true is named.
func TestRunNamesABrokenDay(t *testing.T) {
	s := conversions()
	s.Each = 3
	named := func() bool {
		x := get(t, evaluated(t, s, request(s, s.Best())), "best")
		for _, w := range x.Warnings {
			if strings.Contains(w, "2026-01-06") && strings.Contains(w, "rule@1") {
				return true
			}
		}
		return false
	}
	if named() {
		t.Error("a healthy day is named")
	}
	s.Broken = true
	if !named() {
		t.Error("the broken day is not named")
	}
}

// Off support only bounds are given, and they hold the truth.
func TestRunBoundsOffSupport(t *testing.T) {
	s := conversions()
	s.Epsilon = 0
	x := get(t, evaluated(t, s, request(s, s.Best())), "best")
	if x.IPS != nil || x.DR != nil || x.Bounds == nil {
		t.Fatalf("%+v", x)
	}
	if v := s.Best().Value(); !(x.Bounds.Low <= v && v <= x.Bounds.High) || x.Bounds.Low <= 0 || x.Bounds.High >= 1 {
		t.Errorf("bounds %+v, truth %g", *x.Bounds, v)
	}
	logged := get(t, evaluated(t, s, request(s, s.Best())), "logged")
	if logged.Refused() || logged.Verdict != "what ran" {
		t.Errorf("what ran needs no exploration: %+v", logged)
	}
}

// Without a declared floor, and for learning loggers, the usual intervals are by
// betting; with a floor, a learning logger's log has a confidence sequence too.
func TestRunWithoutFloor(t *testing.T) {
	s := conversions()
	s.Undeclared = true
	for name, adapt := range map[string]bool{"undeclared": false, "adaptive": true} {
		s.Undeclared = !adapt
		req := request(s, s.Best())
		req.Adaptive = adapt
		report := evaluated(t, s, req)
		x := get(t, report, "best")
		if x.IPS.Method != methodBetting || x.VsLogged.Method != methodBetting || x.DR.Method != methodNormal || (x.Value != nil) != adapt || adapt && x.Main().Method != methodSequence {
			t.Errorf("%s: %+v", name, x)
		}
		v := s.Best().Value()
		if !(x.IPS.Low < v && v < x.IPS.High && x.VsLogged.Low < v-s.Logger().Value() && v-s.Logger().Value() < x.VsLogged.High) {
			t.Errorf("%s: IPS %+v, against logged %+v, truth %g", name, *x.IPS, *x.VsLogged, v)
		}
		if len(report.Warnings) == 0 {
			t.Errorf("%s: no warning", name)
		}
	}
}

func TestRunBadInput(t *testing.T) {
	s := conversions()
	s.Customers = 50
	ctx := context.Background()
	for name, c := range map[string]struct {
		reader Reader
		ask    func(*Request)
		want   string
	}{
		"no objective":    {s, func(r *Request) { r.Query.Objective.Terms = nil }, "query.objective"},
		"one fold":        {s, func(r *Request) { r.Folds = 1 }, "folds"},
		"taken name":      {s, func(r *Request) { r.Candidates = append(r.Candidates, s.Best()) }, "taken"},
		"level":           {s, func(r *Request) { r.Level = 95 }, "level"},
		"max weight":      {s, func(r *Request) { r.MaxWeight = 0.5 }, "max_weight"},
		"not a policy":    {s, func(r *Request) { r.Candidates = []Candidate{broken{0.5}} }, "sum to"},
		"negative":        {s, func(r *Request) { r.Candidates = []Candidate{broken{-1}} }, "probability -1"},
		"not a number":    {s, func(r *Request) { r.Candidates = []Candidate{broken{math.NaN()}} }, "probability NaN"},
		"zero propensity": {spoil{s, func(b *nextbest.Batch) { b.Propensity[3] = 0 }}, nil, "propensity of"},
		"big propensity":  {spoil{s, func(b *nextbest.Batch) { b.Propensity[3] = 1.2 }}, nil, "0000-0003"},
		"not chosen":      {spoil{s, func(b *nextbest.Batch) { b.Chosen[3] = 9 }}, nil, "not among"},
		"reward":          {spoil{s, func(b *nextbest.Batch) { b.Reward[3] = math.Inf(1) }}, nil, "reward is +Inf"},
		"order":           {spoil{s, func(b *nextbest.Batch) { b.Customer[9] = "a" }}, nil, "order rows by customer"},
		"lengths":         {spoil{s, func(b *nextbest.Batch) { b.Reward = b.Reward[1:] }}, nil, "values of reward"},
		"probability":     {spoil{s, func(b *nextbest.Batch) { b.Probabilities[0] = -0.1 }}, nil, "must be in [0, 1]"},
	} {
		req := request(s, s.Best())
		if c.ask != nil {
			c.ask(&req)
		}
		_, err := Run(ctx, c.reader, req, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := Run(cancelled, s, request(s, s.Best()), nil); err == nil {
		t.Error("a cancelled run ends without an error")
	}
	var seen []int64
	if _, err := Run(ctx, s, request(s, s.Best()), func(n int64) { seen = append(seen, n) }); err != nil || len(seen) != 2 || seen[1] != 200 {
		t.Errorf("progress %v, %v", seen, err)
	}
}

type broken struct{ p float64 }

func (broken) Name() string { return "broken" }

func (c broken) Distribution(p []float64, _ *nextbest.Batch, _ int) error {
	clear(p)
	p[0] = c.p
	return nil
}

type spoil struct {
	*Simulation
	f func(*nextbest.Batch)
}

func (s spoil) Rows(ctx context.Context, q nextbest.Query, f func(*nextbest.Batch) error) error {
	return s.Simulation.Rows(ctx, q, func(b *nextbest.Batch) error { s.f(b); return f(b) })
}

// A declared range of rewards that the log contradicts is no range.
func TestRunRefusesABrokenRange(t *testing.T) {
	s := Simulation{Types: 4, Actions: 3, Customers: 400, Each: 1, Rate: 0.2, Epsilon: 0.5, Revenue: true, Seed: 3}
	for field, declared := range map[string][2]float64{"reward_max": {0, 0.5}, "reward_min": {0.5, 1000}} {
		req := request(&s, s.Best())
		req.RewardMin, req.RewardMax = &declared[0], &declared[1]
		_, err := Run(t.Context(), &s, req, nil)
		if nextbest.CodeOf(err) != nextbest.Invalid || !strings.Contains(err.Error(), field) {
			t.Errorf("%v: %v", declared, err)
		}
	}
}

// Beside a holdout, rules without exploration leave what no arm ever does
// without support, though each row's propensity is below its probability.
func TestRunSeesWhatNoArmEverDoes(t *testing.T) {
	s := Simulation{Types: 2, Actions: 4, Customers: 4000, Each: 1, Rate: 0.2, Holdout: 0.2, Seed: 5}
	report := evaluated(t, &s, request(&s, s.Logger().Explore(0.2)))
	x := get(t, report, "rule+0.2")
	if u := x.Diagnostics.OffSupport; math.Abs(u-0.2/3) > 0.005 || !slices.ContainsFunc(x.Refusals, func(r estimators.Refusal) bool { return r.Code == estimators.RefusedOffSupport }) {
		t.Errorf("off support %.4f, want a third of 0.2 refused: %+v", u, x.Refusals)
	}
}

// The gate of a candidate's k-th evaluation has its share of the error alone.
func TestGatesShareTheError(t *testing.T) {
	s := conversions()
	req := request(s, s.Best(), s.Best().Explore(0.1))
	whole := get(t, evaluated(t, s, req), "best").Gate
	req.Looks = []int{1, 3}
	report := evaluated(t, s, req)
	first, third := get(t, report, "best").Gate, get(t, report, "best+0.1").Gate
	if first.Delta != estimators.Spend(0.025, 1) || third.Delta != estimators.Spend(0.025, 3) || first.Look != 1 || third.Look != 3 || whole.Look != 0 {
		t.Errorf("gates %+v and %+v, without looks %+v", first, third, whole)
	}
	if !(first.Lower < whole.Lower) {
		t.Errorf("a smaller error gives the bound %g, the whole one %g", first.Lower, whole.Lower)
	}
	req.Looks = []int{0, 1}
	if _, err := Run(t.Context(), s, req, nil); err == nil || !strings.Contains(err.Error(), "looks") {
		t.Errorf("look 0: %v", err)
	}
}

// A fixed action is valued as what it is: always that action where it is
// eligible, else nothing; one that was never eligible is refused.
func TestRunFixedBaselines(t *testing.T) {
	s := conversions()
	req := request(s, s.Best())
	req.Fixed = []string{s.name(2), nextbest.DoNothing, "offer-99"}
	report := evaluated(t, s, req)
	two := get(t, report, "fixed:"+s.name(2))
	if !two.Baseline || two.Refused() || two.Gate != nil {
		t.Fatalf("%+v", *two)
	}
	if v := s.Always(2).Value(); math.Abs(two.DR.Value-v) > 1.7*(two.DR.High-two.DR.Low) || two.VsLogged == nil {
		t.Errorf("%+v, truth %v", *two.DR, v)
	}
	idle, alike := get(t, report, nextbest.DoNothing), get(t, report, "fixed:"+nextbest.DoNothing)
	if *idle.DR != *alike.DR || *idle.IPS != *alike.IPS {
		t.Errorf("always doing nothing is %+v, do-nothing %+v", *alike.DR, *idle.DR)
	}
	if never := get(t, report, "fixed:offer-99"); !never.Refused() || never.DR != nil || !strings.Contains(never.Verdict, "never an eligible action") {
		t.Errorf("%+v", *never)
	}
	req.Fixed = []string{s.name(2), s.name(2)}
	if _, err := Run(context.Background(), s, req, nil); err == nil || !strings.Contains(err.Error(), "fixed[1]") {
		t.Errorf("an action named twice: %v", err)
	}
}
