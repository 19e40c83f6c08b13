package estimators

import "math"

// BetaIPS is IPS with the baseline that minimises its variance,
//
//	M[w(r − β)] + β,  β* = E[(w² − w)r]/E[w² − w]
//
// (Gupta, Jeunen, Oosterhuis and de Rijke 2024, arXiv 2405.05736, eq. 17), β*
// from the same rows. Where Σ(w² − w) is not positive, β* is 0/0 or means
// nothing, and SNIPS, whose baseline is its own value, is returned: at w ≡ 1 that
// is the mean reward, the limit.
func BetaIPS(by Customers, weight, reward []float64) (Estimate, error) {
	sameLength(len(weight), len(reward))
	t := &BetaIPSTotal{}
	rows := make([]Row, 0, 1)
	by.each(len(weight), func(lo, hi int) {
		rows = rows[:0]
		for i := lo; i < hi; i++ {
			rows = append(rows, Row{Weight: weight[i], Reward: reward[i]})
		}
		t.Add(rows)
	})
	return t.Estimate()
}

// FixedBetaIPS is M[w(r − β)] + β for a β that was chosen without these rows:
// unbiased.
func FixedBetaIPS(by Customers, weight, reward []float64, β float64) (Estimate, error) {
	return NewFixedBetaIPS(β).weighted(by, weight, reward)
}

// NewFixedBetaIPS accumulates FixedBetaIPS. It panics on a β that is not finite.
func NewFixedBetaIPS(β float64) *Total {
	within("β", β, -math.MaxFloat64, math.MaxFloat64)
	return &Total{kind: "beta_ips", param: β, needs: needWeight | needReward, term: func(r *Row) (x, d float64) {
		return r.Weight*(r.Reward-β) + β, 1
	}}
}

// BetaIPSTotal accumulates BetaIPS. The zero value is ready to use.
type BetaIPSTotal struct {
	joint   joint   // rows, Σw, Σwr over Σw, Σ(w²−w), Σ(w²−w)r over it
	squares float64 // Σw², what the arithmetic of Σ(w²−w) is relative to
	rows    int
	bad     error
}

// Add adds one customer.
func (t *BetaIPSTotal) Add(customer []Row) {
	t.joint.over = [jointSize]int{2: 2, 4: 4}
	var v [jointSize]float64
	for i := range customer {
		r := &customer[i]
		if t.bad == nil {
			t.bad = (needWeight | needReward).check(r, t.rows+i)
		}
		u := r.Weight * (r.Weight - 1)
		v[0]++
		v[1] += r.Weight
		v[2] += r.Weight * r.Reward
		v[3] += u
		v[4] += u * r.Reward
		t.squares += r.Weight * r.Weight
	}
	t.rows += len(customer)
	if t.bad == nil {
		t.joint.add(v)
	}
}

// Merge adds o's customers.
func (t *BetaIPSTotal) Merge(o Accumulator) {
	from := o.(*BetaIPSTotal)
	t.joint.merge(&from.joint)
	t.squares += from.squares
	t.rows += from.rows
	if t.bad == nil {
		t.bad = from.bad
	}
}

// Beta returns β*, NaN where SNIPS stands in for it.
func (t *BetaIPSTotal) Beta() float64 {
	if !(t.joint.n*t.joint.mean[3] > 1e-9*t.squares) {
		return math.NaN()
	}
	return t.joint.ratio(4)
}

// Estimate returns M[w(r − β*)] + β*, linearised in all of its sums.
func (t *BetaIPSTotal) Estimate() (Estimate, error) {
	j := &t.joint
	switch {
	case t.bad != nil:
		return Estimate{}, t.bad
	case j.n == 0:
		return Estimate{}, ErrEmpty
	case j.mean[1] == 0:
		return Estimate{}, ErrNoWeight
	}
	e := Estimate{Customers: int64(j.n)}
	snips, w, β := j.ratio(2), j.mean[1]/j.mean[0], t.Beta()
	var c [jointSize]float64
	if math.IsNaN(β) {
		j.linear(&c, 2, 1)
		e.Value, e.StdErr = snips, j.stdErr(&c)
		return e, nil
	}
	// V = S·W − β(W − 1), S = Σwr/Σw and W = Σw/N.
	e.Value = snips + (snips-β)*(w-1)
	j.linear(&c, 2, w)
	j.linear(&c, 4, 1-w)
	rows := j.n * j.mean[0]
	c[1] += (snips - β) / rows
	c[0] -= (snips - β) * w / rows
	e.StdErr = j.stdErr(&c)
	return e, nil
}
