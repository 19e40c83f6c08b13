package coverage

import (
	"bytes"
	"math"
	"strings"
	"testing"
)

// Kinds of customers are a distribution, weights average to 1, and the candidate
// is worth as much as the logger.
func TestCoverageCells(t *testing.T) {
	for _, s := range Settings() {
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
	settings := []Setting{
		{Customers: 10000, Rows: 1, Tail: "heavy", Rate: 0.05},
		{Customers: 5000, Rows: 5, Tail: "medium", Rate: 0.05},
		{Customers: 10000, Rows: 1, Tail: "heavy", Rate: 0.2, Revenue: true},
	}
	results := Study(settings, reps, 3, nil)
	for _, f := range Failures(results, reps) {
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
	if len(Failures(results, reps)) != len(results) {
		t.Error("a default that covers a fifth less passes")
	}
	again := Study(settings[:1], reps, 3, nil)
	if again[0].Cells[1] != results[0].Cells[1] {
		t.Errorf("the same seed: %+v, %+v", again[0].Cells[1], results[0].Cells[1])
	}
	var b bytes.Buffer
	if err := Write(&b, again, reps, 3); err != nil || !strings.Contains(b.String(), "| heavy | 5% | 10000 |") {
		t.Errorf("%v\n%s", err, b.String())
	}
}
