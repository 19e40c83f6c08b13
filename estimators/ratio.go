package estimators

import (
	"errors"
	"math"
)

// ErrEmpty is returned where there is nothing to estimate from.
var ErrEmpty = errors.New("no rows")

// ErrNoWeight is returned by self-normalised estimators when every weight is
// zero: the candidate never agrees with the log.
var ErrNoWeight = errors.New("all weights are zero: the candidate never takes a logged action")

// Estimate is a value with its standard error.
type Estimate struct {
	Value     float64
	StdErr    float64 // by customer; NaN with fewer than two customers
	Customers int64
}

// Ratio accumulates V = Σ_c X_c / Σ_c D_c over customers. The zero value is
// ready to use. Its variance is that of the linearised ratio,
//
//	C/(C−1) · Σ_c (X_c − V·D_c)² / (Σ_c D_c)²
//
// (Cochran 1977, Sampling Techniques, eq. 6.13 with cluster totals). Moments
// are Welford's, merged as by Chan, Golub and LeVeque (1979), and X is held
// relative to the first customer's ratio, so that a reward with a large mean
// loses no digits.
type Ratio struct {
	n             float64
	shift         float64 // X is held as X − shift·D
	shifted       bool
	mx, md        float64 // means
	sxx, sxd, sdd float64 // central co-moments
}

// Add adds one customer's numerator and denominator.
func (r *Ratio) Add(x, d float64) {
	if !r.shifted && d != 0 {
		r.setShift(x / d)
		r.shifted = true
	}
	x -= r.shift * d
	r.n++
	dx, dd := x-r.mx, d-r.md
	r.mx += dx / r.n
	r.md += dd / r.n
	ex, ed := x-r.mx, d-r.md
	r.sxx += dx * ex
	r.sxd += dx * ed
	r.sdd += dd * ed
}

// AddMany adds count customers that are alike.
func (r *Ratio) AddMany(count, x, d float64) {
	if count == 0 {
		return
	}
	alike := Ratio{n: count, mx: x, md: d}
	if d != 0 {
		alike.setShift(x / d)
		alike.shifted = true
	}
	r.Merge(&alike)
}

// setShift moves the origin of X to shift·D.
func (r *Ratio) setShift(shift float64) {
	δ := shift - r.shift
	r.shift = shift
	r.mx -= δ * r.md
	r.sxx += δ * (δ*r.sdd - 2*r.sxd)
	r.sxd -= δ * r.sdd
}

// Merge adds all of o's customers.
func (r *Ratio) Merge(o *Ratio) {
	if o.n == 0 {
		return
	}
	if r.n == 0 {
		*r = *o
		return
	}
	b := *o
	switch {
	case !r.shifted:
		r.setShift(b.shift)
		r.shifted = b.shifted
	default:
		b.setShift(r.shift)
	}
	n := r.n + b.n
	dx, dd := b.mx-r.mx, b.md-r.md
	f := r.n * b.n / n
	r.sxx += b.sxx + dx*dx*f
	r.sxd += b.sxd + dx*dd*f
	r.sdd += b.sdd + dd*dd*f
	r.mx += dx * b.n / n
	r.md += dd * b.n / n
	r.n = n
}

// Sums returns ΣX and ΣD.
func (r *Ratio) Sums() (x, d float64) {
	return r.n * (r.mx + r.shift*r.md), r.n * r.md
}

// Estimate returns the ratio, ErrEmpty without customers and ErrNoWeight where
// the denominators sum to zero.
func (r *Ratio) Estimate() (Estimate, error) {
	if r.n == 0 {
		return Estimate{}, ErrEmpty
	}
	if r.md == 0 {
		return Estimate{}, ErrNoWeight
	}
	v := r.mx / r.md
	e := Estimate{Value: v + r.shift, StdErr: math.NaN(), Customers: int64(r.n)}
	if r.n > 1 {
		ss := r.sxx - 2*v*r.sxd + v*v*r.sdd
		e.StdErr = math.Sqrt(max(ss, 0)*r.n/(r.n-1)) / (r.n * math.Abs(r.md))
	}
	return e, nil
}

// ratio is the readable definition of Ratio over a customer's sums.
func ratio(by Customers, num, den func(i int) float64, rows int) (Estimate, error) {
	var x, d []float64
	by.each(rows, func(lo, hi int) {
		var sx, sd float64
		for i := lo; i < hi; i++ {
			sx += num(i)
			sd += den(i)
		}
		x, d = append(x, sx), append(d, sd)
	})
	if len(x) == 0 {
		return Estimate{}, ErrEmpty
	}
	tx, td := sum(x), sum(d)
	if td == 0 {
		return Estimate{}, ErrNoWeight
	}
	v := tx / td
	e := Estimate{Value: v, StdErr: math.NaN(), Customers: int64(len(x))}
	if n := float64(len(x)); n > 1 {
		var ss float64
		for c := range x {
			u := x[c] - v*d[c]
			ss += u * u
		}
		e.StdErr = math.Sqrt(ss*n/(n-1)) / math.Abs(td)
	}
	return e, nil
}

// sum adds with Neumaier's compensation (1974).
func sum(v []float64) float64 {
	var s, c float64
	for _, x := range v {
		t := s + x
		if math.Abs(s) >= math.Abs(x) {
			c += (s - t) + x
		} else {
			c += (x - t) + s
		}
		s = t
	}
	return s + c
}

func one(int) float64 { return 1 }
