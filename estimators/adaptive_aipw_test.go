package estimators

import (
	"math"
	"math/rand/v2"
	"testing"
)

// A learning logger's contextual log under two rules for h_t. Its weights are
// predictable, so φ_t is a martingale difference: with h_t from fixed reference
// contexts V is unbiased and its interval covers; with h_t = √e_t(x_t), which looks
// at the row's own context, contexts where the candidate's action is likely weigh
// more, and V is plainly wrong. The second half is a warning, not a wish.
func TestAdaptiveWeights(t *testing.T) {
	reps := 500
	if testing.Short() {
		reps = 120
	}
	const rounds, floor = 1500, 0.05
	rng := rand.New(rand.NewPCG(71, 2))
	// Two contexts, three actions. The candidate always takes action 0, which is the
	// best in context 0 only, so that the logger leaves it in context 1.
	mean := [2][3]float64{{1, 0.3, 0.2}, {0, 0.6, 0.5}}
	const truth = 0.5
	π := [][]float64{{1, 0, 0}, {1, 0, 0}}
	type outcome struct {
		bias Ratio
		in   float64
	}
	var fixed, own outcome
	for range reps {
		var n, s [2][3]float64
		var hs, hown, w, r, q, qp []float64
		for range rounds {
			// Thompson sampling's probabilities for Gaussian arms, by 20 draws of its
			// posterior that are part of the policy: exact by definition, then the floor.
			e := make([][]float64, 2)
			for x := range e {
				e[x] = make([]float64, 3)
				for range 20 {
					best, at := math.Inf(-1), 0
					for a := range e[x] {
						v := s[x][a]/(n[x][a]+1) + rng.NormFloat64()/math.Sqrt(n[x][a]+1)
						if v > best {
							best, at = v, a
						}
					}
					e[x][at] += (1 - 3*floor) / 20
				}
				for a := range e[x] {
					e[x][a] += floor
				}
			}
			x := rng.IntN(2)
			u, a := rng.Float64(), 0
			for a < 2 && u >= e[x][a] {
				u -= e[x][a]
				a++
			}
			reward := mean[x][a] + 0.5*rng.NormFloat64()
			model := func(a int) float64 { return s[x][a] / (n[x][a] + 1) }
			h, err := StabilityWeight(π, e)
			if err != nil {
				t.Fatal(err)
			}
			hs, hown = append(hs, h), append(hown, math.Sqrt(e[x][0]))
			w, r, q, qp = append(w, π[x][a]/e[x][a]), append(r, reward), append(q, model(a)), append(qp, model(0))
			n[x][a]++
			s[x][a] += reward
		}
		for _, c := range []struct {
			h []float64
			o *outcome
		}{{hs, &fixed}, {hown, &own}} {
			e, err := AdaptiveAIPW(nil, c.h, w, r, q, qp)
			if err != nil {
				t.Fatal(err)
			}
			c.o.bias.Add(e.Value-truth, 1)
			if iv := e.Normal(0.95); iv.Low <= truth && truth <= iv.High {
				c.o.in++
			}
		}
	}
	f, _ := fixed.bias.Estimate()
	o, _ := own.bias.Estimate()
	t.Logf("h from reference contexts: bias %+.4f ± %.4f, coverage %.3f; h = √e_t(x_t): bias %+.4f, coverage %.3f",
		f.Value, f.StdErr, fixed.in/float64(reps), o.Value, own.in/float64(reps))
	slack := 3 * math.Sqrt(0.95*0.05/float64(reps))
	if math.Abs(f.Value) > 4*f.StdErr+0.003 || math.Abs(fixed.in/float64(reps)-0.95) > 0.0195+slack {
		t.Errorf("predictable weights: bias %+.4f ± %.4f, coverage %.3f", f.Value, f.StdErr, fixed.in/float64(reps))
	}
	if o.Value < 0.1 || own.in/float64(reps) > 0.05 {
		t.Errorf("weights that see the context: bias %+.4f, coverage %.3f: the warning is not shown", o.Value, own.in/float64(reps))
	}
}
