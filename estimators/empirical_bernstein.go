package estimators

import (
	"errors"
	"math"
)

// ErrNoRange is returned where a bound needs the range of a row's contribution.
var ErrNoRange = errors.New("the bound needs the declared range of w·r: the largest weight and the range of rewards")

// EmpiricalBernstein accumulates customers for the interval of Maurer and Pontil
// (2009, arXiv 0907.3740, theorem 4): it covers at any sample size what lies in
// the declared range, and is some five times too wide at a few thousand
// customers. A customer of n rows contributes y in [Low·n, High·n]; against the
// value v the bounded variable is y − v·n, whose range is (High − Low)·N, N the
// most rows of one customer.
type EmpiricalBernstein struct {
	Low, High float64 // of a row's contribution, declared
	ratio     Ratio
	maxRows   float64
}

// Add adds one customer with n rows and contribution y.
func (b *EmpiricalBernstein) Add(n, y float64) {
	b.ratio.Add(y, n)
	b.maxRows = max(b.maxRows, n)
}

// AddMany adds count customers that are alike.
func (b *EmpiricalBernstein) AddMany(count, n, y float64) {
	b.ratio.AddMany(count, y, n)
	b.maxRows = max(b.maxRows, n)
}

// Merge adds o's customers; ranges that differ panic.
func (b *EmpiricalBernstein) Merge(o *EmpiricalBernstein) {
	if b.Low != o.Low || b.High != o.High {
		panic("estimators: merged bounds have different ranges")
	}
	b.ratio.Merge(&o.ratio)
	b.maxRows = max(b.maxRows, o.maxRows)
}

// Lower returns the one-sided bound at confidence 1 − δ, Low where it says
// nothing.
func (b *EmpiricalBernstein) Lower(delta float64) (float64, error) { return b.end(delta, false) }

// Interval returns the two-sided interval.
func (b *EmpiricalBernstein) Interval(level float64) (Interval, error) {
	lo, err := b.end((1-level)/2, false)
	if err != nil {
		return Interval{}, err
	}
	hi, err := b.end((1-level)/2, true)
	return Interval{Low: lo, High: hi}, err
}

func (b *EmpiricalBernstein) end(delta float64, upper bool) (float64, error) {
	r := &b.ratio
	if r.n == 0 {
		return 0, ErrEmpty
	}
	if !(b.High >= b.Low) || math.IsInf(b.High-b.Low, 1) {
		return 0, ErrNoRange
	}
	bound, sign := b.Low, 1.0
	if upper {
		bound, sign = b.High, -1
	}
	if r.n < 2 || r.md == 0 {
		return bound, nil
	}
	l := math.Log(2 / delta)
	excluded := func(v float64) bool {
		v -= r.shift
		ss := max(r.sxx-2*v*r.sxd+v*v*r.sdd, 0) // sample variance times C − 1
		margin := math.Sqrt(2*ss*l/(r.n*(r.n-1))) + 7*l*(b.High-b.Low)*b.maxRows/(3*(r.n-1))
		return sign*(r.mx-v*r.md) > margin
	}
	if !excluded(bound) {
		return bound, nil
	}
	out, in := bound, r.mx/r.md+r.shift
	for range 100 {
		mid := out + (in-out)/2
		if mid == out || mid == in {
			break
		}
		if excluded(mid) {
			out = mid
		} else {
			in = mid
		}
	}
	return out, nil
}

// HoeffdingLower is the one-sided bound value − width·√(ln(1/δ)/(2C)) of a mean
// over C customers of contributions within a declared width (Hoeffding 1963,
// theorem 2): it ignores the variance and hardly ever says anything off policy.
func (e Estimate) HoeffdingLower(width, delta float64) float64 {
	return e.Value - width*math.Sqrt(math.Log(1/delta)/(2*float64(e.Customers)))
}
