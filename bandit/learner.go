package bandit

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"nextbest"
)

// maxReward bounds |reward| so that no sum of squares can overflow.
const maxReward = 1e100

// Learner keeps the sufficient statistics of one ridge regression per action.
// Every row adds to them, so that neither order nor batching matters beyond
// rounding, and a row can be taken out again. It is owned by one goroutine.
type Learner struct {
	spec  Spec
	width int
	arms  map[string]*statistics
	x     []float64 // scratch: the row in float64, padded
	live  *liveModel
	fading
	// changes counts the rows that went in or out, a merge as one.
	changes int64
}

// NewLearner returns a learner for a policy that learns, on rows of width
// features.
func NewLearner(spec Spec, width int) (*Learner, error) {
	spec, err := spec.complete()
	if err != nil {
		return nil, err
	}
	if !spec.Learns() {
		return nil, nextbest.Errorf(nextbest.Invalid, "policy %s has no parameters to learn", spec.Algorithm)
	}
	if err := spec.checkWidth(width); err != nil {
		return nil, err
	}
	if width < 1 || width > maxWidth {
		return nil, nextbest.Errorf(nextbest.Invalid, "a learner needs between 1 and %d features, not %d", maxWidth, width)
	}
	return &Learner{spec: spec, width: width, arms: map[string]*statistics{}, x: make([]float64, padded(width)),
		fading: fading{halfLife: spec.HalfLife().Microseconds()}}, nil
}

// ResumeLearner returns a learner that goes on from a model's statistics.
func ResumeLearner(spec Spec, m *Model) (*Learner, error) {
	l, err := NewLearner(spec, m.width)
	if err != nil {
		return nil, err
	}
	if err := l.spec.accepts(m); err != nil {
		return nil, err
	}
	if l.halfLife != 0 {
		l.resumeFading(m)
		return l, nil
	}
	for _, a := range m.arms {
		l.arms[a.action] = &statistics{sums: a.clone(), snapshot: a, precision: m.precision}
	}
	return l, nil
}

// Learn adds one row: the context x in which action was taken and the reward
// that followed. Where rows fade, it is one of the moment to which the learner
// has aged (see LearnAt). A row that is refused (a number that is not finite, a
// reward beyond 1e100) changes nothing. Rows of another width panic.
func (l *Learner) Learn(action string, x []float32, reward float64) error {
	return l.LearnAt(action, x, reward, l.moment())
}

// add adds the loaded row.
func (l *Learner) add(action string, reward, weight float64) {
	a := l.arm(action)
	if l.spec.Ordered() {
		l.gather(a, reward)
	} else {
		a.change().add(l.spec.kind(), l.x[:l.width], reward, weight)
	}
	l.changes++
	switch {
	case l.live == nil:
	case l.halfLife != 0:
		l.live.rebuild(l)
	default:
		l.live.add(l, action, a, reward)
	}
}

// arm returns the statistics of an action, new ones where it has none.
func (l *Learner) arm(action string) *statistics {
	a := l.arms[action]
	if a == nil {
		a = newStatistics(l.width)
		l.arms[action] = a
	}
	return a
}

// Unlearn takes a row out that Learn has put in. A row of an action that has
// none left is refused, and so is every row where rows fade: what has faded
// cannot be subtracted without losing digits.
func (l *Learner) Unlearn(action string, x []float32, reward float64) error {
	if l.halfLife != 0 {
		return nextbest.Errorf(nextbest.Invalid, "cannot unlearn a row of %q: the policy forgets by a half-life; learn from the beginning instead", action)
	}
	if l.spec.Ordered() {
		return nextbest.Errorf(nextbest.Invalid, "cannot unlearn a row of %q: %s depends on the order of the rows; learn from the beginning instead", action, l.spec.Algorithm)
	}
	if err := l.load(action, x, reward); err != nil {
		return err
	}
	a := l.arms[action]
	if a == nil {
		return nextbest.Errorf(nextbest.Invalid, "cannot unlearn a row of %q: the model holds none", action)
	}
	a.change().add(l.spec.kind(), l.x[:l.width], reward, -1)
	l.changes++
	if a.n <= 0 {
		delete(l.arms, action)
		a = newStatistics(l.width)
	}
	if l.live != nil {
		l.live.remove(l, action, a, reward)
	}
	return nil
}

