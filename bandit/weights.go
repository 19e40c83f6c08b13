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
}

// Weight is one feature's weight θ_j = (A⁻¹b)_j with its standard error
// σ √(A⁻¹)_jj, the posterior standard deviation.
type Weight struct {
	Feature       string  `json:"feature"`
	Weight        float64 `json:"weight"`
	StandardError float64 `json:"standard_error"`
}

// Weights returns every action's weights by the names of a schema, which must be
// the one that the model was learned with.
func (m *Model) Weights(s *Schema) ([]ActionWeights, error) {
	if s.Width() != m.width {
		return nil, nextbest.Errorf(nextbest.Invalid, "the schema has %d columns and the model %d: it is not the schema the model was learned with", s.Width(), m.width)
	}
	all, sigma := make([]ActionWeights, len(m.arms)), m.Noise()
	for i, a := range m.arms {
		theta, diagonal := a.factor.theta, a.factor.inverseDiagonal(m.width)
		w := ActionWeights{Action: a.action, Rows: a.n, Weights: make([]Weight, m.width)}
		for j, name := range s.names {
			w.Weights[j] = Weight{Feature: name, Weight: theta[j], StandardError: float64(sigma * math.Sqrt(diagonal[j]))}
		}
		all[i] = w
	}
	return all, nil
}
