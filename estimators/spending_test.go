package estimators

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestSpend: the shares sum to the whole, and somebody who looks twenty times
// at a log without an effect, and reports the best look, errs no more often than
// was declared. Looking at the whole level each time errs far more often.
func TestSpend(t *testing.T) {
	sum := 0.0
	for k := 1; k <= 100000; k++ {
		sum += Spend(0.05, k)
	}
	if math.Abs(sum-0.05) > 1e-6 || Spend(0.05, 1) <= Spend(0.05, 2) {
		t.Errorf("100,000 looks spend %v of 0.05", sum)
	}
	const runs, looks, delta = 4000, 20, 0.2
	rng := rand.New(rand.NewPCG(5, 8))
	spent, naive := 0, 0
	for range runs {
		s, n := false, false
		for k := 1; k <= looks; k++ {
			p := rng.Float64() // a valid p-value under the null
			s, n = s || p <= Spend(delta, k), n || p <= delta
		}
		if s {
			spent++
		}
		if n {
			naive++
		}
	}
	rate, se := float64(spent)/runs, math.Sqrt(delta*(1-delta)/runs)
	if rate > delta+4*se || float64(naive)/runs < 0.9 {
		t.Errorf("%.3f err with spending (limit %.2f), %.3f without", rate, delta, float64(naive)/runs)
	}
}
