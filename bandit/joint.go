package bandit

import (
	"math"
	"slices"
)

// joint is a ridge regression of weights B (one column of d weights for each
// feature of an action) that all actions share. It is derived from the sums
// per action: with z(x, a) = f_a ⊗ x and f_a constant for an action,
//
//	Σ z zᵀ = Σ_a f_a f_aᵀ ⊗ Σ x xᵀ,  Σ r z = Σ_a f_a ⊗ Σ r x,
//
// so that it learns, merges and unlearns as they do.
type joint struct {
	d, k       int       // features of the context and of an action
	gram       []float64 // packed lower triangle of d·k
	b          []float64
	lengths    float64 // Σ ‖z‖² over rows
	rows       float64
	factor     factor
	covariance dense // (gram + λI)⁻¹
}

func newJoint(s Spec, d int) *joint {
	k := s.actionWidth()
	return &joint{d: d, k: k, gram: make([]float64, triangle(d*k)), b: make([]float64, d*k)}
}

// add adds f fᵀ ⊗ g and f ⊗ b. g returns the entry i ≥ j of a symmetric matrix.
func (t *joint) add(f []float64, g func(i, j int) float64, b []float64) {
	for p, fp := range f {
		if fp == 0 {
			continue
		}
		for i := range t.d {
			row := t.gram[triangle(p*t.d+i):]
			t.b[p*t.d+i] += float64(fp * b[i])
			for q, fq := range f[:p+1] {
				w := float64(fp * fq)
				last := t.d - 1
				if q == p {
					last = i
				}
				for j := 0; j <= last; j++ {
					row[q*t.d+j] += float64(w * g(max(i, j), min(i, j)))
				}
			}
		}
	}
}

// count adds an action's rows to those that set the prior precision.
func (t *joint) count(f []float64, a *armModel) {
	t.lengths += float64(dot(f, f) * squaredLengths(a.gram, t.d))
	t.rows += a.n
}

// solve computes B and its covariance with the prior precision ridge, in units
// of the mean ‖z‖².
func (t *joint) solve(ridge float64) bool {
	var ok bool
	if t.factor, ok = factorise(t.gram, t.b, precision(ridge, t.lengths, t.rows)); ok {
		t.covariance = t.factor.inverse(t.d * t.k).gram()
	}
	return ok
}

// weights returns B f and its covariance (fᵀ ⊗ I) A⁻¹ (f ⊗ I).
func (t *joint) weights(f []float64) ([]float64, dense) {
	mean, spread := make([]float64, t.d), newDense(t.d)
	for p, fp := range f {
		for i := range t.d {
			mean[i] += float64(fp * t.factor.theta[p*t.d+i])
			row := t.covariance.row(p*t.d + i)
			for q, fq := range f {
				w := float64(fp * fq)
				for j, v := range row[q*t.d : (q+1)*t.d] {
					spread.v[i*t.d+j] += float64(w * v)
				}
			}
		}
	}
	return mean, spread
}

// sharedPosterior has no weights but the shared ones: an action's are B f_a
// (Agrawal and Goyal 2013, arXiv 1209.3352, with contexts z(x, a)).
func sharedPosterior(s Spec, m *Model) (*posterior, error) {
	t := newJoint(s, m.width)
	var squares float64
	for _, a := range m.arms {
		f := s.featuresOf(a.action)
		t.count(f, a)
		t.add(f, func(i, j int) float64 { return a.gram[triangle(i)+j] }, a.b)
		squares += a.squares
	}
	if !t.solve(s.param("ridge")) {
		return nil, indefinite("of the shared weights")
	}
	p := &posterior{width: m.width, noise: rootMean(squares-t.factor.explained(), t.rows)}
	unit := newFactor(padded(t.d), 1)
	err := p.believe(s, m, func(_ *armModel, f []float64) (factor, bool) {
		theta, spread := t.weights(f)
		return widened(&unit, spread, theta)
	})
	p.draws = newDraws(s, m, t, p.noise)
	for _, b := range p.beliefs {
		p.draws.features = append(p.draws.features, s.featuresOf(b.action)...)
	}
	p.draws.features = append(p.draws.features, s.featuresOf("")...)
	return p, err
}

