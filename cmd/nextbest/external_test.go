package main

import "testing"

// TestExternalScores decides over HTTP by scores that come with the call, and
// replays the decisions from the log.
func TestExternalScores(t *testing.T) {
	r := start(t, own(t), quick)
	define(t, r)
	r.ready(t)
	must(t, r.admin, "POST", "/v1/policies/own/versions", obj{"algorithm": "external", "params": obj{"epsilon": 0.2}}, nil)
	must(t, r.admin, "PUT", "/v1/placements/by-scores", obj{"channels": []string{"email"}, "objective": "orders@1", "actions": []string{"do-nothing", "mens", "womens", "news"}, "policy": "own@1"}, nil)

	c := call("by-scores", "C-1", 3, "men")
	before := r.state(t)
	p := refused(t, r.channel, 422, "POST", "/v1/decisions", c)
	if after := r.state(t); after != before {
		t.Errorf("a refused call changed %+v into %+v", before, after)
	}
	scores := obj{"elsewhere": 99}
	for i, problem := range p.Problems {
		scores[problem.Field[len("scores."):]] = i
	}
	c["scores"] = scores
	for range 5 {
		m := decide(t, r.channel, c)
		if len(m.Probabilities) != len(p.Problems) || m.Policy != "own@1" {
			t.Fatalf("%+v, want a distribution of own@1 over %d actions", m, len(p.Problems))
		}
		best := 0.0
		for _, a := range m.Probabilities {
			best = max(best, a.Probability)
		}
		if want := 0.8 + 0.2/float64(len(m.Probabilities)); best < want-1e-12 || best > want+1e-12 {
			t.Errorf("the highest score has the probability %v, want %v", best, want)
		}
	}
	r.settled(t)
	if n := verified(t, r.admin); n != 5 {
		t.Errorf("%d decisions replayed, want 5", n)
	}
}
