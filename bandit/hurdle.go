package bandit

import "math"

// Hurdle Thompson sampling for revenue: most rewards are 0, and how much follows
// where one is not says little about whether it follows. The score of an action
// is value_a · θ_aᵀx: θ_a is the ridge regression on whether the reward is 0, and
// value_a the mean of the rewards that are not, which is fixed within a model: a
// product of two uncertain numbers is not Gaussian, and taken for one it is
// biased (.519 for .500). So an action's score is Gaussian and its probability
// exact, as linear_thompson's.

// hurdlePosterior is one ridge regression per action, with values.
func hurdlePosterior(_ Spec, m *Model) (*posterior, error) {
	p := disjointPosterior(m)
	v := newValues(m)
	for i, a := range m.arms {
		p.beliefs[i].value = v.of(a)
	}
	p.otherValue = v.of(&armModel{})
	return p, nil
}

// value is an action's mean reward given that it is not 0, and its standard
// error.
type value struct{ mean, deviation float64 }

// values shrinks the actions' mean amounts towards their common mean by
// credibility (Bühlmann and Straub 1970): with c rewards of action a,
//
//	value_a = Z r̄_a + (1 − Z) mean,  Z = c/(c + within/between),
//
// the variances within and between actions being estimated from all of them.
type values struct {
	mean            float64
	variance        float64 // of mean
	within, between float64
}

func newValues(m *Model) (v values) {
	var rewards, squaredCounts, total, rest, actions float64
	for _, a := range m.arms {
		if c := a.squares; c > 0 {
			actions++
			rewards += c
			squaredCounts += float64(c * c)
			total += a.amounts
			rest += math.Max(a.amountSquares-float64(a.amounts*a.amounts)/c, 0)
		}
	}
	if rewards == 0 {
		return v
	}
	v.mean = total / rewards
	if rewards <= actions { // nothing tells within from between
		return v
	}
	v.within = rest / (rewards - actions)
	v.variance = v.within / rewards
	between := -float64((actions - 1) * v.within)
	for _, a := range m.arms {
		if c := a.squares; c > 0 {
			d := a.amounts/c - v.mean
			between += float64(c * float64(d*d))
		}
	}
	if spread := rewards - squaredCounts/rewards; between > 0 && spread > 0 {
		v.between = between / spread
	}
	if v.between == 0 {
		return v
	}
	// The mean over actions, each weighted by its credibility.
	var sum, credibilities float64
	for _, a := range m.arms {
		if c := a.squares; c > 0 {
			z := v.credibility(c)
			sum += float64(z * a.amounts / c)
			credibilities += z
		}
	}
	v.mean, v.variance = sum/credibilities, v.between/credibilities
	return v
}

// credibility returns Z of c rewards.
func (v values) credibility(c float64) float64 {
	if v.between == 0 || c <= 0 {
		return 0
	}
	return float64(c*v.between) / (float64(c*v.between) + v.within)
}

// of returns an action's value.
func (v values) of(a *armModel) *value {
	z := v.credibility(a.squares)
	w := value{float64((1 - z) * v.mean), math.Sqrt(float64((1-z)*v.between) + float64((1-z)*(1-z)*v.variance))}
	if z > 0 {
		w.mean += float64(z * a.amounts / a.squares)
	}
	return &w
}