// hybridPosterior has shared weights B and weights of each action's own, θ_a ~
// N(B f_a, σ²/λ): the hybrid models of Li et al. 2010 (arXiv 1003.0146,
// algorithm 2). Their A₀ is that of a regression of the actions' own estimates
// θ̂_a = A_a⁻¹b_a,
//
//	A₀ = λ₀I + Σ_a f_a f_aᵀ ⊗ λ(I − λA_a⁻¹),  b₀ = Σ_a f_a ⊗ λθ̂_a,
//
// for Σ x xᵀ − Σ x xᵀ A_a⁻¹ Σ x xᵀ = λ(I − λA_a⁻¹) where A_a = Σ x xᵀ + λI. An
// action's weights then have mean θ̂_a + λA_a⁻¹B f_a and covariance, in units of
// σ², A_a⁻¹ + λ²A_a⁻¹ (f_aᵀ ⊗ I) A₀⁻¹ (f_a ⊗ I) A_a⁻¹, which gives their s_{t,a}.
func hybridPosterior(s Spec, m *Model) (*posterior, error) {
	h, ok := newHybrid(s, m, m.precision, s.param("shared_ridge"))
	if !ok {
		return nil, indefinite("of the shared weights")
	}
	return h.posterior(s, m)
}

// hybrid is a model with shared weights and weights of each action's own.
type hybrid struct {
	*joint
	precision float64 // λ of each action's own weights about B f_a
	own       map[*armModel]factor
	inverses  map[*armModel]dense // L⁻¹ of own
	residual  float64             // Σr² less what is explained
}

// newHybrid solves for the shared weights.
func newHybrid(s Spec, m *Model, lambda, sharedRidge float64) (*hybrid, bool) {
	d := m.width
	h := &hybrid{newJoint(s, d), lambda, map[*armModel]factor{}, map[*armModel]dense{}, 0}
	theta := make([]float64, d)
	for _, a := range m.arms {
		own, ok := a.factor, true
		if lambda != m.precision {
			own, ok = factorise(a.gram, a.b, lambda)
		}
		if !ok {
			return nil, false
		}
		inverse := own.inverse(d)
		covariance := inverse.gram()
		for i := range theta {
			theta[i] = float64(lambda * own.theta[i])
		}
		f := s.featuresOf(a.action)
		h.count(f, a)
		h.add(f, func(i, j int) float64 {
			v := -float64(lambda * float64(lambda*covariance.v[i*d+j]))
			if i == j {
				v += lambda
			}
			return v
		}, theta)
		h.own[a], h.inverses[a] = own, inverse
		h.residual += math.Max(a.squares-own.explained(), 0)
	}
	if !h.solve(sharedRidge) {
		return nil, false
	}
	h.residual -= h.factor.explained()
	return h, true
}

func (h *hybrid) posterior(s Spec, m *Model) (*posterior, error) {
	d, lambda := h.d, h.precision
	prior := newFactor(padded(d), lambda)
	prior.theta = make([]float64, padded(d))
	p := &posterior{width: d, noise: rootMean(h.residual, h.rows)}
	return p, p.believe(s, m, func(a *armModel, f []float64) (factor, bool) {
		mean, spread := h.weights(f)
		own, inverse := prior, prior.inverse(d)
		if a != nil {
			own, inverse = h.own[a], h.inverses[a]
		}
		// M = I + λ²L⁻¹ S L⁻ᵀ, and θ̂ + λA⁻¹B f.
		more := inverse.timesTransposed(spread).timesTransposed(inverse)
		for i, v := range more.v {
			more.v[i] = float64(lambda * float64(lambda*v))
		}
		for i := range d {
			more.v[i*d+i]++
		}
		shift, y := make([]float64, padded(d)), make([]float64, padded(d))
		copy(shift, mean)
		own.solve(y, shift)
		own.solveTransposed(y, d)
		for i := range mean {
			mean[i] = own.theta[i] + float64(lambda*y[i])
		}
		return widened(&own, more, mean)
	})
}

// believe fills p with the beliefs about the model's actions, about those that
// have features and no rows, and about all others.
func (p *posterior) believe(s Spec, m *Model, about func(a *armModel, f []float64) (factor, bool)) error {
	actions := m.Actions()
	for action := range s.ActionFeatures {
		if !slices.Contains(actions, action) {
			actions = append(actions, action)
		}
	}
	slices.Sort(actions)
	for _, action := range actions {
		b := belief{action: action}
		a := m.arm(action)
		if a != nil {
			b.rows = a.n
		}
		var ok bool
		if b.factor, ok = about(a, s.featuresOf(action)); !ok {
			return indefinite("of " + action)
		}
		p.beliefs = append(p.beliefs, b)
	}
	other, ok := about(nil, s.featuresOf(""))
	if !ok {
		return indefinite("of a new action")
	}
	p.other = &other
	return nil
}
