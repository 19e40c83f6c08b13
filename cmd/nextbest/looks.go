package main

import (
	"encoding/json"
	"slices"
	"strings"

	"nextbest"
	"nextbest/internal/api"
	"nextbest/internal/learning"
)

// look is an evaluation at a placement whose result was or will be seen: what
// failed, was cancelled or interrupted shows nothing, and a repeat nothing new.
type look struct {
	ask  api.Evaluation
	gate bool // of a search's winner
}

// looksAt returns the evaluations at a placement, whatever its version.
func looksAt(evaluations []nextbest.Record, placement string) (out []look) {
	id, _, _ := strings.Cut(placement, "@")
	for _, rec := range evaluations {
		var job api.Job
		var ask api.Evaluation
		if json.Unmarshal(rec.Document, &job) != nil || json.Unmarshal(job.Request, &ask) != nil {
			continue
		}
		at, _, _ := strings.Cut(ask.Placement, "@")
		if at != id || job.Repeats != "" || job.State == api.Failed || job.State == api.Cancelled || job.State == api.Interrupted {
			continue
		}
		out = append(out, look{ask: ask, gate: job.Search != ""})
	}
	return out
}

// at reports whether the look is one at a registered policy version and model.
func (l *look) at(policy nextbest.Ref, model uint64) bool {
	return slices.ContainsFunc(l.ask.Candidates, func(c api.CandidateRef) bool {
		ref, err := nextbest.ParseRef(c.Policy)
		return err == nil && c.Spec == nil && ref == policy && c.Model == model
	})
}

// winner is what a search registered.
type winner struct {
	policy nextbest.Ref
	model  uint64
}

// winners returns what the searches whose gates are among the looks have found.
func winners(looks []look) (out []winner) {
	for _, l := range looks {
		for _, c := range l.ask.Candidates {
			if ref, err := nextbest.ParseRef(c.Policy); l.gate && err == nil && c.Spec == nil {
				out = append(out, winner{ref, c.Model})
			}
		}
	}
	return out
}

// looks says which look this is, from 1, that an evaluation of a policy version
// and model on the rows of q takes; the one under way is among the evaluations.
// All evaluations of the same candidate at the placement count, whatever they
// were asked for: anyone of them could be named to a gate. Of a search's winner
// count also all that looked at any search's winner on rows that q may share:
// whoever searches twenty times has the best of twenty.
func looks(evaluations []nextbest.Record, q nextbest.Query, policy nextbest.Ref, model uint64) int {
	all := looksAt(evaluations, q.Placement)
	won := winners(all)
	if !slices.Contains(won, winner{policy, model}) {
		won = nil
	}
	n := 0
	for _, l := range all {
		rows := learning.Range{Placement: l.ask.Placement, Trained: learning.Trained{From: l.ask.From, To: l.ask.To, Split: l.ask.Split}}
		if l.at(policy, model) || rows.Overlaps(q) && slices.ContainsFunc(won, func(w winner) bool { return l.at(w.policy, w.model) }) {
			n++
		}
	}
	return max(n, 1)
}

// ranges returns all that a policy version and model were learned from or chosen
// by. The rows that chose the policy's parameters in a search prove nothing about
// its other models either.
func ranges(defs learning.Definitions, evaluations []nextbest.Record, policy nextbest.Ref, model uint64) ([]learning.Range, error) {
	out, err := learning.Ranges(defs, policy, model)
	if err != nil {
		return nil, err
	}
	seen := []uint64{model}
	for _, rec := range evaluations {
		var job struct {
			Search  string         `json:"search"`
			Request api.Evaluation `json:"request"`
		}
		if json.Unmarshal(rec.Document, &job) != nil || job.Search == "" {
			continue
		}
		for _, c := range job.Request.Candidates {
			ref, err := nextbest.ParseRef(c.Policy)
			if err != nil || ref != policy || slices.Contains(seen, c.Model) {
				continue
			}
			seen = append(seen, c.Model)
			of, ok := defs.Version(nextbest.KindModel, learning.ID(policy), c.Model)
			if !ok {
				continue
			}
			m, err := learning.ParseModel(of)
			if err != nil {
				return nil, err
			}
			for _, t := range m.Tuned {
				out = append(out, learning.Range{Placement: m.Placement, Model: m.Number, Trained: t})
			}
		}
	}
	return out, nil
}
