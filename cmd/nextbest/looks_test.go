package main

import (
	"encoding/json"
	"testing"

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
}
