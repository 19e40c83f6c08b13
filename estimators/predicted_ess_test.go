package estimators

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestPredictedESS logs by an exploring logger and compares Σw² and the matched
// rows with the prediction, within 4.5 standard errors.
func TestPredictedESS(t *testing.T) {
	rng := rand.New(rand.NewPCG(61, 7))
	const n = 60000
	for _, k := range []int{2, 3, 10, 50} {
		for _, ties := range []int{1, 2, 5} {
			for _, ε := range []float64{0.05, 0.3, 1} {
				for _, δ := range []float64{0, 0.1, 0.5, 1} {
					if ties > k || ties == k && δ > 0 {
						continue // every action is preferred: nothing to disagree on
					}
					e := Exploration{Eligible: float64(k), Epsilon: ε, Ties: float64(ties)}
					var sum, squares, matched float64
					for range n {
						// The preferred actions are 0 to ties−1.
						choice := rng.IntN(ties)
						if rng.Float64() < δ {
							choice = ties + rng.IntN(k-ties)
						}
						action := rng.IntN(k)
						if rng.Float64() >= ε {
							action = rng.IntN(ties)
						}
						if action != choice {
							continue
						}
						μ := ε / float64(k)
						if action < ties {
							μ += (1 - ε) / float64(ties)
						}
						w := 1 / μ
						sum, squares, matched = sum+w, squares+w*w, matched+1
					}
					mean := squares / n
					// The standard error from E[w⁴], not from the few rows of rare choices.
					p, other := e.propensities()
					fourths := (1-δ)/(p*p*p) + δ/(other*other*other)
					se := math.Sqrt((fourths - math.Pow(e.SquaredWeight(δ), 2)) / n)
					if want := e.SquaredWeight(δ); math.Abs(mean-want) > 4.5*se+1e-9 {
						t.Errorf("K %d, %d ties, ε %v, δ %v: E[w²] %.4f, predicted %.4f (standard error %.4f)", k, ties, ε, δ, mean, want, se)
					}
					m, want := matched/n, e.Matched(δ)
					if math.Abs(m-want) > 4.5*math.Sqrt(want*(1-want)/n)+1e-9 {
						t.Errorf("K %d, %d ties, ε %v, δ %v: matched %.4f, predicted %.4f", k, ties, ε, δ, m, want)
					}
					// The ratio (Σw)²/Σw² inherits both errors, the mean weight's twice.
					squared := e.SquaredWeight(δ)
					relative := 4.5 * (se + 2*math.Sqrt((squared-1)/n)*squared) / squared
					if relative > 0.5 {
						continue // too few matches for the ratio
					}
					if ess := sum * sum / squares / n; math.Abs(ess/e.PredictedESS(δ)-1) > 2*relative+1e-9 {
						t.Errorf("K %d, %d ties, ε %v, δ %v: effective sample size %.5f a decision, predicted %.5f", k, ties, ε, δ, ess, e.PredictedESS(δ))
					}
				}
			}
		}
	}
}

// TestNoFloor has nothing to say about disagreement, and everything about the
// logger's own choices.
func TestNoFloor(t *testing.T) {
	e := Exploration{Eligible: 5}
	if n := e.DecisionsNeeded(0.5, 0.1, Limits{Conversions: 20}); n != 400 {
		t.Errorf("%v decisions for 20 conversions, want 400", n)
	}
	if e.PredictedESS(0) != 1 || e.PredictedESS(0.1) != 0 || !math.IsInf(e.DecisionsNeeded(0.1, 0, DefaultLimits), 1) {
		t.Errorf("ESS %v and %v, decisions %v", e.PredictedESS(0), e.PredictedESS(0.1), e.DecisionsNeeded(0.1, 0, DefaultLimits))
	}
}
