package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"nextbest"
	"nextbest/estimators"
	"nextbest/experiments"
	"nextbest/internal/api"
	"nextbest/internal/decisions"
	"nextbest/internal/learning"
	"nextbest/offline"
)

// evaluator runs off-policy evaluations on the log, and reads finished ones as
// the evidence of experiments.
type evaluator struct{ p *platform }

// shared is a registered policy that several cores may ask at once.
type shared struct{ *decisions.Candidate }

// Fork returns the candidate itself.
func (s shared) Fork() offline.Candidate { return s }

// Evaluate runs one evaluation up to what is in ClickHouse now.
func (e evaluator) Evaluate(ctx context.Context, ask api.Evaluation, progress api.Progress) (any, error) {
	if now := time.Now(); ask.MatureAt.After(now) {
		return nil, nextbest.FieldErrorf("mature_at", "%s is in the future: what has not happened cannot have matured", ask.MatureAt.Format(time.RFC3339))
	}
	catalogue := e.p.definitions.Catalogue()
	last, err := e.p.catchUp(ctx, mostBacklog)
	if err != nil {
		return nil, err
	}
	objective, err := e.objective(ask)
	if err != nil {
		return nil, err
	}
	q := queryOf(ask, objective, last)
	if q.MatureAt.IsZero() {
		q.MatureAt = time.Now().UTC().Truncate(time.Microsecond)
	}
	q.Own = limited(e.p.definitions, ask.Placement)
	request, err := requestOf(ask, catalogue)
	if err != nil {
		return nil, err
	}
	request.Query, request.Seed, request.Folds = q, ask.Seed, ask.Folds
	request.Adaptive, request.Definitions, request.Spool = e.adaptive(ask.Placement), catalogue.Revision, e.spool()
	if request.Clusters, err = clustersOf(e.p.definitions.List(nextbest.KindAction), ask); err != nil {
		return nil, err
	}
	extent, err := e.p.store.Extent(ctx, q)
	if err != nil {
		return nil, err
	}
	if extent.Rows == 0 && ask.Source != "" {
		if err := e.known(ctx, ask.Source); err != nil {
			return nil, err
		}
	}
	asked := question{ask: ask, on: request.Record(), last: extent.Last}
	for i := range ask.Candidates {
		ranges, err := e.add(ctx, &request, catalogue, i, &asked)
		if err != nil {
			return nil, err
		}
		for _, r := range ranges {
			if r.Overlaps(q) {
				request.TrainedOn = append(request.TrainedOn, offline.Period{Split: r.Split, From: r.From, To: r.To})
			}
		}
	}
	return e.run(ctx, request, progress)
}

// known refuses a source that no row has.
func (e evaluator) known(ctx context.Context, source string) error {
	have, err := e.p.store.Sources(ctx)
	if err != nil || slices.Contains(have, source) || source == "live" {
		return err
	}
	have = slices.DeleteFunc(have, func(s string) bool { return s == "live" })
	if len(have) == 0 {
		return nextbest.FieldErrorf("source", "there is no import %s, nor any other; live is what was decided here", source)
	}
	return nextbest.FieldErrorf("source", "there is no import %s; there are %s, and live", source, strings.Join(have, ", "))
}

// spool keeps rows between passes in the data folder, which can be written to
// everywhere: a container's folder for temporary files may be missing or memory.
func (e evaluator) spool() offline.Spool {
	return offline.Spool{Dir: e.p.folder, Lost: func(err error) { e.p.log.Warn("an evaluation reads the log once for each pass", "cause", err) }}
}

// run evaluates, and says how far it is.
func (e evaluator) run(ctx context.Context, request offline.Request, progress api.Progress) (*offline.Report, error) {
	extent, err := e.p.store.Extent(ctx, request.Query)
	if err != nil {
		return nil, err
	}
	total := extent.Rows * request.Passes()
	return offline.Run(ctx, e.p.store, request, func(done int64) { progress(min(done, total), total) })
}

