package estimators

import (
	"math"
	"sort"

	"gonum.org/v1/gonum/stat/distuv"
)

// calibrationMass is the least Σμ of a cell that is judged: below it the normal
// approximation fails healthy logs.
const calibrationMass = 25

// thinVariance is the variance below which a cell is judged by a bound instead of
// the normal approximation: 50 cells of Σμ = 32 fail 3.5 times in a thousand
// healthy logs at a level of .001, and the excess is gone only by 100.
const thinVariance = 100

// Calibration checks that actions were taken as often as their logged
// probabilities say, in cells of one action and one tenth of the probability:
// Σ(1{a} − μ)/√Σμ(1−μ) is standard normal, whatever the customers did, because
// every decision is drawn on its own. The zero value is ready to use.
type Calibration struct {
	cells [][10]calibrationCell // by action
}

type calibrationCell struct {
	taken    float64 // Σ1{a}
	expected float64 // Σμ
	variance float64 // Σμ(1−μ)
}

// Add adds one eligible action of one decision: its index, its logged
// probability, and whether it was the one taken.
func (c *Calibration) Add(action int, probability float64, taken bool) {
	for action >= len(c.cells) {
		c.cells = append(c.cells, [10]calibrationCell{})
	}
	decile := min(int(probability*10), 9)
	cell := &c.cells[action][decile]
	if taken {
		cell.taken++
	}
	cell.expected += probability
	cell.variance += probability * (1 - probability)
}

// Merge adds o's decisions.
func (c *Calibration) Merge(o *Calibration) {
	for len(c.cells) < len(o.cells) {
		c.cells = append(c.cells, [10]calibrationCell{})
	}
	for a := range o.cells {
		for d := range o.cells[a] {
			to, from := &c.cells[a][d], &o.cells[a][d]
			to.taken += from.taken
			to.expected += from.expected
			to.variance += from.variance
		}
	}
}

// CalibrationCell is one action's decisions with a logged probability in
// [Decile/10, (Decile+1)/10).
type CalibrationCell struct {
	Action   int
	Decile   int
	Taken    float64 // times it was taken
	Expected float64 // Σμ
	Z        float64 // ±Inf where a certain action was not taken
	Failed   bool
}

// Judge returns the cells with Σμ ≥ 25, the worst first, and whether any fails
// at level alpha over all of them (two-sided, Bonferroni).
func (c *Calibration) Judge(alpha float64) (cells []CalibrationCell, failed bool) {
	for a := range c.cells {
		for d, cell := range c.cells[a] {
			if cell.expected < calibrationMass {
				continue
			}
			gap := cell.taken - cell.expected
			z := 0.0
			switch {
			case cell.variance > 1e-9:
				z = gap / math.Sqrt(cell.variance)
			case math.Abs(gap) > 1e-6:
				z = math.Inf(1)
				if gap < 0 {
					z = math.Inf(-1)
				}
			}
			cells = append(cells, CalibrationCell{Action: a, Decile: d, Taken: cell.taken, Expected: cell.expected, Z: z})
		}
	}
	if len(cells) == 0 {
		return nil, false
	}
	limit := CalibrationLimit(alpha, len(cells))
	for i := range cells {
		if c := c.cells[cells[i].Action][cells[i].Decile]; c.variance < thinVariance && c.variance > 1e-9 {
			cells[i].Z = TailZ(c.taken-c.expected, c.variance, 1)
		}
		cells[i].Failed = math.Abs(cells[i].Z) > limit
		failed = failed || cells[i].Failed
	}
	sort.SliceStable(cells, func(i, j int) bool { return math.Abs(cells[i].Z) > math.Abs(cells[j].Z) })
	return cells, failed
}

// TailZ is the z whose normal tail is the largest probability that a sum of
// independent terms (or martingale differences) with mean 0 can be as far from it
// as gap: terms of at most step in the gap's direction, whose variances sum to
// variance. Where terms are few or skewed the normal approximation accuses healthy
// logs: of actions that are all but certain, say, one draw of the other action in
// 450 at .9999 would be five standard errors, and comes in 4 of 100 cells. By
// Bennett (1962, JASA 57:33; Freedman 1975, Annals of Probability 3:100), P(gap ≥
// t) ≤ exp(−v h(t/v)), h(u) = (1+u)log(1+u) − u, in units of step. It is never
// beyond gap/√variance.
func TailZ(gap, variance, step float64) float64 {
	z := math.Abs(gap) / math.Sqrt(variance)
	gap, variance = gap/step, variance/(step*step)
	u := math.Abs(gap) / variance
	tail := math.Exp(-variance * ((1+u)*math.Log1p(u) - u))
	bound := 38.0 // beyond it the tail is no number
	if tail > 1e-300 {
		bound = max(distuv.UnitNormal.Quantile(1-tail), 0)
		if tail < 1e-12 { // 1 − tail is 1
			bound = math.Sqrt(-2 * math.Log(tail))
		}
	}
	return math.Copysign(min(bound, z), gap)
}

// CalibrationLimit returns the |z| above which a cell fails at level alpha over
// n cells (two-sided, Bonferroni).
func CalibrationLimit(alpha float64, n int) float64 {
	return distuv.UnitNormal.Quantile(1 - alpha/(2*float64(max(n, 1))))
}
