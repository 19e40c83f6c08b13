package bandit

import "nextbest"

// linUCB takes the action with the highest upper confidence bound
//
//	θ_aᵀx + α σ √(xᵀA_a⁻¹x)
//
// (Li, Chu, Langford and Schapire 2010, arXiv 1003.0146, algorithm 1, disjoint
// models), σ being the residual noise that the model estimates. By itself it is
// deterministic, so that its log could answer nothing about other actions:
// equal bounds share the probability and the floor is mixed in.
type linUCB struct {
	*linear
	alpha, floor float64
}

func newLinUCB(s Spec, beliefs *posterior) (Policy, error) {
	return linUCB{newLinear(s, beliefs), s.param("alpha"), s.param("floor")}, nil
}

func (u linUCB) Floor(k int) float64 { return u.floor / float64(k) }

func (u linUCB) Distribution(p, scores []float64, r *Request) error {
	r.check(p, scores)
	w := u.workspace()
	defer u.pool.Put(w)
	if err := u.score(w, r, true); err != nil {
		return err
	}
	for i, m := range w.mean {
		scores[i] = m + float64(u.alpha*w.sd[i])
		if scores[i]-scores[i] != 0 {
			return nextbest.Errorf(nextbest.Invalid, "linucb: the bound of eligible action %d overflows; check its value, lever and cost", i)
		}
	}
	greedy(p, scores)
	explore(p, u.floor)
	return nil
}
