package learning

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"nextbest"
)

// target is one policy version that learns online, and from what.
type target struct {
	policy    nextbest.Ref
	placement string
	objective nextbest.Ref
	base      uint64 // model from which it started; 0: the prior
}

// liveModel is a policy version's statistics as this replica has learned them.
type liveModel struct {
	target    target
	student   *student
	objective nextbest.Objective
	from, to  time.Time // of the decisions learned from the placement
	since     time.Time // where the policy's sliding window began
	matureAt  time.Time // W
	upto      uint64    // P
	dirty     bool      // learned something that no published model has
	weighed   time.Time // W of the last published model
}

// aged reports whether the rows have faded so much since the last published
// model, by a tenth of a half-life, that another is due though nothing is new.
func (l *liveModel) aged() bool {
	h := l.student.job.Spec.HalfLife()
	return h > 0 && l.matureAt.Sub(l.weighed) >= h/10
}

// Status says how one online policy version is doing.
type Status struct {
	Policy    nextbest.Ref `json:"policy"`
	Placement string       `json:"placement"`
	Model     uint64       `json:"model"` // last published here; 0: none yet
	MatureAt  time.Time    `json:"mature_at,omitzero"`
	Upto      uint64       `json:"upto"`
	Rows      int64        `json:"rows"`
	Unusable  int64        `json:"unusable,omitempty"`
	Rebuilds  int64        `json:"rebuilds"`          // from zero, the first included
	Paused    string       `json:"paused,omitempty"`  // who chose the current model, and why
	Problem   string       `json:"problem,omitempty"` // why it does not learn
}

// Status returns every policy version that learns online, by name.
func (t *Trainer) Status() []Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.SortedFunc(maps.Values(t.status), func(a, b Status) int {
		return cmp.Or(cmp.Compare(a.Policy.ID, b.Policy.ID), cmp.Compare(a.Policy.Version, b.Policy.Version))
	})
}

