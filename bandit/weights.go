package bandit

import (
	"math"

	"nextbest"
)

// ActionWeights are one action's learned weights.
type ActionWeights struct {
	Action  string   `json:"action"`
	Rows    float64  `json:"rows"`
	Weights []Weight `json:"weights"` // in the order of the schema's names
	// Value is, for hurdle_thompson, the mean reward given that it is not 0, by
	// which the weights are to be multiplied.
	Value *ActionValue `json:"value,omitempty"`
}

// ActionValue is a number with its standard error.
type ActionValue struct {
	Mean          float64 `json:"mean"`
	StandardError float64 `json:"standard_error"`
}

// Weight is one feature's weight θ_j = (A⁻¹b)_j with its standard error
// σ √(A⁻¹)_jj, the posterior standard deviation.
type Weight struct {
	Feature       string  `json:"feature"`
	Weight        float64 `json:"weight"`
	StandardError float64 `json:"standard_error"`
}

// Weights returns every action's weights by the names of a schema, which must be
// the one that the model was learned with. They are those that a policy of the
// specification decides by: of actions that share weights, what the shared ones
// make of the action, and also of actions that have features and no rows.
func (m *Model) Weights(spec Spec, s *Schema) ([]ActionWeights, error) {
	if s.Width() != m.width {
		return nil, nextbest.Errorf(nextbest.Invalid, "the schema has %d columns and the model %d: it is not the schema the model was learned with", s.Width(), m.width)
	}
	spec, err := spec.complete()
	if err != nil {
		return nil, err
	}
	p, err := spec.posterior(m)
	if err != nil {
		return nil, err
	}
	all, sigma := make([]ActionWeights, len(p.beliefs)), p.noise
	for i, b := range p.beliefs {
		theta, diagonal := b.factor.theta, b.factor.inverseDiagonal(m.width)
		w := ActionWeights{Action: b.action, Rows: b.rows, Weights: make([]Weight, m.width)}
		for j, name := range s.names {
			w.Weights[j] = Weight{Feature: name, Weight: theta[j], StandardError: float64(sigma * math.Sqrt(diagonal[j]))}
		}
		if b.value != nil {
			w.Value = &ActionValue{b.value.mean, b.value.deviation}
		}
		all[i] = w
	}
	return all, nil
}
