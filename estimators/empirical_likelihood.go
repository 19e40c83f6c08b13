package estimators

import (
	"errors"
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Support declares where a row's moments can lie, seen or unseen: the row's
// contribution is y = g + u·e with weight (or weight difference) u, and u has
// the mean Mean. It comes from declared floors and reward ranges, never from
// the largest weight of the sample (with that, coverage fell to .56–.87).
type Support struct {
	UMin, UMax, Mean float64
	GMin, GMax       float64 // of the model's part, 0 without a model
	EMin, EMax       float64 // of the reward, or of r − q
}

// ValueSupport returns the support of M[wr]: w in [0, maxWeight], r in
// [rMin, rMax].
func ValueSupport(maxWeight, rMin, rMax float64) Support {
	return Support{UMax: maxWeight, Mean: 1, EMin: rMin, EMax: rMax}
}

// ErrNoMaxWeight is returned where an empirical-likelihood interval is asked
// for without a declared largest weight.
var ErrNoMaxWeight = errors.New("empirical likelihood needs the largest possible weight: declare the logger's exploration floor")

func (s Support) corners() ([]corner, error) {
	for _, v := range []float64{s.UMin, s.UMax, s.GMin, s.GMax, s.EMin, s.EMax} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, ErrNoMaxWeight
		}
	}
	if !(s.UMax > s.Mean || s.UMax == s.Mean && s.UMin == s.Mean) {
		return nil, ErrNoMaxWeight
	}
	var cs []corner
	for _, u := range [2]float64{s.UMin, s.UMax} {
		for _, g := range [2]float64{s.GMin, s.GMax} {
			for _, e := range [2]float64{s.EMin, s.EMax} {
				cs = append(cs, corner{a: u - s.Mean, y: g + u*e, n: 1})
			}
		}
	}
	return cs, nil
}

// Likelihood accumulates customers for empirical-likelihood intervals of a
// mean per row, in flat memory. Its moments are Σ_c(u − E[u]), whose mean is
// known to be 0, and Σ_c(y − v).
//
// Origin is taken off y, per row, before it is stored; it should lie near the
// value, so that a reward with a large mean loses no digits. Accumulators that
// are merged must share it.
type Likelihood struct {
	Origin float64
	cells  cells
}

// Add adds one customer with n rows: u is Σ(u − E[u]), y is Σy.
func (l *Likelihood) Add(n, u, y float64) { l.cells.add(1, n, u, y-l.Origin*n) }

// AddMany adds count customers that are alike.
func (l *Likelihood) AddMany(count, n, u, y float64) { l.cells.add(count, n, u, y-l.Origin*n) }

// Merge adds o's customers.
func (l *Likelihood) Merge(o *Likelihood) {
	if l.Origin != o.Origin {
		panic("estimators: merged likelihoods have different origins")
	}
	l.cells.merge(&o.cells)
}

// Interval returns the maximum-likelihood value and {v : 2Δℓ ≤ χ²₁} within
// [lo, hi], the values that are possible at all.
//
// Fixed loggers only: the weights' mean constraint and χ² limit assume
// independent customers.
func (l *Likelihood) Interval(s Support, lo, hi, level float64) (float64, Interval, error) {
	cs, err := s.corners()
	if err != nil {
		return 0, Interval{}, err
	}
	if l.cells.customers == 0 {
		return 0, Interval{}, ErrEmpty
	}
	for i := range cs {
		cs[i].y -= l.Origin
	}
	count, n, a, y := l.cells.points()
	p := &profile{count: count, a: a, y: y, n: n, corners: cs, rows: l.cells.maxRows}
	if varies(a) < 1e-12 {
		p.a = nil
		for i := range cs {
			cs[i].a = 0
		}
	}
	v, iv := p.interval(lo-l.Origin, hi-l.Origin, chiSquared(level))
	return v + l.Origin, Interval{Low: iv.Low + l.Origin, High: iv.High + l.Origin}, nil
}

func varies(a []float64) float64 {
	m := 0.0
	for _, v := range a {
		m = max(m, math.Abs(v))
	}
	return m
}

func chiSquared(level float64) float64 {
	return distuv.ChiSquared{K: 1}.Quantile(level)
}

// EmpiricalLikelihood is the profile-likelihood estimate and interval of a
// policy's value (Karampatziakis, Langford and Mineiro 2020, arXiv 1906.03323,
// §3): the weights' mean is held at 1, w may reach maxWeight and r the range
// [rMin, rMax], whatever the sample holds. Good from 20 converting customers.
func EmpiricalLikelihood(by Customers, weight, reward []float64, maxWeight, rMin, rMax, level float64) (float64, Interval, error) {
	l, err := weightLikelihood(by, weight, reward)
	if err != nil {
		return 0, Interval{}, err
	}
	return l.Value(maxWeight, rMin, rMax, level)
}

func weightLikelihood(by Customers, weight, reward []float64) (*WeightLikelihood, error) {
	sameLength(len(weight), len(reward))
	if err := checkWeights(weight); err != nil {
		return nil, err
	}
	if err := checkFinite("reward", reward); err != nil {
		return nil, err
	}
	var l WeightLikelihood
	by.each(len(weight), func(lo, hi int) {
		var c Customer
		for i := lo; i < hi; i++ {
			c.Add(&Row{Weight: weight[i], Reward: reward[i], Support: 1})
		}
		l.Add(&c)
	})
	return &l, nil
}

