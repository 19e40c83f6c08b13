package bandit

import "math"

// scorer is a policy that scores by linear models; over returns the same policy
// with other parameters.
type scorer interface {
	over(*linear) Policy
}

// liveModel is a linear scorer that follows its learner row by row: each row
// turns one factor in O(d²) instead of factorising anew.
type liveModel struct {
	linear
	residuals []float64 // Σr² − bᵀA⁻¹b by arm
	rows      []float64 // by arm; their sum is linear.learned
	lengths   []float64 // Σ‖x‖² by arm
	turns     []float64 // scratch: rotations
}

// Live returns a policy over the learner's current parameters: it changes with
// every row that is learned or unlearned, and like the learner it belongs to one
// goroutine. Its distributions equal those of a policy over Model() within
// rounding (1e-9), not bit for bit; decisions that are logged use snapshots.
func (l *Learner) Live() (Policy, error) {
	if l.spec.derivation() != nil || l.spec.Ordered() {
		return newLiveSnapshots(l)
	}
	if l.live == nil {
		l.live = &liveModel{turns: make([]float64, 2*padded(l.width))}
		l.live.rebuild(l)
	}
	p, err := algorithms[l.spec.Algorithm].build(l.spec, nil)
	if err != nil {
		return nil, err
	}
	return p.(scorer).over(&l.live.linear), nil
}

// rebuild factorises everything from the learner's statistics.
func (v *liveModel) rebuild(l *Learner) {
	m := l.Model()
	p := disjointPosterior(m)
	v.width, v.precision, v.noise, v.learned = l.width, m.precision, p.noise, m.Rows()
	if v.index == nil {
		v.index = map[string]int32{}
		v.pool.New = newWorkspace
	}
	for i := range v.factors {
		v.factors[i] = newFactor(padded(v.width), v.precision)
		v.residuals[i], v.rows[i], v.lengths[i] = 0, 0, 0
	}
	for _, a := range m.arms {
		i := v.arm(a.action)
		v.factors[i] = a.factor.clone()
		v.residuals[i], v.rows[i], v.lengths[i] = a.residual(), a.n, squaredLengths(a.gram, v.width)
	}
}

// arm returns the index of an action, a new one where needed. Indices never
// change.
func (v *liveModel) arm(action string) int32 {
	i, ok := v.index[action]
	if !ok {
		i = int32(len(v.factors))
		v.index[action] = i
		v.factors = append(v.factors, newFactor(padded(v.width), v.precision))
		v.residuals, v.rows, v.lengths = append(v.residuals, 0), append(v.rows, 0), append(v.lengths, 0)
	}
	return i
}

func (v *liveModel) add(l *Learner, action string, s *statistics, reward float64) {
	i := v.arm(action)
	v.factors[i].update(l.x, reward, v.turns)
	v.note(l, i, s)
}

func (v *liveModel) remove(l *Learner, action string, s *statistics, reward float64) {
	i := v.arm(action)
	if s.n == 0 {
		v.factors[i] = newFactor(padded(v.width), v.precision)
	} else if !v.factors[i].downdate(l.x, reward, v.turns) {
		v.factors[i] = s.factorise(action, v.precision)
	}
	v.note(l, i, s)
}

// note recomputes the residual noise after arm i has changed, and everything
// where the change has moved the prior precision.
func (v *liveModel) note(l *Learner, i int32, s *statistics) {
	v.residuals[i], v.rows[i] = math.Max(s.squares-v.factors[i].explained(), 0), s.n
	v.lengths[i] = squaredLengths(s.gram, v.width)
	var lengths, rows float64
	for j, n := range v.rows {
		lengths += v.lengths[j]
		rows += n
	}
	if precision(l.spec.param("ridge"), lengths, rows) != v.precision {
		v.rebuild(l)
		return
	}
	v.noise, v.learned = noise(v.residuals, v.rows), rows
}
