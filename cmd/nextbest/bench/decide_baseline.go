package bench

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat/distuv"
)

// baseline returns the same decision made in a straightforward way with gonum:
// one matrix and one vector of weights for each action, and the formula.
func (s *decisionSite) baseline() (func() error, error) {
	k, d := len(s.ids), len(s.request.X)
	x := mat.NewVecDense(d, nil)
	for j, v := range s.request.X {
		x.SetVec(j, float64(v))
	}
	chols, thetas := make([]mat.Cholesky, k), make([]mat.VecDense, k)
	for a, id := range s.ids {
		stats, ok := s.model.Statistics(id)
		if !ok {
			return nil, fmt.Errorf("the model knows nothing of %s", id)
		}
		sym := mat.NewSymDense(d, nil)
		for i := range d {
			for j := range i + 1 {
				sym.SetSym(i, j, stats.A[i][j])
			}
		}
		if !chols[a].Factorize(sym) {
			return nil, fmt.Errorf("the matrix of %s is not positive definite", id)
		}
		if err := chols[a].SolveVecTo(&thetas[a], mat.NewVecDense(d, stats.B)); err != nil {
			return nil, err
		}
	}
	sigma := s.model.Noise()
	mean, sd, p := make([]float64, k), make([]float64, k), make([]float64, k)
	predict := func() {
		for a := range mean {
			mean[a] = mat.Dot(&thetas[a], x)
		}
	}
	uncertain := func() error {
		var z mat.VecDense
		for a := range sd {
			if err := chols[a].SolveVecTo(&z, x); err != nil {
				return err
			}
			sd[a] = sigma * math.Sqrt(mat.Dot(&z, x))
		}
		return nil
	}
	switch s.algorithm {
	case "epsilon_greedy":
		return func() error {
			predict()
			argmax(p, mean)
			return nil
		}, nil
	case "linucb":
		return func() error {
			predict()
			err := uncertain()
			for a := range mean {
				mean[a] += 0.75 * sd[a]
			}
			argmax(p, mean)
			return err
		}, nil
	case "linear_thompson":
		return func() error {
			predict()
			err := uncertain()
			dists := make([]distuv.Normal, k)
			lo, hi := math.Inf(-1), math.Inf(-1)
			for a := range dists {
				dists[a] = distuv.Normal{Mu: mean[a], Sigma: 0.5 * sd[a]}
				lo, hi = max(lo, mean[a]-3.25*sd[a]), max(hi, mean[a]+3.25*sd[a])
			}
			largest(p, dists, lo, hi)
			return err
		}, nil
	}
	return nil, fmt.Errorf("%s has no baseline", s.algorithm)
}

// argmax gives the highest score the probability 1.
func argmax(p, scores []float64) {
	best := 0
	for a, s := range scores {
		p[a] = 0
		if s > scores[best] {
			best = a
		}
	}
	p[best] = 1
}

// largest integrates P(a is the largest) over 216 equal nodes, the number that
// an untuned composite rule takes for 20 actions.
func largest[D interface {
	CDF(float64) float64
	Prob(float64) float64
}](p []float64, dists []D, lo, hi float64) {
	const nodes = 216
	h := (hi - lo) / nodes
	clear(p)
	cdf := make([]float64, len(dists))
	for n := range nodes {
		y := lo + (float64(n)+0.5)*h
		for a := range dists {
			cdf[a] = dists[a].CDF(y)
		}
		for a := range dists {
			f := h * dists[a].Prob(y)
			for b := range cdf {
				if b != a {
					f *= cdf[b]
				}
			}
			p[a] += f
		}
	}
}

// rankOne returns gonum's rank-one update of a Cholesky factor by x.
func rankOne(x []float32) func() error {
	d := len(x)
	v, eye := mat.NewVecDense(d, nil), mat.NewSymDense(d, nil)
	for i := range d {
		v.SetVec(i, float64(x[i]))
		eye.SetSym(i, i, 1)
	}
	var chol mat.Cholesky
	chol.Factorize(eye)
	return func() error {
		if !chol.SymRankOne(&chol, 1, v) {
			return fmt.Errorf("the updated matrix is not positive definite")
		}
		return nil
	}
}
