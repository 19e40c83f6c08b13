package main

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"nextbest"
	"nextbest/experiments"
	"nextbest/internal/api"
	"nextbest/internal/console"
	"nextbest/logging"
)

// overview assembles what the console shows. The answer is kept for a moment,
// so that many open pages cost as much as one.
type overview struct{ s *server }

const (
	overviewKept    = 2 * time.Second
	overviewLimit   = 15 * time.Second
	overviewBuckets = 24
	mostExclusions  = 8
)

// kept is the newest overview. turn holds one token, for whoever assembles the
// next.
type kept struct {
	turn chan struct{}
	at   time.Time
	last *console.Overview
}

// Overview returns the console's figures.
func (o overview) Overview(ctx context.Context) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, overviewLimit)
	defer cancel()
	k := &o.s.kept
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return nil, nextbest.Errorf(nextbest.Unavailable, "the overview takes longer than %s; is ClickHouse there? %w", overviewLimit, ctx.Err())
	}
	if k.last != nil && time.Since(k.at) < overviewKept {
		return k.last, nil
	}
	v, err := o.assemble(ctx)
	if err != nil && ctx.Err() != nil {
		err = nextbest.Errorf(nextbest.Unavailable, "the overview takes longer than %s; is ClickHouse there? %w", overviewLimit, err)
	}
	if err != nil {
		return nil, err
	}
	k.at, k.last = time.Now(), v
	return v, nil
}

func (o overview) assemble(ctx context.Context) (*console.Overview, error) {
	out := &console.Overview{Time: time.Now().UTC(), Placements: []console.Placement{}, Experiments: []console.Experiment{}}
	var unmatched int64
	for _, rec := range o.s.definitions.List(nextbest.KindPlacement) {
		p, counts, err := o.placement(ctx, rec)
		if err != nil {
			return nil, err
		}
		out.Placements = append(out.Placements, *p)
		unmatched = max(unmatched, counts.Unmatched)
	}
	slices.SortStableFunc(out.Placements, func(a, b console.Placement) int { return int(b.Decisions - a.Decisions) })
	for _, rec := range o.s.definitions.List(nextbest.KindExperiment) {
		out.Experiments = append(out.Experiments, o.experiment(ctx, rec))
	}
	var err error
	out.Health, err = o.health(ctx, unmatched)
	return out, err
}

// placement gathers one placement's figures since it was defined.
func (o overview) placement(ctx context.Context, rec nextbest.Record) (*console.Placement, *logging.Counts, error) {
	store, catalogue := o.s.store, o.s.definitions.Catalogue()
	definition, err := catalogue.Placement(rec.Ref())
	if err != nil {
		return nil, nil, err
	}
	objective, err := catalogue.Objective(definition.Objective)
	if err != nil {
		return nil, nil, err
	}
	from := o.s.definitions.History(nextbest.KindPlacement, rec.ID)[0].Time
	bucket := max(time.Since(from)/overviewBuckets, time.Second).Round(time.Second)
	span := logging.Span{Placement: rec.ID, From: from}
	p := &console.Placement{ID: rec.ID, Objective: definition.Objective.String(), From: from, Value: []console.Bucket{}, Mix: []console.Mix{}, Exclusions: []console.Excluded{}}
	counts, err := store.Counts(ctx, span)
	if err != nil {
		return nil, nil, err
	}
	p.Decisions, p.Customers = counts.Decisions, counts.Customers
	for status, n := range counts.Impressions {
		if status == nextbest.Shown || status == nextbest.Delivered {
			p.Impressions += n
		}
	}
	rewards, err := store.AttributedRewards(ctx, span, objective.Window.Std())
	if err != nil {
		return nil, nil, err
	}
	for _, n := range rewards {
		p.Rewards += n
	}
	if err := o.mix(ctx, p, span, bucket); err != nil {
		return nil, nil, err
	}
	excluded, err := store.Exclusions(ctx, span, mostExclusions)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range excluded {
		p.Exclusions = append(p.Exclusions, console.Excluded{Action: e.Action, Reason: string(e.Reason), Count: e.Count})
	}
	return p, &counts, o.value(ctx, p, logging.ValueQuery{Placement: rec.ID, From: from, Objective: *objective, Holdout: true, Mature: true}, bucket)
}

