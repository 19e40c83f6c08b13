package estimators

import "math"

// jointSize is the most sums that a joint accumulator holds.
const jointSize = 5

// joint accumulates several sums per customer with their co-moments: for
// estimators that are a smooth function of more sums than a Ratio's two. Sum 0
// is the customer's rows. As in Ratio, moments are Welford's and a sum whose over
// is not 0 is held relative to its ratio to sum over−1 in the first customer that
// has one, so that large means lose no digits.
type joint struct {
	n       float64
	over    [jointSize]int
	shift   [jointSize]float64
	shifted [jointSize]bool
	mean    [jointSize]float64
	s       [jointSize][jointSize]float64 // central co-moments
}

func (j *joint) add(v [jointSize]float64) {
	for i, o := range j.over {
		if o == 0 {
			continue
		}
		if d := v[o-1]; !j.shifted[i] && d != 0 {
			j.setShift(i, v[i]/d)
			j.shifted[i] = true
		}
	}
	for i, o := range j.over { // no sum that another is held relative to is held so itself
		if o != 0 {
			v[i] -= j.shift[i] * v[o-1]
		}
	}
	j.n++
	var before, after [jointSize]float64
	for i := range v {
		before[i] = v[i] - j.mean[i]
		j.mean[i] += before[i] / j.n
		after[i] = v[i] - j.mean[i]
	}
	for i := range v {
		for k := range v {
			j.s[i][k] += before[i] * after[k]
		}
	}
}

// setShift moves the origin of sum i.
func (j *joint) setShift(i int, shift float64) {
	o := j.over[i] - 1
	δ := shift - j.shift[i]
	j.shift[i] = shift
	j.mean[i] -= δ * j.mean[o]
	for k := range j.s {
		j.s[i][k] -= δ * j.s[o][k]
	}
	for k := range j.s {
		j.s[k][i] -= δ * j.s[k][o]
	}
}

func (j *joint) merge(from *joint) {
	if from.n == 0 {
		return
	}
	if j.n == 0 {
		*j = *from
		return
	}
	b := *from
	for i, o := range j.over {
		switch {
		case o == 0:
		case !j.shifted[i]:
			j.setShift(i, b.shift[i])
			j.shifted[i] = b.shifted[i]
		default:
			b.setShift(i, j.shift[i])
		}
	}
	n := j.n + b.n
	f := j.n * b.n / n
	var δ [jointSize]float64
	for i := range δ {
		δ[i] = b.mean[i] - j.mean[i]
	}
	for i := range δ {
		for k := range δ {
			j.s[i][k] += b.s[i][k] + δ[i]*δ[k]*f
		}
		j.mean[i] += δ[i] * b.n / n
	}
	j.n = n
}

// ratio returns sum i over the sum it is held relative to, NaN where that is 0.
func (j *joint) ratio(i int) float64 {
	d := j.mean[j.over[i]-1]
	if d == 0 {
		return math.NaN()
	}
	return j.mean[i]/d + j.shift[i]
}

// linear adds to the coefficients of an estimate's linearisation those of times
// the ratio of sum i, (x − V·d)/Σd.
func (j *joint) linear(c *[jointSize]float64, i int, times float64) {
	o := j.over[i] - 1
	d := j.n * j.mean[o]
	c[i] += times / d
	c[o] -= times * j.mean[i] / j.mean[o] / d
}

// stdErr is that of the linearised estimate, NaN below two customers.
func (j *joint) stdErr(c *[jointSize]float64) float64 {
	if j.n < 2 {
		return math.NaN()
	}
	ss := 0.0
	for i := range c {
		for k := range c {
			ss += c[i] * c[k] * j.s[i][k]
		}
	}
	return math.Sqrt(max(ss, 0) * j.n / (j.n - 1))
}
