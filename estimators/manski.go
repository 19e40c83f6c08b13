package estimators

import "math"

// shortSupport holds, customer by customer, the two ends that a candidate's
// rewards may have where the log cannot speak for all of its mass:
//
//	Σ(wr + (1−s) r_min) and Σ(wr + (1−s) r_max), s a row's supported mass
//
// (Manski 1990, American Economic Review 80:319). They are bounded as what they
// are: which customers lack support is as random as what the others earned, and
// a bound of the supported part alone, moved by the sample's own mass, covers
// .6 where half of the mass is unsupported.
type shortSupport struct {
	least, most float64
	low, high   cells
}

// add adds count customers of n rows with the unsupported mass short and Σwr.
func (s *shortSupport) add(count, n, short, weightedReward float64) {
	if s == nil {
		return
	}
	s.low.add(count, n, 0, weightedReward+short*s.least)
	s.high.add(count, n, 0, weightedReward+short*s.most)
}

// begin makes the two ends, equal so far, from what was added: all of it fully
// supported.
func (l *WeightLikelihood) begin() {
	l.short = &shortSupport{least: l.Least, most: l.Most}
	count, n, a, z := l.cells.points()
	for k, c := range count {
		l.short.add(c, n[k], 0, z[k]+l.Origin*(a[k]+n[k]))
	}
}

// mergeShort adds the ends of o's customers, before these are added.
func (l *WeightLikelihood) mergeShort(o *WeightLikelihood) {
	if l.short == nil && o.short == nil {
		return
	}
	if l.short == nil {
		l.begin()
	}
	from := o.short
	if from == nil {
		full := WeightLikelihood{Origin: o.Origin, Least: o.Least, Most: o.Most, cells: o.cells}
		full.begin()
		from = full.short
	}
	l.short.low.merge(&from.low)
	l.short.high.merge(&from.high)
}

// Manski returns bounds of the value where the support is not full: the lower
// end of the interval of what it is if all that the log cannot speak for earns
// Least, and the upper end if it earns Most.
func (l *WeightLikelihood) Manski(maxWeight, level float64) (Interval, error) {
	if !(maxWeight >= 1) || math.IsInf(maxWeight, 1) {
		return Interval{}, ErrNoMaxWeight
	}
	if l.cells.customers == 0 {
		return Interval{}, ErrEmpty
	}
	if l.short == nil {
		_, iv, err := l.IPS(maxWeight, l.Least, l.Most, level)
		return Interval{Low: math.Max(iv.Low, l.Least), High: math.Min(iv.High, l.Most)}, err
	}
	least, most := min(0, l.Least, maxWeight*l.Least), max(0, l.Most, maxWeight*l.Most)
	end := func(c *cells) Interval {
		count, n, _, y := c.points()
		p := &profile{count: count, y: y, n: n, rows: c.maxRows, corners: []corner{{y: least, n: 1}, {y: most, n: 1}}}
		_, iv := p.interval(least, most, chiSquared(level))
		return iv
	}
	return Interval{Low: math.Max(end(&l.short.low).Low, l.Least), High: math.Min(end(&l.short.high).High, l.Most)}, nil
}
