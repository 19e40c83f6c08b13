package experiments

import (
	"math"
	"slices"
	"time"

	"nextbest"
	"nextbest/estimators"
)

// SampleRatioAlpha is the probability with which a healthy experiment's sample
// ratio is ever found wrong.
const SampleRatioAlpha = .001

// test is one e-process.
type test interface {
	LogE() float64
	MaxLogE() float64
}

// Accumulator turns an experiment's enrolments into evidence, one customer at
// a time with flat memory. Feed it what each of Queries returns, in that order
// of enrolment, then ask for the Evidence. Everything is computed anew at each
// look; the same log gives the same evidence.
type Accumulator struct {
	def       *Definition
	objective *nextbest.Objective
	matureAt  time.Time
	readings  []*reading
	tallies   []tally // by arm
	pairs     []*pair // by arm; nil for the control
	converted []int   // customers with the primary reward, by arm
	ratio     *estimators.SampleRatio
	first     time.Time
	last      time.Time
}

// reading is one query with the metrics that are taken from it.
type reading struct {
	query     nextbest.EnrolmentQuery
	metrics   []*metric
	latest    time.Time
	primary   bool
	terms     []int // index of each objective term's reward
	objective bool  // values of the objective can be formed from totals
}

// metric is one reward judged in one way, for all arms.
type metric struct {
	index     int // into the reading's rewards
	kind      string
	cap       float64
	harm      estimators.Harm
	margin    float64
	guardrail int // index into Definition.Guardrails, -1 for the primary
	customers []int
	sums      []float64 // conversions or capped values, by arm
}

// tally describes one arm.
type tally struct {
	customers, matched int
	value              ratioMean
}

// pair holds a candidate's tests against the control.
type pair struct {
	arm             int
	superiority     *estimators.RatioTest          // conversions
	sequence        *estimators.DifferenceSequence // of the primary metric
	rollback        []test                         // primary first, then the guardrails
	noninferior     []test                         // beside Definition.Guardrails
	feedRollback    []func(candidate bool, y float64)
	feedNonInferior []func(candidate bool, y float64)
}

// NewAccumulator returns an accumulator for a valid definition. Only customers
// whose window has passed at matureAt count, and none after the experiment has
// ended. The objective may be nil: then arms have no value.
func NewAccumulator(d *Definition, o *nextbest.Objective, matureAt time.Time) *Accumulator {
	if !d.Ended.IsZero() && d.Ended.Before(matureAt) {
		matureAt = d.Ended
	}
	a := &Accumulator{def: d, objective: o, matureAt: matureAt, tallies: make([]tally, len(d.Arms)), pairs: make([]*pair, len(d.Arms)), converted: make([]int, len(d.Arms))}
	primary := a.reading(d.Window.Std())
	primary.primary = true
	a.metric(primary, d.Primary.Reward, metric{kind: d.Primary.Kind, cap: d.Primary.Cap, harm: estimators.HarmDecrease, guardrail: -1})
	if o != nil && (o.Aggregation == "" || o.Aggregation == "sum") {
		primary.objective = true
		for _, t := range o.Terms {
			primary.terms = append(primary.terms, primary.reward(t.Reward))
		}
	}
	for i, g := range d.Guardrails {
		a.metric(a.reading(g.Window.Std()), g.Reward, metric{kind: g.Kind, cap: g.Cap, harm: g.Harm, margin: g.Margin, guardrail: i})
	}
	shares := make([]float64, len(d.Arms))
	control := d.Arms[d.Control()].Share
	for k, arm := range d.Arms {
		shares[k] = arm.Share
		if !arm.Control {
			a.pairs[k] = newPair(d, k, control/(control+arm.Share))
		}
	}
	a.ratio = estimators.NewSampleRatio(shares)
	return a
}

// newPair makes the tests of arm k, share being the control's of the pair.
func newPair(d *Definition, k int, share float64) *pair {
	p := &pair{arm: k, sequence: estimators.NewDifferenceSequence(1-share, float64(d.PlannedCustomers))}
	if d.Primary.Kind == Conversion {
		p.superiority = estimators.NewSuperiorityTest(share)
		p.addRollback(estimators.NewRatioRollback(share, 0, estimators.HarmDecrease), nil)
	} else {
		p.addRollback(nil, estimators.NewDifferenceRollback(1-share, d.Primary.Cap, 0, estimators.HarmDecrease))
	}
	for _, g := range d.Guardrails {
		if g.Kind == Conversion {
			p.addRollback(estimators.NewRatioRollback(share, g.Margin, g.Harm), nil)
			p.addNonInferior(estimators.NewRatioNonInferiority(share, g.Margin, g.Harm), nil)
		} else {
			p.addRollback(nil, estimators.NewDifferenceRollback(1-share, g.Cap, g.Margin, g.Harm))
			p.addNonInferior(nil, estimators.NewDifferenceNonInferiority(1-share, g.Cap, g.Margin, g.Harm))
		}
	}
	return p
}

func (p *pair) addRollback(r *estimators.RatioTest, d *estimators.DifferenceTest) {
	t, feed := feeder(r, d)
	p.rollback, p.feedRollback = append(p.rollback, t), append(p.feedRollback, feed)
}

func (p *pair) addNonInferior(r *estimators.RatioTest, d *estimators.DifferenceTest) {
	t, feed := feeder(r, d)
	p.noninferior, p.feedNonInferior = append(p.noninferior, t), append(p.feedNonInferior, feed)
}

func feeder(r *estimators.RatioTest, d *estimators.DifferenceTest) (test, func(bool, float64)) {
	if d != nil {
		return d, d.Add
	}
	return r, func(candidate bool, y float64) {
		if y != 0 {
			r.Add(!candidate)
		}
	}
}

