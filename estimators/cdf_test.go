package estimators

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
)

// Enumerated on the small world, the expected distribution is the candidate's:
// weighted, and with a wrong model.
func TestCDFByEnumeration(t *testing.T) {
	w := smallWorld()
	truth := w.value(w.target) // P(r > 0)
	var weighted, robust float64
	w.each(func(p float64, x, a int, r float64) {
		wrong := func(x, a int) float64 { return 0.7 - 0.1*float64(a) + 0.1*float64(x) }
		weight := w.target[x][a] / w.logger[x][a]
		ips, dr := NewCDF([]float64{0, 2}, false), NewCDF([]float64{0, 2}, false)
		ips.Add([]CDFRow{{Weight: weight, Reward: r}})
		dr.Add([]CDFRow{{Weight: weight, Reward: r, Survival: []float64{wrong(x, a), 0}, PolicySurvival: []float64{w.model(x, wrong), 0}}})
		weighted += p * ips.at[0].x
		robust += p * dr.at[0].x
	})
	near(t, "E[S] weighted", weighted, truth, 1e-12)
	near(t, "E[S] doubly robust", robust, truth, 1e-12)
}

// Quantiles, tails and points equal direct sums over rows, however split.
func TestCDF(t *testing.T) {
	w, r, _, _, by := sample(111, 3000, 3)
	for i := range r {
		if i%11 == 0 {
			r[i] -= 2 // losses
		}
	}
	thresholds := append([]float64{-3, -2, -1}, LogThresholds(0.5, 12, 60)...)
	for _, normalised := range []bool{false, true} {
		all := NewCDF(thresholds, normalised)
		parts := []*CDF{NewCDF(thresholds, normalised), NewCDF(thresholds, normalised)}
		var total, rows float64
		for c := range len(by) - 1 {
			var rs []CDFRow
			for i := by[c]; i < by[c+1]; i++ {
				rs = append(rs, CDFRow{Weight: w[i], Reward: r[i]})
				total += w[i]
				rows++
			}
			all.Add(rs)
			parts[c*c%2].Add(rs)
		}
		parts[1].Merge(parts[0])
		d := rows
		if normalised {
			d = total
		}
		points, err := all.Points(0.95)
		if err != nil {
			t.Fatal(err)
		}
		merged, _ := parts[1].Points(0.95)
		for k, p := range points {
			s := 0.0
			for i := range r {
				if r[i] > p.Threshold {
					s += w[i]
				}
			}
			near(t, "F", p.F, min(max(1-s/d, 0), 1), 1e-12)
			near(t, "F merged", merged[k].F, p.F, 1e-12)
			near(t, "low merged", merged[k].Interval.Low, p.Interval.Low, 1e-9)
			if !(p.Interval.Low <= p.F+1e-9 && p.F <= p.Interval.High+1e-9) {
				t.Errorf("F(%g) = %g outside %+v", p.Threshold, p.F, p.Interval)
			}
		}
		best, top := math.Inf(-1), math.Inf(1)
		for _, x := range thresholds {
			var lower, upper float64
			for i := range r {
				lower += w[i] * max(x-r[i], 0)
				upper += w[i] * max(r[i]-x, 0)
			}
			best, top = max(best, x-lower/d/0.3), min(top, x+upper/d/0.05)
		}
		cvar, err := all.CVaR(0.3)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "CVaR", cvar.Value, best, 1e-10)
		mean, err := all.TopMean(0.05)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "mean of the top", mean.Value, top, 1e-10)
		again, _ := parts[1].CVaR(0.3)
		near(t, "CVaR merged", again.Value, cvar.Value, 1e-10)
		near(t, "CVaR merged se", again.StdErr, cvar.StdErr, 1e-9)
	}
}

