package estimators

import "math"

// DRos is doubly robust with optimistic shrinkage, M[q_π + ŵ(r − q)] with
// ŵ = λw/(w² + λ) (Su, Dimakopoulou, Krishnamurthy and Dudík 2020, arXiv
// 1907.09623, eq. 8). λ = 0 is DM, +Inf is DR.
func DRos(by Customers, weight, reward, q, qPolicy []float64, λ float64) (Estimate, error) {
	return NewDRos(λ).modelled(by, weight, reward, q, qPolicy)
}

// NewDRos accumulates DRos. It panics on a negative or NaN λ.
func NewDRos(λ float64) *Total {
	notNegative("shrinkage", λ)
	return &Total{kind: "dros", param: λ, needs: needWeight | needReward | needModel, term: func(r *Row) (x, d float64) {
		return r.QPolicy + shrunk(r.Weight, λ)*(r.Reward-r.Q), 1
	}}
}

// shrunk is λw/(w² + λ) and its limits: 0 at λ = 0, also where w = 0, and w at
// λ = +Inf.
func shrunk(w, λ float64) float64 {
	switch {
	case λ == 0:
		return 0
	case math.IsInf(λ, 1):
		return w
	}
	return λ * w / (w*w + λ)
}
