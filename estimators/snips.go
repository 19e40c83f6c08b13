package estimators

// SNIPS is the self-normalised estimate Σwr/Σw (Swaminathan and Joachims 2015,
// The Self-Normalized Estimator for Counterfactual Learning, eq. 8). Its
// standard error linearises numerator and denominator together.
func SNIPS(by Customers, weight, reward []float64) (Estimate, error) {
	sameLength(len(weight), len(reward))
	if err := checkWeights(weight); err != nil {
		return Estimate{}, err
	}
	if err := checkFinite("reward", reward); err != nil {
		return Estimate{}, err
	}
	return ratio(by,
		func(i int) float64 { return weight[i] * reward[i] },
		func(i int) float64 { return weight[i] }, len(weight))
}

// SNIPSTotal accumulates SNIPS.
type SNIPSTotal struct{ ratio Ratio }

// Add adds one customer.
func (t *SNIPSTotal) Add(c *Customer) { t.ratio.Add(c.WeightedReward, c.Weight) }

// Merge adds o's customers.
func (t *SNIPSTotal) Merge(o *SNIPSTotal) { t.ratio.Merge(&o.ratio) }

// Estimate returns Σwr/Σw.
func (t *SNIPSTotal) Estimate() (Estimate, error) { return t.ratio.Estimate() }

// NewSNIPS accumulates SNIPS from rows.
func NewSNIPS() *Total {
	return &Total{kind: "snips", needs: needWeight | needReward, term: func(r *Row) (x, d float64) {
		return r.Weight * r.Reward, r.Weight
	}}
}
