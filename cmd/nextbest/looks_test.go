package main

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"nextbest"
	"nextbest/internal/api"
	"nextbest/offline"
)

// TestLooks counts evaluations whose results can be named to a gate.
func TestLooks(t *testing.T) {
	var all []nextbest.Record
	add := func(state api.JobState, placement string, candidates ...api.CandidateRef) {
		ask, err := json.Marshal(api.Evaluation{Placement: placement, Candidates: candidates})
		if err != nil {
			t.Fatal(err)
		}
		doc, err := json.Marshal(api.Job{State: state, Request: ask})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, nextbest.Record{Document: doc})
	}
	mine, other := api.CandidateRef{Policy: "lints@1", Model: 2}, api.CandidateRef{Policy: "lints@1", Model: 3}
	policy := nextbest.Ref{ID: "lints", Version: 1}
	want := func(n int, why string) {
		t.Helper()
		if got := looks(all, &question{on: offline.QueryRecord{Placement: "shop@4"}}, nil, policy, 2); got != n {
			t.Errorf("%d looks, want %d: %s", got, n, why)
		}
	}
	want(1, "nothing was evaluated")
	add(api.Running, "shop", mine, other)
	want(1, "the one under way is the first")
	add(api.Done, "shop@3", other, mine, mine)
	want(2, "another version of the placement, the candidate named twice")
	add(api.Done, "web", mine)
	add(api.Done, "shop", other)
	add(api.Failed, "shop", mine)
	add(api.Cancelled, "shop", mine)
	add(api.Interrupted, "shop", mine)
	want(2, "other placements and models, and what has no result")
	ask, _ := json.Marshal(api.Evaluation{Placement: "shop", Candidates: []api.CandidateRef{mine}})
	doc, _ := json.Marshal(api.Job{State: api.Done, Request: ask, Repeats: "another"})
	all = append(all, nextbest.Record{Document: doc})
	want(2, "a repeat shows nothing new")
}

// TestLooksOfSearches: all that looked at any search's winner on the same rows are
// looks of one family; on other rows, and of candidates that nobody searched for,
// each is on its own.
func TestLooksOfSearches(t *testing.T) {
	day := func(d int) time.Time { return time.Date(2026, 11, d, 0, 0, 0, 0, time.UTC) }
	var all []nextbest.Record
	add := func(search string, from, to int, split *nextbest.Split, policy string) {
		ask, err := json.Marshal(api.Evaluation{Placement: "shop", From: day(from), To: day(to), Split: split, Candidates: []api.CandidateRef{{Policy: policy, Model: 1}}})
		if err != nil {
			t.Fatal(err)
		}
		doc, err := json.Marshal(api.Job{State: api.Done, Request: ask, Search: search})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, nextbest.Record{Document: doc})
	}
	want := func(n int, policy string, from, to int, why string) {
		t.Helper()
		if got := looks(all, &question{on: offline.QueryRecord{Placement: "shop@2", From: day(from), To: day(to)}}, nil, nextbest.Ref{ID: policy, Version: 1}, 1); got != n {
			t.Errorf("%d looks, want %d: %s", got, n, why)
		}
	}
	add("s1", 10, 20, nil, "a@1")
	want(1, "a", 10, 20, "the first search")
	add("s2", 15, 20, nil, "b@1")
	want(2, "b", 15, 20, "the second search with these rows")
	add("", 18, 20, nil, "a@1")
	want(3, "a", 18, 20, "the first winner evaluated again, after both gates")
	add("", 10, 20, nil, "c@1")
	want(1, "c", 10, 20, "a candidate that nobody searched for")
	add("s3", 20, 30, nil, "d@1")
	want(1, "d", 20, 30, "rows that no gate has had")
	add("s4", 19, 30, nil, "e@1")
	want(5, "e", 19, 30, "rows of the gates of a, b and d, and of a's evaluation")
	add("s5", 1, 5, &nextbest.Split{Salt: "s", From: 0.75, To: 1}, "f@1")
	want(1, "f", 1, 5, "other times")
}