func (o overview) mix(ctx context.Context, p *console.Placement, span logging.Span, bucket time.Duration) error {
	mix, err := o.s.store.ActionMix(ctx, span, bucket)
	if err != nil {
		return err
	}
	var idle int64
	for _, m := range mix {
		if n := len(p.Mix); n == 0 || !p.Mix[n-1].Time.Equal(m.Time) {
			p.Mix = append(p.Mix, console.Mix{Time: m.Time, Actions: map[string]int64{}})
		}
		p.Mix[len(p.Mix)-1].Actions[m.Action] = m.Decisions
		if m.Action == nextbest.DoNothing {
			idle += m.Decisions
		}
	}
	if p.Decisions > 0 {
		p.DoNothing = float64(idle) / float64(p.Decisions)
	}
	return nil
}

// value fills the value per customer, in all and over time.
func (o overview) value(ctx context.Context, p *console.Placement, q logging.ValueQuery, bucket time.Duration) error {
	whole, err := o.s.store.Values(ctx, q)
	if err != nil {
		return err
	}
	var treated, holdout console.Moments
	for _, v := range whole {
		m := console.Moments{Customers: v.Customers, Mean: v.Mean, SD: v.SD}
		if v.Arm == experiments.HoldoutArm {
			holdout = m
		} else {
			treated = m
		}
	}
	p.Treated, p.Holdout, p.Lift = console.MeanOf(treated), console.MeanOf(holdout), console.LiftOf(treated, holdout)
	q.Bucket = bucket
	values, err := o.s.store.Values(ctx, q)
	if err != nil {
		return err
	}
	for _, v := range values {
		if n := len(p.Value); n == 0 || !p.Value[n-1].Time.Equal(v.Time) {
			p.Value = append(p.Value, console.Bucket{Time: v.Time})
		}
		mean := console.MeanOf(console.Moments{Customers: v.Customers, Mean: v.Mean, SD: v.SD})
		if last := &p.Value[len(p.Value)-1]; v.Arm == experiments.HoldoutArm {
			last.Holdout = mean
		} else {
			last.Treated = mean
		}
	}
	return nil
}

// experiment gathers one experiment's evidence and the gates of its
// candidates, as somebody who did not write it would meet them.
func (o overview) experiment(ctx context.Context, rec nextbest.Record) console.Experiment {
	e := console.Experiment{ID: rec.ID}
	status, err := o.s.experiments.Status(ctx, rec.ID)
	if err != nil {
		e.Problem = err.Error()
		return e
	}
	e.Placement, e.State, e.Why = status.Placement, status.State, status.Reason
	if status.State == experiments.Draft {
		return e
	}
	e.Evidence, e.Gates = status.Evidence, map[string][]experiments.Gate{}
	for _, arm := range status.Evidence.Arms {
		if arm.Control {
			continue
		}
		approver := "somebody else"
		if status.State == experiments.Promoted {
			approver = status.Actor
		}
		gates, err := o.s.experiments.Gates(ctx, experiments.PromoteRequest{Experiment: rec.ID, Arm: arm.Arm, Model: arm.Model, Actor: approver})
		if err != nil {
			e.Problem = err.Error()
			continue
		}
		e.Gates[arm.Arm] = gates
	}
	return e
}

func (o overview) health(ctx context.Context, unmatched int64) (console.Health, error) {
	h := console.Health{Unmatched: unmatched}
	for _, d := range (readiness{o.s.platform}).Ready(ctx) {
		h.Dependencies = append(h.Dependencies, console.Dependency{Name: d.Name, OK: d.OK, Detail: d.Detail})
	}
	sink, err := o.s.sink.Stats(ctx)
	if err != nil {
		return h, err
	}
	h.LagMessages, h.DeadLetters = sink.Lag, sink.DeadLetters
	for _, rec := range o.s.definitions.List(api.KindVerification) {
		var job api.Job
		if json.Unmarshal(rec.Document, &job) != nil || job.State != "done" || h.Verified != nil && !rec.Time.After(h.Verified.Time) {
			continue
		}
		v := &console.Verified{Time: rec.Time}
		if json.Unmarshal(job.Result, v) == nil {
			h.Verified = v
		}
	}
	return h, nil
}
