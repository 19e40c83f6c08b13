package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"nextbest"
	"nextbest/bandit"
	"nextbest/experiments"
	"nextbest/internal/api"
	"nextbest/internal/decisions"
	"nextbest/internal/learning"
	"nextbest/offline"
)

// searcher searches over hyperparameters on the log: it reads with an evaluator,
// and registers what it finds.
type searcher struct {
	evaluator
	trainer     *learning.Trainer
	experiments *experiments.Service
}

// search is one of them under way.
type search struct {
	searcher
	ask       api.Search
	run       api.SearchRun
	catalogue *decisions.Catalogue
	objective nextbest.Ref
	request   offline.SearchRequest
	models    map[string]*taught // by bandit.Spec.Training
	made      map[string]*bandit.Model
	done      int64 // rows read so far
	total     int64
}

// taught is what one training gave; several combinations may share it.
type taught struct {
	model   *bandit.Model
	trained offline.Trained
	err     error
}

// Search trains, chooses, registers the winner and has it evaluated on the gate
// part.
func (e searcher) Search(ctx context.Context, ask api.Search, run api.SearchRun) (any, error) {
	s := &search{searcher: e, ask: ask, run: run, catalogue: e.p.definitions.Catalogue(), models: map[string]*taught{}, made: map[string]*bandit.Model{}}
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	report, err := offline.Search(ctx, e.p.store, s.request, s.make, func(rows int64) { s.reading(s.done + rows) })
	if err != nil {
		return nil, err
	}
	if report.Outcome != offline.Chosen {
		return report, nil
	}
	if err := run.Fix(); err != nil {
		return nil, err
	}
	s.done += offline.SearchPasses(len(s.request.Combinations)) * s.request.Parts.Select.Rows
	return report, s.register(ctx, report)
}

// prepare fixes what the search depends on: position, definitions, objective,
// parts and combinations.
func (s *search) prepare(ctx context.Context) error {
	last, err := s.p.catchUp(ctx, mostBacklog)
	if err != nil {
		return err
	}
	if s.objective, err = s.objectiveRef(); err != nil {
		return err
	}
	objective, err := s.catalogue.Objective(s.objective)
	if err != nil {
		return err
	}
	ask := &s.ask
	q := queryOf(api.Evaluation{Placement: ask.Placement, Source: ask.Source}, *objective, last)
	q.Own = limited(s.p.definitions, ask.Placement)
	r := &s.request
	r.Query, r.Anyway = q, ask.Anyway
	r.Seed, r.Folds, r.RewardModel, r.RewardMin, r.RewardMax = ask.Seed, ask.Folds, ask.RewardModel, ask.RewardMin, ask.RewardMax
	r.Adaptive, r.Definitions, r.Columns = s.adaptive(ask.Placement), s.catalogue.Revision, columns(s.catalogue)
	if r.Combinations, err = api.Combinations(ask.Specs); err != nil {
		return err
	}
	if r.Parts, err = s.parts(ctx, q); err != nil {
		return err
	}
	if err := s.untouched(&r.Parts.Gate); err != nil {
		return err
	}
	trainings := map[string]bool{}
	for _, c := range r.Combinations {
		trainings[c.Spec.Training()] = true
	}
	s.total = int64(len(trainings))*r.Parts.Train.Rows + offline.SearchPasses(len(r.Combinations))*r.Parts.Select.Rows + 2*r.Parts.Gate.Rows
	return nil
}

// objectiveRef names the objective with its version: the winner's model does so
// for good.
func (s *search) objectiveRef() (nextbest.Ref, error) {
	if s.ask.Objective != "" {
		return nextbest.ParseRef(s.ask.Objective)
	}
	ref, err := nextbest.ParseRef(s.ask.Placement)
	if err != nil {
		return ref, err
	}
	placement, err := s.catalogue.Placement(ref)
	if err != nil {
		return ref, err
	}
	return placement.Objective, nil
}

