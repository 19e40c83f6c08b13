package estimators

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Healthy logs fail at their level where cells hold hardly more than may be judged,
// and where each is one of many.
func TestCalibrationLevelOfThinCells(t *testing.T) {
	const logs, level = 20_000, 0.001
	rng := rand.New(rand.NewPCG(9, 9))
	for _, c := range []struct{ actions, decisions int }{{50, 1600}, {20, 540}, {5, 700}} {
		μ := 1 / float64(c.actions)
		failed := 0
		counts := make([]int, c.actions)
		for range logs {
			clear(counts)
			for range c.decisions {
				counts[rng.IntN(c.actions)]++
			}
			var x Calibration
			for _, taken := range counts {
				n := float64(c.decisions)
				x.cells = append(x.cells, [10]calibrationCell{{taken: float64(taken), expected: n * μ, variance: n * μ * (1 - μ)}})
			}
			if _, bad := x.Judge(level); bad {
				failed++
			}
		}
		if limit := level*logs + 4*math.Sqrt(level*(1-level)*logs); float64(failed) > limit {
			t.Errorf("%d actions, %d decisions: %d of %d healthy logs fail at level %g", c.actions, c.decisions, failed, logs, level)
		}
	}
}
