package estimators

import "math"

// SNDR is DR with self-normalised weights, M[q_π] + Σw(r − q)/Σw (Thomas and
// Brunskill 2016, arXiv 1604.00923, §5, for one step). Both ratios are linearised
// together.
func SNDR(by Customers, weight, reward, q, qPolicy []float64) (Estimate, error) {
	sameLength(len(weight), len(reward), len(q), len(qPolicy))
	needs := needWeight | needReward | needModel
	for i := range weight {
		if err := needs.check(&Row{Weight: weight[i], Reward: reward[i], Q: q[i], QPolicy: qPolicy[i]}, i); err != nil {
			return Estimate{}, err
		}
	}
	model, err := ratio(by, func(i int) float64 { return qPolicy[i] }, one, len(weight))
	if err != nil {
		return Estimate{}, err
	}
	residual, err := ratio(by, func(i int) float64 { return weight[i] * (reward[i] - q[i]) }, func(i int) float64 { return weight[i] }, len(weight))
	if err != nil {
		return Estimate{}, err
	}
	e := Estimate{Value: model.Value + residual.Value, StdErr: math.NaN(), Customers: model.Customers}
	// By customer, Σ(q_π − M)/N + Σw(r − q − R)/Σw has mean 0.
	rows, total := float64(len(weight)), sum(weight)
	var ss float64
	by.each(len(weight), func(lo, hi int) {
		var a, b float64
		for i := lo; i < hi; i++ {
			a += qPolicy[i] - model.Value
			b += weight[i] * (reward[i] - q[i] - residual.Value)
		}
		u := a/rows + b/total
		ss += u * u
	})
	if n := float64(e.Customers); n > 1 {
		e.StdErr = math.Sqrt(ss * n / (n - 1))
	}
	return e, nil
}

// SNDRTotal accumulates SNDR. The zero value is ready to use.
type SNDRTotal struct {
	joint joint // rows, Σw, Σq_π over rows, Σw(r − q) over Σw
	rows  int
	bad   error
}

// Add adds one customer.
func (t *SNDRTotal) Add(customer []Row) {
	t.joint.over = [jointSize]int{2: 1, 3: 2}
	var v [jointSize]float64
	for i := range customer {
		r := &customer[i]
		if t.bad == nil {
			t.bad = (needWeight | needReward | needModel).check(r, t.rows+i)
		}
		v[0]++
		v[1] += r.Weight
		v[2] += r.QPolicy
		v[3] += r.Weight * (r.Reward - r.Q)
	}
	t.rows += len(customer)
	if t.bad == nil {
		t.joint.add(v)
	}
}

// Merge adds o's customers.
func (t *SNDRTotal) Merge(o Accumulator) {
	from := o.(*SNDRTotal)
	t.joint.merge(&from.joint)
	t.rows += from.rows
	if t.bad == nil {
		t.bad = from.bad
	}
}

// Estimate returns M[q_π] + Σw(r − q)/Σw.
func (t *SNDRTotal) Estimate() (Estimate, error) {
	j := &t.joint
	switch {
	case t.bad != nil:
		return Estimate{}, t.bad
	case j.n == 0:
		return Estimate{}, ErrEmpty
	case j.mean[1] == 0:
		return Estimate{}, ErrNoWeight
	}
	var c [jointSize]float64
	j.linear(&c, 2, 1)
	j.linear(&c, 3, 1)
	return Estimate{Value: j.ratio(2) + j.ratio(3), StdErr: j.stdErr(&c), Customers: int64(j.n)}, nil
}
