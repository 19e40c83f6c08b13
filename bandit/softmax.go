package bandit

import (
	"math"

	"nextbest"
)

// softmax chooses an action with a probability in proportion to exp(s/(τu)), s
// being its predicted score (Boltzmann exploration; Sutton and Barto 2018, 2.8).
// The temperature τ counts units u: those declared, or the residual noise of the
// scores (linear.unit), so that one default suits rewards of any scale. Without
// noise only the highest score is taken, ties split.
type softmax struct {
	*linear
	temperature, declared, floor float64
}

func newSoftmax(s Spec, p *posterior) (Policy, error) {
	return softmax{newLinear(s, p), s.param("temperature"), s.param("unit"), s.param("floor")}, nil
}

func (s softmax) over(l *linear) Policy {
	s.linear = l
	return s
}

func (s softmax) Floor(k int) float64 { return s.floor / float64(k) }

func (s softmax) Distribution(p, scores []float64, r *Request) error {
	r.check(p, scores)
	w := s.workspace()
	defer s.pool.Put(w)
	if err := s.score(w, r, false); err != nil {
		return err
	}
	copy(scores, w.mean)
	unit := s.declared
	if unit == 0 {
		var err error
		if unit, err = s.unit(r); err != nil {
			return err
		}
	}
	boltzmann(p, scores, float64(s.temperature*unit))
	explore(p, s.floor)
	return nil
}

// boltzmann sets p in proportion to exp(score/temperature).
func boltzmann(p, scores []float64, temperature float64) {
	if !(temperature > 0) {
		greedy(p, scores)
		return
	}
	best := math.Inf(-1)
	for _, v := range scores {
		best = max(best, v)
	}
	temperature = min(temperature, math.MaxFloat64)
	var sum float64
	for i, v := range scores {
		p[i] = math.Exp((v - best) / temperature) // of at most 0
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
}

// unit returns the residual noise of the scores: that of the model times the
// mean |scale| of the eligible actions.
func (l *linear) unit(r *Request) (float64, error) {
	if r.Scale == nil {
		return l.noise, nil
	}
	var sum float64
	for _, s := range r.Scale {
		sum += math.Abs(s) / float64(len(r.Scale))
	}
	if u := float64(l.noise * sum); u-u == 0 {
		return u, nil
	}
	return 0, nextbest.Errorf(nextbest.Invalid, "the eligible actions' values and levers are too large: their mean, %g, times the residual noise %g is not finite", sum, l.noise)
}
