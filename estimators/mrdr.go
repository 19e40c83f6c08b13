package estimators

import (
	"errors"

	"gonum.org/v1/gonum/mat"
)

// MRDRWeights returns π(1 − μ)/μ² of each row's logged action: the row weights
// with which any learner fits the reward model of a more robust DR, one whose
// variance it minimises rather than its own error (Farajtabar, Chow and
// Ghavamzadeh 2018, arXiv 1802.03493, eq. 14, for a deterministic candidate).
func MRDRWeights(probability, propensity []float64) ([]float64, error) {
	w, err := Weights(probability, propensity)
	for i := range w {
		w[i] *= (1 - propensity[i]) / propensity[i]
	}
	return w, err
}

// MRDRFit fits a linear reward model q(x, a) = θᵀφ(x, a) that minimises the
// variance of DR for any candidate (Farajtabar et al. 2018, eq. 13). DR is then
// linear in θ, Σ_i wr − θᵀ(wφ − φ_π), so the minimum is a least-squares fit of a
// customer's Σwr by its Σ(wφ − φ_π), which has mean 0, and its rows.
type MRDRFit struct {
	p int
	a *mat.SymDense // of (rows, Σ(wφ − φ_π))
	b *mat.VecDense
	n int
}

// NewMRDRFit returns an empty fit of p features.
func NewMRDRFit(p int) *MRDRFit {
	return &MRDRFit{p: p, a: mat.NewSymDense(p+1, nil), b: mat.NewVecDense(p+1, nil)}
}

// Add adds one customer: the rows' weights and rewards, φ(x, a) of the logged
// actions and φ_π(x) = Σ_a π(a|x)φ(x, a).
func (f *MRDRFit) Add(weight, reward []float64, φ, φPolicy [][]float64) {
	sameLength(len(weight), len(reward), len(φ), len(φPolicy))
	z, y := mat.NewVecDense(f.p+1, nil), 0.0
	for i, w := range weight {
		sameLength(f.p, len(φ[i]), len(φPolicy[i]))
		y += w * reward[i]
		z.SetVec(0, z.AtVec(0)+1)
		for k := range f.p {
			z.SetVec(k+1, z.AtVec(k+1)+w*φ[i][k]-φPolicy[i][k])
		}
	}
	f.a.SymRankOne(f.a, 1, z)
	f.b.AddScaledVec(f.b, y, z)
	f.n++
}

// Merge adds o's customers.
func (f *MRDRFit) Merge(o *MRDRFit) {
	f.a.AddSym(f.a, o.a)
	f.b.AddVec(f.b, o.b)
	f.n += o.n
}

// ErrSingular is returned where a reward model has no unique fit.
var ErrSingular = errors.New("the reward model has no unique fit: fewer features, more customers or a larger ridge")

// Coefficients returns θ. ridge is relative to the mean squared length of the
// features; it keeps collinear ones solvable.
func (f *MRDRFit) Coefficients(ridge float64) ([]float64, error) {
	if f.n == 0 {
		return nil, ErrEmpty
	}
	a := mat.NewSymDense(f.p+1, nil)
	a.CopySym(f.a)
	trace := 0.0
	for k := 1; k <= f.p; k++ {
		trace += a.At(k, k)
	}
	for k := 1; k <= f.p; k++ {
		a.SetSym(k, k, a.At(k, k)+ridge*trace/float64(f.p))
	}
	var c mat.Cholesky
	if !c.Factorize(a) {
		return nil, ErrSingular
	}
	var θ mat.VecDense
	if err := c.SolveVecTo(&θ, f.b); err != nil {
		return nil, ErrSingular
	}
	return θ.RawVector().Data[1:], nil
}

// MRDR is DR whose linear reward model minimises its variance, cross-fitted: a
// customer's rows are predicted by the fit to the other folds' customers.
// Customer c is in fold c mod folds, folds ≥ 2.
func MRDR(by Customers, weight, reward []float64, φ, φPolicy [][]float64, folds int, ridge float64) (Estimate, error) {
	sameLength(len(weight), len(reward), len(φ), len(φPolicy))
	if len(weight) == 0 {
		return Estimate{}, ErrEmpty
	}
	if err := checkWeights(weight); err != nil {
		return Estimate{}, err
	}
	if err := checkFinite("reward", reward); err != nil {
		return Estimate{}, err
	}
	for i := range φ {
		for _, v := range [2][]float64{φ[i], φPolicy[i]} {
			if err := checkFinite("feature", v); err != nil {
				return Estimate{}, rowErrorf(i, "features %v: they must be finite numbers", v)
			}
		}
	}
	p := len(φ[0])
	parts := make([]*MRDRFit, folds)
	for k := range parts {
		parts[k] = NewMRDRFit(p)
	}
	c := 0
	by.each(len(weight), func(lo, hi int) {
		parts[c%folds].Add(weight[lo:hi], reward[lo:hi], φ[lo:hi], φPolicy[lo:hi])
		c++
	})
	θ := make([][]float64, folds)
	for k := range θ {
		others := NewMRDRFit(p)
		for j, part := range parts {
			if j != k {
				others.Merge(part)
			}
		}
		var err error
		if θ[k], err = others.Coefficients(ridge); err != nil {
			return Estimate{}, err
		}
	}
	q, qPolicy := make([]float64, len(weight)), make([]float64, len(weight))
	c = 0
	by.each(len(weight), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			for j, t := range θ[c%folds] {
				q[i] += t * φ[i][j]
				qPolicy[i] += t * φPolicy[i][j]
			}
		}
		c++
	})
	return DR(by, weight, reward, q, qPolicy)
}
