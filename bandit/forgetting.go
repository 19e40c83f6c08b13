package bandit

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"nextbest"
)

// Forgetting says how a policy that learns lets go of old decisions: by a half-life or
// by a window, by the clock and not by the number of rows, so that a busy day
// does not push last week out.
type Forgetting struct {
	// HalfLife halves a row's weight each time it passes: at the time W of the
	// model, a decision of time t weighs 2^(−(W−t)/HalfLife). This is the
	// discount γ of D-LinUCB (Russac, Vernade and Cappé 2019, arXiv 1909.09146,
	// eq. 4) with γ^(age), the prior λI not discounted. Uncertainty is that of
	// the discounted sums, A⁻¹, so that what is not tried becomes uncertain again.
	HalfLife nextbest.Duration `json:"half_life,omitempty"`
	// Window keeps the decisions of the last so long, all with weight 1, and
	// none before (the sliding window of Garivier and Moulines 2011). Its
	// beginning moves in steps of 1/64 of it; see Spec.Since.
	Window nextbest.Duration `json:"window,omitempty"`
}

const (
	shortestMemory = nextbest.Duration(time.Second)
	longestMemory  = nextbest.Duration(36500 * 24 * time.Hour)
	// windowSteps is in how many steps a sliding window moves by its length.
	// Rows that fall out are not subtracted, for a large number that leaves a sum
	// takes the digits of the small ones with it; learning starts from zero, and
	// this bounds how often.
	windowSteps = 64
	// fadedRows is the weight, in rows, below which an action's sums are left
	// out of a model: its posterior is the prior's to more digits than are promised.
	fadedRows = 1e-9
	// mostHalfLives bounds how far rows may lie after the moment at which weights
	// are 1, so that weights stay below 2^64.
	mostHalfLives = 64
)

// Since returns the time of the first decision that a model of time w may be
// learned from: the zero time without a sliding window, and otherwise w − Window
// rounded down to a step of Window/64 since the Unix epoch.
func (s Spec) Since(w time.Time) time.Time {
	if s.Forgetting == nil || s.Forgetting.Window == 0 {
		return time.Time{}
	}
	step := s.Forgetting.Window.Std().Microseconds() / windowSteps
	return time.UnixMicro(floorTo(w.UnixMicro()-windowSteps*step, step)).UTC()
}

// HalfLife returns the half-life of a row's weight, 0 where rows do not fade.
func (s Spec) HalfLife() time.Duration {
	if s.Forgetting == nil {
		return 0
	}
	return s.Forgetting.HalfLife.Std()
}

// floorTo rounds v down to a multiple of step.
func floorTo(v, step int64) int64 {
	if r := v % step; r < 0 {
		return v - r - step
	} else {
		return v - r
	}
}

func decodeForgetting(raw []byte, problems *nextbest.Problems) *Forgetting {
	f := &Forgetting{}
	span := func(m member, into *nextbest.Duration) {
		path := "forgetting." + m.name
		d, err := nextbest.ParseDuration(decodeString(m.raw, path, problems))
		if err != nil || d < shortestMemory || d > longestMemory {
			problems.Add(path, "must be a duration from %s to %s, such as 30d", shortestMemory, longestMemory)
		}
		*into = d
	}
	for _, m := range decodeObject(raw, "forgetting", problems) {
		switch m.name {
		case "half_life":
			span(m, &f.HalfLife)
		case "window":
			span(m, &f.Window)
		default:
			problems.Add("forgetting."+m.name, "unknown field; forgetting has half_life or window")
		}
	}
	return f
}

func (s Spec) checkForgetting(problems *nextbest.Problems) {
	f := s.Forgetting
	switch {
	case f == nil:
	case !s.Learns():
		problems.Add("forgetting", "%s learns nothing, so it has nothing to forget", s.Algorithm)
	case s.Ordered() && f.HalfLife != 0:
		problems.Add("forgetting.half_life", "%s depends on the order of the rows and cannot fade them; give a window", s.Algorithm)
	case (f.HalfLife == 0) == (f.Window == 0):
		problems.Add("forgetting", `must have either half_life or window, such as {"half_life":"30d"}`)
	case f.HalfLife+f.Window < shortestMemory || f.HalfLife+f.Window > longestMemory || f.HalfLife.Std()%time.Microsecond != 0:
		problems.Add("forgetting", "must be whole microseconds, from %s to %s", shortestMemory, longestMemory)
	}
}

