package experiments

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"nextbest"
	"nextbest/estimators"
)

var start = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

func running(t testing.TB, document string) *Definition {
	t.Helper()
	d, err := mustParse(t, document).Start(start)
	if err != nil {
		t.Fatal(err)
	}
	d.ID = "exp-1"
	return &d
}

var objective = &nextbest.Objective{
	Terms:  []nextbest.Term{{Reward: "purchase", Weight: 1}, {Reward: "opt_out", Weight: -5}, {Reward: "visit", Weight: .1}},
	Window: nextbest.Duration(14 * day),
}

func TestQueries(t *testing.T) {
	a := NewAccumulator(running(t, valid), objective, start.Add(30*day))
	q := a.Queries()
	if len(q) != 2 || q[0].Window.String() != "14d" || q[1].Window.String() != "7d" {
		t.Fatalf("%+v", q)
	}
	// Primary first, then the objective's other rewards and the guardrails', each once.
	if got := strings.Join(q[0].Rewards, " "); got != "purchase opt_out visit" {
		t.Errorf("rewards of the first query: %s", got)
	}
	if got := strings.Join(q[1].Rewards, " "); got != "purchase" {
		t.Errorf("rewards of the second query: %s", got)
	}
	if q[0].Experiment != "exp-1" || !q[0].MatureAt.Equal(start.Add(30*day)) {
		t.Errorf("%+v", q[0])
	}
}

// enrolment of query 0: purchase, opt_out, visit.
func enrolment(arm string, at time.Time, decisions int, purchase, optOut, visit float64) nextbest.Enrolment {
	e := nextbest.Enrolment{Customer: arm + at.String(), Arm: arm, Time: at, Decisions: decisions, Total: []float64{purchase, optOut, visit}, First: make([]time.Time, 3)}
	for i, v := range e.Total {
		if v != 0 {
			e.First[i] = at.Add(time.Hour)
		}
	}
	return e
}

func TestEvidenceByHand(t *testing.T) {
	d := running(t, valid)
	a := NewAccumulator(d, objective, start.Add(15*day))
	at := func(h int) time.Time { return start.Add(time.Duration(h) * time.Hour) }
	late := enrolment("candidate", at(5), 1, 0, 0, 0)
	late.First[0] = late.Time.Add(14 * day) // at the window's end is outside it
	late.Total[0] = 80
	for _, e := range []nextbest.Enrolment{
		enrolment("candidate", start.Add(-time.Hour), 1, 60, 0, 0), // before the start
		enrolment("control", at(1), 2, 60, 0, 1),
		enrolment("control", at(2), 1, 0, 0, 0),
		enrolment("candidate", at(3), 3, 250, 0, 2), // over the guardrail's cap
		enrolment("candidate", at(4), 1, 10, 1, 0),
		late,
		enrolment("holdout", at(6), 1, 99, 0, 0),
		enrolment("candidate", at(25), 1, 60, 0, 0), // its window is open
	} {
		if err := a.Add(0, e); err != nil {
			t.Fatal(err)
		}
		short := e
		short.Total, short.First = e.Total[:1], e.First[:1]
		if err := a.Add(1, short); err != nil {
			t.Fatal(err)
		}
	}
	e := a.Evidence()
	control, candidate := e.Arm("control"), e.Arm("candidate")
	if e.Customers != 5 || control.Customers != 2 || candidate.Customers != 3 || control.Converted != 1 || candidate.Converted != 2 {
		t.Fatalf("counts: %+v %+v", control, candidate)
	}
	// control: (60 + .1) / 2 customers; candidate: 250.2 and 10 − 5 over 3.
	if v := control.ValuePerCustomer.Value; math.Abs(v-60.1/2) > 1e-12 {
		t.Errorf("control's value per customer %v", v)
	}
	if v := candidate.ValuePerDecision.Value; math.Abs(v-255.2/5) > 1e-12 || candidate.ValuePerDecision.Low != nil {
		t.Errorf("candidate's value per decision %+v", candidate.ValuePerDecision)
	}
	want := estimators.NewSuperiorityTest(.5)
	want.Add(true)
	want.Add(false)
	want.Add(false)
	if got := candidate.Lift.Superior.E; math.Abs(got-math.Exp(want.LogE())) > 1e-12 {
		t.Errorf("e-value %v, want %v", got, math.Exp(want.LogE()))
	}
	g := candidate.Guardrails
	if len(g) != 3 || g[0].Reward != "purchase" || g[0].NonInferior != nil || g[1].Reward != "opt_out" || g[2].Kind != Value {
		t.Fatalf("guardrails %+v", g)
	}
	if g[1].Candidate != 1./3 || g[1].Control != 0 {
		t.Errorf("opt-outs %v against %v", g[1].Candidate, g[1].Control)
	}
	// Within 7 days, mature ones only: (100 + 10 + 0)/4 and 60/2; the customer
	// whose fourteen days are open has had seven.
	if math.Abs(g[2].Candidate-170./4) > 1e-12 || g[2].Control != 30 {
		t.Errorf("values within 7d: %v against %v", g[2].Candidate, g[2].Control)
	}
	if needs := g[0].Rollback.Needs; math.Abs(needs-60) > 1e-9 {
		t.Errorf("a rollback needs %v, want 3/.05", needs)
	}
	if _, err := json.Marshal(e); err != nil {
		t.Error(err)
	}
}

