package bench

import (
	"fmt"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat/distuv"
)

// baseline returns the same decision made in a straightforward way with gonum:
// one matrix and one vector of weights for each action, and the formula.
func (s *decisionSite) baseline() (func() error, error) {
	k, d := len(s.ids), len(s.request.X)
	if s.spec.Algorithm == "shared_thompson" {
		return s.ensemble()
	}
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
	switch s.spec.Algorithm {
	case "epsilon_greedy":
		return func() error {
			predict()
			argmax(p, mean)
			return nil
		}, nil
	case "squarecb":
		gamma := 30 * math.Sqrt(s.model.Rows()/float64(d)) / sigma
		return func() error {
			predict()
			best, rest := floats.MaxIdx(mean), 1.0
			for a := range p {
				p[a] = 1 / (float64(k) + gamma*(mean[best]-mean[a]))
				if a != best {
					rest -= p[a]
				}
			}
			p[best] = rest
			return nil
		}, nil
	case "softmax":
		return func() error {
			predict()
			for a := range p {
				p[a] = mean[a] / (0.1 * sigma)
			}
			total := floats.LogSumExp(p)
			for a := range p {
				p[a] = math.Exp(p[a] - total)
			}
			return nil
		}, nil
	case "ucb1":
		n, sums := make([]float64, k), make([]float64, k)
		for a, id := range s.ids {
			stats, _ := s.model.Statistics(id) // which the model has, see above
			n[a], sums[a] = stats.N, stats.B[0]
		}
		return func() error {
			total := floats.Sum(n)
			for a := range mean {
				mean[a] = sums[a]/n[a] + math.Sqrt(2*math.Log(total)/n[a])
			}
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
	return nil, fmt.Errorf("%s has no baseline", s.spec.Algorithm)
}

// ensemble counts winners over 256 draws of the shared weights, one matrix
// each.
func (s *decisionSite) ensemble() (func() error, error) {
	const draws = 256
	d := len(s.request.X)
	rng := rand.New(rand.NewPCG(5, 5))
	x := mat.NewVecDense(d, nil)
	for j, v := range s.request.X {
		x.SetVec(j, float64(v))
	}
	features := make([]*mat.VecDense, len(s.ids))
	for a, id := range s.ids {
		features[a] = mat.NewVecDense(len(s.spec.ActionFeatures[id])+1, append([]float64{1}, s.spec.ActionFeatures[id]...))
	}
	shared := make([]*mat.Dense, draws)
	for j := range shared {
		values := make([]float64, features[0].Len()*d)
		for i := range values {
			values[i] = rng.NormFloat64()
		}
		shared[j] = mat.NewDense(features[0].Len(), d, values)
	}
	p, score := make([]float64, len(s.ids)), make([]float64, len(s.ids))
	return func() error {
		clear(p)
		var z mat.VecDense
		for _, b := range shared {
			z.MulVec(b, x)
			for a, f := range features {
				score[a] = mat.Dot(&z, f)
			}
			p[floats.MaxIdx(score)] += 1.0 / draws
		}
		return nil
	}, nil
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
