package bandit

import "math"

// ucb1 takes the action with the highest
//
//	r̄_a + c √(2 ln n / n_a)
//
// (Auer, Cesa-Bianchi and Fischer 2002, "Finite-time analysis of the multiarmed
// bandit problem", figure 1), r̄_a being the mean of its n_a rewards and n the
// number of all. It sees no context. c counts the range of the rewards: 1 is
// theirs, for rewards within [0, 1]. Arbitration multiplies both terms. Actions
// that were never tried, and are worth anything, come first: their score is the
// largest float64. Ties are split and the floor is mixed in.
type ucb1 struct {
	*counts
	c, floor float64
}

func newUCB1(s Spec, p *posterior) (Policy, error) {
	return ucb1{newCounts(p), s.param("c"), s.param("floor")}, nil
}

func (u ucb1) Floor(k int) float64 { return u.floor / float64(k) }

func (u ucb1) Distribution(p, scores []float64, r *Request) error {
	r.check(p, scores)
	logarithm := math.Log(math.Max(u.total, 1))
	for i, a := range r.Arms {
		scale, offset := r.worth(i)
		switch {
		case a >= 0:
			width := float64(u.c * math.Sqrt(2*logarithm/u.n[a]))
			scores[i] = float64(scale*(u.sum[a]/u.n[a])) + float64(math.Abs(scale)*width) + offset
		case scale != 0 && scale-scale == 0 && offset-offset == 0:
			scores[i] = math.MaxFloat64
		default:
			scores[i] = float64(0*scale) + offset
		}
		if scores[i]-scores[i] != 0 {
			return overflows("ucb1", i)
		}
	}
	greedy(p, scores)
	explore(p, u.floor)
	return nil
}