func TestEvidenceEndsWithTheExperiment(t *testing.T) {
	d, err := running(t, valid).Stop(start.Add(16 * day))
	if err != nil {
		t.Fatal(err)
	}
	a := NewAccumulator(&d, objective, start.Add(90*day))
	for _, h := range []int{1, 47, 49} {
		if err := a.Add(0, enrolment("control", start.Add(time.Duration(h)*time.Hour), 1, 1, 0, 0)); err != nil {
			t.Fatal(err)
		}
	}
	if n := a.Evidence().Customers; n != 2 {
		t.Errorf("%d customers, want the 2 whose window closed before the end", n)
	}
}

func TestAddRefusesWhatItCannotTrust(t *testing.T) {
	a := NewAccumulator(running(t, valid), objective, start.Add(90*day))
	if err := a.Add(0, enrolment("control", start.Add(2*time.Hour), 1, 0, 0, 0)); err != nil {
		t.Fatal(err)
	}
	if err := a.Add(0, enrolment("control", start.Add(time.Hour), 1, 0, 0, 0)); err == nil || !strings.Contains(err.Error(), "out of order") {
		t.Errorf("out of order: %v", err)
	}
	e := enrolment("control", start.Add(3*time.Hour), 1, 0, 0, 0)
	e.Total = e.Total[:2]
	if err := a.Add(0, e); nextbest.CodeOf(err) != nextbest.Internal {
		t.Errorf("columns missing: %v", err)
	}
}

func TestRatioMeanAgainstTwoPass(t *testing.T) {
	var r ratioMean
	var xs, ds []float64
	for i := range 200 {
		x, d := 1e6+float64(i%7), float64(1+i%3)
		xs, ds = append(xs, x), append(ds, d)
		r.add(x, d)
	}
	var sx, sd float64
	for i := range xs {
		sx, sd = sx+xs[i], sd+ds[i]
	}
	v, n := sx/sd, float64(len(xs))
	var sum float64
	for i := range xs {
		sum += (xs[i] - v*ds[i]) * (xs[i] - v*ds[i])
	}
	mean, s := r.perDecision()
	if want := math.Sqrt(sum/n) / (sd / n); math.Abs(mean-v) > 1e-9*v || math.Abs(s-want) > 1e-9*want {
		t.Errorf("%v ± %v, want %v ± %v", mean, s, v, want)
	}
}

