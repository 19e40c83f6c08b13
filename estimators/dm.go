package estimators

// DM is the direct method, M[q_π]: what the reward model predicts for the
// candidate. It is as biased as the model is wrong, and its standard error knows
// nothing of that. qPolicy holds q_π(x) = Σ_a π(a|x) q(x, a) of each row.
func DM(by Customers, qPolicy []float64) (Estimate, error) {
	if err := checkFinite("predicted reward", qPolicy); err != nil {
		return Estimate{}, err
	}
	return ratio(by, func(i int) float64 { return qPolicy[i] }, one, len(qPolicy))
}

// DMTotal accumulates DM.
type DMTotal struct{ ratio Ratio }

// Add adds one customer.
func (t *DMTotal) Add(c *Customer) { t.ratio.Add(c.Model, c.Rows) }

// Merge adds o's customers.
func (t *DMTotal) Merge(o *DMTotal) { t.ratio.Merge(&o.ratio) }

// Estimate returns M[q_π].
func (t *DMTotal) Estimate() (Estimate, error) { return t.ratio.Estimate() }

// NewDM accumulates DM from rows.
func NewDM() *Total {
	return &Total{kind: "dm", needs: needModel, term: func(r *Row) (x, d float64) { return r.QPolicy, 1 }}
}
