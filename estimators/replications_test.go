package estimators

import (
	"math"
	"math/rand/v2"
	"testing"
)

// §8.3 for the whole catalogue: over 2,000 logs each estimator's mean lies within
// 4 standard errors of the truth where it claims to be unbiased or its model is
// right, its standard error is the spread over logs, and where model and
// propensities are both wrong, or a hyperparameter biases, it fails by > 8.
func TestReplicationsOfTheCatalogue(t *testing.T) {
	w := smallWorld()
	truth := w.value(w.target)
	right := func(x, a int) float64 { return w.rate[x][a] }
	wrong := func(x, a int) float64 { return 0.8 - 0.2*float64(a) }
	type setting struct {
		spec     string
		q        func(x, a int) float64
		logger   bool // true propensities
		biased   bool
		standard float64 // least and most ratio of spread to standard error is 1 ± this
	}
	settings := []setting{
		{"ips", wrong, true, false, 0.05}, {"beta_ips:beta=0.2", wrong, true, false, 0.05}, {"balanced", wrong, true, false, 0.05},
		{"dr", wrong, true, false, 0.05}, {"dr", right, false, false, 0.05}, {"dr", wrong, false, true, 0.05},
		{"switch_dr:tau=2", right, true, false, 0.05}, {"switch_dr:tau=2", wrong, true, true, 0.05},
		{"dros:lambda=5", right, true, false, 0.05}, {"dros:lambda=5", wrong, true, true, 0.05},
		{"clipped_dr:max=2", right, true, false, 0.05}, {"clipped_ips:max=2", right, true, true, 0.05},
		{"subgaussian_dr:lambda=0.5", right, true, false, 0.05}, {"subgaussian_ips:lambda=0.5", right, true, true, 0.05},
		{"log_smoothing:lambda=0.5", right, true, true, 0.05},
		{"sndr", right, false, false, 0.05}, {"sndr", wrong, false, true, 0.05},
		{"adaptive_aipw", wrong, true, false, 0.05},
	}
	// Self-normalisation is biased in the first order of 1/n: at these 400 rows less
	// than the spread by far, but not by 4 standard errors of 2,000 means.
	nearly := []setting{{"snips", wrong, true, false, 0.05}, {"sndr", wrong, true, false, 0.05}, {"beta_ips", wrong, true, false, 0.05}}
	values, errs := make([]Ratio, len(settings)+len(nearly)), make([]Ratio, len(settings)+len(nearly))
	// Rows that are alike are added once with their number, which Ratio cannot, so
	// whole logs are drawn, 400 rows each.
	rng := rand.New(rand.NewPCG(61, 9))
	reps := 2000
	if testing.Short() {
		reps = 500
	}
	type cell struct {
		x, a int
		r    float64
	}
	var cells []cell
	w.each(func(_ float64, x, a int, r float64) { cells = append(cells, cell{x, a, r}) })
	rows := make([][]Row, len(values))
	all := append(settings, nearly...)
	for k, s := range all {
		for _, c := range cells {
			row := w.row(t, c.x, c.a, c.r, s.q)
			if !s.logger {
				row.Weight = w.target[c.x][c.a] / 0.25 // only the number of actions is known
			}
			rows[k] = append(rows[k], row)
		}
	}
	for range reps {
		counts := w.counts(rng, 400)
		for k, s := range all {
			choice, err := ParseChoice(s.spec)
			if err != nil {
				t.Fatal(err)
			}
			a := choice.New()
			for i, n := range counts {
				for range n {
					a.Add(rows[k][i : i+1])
				}
			}
			e, err := a.Estimate()
			if err != nil {
				t.Fatal(err)
			}
			values[k].Add(e.Value, 1)
			errs[k].Add(e.StdErr, 1)
		}
	}
	for k, s := range all {
		v, _ := values[k].Estimate()
		se, _ := errs[k].Estimate()
		z := math.Abs(v.Value-truth) / v.StdErr
		spread := v.StdErr * math.Sqrt(float64(reps))
		switch {
		case k >= len(settings):
			if math.Abs(v.Value-truth) > 0.2*spread {
				t.Errorf("%s: bias %g, spread %g", s.spec, v.Value-truth, spread)
			}
		case s.biased && z < 8*math.Sqrt(float64(reps)/2000):
			t.Errorf("%s: %.1f standard errors off where it must fail: the test has no power", s.spec, z)
		case !s.biased && z > 4:
			t.Errorf("%s: off by %.1f standard errors", s.spec, z)
		}
		if ratio := se.Value / spread; math.Abs(ratio-1) > s.standard+2/math.Sqrt(float64(reps)) {
			t.Errorf("%s: standard error %.4f, spread over logs %.4f", s.spec, se.Value, spread)
		}
	}
}