// Several candidates share the false discoveries by e-BH.
func TestSeveralCandidates(t *testing.T) {
	d := running(t, `{"placement":"p","salt":"m","window":"1d","primary":{"reward":"purchase"},"arms":[
		{"id":"control","policy":"rules@1","share":0.4,"control":true},{"id":"a","policy":"a@1","share":0.3},{"id":"b","policy":"b@1","share":0.3}]}`)
	feed := func(counts map[string]int) *Evidence {
		acc := NewAccumulator(d, nil, start.Add(90*day))
		at := start
		for _, arm := range []string{"control", "a", "b"} {
			for range counts[arm] {
				at = at.Add(time.Second)
				if err := acc.Add(0, nextbest.Enrolment{Customer: fmt.Sprint(at), Arm: arm, Time: at, First: []time.Time{at}, Total: []float64{1}}); err != nil {
					t.Fatal(err)
				}
			}
		}
		return acc.Evidence()
	}
	one := feed(map[string]int{"control": 100, "a": 112, "b": 75})
	a, b := one.Arm("a").Lift, one.Arm("b").Lift
	if a.Superior.E < 20 || a.Superior.E > 40 {
		t.Fatalf("the case should give an e-value between 20 and 40: %v", a.Superior.E)
	}
	if a.Passed || math.Abs(a.Superior.Needs-40) > 1e-9 || b.Passed {
		t.Errorf("one of two with e = %v: passed %t, needs %v", a.Superior.E, a.Passed, a.Superior.Needs)
	}
	two := feed(map[string]int{"control": 100, "a": 112, "b": 112})
	if a, b := two.Arm("a").Lift, two.Arm("b").Lift; !a.Passed || !b.Passed || math.Abs(a.Superior.Needs-20) > 1e-9 {
		t.Errorf("both of two with e = %v: %t, %t, need %v", a.Superior.E, a.Passed, b.Passed, a.Superior.Needs)
	}
}

// Revenue: no verdict before the burn-in, then a one-sided bound on the capped
// values.
func TestValuesAsPrimary(t *testing.T) {
	d := running(t, `{"placement":"p","salt":"v","window":"1d","planned_customers":2000,"primary":{"reward":"purchase","kind":"value","cap":50},"arms":[
		{"id":"control","policy":"rules@1","share":0.5,"control":true},{"id":"candidate","policy":"a@1","share":0.5}]}`)
	feed := func(n int, cap float64) *Evidence {
		acc := NewAccumulator(d, nil, start.Add(90*day))
		at := start
		for i := range n {
			at = at.Add(time.Minute)
			e := nextbest.Enrolment{Customer: fmt.Sprint(i), Arm: "control", Time: at, First: make([]time.Time, 1), Total: make([]float64, 1)}
			if i%10 == 0 {
				e.First[0], e.Total[0] = at, 20
			}
			if (i/2)%2 == 0 {
				e.Arm = "candidate"
				if i%10 == 0 {
					e.Total[0] = cap
				}
			}
			if err := acc.Add(0, e); err != nil {
				t.Fatal(err)
			}
		}
		return acc.Evidence()
	}
	if l := feed(400, 50).Arm("candidate").Lift; l.Lower != nil || l.Passed || l.Superior != nil || l.Difference.Low != nil {
		t.Errorf("20 conversions an arm: %+v", l)
	}
	if l := feed(3000, 20).Arm("candidate").Lift; l.Passed || l.Lower == nil || *l.Lower > 0 || *l.Difference.High < 0 {
		t.Errorf("equal arms: %+v", l)
	}
	better, capped := feed(3000, 50).Arm("candidate"), feed(3000, 5000).Arm("candidate")
	if l := better.Lift; !l.Passed || *l.Lower <= 0 || *l.Lower > 3 || math.Abs(better.Mean-5) > 1e-9 {
		t.Errorf("better by 3 a customer: %+v, mean %v", l, better.Mean)
	}
	if better.Mean != capped.Mean || *better.Lift.Lower != *capped.Lift.Lower {
		t.Errorf("the cap does not hold: %v against %v", capped.Mean, better.Mean)
	}
}
