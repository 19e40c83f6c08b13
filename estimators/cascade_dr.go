package estimators

// CascadeDR is the value of a list whose customer reads from the top, so that a
// slot's reward depends on the slots above it alone:
//
//	M[Σ_l w_{1:l}(r_l − Q_l) + w_{1:l−1} Σ_a π(a|x, a_{1:l−1}) Q_l(a)]
//
// with w_{1:l} = Π_{j≤l} w_j of the slots' conditional probabilities and Q_l the
// predicted sum of the rewards from slot l on (Kiyohara, Saito, Matsuhiro,
// Narita, Shimizu and Yamamoto 2022, arXiv 2202.01562, eq. 9). Unbiased under the cascade assumption when the
// propensities are true or the model is. Each row is a list.
func CascadeDR(by Customers, lists [][]Slot) (Estimate, error) {
	return NewCascadeDR().over(by, len(lists), func(i int, r *Row) { r.Slots = lists[i] })
}

// NewCascadeDR accumulates CascadeDR from Row.Slots.
func NewCascadeDR() *Total {
	return &Total{kind: "cascade_dr", needs: needSlotWeights | needSlotModel, term: func(r *Row) (x, d float64) {
		above := 1.0
		for _, s := range r.Slots {
			w := above * s.Weight
			x += w*(s.Reward-s.Q) + above*s.QPolicy
			above = w
		}
		return x, 1
	}}
}
