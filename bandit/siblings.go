package bandit

import "math"

// spreads are the ratios of λ, the precision of an action's weights about the
// mean of all actions, to the precision of that mean, that siblingsPosterior
// chooses from.
var spreads = [...]float64{1. / 512, 1. / 64, 1. / 8, 1, 8, 64, 512}

// siblingsPosterior gives each action a prior that the others make: θ_a ~
// N(β, σ²/λ), β ~ N(0, σ²/λ₀), a hybrid model whose only shared feature is the
// leading 1. The spread 1/λ between actions is the one of a few under which the
// rewards are most likely (empirical Bayes: Efron and Morris 1973; the evidence of MacKay 1992,
// eq. 4.8, with σ² at its maximum),
//
//	−n/2 log residual − ½ log|A₀| − ½ Σ_a (log|A_a| − d log λ) + constant,
//
// so that actions that have nothing in common keep a wide one. An action without rows is
// believed to be one more of them: its mean is β's, and its variance that of β
// and of the spread.
func siblingsPosterior(s Spec, m *Model) (*posterior, error) {
	var best *hybrid
	most := math.Inf(-1)
	for _, ratio := range spreads {
		h, ok := newHybrid(s, m, ratio*m.precision, s.param("ridge"))
		if !ok {
			continue
		}
		evidence := -0.5 * h.factor.logDeterminant()
		for _, a := range m.arms {
			own := h.own[a]
			evidence -= 0.5 * (own.logDeterminant() - float64(float64(h.d)*math.Log(h.precision)))
		}
		if h.residual > 0 {
			evidence -= 0.5 * float64(h.rows*math.Log(h.residual))
		}
		if best == nil || evidence > most {
			best, most = h, evidence
		}
	}
	if best == nil {
		return nil, indefinite("of what actions have in common")
	}
	return best.posterior(s, m)
}

// logDeterminant returns log|A| = 2 Σ log Lᵢᵢ less that of the padding, which is
// the identity.
func (f *factor) logDeterminant() float64 {
	var sum float64
	for i := range f.c {
		sum += math.Log(f.l[block(i&^3)+4*i+i&3])
	}
	return 2 * sum
}