// Run keeps every policy version that learns online up to date until ctx ends.
// It never spends more than a fifth of its time on passes, however long the log.
func (t *Trainer) Run(ctx context.Context) error {
	for {
		start := time.Now()
		if err := t.Pass(ctx); err != nil && ctx.Err() == nil {
			t.opts.Logger.Error("learning: a pass failed; it will be tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(max(t.opts.Interval, 4*time.Since(start))):
		}
	}
}

// Pass brings every policy version that learns online up to date once. One
// that fails does not keep the others from learning; Status has its problem,
// and the first error is returned.
func (t *Trainer) Pass(ctx context.Context) error {
	if t.opts.Lease != nil {
		held, err := t.opts.Lease.Hold(ctx, t.opts.Holder, 3*t.opts.Interval+time.Second)
		if err != nil || !held {
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	targets, problems := t.targets()
	for policy := range t.status {
		if _, ok := targets[policy]; !ok {
			delete(t.status, policy)
			delete(t.live, policy)
		}
	}
	var first error
	for _, policy := range slices.SortedFunc(maps.Keys(targets), func(a, b nextbest.Ref) int { return cmp.Compare(a.String(), b.String()) }) {
		err := problems[policy]
		if err == nil {
			err = t.update(ctx, targets[policy])
		}
		s := t.status[policy]
		s.Policy, s.Placement, s.Problem = policy, targets[policy].placement, ""
		if err != nil {
			s.Problem = err.Error()
			first = cmp.Or(first, err)
		}
		t.status[policy] = s
	}
	return first
}

// targets finds what learns online: placements, and the arms of running
// experiments. A policy version has one current model, so it can learn in one
// way only; where two ways are asked for, that is its problem.
func (t *Trainer) targets() (map[nextbest.Ref]target, map[nextbest.Ref]error) {
	found, problems := map[nextbest.Ref]target{}, map[nextbest.Ref]error{}
	add := func(g target) {
		old, there := found[g.policy]
		if there && old != g {
			problems[g.policy] = nextbest.Errorf(nextbest.Conflict, "policy %s is to learn online at placement %s from model %d and at placement %s from model %d; give each a policy version of its own",
				g.policy, old.placement, old.base, g.placement, g.base)
			return
		}
		found[g.policy] = g
	}
	for _, rec := range t.opts.Definitions.List(nextbest.KindPlacement) {
		var p placement
		if json.Unmarshal(rec.Document, &p) == nil && p.Learning == "online" {
			add(target{p.Policy, rec.ID, p.Objective, p.Model})
		}
	}
	for _, rec := range t.opts.Definitions.List(nextbest.KindExperiment) {
		var e struct {
			Placement nextbest.Ref `json:"placement"`
			State     string       `json:"state"`
			Arms      []placement  `json:"arms"`
		}
		if json.Unmarshal(rec.Document, &e) != nil || e.State != "running" {
			continue
		}
		p, err := t.placement(e.Placement.ID)
		for _, arm := range e.Arms {
			if arm.Learning != "online" {
				continue
			}
			if err != nil {
				problems[arm.Policy] = err
			}
			add(target{arm.Policy, e.Placement.ID, p.Objective, arm.Model})
		}
	}
	return found, problems
}

// update learns what is new for one target and publishes it.
func (t *Trainer) update(ctx context.Context, g target) error {
	// The pointer is read before the log: if it has moved by the time of the
	// compare-and-set, somebody else published, and this model changes nothing.
	current, hasCurrent := t.opts.Definitions.Get(nextbest.KindCurrent, ID(g.policy))
	p, w := t.opts.Position.Position(), t.now()
	if p == 0 {
		return nil // nothing is logged yet
	}
	var serving Current
	if hasCurrent {
		var err error
		if serving, err = parseCurrent(current); err != nil {
			return err
		}
	}
	status := t.status[g.policy]
	if status.Paused = ""; serving.Paused {
		status.Paused = current.Actor + ": " + current.Reason
		t.status[g.policy] = status
		return nil
	}
	live := t.live[g.policy]
	if err := t.advance(ctx, g, live, p, w); err != nil {
		delete(t.live, g.policy) // it may be half learned
		return err
	}
	live = t.live[g.policy]
	status = t.status[g.policy]
	status.Paused = ""
	status.MatureAt, status.Upto, status.Rows, status.Unusable = live.matureAt, live.upto, live.student.rows, live.student.unusable
	t.status[g.policy] = status
	live.dirty = live.dirty || serving.Model != status.Model // somebody else has moved the pointer
	// A sliding window that has left nothing is something to publish: what is
	// current remembers what it should not.
	if emptied := hasCurrent && !live.since.IsZero(); !live.dirty || live.student.rows == 0 && !emptied {
		return nil
	}
	return t.publishLive(ctx, live, current, serving.Model)
}

// advance brings the live statistics to (w, p), from zero where they cannot be
// continued.
func (t *Trainer) advance(ctx context.Context, g target, live *liveModel, p uint64, w time.Time) (err error) {
	if live == nil || live.target != g || p < live.upto {
		return t.fromZero(ctx, g, p, w)
	}
	if w.Before(live.matureAt) {
		w = live.matureAt // the clock was set back
	}
	if live.student.job.Spec.Since(w).After(live.since) {
		return t.fromZero(ctx, g, p, w) // rows fall out of the sliding window
	}
	if p > live.upto {
		touched := true
		if log, ok := t.opts.Log.(Touched); ok {
			q := live.query(live.from, live.to, p, live.matureAt)
			if touched, err = log.Touched(ctx, q, live.upto); err != nil {
				return err
			}
		}
		if touched {
			return t.fromZero(ctx, g, p, w)
		}
	}
	to := MatureBefore(w, live.objective.Window)
	before, unusable := live.student.rows, live.student.unusable
	if to.After(live.to) {
		if live.student.job.Spec.Ordered() {
			return t.fromZero(ctx, g, p, w) // in the order of the log, which is not that of time
		}
		if err := live.student.read(ctx, t.opts.Log, live.query(live.to, to, p, w)); err != nil {
			return err
		}
		live.to = to
	}
	live.upto, live.matureAt = p, w
	t.warnUnusable(g.policy, live.student.unusable-unusable, live.student.why)
	live.student.learner.Age(w)
	live.dirty = live.dirty || live.student.rows != before || live.aged()
	return nil
}

// fromZero learns a target from its base and its placement's rows.
func (t *Trainer) fromZero(ctx context.Context, g target, p uint64, w time.Time) error {
	m := Model{Policy: g.policy, Placement: g.placement, Objective: g.objective.String(), Base: g.base}
	objective, err := t.objective(m.Objective)
	if err != nil {
		return err
	}
	lineage, err := Lineage(t.opts.Definitions, g.policy, g.base)
	if err != nil {
		return err
	}
	m.Trained.From = after(m.Trained, lineage, g.placement)
	m.Trained.To, m.Trained.MatureAt, m.Trained.Upto = MatureBefore(w, objective.Window), w, p
	if m.Trained.From, err = t.since(m); err != nil {
		return err
	}
	job, err := t.job(ctx, m)
	if err != nil {
		return err
	}
	s, err := newStudent(job)
	if err != nil {
		return err
	}
	for _, q := range job.Queries {
		if err := s.read(ctx, t.opts.Log, q); err != nil {
			return err
		}
	}
	s.learner.Age(w)
	t.warnUnusable(g.policy, s.unusable, s.why)
	t.live[g.policy] = &liveModel{
		target: g, student: s, objective: objective, matureAt: w, upto: p,
		from: m.Trained.From, to: latest(m.Trained.From, m.Trained.To), since: job.Spec.Since(w), dirty: true,
	}
	status := t.status[g.policy]
	status.Rebuilds++
	t.status[g.policy] = status
	return nil
}

// query selects the placement's rows with from ≤ time < to as of (w, p).
func (l *liveModel) query(from, to time.Time, p uint64, w time.Time) nextbest.Query {
	return nextbest.Query{Placement: l.target.placement, From: from, To: to, MatureAt: w, Upto: p, Objective: l.objective, SkipSetAside: true}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// publishLive publishes the live statistics and moves the pointer to them,
// unless it has moved since or names a model that knows as much. The pointer
// never goes back in P, nor in W at the same P: W is a trainer's clock, and what a
// clock that was ahead has published gives way with the next event.
// current is the pointer's record as it was before the log was read, none at
// first, and number the model that it names.
func (t *Trainer) publishLive(ctx context.Context, live *liveModel, current nextbest.Record, number uint64) error {
	g := live.target
	var serving Model
	models, err := Lineage(t.opts.Definitions, g.policy, number)
	if err != nil {
		return err
	}
	if len(models) > 0 {
		serving = models[len(models)-1]
	}
	outcome := live.student.outcome()
	content, err := outcome.Model.MarshalBinary()
	if err != nil {
		return nextbest.Errorf(nextbest.Internal, "a model of %s: %w", g.policy, err)
	}
	hash, err := t.opts.Blobs.PutBlob(ctx, content)
	if err != nil {
		return err
	}
	same := serving.Number != 0 && serving.Placement == g.placement && serving.Objective == g.objective.String() && serving.Base == g.base
	switch {
	case serving.Trained.Upto > live.upto:
		return nil // the other trainer's log was ahead: this one's is to catch up first
	case same && (serving.Hash == hash || serving.Trained.Upto == live.upto && !serving.Trained.MatureAt.Before(live.matureAt)):
		t.published(live, serving.Number)
		return nil
	}
	if now, _ := t.opts.Definitions.Get(nextbest.KindCurrent, ID(g.policy)); now.Revision != current.Revision {
		return nil // another trainer was faster
	}
	rec, err := t.Publish(ctx, Model{
		Policy: g.policy, Placement: g.placement, Objective: g.objective.String(), Base: g.base,
		Trained: Trained{From: live.from, To: live.to, MatureAt: live.matureAt, Upto: live.upto, Rows: outcome.Rows},
	}, outcome.Model, t.opts.Actor, "learned online")
	if err != nil {
		return err
	}
	document, err := json.Marshal(Current{Model: rec.Version})
	if err != nil {
		return err
	}
	_, err = t.opts.Writer.Put(ctx, nextbest.Change{
		Kind: nextbest.KindCurrent, ID: ID(g.policy), Document: document,
		Actor: t.opts.Actor, Reason: "learned online", IfMatch: current.Revision,
	})
	switch nextbest.CodeOf(err) {
	case "":
		t.published(live, rec.Version)
		return nil
	case nextbest.Stale, nextbest.Conflict:
		return nil // another trainer was faster: this model is listed and serves nobody
	}
	return err
}

// published notes that a model with everything that live knows is current.
func (t *Trainer) published(live *liveModel, model uint64) {
	live.dirty, live.weighed = false, live.matureAt
	status := t.status[live.target.policy]
	status.Model = model
	t.status[live.target.policy] = status
}
