package main

import (
	"context"
	"fmt"

	"nextbest"
	"nextbest/bandit"
	"nextbest/internal/api"
	"nextbest/internal/decisions"
	"nextbest/internal/learning"
	"nextbest/offline"
)

// specify writes down the i-th candidate of an evaluation, which is not
// registered: all that is needed to make it, and to make it again. q selects the
// rows that are evaluated.
func specify(i int, c api.CandidateRef, q nextbest.Query) (offline.Specified, error) {
	spec, document, err := c.Spec.Document()
	if err != nil {
		return offline.Specified{}, err
	}
	s := offline.Specified{Name: c.Name, Spec: document}
	if c.Train == nil {
		if spec.Learns() {
			return s, nextbest.FieldErrorf(fmt.Sprintf("candidates[%d].train", i), "is missing: %s learns", spec.Algorithm)
		}
		return s, nil
	}
	t := &offline.Trained{From: c.Train.From.UTC(), To: c.Train.To.UTC(), MatureAt: q.MatureAt, Split: c.Train.Split}
	// Forgetting counts age up to W: the first moment at which all of the range is
	// mature, for nobody could have trained on it before.
	if closed := t.To.Add(q.Objective.Window.Std()); !t.To.IsZero() && closed.Before(t.MatureAt) {
		t.MatureAt = closed
	}
	if since := spec.Since(t.MatureAt); since.After(t.From) {
		t.From = since
	}
	s.Trained = t
	return s, nil
}

// make makes a candidate that is not registered, trained where it learns on the
// log up to q's position, with actions as they were at a revision. It fills in
// how many rows were learned from.
func (e evaluator) make(ctx context.Context, catalogue *decisions.Catalogue, s *offline.Specified, q nextbest.Query, revision uint64) (*decisions.Candidate, *bandit.Model, error) {
	var model *bandit.Model
	if s.Trained != nil {
		var err error
		if model, err = e.learn(ctx, catalogue, s, q, nil); err != nil {
			return nil, nil, err
		}
	}
	candidate, err := catalogue.Specified(s.Name, s.Spec, model, revision)
	if err != nil {
		return nil, nil, fmt.Errorf("candidate %s: %w", s.Name, err)
	}
	return candidate, model, nil
}

// trainingQuery selects the rows that a candidate is trained on, of the placement
// and source of q, by its objective and up to its position.
func trainingQuery(t *offline.Trained, q nextbest.Query) nextbest.Query {
	return nextbest.Query{Placement: q.Placement, Source: q.Source, From: t.From, To: t.To, MatureAt: t.MatureAt, Upto: q.Upto, Objective: q.Objective, Split: t.Split}
}

// learn trains a candidate on the rows that it names, and fills in how many they
// were.
func (e evaluator) learn(ctx context.Context, catalogue *decisions.Catalogue, s *offline.Specified, q nextbest.Query, progress func(rows int64)) (*bandit.Model, error) {
	t := s.Trained
	spec, err := bandit.ParseSpec(s.Spec)
	if err != nil {
		return nil, err
	}
	job := learning.Job{Policy: nextbest.Ref{ID: s.Name}, Spec: spec, Queries: []nextbest.Query{trainingQuery(t, q)}, Progress: progress}
	if spec.Features != "" {
		ref, err := nextbest.ParseRef(spec.Features)
		if err != nil {
			return nil, err
		}
		if job.Schema, err = catalogue.Schema(ref); err != nil {
			return nil, err
		}
	}
	outcome, err := learning.Train(ctx, e.p.store, job)
	if err != nil {
		return nil, fmt.Errorf("candidate %s: %w", s.Name, err)
	}
	if outcome.Rows == 0 && outcome.Unusable > 0 {
		return nil, nextbest.Errorf(nextbest.Conflict, "candidate %s: none of the %d rows to train on fits the features %s (the first: %w)", s.Name, outcome.Unusable, spec.Features, outcome.Why)
	}
	if outcome.Rows == 0 {
		return nil, nextbest.Errorf(nextbest.Conflict, "candidate %s: train selects no mature decision that is not set aside; choose another range", s.Name)
	}
	t.Rows, t.Unusable = outcome.Rows, outcome.Unusable
	return outcome.Model, nil
}

// specified finds how a candidate of a report was made.
func specified(report *offline.Report, name string) (offline.Specified, error) {
	for _, s := range report.Query.Specified {
		if s.Name == name {
			return s, nil
		}
	}
	return offline.Specified{}, nextbest.Errorf(nextbest.Conflict, "its report does not say how candidate %s was made: run it anew", name)
}

// learnedFrom returns what a candidate that is not registered learned from.
func learnedFrom(placement string, s offline.Specified) []learning.Range {
	if s.Trained == nil {
		return nil
	}
	return []learning.Range{{Placement: placement, Trained: learning.Trained{From: s.Trained.From, To: s.Trained.To, Split: s.Trained.Split}}}
}
