package estimators

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
)

// The model that MRDR fits gives DR a smaller variance than the least-squares
// model, where a linear model cannot be right and the logger is skewed; the fit
// equals a direct minimisation of the variance.
func TestMRDR(t *testing.T) {
	rng := rand.New(rand.NewPCG(23, 1))
	const n = 6000
	var w, r []float64
	var φ, φp [][]float64
	var one, rightWeights []float64
	truth := 0.0
	for range n {
		x := rng.Float64()
		μ := []float64{0.9 - 0.85*x, 0.1 + 0.85*x}
		π := []float64{0.2, 0.8}
		a := 0
		if rng.Float64() < μ[1] {
			a = 1
		}
		mean := func(a int) float64 { return 3*x*x + 2*float64(a)*(1-x)*(1-x) }
		feature := func(a int) []float64 { return []float64{1, x, float64(a)} }
		p := make([]float64, 3)
		for b := range π {
			truth += π[b] * mean(b) / n
			for k, v := range feature(b) {
				p[k] += π[b] * v
			}
		}
		w, r = append(w, π[a]/μ[a]), append(r, mean(a)+0.2*rng.NormFloat64())
		φ, φp = append(φ, feature(a)), append(φp, p)
		one, rightWeights = append(one, 1), append(rightWeights, π[a]*(1-μ[a])/(μ[a]*μ[a]))
	}
	dr := func(θ []float64) Estimate {
		q, qp := make([]float64, n), make([]float64, n)
		for i := range q {
			for k := range θ {
				q[i] += θ[k] * φ[i][k]
				qp[i] += θ[k] * φp[i][k]
			}
		}
		e, err := DR(nil, w, r, q, qp)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	f := NewMRDRFit(3)
	for i := range w {
		f.Add(w[i:i+1], r[i:i+1], φ[i:i+1], φp[i:i+1])
	}
	θ, err := f.Coefficients(1e-12)
	if err != nil {
		t.Fatal(err)
	}
	best, ls := dr(θ), dr(leastSquares(φ, r, one))
	t.Logf("standard errors: MRDR %.5f, least squares %.5f, weighted least squares %.5f", best.StdErr, ls.StdErr, dr(leastSquares(φ, r, rightWeights)).StdErr)
	if !(best.StdErr < 0.97*ls.StdErr) {
		t.Errorf("standard errors: MRDR %g, least squares %g", best.StdErr, ls.StdErr)
	}
	for k := range θ { // no step lowers the variance
		for _, step := range []float64{-0.01, 0.01} {
			moved := append([]float64(nil), θ...)
			moved[k] += step
			if e := dr(moved); e.StdErr < best.StdErr*(1-1e-12) {
				t.Errorf("θ[%d] %+g has standard error %.9g, the fit %.9g", k, step, e.StdErr, best.StdErr)
			}
		}
	}
	e, err := MRDR(nil, w, r, φ, φp, 5, 1e-9)
	if err != nil || math.Abs(e.Value-truth) > 4*e.StdErr || math.Abs(e.StdErr/best.StdErr-1) > 0.02 {
		t.Errorf("cross-fitted: %+v, %v, truth %g", e, err, truth)
	}
	if _, err := NewMRDRFit(2).Coefficients(0); !errors.Is(err, ErrEmpty) {
		t.Errorf("no rows: %v", err)
	}
	g := NewMRDRFit(2)
	g.Add([]float64{1, 1}, []float64{1, 2}, [][]float64{{1, 1}, {1, 1}}, [][]float64{{1, 1}, {0, 0}})
	if _, err := g.Coefficients(0); !errors.Is(err, ErrSingular) {
		t.Errorf("collinear features: %v", err)
	}
}

// leastSquares by normal equations and elimination.
func leastSquares(φ [][]float64, y, weight []float64) []float64 {
	p := len(φ[0])
	m := make([][]float64, p)
	for j := range m {
		m[j] = make([]float64, p+1)
		for i := range φ {
			for k := range p {
				m[j][k] += weight[i] * φ[i][j] * φ[i][k]
			}
			m[j][p] += weight[i] * φ[i][j] * y[i]
		}
	}
	for j := range m {
		for k := range m {
			if k != j {
				f := m[k][j] / m[j][j]
				for c := range m[k] {
					m[k][c] -= f * m[j][c]
				}
			}
		}
	}
	θ := make([]float64, p)
	for j := range θ {
		θ[j] = m[j][p] / m[j][j]
	}
	return θ
}
