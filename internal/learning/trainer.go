package learning

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"nextbest"
	"nextbest/bandit"
)

// Options of a Trainer; all but the last six are needed.
type Options struct {
	Log         Log
	Position    Position
	Definitions Definitions
	Writer      Writer
	Blobs       Blobs

	Lease    Lease            // nil: this is the only replica, or doing work twice is no matter
	Interval time.Duration    // between live passes; 0: 10 s
	Actor    string           // who publishes live models; "": trainer
	Holder   string           // name of the lease; "": learning
	Logger   *slog.Logger     // nil: slog.Default
	Now      func() time.Time // nil: time.Now
}

// Trainer trains models on request and keeps those that learn online up to
// date. Safe for concurrent use.
type Trainer struct {
	opts Options

	mu     sync.Mutex // one live pass at a time
	live   map[nextbest.Ref]*liveModel
	status map[nextbest.Ref]Status
}

// New returns a Trainer.
func New(opts Options) (*Trainer, error) {
	if opts.Log == nil || opts.Position == nil || opts.Definitions == nil || opts.Writer == nil || opts.Blobs == nil {
		return nil, nextbest.Errorf(nextbest.Invalid, "a trainer needs a log, its position, definitions, a writer and a blob store")
	}
	if opts.Interval < 0 {
		return nil, nextbest.Errorf(nextbest.Invalid, "the trainer's interval must not be negative")
	}
	if opts.Interval == 0 {
		opts.Interval = 10 * time.Second
	}
	if opts.Actor == "" {
		opts.Actor = "trainer"
	}
	if opts.Holder == "" {
		opts.Holder = "learning"
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Trainer{opts: opts, live: map[nextbest.Ref]*liveModel{}, status: map[nextbest.Ref]Status{}}, nil
}

// Request asks for one model.
type Request struct {
	Policy    nextbest.Ref // with a version
	Placement string       // id, or id@version for the rows of that version alone
	Objective string       // id@version; "": the placement's
	From, To  time.Time    // of the decision; zero: open
	MatureAt  time.Time    // W; zero: now
	Split     *nextbest.Split
	Source    string // live, an import's name, or "" for all
	Base      uint64 // model to continue, whose rows are learned first; 0: none
	Actor     string
	Reason    string
}

// Train learns a model from the log up to now and publishes it; the record's
// version is the model's number. Errors: Invalid; NotFound where a definition
// does not exist; Conflict where there is nothing to learn from yet.
func (t *Trainer) Train(ctx context.Context, r Request) (nextbest.Record, error) {
	m := Model{Policy: r.Policy, Placement: r.Placement, Objective: r.Objective, Base: r.Base}
	if r.Actor == "" {
		return nextbest.Record{}, nextbest.FieldErrorf("actor", "training says who asked for it")
	}
	now := t.now()
	if r.MatureAt.IsZero() {
		r.MatureAt = now
	}
	if r.MatureAt.After(now) {
		return nextbest.Record{}, nextbest.FieldErrorf("mature_at", "%s is in the future: what has not happened cannot have matured", r.MatureAt.Format(time.RFC3339))
	}
	if m.Objective == "" {
		p, err := t.placement(placementID(r.Placement))
		if err != nil {
			return nextbest.Record{}, err
		}
		m.Objective = p.Objective.String()
	}
	objective, err := t.objective(m.Objective)
	if err != nil {
		return nextbest.Record{}, err
	}
	m.Trained = Trained{From: r.From.UTC(), To: r.To.UTC(), MatureAt: r.MatureAt.UTC().Truncate(time.Microsecond), Upto: t.opts.Position.Position(), Split: r.Split, Source: r.Source}
	if m.Trained.Upto == 0 {
		return nextbest.Record{}, nextbest.Errorf(nextbest.Conflict, "nothing has been logged yet, so there is nothing to learn from")
	}
	if closed := MatureBefore(m.Trained.MatureAt, objective.Window); m.Trained.To.IsZero() || m.Trained.To.After(closed) {
		m.Trained.To = closed
	}
	lineage, err := Lineage(t.opts.Definitions, m.Policy, m.Base)
	if err != nil {
		return nextbest.Record{}, err
	}
	m.Trained.From = after(m.Trained, lineage, m.Placement)
	if m.Trained.From, err = t.since(m); err != nil {
		return nextbest.Record{}, err
	}
	job, err := t.job(ctx, m)
	if err != nil {
		return nextbest.Record{}, err
	}
	outcome, err := Train(ctx, t.opts.Log, job)
	if err != nil {
		return nextbest.Record{}, err
	}
	if outcome.Rows == 0 {
		if outcome.Unusable > 0 {
			return nextbest.Record{}, nextbest.Errorf(nextbest.Conflict, "none of the %d rows fits the features %s (the first: %w); train with a schema that fits the contexts", outcome.Unusable, job.Spec.Features, outcome.Why)
		}
		if aside, err := t.setAside(ctx, job); err != nil {
			return nextbest.Record{}, err
		} else if aside > 0 {
			return nextbest.Record{}, nextbest.Errorf(nextbest.Conflict, "placement %s has no mature decision to learn from but %d that are set aside for evaluation, which are never learned from; choose another range", r.Placement, aside)
		}
		return nextbest.Record{}, nextbest.Errorf(nextbest.Conflict, "placement %s has no mature decision to learn from: windows of %s had to close by %s", r.Placement, objective.Window, m.Trained.MatureAt.Format(time.RFC3339))
	}
	m.Trained.Rows = outcome.Rows
	if m.Trained.SetAside, err = t.setAside(ctx, job); err != nil {
		return nextbest.Record{}, err
	}
	return t.Publish(ctx, m, outcome.Model, r.Actor, r.Reason)
}

// setAside counts what a job leaves out of its own and its base's ranges, 0 where
// the log does not say.
func (t *Trainer) setAside(ctx context.Context, job Job) (rows int64, err error) {
	log, ok := t.opts.Log.(SetAside)
	if !ok {
		return 0, nil
	}
	for _, q := range job.Queries {
		n, err := log.SetAside(ctx, q)
		if err != nil {
			return 0, err
		}
		rows += n
	}
	return rows, nil
}

// Publish stores a model's parameters and its record. The record's version is
// the model's number.
func (t *Trainer) Publish(ctx context.Context, m Model, parameters *bandit.Model, actor, reason string) (nextbest.Record, error) {
	return t.PublishAfter(ctx, m, parameters, actor, reason, nextbest.AnyRevision)
}

// PublishAfter publishes a model only where last is the revision of the policy
// version's newest one, 0 where it has none; otherwise Stale or Conflict.
func (t *Trainer) PublishAfter(ctx context.Context, m Model, parameters *bandit.Model, actor, reason string, last uint64) (nextbest.Record, error) {
	spec, _, err := t.policy(m.Policy)
	if err != nil {
		return nextbest.Record{}, err
	}
	m.Features = spec.Features
	content, err := parameters.MarshalBinary()
	if err != nil {
		return nextbest.Record{}, nextbest.Errorf(nextbest.Internal, "a model of %s: %w", m.Policy, err)
	}
	if m.Hash, err = t.opts.Blobs.PutBlob(ctx, content); err != nil {
		return nextbest.Record{}, err
	}
	document, err := json.Marshal(m)
	if err != nil {
		return nextbest.Record{}, nextbest.Errorf(nextbest.Internal, "a model of %s: %w", m.Policy, err)
	}
	return t.opts.Writer.Put(ctx, nextbest.Change{
		Kind: nextbest.KindModel, ID: ID(m.Policy), Document: document,
		Actor: actor, Reason: reason, IfMatch: last,
	})
}

// Reproduce learns a published model again from its record alone. What it gives
// has the published parameters up to the order of floating-point sums.
func (t *Trainer) Reproduce(ctx context.Context, policy nextbest.Ref, number uint64) (*Outcome, error) {
	models, err := Lineage(t.opts.Definitions, policy, number)
	if err != nil {
		return nil, err
	}
	if len(models) == 0 {
		return nil, nextbest.Errorf(nextbest.NotFound, "policy %s has no model 0", policy)
	}
	return t.again(ctx, models[len(models)-1], nil)
}

// again learns a model again from its record: from its rows, or from those of the
// model that it was migrated from.
func (t *Trainer) again(ctx context.Context, m Model, progress func(rows int64)) (*Outcome, error) {
	if from := m.MigratedFrom; from != nil {
		source, _, err := t.parameters(ctx, from.Policy, from.Model)
		if err != nil {
			return nil, err
		}
		outcome, err := t.again(ctx, source, progress)
		if err == nil {
			outcome.Model, err = t.migrated(outcome.Model, from.Policy, m.Policy)
		}
		return outcome, err
	}
	job, err := t.job(ctx, m)
	if err != nil {
		return nil, err
	}
	job.Progress = progress
	return Train(ctx, t.opts.Log, job)
}

// since returns the time of the first decision that a model learns from of its
// own range: where its policy has a sliding window, not before that.
func (t *Trainer) since(m Model) (time.Time, error) {
	spec, _, err := t.policy(m.Policy)
	return latest(m.Trained.From, spec.Since(m.Trained.MatureAt)), err
}

// job returns what a model depends on: its base's rows, or the parameters of one
// that was migrated, then its own rows. A sliding
// window ends at the model's W for all of them; a range that it leaves nothing
// of has no query.
func (t *Trainer) job(ctx context.Context, m Model) (Job, error) {
	spec, schema, err := t.policy(m.Policy)
	if err != nil {
		return Job{}, err
	}
	job := Job{Policy: m.Policy, Spec: spec, Schema: schema}
	models, err := Lineage(t.opts.Definitions, m.Policy, m.Base)
	if err != nil {
		return Job{}, err
	}
	since := spec.Since(m.Trained.MatureAt)
	for _, m := range append(models, m) {
		if m.MigratedFrom != nil {
			if _, job.Start, err = t.parameters(ctx, m.Policy, m.Number); err != nil {
				return Job{}, err
			}
			continue
		}
		objective, err := t.objective(m.Objective)
		if err != nil {
			return Job{}, err
		}
		from := latest(m.Trained.From, since)
		if !m.Trained.To.IsZero() && !from.Before(m.Trained.To) {
			continue
		}
		job.Queries = append(job.Queries, nextbest.Query{
			Placement: m.Placement, From: from, To: m.Trained.To,
			MatureAt: m.Trained.MatureAt, Upto: m.Trained.Upto, Objective: objective, Split: m.Trained.Split, Source: m.Trained.Source,
		})
	}
	return job, nil
}

// policy returns a policy version's specification and feature schema.
func (t *Trainer) policy(ref nextbest.Ref) (bandit.Spec, *bandit.Schema, error) {
	rec, err := t.version(nextbest.KindPolicy, ref)
	if err != nil {
		return bandit.Spec{}, nil, err
	}
	spec, err := bandit.ParseSpec(rec.Document)
	if err != nil || spec.Features == "" {
		return spec, nil, err
	}
	features, err := nextbest.ParseRef(spec.Features)
	if err != nil {
		return spec, nil, err
	}
	if rec, err = t.version(nextbest.KindFeatures, features); err != nil {
		return spec, nil, err
	}
	schema, err := bandit.NewSchema(rec.Document)
	return spec, schema, err
}

func (t *Trainer) objective(name string) (nextbest.Objective, error) {
	ref, err := nextbest.ParseRef(name)
	if err != nil {
		return nextbest.Objective{}, err
	}
	rec, err := t.version(nextbest.KindObjective, ref)
	if err != nil {
		return nextbest.Objective{}, err
	}
	var o nextbest.Objective
	if err := decode(rec.Document, &o); err != nil {
		return nextbest.Objective{}, nextbest.Errorf(nextbest.Invalid, "objective %s: %w", name, err)
	}
	o.ID = ref.ID
	return o, nil
}

// version returns one version of a definition. Models and what they were
// learned from name versions, so that they never change their meaning.
func (t *Trainer) version(kind nextbest.Kind, ref nextbest.Ref) (nextbest.Record, error) {
	if ref.Version == 0 {
		return nextbest.Record{}, nextbest.Errorf(nextbest.Invalid, "%s %q must name a version, such as %s@1", kind, ref, ref.ID)
	}
	rec, ok := t.opts.Definitions.Version(kind, ref.ID, ref.Version)
	if !ok || rec.Deleted {
		return nextbest.Record{}, nextbest.Errorf(nextbest.NotFound, "%s %s does not exist", kind, ref)
	}
	return rec, nil
}

// placement holds what the trainer reads of a placement; the rest is the
// business of the package that owns the kind.
type placement struct {
	Objective nextbest.Ref `json:"objective"`
	Policy    nextbest.Ref `json:"policy"`
	Model     uint64       `json:"model"`
	Learning  string       `json:"learning"`
}

func (t *Trainer) placement(id string) (placement, error) {
	rec, ok := t.opts.Definitions.Get(nextbest.KindPlacement, id)
	if !ok {
		return placement{}, nextbest.Errorf(nextbest.NotFound, "placement %q does not exist", id)
	}
	var p placement
	if err := json.Unmarshal(rec.Document, &p); err != nil {
		return placement{}, nextbest.Errorf(nextbest.Invalid, "placement %s: %w", id, err)
	}
	return p, nil
}

func (t *Trainer) now() time.Time { return t.opts.Now().UTC().Truncate(time.Microsecond) }

// warnUnusable says once for each training that rows could not be used.
func (t *Trainer) warnUnusable(policy nextbest.Ref, unusable int64, why error) {
	if unusable > 0 {
		t.opts.Logger.Warn("learning: rows do not fit the policy's features and are not learned from", "policy", policy.String(), "rows", unusable, "first", fmt.Sprint(why))
	}
}