// load checks a row and copies x.
func (l *Learner) load(action string, x []float32, reward float64) error {
	if len(x) != l.width {
		panic(fmt.Sprintf("bandit: a row of %d features for a learner of %d", len(x), l.width))
	}
	if action == "" || len(action) > maxActionBytes {
		return nextbest.FieldErrorf("action", "%q is not an action's id", action)
	}
	if l.spec.kind() == kindLogistic && !(reward >= 0 && reward <= 1) {
		return nextbest.FieldErrorf("reward", "%g cannot be learned from by %s: it must lie between 0 and 1", reward, l.spec.Algorithm)
	}
	if !(math.Abs(reward) <= maxReward) {
		return nextbest.FieldErrorf("reward", "%g cannot be learned from: it must be finite and at most 1e100", reward)
	}
	if algorithms[l.spec.Algorithm].unitRewards && !(reward >= 0 && reward <= 1) {
		return nextbest.FieldErrorf("reward", "%g cannot be learned from by %s, which needs rewards between 0 and 1: choose an objective whose values lie there, or another algorithm", reward, l.spec.Algorithm)
	}
	for i, v := range x {
		if v-v != 0 {
			return nextbest.FieldErrorf("x", "feature %d is %g: it must be finite", i, v)
		}
		l.x[i] = float64(v)
	}
	return nil
}

// Merge adds another learner's rows to this one's. Both must have the same
// width, ridge and half-life.
func (l *Learner) Merge(other *Learner) error {
	if l.spec.Ordered() {
		return nextbest.Errorf(nextbest.Invalid, "learners of %s cannot be merged: it depends on the order of the rows", l.spec.Algorithm)
	}
	if other.spec.kind() != l.spec.kind() || other.width != l.width || other.spec.param("ridge") != l.spec.param("ridge") || other.halfLife != l.halfLife {
		return nextbest.Errorf(nextbest.Invalid, "learners of %s and %s, width %d and %d, ridge %g and %g, half-life %s and %s cannot be merged", l.spec.Algorithm, other.spec.Algorithm, l.width, other.width,
			l.spec.param("ridge"), other.spec.param("ridge"), l.spec.HalfLife(), other.spec.HalfLife())
	}
	if l.halfLife != 0 {
		l.mergeFading(other)
	} else {
		for action, from := range other.arms {
			l.arm(action).change().merge(&from.sums)
		}
	}
	l.changes++
	if l.live != nil {
		l.live.rebuild(l)
	}
	return nil
}

// Model returns an immutable snapshot. Actions that have not changed since the
// last one share its memory as long as the prior precision stays. It panics
// where the sums have overflowed, which rows that Learn accepts cannot bring
// about within 1e100 rows.
func (l *Learner) Model() *Model {
	if l.halfLife != 0 {
		return l.faded()
	}
	if l.spec.Ordered() {
		return l.gathered()
	}
	m := &Model{kind: l.spec.kind(), width: l.width, ridge: l.spec.param("ridge"), precision: l.precision()}
	for _, action := range slices.Sorted(maps.Keys(l.arms)) {
		a := l.arms[action]
		if a.snapshot == nil {
			a.snapshot = &armModel{action: action, sums: a.clone()}
		} else if a.precision == m.precision {
			m.arms = append(m.arms, a.snapshot)
			continue
		} else {
			shared := *a.snapshot
			a.snapshot = &shared
		}
		a.snapshot.factor, a.precision = a.factorise(action, m.precision), m.precision
		m.arms = append(m.arms, a.snapshot)
	}
	return m
}

// precision returns λ for the rows learned so far, summed in the order of the
// actions' ids.
func (l *Learner) precision() float64 {
	var lengths, rows float64
	for _, action := range slices.Sorted(maps.Keys(l.arms)) {
		a := l.arms[action]
		lengths += a.squaredLengths(l.spec.kind()) + a.pending.squaredLengths()
		rows += a.n + float64(len(a.pending.rewards))
	}
	return precision(l.spec.param("ridge"), lengths, rows)
}

// statistics are the sums over one action's rows.
type statistics struct {
	sums
	snapshot  *armModel // of these very sums, nil after a change
	precision float64   // λ in snapshot's factor
	pending   batch     // of kind 3: rows that the sums do not hold yet
}

func newStatistics(width int) *statistics { return &statistics{sums: newSums(width)} }

// factorise returns the factor of gram + λI.
func (s *statistics) factorise(action string, lambda float64) factor {
	f, ok := factorise(s.gram, s.b, lambda)
	if !ok {
		panic(fmt.Sprintf("bandit: the statistics of %q are not positive definite", action))
	}
	return f
}

// change returns the sums to be changed.
func (s *statistics) change() *sums {
	s.snapshot = nil
	return &s.sums
}
