package main

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"nextbest"
	"nextbest/bandit"
	"nextbest/experiments"
	"nextbest/internal/api"
	"nextbest/internal/decisions"
	"nextbest/internal/learning"
	"nextbest/logging"
)

// The adapters below give the API the platform's parts in the shape that the
// API asks for; none of them decides anything.

// outcomes takes impressions through the pipeline, which keeps the contact
// history, and rewards straight to the journal.
type outcomes struct{ p *platform }

// Impressions records what became of decisions, all or none.
func (o outcomes) Impressions(ctx context.Context, is []nextbest.Impression) (uint64, error) {
	return o.p.pipeline.Impressions(ctx, is)
}

// Rewards records rewards, all or none.
func (o outcomes) Rewards(ctx context.Context, rs []nextbest.Reward) (uint64, error) {
	return o.p.journal.Rewards(ctx, rs)
}

// pseudonyms maps identifiers by the newest definitions.
type pseudonyms struct{ d *definitions }

// Pseudonym returns the log's name for a customer.
func (s pseudonyms) Pseudonym(kind, id string) (string, error) {
	if kind == "" {
		kind = decisions.DefaultType
	}
	return s.d.Catalogue().Pseudonym(kind, id)
}

// checker judges a definition against all others.
type checker struct{ d *definitions }

// Check refuses what does not fit.
func (c checker) Check(_ context.Context, rec nextbest.Record) error {
	return c.d.Catalogue().Validate(nextbest.Change{Kind: rec.Kind, ID: rec.ID, Document: rec.Document, Deleted: rec.Deleted, Actor: rec.Actor, Reason: rec.Reason})
}

// rowLog reads single rows for the API.
type rowLog struct{ store *logging.Store }

// Decision returns every slot of one decision.
func (l rowLog) Decision(ctx context.Context, id uuid.UUID) (slots []nextbest.Decision, err error) {
	ctx, cancel := context.WithTimeout(ctx, mostRequest)
	defer cancel()
	err = l.store.Decisions(ctx, logging.DecisionQuery{IDs: []uuid.UUID{id}}, func(d *nextbest.Decision) error {
		slots = append(slots, *d)
		return nil
	})
	return slots, err
}

// Unmatched returns rewards that belong to no decision.
func (l rowLog) Unmatched(ctx context.Context, q api.UnmatchedQuery) ([]api.UnmatchedReward, error) {
	ctx, cancel := context.WithTimeout(ctx, mostRequest)
	defer cancel()
	found, err := l.store.Unmatched(ctx, logging.UnmatchedQuery{Kind: q.Kind, From: q.From, To: q.To, Limit: q.Limit})
	out := make([]api.UnmatchedReward, len(found))
	for i, r := range found {
		out[i] = api.UnmatchedReward{ID: r.ID, Kind: r.Kind, Value: r.Value, Time: r.Time, Customer: r.Customer, Why: r.Why}
		if r.DecisionID != uuid.Nil {
			out[i].DecisionID = &r.DecisionID
		}
	}
	return out, err
}

// Traffic counts a placement's decisions since a time.
func (l rowLog) Traffic(ctx context.Context, placement string, since time.Time, window time.Duration) (api.Traffic, error) {
	t, err := l.store.Traffic(ctx, logging.Span{Placement: placement, Source: "live", From: since}, window)
	return api.Traffic(t), err
}

// SQL runs one SELECT on the documented views.
func (l rowLog) SQL(ctx context.Context, query string) (api.SQLResult, error) {
	found, err := l.store.SQL(ctx, query, logging.SQLLimits{})
	if err != nil {
		return api.SQLResult{}, err
	}
	out := api.SQLResult{Columns: make([]api.SQLColumn, len(found.Columns)), Rows: found.Rows}
	for i, c := range found.Columns {
		out.Columns[i] = api.SQLColumn(c)
	}
	return out, nil
}

// The live trainer asks the log what changed instead of learning all of it
// again.
var _ learning.Touched = (*logging.Store)(nil)

// trainer makes models on request.
type trainer struct {
	p *platform
	t *learning.Trainer
}

// Train learns from everything that was acknowledged before the call.
func (t trainer) Train(ctx context.Context, a api.Training) (nextbest.Record, error) {
	if _, err := t.p.catchUp(ctx, mostRequest); err != nil {
		return nextbest.Record{}, err
	}
	return t.t.Train(ctx, learning.Request{Policy: a.Policy, Placement: a.Placement, Objective: a.Objective, From: a.From, To: a.To,
		MatureAt: a.MatureAt, Split: a.Split, Source: a.Source, Base: a.Base, Actor: a.Actor, Reason: a.Reason})
}

// Migrate makes a model out of another policy version's.
func (t trainer) Migrate(ctx context.Context, m api.Migration) (nextbest.Record, error) {
	return t.t.Migrate(ctx, learning.Migration{Policy: m.Policy, From: learning.Origin{Policy: m.From, Model: m.Model}, Actor: m.Actor, Reason: m.Reason})
}

// Moments takes moments from everything that was acknowledged before the call.
func (t trainer) Moments(ctx context.Context, definition []byte, from api.MomentsFrom) ([]byte, error) {
	if _, err := t.p.catchUp(ctx, mostRequest); err != nil {
		return nil, err
	}
	return t.t.Moments(ctx, definition, from.Placement, from.From, from.To)
}

// weights shows what a model has learned.
type weights struct{ d *definitions }