// fading is a learner's clock, in microseconds since the Unix epoch. The sums
// are kept with the weights of the moment origin, 2^((t−origin)/halfLife), so
// that growing older is one multiplication when a model is made. The origin
// moves by whole half-lives, which changes exponents and no digits.
type fading struct {
	halfLife int64
	origin   int64
	now      int64 // when a model weighs the rows
	started  bool  // the origin is set
}

// weight returns a row's weight as of the origin.
func (f *fading) weight(at int64) float64 {
	return math.Exp2(float64(at-f.origin) / float64(f.halfLife))
}

// scale turns sums as of the origin into sums as of now.
func (f *fading) scale() float64 { return math.Exp2(float64(f.origin-f.now) / float64(f.halfLife)) }

// Age moves the learner to a later moment: Model weighs its rows by their age
// then. Moments before the newest row or an earlier Age change nothing, and
// neither does any where the policy does not forget by a half-life.
func (l *Learner) Age(to time.Time) {
	if l.fading.halfLife == 0 {
		return
	}
	l.fading.now = max(l.fading.now, to.UnixMicro())
	l.changes++
	if l.live != nil {
		l.live.rebuild(l)
	}
}

// LearnAt is Learn for the row of a decision taken at a time, which matters to
// policies that forget by a half-life: in any order, rows have the weights of
// their ages when a model is made.
func (l *Learner) LearnAt(action string, x []float32, reward float64, at time.Time) error {
	if err := l.load(action, x, reward); err != nil {
		return err
	}
	weight := 1.0
	if f := &l.fading; f.halfLife != 0 {
		t := at.UnixMicro()
		if !f.started {
			f.origin, f.started = floorTo(t, f.halfLife), true
		}
		f.now = max(f.now, t)
		if t-f.origin > mostHalfLives*f.halfLife {
			l.moveOrigin(floorTo(t, f.halfLife))
		}
		weight = f.weight(t)
	}
	l.add(action, reward, weight)
	return nil
}

// moveOrigin changes the origin by whole half-lives. Sums that underflow are
// nothing beside a row of the new origin.
func (l *Learner) moveOrigin(to int64) {
	factor := math.Exp2(float64((l.fading.origin - to) / l.fading.halfLife))
	l.fading.origin = to
	for action, a := range l.arms {
		if a.change().scale(factor); a.n == 0 {
			delete(l.arms, action)
		}
	}
}

// moment returns when Learn's rows are taken to have happened.
func (l *Learner) moment() time.Time { return time.UnixMicro(l.fading.now) }

// faded returns the model of a learner whose rows fade: the sums as of now.
func (l *Learner) faded() *Model {
	m := &Model{kind: l.spec.kind(), width: l.width, ridge: l.spec.param("ridge"), halfLife: l.fading.halfLife, at: l.fading.now}
	scale := l.fading.scale()
	for _, action := range slices.Sorted(maps.Keys(l.arms)) {
		a := l.arms[action]
		if !(a.n*scale >= fadedRows) {
			continue
		}
		aged := a.clone()
		aged.scale(scale)
		m.arms = append(m.arms, &armModel{action: action, sums: aged})
	}
	if action, ok := m.derive(); !ok {
		panic(fmt.Sprintf("bandit: the statistics of %q are not positive definite", action))
	}
	return m
}

// mergeFading adds rows that fade, at the later one's origin.
func (l *Learner) mergeFading(other *Learner) {
	f := &l.fading
	if !f.started {
		f.origin, f.started = other.fading.origin, other.fading.started
	}
	if other.fading.origin > f.origin {
		l.moveOrigin(other.fading.origin)
	}
	f.now = max(f.now, other.fading.now)
	factor := math.Exp2(float64((other.fading.origin - f.origin) / f.halfLife))
	for action, from := range other.arms {
		aged := from.clone()
		aged.scale(factor)
		l.arm(action).change().merge(&aged)
	}
}

// resumeFading goes on from a model's sums, which are as of its own time.
func (l *Learner) resumeFading(m *Model) {
	f := &l.fading
	f.now, f.origin, f.started = m.at, floorTo(m.at, f.halfLife), true
	for _, a := range m.arms {
		s := &statistics{sums: a.clone()}
		s.scale(f.weight(m.at))
		l.arms[a.action] = s
	}
}
