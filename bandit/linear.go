package bandit

import (
	"math"
	"sync"

	"nextbest"
)

// linear scores actions by a Gaussian belief about each one's weights. Policies
// share it; a Learner also keeps one up to date in place for its live policy.
type linear struct {
	width     int     // features; 0 when nothing was learned yet
	precision float64 // λ of the prior
	noise     float64 // σ, the residual noise
	learned   float64 // rows
	index     map[string]int32
	factors   []factor  // by arm
	other     *factor   // of an action that is no arm; nil: the prior
	values    []float64 // by arm, and last of an action that is none; nil: all 1
	pool      sync.Pool
}

// workspace is what one decision needs; it is kept in the pool.
type workspace struct {
	x, y     []float64
	mean, sd []float64
	features []float64 // of the eligible actions, scaled; shared_thompson
	drawn    []float64 // scores of eight draws; shared_thompson
	maximum  maximum
	logistic logisticMaximum
}

func newLinear(s Spec, p *posterior) *linear {
	l := &linear{precision: s.param("ridge"), noise: priorNoise}
	l.pool.New = newWorkspace
	if p != nil {
		l.width, l.precision, l.noise, l.other = p.width, p.precision, p.noise, p.other
		l.index = make(map[string]int32, len(p.beliefs))
		for i, b := range p.beliefs {
			l.index[b.action] = int32(i)
			l.factors = append(l.factors, b.factor)
			l.learned += b.rows
			if b.value != nil {
				l.values = append(l.values, b.value.mean)
			}
		}
		if p.otherValue != nil {
			l.values = append(l.values, p.otherValue.mean)
		}
	}
	return l
}

// Arm returns the model's index of an action, −1 where it has no belief of its
// own about it.
func (l *linear) Arm(action string) int32 { return armOf(l.index, action) }

func newWorkspace() any { return new(workspace) }

func (l *linear) workspace() *workspace { return l.pool.Get().(*workspace) }

// sized returns a slice of n numbers, reusing s where it is long enough. Its
// content is arbitrary.
func sized(s []float64, n int) []float64 {
	if cap(s) < n {
		return make([]float64, n)
	}
	return s[:n]
}

// score sets w.mean and w.sd to each eligible action's predicted score and its
// standard deviation (without the policy's multiple), after arbitration. Without
// deviations w.sd is 0.
func (l *linear) score(w *workspace, r *Request, deviations bool) error {
	if l.width != 0 && len(r.X) != l.width {
		return nextbest.Errorf(nextbest.Invalid, "the model was learned on %d features and the context has %d: the policy's schema does not fit the model", l.width, len(r.X))
	}
	k, n := len(r.Arms), padded(len(r.X))
	w.x, w.y = sized(w.x, n), sized(w.y, n)
	w.mean, w.sd = sized(w.mean, k), sized(w.sd, k)
	for i, v := range r.X {
		w.x[i] = float64(v)
	}
	clear(w.x[len(r.X):])
	prior := -1.0 // variance of an action without a model, once it is needed
	for i, a := range r.Arms {
		var mean, variance float64
		f := l.other
		if a >= 0 {
			f = &l.factors[a]
		}
		switch {
		case f != nil && deviations:
			mean, variance = f.solve(w.y, w.x)
		case f != nil:
			mean = f.predict(w.y, w.x)
		case deviations:
			if prior < 0 {
				prior = dot(w.x, w.x) / l.precision
			}
			variance = prior
		}
		sd := float64(l.noise * math.Sqrt(variance))
		if l.values != nil {
			v := l.values[len(l.values)-1]
			if a >= 0 {
				v = l.values[a]
			}
			mean, sd = float64(v*mean), math.Abs(float64(v*sd))
		}
		if r.Scale != nil {
			mean, sd = float64(r.Scale[i]*mean), math.Abs(float64(r.Scale[i]*sd))
		}
		if r.Offset != nil {
			mean += r.Offset[i]
		}
		if mean-mean != 0 || sd-sd != 0 { // NaN or infinite
			return nextbest.Errorf(nextbest.Invalid, "the score of eligible action %d is not a finite number (mean %g, standard deviation %g): check the context and the action's value, lever and cost", i, mean, sd)
		}
		w.mean[i], w.sd[i] = mean, sd
	}
	return nil
}