// Weights returns each action's weights by feature name.
func (w weights) Weights(ctx context.Context, rec nextbest.Record) (any, error) {
	m, err := learning.ParseModel(rec)
	if err != nil {
		return nil, err
	}
	blob, err := w.d.Blob(ctx, m.Hash)
	if err != nil {
		return nil, err
	}
	model, err := bandit.UnmarshalModel(blob)
	if err != nil {
		return nil, err
	}
	spec, err := w.d.Catalogue().Spec(m.Policy)
	if err != nil {
		return nil, err
	}
	schema := bandit.BiasAlone()
	if spec.Features != "" {
		ref, err := nextbest.ParseRef(spec.Features)
		if err != nil {
			return nil, err
		}
		if schema, err = w.d.Catalogue().Schema(ref); err != nil {
			return nil, err
		}
	}
	actions, err := model.Weights(spec, schema)
	return map[string]any{"actions": actions}, err
}

// verifier replays the log.
type verifier struct{ p *platform }

// Verify replays a range of the log by the newest definitions, old versions
// included.
func (v verifier) Verify(ctx context.Context, a api.Verification, progress func(done int64)) (api.Verified, error) {
	if _, err := v.p.catchUp(ctx, mostBacklog); err != nil {
		return api.Verified{}, err
	}
	found, err := decisions.Verify(ctx, v.p.definitions.Catalogue(), func(each func(*nextbest.Decision) error) error {
		return v.p.store.Decisions(ctx, logging.DecisionQuery{Placement: a.Placement, From: a.From, To: a.To}, each)
	}, progress)
	if err != nil {
		return api.Verified{}, err
	}
	out := api.Verified{Checked: found.Checked, Identical: found.Identical, Skipped: found.Skipped}
	for _, d := range found.Differences {
		out.Different = append(out.Different, api.Difference{DecisionID: d.Decision, Slot: d.Slot, What: d.What + ": logged " + d.Logged + ", replayed " + d.Replayed})
	}
	return out, nil
}

// lifecycle moves experiments and placements.
type lifecycle struct{ s *experiments.Service }

// Apply carries out one command and returns the record it wrote.
func (l lifecycle) Apply(ctx context.Context, c api.Command) (nextbest.Record, error) {
	switch c.Verb {
	case "start":
		return l.s.Start(ctx, c.ID, c.Actor, c.Reason)
	case "ramp":
		return l.s.Ramp(ctx, c.ID, c.Ramp, c.Actor, c.Reason)
	case "stop":
		return l.s.Stop(ctx, c.ID, c.Actor, c.Reason)
	case "promote":
		if _, err := l.s.Promote(ctx, experiments.PromoteRequest{Experiment: c.ID, Arm: c.Arm, Model: c.Model, Evaluation: c.Evaluation, Actor: c.Actor, Reason: c.Reason}); err != nil {
			return nextbest.Record{}, err
		}
		_, rec, err := l.s.Get(c.ID)
		return rec, err
	}
	return nextbest.Record{}, nextbest.Errorf(nextbest.Internal, "unknown command %q", c.Verb)
}

// Undo takes back the last step at a placement.
func (l lifecycle) Undo(ctx context.Context, c api.Command) (placement nextbest.Record, ended string, err error) {
	done, err := l.s.Rollback(ctx, c.ID, c.Actor, c.Reason)
	if err != nil {
		return placement, "", err
	}
	placement, ok := l.s.Definitions.Version(nextbest.KindPlacement, c.ID, done.Version)
	if !ok {
		return placement, "", nextbest.Errorf(nextbest.Internal, "placement %s@%d is not there after the rollback", c.ID, done.Version)
	}
	return placement, done.Experiment, nil
}

// experimentEvidence answers how an experiment is doing.
type experimentEvidence struct{ s *experiments.Service }

// Gates judges a promotion without carrying it out.
func (e experimentEvidence) Gates(ctx context.Context, id, arm string, model uint64, evaluation string) (any, error) {
	gates, err := e.s.Gates(ctx, experiments.PromoteRequest{Experiment: id, Arm: arm, Model: model, Evaluation: evaluation, Actor: api.Who(ctx).Key})
	if err != nil {
		return nil, err
	}
	return map[string]any{"arm": arm, "passed": experiments.Passed(gates), "gates": gates}, nil
}

// Status returns where an experiment stands.
func (e experimentEvidence) Status(ctx context.Context, id string) (any, error) {
	return e.s.Status(ctx, id)
}

// mostProbe is how long an engine may take to say that it is there.
const mostProbe = 3 * time.Second

// readiness names what this replica needs to serve.
type readiness struct{ p *platform }

// Ready asks each part whether it works.
func (r readiness) Ready(ctx context.Context) []api.Dependency {
	ctx, cancel := context.WithTimeout(ctx, mostProbe)
	defer cancel()
	check := func(name string, err error) api.Dependency {
		d := api.Dependency{Name: name, OK: err == nil}
		if err != nil {
			d.Detail = err.Error()
		}
		return d
	}
	_, journal := r.p.journal.Last(ctx)
	if journal == nil && r.p.journal.Failing() {
		journal = errors.New("the newest events could not be stored")
	}
	history := api.Dependency{Name: "contact history", OK: r.p.contacts.Ready(), Optional: true}
	if !history.OK {
		history.Detail = "being rebuilt from the log; capped actions are left out until then"
	}
	log := check("ClickHouse", r.p.store.Ping(ctx))
	log.Optional = true // decisions go on, the journal holds them
	whole := api.Dependency{Name: "log complete", OK: r.p.gap == "", Detail: r.p.gap, Optional: true}
	return []api.Dependency{check("journal", journal), log, whole, history}
}
