package estimators

// BalancedWeights returns π/Σ_k s_k μ_k of each row's logged action, s_k the
// share of all rows that logger k made (Agarwal, Basu, Schnabel and Joachims
// 2017, arXiv 1703.06180, eq. 8). probability holds π of the logged action,
// propensity[k] what logger k would have given it, made by it or not, and rows
// the number of rows of each logger. Loggers must be fixed: they may not have
// learned from these rows.
func BalancedWeights(probability []float64, propensity [][]float64, rows []float64) ([]float64, error) {
	sameLength(len(propensity), len(rows))
	total := sum(rows)
	mixture := make([]float64, len(probability))
	for k, μ := range propensity {
		sameLength(len(probability), len(μ))
		for i, p := range μ {
			if !(p >= 0 && p <= 1) {
				return nil, rowErrorf(i, "propensity %v under logger %d: it must be in [0, 1]", p, k)
			}
			mixture[i] += rows[k] / total * p
		}
	}
	return Weights(probability, mixture)
}

// Balanced is IPS over several loggers with the mixture's propensity,
// M[π/(Σ_k s_k μ_k) r] (Agarwal et al. 2017, eq. 8): unbiased like weighting
// each row by its own logger, and never of larger variance. With one logger it is
// IPS. mixtureWeight is that of BalancedWeights.
func Balanced(by Customers, mixtureWeight, reward []float64) (Estimate, error) {
	sameLength(len(mixtureWeight), len(reward))
	return NewBalanced().over(by, len(reward), func(i int, r *Row) { r.Mixture, r.Reward = mixtureWeight[i], reward[i] })
}

// NewBalanced accumulates Balanced from Row.Mixture.
func NewBalanced() *Total {
	return &Total{kind: "balanced", needs: needMixture | needReward, term: func(r *Row) (x, d float64) {
		return r.Mixture * r.Reward, 1
	}}
}
