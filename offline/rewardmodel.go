package offline

import (
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// moments are the sufficient statistics of a linear reward model of one action
// in one fold: the lower triangle of Σ z zᵀ with z = (1, x, r), row after row.
// Memory is flat and any two may be added.
type moments []float64

func triangle(i, j int) int { return i*(i+1)/2 + j } // j ≤ i

// add adds one row; z is (1, x, r).
func (m moments) add(z []float64) {
	at := 0
	for i, zi := range z {
		floats.AddScaled(m[at:at+i+1], zi, z[:i+1])
		at += i + 1
	}
}

func (m moments) merge(o moments) {
	for i, v := range o {
		m[i] += v
	}
}

// modelStatistics are the moments of every fold and action.
type modelStatistics struct {
	width   int         // features
	folds   [][]moments // [fold][action]; nil where an action has no row
	forward bool        // a fold's model knows only the folds before it
}

// leaves reports whether the model of fold f may not know fold g.
func leaves(forward bool, f, g int) bool { return g == f || forward && g > f }

func newModelStatistics(folds, width int) *modelStatistics {
	return &modelStatistics{width: width, folds: make([][]moments, folds)}
}

func (s *modelStatistics) at(fold int, action int32) moments {
	for int(action) >= len(s.folds[fold]) {
		s.folds[fold] = append(s.folds[fold], nil)
	}
	m := s.folds[fold][action]
	if m == nil {
		k := s.width + 2
		m = make(moments, k*(k+1)/2)
		s.folds[fold][action] = m
	}
	return m
}

// widen makes room for features where there were none: what was added so far
// counts with zeros.
func (s *modelStatistics) widen(width int) {
	for _, actions := range s.folds {
		for a, old := range actions {
			if old == nil {
				continue
			}
			k := width + 2
			m := make(moments, k*(k+1)/2)
			m[0], m[triangle(k-1, 0)], m[triangle(k-1, k-1)] = old[0], old[triangle(1, 0)], old[triangle(1, 1)]
			actions[a] = m
		}
	}
	s.width = width
}

func (s *modelStatistics) merge(o *modelStatistics) {
	for f, actions := range o.folds {
		for a, m := range actions {
			if m != nil {
				s.at(f, int32(a)).merge(m)
			}
		}
	}
}

// rewardModel predicts q(x, a) for customers of a fold from the other folds'
// customers, or for a block of time from the blocks before it: a ridge regression for each action, its mean where there are no
// features, everybody's mean where it was never taken.
type rewardModel struct {
	width    int
	actions  int
	weights  []float64 // [fold][action][1+width], intercept first
	logistic bool      // weights are log-odds
	min, max float64   // predictions are held to the range of rewards
}

func (s *modelStatistics) fit(actions int, ridge, lowest, highest float64) *rewardModel {
	w := s.width
	m := &rewardModel{width: w, actions: actions, min: lowest, max: highest,
		weights: make([]float64, len(s.folds)*actions*(w+1))}
	k := w + 2
	total := make(moments, k*(k+1)/2)
	for f := range s.folds {
		var n, sum float64 // over all actions
		for g, others := range s.folds {
			if leaves(s.forward, f, g) {
				continue
			}
			for _, o := range others {
				if o != nil {
					n += o[0]
					sum += o[triangle(w+1, 0)]
				}
			}
		}
		overall := 0.0
		if n > 0 {
			overall = sum / n
		}
		for a := range actions {
			clear(total)
			for g, others := range s.folds {
				if !leaves(s.forward, f, g) && a < len(others) && others[a] != nil {
					total.merge(others[a])
				}
			}
			total.solve(m.of(f, int32(a)), ridge, overall)
		}
	}
	return m
}

// solve fills coefficients (intercept first) by centred ridge regression. The
// intercept is drawn to prior with the weight of ridge rows.
func (m moments) solve(coef []float64, ridge, prior float64) {
	w := len(coef) - 1
	n := m[0]
	r := m[triangle(w+1, 0)]
	clear(coef)
	mean := (r + ridge*prior) / (n + ridge)
	coef[0] = mean
	if n < 2 || w == 0 {
		return
	}
	s := mat.NewSymDense(w, nil)
	c := mat.NewVecDense(w, nil)
	for i := range w {
		xi := m[triangle(i+1, 0)]
		for j := range i + 1 {
			v := m[triangle(i+1, j+1)] - xi*m[triangle(j+1, 0)]/n
			if i == j {
				v = max(v, 0) + ridge
			}
			s.SetSym(i, j, v)
		}
		c.SetVec(i, m[triangle(w+1, i+1)]-xi*r/n)
	}
	var chol mat.Cholesky
	if !chol.Factorize(s) {
		return // the mean is all that can be said
	}
	var β mat.VecDense
	if err := chol.SolveVecTo(&β, c); err != nil {
		return
	}
	for i := range w {
		coef[1+i] = β.AtVec(i)
		coef[0] -= β.AtVec(i) * m[triangle(i+1, 0)] / n
	}
}

func (m *rewardModel) of(fold int, action int32) []float64 {
	at := (fold*m.actions + int(action)) * (m.width + 1)
	return m.weights[at : at+m.width+1]
}

// predict fills q with q(x, a) of the actions.
// A sum is one chain of additions for the even features and one for the odd; two
// actions at once give the processor four.
func (m *rewardModel) predict(q []float64, fold int, actions []int32, x []float64) {
	k := 0
	for ; k+1 < len(actions); k += 2 {
		v, w := m.of(fold, actions[k]), m.of(fold, actions[k+1])
		q[k], q[k+1] = v[0], w[0]
		v, w = v[1:], w[1:]
		x, w = x[:len(v)], w[:len(v)]
		var a, b, c, d float64
		i := 0
		for ; i+1 < len(v); i += 2 {
			a += v[i] * x[i]
			b += v[i+1] * x[i+1]
			c += w[i] * x[i]
			d += w[i+1] * x[i+1]
		}
		if i < len(v) {
			a += v[i] * x[i]
			c += w[i] * x[i]
		}
		q[k] += a + b
		q[k+1] += c + d
	}
	if k < len(actions) {
		v := m.of(fold, actions[k])
		q[k] = v[0]
		v = v[1:]
		var a, b float64
		i := 0
		for ; i+1 < len(v); i += 2 {
			a += v[i] * x[i]
			b += v[i+1] * x[i+1]
		}
		if i < len(v) {
			a += v[i] * x[i]
		}
		q[k] += a + b
	}
	for k, v := range q {
		if m.logistic {
			q[k] = logistic(v)
		} else {
			q[k] = min(max(v, m.min), m.max)
		}
	}
}
