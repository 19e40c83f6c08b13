package estimators

// DR is the doubly-robust estimate M[q_π + w(r − q)] (Dudík, Langford and Li
// 2011, arXiv 1103.4601, eq. 2): right when either the propensities or the
// reward model are. q holds q(x, a) of the logged action and qPolicy q_π(x);
// the model must not have seen the row it predicts (fit it on other customers).
func DR(by Customers, weight, reward, q, qPolicy []float64) (Estimate, error) {
	sameLength(len(weight), len(reward), len(q), len(qPolicy))
	if err := checkWeights(weight); err != nil {
		return Estimate{}, err
	}
	for _, v := range []struct {
		name string
		v    []float64
	}{{"reward", reward}, {"predicted reward", q}, {"predicted reward", qPolicy}} {
		if err := checkFinite(v.name, v.v); err != nil {
			return Estimate{}, err
		}
	}
	return ratio(by, func(i int) float64 { return qPolicy[i] + weight[i]*(reward[i]-q[i]) }, one, len(weight))
}

// DRTotal accumulates DR.
type DRTotal struct{ ratio Ratio }

// Add adds one customer.
func (t *DRTotal) Add(c *Customer) { t.ratio.Add(c.Model+c.Correction, c.Rows) }

// Merge adds o's customers.
func (t *DRTotal) Merge(o *DRTotal) { t.ratio.Merge(&o.ratio) }

// Estimate returns M[q_π + w(r − q)].
func (t *DRTotal) Estimate() (Estimate, error) { return t.ratio.Estimate() }

// NewDR accumulates DR from rows.
func NewDR() *Total {
	return &Total{kind: "dr", needs: needWeight | needReward | needModel, term: func(r *Row) (x, d float64) {
		return r.QPolicy + r.Weight*(r.Reward-r.Q), 1
	}}
}
