package estimators

import "math"

// AdaptiveAIPW is for logs of a policy that learned from them, where plain means
// are biased and not normal:
//
//	φ_t = q_{t−1,π} + w_t(r_t − q_{t−1}),  V = Σh_tφ_t/Σh_t,
//	se = √Σh_t²(φ_t − V)²/Σh_t
//
// (Hadad, Hirshberg, Zhan, Wager and Athey 2021, arXiv 1911.02768, eq. 5 and 7;
// by customer here, with C/(C−1)). The model q_{t−1} and h_t may use only what came before row t.
// h_t must moreover not depend on the row's own context, else V is biased: use
// StabilityWeight, not √e_t(x_t). The logger needs an exploration floor.
func AdaptiveAIPW(by Customers, h, weight, reward, q, qPolicy []float64) (Estimate, error) {
	sameLength(len(h), len(weight), len(reward), len(q), len(qPolicy))
	return NewAdaptiveAIPW().over(by, len(h), func(i int, r *Row) {
		r.Stability, r.Weight, r.Reward, r.Q, r.QPolicy = h[i], weight[i], reward[i], q[i], qPolicy[i]
	})
}

// NewAdaptiveAIPW accumulates AdaptiveAIPW from Row.Stability, Weight, Reward, Q
// and QPolicy.
func NewAdaptiveAIPW() *Total {
	return &Total{kind: "adaptive_aipw", needs: needStability | needWeight | needReward | needModel, term: func(r *Row) (x, d float64) {
		return r.Stability * (r.QPolicy + r.Weight*(r.Reward-r.Q)), r.Stability
	}}
}

// StabilityWeight returns h_t = (mean over contexts j of Σ_a π(a|x_j)²/e_t(a|x_j))^(−1/2),
// about one over the standard deviation of φ_t, from reference contexts that are
// fixed or past. π[j] is the candidate's distribution at context j and e[j] that
// of the logger as it was at time t. An action that the candidate takes and the
// logger cannot is a *RowError that names the context.
func StabilityWeight(π, e [][]float64) (float64, error) {
	sameLength(len(π), len(e))
	if len(π) == 0 {
		return 0, ErrEmpty
	}
	var s float64
	for j := range π {
		sameLength(len(π[j]), len(e[j]))
		for a, p := range π[j] {
			if !(p >= 0 && p <= 1) {
				return 0, rowErrorf(j, "evaluation probability %v of action %d: it must be in [0, 1]", p, a)
			}
			if p == 0 {
				continue
			}
			if x := e[j][a]; !(x > 0 && x <= 1) {
				return 0, rowErrorf(j, "propensity %v of action %d: it must be in (0, 1] where the candidate may take it", x, a)
			}
			s += p * p / e[j][a]
		}
	}
	return 1 / math.Sqrt(s/float64(len(π))), nil
}
