package offline

import (
	"context"
	"errors"
	"math"

	"nextbest"
)

// groundwork is what a pass between the first and the last learns, where a
// request needs it: what depends on the blocks of time, which the first pass
// finds, or on the candidates' distributions.
type groundwork struct {
	blocks    timeBlocks
	rows      *modelRows        // by block of time; nil where the model is cross-fitted by customer
	stability *stabilityTotals  // nil unless weighted AIPW is computed
	mrdr      []*mrdrStatistics // by candidate; nil unless asked for
	lists     *listStatistics   // nil unless asked for
}

// needsGroundwork reports whether a request needs it.
func (r *Request) needsGroundwork() bool {
	return needsBlocks(r) || r.asks("mrdr") || r.asks("cascade_dr")
}

// Passes returns how often a run goes through the rows: what its progress comes
// to, beside their number.
func (r *Request) Passes() int64 {
	if r.needsGroundwork() || r.CrossFit == "" && r.Adaptive {
		return 3
	}
	return 2
}

// groundwork makes the pass, or returns nothing where none is needed.
func (r *run) groundwork(ctx context.Context, s *study) (*groundwork, error) {
	req := r.req
	if s.rows == 0 || !req.needsGroundwork() {
		return &groundwork{}, nil
	}
	var blocks timeBlocks
	if s.times != nil {
		blocks = s.times.blocks(s.first)
	}
	forks, parallel := forkAll(req.Candidates)
	ls := [lanes]*groundLane{newGroundLane(r, s, blocks, req.Candidates), newGroundLane(r, s, blocks, forks)}
	candidates := ls[0].stability != nil || ls[0].mrdr != nil
	known := len(r.actions.names)
	err := r.pass(ctx, candidates && needContexts(req.Candidates, s.schemas()), parallel || !candidates, func(b *nextbest.Batch) error {
		if len(r.actions.names) != known || b.Width > 0 && s.model.width == 0 {
			return nextbest.Errorf(nextbest.Conflict, "the log changed while it was read: set the query's position (upto) and run again")
		}
		return nil
	}, func(k int, b *nextbest.Batch) error {
		for i, mine := range r.laneOf {
			if int(mine) != k {
				continue
			}
			if err := ls[k].row(b, i, r.foldOf[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, l := range ls {
		l.close()
	}
	for _, l := range ls[1:] {
		ls[0].merge(l)
	}
	return &ls[0].groundwork, nil
}

// groundLane is one lane of the pass.
type groundLane struct {
	groundwork
	byTime     bool
	support    float64
	width      int
	local      *dictionary
	nothing    int32
	candidates []Candidate
	x, p       []float64 // scratch
}

func newGroundLane(r *run, s *study, blocks timeBlocks, candidates []Candidate) *groundLane {
	req := r.req
	l := &groundLane{byTime: req.CrossFit == crossFitTime, support: req.MinSupport, width: s.model.width, local: r.actions,
		nothing: r.actions.find(nextbest.DoNothing), candidates: candidates, x: make([]float64, s.model.width)}
	l.blocks = blocks
	parts := req.Folds
	if l.byTime {
		parts = blocks.n()
		rows := newModelRows(req, parts, l.width)
		l.rows = &rows
	}
	if weighsByTime(req, s) {
		l.stability = newStabilityTotals(len(candidates)+1, blocks.n())
	}
	if req.asks("mrdr") {
		for range candidates {
			l.mrdr = append(l.mrdr, newMRDRStatistics(parts, l.width, l.byTime))
		}
	}
	if req.asks("cascade_dr") {
		l.lists = newListStatistics(parts, l.width, l.byTime)
	}
	return l
}

// row takes row i of a batch; fold is its customer's.
func (l *groundLane) row(b *nextbest.Batch, i int, fold uint8) error {
	eligible, probabilities := b.Row(i)
	if err := checkRow(b, i, eligible); err != nil {
		return err
	}
	chosen, propensity := b.Chosen[i], b.Propensity[i]
	taken := l.local.local[eligible[chosen]]
	part, block := fold, uint8(0)
	if l.blocks != nil {
		block = l.blocks.of(b.Time[i])
	}
	if l.byTime {
		part = block
		l.rows.add(b, i, part, taken, b.Reward[i])
	}
	if l.lists != nil {
		features(l.x, b, i)
		l.lists.add(b.Decision[i], part, taken, l.x, b.Reward[i])
	}
	if math.IsNaN(propensity) || l.stability == nil && l.mrdr == nil {
		return nil
	}
	features(l.x, b, i)
	if n := len(eligible); n > len(l.p) {
		l.p = make([]float64, n)
	}
	p := l.p[:len(eligible)]
	e := logged{probabilities, chosen, propensity}
	for c, candidate := range l.candidates {
		if err := candidate.Distribution(p, b, i); err != nil {
			var lacks Unanswered
			if errors.As(err, &lacks) {
				continue // the last pass counts them
			}
			return nextbest.Errorf(nextbest.CodeOf(err), "candidate %s: decision %s: %w", candidate.Name(), b.Decision[i], err)
		}
		if l.stability != nil {
			l.stability.add(c, block, e.secondMoment(p, l.support))
		}
		if l.mrdr != nil && propensity >= l.support {
			l.mrdr[c].add(part, taken, l.x, b.Reward[i], p[chosen]/propensity, propensity)
		}
	}
	if l.stability != nil {
		clear(p)
		for k, a := range eligible {
			if l.local.local[a] == l.nothing {
				p[k] = 1
			}
		}
		l.stability.add(len(l.candidates), block, e.secondMoment(p, l.support))
	}
	return nil
}

// close ends the lane.
func (l *groundLane) close() {
	if l.lists != nil {
		l.lists.close()
	}
}

func (l *groundLane) merge(o *groundLane) {
	if l.rows != nil {
		l.rows.merge(o.rows)
	}
	if l.stability != nil {
		l.stability.merge(o.stability)
	}
	for c := range l.mrdr {
		l.mrdr[c].merge(o.mrdr[c])
	}
	if l.lists != nil {
		l.lists.merge(o.lists)
	}
}

// model fits the reward model that the last pass predicts by.
func (r *run) model(s *study, g ranges) (*rewardModel, error) {
	rows := &s.modelRows
	if s.ground.rows != nil {
		rows = s.ground.rows
	}
	return rows.fit(r.req, s, len(r.actions.names), g.rewardMin, g.rewardMax)
}

// part is the part of the log whose model predicts row i.
func (r *run) part(i int, b *nextbest.Batch, s *study) int {
	if s.ground.rows != nil {
		return int(s.ground.blocks.of(b.Time[i]))
	}
	return int(r.foldOf[i])
}

// furnish gives a lane of the last pass what was asked for beyond the usual.
func (r *run) furnish(l *lane, s *study, g ranges) {
	l.columns = r.newColumns(s, s.ground, g)
	if s.ground.stability != nil {
		for _, t := range append(l.tallies[:len(l.candidates):len(l.candidates)], l.idle) {
			t.adaptive = newAdaptiveTally()
		}
	}
	if thresholds := distributionThresholds(r.req, s); thresholds != nil {
		for _, t := range l.tallies {
			if t != l.fixed {
				t.distribution = newDistributionTally(thresholds)
			}
		}
	}
}
