package offline

import (
	"math"
	"slices"

	"nextbest"
	"nextbest/estimators"
)

// lane evaluates every policy over the customers of one lane: the second pass.
type lane struct {
	ranges     ranges
	model      *rewardModel
	best       []int32 // best fixed action by fold
	nothing    int32
	support    float64 // propensities below are off support
	tried      []bool  // actions that were taken at all
	candidates []Candidate

	tallies []*tally // candidates, then logged, best fixed, do nothing, then each of always
	logged  *tally
	fixed   *tally
	idle    *tally
	always  []int32 // actions that are always taken; −1: never seen

	pairs      *pairs
	uplift     *uplift
	tree       *treeRows // nil unless asked for
	id         uint64    // hash of the current customer, where there is a tree
	segmenter  *segmenter
	columns    *columns // nil unless an estimator needs more of a row
	inCustomer bool
	chosen     bool // a best fixed action was chosen for the current customer's fold
	rows       int64
	predicted  span // q over eligible actions
	overlap    *overlap

	x         []float64 // scratch: features
	q         []float64 // scratch: predictions of the eligible actions
	p         []float64 // scratch: a candidate's distribution
	supported []bool    // scratch
	actions   []int32   // scratch: the eligible actions, by our numbers
}

func newLane(req *Request, candidates []Candidate, g ranges, m *rewardModel, best []int32, nothing int32, always []int32, tried []bool, first int64) *lane {
	l := &lane{ranges: g, model: m, best: best, nothing: nothing, always: always, support: req.MinSupport, tried: tried, candidates: candidates,
		predicted: emptySpan(), overlap: newOverlap(len(tried), len(candidates)),
		pairs: newPairs(len(candidates)), uplift: newUplift(len(tried)), segmenter: newSegmenter(req.Segments), x: make([]float64, m.width)}
	for range len(candidates) + 3 + len(always) {
		l.tallies = append(l.tallies, newTally(g))
	}
	if req.Tree {
		l.tree = &treeRows{}
	}
	n := len(candidates)
	for _, t := range l.tallies[:n] {
		t.drift, t.extras = &drift{}, newExtras(req)
		if len(req.Segments) > 0 {
			t.segments = newSegments(len(req.Segments))
		}
		t.days.first = floorDay(first)
	}
	l.logged, l.fixed, l.idle = l.tallies[n], l.tallies[n+1], l.tallies[n+2]
	l.logged.isLogged, l.logged.compareFixed, l.fixed.compareFixed = true, false, false
	return l
}

// open begins a customer.
func (l *lane) open(customer string) {
	l.closeCustomer()
	if l.tree != nil {
		l.id = customerHash(customer)
	}
	for _, t := range l.tallies {
		if t.extras != nil {
			t.extras.open(customer)
		}
	}
}

func (l *lane) closeCustomer() {
	if !l.inCustomer {
		return
	}
	l.pairs.add(l.tallies)
	fixed := l.fixed.customer
	for _, t := range l.tallies {
		if t != l.fixed || l.chosen {
			t.close(&fixed, l.chosen, &l.ranges)
		}
		t.customer = estimators.Customer{}
	}
	l.uplift.close()
	if l.columns != nil {
		l.columns.close()
	}
	l.inCustomer = false
}

