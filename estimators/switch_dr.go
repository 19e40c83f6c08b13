package estimators

// SwitchDR trusts the weights up to τ and the reward model above it,
// M[q_π + w 1{w ≤ τ}(r − q)] (Wang, Agarwal and Dudík 2017, arXiv 1612.01205,
// eq. 8 with DR as its low-weight part). τ = 0 is DM, +Inf is DR.
func SwitchDR(by Customers, weight, reward, q, qPolicy []float64, τ float64) (Estimate, error) {
	return NewSwitchDR(τ).modelled(by, weight, reward, q, qPolicy)
}

// NewSwitchDR accumulates SwitchDR. It panics on a negative or NaN τ.
func NewSwitchDR(τ float64) *Total {
	notNegative("switch threshold", τ)
	return &Total{kind: "switch_dr", param: τ, needs: needWeight | needReward | needModel, term: func(r *Row) (x, d float64) {
		return r.QPolicy + switched(r.Weight, τ)*(r.Reward-r.Q), 1
	}}
}

func switched(w, τ float64) float64 {
	if w > τ {
		return 0
	}
	return w
}
