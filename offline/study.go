package offline

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"

	"nextbest"
	"nextbest/estimators"
)

// study is what the first pass learns from one lane of the log: what there is,
// whether its propensities hold, and the sufficient statistics of the reward
// model and of the best fixed action.
type study struct {
	req       *Request
	modelRows                   // empty where the model is cross-fitted by time, but for its width
	times     *timeSample       // nil unless blocks of time are needed
	ground    *groundwork       // of the pass after the first
	fixed     []fixedStatistics // by fold
	calib     estimators.Calibration
	ratio     *sampleRatio
	nothing   int32

	rows, customers        int64
	missing                int64 // rows without a propensity
	immature               int64
	trained                int64 // rows in a training split or period
	certain                int64 // rows whose arm gave its action probability 1
	alone                  int64 // of those, rows whose propensity was 1: no other arm either
	unknown                int64 // rows without the serving policy's probabilities
	matched                int64
	eligible               int64
	later                  int64 // rows of a decision's later slots
	unfloored              int64 // rows without a declared floor
	bare                   int64 // rows without the features of the others
	floor                  float64
	rewardMin, rewardMax   float64
	rewardLeast            float64 // above 0
	rewardSum              estimators.Ratio
	first, last            int64
	other                  int64 // rewards other than 0 and 1
	inTraining, inCustomer bool  // of the current customer
	policies               map[string]int64
	features               map[string]bool // schemas of the rows' features, "" among them
	lastFeatures           string
	arms                   map[string]bool // that served, "" among them
	lastArm                string
	lastPolicy             string
	lastPolicyRows         int64
	lastDecision           uuid.UUID
	cReward, cRows         float64
}

func newStudy(req *Request, width int) *study {
	s := &study{req: req, ratio: newSampleRatio(&req.Query), modelRows: newModelRows(req, req.Folds, width), fixed: make([]fixedStatistics, req.Folds),
		floor: math.Inf(1), rewardLeast: math.Inf(1), rewardMin: math.Inf(1), rewardMax: math.Inf(-1),
		first: math.MaxInt64, last: math.MinInt64, policies: map[string]int64{}, features: map[string]bool{}, arms: map[string]bool{}, nothing: -1}
	if needsBlocks(req) {
		s.times = &timeSample{}
	}
	return s
}

// widen gives the reward model features after rows that had none.
func (s *study) widen(width int) {
	s.modelRows.widen(width)
	s.bare = s.rows
}

// features copies row i's features to x as float64. Rows that carry none, or
// those of another schema (policies log what they see), count as zeros: the
// reward model then knows only the action, which costs precision and biases
// nothing, for the propensities are right. It reports whether x was filled.
func features(x []float64, b *nextbest.Batch, i int) bool {
	if b.Width != len(x) {
		clear(x)
		return false
	}
	for k, v := range b.X[i*b.Width : (i+1)*b.Width] {
		x[k] = float64(v)
	}
	return true
}

// closeCustomer ends the current customer.
func (s *study) closeCustomer() {
	if s.inCustomer {
		s.rewardSum.Add(s.cReward, s.cRows)
		s.customers++
	}
	s.inCustomer, s.cReward, s.cRows = false, 0, 0
}

// open begins a customer.
func (s *study) open(customer string) {
	s.closeCustomer()
	s.inCustomer = true
	s.ratio.open()
	s.inTraining = false
	for i := range s.req.Training {
		s.inTraining = s.inTraining || s.req.Training[i].Contains(customer)
	}
}

