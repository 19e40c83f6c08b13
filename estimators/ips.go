package estimators

// IPS is the inverse-propensity estimate of a policy's value, M[wr]
// (Horvitz and Thompson 1952): unbiased when every action that the candidate
// may take was logged with a positive, true propensity.
func IPS(by Customers, weight, reward []float64) (Estimate, error) {
	sameLength(len(weight), len(reward))
	if err := checkWeights(weight); err != nil {
		return Estimate{}, err
	}
	if err := checkFinite("reward", reward); err != nil {
		return Estimate{}, err
	}
	return ratio(by, func(i int) float64 { return weight[i] * reward[i] }, one, len(weight))
}

// IPSTotal accumulates IPS.
type IPSTotal struct{ ratio Ratio }

// Add adds one customer.
func (t *IPSTotal) Add(c *Customer) { t.ratio.Add(c.WeightedReward, c.Rows) }

// Merge adds o's customers.
func (t *IPSTotal) Merge(o *IPSTotal) { t.ratio.Merge(&o.ratio) }

// Estimate returns M[wr].
func (t *IPSTotal) Estimate() (Estimate, error) { return t.ratio.Estimate() }

// NewIPS accumulates IPS from rows.
func NewIPS() *Total {
	return &Total{kind: "ips", needs: needWeight | needReward, term: func(r *Row) (x, d float64) {
		return r.Weight * r.Reward, 1
	}}
}
