package estimators

import "math"

// BootstrapTConversions is the least number of converting customers for a
// bootstrap-t interval.
const BootstrapTConversions = 20

// BootstrapT accumulates customers for the bootstrap-t interval of a ratio
// ΣX/ΣD: each replicate of a Poisson bootstrap gets its own standard error, and
// the interval is V − se·(quantiles of (V_b − V)/se_b) (Efron 1981; Hall 1988, for
// ratios as functions of means). It follows the skewness that the normal interval
// ignores, so it covers far better where few customers carry the value.
type BootstrapT struct {
	origin float64
	boot   *PoissonBootstrap // Σx, Σd, Σx², Σxd, Σd², customers; x relative to the origin
}

// NewBootstrapT returns an empty accumulator. Origin is taken off the ratio and
// should lie near it, so that a large mean loses no digits.
func NewBootstrapT(origin float64, replicates int, seed uint64) *BootstrapT {
	return &BootstrapT{origin: origin, boot: NewPoissonBootstrap(6, replicates, seed)}
}

// Add adds one customer; see PoissonBootstrap.Add.
func (t *BootstrapT) Add(id uint64, x, d float64, converted bool) {
	x -= t.origin * d
	t.boot.Add(id, []float64{x, d, x * x, x * d, d * d, 1}, converted)
}

// AddMany adds count customers that are alike; id is the group's.
func (t *BootstrapT) AddMany(id uint64, count int, x, d float64, converted bool) {
	x -= t.origin * d
	t.boot.AddMany(id, count, []float64{x, d, x * x, x * d, d * d, 1}, converted)
}

// Merge adds o's customers; origins, seeds or sizes that differ panic.
func (t *BootstrapT) Merge(o *BootstrapT) {
	if t.origin != o.origin {
		panic("estimators: merged bootstraps have different origins")
	}
	t.boot.Merge(o.boot)
}

// Interval returns the ratio with its standard error and the interval, cut at
// the values lo and hi that are possible at all.
func (t *BootstrapT) Interval(lo, hi, level float64) (Estimate, Interval, error) {
	b := t.boot
	if b.customers == 0 {
		return Estimate{}, Interval{}, ErrEmpty
	}
	v, se := studentised(b.total)
	e := Estimate{Value: v + t.origin, StdErr: se, Customers: b.customers}
	switch {
	case math.IsNaN(v):
		return Estimate{}, Interval{}, ErrNoWeight
	case b.conversions < BootstrapTConversions:
		return e, Interval{}, ErrFewConversions
	}
	q := b.values(func(s []float64) float64 {
		vb, sb := studentised(s)
		return (vb - v) / sb // infinite where a replicate has no spread
	})
	if len(q) < 2 {
		return e, Interval{Low: e.Value, High: e.Value}, nil // constant
	}
	end := func(p float64) float64 {
		x := e.Value - se*percentile(q, p)
		if math.IsNaN(x) {
			return e.Value
		}
		return min(max(x, lo), hi)
	}
	return e, Interval{Low: end(0.5 + level/2), High: end(0.5 - level/2)}, nil
}

// studentised returns the ratio of a replicate and its standard error.
func studentised(s []float64) (v, se float64) {
	v = s[0] / s[1]
	n := s[5]
	if n < 2 {
		return v, 0
	}
	ss := s[2] - 2*v*s[3] + v*v*s[4]
	return v, math.Sqrt(max(ss, 0)*n/(n-1)) / math.Abs(s[1])
}