// row takes one row; fold is its customer's.
func (s *study) row(b *nextbest.Batch, i int, fold uint8, d *dictionary) error {
	eligible, probabilities := b.Row(i)
	if err := checkRow(b, i, eligible); err != nil {
		return err
	}
	r := b.Reward[i]
	s.rows++
	s.cRows++
	s.cReward += r
	s.rewardMin, s.rewardMax = min(s.rewardMin, r), max(s.rewardMax, r)
	if r > 0 {
		s.rewardLeast = min(s.rewardLeast, r)
	}
	if r != 0 && r != 1 {
		s.other++
	}
	s.first, s.last = min(s.first, b.Time[i]), max(s.last, b.Time[i])
	if b.Matched[i] {
		s.matched++
	}
	s.eligible += int64(len(eligible))
	s.countPolicy(b.Policies[i])
	s.ratio.row(b, i)
	if i < len(b.Features) && (b.Features[i] != s.lastFeatures || len(s.features) == 0) {
		s.lastFeatures = b.Features[i]
		s.features[s.lastFeatures] = true
	}
	if i < len(b.Arm) && (b.Arm[i] != s.lastArm || len(s.arms) == 0) {
		s.lastArm = b.Arm[i]
		s.arms[s.lastArm] = true
	}

	if id := b.Decision[i]; id != uuid.Nil {
		if id == s.lastDecision {
			s.later++
		}
		s.lastDecision = id
	}
	q := &s.req.Query
	if time.UnixMicro(b.Time[i]).Add(q.Objective.Window.Std()).After(q.MatureAt) {
		s.immature++
	}
	if s.inTraining || s.inPeriod(b.Customer[i], b.Time[i]) {
		s.trained++
	}
	if f := b.Floor[i]; f > 0 {
		s.floor = min(s.floor, f)
	} else {
		s.unfloored++
	}

	known := len(probabilities) > 0 && !math.IsNaN(probabilities[0])
	if known {
		for k, p := range probabilities {
			if !(p >= 0 && p <= 1+1e-9) {
				return rowErrorf(b, i, "the logged probability of %s is %v: it must be in [0, 1]", b.Actions[eligible[k]], p)
			}
			s.calib.Add(int(d.local[eligible[k]]), p, k == b.Chosen[i])
		}
	} else {
		s.unknown++
	}

	taken := d.local[eligible[b.Chosen[i]]]
	switch {
	case s.req.CrossFit == crossFitTime: // once the blocks are known
		if b.Width != s.model.width {
			s.bare++
		}
	case !s.modelRows.add(b, i, fold, taken, r):
		s.bare++
	}
	if s.times != nil {
		s.times.add(sampleKey(b.Decision[i], int(taken)), b.Time[i])
	}

	p := b.Propensity[i]
	switch {
	case math.IsNaN(p):
		s.missing++
		return nil
	case !(p > 0 && p <= 1+1e-9):
		return rowErrorf(b, i, "the propensity of %s is %v: it must be in (0, 1]", b.Actions[eligible[b.Chosen[i]]], p)
	}
	if p >= 1-1e-9 {
		s.alone++
		s.certain++
	} else if known && probabilities[b.Chosen[i]] >= 1-1e-9 {
		s.certain++
	}
	fs := &s.fixed[fold]
	fs.grow(len(d.names))
	fs.add(taken, s.nothing, eligible, d.local, p, r)
	return nil
}

// tried reports for each action whether any row took it.
func (s *study) tried(actions int) []bool {
	out := make([]bool, actions)
	for _, f := range s.fixed {
		for a, t := range f.own {
			out[a] = out[a] || t.rows > 0
		}
	}
	return out
}

func (s *study) inPeriod(customer string, micros int64) bool {
	for i := range s.req.TrainedOn {
		p := &s.req.TrainedOn[i]
		t := time.UnixMicro(micros)
		if (p.From.IsZero() || !t.Before(p.From)) && (p.To.IsZero() || t.Before(p.To)) && p.Split.Contains(customer) {
			return true
		}
	}
	return false
}

func (s *study) countPolicy(policy string) {
	if policy != s.lastPolicy {
		s.flushPolicy()
		s.lastPolicy = policy
	}
	s.lastPolicyRows++
}

func (s *study) flushPolicy() {
	if s.lastPolicyRows > 0 {
		s.policies[s.lastPolicy] += s.lastPolicyRows
		s.lastPolicyRows = 0
	}
}

// merge adds another lane, both closed.
func (s *study) merge(o *study) {
	s.flushPolicy()
	o.flushPolicy()
	s.modelRows.merge(&o.modelRows)
	if s.times != nil {
		s.times.merge(o.times)
	}
	for f := range s.fixed {
		s.fixed[f].merge(&o.fixed[f])
	}
	s.calib.Merge(&o.calib)
	s.ratio.merge(o.ratio)
	s.rows += o.rows
	s.customers += o.customers
	s.missing += o.missing
	s.immature += o.immature
	s.trained += o.trained
	s.certain += o.certain
	s.alone += o.alone
	s.unknown += o.unknown
	s.matched += o.matched
	s.eligible += o.eligible
	s.later += o.later
	s.unfloored += o.unfloored
	s.bare += o.bare
	s.other += o.other
	s.floor = min(s.floor, o.floor)
	s.rewardMin, s.rewardMax, s.rewardLeast = min(s.rewardMin, o.rewardMin), max(s.rewardMax, o.rewardMax), min(s.rewardLeast, o.rewardLeast)
	s.first, s.last = min(s.first, o.first), max(s.last, o.last)
	s.rewardSum.Merge(&o.rewardSum)
	for p, n := range o.policies {
		s.policies[p] += n
	}
	maps.Copy(s.arms, o.arms)
	maps.Copy(s.features, o.features)
}

// schemas returns the schemas of the rows' features, sorted.
func (s *study) schemas() []string { return slices.Sorted(maps.Keys(s.features)) }

// rowErrorf names a logged row in an error.
func rowErrorf(b *nextbest.Batch, i int, format string, args ...any) error {
	return nextbest.Errorf(nextbest.Invalid, "decision %s: %s", b.Decision[i], fmt.Sprintf(format, args...))
}

// checkRow refuses rows from which nothing could be computed.
func checkRow(b *nextbest.Batch, i int, eligible []uint32) error {
	if c := b.Chosen[i]; c < 0 || c >= len(eligible) {
		return rowErrorf(b, i, "the logged action is not among the %d eligible ones", len(eligible))
	}
	if r := b.Reward[i]; math.IsNaN(r) || math.IsInf(r, 0) {
		return rowErrorf(b, i, "the reward is %v: it must be a finite number", r)
	}
	return nil
}