// add adds the i-th candidate of what is asked to a request and returns what it
// learned from.
func (e evaluator) add(ctx context.Context, request *offline.Request, catalogue *decisions.Catalogue, i int, asked *question) ([]learning.Range, error) {
	c := asked.ask.Candidates[i]
	if c.Spec == nil {
		ref, candidate, err := candidateOf(catalogue, i, c, catalogue.Revision)
		if err != nil {
			return nil, err
		}
		request.Candidates = append(request.Candidates, candidate)
		seen := e.p.definitions.List(nextbest.KindEvaluation)
		_, all := e.p.definitions.Snapshot()
		request.Looks = append(request.Looks, looks(seen, asked, changes(all), ref, c.Model))
		return ranges(e.p.definitions, seen, ref, c.Model)
	}
	s, err := specify(i, c, request.Query)
	if err != nil {
		return nil, err
	}
	candidate, _, err := e.make(ctx, catalogue, &s, request.Query, catalogue.Revision)
	if err != nil {
		return nil, err
	}
	request.Candidates = append(request.Candidates, shared{candidate})
	request.Looks = append(request.Looks, 1) // no gate takes what is not registered
	request.Specified = append(request.Specified, s)
	return learnedFrom(request.Query.Placement, s), nil
}

// requestOf fills in what the caller asks to be shown, and of what.
func requestOf(ask api.Evaluation, catalogue *decisions.Catalogue) (offline.Request, error) {
	request := offline.Request{RewardMin: ask.RewardMin, RewardMax: ask.RewardMax, RewardModel: ask.RewardModel, Bootstrap: ask.Bootstrap,
		CrossFit: ask.CrossFit, ClusterBy: ask.ClusterBy, Distribution: ask.Distribution, Segments: ask.Segments, Tree: ask.Tree, Columns: columns(catalogue)}
	for i, name := range ask.Estimators {
		choice, err := estimators.ParseChoice(name)
		if err != nil {
			return request, nextbest.FieldErrorf(fmt.Sprintf("estimators[%d]", i), "%v", err)
		}
		request.Estimators = append(request.Estimators, choice)
	}
	for _, name := range ask.Baselines {
		if action, ok := strings.CutPrefix(name, api.FixedBaseline); ok {
			request.Fixed = append(request.Fixed, action)
		}
	}
	return request, nil
}

// candidateOf returns the i-th candidate of an evaluation, with actions as they
// were at a revision.
func candidateOf(catalogue *decisions.Catalogue, i int, c api.CandidateRef, revision uint64) (nextbest.Ref, offline.Candidate, error) {
	ref, err := nextbest.ParseRef(c.Policy)
	if err != nil {
		return ref, nil, nextbest.FieldErrorf(fmt.Sprintf("candidates[%d].policy", i), "%v", err)
	}
	candidate, err := catalogue.CandidateAt(ref, c.Model, revision)
	if err != nil {
		return ref, nil, err
	}
	return ref, shared{candidate}, nil
}

