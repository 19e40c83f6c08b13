package estimators

import "math"

// Accumulator is an estimator of a stream: one customer's rows at a time, in
// memory that does not grow with the log. Merging any split of the customers, in
// any order, gives what all at once give. A row that cannot be used is kept as
// an error, which Estimate returns.
type Accumulator interface {
	Add(customer []Row)
	// Merge adds o's customers; o must be of the same estimator and
	// hyperparameters, or Merge panics.
	Merge(o Accumulator)
	Estimate() (Estimate, error)
}

// term is what one row adds to an estimator's numerator and denominator: its
// whole definition, where the estimator is a ratio of sums.
type term func(r *Row) (x, d float64)

// Total accumulates a ratio of sums of row terms. Each estimator's file has the
// constructor.
type Total struct {
	kind  string  // of the estimator
	param float64 // its hyperparameter
	term  term
	needs needs
	ratio Ratio
	rows  int
	bad   error
}

// Add adds one customer.
func (t *Total) Add(customer []Row) {
	var x, d float64
	for i := range customer {
		r := &customer[i]
		if t.bad == nil {
			t.bad = t.needs.check(r, t.rows+i)
		}
		rx, rd := t.term(r)
		x += rx
		d += rd
	}
	t.rows += len(customer)
	if t.bad == nil {
		t.ratio.Add(x, d)
	}
}

// Merge adds o's customers.
func (t *Total) Merge(o Accumulator) {
	from, ok := o.(*Total)
	if !ok || from.kind != t.kind || from.param != t.param {
		panic("estimators: merged totals are of different estimators")
	}
	t.ratio.Merge(&from.ratio)
	t.rows += from.rows
	if t.bad == nil {
		t.bad = from.bad
	}
}

// Estimate returns the ratio, or the *RowError of the first row that could not
// be used, counted from this accumulator's first row.
func (t *Total) Estimate() (Estimate, error) {
	if t.bad != nil {
		return Estimate{}, t.bad
	}
	return t.ratio.Estimate()
}

// needs says which columns of a row an estimator reads, and so checks.
type needs uint16

const (
	needWeight needs = 1 << iota
	needReward
	needModel // q and q_π
	needGain  // rewards that are not negative
	needCluster
	needMixture
	needStability
	needAgreement // propensity, and a candidate that is certain
	needSlotWeights
	needSlotMarginals
	needSlotModel
)

// plain reports whether a row has nothing wrong, where no more than weight,
// reward and model are needed: nearly always.
func (n needs) plain(r *Row) bool {
	if n&^(needWeight|needReward|needModel) != 0 {
		return false
	}
	if n&needWeight != 0 && !(r.Weight >= 0 && r.Weight <= math.MaxFloat64) {
		return false
	}
	v := 0.0 // not finite where a value is not
	if n&needReward != 0 {
		v += r.Reward * 0
	}
	if n&needModel != 0 {
		v += r.Q*0 + r.QPolicy*0
	}
	return v == 0
}

// check returns a *RowError for what cannot be used.
func (n needs) check(r *Row, row int) error {
	if n.plain(r) {
		return nil
	}
	for _, c := range [...]struct {
		need needs
		name string
		v    float64
	}{
		{needWeight, "weight", r.Weight},
		{needCluster, "cluster weight", r.Cluster},
		{needMixture, "mixture weight", r.Mixture},
	} {
		if n&c.need != 0 && (!(c.v >= 0) || math.IsInf(c.v, 1)) {
			return rowErrorf(row, "%s %v: it must be finite and not negative", c.name, c.v)
		}
	}
	for _, c := range [...]struct {
		need needs
		name string
		v    float64
	}{
		{needReward, "reward", r.Reward},
		{needModel, "predicted reward", r.Q},
		{needModel, "predicted reward", r.QPolicy},
	} {
		if n&c.need != 0 && (math.IsNaN(c.v) || math.IsInf(c.v, 0)) {
			return rowErrorf(row, "%s %v: it must be a finite number", c.name, c.v)
		}
	}
	if n&needGain != 0 && r.Reward < 0 {
		return rowErrorf(row, "reward %v: this estimator needs rewards that are not negative", r.Reward)
	}
	if n&needStability != 0 && (!(r.Stability > 0) || math.IsInf(r.Stability, 1)) {
		return rowErrorf(row, "stability weight %v: it must be finite and positive", r.Stability)
	}
	if n&needAgreement != 0 {
		if !(r.Propensity > 0 && r.Propensity <= 1) {
			return rowErrorf(row, "propensity %v: it must be in (0, 1]", r.Propensity)
		}
		if p := r.Weight * r.Propensity; p != 0 && !(math.Abs(p-1) <= 1e-9) {
			return rowErrorf(row, "evaluation probability %v: replay needs a candidate that is certain, 0 or 1", p)
		}
	}
	if n&(needSlotWeights|needSlotMarginals|needSlotModel) != 0 {
		return n.checkSlots(r, row)
	}
	return nil
}

func (n needs) checkSlots(r *Row, row int) error {
	if len(r.Slots) == 0 {
		return rowErrorf(row, "no slots: this estimator is of lists")
	}
	for l, s := range r.Slots {
		w := s.Weight
		if n&needSlotMarginals != 0 {
			w = s.Marginal
		}
		if !(w >= 0) || math.IsInf(w, 1) {
			return rowErrorf(row, "weight %v of slot %d: it must be finite and not negative", w, l+1)
		}
		v := s.Reward
		if n&needSlotModel != 0 {
			v += s.Q + s.QPolicy
		}
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return rowErrorf(row, "slot %d: its reward and predictions must be finite numbers", l+1)
		}
	}
	return nil
}

// over evaluates a term on slices that read gives as rows: the estimators'
// functions of slices.
func (t *Total) over(by Customers, rows int, read func(i int, r *Row)) (Estimate, error) {
	x, d := make([]float64, rows), make([]float64, rows)
	var r Row
	for i := range rows {
		read(i, &r)
		if err := t.needs.check(&r, i); err != nil {
			return Estimate{}, err
		}
		x[i], d[i] = t.term(&r)
	}
	return ratio(by, func(i int) float64 { return x[i] }, func(i int) float64 { return d[i] }, rows)
}

// weighted evaluates it on weights and rewards.
func (t *Total) weighted(by Customers, weight, reward []float64) (Estimate, error) {
	sameLength(len(weight), len(reward))
	return t.over(by, len(weight), func(i int, r *Row) { r.Weight, r.Reward = weight[i], reward[i] })
}

// modelled evaluates it on weights, rewards and a reward model.
func (t *Total) modelled(by Customers, weight, reward, q, qPolicy []float64) (Estimate, error) {
	sameLength(len(weight), len(reward), len(q), len(qPolicy))
	return t.over(by, len(weight), func(i int, r *Row) {
		r.Weight, r.Reward, r.Q, r.QPolicy = weight[i], reward[i], q[i], qPolicy[i]
	})
}
