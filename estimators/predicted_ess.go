package estimators

// Exploration is how a logger explores that prefers one action: it gives every
// eligible action at least the floor and the rest to those that tie for its
// preference.
type Exploration struct {
	Eligible float64 // K, mean number of eligible actions, ≥ 1
	Epsilon  float64 // ε in μ = (1−ε)p + ε/K, in [0, 1]
	Ties     float64 // actions that share the preference, 1 ≤ Ties ≤ K; 0 stands for 1
}

// propensities returns p*, that of an action the logger prefers, and ε/K, that
// of any other.
func (e Exploration) propensities() (preferred, other float64) {
	if !(e.Eligible >= 1) || !(e.Epsilon >= 0 && e.Epsilon <= 1) || e.Ties < 0 || e.Ties > e.Eligible {
		panic("estimators: exploration needs K ≥ 1, 0 ≤ ε ≤ 1 and at most K ties")
	}
	other = e.Epsilon / e.Eligible
	return (1-e.Epsilon)/max(e.Ties, 1) + other, other
}

// SquaredWeight returns E[w²] ≈ (1−δ)/p* + δK/ε of a deterministic candidate that
// takes none of the preferred actions on a share δ of the decisions. It is +Inf
// without a floor and with disagreement. A logger that gives more than the floor,
// as Thompson sampling does, has less: the prediction is for the worst case.
func (e Exploration) SquaredWeight(disagreement float64) float64 {
	preferred, other := e.propensities()
	squares := 0.0
	if disagreement < 1 {
		squares += (1 - disagreement) / preferred
	}
	if disagreement > 0 {
		squares += disagreement / other
	}
	return squares
}

// PredictedESS returns the effective sample size (Σw)²/Σw² of that candidate, per
// decision: 1/E[w²], because E[w] = 1. It is 0 where a choice of the candidate is
// never logged.
func (e Exploration) PredictedESS(disagreement float64) float64 {
	return 1 / e.SquaredWeight(disagreement)
}

// Matched returns the share of decisions whose logged action is the candidate's.
func (e Exploration) Matched(disagreement float64) float64 {
	preferred, other := e.propensities()
	return (1-disagreement)*preferred + disagreement*other
}

// DecisionsNeeded returns how many decisions the candidate needs to be judged
// within the limits on effective sample size and matched conversions, the latter
// where the conversion rate per decision is known (> 0). It is +Inf where no
// number is enough.
func (e Exploration) DecisionsNeeded(disagreement, conversion float64, l Limits) float64 {
	need := 0.0
	if l.ESS > 0 { // else 0·∞ where there is no floor
		need = l.ESS * e.SquaredWeight(disagreement)
	}
	if conversion > 0 {
		need = max(need, l.Conversions/(conversion*e.Matched(disagreement)))
	}
	return need
}
