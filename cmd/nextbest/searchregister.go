package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"nextbest"
	"nextbest/bandit"
	"nextbest/internal/api"
	"nextbest/internal/decisions"
	"nextbest/internal/learning"
	"nextbest/offline"
)

// register writes the winner, step by step: the policy version, its model, the
// evaluation on the gate part, and where that is passed and asked for, the draft
// of an experiment. Each step takes what is there already, so that a search that
// was interrupted between two of them can be finished by running it again.
// Nothing of it serves anybody.
func (s *search) register(ctx context.Context, report *offline.SearchReport) error {
	c := s.winnerOf(report)
	tried, _ := report.Candidate(c.Name)
	policy, err := s.policyVersion(ctx, c)
	if err != nil {
		return err
	}
	number, err := s.modelOf(ctx, policy, s.made[c.Name], tried.Trained)
	if err != nil {
		return err
	}
	gate := &s.request.Parts.Gate
	id, result, err := s.run.Evaluate(ctx, api.Evaluation{Placement: s.ask.Placement, Source: s.ask.Source, From: gate.From, To: gate.To, MatureAt: gate.MatureAt, Split: gate.Split,
		Objective: s.objective.String(), RewardMin: s.ask.RewardMin, RewardMax: s.ask.RewardMax, RewardModel: s.ask.RewardModel,
		Candidates: []api.CandidateRef{{Policy: policy.String(), Model: number}}, Seed: s.ask.Seed, Folds: s.ask.Folds},
		func(rows int64) { s.reading(s.done + rows) })
	if err != nil {
		return nextbest.Errorf(nextbest.CodeOf(err), "%s model %d is registered, and could not be evaluated on the gate part; post the same request again to finish the search: %w", policy, number, err)
	}
	var evaluated offline.Report
	if err := json.Unmarshal(result, &evaluated); err != nil {
		return nextbest.Errorf(nextbest.Internal, "the report of evaluation %s does not decode: %w", id, err)
	}
	passed, err := report.Judge(offline.Winner{Policy: policy, Model: number, Evaluation: id}, &evaluated)
	if err != nil {
		return err
	}
	served := s.served(report, &evaluated)
	if s.ask.Experiment != nil {
		s.draft(ctx, report, served, passed)
	}
	return nil
}

// policyVersion returns the version that has exactly the winner's specification,
// a new one where there is none.
func (s *search) policyVersion(ctx context.Context, c *offline.Combination) (nextbest.Ref, error) {
	id := s.ask.Policy
	if id == "" {
		id = c.Of
	}
	rec, err := s.once(nextbest.KindPolicy, id, func(rec nextbest.Record) bool { return bytes.Equal(rec.Document, c.Document) }, func(last uint64) (nextbest.Record, error) {
		change := nextbest.Change{Kind: nextbest.KindPolicy, ID: id, Document: c.Document, Actor: s.run.By, Reason: s.why("the winner"), IfMatch: last}
		if err := s.p.definitions.Catalogue().Validate(change); err != nil {
			return nextbest.Record{}, err
		}
		return s.p.definitions.Put(ctx, change)
	})
	return rec.Ref(), err
}

// mostWrites is how often a step is tried that others are writing too.
const mostWrites = 8

// once returns the first version of an object that is the wanted one, and writes
// it where there is none. Of several that find none at the same time, whichever
// process they are in, one writes it and the others take it. write gets the
// revision of the object's newest version, 0 where it does not exist, and writes
// only on top of that.
func (s *search) once(kind nextbest.Kind, id string, is func(nextbest.Record) bool, write func(last uint64) (nextbest.Record, error)) (nextbest.Record, error) {
	for try := 1; ; try++ {
		last := uint64(0)
		for _, rec := range s.p.definitions.History(kind, id) {
			if !rec.Deleted && is(rec) {
				return rec, nil
			}
			last = rec.Revision
			if rec.Deleted {
				last = 0
			}
		}
		rec, err := write(last)
		if code := nextbest.CodeOf(err); code != nextbest.Conflict && code != nextbest.Stale || try == mostWrites {
			return rec, err
		}
	}
}

// why is the reason that the audit trail keeps.
func (s *search) why(what string) string {
	reason := fmt.Sprintf("%s of search %s", what, s.run.ID)
	if s.run.Reason != "" {
		reason += ": " + s.run.Reason
	}
	return reason
}