// TestLooksOfOneQuestion: the same question on the same rows shows nothing new;
// new rows and whatever else moves a gate's bound is another look.
func TestLooksOfOneQuestion(t *testing.T) {
	day := func(d int) time.Time { return time.Date(2026, 11, d, 0, 0, 0, 0, time.UTC) }
	one, zero := 1.0, 0.0
	base := func() question {
		return question{
			ask: api.Evaluation{Placement: "shop", Seed: 1, Candidates: []api.CandidateRef{{Policy: "a@1", Model: 1}, {Policy: "b@1"}}, RewardMin: &zero, RewardMax: &one},
			on: offline.QueryRecord{Placement: "shop", Source: "old", To: day(10), MatureAt: day(20), Upto: 100, Definitions: 50, Propensity: offline.PropensityMixture, SkipHeld: true,
				Objective: nextbest.Objective{Terms: []nextbest.Term{{Reward: "visit", Weight: 1}}, Window: nextbest.Duration(14 * 24 * time.Hour)}},
			last: day(5),
		}
	}
	record := func(state api.JobState, version string, q question) nextbest.Record {
		t.Helper()
		ask, err := json.Marshal(q.ask)
		if err != nil {
			t.Fatal(err)
		}
		job := api.Job{State: state, Request: ask}
		if state == api.Done {
			if job.Result, err = json.Marshal(offline.Report{Version: version, Query: q.on, Log: offline.LogSummary{Last: q.last}}); err != nil {
				t.Fatal(err)
			}
		}
		doc, err := json.Marshal(job)
		if err != nil {
			t.Fatal(err)
		}
		return nextbest.Record{Document: doc}
	}
	policy := nextbest.Ref{ID: "a", Version: 1}
	for _, c := range []struct {
		name   string
		want   int // looks of the base question after the base and the changed one are done, and the base again
		change func(q *question)
	}{
		{"the same", 1, func(*question) {}},
		{"another seed and more folds", 1, func(q *question) { q.ask.Seed, q.ask.Folds = 9, 10 }},
		{"more shown beside", 1, func(q *question) {
			q.ask.Estimators, q.ask.Segments, q.ask.Bootstrap, q.ask.Tree, q.ask.Baselines, q.ask.Distribution = []string{"mrdr"}, []string{"day"}, 200, true, []string{"logged"}, true
		}},
		{"candidates in another order", 1, func(q *question) { slices.Reverse(q.ask.Candidates) }},
		{"matured later, when all had matured", 1, func(q *question) { q.on.MatureAt = day(25) }},
		{"the journal went on", 2, func(q *question) { q.on.Upto = 101 }},
		{"rows matured in between", 2, func(q *question) { q.on.MatureAt, q.last = day(25), day(7) }},
		{"an action changed in between", 2, func(q *question) { q.on.Definitions = 61 }},
		{"other definitions changed in between", 1, func(q *question) { q.on.Definitions = 59 }},
		{"fewer candidates, with more of the error each", 2, func(q *question) { q.ask.Candidates = q.ask.Candidates[:1] }},
		{"another limit of rewards", 2, func(q *question) { q.ask.RewardMin = nil }},
		{"another reward", 2, func(q *question) { q.on.Objective.Terms = []nextbest.Term{{Reward: "spend", Weight: 1}} }},
		{"another source", 2, func(q *question) { q.on.Source = "" }},
		{"other customers", 2, func(q *question) { q.on.Split = &nextbest.Split{Salt: "s", To: 0.5} }},
		{"other times", 2, func(q *question) { q.on.To = day(9) }},
		{"an experiment", 2, func(q *question) { q.on.Experiment = "e" }},
		{"the serving arms' propensities", 2, func(q *question) { q.on.Propensity = offline.PropensityOwn }},
	} {
		t.Run(c.name, func(t *testing.T) {
			first, other := base(), base()
			c.change(&other)
			// The base twice and the other twice, then the base under way again.
			all := []nextbest.Record{record(api.Done, offline.Version, first), record(api.Done, offline.Version, other), record(api.Done, offline.Version, first), record(api.Done, offline.Version, other), record(api.Running, "", first)}
			actions := []uint64{40, 60}
			now := base()
			if got := looks(all, &now, actions, policy, 1); got != c.want {
				t.Errorf("the base again is look %d, want %d", got, c.want)
			}
			if got := looks(all, &other, actions, policy, 1); got != c.want {
				t.Errorf("the other again is look %d, want %d", got, c.want)
			}
			third := base()
			third.on.Upto = 900
			if got := looks(all, &third, actions, policy, 1); got != c.want+1 {
				t.Errorf("new rows are look %d, want %d", got, c.want+1)
			}
		})
	}
	now := base()
	if got := looks([]nextbest.Record{record(api.Done, "offline/0", now), record(api.Running, "", now), record(api.Running, "", now)}, &now, nil, policy, 1); got != 3 {
		t.Errorf("another method, and one that is under way too: look %d, want 3", got)
	}
}
