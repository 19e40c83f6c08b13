package bandit

import (
	"slices"

	"nextbest"
)

// rules takes the action of the first matching rule, or does nothing; with
// probability epsilon it chooses uniformly among the eligible actions. Whoever
// asks evaluates the conditions and says in Request.Preferred which action they
// named.
type rules struct{ epsilon float64 }

func newRules(s Spec, _ *posterior) (Policy, error) { return rules{s.param("epsilon")}, nil }

// Arm knows do-nothing alone: the other actions come by Request.Preferred.
func (rules) Arm(action string) int32 {
	if action == nextbest.DoNothing {
		return 0
	}
	return -1
}

func (ru rules) Floor(k int) float64 { return ru.epsilon / float64(k) }

func (ru rules) Distribution(p, scores []float64, r *Request) error {
	r.check(p, scores)
	clear(scores)
	clear(p)
	i := r.Preferred
	if i < 0 {
		if i = slices.Index(r.Arms, 0); i < 0 {
			return nextbest.Errorf(nextbest.Invalid, "rules: no rule matched and %s is not eligible; end the rules with one that always holds", nextbest.DoNothing)
		}
	}
	p[i] = 1
	explore(p, ru.epsilon)
	return nil
}