// modelOf returns the number of the model of a policy version with these
// parameters, learned from these rows and chosen by those of the select part; a
// new one where there is none.
func (s *search) modelOf(ctx context.Context, policy nextbest.Ref, parameters *bandit.Model, t *offline.Trained) (uint64, error) {
	content, err := parameters.MarshalBinary()
	if err != nil {
		return 0, nextbest.Errorf(nextbest.Internal, "a model of %s: %w", policy, err)
	}
	hash, err := s.p.definitions.PutBlob(ctx, content)
	if err != nil {
		return 0, err
	}
	q := &s.request.Query
	aside, err := s.p.store.SetAside(ctx, trainingQuery(t, *q))
	if err != nil {
		return 0, err
	}
	chose := &s.request.Parts.Select
	m := learning.Model{Policy: policy, Placement: s.ask.Placement, Objective: s.objective.String(), Hash: hash,
		Trained: learning.Trained{From: t.From, To: t.To, MatureAt: t.MatureAt, Upto: q.Upto, Split: t.Split, Source: q.Source, Rows: t.Rows, SetAside: aside},
		Tuned:   []learning.Trained{{From: chose.From, To: chose.To, MatureAt: chose.MatureAt, Upto: q.Upto, Split: chose.Split, Source: q.Source, Rows: chose.Rows}}}
	rec, err := s.once(nextbest.KindModel, learning.ID(policy), func(rec nextbest.Record) bool {
		old, err := learning.ParseModel(rec)
		return err == nil && sameModel(old, m)
	}, func(last uint64) (nextbest.Record, error) {
		return s.trainer.PublishAfter(ctx, m, parameters, s.run.By, s.why("the winner"), last)
	})
	return rec.Version, err
}

// sameModel reports whether two records are of the same parameters from the same
// rows, whatever the position up to which the log was read.
func sameModel(a, b learning.Model) bool {
	return a.Hash == b.Hash && a.Placement == b.Placement && a.Objective == b.Objective && a.Base == b.Base && a.MigratedFrom == nil &&
		len(a.Tuned) == 1 && sameRows(a.Trained, b.Trained) && sameRows(a.Tuned[0], b.Tuned[0])
}

func sameRows(a, b learning.Trained) bool {
	return a.From.Equal(b.From) && a.To.Equal(b.To) && a.MatureAt.Equal(b.MatureAt) && a.Source == b.Source && reflect.DeepEqual(a.Split, b.Split)
}

// served returns the placement as it is now, and warns where something else
// decided the rows of the gate part: a promotion's offline gate asks for rows that
// the served policy alone decided.
func (s *search) served(report *offline.SearchReport, gate *offline.Report) *decisions.Placement {
	placement, err := s.p.definitions.Catalogue().Placement(nextbest.Ref{ID: s.placementID()})
	if err != nil {
		return nil // deleted meanwhile
	}
	var ran []string
	for _, p := range gate.Log.Policies {
		if p.Policy == "" {
			p.Policy = "whatever made an imported log"
		}
		ran = append(ran, p.Policy)
	}
	if names := strings.Join(ran, ", "); names != placement.Policy.String() {
		report.Warnings = append(report.Warnings, fmt.Sprintf("the rows of the gate part were decided by %s, and placement %s serves %s: this is a reason to experiment, and a promotion will ask for an evaluation on rows that %s alone decided",
			names, s.placementID(), placement.Policy, placement.Policy))
	}
	return placement
}

// draft writes the experiment of the winner against what is served, and never
// starts it. Where it cannot be written the report says why: the rest stands.
func (s *search) draft(ctx context.Context, report *offline.SearchReport, served *decisions.Placement, passed bool) {
	id := s.ask.Experiment.ID
	not := func(format string, args ...any) {
		report.Warnings = append(report.Warnings, fmt.Sprintf("experiment %s was not written: ", id)+fmt.Sprintf(format, args...))
	}
	switch {
	case !passed:
		not("the gate is not passed")
		return
	case served == nil:
		not("placement %s is not there any more", s.placementID())
		return
	}
	reward := s.ask.Experiment.Reward
	if reward == "" {
		reward, _ = api.PrimaryReward(&s.request.Query.Objective)
	}
	w := report.Winner
	document, err := json.Marshal(map[string]any{
		"id": id, "placement": s.placementID(), "salt": id, "window": s.request.Query.Objective.Window, "evaluation": w.Evaluation,
		"primary": map[string]any{"reward": reward},
		"arms": []map[string]any{
			{"id": "control", "policy": served.Policy, "model": served.Model, "learning": served.Learning, "share": 0.5, "control": true},
			{"id": "candidate", "policy": w.Policy, "model": w.Model, "share": 0.5},
		},
	})
	if err == nil && !s.drafted(id, w) {
		_, err = s.experiments.Save(ctx, id, document, s.run.By, s.why("the draft"), 0)
	}
	if err != nil && !s.drafted(id, w) { // another run of the same search may have written it
		not("%v", err)
		return
	}
	w.Experiment = id
}

// drafted reports whether the experiment is there already, with this evidence.
func (s *search) drafted(id string, w *offline.Winner) bool {
	d, _, err := s.experiments.Get(id)
	return err == nil && d.Evaluation == w.Evaluation && d.Arm("candidate") >= 0 && d.Arms[d.Arm("candidate")].Policy == w.Policy
}
