package estimators

import (
	"errors"
	"math"
)

// bets is the fixed grid of 8 stakes, in units of one over the largest reward:
// the mixture over it is nearly as good as the best of them at any sample size,
// where a single stake is fragile.
var bets = [8]float64{2, 0.5, 0.125, 1.0 / 32, 1.0 / 128, 1.0 / 512, 1.0 / 2048, 1.0 / 8192}

// ErrNoRewardRange is returned where a bound needs the range of rewards.
var ErrNoRewardRange = errors.New("the betting bound needs a reward range: declare the least and the largest reward of a decision")

// Betting accumulates customers for a lower confidence bound by betting on a
// mean per row that is bounded below (Waudby-Smith, Wu, Ramdas, Karampatziakis
// and Mineiro 2022, arXiv 2210.10768). It holds for a learning logger and needs
// no largest weight; where Rows is declared, or customers have one row each by
// design, it holds at every sample size and under optional stopping too.
//
// A customer of n rows contributes y ≥ −Bound·n. Against H₀: E[y − vn] ≤ 0 the
// wealth of stake λ is Π_c (1 + λ_v (y_c − v n_c)) with
// λ_v = λ/(1 + λ(Bound + v)N), N the most rows of one customer; for N = 1 and
// Bound = 0 that is Π(1 + λy)/(1 + λv). The bound is the largest v at which the
// mean wealth over the grid reaches 1/δ. Memory is flat (cells); what the
// cells' centroids could add to the wealth is taken off again.
//
// A stake must be fixed before what it bets on. With Rows it is: N = Rows. Else N
// is the most rows that a customer of the sample has, and the bound is one given
// the numbers of rows n, which makes all stakes constants. Let v be the mean per
// row of customers with such numbers, Σ d_c = 0 for d_c = E[y_c − v n_c | n,
// customers before c]. Each E[1 + λ_v(y_c − v n_c)] = 1 + λ_v d_c ≤ exp(λ_v d_c),
// so that wealth · exp(−λ_v Σ d_c) = wealth has a mean of at most 1, and by
// Markov's inequality it reaches 1/δ with probability at most δ: at the sample's
// size, for numbers of rows that do not hang on what was decided.
//
// Of a population in which rare customers have many more rows than any seen,
// nothing holds without Rows, here or elsewhere: they may undo any gain (Bahadur
// and Savage 1956, Annals of Mathematical Statistics 27:1115).
// TestBettingBoundGivenTheRows measures both.
type Betting struct {
	Bound float64 // y ≥ −Bound per row
	Scale float64 // unit of y, such as the largest reward; the grid is relative to it
	Rows  float64 // most rows that one customer can have, by design; 0: not declared
	cells cells
}

// ErrTooManyRows is returned where a customer has more rows than were declared
// possible.
var ErrTooManyRows = errors.New("a customer has more rows than are declared possible: the bound would not hold")

// MostRows returns N, the most rows that the bound reckons with in one customer.
func (b *Betting) MostRows() float64 { return max(b.Rows, b.cells.maxRows) }

// Add adds one customer with n rows and contribution y.
func (b *Betting) Add(n, y float64) { b.cells.add(1, n, 0, y+b.Bound*n) }

// AddMany adds count customers that are alike.
func (b *Betting) AddMany(count, n, y float64) { b.cells.add(count, n, 0, y+b.Bound*n) }

// Merge adds o's customers, which must share Bound and Scale.
func (b *Betting) Merge(o *Betting) {
	if b.Bound != o.Bound || b.Scale != o.Scale || b.Rows != o.Rows {
		panic("estimators: merged bets differ in bound, scale or rows")
	}
	b.cells.merge(&o.cells)
}

// LogWealth returns the logarithm of the e-value against H₀: mean ≤ v.
func (b *Betting) LogWealth(v float64) float64 {
	count, n, _, x := b.cells.points()
	return logWealth(count, n, x, b.MostRows(), b.cells.width(), b.Bound, b.Scale, v)
}

// Lower returns the lower bound at confidence 1 − δ, −Bound when nothing is
// excluded.
func (b *Betting) Lower(delta float64) (float64, error) {
	if b.cells.customers == 0 {
		return 0, ErrEmpty
	}
	if !(b.Scale > 0) || math.IsInf(b.Scale, 0) || math.IsNaN(b.Bound) {
		return 0, ErrNoRewardRange
	}
	if b.Rows > 0 && b.cells.maxRows > b.Rows {
		return 0, ErrTooManyRows
	}
	count, n, _, x := b.cells.points()
	return bettingLower(count, n, x, b.MostRows(), b.cells.width(), b.Bound, b.Scale, delta), nil
}