// row takes one row whose propensity is known; fold is its customer's, and part
// that of the reward model.
func (l *lane) row(b *nextbest.Batch, i, fold, part int, local []int32) error {
	l.inCustomer = true
	l.rows++
	eligible, probabilities := b.Row(i)
	n := len(eligible)
	l.grow(n)
	q, p, supported := l.q[:n], l.p[:n], l.supported[:n]
	features(l.x, b, i)
	chosen, propensity := b.Chosen[i], b.Propensity[i]

	// An action is supported when a declared floor covers it or the serving
	// policy gave it a chance. Where arms were mixed the serving policy's own
	// probabilities do not decide: the action may have come from another arm, if
	// any ever took it.
	known := len(probabilities) == n && !math.IsNaN(probabilities[0])
	mixed := known && math.Abs(probabilities[chosen]-propensity) > 1e-12
	floored := b.Floor[i] >= l.support
	best, nothing := -1, -1
	target := l.best[fold]
	l.chosen = target >= 0
	actions := l.actions[:n]
	for k, e := range eligible {
		actions[k] = local[e]
	}
	l.model.predict(q, part, actions, l.x)
	for k, a := range actions {
		l.predicted.see(q[k])
		switch {
		case floored:
			supported[k] = true
		case mixed || !known:
			supported[k] = l.tried[a]
		default:
			supported[k] = probabilities[k] >= l.support
		}
		if a == target {
			best = k
		}
		if a == l.nothing {
			nothing = k
		}
	}
	supported[chosen] = propensity >= l.support
	if best < 0 {
		best = nothing
	}

	l.uplift.add(eligible, local, q, supported, chosen, nothing, propensity, b.Reward[i], b.Matched[i])
	if l.tree != nil && b.Width > 0 && b.Width == l.model.width {
		for k := range q {
			l.p[k] = math.NaN()
			if supported[k] {
				l.p[k] = q[k]
			}
		}
		l.p[chosen] += (b.Reward[i] - q[chosen]) / propensity
		l.tree.add(l.id, b.X[i*b.Width:(i+1)*b.Width], len(l.tried), eligible, local, p, nothing, chosen, propensity, b.Matched[i])
	}
	if err := l.segmenter.read(b, i); err != nil {
		return err
	}
	logged := q[chosen] // what ran, by the model
	if known {
		logged = 0
		for k, μ := range probabilities {
			logged += μ * q[k]
		}
	}
	l.overlap.rows++
	l.overlap.taken[local[eligible[chosen]]]++
	if l.columns != nil {
		l.columns.begin(b, i, part, local, l.x)
	}
	row := estimators.Row{Reward: b.Reward[i], Q: q[chosen], Matched: b.Matched[i], Propensity: propensity}
	for c, candidate := range l.candidates {
		if err := candidate.Distribution(p, b, i); err != nil {
			t := l.tallies[c]
			if t.unanswered.take(err) {
				// What the candidate would do is not known: no mass is supported, and
				// the model takes it for what ran. The report bounds what that hides.
				row.Weight, row.Support, row.QPolicy = 0, 0, logged
				if l.columns != nil {
					l.columns.unanswered(c, &row, t.extras)
				}
				t.add(&row, &row, 0, 0, b, i, l.segmenter)
				t.segments.lacks(l.segmenter)
				continue
			}
			return nextbest.Errorf(nextbest.CodeOf(err), "candidate %s: decision %s: %w", candidate.Name(), b.Decision[i], err)
		}
		would := l.overlap.mass[c]
		var total, mass, value float64
		for k, π := range p {
			if !(π >= 0) {
				return rowErrorf(b, i, "candidate %s gives %s the probability %v", candidate.Name(), b.Actions[eligible[k]], π)
			}
			total += π
			would[local[eligible[k]]] += π
			value += π * q[k]
			if supported[k] {
				mass += π
			}
		}
		if !(math.Abs(total-1) <= 1e-6) {
			return rowErrorf(b, i, "candidate %s gives probabilities that sum to %v", candidate.Name(), total)
		}
		if math.Abs(total-mass) < 1e-9 {
			mass = 1 // rounding is not missing support
		}
		row.Weight = 0
		if supported[chosen] {
			row.Weight = p[chosen] / propensity
		}
		row.Support, row.QPolicy = mass, value
		if l.columns != nil {
			l.columns.candidate(c, &row, p, l.tallies[c].extras)
		}
		own, square, largest := row, math.NaN(), math.NaN()
		if known {
			own.Weight, own.Support = l.own(p, probabilities, chosen)
			square, largest = possible(p, probabilities, l.support)
		}
		l.tallies[c].add(&row, &own, square, largest, b, i, l.segmenter)
	}

	l.single(l.fixed, &row, best, chosen, propensity, q, supported)
	if l.columns != nil {
		l.columns.weigh(len(l.candidates), &row)
	}
	l.single(l.idle, &row, nothing, chosen, propensity, q, supported)
	for k, a := range l.always {
		at := slices.IndexFunc(eligible, func(e uint32) bool { return local[e] == a })
		if at < 0 {
			at = nothing
		}
		l.single(l.tallies[len(l.candidates)+3+k], &row, at, chosen, propensity, q, supported)
	}

	row.Weight, row.Support, row.QPolicy = 1, 1, logged
	l.logged.take(&row)
	// What ran earned its rewards: its DR is their mean, without a model.
	l.logged.customer.Correction += row.Q - row.QPolicy
	return nil
}

// own returns the weight of a row's action and the supported mass of a
// candidate's distribution p by the probabilities of the policy that served.
func (l *lane) own(p, probabilities []float64, chosen int) (weight, support float64) {
	support = 1
	for k, μ := range probabilities {
		if μ < l.support {
			support -= p[k]
		}
	}
	if support = max(support, 0); support > 1-1e-9 {
		support = 1 // rounding is not missing support
	}
	if μ := probabilities[chosen]; μ >= l.support {
		weight = p[chosen] / μ
	}
	return weight, support
}

// single adds a row to a policy that takes one action for certain; without the
// action its whole mass is off support.
func (l *lane) single(t *tally, row *estimators.Row, k, chosen int, propensity float64, q []float64, supported []bool) {
	row.Weight, row.Support, row.QPolicy = 0, 0, 0
	if k >= 0 {
		row.QPolicy = q[k]
		if supported[k] {
			row.Support = 1
			if k == chosen {
				row.Weight = 1 / propensity
			}
		}
	}
	t.take(row)
}

func (l *lane) grow(n int) {
	if n > len(l.q) {
		l.q, l.p, l.supported, l.actions = make([]float64, n), make([]float64, n), make([]bool, n), make([]int32, n)
	}
}

func (l *lane) merge(o *lane) {
	for i, t := range l.tallies {
		t.merge(o.tallies[i])
	}
	l.pairs.merge(o.pairs)
	l.uplift.merge(o.uplift)
	if l.tree != nil {
		l.tree.merge(o.tree)
	}
	l.rows += o.rows
	l.predicted.merge(o.predicted)
	l.overlap.merge(o.overlap)
	if l.columns != nil {
		l.columns.merge(o.columns)
	}
}
