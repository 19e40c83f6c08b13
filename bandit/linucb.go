package bandit

import "math"

// linUCB takes the action with the highest upper confidence bound
//
//	θ_aᵀx + α σ √(xᵀA_a⁻¹x)
//
// (Li, Chu, Langford and Schapire 2010, arXiv 1003.0146, algorithm 1, disjoint
// models), σ being the residual noise that the model estimates. By itself it is
// deterministic, so that its log could answer nothing about other actions:
// equal bounds share the probability and the floor is mixed in.
//
// With levels it is RandUCB (Vaswani, Mehrabian, Durand and Kveton 2020, arXiv
// 1910.04928): α is replaced by one of M values that all actions share, and an
// action's probability is the sum of those of the values at which its bound is
// the highest: exact by definition.
type linUCB struct {
	*linear
	alpha, floor float64
	levels       []level
}

// level is one value of α and its probability.
type level struct{ alpha, probability float64 }

func newLinUCB(s Spec, p *posterior) (Policy, error) {
	return linUCB{newLinear(s, p), s.param("alpha"), s.param("floor"), levels(s.param("alpha"), int(s.param("levels")))}, nil
}

// levels cuts [0, 3α] into m equal parts: their centres z with probabilities in
// proportion to exp(−z²/2α²), a half-normal distribution.
func levels(alpha float64, m int) []level {
	all := make([]level, m)
	var sum float64
	for i := range all {
		z := 3 * (float64(i) + 0.5) / float64(m)
		all[i] = level{float64(alpha * z), math.Exp(-float64(z*z) / 2)}
		sum += all[i].probability
	}
	for i := range all {
		all[i].probability /= sum
	}
	return all
}

func (u linUCB) over(l *linear) Policy {
	u.linear = l
	return u
}

func (u linUCB) Floor(k int) float64 { return u.floor / float64(k) }

func (u linUCB) Distribution(p, scores []float64, r *Request) error {
	r.check(p, scores)
	w := u.workspace()
	defer u.pool.Put(w)
	if err := u.score(w, r, true); err != nil {
		return err
	}
	if len(u.levels) == 0 {
		if err := w.bounds(scores, u.alpha); err != nil {
			return err
		}
		greedy(p, scores)
	} else if err := u.randomised(p, scores, w); err != nil {
		return err
	}
	explore(p, u.floor)
	return nil
}

// randomised sums over the levels. The scores are the bounds at α.
func (u linUCB) randomised(p, scores []float64, w *workspace) error {
	w.drawn = sized(w.drawn, len(p))
	sum := w.drawn
	clear(sum)
	for _, l := range u.levels {
		if err := w.bounds(scores, l.alpha); err != nil {
			return err
		}
		greedy(p, scores)
		for i, v := range p {
			sum[i] += float64(l.probability * v)
		}
	}
	copy(p, sum)
	return w.bounds(scores, u.alpha)
}

// bounds sets scores to mean + alpha × standard deviation.
func (w *workspace) bounds(scores []float64, alpha float64) error {
	for i, m := range w.mean {
		scores[i] = m + float64(alpha*w.sd[i])
		if scores[i]-scores[i] != 0 {
			return overflows("linucb", i)
		}
	}
	return nil
}