// logWealth of x = y + Bound·n. width is the relative width of the points'
// cells, 0 when they are single customers.
func logWealth(count, n, x []float64, rows, width, bound, scale, v float64) float64 {
	var logs [len(bets)]float64
	for j, bet := range bets {
		λ := bet / scale
		λ /= 1 + λ*(bound+v)*rows
		s := 0.0
		for k, c := range count {
			d := λ * (x[k] - (bound+v)*n[k])
			s += c * math.Log1p(d)
			if width > 0 {
				// log(1+z) ≥ log(1+z̄) + (z−z̄)/(1+z̄) − (z−z̄)²/(2(1+min)²), and within a
				// range h of z the mean square is at most h²/4 (Popoviciu 1935).
				h := λ * width * (x[k] + (bound+v)*wide(n[k], width))
				if low := 1 + d - h; low > 0 {
					s -= c * h * h / (8 * low * low)
				} else {
					s = math.Inf(-1)
				}
			}
		}
		logs[j] = s
	}
	top := math.Inf(-1)
	for _, l := range logs {
		top = max(top, l)
	}
	if math.IsInf(top, -1) {
		return top
	}
	s := 0.0
	for _, l := range logs {
		s += math.Exp(l - top)
	}
	return top + math.Log(s/float64(len(logs)))
}

// wide returns n where a cell of relative width may mix customers of several
// sizes, 0 where it is too narrow to hold two whole numbers.
func wide(n, width float64) float64 {
	if n*width <= 1 {
		return 0
	}
	return n
}

func bettingLower(count, n, x []float64, rows, width, bound, scale, delta float64) float64 {
	limit := math.Log(1 / delta)
	var sx, sn float64
	for k, c := range count {
		sx += c * x[k]
		sn += c * n[k]
	}
	// Excluded values lie below the mean: there no stake gains.
	lo, hi := -bound, sx/sn-bound
	excess := func(v float64) float64 {
		return limit - logWealth(count, n, x, rows, width, bound, scale, v)
	}
	if !(hi > lo) || excess(lo) > 0 {
		return lo
	}
	for range 60 { // the wealth falls in v
		mid := lo + (hi-lo)/2
		if excess(mid) <= 0 {
			lo = mid
		} else {
			hi = mid
		}
		if hi-lo <= 1e-9*(scale+math.Abs(lo)) {
			break
		}
	}
	return lo
}

// ValueLower is the betting lower bound of a policy's value at confidence
// 1 − δ from rewards r ≥ rMin; rMax only sets the grid's unit.
func ValueLower(by Customers, weight, reward []float64, rMin, rMax, delta float64) (float64, error) {
	v, err := lower(by, weight, reward, 0, rMax-rMin, delta, func(i int) float64 { return weight[i] * (reward[i] - rMin) })
	return v + rMin, err
}

// ValueUpper is the matching upper bound, from rMax − r ≥ 0.
func ValueUpper(by Customers, weight, reward []float64, rMin, rMax, delta float64) (float64, error) {
	v, err := lower(by, weight, reward, 0, rMax-rMin, delta, func(i int) float64 { return weight[i] * (rMax - reward[i]) })
	return rMax - v, err
}

// DifferenceLower is the betting lower bound of the candidate's value minus
// the logger's, from (w − 1)(r − rMin) ≥ −(rMax − rMin): what a promotion gate
// reads, once.
func DifferenceLower(by Customers, weight, reward []float64, rMin, rMax, delta float64) (float64, error) {
	return lower(by, weight, reward, rMax-rMin, rMax-rMin, delta, func(i int) float64 { return (weight[i] - 1) * (reward[i] - rMin) })
}

// DifferenceUpper is the matching upper bound, from (w − 1)(rMax − r).
func DifferenceUpper(by Customers, weight, reward []float64, rMin, rMax, delta float64) (float64, error) {
	v, err := lower(by, weight, reward, rMax-rMin, rMax-rMin, delta, func(i int) float64 { return (weight[i] - 1) * (rMax - reward[i]) })
	return -v, err
}

// lower is the readable definition of Betting: every customer on its own.
func lower(by Customers, weight, reward []float64, bound, scale, delta float64, y func(i int) float64) (float64, error) {
	sameLength(len(weight), len(reward))
	if err := checkWeights(weight); err != nil {
		return 0, err
	}
	if err := checkFinite("reward", reward); err != nil {
		return 0, err
	}
	if !(scale > 0) || math.IsInf(scale, 0) {
		return 0, ErrNoRewardRange
	}
	var count, n, x []float64
	rows := 0.0
	var bad error
	by.each(len(weight), func(lo, hi int) {
		s := 0.0
		for i := lo; i < hi; i++ {
			c := y(i) + bound
			if c < -1e-9*scale && bad == nil {
				bad = rowErrorf(i, "reward %v lies outside the declared range", reward[i])
			}
			s += c
		}
		m := float64(hi - lo)
		rows = max(rows, m)
		count, n, x = append(count, 1), append(n, m), append(x, max(s, 0))
	})
	if bad != nil {
		return 0, bad
	}
	if len(count) == 0 {
		return 0, ErrEmpty
	}
	return bettingLower(count, n, x, rows, 0, bound, scale, delta), nil
}
