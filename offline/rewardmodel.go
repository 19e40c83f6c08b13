package offline

import "gonum.org/v1/gonum/mat"

// moments are the sufficient statistics of a linear reward model of one action
// in one fold: the lower triangle of Σ z zᵀ with z = (1, x, r), row after row.
// Memory is flat and any two may be added.
type moments []float64

func triangle(i, j int) int { return i*(i+1)/2 + j } // j ≤ i

// add adds one row; z is (1, x, r).
func (m moments) add(z []float64) {
	at := 0
	for i, zi := range z {
		row := m[at : at+i+1]
		for j := range row {
			row[j] += float64(zi * z[j])
		}
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

// predict returns q(x, a).
func (m *rewardModel) predict(fold int, action int32, x []float64) float64 {
	coef := m.of(fold, action)
	q := coef[0]
	coef = coef[1:]
	x = x[:len(coef)]
	var a, b float64 // two chains, for the processor
	i := 0
	for ; i+1 < len(coef); i += 2 {
		a += coef[i] * x[i]
		b += coef[i+1] * x[i+1]
	}
	if i < len(coef) {
		a += coef[i] * x[i]
	}
	q += a + b
	if m.logistic {
		return logistic(q)
	}
	return min(max(q, m.min), m.max)
}
