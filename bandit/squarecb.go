package bandit

import "math"

// squareCB chooses by inverse gap weighting (Foster and Rakhlin 2020, arXiv
// 2002.04926, algorithm 1): with b the action of the highest predicted score s
// among K,
//
//	p_a = 1/(K + γ (s_b − s_a)) for a ≠ b,  p_b = 1 − Σ_{a≠b} p_a
//
// and actions that tie for the highest share what the others leave.
//
// Their γ is √(KT/Reg), Reg being the regret of the regression, here about σ²Kd
// for K regressions of d weights. So unless γ is declared it is
//
//	γ = gamma_scale √(n/d) / u
//
// with n the rows learned and u the residual noise of the scores (linear.unit):
// uniform before the first row, invariant to the rewards' scale.
type squareCB struct {
	*linear
	gamma, scale, floor float64
}

func newSquareCB(s Spec, p *posterior) (Policy, error) {
	return squareCB{newLinear(s, p), s.param("gamma"), s.param("gamma_scale"), s.param("floor")}, nil
}

func (q squareCB) over(l *linear) Policy {
	q.linear = l
	return q
}

func (q squareCB) Floor(k int) float64 { return q.floor / float64(k) }

func (q squareCB) Distribution(p, scores []float64, r *Request) error {
	r.check(p, scores)
	w := q.workspace()
	defer q.pool.Put(w)
	if err := q.score(w, r, false); err != nil {
		return err
	}
	copy(scores, w.mean)
	gamma := q.gamma
	if gamma == 0 {
		unit, err := q.unit(r)
		if err != nil {
			return err
		}
		gamma = float64(q.scale*math.Sqrt(q.learned/float64(max(q.width, 1)))) / unit // 0/0 where nothing is known
	}
	inverseGaps(p, scores, gamma)
	explore(p, q.floor)
	return nil
}

// inverseGaps sets p by inverse gap weighting; a gamma that is not above 0
// gives the uniform distribution.
func inverseGaps(p, scores []float64, gamma float64) {
	k := float64(len(p))
	if !(gamma > 0) {
		for i := range p {
			p[i] = 1 / k
		}
		return
	}
	greedy(p, scores) // finds the leaders
	best := math.Inf(-1)
	for _, s := range scores {
		best = max(best, s)
	}
	rest := 1.0
	for i, s := range scores {
		if s < best {
			p[i] = 1 / (k + float64(gamma*(best-s)))
			rest -= p[i]
		}
	}
	for i, s := range scores {
		if s == best {
			p[i] *= rest
		}
	}
}