// parts cuts the log and counts the rows of each part. What follows the decisions
// is not looked at.
func (s *search) parts(ctx context.Context, q nextbest.Query) (parts offline.Parts, err error) {
	ask := &s.ask
	to := ask.To.UTC()
	if to.IsZero() {
		to = ask.MatureAt.UTC()
	}
	from, matureAt := ask.From.UTC(), ask.MatureAt.UTC()
	shares := offline.DefaultShares
	if ask.Shares != nil {
		shares = *ask.Shares
	}
	switch {
	case ask.Salt != "":
		parts = offline.PartsByCustomers(ask.Salt, shares, from, to, matureAt)
	default:
		trainTo, selectTo := ask.TrainTo.UTC(), ask.SelectTo.UTC()
		if trainTo.IsZero() {
			whole := offline.Part{From: from, To: to, MatureAt: matureAt}
			all, err := s.p.store.Extent(ctx, whole.Of(q))
			if err != nil {
				return parts, err
			}
			if all.Rows == 0 {
				return parts, nextbest.Errorf(nextbest.Conflict, "placement %s has no decision of the range whose window of %s had closed at %s", ask.Placement, q.Objective.Window, matureAt.Format(time.RFC3339))
			}
			trainTo, selectTo = offline.BordersOf(all.First, all.Last, shares)
		}
		if parts, err = offline.PartsByTime(from, trainTo, selectTo, to, matureAt); err != nil {
			return parts, err
		}
	}
	for _, part := range []*offline.Part{&parts.Train, &parts.Select, &parts.Gate} {
		extent, err := s.p.store.Extent(ctx, part.Of(q))
		if err != nil {
			return parts, err
		}
		part.Rows = extent.Rows
	}
	return parts, parts.Check(q.Objective.Window)
}

// untouched refuses a gate part with rows by which an earlier search chose: all
// its candidates' figures on them were seen.
func (s *search) untouched(gate *offline.Part) error {
	q := gate.Of(s.request.Query)
	for _, rec := range s.p.definitions.List(api.KindSearch) {
		var job struct {
			ID     string       `json:"id"`
			State  api.JobState `json:"state"`
			Result struct {
				Query struct {
					Placement string `json:"placement"`
				} `json:"query"`
				Parts offline.Parts `json:"parts"`
			} `json:"result"`
		}
		if json.Unmarshal(rec.Document, &job) != nil || job.State != api.Done {
			continue
		}
		p := &job.Result.Parts.Select
		chose := learning.Range{Placement: job.Result.Query.Placement, Trained: learning.Trained{From: p.From, To: p.To, Split: p.Split}}
		if chose.Overlaps(q) {
			how := fmt.Sprintf("choose borders so that the gate begins at %s or later", p.To.Format(time.RFC3339))
			if p.Split != nil || gate.Split != nil {
				how = "use the same salt and shares as that search"
			}
			return nextbest.Errorf(nextbest.Conflict, "the gate part is not untouched: search %s chose by some of its rows, and showed what every candidate earned on them; %s", job.ID, how)
		}
	}
	return nil
}

// make makes the candidate of a combination. Combinations that learn the same
// share what was learned.
func (s *search) make(ctx context.Context, c *offline.Combination, train nextbest.Query) (offline.Candidate, *offline.Trained, error) {
	key := c.Spec.Training()
	t := s.models[key]
	if t == nil {
		t = &taught{trained: offline.Trained{From: train.From, To: train.To, MatureAt: train.MatureAt, Split: train.Split}}
		if closed := learning.MatureBefore(train.MatureAt, train.Objective.Window); t.trained.To.After(closed) {
			t.trained.To = closed
		}
		if since := c.Spec.Since(train.MatureAt); since.After(t.trained.From) {
			t.trained.From = since
		}
		before := s.done
		t.model, t.err = s.learn(ctx, s.catalogue, &offline.Specified{Name: c.Of, Spec: c.Document, Trained: &t.trained}, train, func(rows int64) { s.reading(before + rows) })
		s.done = before + s.request.Parts.Train.Rows
		s.models[key] = t
	}
	if t.err != nil {
		return nil, nil, t.err
	}
	candidate, err := s.catalogue.Specified(c.Name, c.Document, t.model, s.catalogue.Revision)
	if err != nil {
		return nil, nil, fmt.Errorf("candidate %s: %w", c.Name, err)
	}
	s.made[c.Name] = t.model
	trained := t.trained
	return shared{candidate}, &trained, nil
}

// reading tells of the rows read: of the train part once for each training, of the
// others twice for each run.
func (s *search) reading(rows int64) { s.run.Progress(min(rows, s.total), s.total) }

// winnerOf returns the combination that a report has chosen.
func (s *search) winnerOf(report *offline.SearchReport) *offline.Combination {
	i := slices.IndexFunc(s.request.Combinations, func(c offline.Combination) bool { return c.Name == report.Best })
	return &s.request.Combinations[i]
}

// placementID is the placement's id without a version.
func (s *search) placementID() string {
	id, _, _ := strings.Cut(s.ask.Placement, "@")
	return id
}
