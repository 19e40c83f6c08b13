package bandit

import (
	"math"

	"nextbest"
)

// posterior is what a model believes of every action's weights under a policy's
// specification: Gaussians with mean factor.theta and covariance σ²(L Lᵀ)⁻¹.
type posterior struct {
	width int
	noise float64 // σ
	// precision is λ of the prior of an action without a belief, whose mean is 0.
	precision float64
	beliefs   []belief
	// other is the belief about every action that has none of its own; nil: the
	// prior.
	other      *factor
	otherValue *value  // nil: 1
	draws      *draws  // of shared_thompson
	counts     *counts // of policies that see no context
}

// belief is about one action.
type belief struct {
	action string
	rows   float64
	factor factor
	value  *value // which the score is multiplied by; nil: 1
}

// posterior derives what decisions use from a model's sums.
func (s Spec) posterior(m *Model) (*posterior, error) {
	if err := s.checkWidth(m.width); err != nil {
		return nil, err
	}
	if derive := s.derivation(); derive != nil && len(m.arms) > 0 {
		return derive(s, m)
	}
	return disjointPosterior(m), nil
}

// derivation returns how beliefs are derived from sums, nil for one ridge
// regression per action.
func (s Spec) derivation() func(Spec, *Model) (*posterior, error) {
	if v, ok := s.Params[siblings.name]; ok && v == 0 {
		return nil
	}
	return algorithms[s.Algorithm].derive
}

// disjointPosterior is one ridge regression per action.
func disjointPosterior(m *Model) *posterior {
	p := &posterior{width: m.width, noise: m.Noise(), precision: m.precision}
	for _, a := range m.arms {
		p.beliefs = append(p.beliefs, belief{action: a.action, rows: a.n, factor: a.factor})
	}
	return p
}

// widened returns the factor of a Gaussian whose covariance is that of f with
// more added to it: L⁻ᵀ M L⁻¹ with M = U Uᵀ, so that its precision is
// (L U⁻ᵀ)(L U⁻ᵀ)ᵀ, both triangles lower. Its mean is theta.
func widened(f *factor, spread dense, theta []float64) (factor, bool) {
	u, ok := spread.upperFactor()
	if !ok {
		return factor{}, false
	}
	d := spread.d
	l := make([]float64, triangle(d))
	for i := range d {
		row := l[triangle(i):triangle(i+1)]
		f.row(row, i)
		for j := i; j >= 0; j-- { // row·Uᵀ = L's row, from the last entry
			row[j] = (row[j] - dot(row[j+1:], u.row(j)[j+1:i+1])) / u.v[j*d+j]
		}
	}
	w := packFactor(l, d)
	w.theta = make([]float64, padded(d))
	copy(w.theta, theta)
	for i := range d { // c = Lᵀθ, so that cᵀy is the prediction
		for j, v := range l[triangle(i):triangle(i+1)] {
			w.c[j] += float64(v * theta[i])
		}
	}
	for i, v := range w.c {
		if v-v != 0 || w.theta[i]-w.theta[i] != 0 {
			return factor{}, false
		}
	}
	return w, true
}

// rootMean returns σ = √(residual / rows).
func rootMean(residual, rows float64) float64 { return math.Sqrt(math.Max(residual, 0) / rows) }

func indefinite(what string) error {
	return nextbest.Errorf(nextbest.Invalid, "the model's sums and the features of the actions make a matrix (%s) that is not positive definite in floating point: scale the features to about 1", what)
}
