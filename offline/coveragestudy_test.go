package offline

import (
	"bytes"
	"math"
	"strings"
	"testing"
)

// Kinds of customers are a distribution, weights average to 1, and the candidate
// is worth as much as the logger.
func TestCoverageCells(t *testing.T) {
	for _, s := range CoverageSettings() {
		var p, w, r, wr float64
		for _, c := range s.cells() {
			p += c.p
			w += c.p * c.weight / c.rows
			wr += c.p * c.weighted / c.rows
			r += c.p * c.rewards / c.rows
		}
		if math.Abs(p-1) > 1e-12 || math.Abs(w-1) > 1e-12 || math.Abs(wr-r) > 1e-12 {
			t.Errorf("%+v: Σp %g, mean weight %g, value %g, logger %g", s, p, w, wr, r)
		}
	}
}

// A part of the study: default intervals cover from 20 conversions up, others
// where nothing warns; normal ones do fail where it does, so the study can tell.
func TestCoverageStudy(t *testing.T) {
	const reps = 200
	settings := []CoverageSetting{
		{Customers: 10000, Rows: 1, Tail: "heavy", Rate: 0.05},
		{Customers: 5000, Rows: 5, Tail: "medium", Rate: 0.05},
		{Customers: 10000, Rows: 1, Tail: "heavy", Rate: 0.2, Revenue: true},
	}
	results := Coverage(settings, reps, 3, nil)
	for _, f := range CoverageFailures(results, reps) {
		t.Error(f)
	}
	worst := 1.0
	for _, r := range results {
		worst = min(worst, r.Cells[len(r.Cells)-1].Coverage())
		if r.Conversions < fewestConversions {
			t.Errorf("%+v has %.0f conversions", r.Setting, r.Conversions)
		}
	}
	if worst > 0.9 {
		t.Errorf("the normal interval covers %.3f at worst: the study is too easy", worst)
	}
	// A narrower default would be found out.
	for i := range results {
		results[i].Cells[0].Covered = results[i].Cells[0].Covered * 8 / 10
	}
	if len(CoverageFailures(results, reps)) != len(results) {
		t.Error("a default that covers a fifth less passes")
	}
	again := Coverage(settings[:1], reps, 3, nil)
	if again[0].Cells[1] != results[0].Cells[1] {
		t.Errorf("the same seed: %+v, %+v", again[0].Cells[1], results[0].Cells[1])
	}
	var b bytes.Buffer
	if err := WriteCoverage(&b, again, reps, 3); err != nil || !strings.Contains(b.String(), "| heavy | 5% | 10000 |") {
		t.Errorf("%v\n%s", err, b.String())
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
