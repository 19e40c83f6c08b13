package bandit

// epsilonGreedy takes the action with the highest predicted score (ridge
// regression per action; ties are split) and, with probability epsilon, any
// eligible one.
type epsilonGreedy struct {
	*linear
	epsilon float64
}

func newEpsilonGreedy(s Spec, beliefs *posterior) (Policy, error) {
	return epsilonGreedy{newLinear(s, beliefs), s.param("epsilon")}, nil
}

func (e epsilonGreedy) over(l *linear) Policy {
	e.linear = l
	return e
}

func (e epsilonGreedy) Floor(k int) float64 { return e.epsilon / float64(k) }

func (e epsilonGreedy) Distribution(p, scores []float64, r *Request) error {
	r.check(p, scores)
	w := e.workspace()
	defer e.pool.Put(w)
	if err := e.score(w, r, false); err != nil {
		return err
	}
	copy(scores, w.mean)
	greedy(p, scores)
	explore(p, e.epsilon)
	return nil
}
