package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"nextbest"
	"nextbest/internal/api"
	"nextbest/internal/learning"
	"nextbest/offline"
)

// look is an evaluation at a placement whose result was or will be seen: what
// failed, was cancelled or interrupted shows nothing, and a repeat nothing new.
type look struct {
	question
	gate bool // of a search's winner
}

// question is what an evaluation asks of a gate.
type question struct {
	ask api.Evaluation
	on  offline.QueryRecord // as it was run; Upto 0: not finished, or not known
	// last is when its last decision was; zero where that is not known.
	last time.Time
}

// same reports whether two evaluations asked the very same question, so that the
// second shows nothing new: of the same candidates, by the same rewards between the
// same limits, on the same rows. All that a gate's bets depend on must be the same;
// seed, folds, and what is shown beside do not enter them. Where the rows are not
// known the questions differ. changes are the revisions at which actions changed:
// candidates are made from actions.
func (q *question) same(o *question, changes []uint64) bool {
	a, b := q, o
	if b.on.MatureAt.Before(a.on.MatureAt) {
		a, b = b, a
	}
	v, w := &a.on, &b.on
	if v.Upto == 0 || v.Upto != w.Upto {
		return false
	}
	from, to := min(v.Definitions, w.Definitions), max(v.Definitions, w.Definitions)
	if slices.ContainsFunc(changes, func(r uint64) bool { return from < r && r <= to }) {
		return false
	}
	// A later maturity is the same where every row was mature at the earlier one:
	// up to one position of the journal, rewards within the window are the same.
	mature := v.MatureAt.Equal(w.MatureAt) || !b.last.IsZero() && !b.last.Add(time.Duration(w.Objective.Window)).After(v.MatureAt)
	return mature && v.Placement == w.Placement && v.Source == w.Source && v.From.Equal(w.From) && v.To.Equal(w.To) && v.Experiment == w.Experiment &&
		v.Propensity == w.Propensity && v.SkipHeld == w.SkipHeld && v.SkipSetAside == w.SkipSetAside && slices.Equal(v.Arms, w.Arms) &&
		alike(v.Split, w.Split) && alike(v.Objective, w.Objective) &&
		alike(a.ask.RewardMin, b.ask.RewardMin) && alike(a.ask.RewardMax, b.ask.RewardMax) && alike(candidates(a.ask), candidates(b.ask))
}

// changes returns the revisions at which actions changed.
func changes(all []nextbest.Record) (out []uint64) {
	for _, rec := range all {
		if rec.Kind == nextbest.KindAction {
			out = append(out, rec.Revision)
		}
	}
	return out
}

// alike reports whether two values are the same JSON.
func alike(a, b any) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

// candidates are an evaluation's, whatever their order: they share the error.
func candidates(ask api.Evaluation) []string {
	out := make([]string, len(ask.Candidates))
	for i, c := range ask.Candidates {
		raw, err := json.Marshal(c)
		if err != nil {
			panic(err) // it was decoded from JSON
		}
		out[i] = string(raw)
	}
	slices.Sort(out)
	return out
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
		l := look{question: question{ask: ask}, gate: job.Search != ""}
		var result struct {
			Version string              `json:"version"`
			Query   offline.QueryRecord `json:"query"`
			Log     struct {
				Last time.Time `json:"last"`
			} `json:"log"`
		}
		if job.State == api.Done && json.Unmarshal(job.Result, &result) == nil && result.Version == offline.Version {
			l.on, l.last = result.Query, result.Log.Last
		}
		out = append(out, l)
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
// and model takes; the one under way is among the evaluations. All questions about
// the same candidate at the placement count, whatever they were: anyone of them
// could be named to a gate. One that was asked before counts once, however often it
// is asked: its answer is the same. Of a search's winner count also all that looked
// at any search's winner on rows that q may share: whoever searches twenty times has
// the best of twenty.
//
// The k-th distinct question to be asked gets a number of at least k at any time,
// so that the errors spent on all of them are within the whole (estimators.Spend).
func looks(evaluations []nextbest.Record, q *question, changes []uint64, policy nextbest.Ref, model uint64) int {
	all := looksAt(evaluations, q.on.Placement)
	won := winners(all)
	if !slices.Contains(won, winner{policy, model}) {
		won = nil
	}
	query := nextbest.Query{Placement: q.on.Placement, From: q.on.From, To: q.on.To, Split: q.on.Split}
	var counted []look
	for _, l := range all {
		rows := learning.Range{Placement: l.ask.Placement, Trained: learning.Trained{From: l.ask.From, To: l.ask.To, Split: l.ask.Split}}
		switch {
		case !l.at(policy, model) && !(rows.Overlaps(query) && slices.ContainsFunc(won, func(w winner) bool { return l.at(w.policy, w.model) })):
		case l.same(q, changes) || slices.ContainsFunc(counted, func(o look) bool { return o.same(&l.question, changes) }):
		default:
			counted = append(counted, l)
		}
	}
	return max(len(counted), 1)
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
