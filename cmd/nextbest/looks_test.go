package main

import (
	"encoding/json"
	"testing"
	"time"

	"nextbest"
	"nextbest/internal/api"
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
		if got := looks(all, nextbest.Query{Placement: "shop@4"}, policy, 2); got != n {
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
		if got := looks(all, nextbest.Query{Placement: "shop@2", From: day(from), To: day(to)}, nextbest.Ref{ID: policy, Version: 1}, 1); got != n {
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
