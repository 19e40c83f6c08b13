package bandit

import "nextbest"

// external decides by predicted responses that come with the request, of a model
// that lives elsewhere: with temperature 0 it takes the highest score, ties
// split, and any eligible action with probability epsilon; else an action's
// probability is in proportion to exp(score/temperature), epsilon mixed in.
type external struct{ epsilon, temperature float64 }

func newExternal(s Spec, _ *posterior) (Policy, error) {
	return external{s.param("epsilon"), s.param("temperature")}, nil
}

func (external) Arm(string) int32 { return -1 }

func (e external) Floor(k int) float64 { return e.epsilon / float64(k) }

func (e external) Distribution(p, scores []float64, r *Request) error {
	r.check(p, scores)
	if r.Scores == nil {
		return nextbest.FieldErrorf("scores", "is missing: the policy external decides by a score for each eligible action")
	}
	for i, given := range r.Scores {
		scale, offset := r.arbitration(i)
		scores[i] = float64(scale*given) + offset
		if scores[i]-scores[i] != 0 {
			return nextbest.Errorf(nextbest.Invalid, "the score of eligible action %d is not a finite number (%g given, times %g, plus %g): check the score and the action's value, lever and cost", i, given, scale, offset)
		}
	}
	boltzmann(p, scores, e.temperature)
	explore(p, e.epsilon)
	return nil
}