// WeightLikelihood accumulates customers for the likelihood intervals that
// need weights and rewards only: the value's, and those of IPS and SNIPS. It
// stores Σ_c w(r − Origin); see Likelihood for Origin.
type WeightLikelihood struct {
	Origin float64
	// Least and Most are the range of rewards, which only Manski needs.
	Least, Most float64

	cells   cells
	rows    float64 // Σn
	support float64 // Σ of the supported mass

	short *shortSupport // nil while every row was fully supported
}

// Add adds one customer. Rows whose support is below 1 are held to that mean
// weight.
func (l *WeightLikelihood) Add(c *Customer) {
	if l.short == nil && c.Support < c.Rows {
		l.begin()
	}
	l.rows += c.Rows
	l.support += c.Support
	l.cells.add(1, c.Rows, c.Weight-c.Support, c.WeightedReward-l.Origin*c.Weight)
	l.short.add(1, c.Rows, c.Rows-c.Support, c.WeightedReward)
}

// AddMany adds count customers that are alike: rows n, Σw and Σwr.
func (l *WeightLikelihood) AddMany(count, n, weight, weightedReward float64) {
	l.rows += count * n
	l.support += count * n
	l.cells.add(count, n, weight-n, weightedReward-l.Origin*weight)
	l.short.add(count, n, 0, weightedReward)
}

// Merge adds o's customers, which must share Origin, Least and Most.
func (l *WeightLikelihood) Merge(o *WeightLikelihood) {
	if l.Origin != o.Origin || l.Least != o.Least || l.Most != o.Most {
		panic("estimators: merged likelihoods have different origins or ranges of rewards")
	}
	l.mergeShort(o)
	l.rows += o.rows
	l.support += o.support
	l.cells.merge(&o.cells)
}

// Value returns the estimate and interval under the constraint that weights
// average to 1; it needs full support.
func (l *WeightLikelihood) Value(maxWeight, rMin, rMax, level float64) (float64, Interval, error) {
	rMin, rMax = rMin-l.Origin, rMax-l.Origin
	cs, err := ValueSupport(maxWeight, rMin, rMax).corners()
	if err != nil {
		return 0, Interval{}, err
	}
	if l.cells.customers == 0 {
		return 0, Interval{}, ErrEmpty
	}
	count, n, a, y := l.cells.points()
	p := &profile{count: count, a: a, y: y, n: n, corners: cs, rows: l.cells.maxRows}
	if varies(a) < 1e-12 {
		p.a = nil
		for i := range cs {
			cs[i].a = 0
		}
	}
	v, iv := p.interval(rMin, rMax, chiSquared(level))
	return v + l.Origin, Interval{Low: iv.Low + l.Origin, High: iv.High + l.Origin}, nil
}

// IPS returns the interval of M[wr] without the weights' constraint: centred
// on the IPS estimate, and valid where the support is not full (it is then the
// supported part's).
func (l *WeightLikelihood) IPS(maxWeight, rMin, rMax, level float64) (float64, Interval, error) {
	if !(maxWeight >= 1) || math.IsInf(maxWeight, 1) {
		return 0, Interval{}, ErrNoMaxWeight
	}
	if l.cells.customers == 0 {
		return 0, Interval{}, ErrEmpty
	}
	count, n, a, z := l.cells.points()
	y := make([]float64, len(z))
	s := l.support / l.rows
	for k := range z {
		y[k] = z[k] + l.Origin*(a[k]+s*n[k])
	}
	lo, hi := min(0, maxWeight*rMin), max(0, maxWeight*rMax)
	p := &profile{count: count, y: y, n: n, rows: l.cells.maxRows, corners: []corner{{y: lo, n: 1}, {y: hi, n: 1}}}
	v, iv := p.interval(lo, hi, chiSquared(level))
	return v, iv, nil
}

// SNIPS returns the interval of E[wr]/E[w] from the moment Σ_c w(r − v).
func (l *WeightLikelihood) SNIPS(maxWeight, rMin, rMax, level float64) (float64, Interval, error) {
	rMin, rMax = rMin-l.Origin, rMax-l.Origin
	if !(maxWeight >= 1) || math.IsInf(maxWeight, 1) {
		return 0, Interval{}, ErrNoMaxWeight
	}
	if l.cells.customers == 0 {
		return 0, Interval{}, ErrEmpty
	}
	count, n, a, y := l.cells.points()
	w, total := make([]float64, len(y)), 0.0
	s := l.support / l.rows
	for k := range y {
		w[k] = max(a[k]+s*n[k], 0)
		total += count[k] * w[k]
	}
	if total == 0 {
		return 0, Interval{}, ErrNoWeight
	}
	p := &profile{count: count, y: y, n: w, rows: l.cells.maxRows,
		corners: []corner{{y: maxWeight * rMin, n: maxWeight}, {y: maxWeight * rMax, n: maxWeight}}}
	v, iv := p.interval(rMin, rMax, chiSquared(level))
	return v + l.Origin, Interval{Low: iv.Low + l.Origin, High: iv.High + l.Origin}, nil
}
