package bandit

import "nextbest"

// linearThompson is Thompson sampling for linear rewards with disjoint models
// (Agrawal and Goyal 2013, arXiv 1209.3352): the score of action a is Gaussian
// with mean θ_aᵀx and standard deviation v σ √(xᵀA_a⁻¹x), and an action's
// probability is that of its score being the highest, computed exactly by
// quadrature rather than by drawing.
type linearThompson struct {
	*linear
	v, floor float64
}

func newLinearThompson(s Spec, beliefs *posterior) (Policy, error) {
	return linearThompson{newLinear(s, beliefs), s.param("v"), s.param("floor")}, nil
}

func (t linearThompson) over(l *linear) Policy {
	t.linear = l
	return t
}

func (t linearThompson) Floor(k int) float64 { return t.floor / float64(k) }

func (t linearThompson) Distribution(p, scores []float64, r *Request) error {
	r.check(p, scores)
	w := t.workspace()
	defer t.pool.Put(w)
	if err := t.score(w, r, true); err != nil {
		return err
	}
	for i, sd := range w.sd {
		w.sd[i] = float64(t.v * sd)
		if w.sd[i]-w.sd[i] != 0 {
			return nextbest.Errorf(nextbest.Invalid, "thompson sampling: the standard deviation of eligible action %d overflows; check its value and lever", i)
		}
	}
	copy(scores, w.mean)
	if err := w.maximum.probabilities(p, w.mean, w.sd); err != nil {
		return err
	}
	explore(p, t.floor)
	return nil
}