// Repeat runs a finished evaluation again, on the log as it was then, with the
// definitions as they were then, and returns the same report bit for bit; any
// difference is an error.
func (e evaluator) Repeat(ctx context.Context, ask api.Evaluation, result json.RawMessage, progress api.Progress) (any, error) {
	var then offline.Report
	if err := json.Unmarshal(result, &then); err != nil {
		return nil, nextbest.Errorf(nextbest.Internal, "its report does not decode: %w", err)
	}
	if then.Version != offline.Version {
		return nil, nextbest.Errorf(nextbest.Conflict, "it was made by %s, and this program has %s: run it anew", then.Version, offline.Version)
	}
	q := then.Query
	if q.Upto == 0 || q.Definitions == 0 {
		return nil, nextbest.Errorf(nextbest.Conflict, "its report does not say up to where the log and the definitions were read: run it anew")
	}
	if _, err := e.p.catchUp(ctx, mostBacklog); err != nil {
		return nil, err
	}
	catalogue := e.p.definitions.Catalogue()
	request, err := requestOf(ask, catalogue)
	if err != nil {
		return nil, err
	}
	request.Spool = e.spool()
	request.Query = nextbest.Query{Placement: q.Placement, Source: q.Source, From: q.From, To: q.To, MatureAt: q.MatureAt, Upto: q.Upto, Objective: q.Objective,
		Split: q.Split, Experiment: q.Experiment, Arms: q.Arms, SkipHeld: q.SkipHeld, SkipSetAside: q.SkipSetAside, Own: q.Propensity == offline.PropensityOwn}
	request.Seed, request.Folds, request.Level, request.Delta = then.Seed, then.Folds, then.Level, then.Delta
	request.Training, request.TrainedOn, request.Definitions = q.Training, q.TrainedOn, q.Definitions
	request.Adaptive, request.MinSupport, request.Ridge = then.Log.Adaptive, q.MinSupport, q.Ridge
	request.CrossFit, request.Clusters = q.CrossFit, q.Clusters
	for i, c := range ask.Candidates {
		if c.Spec != nil {
			s, err := specified(&then, c.Name)
			if err != nil {
				return nil, err
			}
			candidate, _, err := e.make(ctx, catalogue, &s, request.Query, q.Definitions)
			if err != nil {
				return nil, err
			}
			request.Candidates = append(request.Candidates, shared{candidate})
			request.Looks = append(request.Looks, 1)
			request.Specified = append(request.Specified, s)
			continue
		}
		_, candidate, err := candidateOf(catalogue, i, c, q.Definitions)
		if err != nil {
			return nil, err
		}
		request.Candidates = append(request.Candidates, candidate)
		look := 1
		if r, ok := then.Result(candidate.Name()); ok && r.Gate != nil && r.Gate.Look > 0 {
			look = r.Gate.Look // as it was: the repeat is no further look
		}
		request.Looks = append(request.Looks, look)
	}
	report, err := e.run(ctx, request, progress)
	if err != nil {
		return nil, err
	}
	now, err := json.Marshal(report)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(now, result) {
		return nil, nextbest.Errorf(nextbest.Conflict, "the repeat gives another report: the log or the numerics have changed since")
	}
	return report, nil
}

// columns names the features of a schema, id@version.
func columns(c *decisions.Catalogue) func(string) []string {
	return func(schema string) []string {
		ref, err := nextbest.ParseRef(schema)
		if err != nil {
			return nil
		}
		s, err := c.Schema(ref)
		if err != nil {
			return nil // its columns have no names here
		}
		return s.Names()
	}
}

// queryOf selects the rows of an evaluation. Held customers are left out: a
// candidate will never serve them, and what ran must not look worse for leaving
// them alone. Nor could they be pooled: with a contact cap or anything else that
// comes of earlier decisions, who has a history is not held, and the shares of
// the arms are no longer the chances of having been in them (with a holdout of
// a twentieth and a cap of two, weights average to .97 for offers and 1.16 for
// doing nothing).
func queryOf(ask api.Evaluation, objective nextbest.Objective, upto uint64) nextbest.Query {
	return nextbest.Query{Placement: ask.Placement, Source: ask.Source, From: ask.From, To: ask.To, MatureAt: ask.MatureAt, Split: ask.Split,
		Experiment: ask.Experiment, SkipHeld: true, Upto: upto, Objective: objective}
}

