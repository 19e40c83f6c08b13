package offline

import "math"

// contrast is what the difference of two policies rests on: the customers whose
// conversions count for more under the one (index 0) and under the other (1). What
// both do alike cancels, so that two candidates with hundreds of conversions each
// may differ by a few, which a normal interval takes for all there can be: where
// candidates part for one customer in a hundred it covered .39.
type contrast [2]struct {
	sum, squares float64 // Σ|Δwr|, Σ(Δwr)²
	largest      float64 // |Δw| of a customer
}

// add takes a customer's Σw and Σwr under the one minus those under the other.
func (c *contrast) add(weight, weightedReward float64) {
	if weight != 0 {
		s := &c[sideOf(weight)]
		s.largest = max(s.largest, math.Abs(weight))
	}
	if weightedReward != 0 {
		s := &c[sideOf(weightedReward)]
		s.sum += math.Abs(weightedReward)
		s.squares += weightedReward * weightedReward
	}
}

func sideOf(v float64) int {
	if v > 0 {
		return 0
	}
	return 1
}

func (c *contrast) merge(o *contrast) {
	for k := range c {
		c[k].sum += o[k].sum
		c[k].squares += o[k].squares
		c[k].largest = max(c[k].largest, o[k].largest)
	}
}

// few returns the conversions, as equal ones (Kish 1965), of the side that has too
// few for a normal interval with this standard error of a mean over so many rows,
// and whether there is one: fewer than are needed, of which one more would move the
// mean by more than so many equal ones do.
func (c *contrast) few(conversions, reach, rows, se float64) (float64, bool) {
	for _, s := range c {
		n := 0.0
		if s.squares > 0 {
			n = s.sum * s.sum / s.squares
		}
		if n < conversions && s.largest*reach > se*rows/math.Sqrt(conversions) {
			return n, true
		}
	}
	return 0, false
}
