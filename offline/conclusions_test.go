package offline

import (
	"fmt"
	"strings"
	"testing"

	"nextbest/estimators"
)

// A terminal says what each gate was, which action is the best fixed one and on
// whose customers it stands, and what no row has.
func TestTableSaysWhatConclusionsStandOn(t *testing.T) {
	s := &Simulation{Types: 6, Actions: 4, Customers: 1500, Each: 1, Rate: 0.2, Epsilon: 0.6, Seed: 8}
	req := request(s, s.Best(), s.Always(1))
	req.Looks, req.Segments = []int{3, 1}, []string{"context.nope", "policy"}
	req.Estimators = []estimators.Choice{choice(t, "mrdr"), choice(t, "dros:lambda=1"), choice(t, "replay")}
	report := evaluated(t, s, req)
	var b strings.Builder
	if err := report.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	x, fixed := get(t, report, "best"), get(t, report, nameBestFixed)
	if x.Gate == nil || fixed.Diagnostics.Customers == 0 || fixed.Diagnostics.Customers >= report.Log.Customers {
		t.Fatalf("%+v; %d of %d customers", x.Gate, fixed.Diagnostics.Customers, report.Log.Customers)
	}
	for _, want := range []string{
		"best_fixed (" + report.FixedNames() + ")",
		fmt.Sprintf("gate: best: lower bound %s at δ = %s, look 3: ", signed(x.Gate.Lower), number(estimators.Spend(0.05, 3)/2)),
		fmt.Sprintf("best %s at look 3", number(estimators.Spend(0.05, 3)/2)),
		fmt.Sprintf("stand on the %s of %s customers", thousands(float64(fixed.Diagnostics.Customers)), thousands(float64(report.Log.Customers))),
		"no row has context.nope", "dros:lambda=1: ", "on one decision: propensity",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the table lacks %q:\n%s", want, text)
		}
	}
	for _, no := range []string{"DR with a model fitted for it", "row 0", "no row has policy"} {
		if strings.Contains(text, no) {
			t.Errorf("the table says %q", no)
		}
	}
	if featureless := strings.Contains(text, "no row carries features"); featureless != (report.Log.Features == 0) {
		t.Errorf("%d features, warned %v", report.Log.Features, featureless)
	}
}

// A verdict beside a gate that its bound did not pass is explained; what beats the
// best fixed action, or nothing does, is said.
func TestConclusionsInWords(t *testing.T) {
	figure := func(low, high float64) *Figure { return &Figure{Value: (low + high) / 2, Low: low, High: high} }
	x := Result{Name: "c", VsLogged: figure(0.01, 0.03), VsBestFixed: figure(-0.01, 0.02), Gate: &Gate{Lower: -0.158, Delta: 0.0051, Look: 3, Declared: true}}
	r := &Report{Level: 0.95, BestFixed: []string{"", "mens", "mens"}, Results: []Result{x, {Name: nameBestFixed, Baseline: true}}}
	if got := r.GateText(&x); got != "lower bound −0.158 at δ = 0.0051, look 3: not passed" {
		t.Error(got)
	}
	if r.BothTrue(&x) == "" || r.BesideFixed() != "nothing here is shown to beat always mens" {
		t.Errorf("%q, %q", r.BothTrue(&x), r.BesideFixed())
	}
	x.Gate.Lower, x.Gate.Declared = 0.1, false
	if got := r.GateText(&x); !strings.HasSuffix(got, "reward_min and reward_max are not declared") || r.BothTrue(&x) != "" {
		t.Errorf("%q, %q", got, r.BothTrue(&x))
	}
	x.Gate.Declared, x.Gate.Passed = true, true
	if got := r.GateText(&x); !strings.HasSuffix(got, ": passed") || r.BothTrue(&x) != "" {
		t.Errorf("%q, %q", got, r.BothTrue(&x))
	}
	r.Results[0].VsBestFixed = figure(0.001, 0.02)
	if got := r.BesideFixed(); got != "" {
		t.Error(got)
	}
}
