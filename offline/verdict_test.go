package offline

import (
	"math"
	"strings"
	"testing"
)

// A clear verdict says how wrong the propensities would have to be; without a
// verdict there is nothing to turn.
func TestVerdictFlipsAt(t *testing.T) {
	s := Simulation{Types: 6, Actions: 4, Customers: 6000, Each: 1, Rate: 0.2, Epsilon: 0.6, Seed: 8}
	x := get(t, evaluated(t, &s, request(&s, s.Best())), "best")
	if x.VsLogged.Low <= 0 || x.FlipsAt == nil || !(*x.FlipsAt > 1 && *x.FlipsAt < 2) {
		t.Fatalf("against what ran %+v, flips at %v", x.VsLogged, x.FlipsAt)
	}
	// The value's odds, at the flip, are its own over Γ², were there no model.
	low := x.VsLogged.Value - x.VsLogged.Low
	v := x.SNIPS.Value
	at := v / (v + (1-v)**x.FlipsAt**x.FlipsAt)
	if d := v - at - (x.VsLogged.Value - low); math.Abs(d) > 1e-6 {
		t.Errorf("SNIPS %.4f moves to %.4f, the lower end is %.4f", v, at, x.VsLogged.Low)
	}
	s.Customers, s.Epsilon = 60, 0.9
	report := evaluated(t, &s, request(&s, s.Best()))
	if x := get(t, report, "best"); x.VsLogged != nil && x.VsLogged.Low <= 0 && x.VsLogged.High >= 0 && x.FlipsAt != nil {
		t.Errorf("no verdict %+v flips at %g", x.VsLogged, *x.FlipsAt)
	} else if x.VsLogged == nil || x.VsLogged.Low > 0 {
		t.Errorf("sixty customers tell: %+v", x.VsLogged)
	}
}

// A report whose intervals are normal, for want of a declared floor, says when
// they may cover too little.
func TestNormalIntervalsWarn(t *testing.T) {
	s := Simulation{Types: 6, Actions: 4, Customers: 1500, Each: 1, Rate: 0.1, Epsilon: 0.4, Seed: 5, Undeclared: true}
	report := evaluated(t, &s, request(&s, s.Best()))
	x := get(t, report, "best")
	if x.DR == nil || x.DR.Method != methodNormal {
		t.Fatalf("the figure is %+v", x.DR)
	}
	if !strings.Contains(strings.Join(x.Warnings, "\n"), "normal interval") {
		t.Errorf("%.0f effective conversions, warnings %q", x.Diagnostics.EffectiveConversions, x.Warnings)
	}
}