// objective returns what the evaluation sums: the objective that is named, the
// placement's, or one reward kind within the placement's window.
func (e evaluator) objective(ask api.Evaluation) (nextbest.Objective, error) {
	catalogue := e.p.definitions.Catalogue()
	name := ask.Objective
	if name == "" {
		ref, err := nextbest.ParseRef(ask.Placement)
		if err != nil {
			return nextbest.Objective{}, err
		}
		placement, err := catalogue.Placement(ref)
		if err != nil {
			return nextbest.Objective{}, err
		}
		name = placement.Objective.String()
	}
	ref, err := nextbest.ParseRef(name)
	if err != nil {
		return nextbest.Objective{}, err
	}
	o, err := catalogue.Objective(ref)
	if err != nil {
		return nextbest.Objective{}, err
	}
	if ask.Reward != "" {
		return nextbest.Objective{Terms: []nextbest.Term{{Reward: ask.Reward, Weight: 1}}, Window: o.Window}, nil
	}
	return *o, nil
}

// Evidence reads what a finished evaluation says about one policy and model.
func (e evaluator) Evidence(_ context.Context, id string, policy nextbest.Ref, model uint64) (*experiments.OfflineEvidence, error) {
	rec, ok := e.p.definitions.Get(nextbest.KindEvaluation, id)
	if !ok {
		return nil, nextbest.Errorf(nextbest.NotFound, "there is no evaluation %s", id)
	}
	var job api.Job
	if err := json.Unmarshal(rec.Document, &job); err != nil {
		return nil, nextbest.Errorf(nextbest.Internal, "evaluation %s does not decode: %w", id, err)
	}
	if job.State != "done" {
		return nil, nextbest.Errorf(nextbest.NotFound, "evaluation %s is %s", id, job.State)
	}
	var report offline.Report
	if err := json.Unmarshal(job.Result, &report); err != nil {
		return nil, nextbest.Errorf(nextbest.Internal, "the report of evaluation %s does not decode: %w", id, err)
	}
	return evidence(id, &report, policy, model)
}

// evidence picks one candidate out of a report.
func evidence(id string, report *offline.Report, policy nextbest.Ref, model uint64) (*experiments.OfflineEvidence, error) {
	name := policy.String()
	if model != 0 {
		name = fmt.Sprintf("%s/%d", name, model)
	}
	r, ok := report.Result(name)
	if !ok {
		return nil, nextbest.Errorf(nextbest.NotFound, "evaluation %s did not look at %s", id, name)
	}
	placement, err := nextbest.ParseRef(report.Query.Placement)
	if err != nil {
		return nil, err
	}
	ev := &experiments.OfflineEvidence{Evaluation: id, Placement: placement.ID, Policy: policy, Model: model, Objective: report.Query.Objective, Level: 1 - report.Delta, First: report.Log.First}
	for _, p := range report.Log.Policies {
		ev.Ran = append(ev.Ran, p.Policy)
	}
	if f := r.Main(); f != nil {
		ev.Value, ev.Low, ev.High = f.Value, f.Low, f.High
	}
	if r.Gate != nil {
		ev.GainLow, ev.Level, ev.Look = r.Gate.Lower, 1-r.Gate.Delta, r.Gate.Look
		if !r.Gate.Declared {
			ev.Refusals = append(ev.Refusals, fmt.Sprintf("its lower bound only holds if no decision can be worth less than %.4g or more than %.4g, as in the log: evaluate again with reward_min and reward_max declared", r.Gate.RewardMin, r.Gate.RewardMax))
		}
	} else {
		ev.Refusals = append(ev.Refusals, "the evaluation gives no lower bound for the gain over what ran")
	}
	for _, f := range r.Refusals {
		ev.Refusals = append(ev.Refusals, f.Message)
	}
	if report.Log.CalibrationChecked > 0 {
		ev.Calibration = calibration(report)
	}
	return ev, nil
}

// calibration returns the worst cell of a report's propensity check, with the
// limit that the report judged all cells by.
func calibration(report *offline.Report) *experiments.Calibration {
	worst := report.Cells[0] // the worst comes first
	return &experiments.Calibration{
		Worst: worst.Z, Limit: report.Log.CalibrationLimit,
		Cell: fmt.Sprintf("%s, logged probability %g–%g", worst.Action, worst.From, worst.To),
	}
}