// Coverage of F, quantile, tail and doubly robust F, by customers with
// heavy-tailed revenue.
func TestCDFCoverage(t *testing.T) {
	reps := 400
	if testing.Short() {
		reps = 150
	}
	rng := rand.New(rand.NewPCG(112, 1))
	thresholds := LogThresholds(0.1, 200, 120)
	// Half the customers buy for exp(N(1, .8)).
	survival := func(x float64) float64 {
		if x <= 0 {
			return 0.5
		}
		return 0.5 * 0.5 * math.Erfc((math.Log(x)-1)/0.8/math.Sqrt2)
	}
	model := make([]float64, len(thresholds))
	for k, x := range thresholds {
		model[k] = survival(x)
	}
	quantile := math.Exp(1 + 0.8*0.8416212335729143) // P(r > q) = .5·.2 = .1
	// E[r | r > q] of the top tenth.
	top := 0.5 * math.Exp(1+0.32) * 0.5 * math.Erfc((0.8416212335729143-0.8)/math.Sqrt2) / 0.1
	var inF, inQ, inTop, inRobust float64
	at := 70
	for range reps {
		c, dr := NewCDF(thresholds, true), NewCDF(thresholds, false)
		for range 600 {
			var rows, modelled []CDFRow
			for range 1 + rng.IntN(3) {
				row := CDFRow{}
				if rng.Float64() < 0.4 {
					row.Weight = 2.5
				}
				if rng.Float64() < 0.5 {
					row.Reward = math.Exp(1 + 0.8*rng.NormFloat64())
				}
				rows = append(rows, row)
				row.Survival, row.PolicySurvival = model, model
				modelled = append(modelled, row)
			}
			c.Add(rows)
			dr.Add(modelled)
		}
		points, err := c.Points(0.95)
		if err != nil {
			t.Fatal(err)
		}
		p := points[at]
		if f := 1 - survival(p.Threshold); p.Interval.Low <= f && f <= p.Interval.High {
			inF++
		}
		_, iv, err := c.Quantile(0.9, 0.95)
		if err != nil {
			t.Fatal(err)
		}
		if iv.Low <= quantile && quantile <= iv.High {
			inQ++
		}
		e, err := c.TopMean(0.1)
		if err != nil {
			t.Fatal(err)
		}
		if n := e.Normal(0.95); n.Low <= top && top <= n.High {
			inTop++
		}
		points, err = dr.Points(0.95)
		if err != nil {
			t.Fatal(err)
		}
		q := points[at]
		if f := 1 - survival(q.Threshold); q.Interval.Low <= f && f <= q.Interval.High {
			inRobust++
		}
	}
	n := float64(reps)
	t.Logf("coverage: F %.3f, quantile %.3f, mean of the top tenth %.3f, doubly robust F %.3f", inF/n, inQ/n, inTop/n, inRobust/n)
	slack := 3 * math.Sqrt(0.95*0.05/n)
	for name, k := range map[string]float64{"F": inF, "quantile": inQ, "doubly robust F": inRobust} {
		if k/n < 0.9305-slack || name == "F" && k/n > 0.9695+slack {
			t.Errorf("%s covers %.3f", name, k/n)
		}
	}
	if inTop/n < 0.90-slack {
		t.Errorf("the mean of the top tenth covers %.3f", inTop/n)
	}
}

func TestCDFEdges(t *testing.T) {
	c := NewCDF(LogThresholds(1, 100, 5), true)
	if _, err := c.Points(0.95); !errors.Is(err, ErrEmpty) {
		t.Errorf("nobody: %v", err)
	}
	c.Add([]CDFRow{{Weight: 0, Reward: 5}})
	if _, _, err := c.Quantile(0.5, 0.95); !errors.Is(err, ErrNoWeight) {
		t.Errorf("no weight: %v", err)
	}
	for range 30 {
		c.Add([]CDFRow{{Weight: 1, Reward: 0}})
	}
	points, err := c.Points(0.95)
	if err != nil || points[0].F != 1 || !(points[0].Interval.Low > 0.8 && points[0].Interval.Low < 0.95) {
		t.Errorf("all zero: %+v %v", points, err)
	}
	q, iv, err := c.Quantile(0.5, 0.95)
	if err != nil || q != 0 || iv.High != 0 {
		t.Errorf("median of zeros: %g %+v %v", q, iv, err)
	}
	for range 300 {
		c.Add([]CDFRow{{Weight: 1, Reward: 1e6}})
	}
	if _, iv, err := c.Quantile(0.9, 0.95); !errors.Is(err, ErrThresholds) || !math.IsInf(iv.High, 1) {
		t.Errorf("above the grid: %+v %v", iv, err)
	}
	var re *RowError
	c.Add([]CDFRow{{Weight: 1, Reward: math.NaN()}})
	if _, err := c.CVaR(0.1); !errors.As(err, &re) || re.Row != 331 {
		t.Errorf("NaN: %v", err)
	}
	m := NewCDF([]float64{0}, false)
	m.Add([]CDFRow{{Weight: 1, Survival: []float64{.5}, PolicySurvival: []float64{.5}}})
	if _, err := m.TopMean(0.1); !errors.Is(err, ErrNoTail) {
		t.Errorf("tail of a model: %v", err)
	}
	m.Add([]CDFRow{{Weight: 1}})
	if _, err := m.Points(0.95); !errors.As(err, &re) || re.Row != 1 {
		t.Errorf("a row without its model: %v", err)
	}
}