// reading returns the reading of a window, making it when there is none.
func (a *Accumulator) reading(window time.Duration) *reading {
	for _, r := range a.readings {
		if r.query.Window.Std() == window {
			return r
		}
	}
	r := &reading{query: nextbest.EnrolmentQuery{Experiment: a.def.ID, Window: nextbest.Duration(window), MatureAt: a.matureAt}}
	a.readings = append(a.readings, r)
	return r
}

func (r *reading) reward(kind string) int {
	if i := slices.Index(r.query.Rewards, kind); i >= 0 {
		return i
	}
	r.query.Rewards = append(r.query.Rewards, kind)
	return len(r.query.Rewards) - 1
}

func (a *Accumulator) metric(r *reading, kind string, m metric) {
	m.index = r.reward(kind)
	m.customers = make([]int, len(a.def.Arms))
	m.sums = make([]float64, len(a.def.Arms))
	r.metrics = append(r.metrics, &m)
}

// Queries returns what to ask of the log: the experiment's window first, then
// one query for each shorter window of a guardrail.
func (a *Accumulator) Queries() []nextbest.EnrolmentQuery {
	var q []nextbest.EnrolmentQuery
	for _, r := range a.readings {
		q = append(q, r.query)
	}
	return q
}

// Add takes in one customer of query q. Customers who are not mature, who were
// enrolled before the experiment started, or whose arm is none of the
// definition's are left out. The error is about the log: rows out of order, or
// columns that do not run beside the query's rewards.
func (a *Accumulator) Add(q int, e nextbest.Enrolment) error {
	r := a.readings[q]
	if len(e.First) != len(r.query.Rewards) || len(e.Total) != len(r.query.Rewards) {
		return nextbest.Errorf(nextbest.Internal, "enrolment of customer %s in %s has %d first times and %d totals for %d rewards", e.Customer, a.def.ID, len(e.First), len(e.Total), len(r.query.Rewards))
	}
	if e.Time.Before(r.latest) {
		return nextbest.Errorf(nextbest.Internal, "enrolments of %s are out of order: customer %s at %s comes after %s", a.def.ID, e.Customer, e.Time.Format(time.RFC3339Nano), r.latest.Format(time.RFC3339Nano))
	}
	r.latest = e.Time
	closes := e.Time.Add(r.query.Window.Std())
	k := a.def.Arm(e.Arm)
	if k < 0 || closes.After(a.matureAt) || e.Time.Before(a.def.Started) {
		return nil
	}
	for _, m := range r.metrics {
		y := m.outcome(&e, closes)
		m.customers[k]++
		m.sums[k] += y
		a.feed(m, k, y)
		if m.guardrail < 0 && had(&e, m.index, closes) {
			a.converted[k]++
		}
	}
	if r.primary {
		if a.ratio.Add(k); a.first.IsZero() {
			a.first = e.Time
		}
		a.last = e.Time
		a.tallies[k].add(r, &e, closes, a.objective)
	}
	return nil
}

// outcome is one customer's metric: 1 or 0 for a conversion within the window,
// or the total brought into [0, cap].
func (m *metric) outcome(e *nextbest.Enrolment, closes time.Time) float64 {
	if !had(e, m.index, closes) {
		return 0
	}
	if m.kind == Conversion {
		return 1
	}
	return math.Min(math.Max(e.Total[m.index], 0), m.cap)
}

func had(e *nextbest.Enrolment, reward int, closes time.Time) bool {
	first := e.First[reward]
	return !first.IsZero() && first.Before(closes)
}

// feed gives arm k's outcome to the tests it takes part in: the control's to
// those of every candidate.
func (a *Accumulator) feed(m *metric, k int, y float64) {
	for j, p := range a.pairs {
		if p == nil || (j != k && !a.def.Arms[k].Control) {
			continue
		}
		candidate := j == k
		p.feedRollback[m.guardrail+1](candidate, y)
		if m.guardrail >= 0 {
			p.feedNonInferior[m.guardrail](candidate, y)
			continue
		}
		p.sequence.Add(candidate, y)
		if p.superiority != nil && y != 0 {
			p.superiority.Add(!candidate)
		}
	}
}

// add takes one customer into an arm's description.
func (t *tally) add(r *reading, e *nextbest.Enrolment, closes time.Time, o *nextbest.Objective) {
	t.customers++
	if !r.objective {
		return
	}
	value, matched := 0.0, false
	for i, index := range r.terms {
		if had(e, index, closes) {
			matched = true
			value += o.Terms[i].Weight * e.Total[index]
		}
	}
	if matched {
		t.matched++
	} else {
		value = o.Default
	}
	t.value.add(value, math.Max(float64(e.Decisions), 1))
}

// ratioMean follows Σx/Σd over customers with running co-moments.
type ratioMean struct {
	n          int
	x, d       float64 // means
	xx, xd, dd float64 // centred sums of products
}

func (r *ratioMean) add(x, d float64) {
	r.n++
	dx, dd := x-r.x, d-r.d
	r.x += dx / float64(r.n)
	r.d += dd / float64(r.n)
	r.xx += dx * (x - r.x)
	r.xd += dx * (d - r.d)
	r.dd += dd * (d - r.d)
}

// perCustomer and perDecision return the mean and the standard deviation of
// one customer's contribution to it, the ratio's by linearisation.
func (r *ratioMean) perCustomer() (mean, sd float64) {
	return r.x, math.Sqrt(r.xx / float64(r.n))
}

func (r *ratioMean) perDecision() (mean, sd float64) {
	v := r.x / r.d
	return v, math.Sqrt(math.Max(r.xx-2*v*r.xd+v*v*r.dd, 0)/float64(r.n)) / r.d
}
