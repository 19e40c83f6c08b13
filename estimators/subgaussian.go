package estimators

// SubGaussianIPS moves the weights towards 1 harmonically,
// M[w/(1 − λ + λw) r] (Metelli, Russo and Restelli 2021, Subgaussian and
// Differentiable Importance Sampling, NeurIPS 34, eq. 6 with s = −1). λ = 0 is
// IPS, λ = 1 the mean logged reward of the rows whose weight is positive.
func SubGaussianIPS(by Customers, weight, reward []float64, λ float64) (Estimate, error) {
	return NewSubGaussianIPS(λ).weighted(by, weight, reward)
}

// NewSubGaussianIPS accumulates SubGaussianIPS. It panics unless 0 ≤ λ ≤ 1.
func NewSubGaussianIPS(λ float64) *Total {
	within("λ", λ, 0, 1)
	return &Total{kind: "subgaussian_ips", param: λ, needs: needWeight | needReward, term: func(r *Row) (x, d float64) {
		return softened(r.Weight, λ) * r.Reward, 1
	}}
}

// SubGaussianDR is DR with the same weights, M[q_π + w/(1 − λ + λw)(r − q)]
// (Metelli et al. 2021, §5). λ = 0 is DR.
func SubGaussianDR(by Customers, weight, reward, q, qPolicy []float64, λ float64) (Estimate, error) {
	return NewSubGaussianDR(λ).modelled(by, weight, reward, q, qPolicy)
}

// NewSubGaussianDR accumulates SubGaussianDR. It panics unless 0 ≤ λ ≤ 1.
func NewSubGaussianDR(λ float64) *Total {
	within("λ", λ, 0, 1)
	return &Total{kind: "subgaussian_dr", param: λ, needs: needWeight | needReward | needModel, term: func(r *Row) (x, d float64) {
		return r.QPolicy + softened(r.Weight, λ)*(r.Reward-r.Q), 1
	}}
}

// softened is w/(1 − λ + λw); 0 where w = 0, also at λ = 1 where that is 0/0.
func softened(w, λ float64) float64 {
	if w == 0 {
		return 0
	}
	return w / (1 - λ + λ*w)
}
