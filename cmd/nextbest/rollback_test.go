package main

import (
	"net/http"
	"strings"
	"testing"

	"nextbest/experiments"
)

// TestRollbackSaysWhatItUndid rolls back while an experiment runs, and again
// when there is nothing left to undo; before, the gates are asked with another
// evaluation than the experiment's.
func TestRollbackSaysWhatItUndid(t *testing.T) {
	r := start(t, own(t), quick)
	define(t, r)
	must(t, r.owner, "PUT", "/v1/experiments/trial", obj{"placement": "shop", "salt": "x", "window": "1s", "primary": obj{"reward": "order"}, "minimum_duration": "1s", "evaluation": "first",
		"arms": []obj{{"id": "control", "policy": "rules@1", "share": 0.5, "control": true}, {"id": "candidate", "policy": "lints@1", "share": 0.5}}}, nil)
	must(t, r.owner, "POST", "/v1/experiments/trial/start", obj{}, nil)

	for query, want := range map[string]string{"": "there is no evaluation first", "&evaluation=second": "there is no evaluation second"} {
		var g struct{ Gates []experiments.Gate }
		must(t, r.owner, "GET", "/v1/experiments/trial/gates?arm=candidate"+query, nil, &g)
		if g.Gates[0].Name != experiments.GateOffline || g.Gates[0].Detail != want {
			t.Errorf("%q: %+v", query, g.Gates[0])
		}
	}
	p := refused(t, r.approver, http.StatusConflict, "POST", "/v1/experiments/trial/promote", obj{"arm": "candidate", "evaluation": "third", "reason": "r"})
	if g := refusedGates(t, p)[0]; !strings.Contains(g.Detail, "third") {
		t.Errorf("the promotion looked at another evaluation: %+v", g)
	}

	var done struct {
		Version  uint64
		Ended    string `json:"ended_experiment"`
		Document struct{ Policy string }
	}
	must(t, r.owner, "POST", "/v1/placements/shop/rollback", obj{"reason": "complaints"}, &done)
	if done.Ended != "trial" || done.Version != 1 || done.Document.Policy != "rules@1" {
		t.Errorf("while an experiment ran: %+v", done)
	}
	var e struct{ Document struct{ State string } }
	must(t, r.owner, "GET", "/v1/experiments/trial", nil, &e)
	if e.Document.State != "rolled_back" {
		t.Errorf("the experiment is %s", e.Document.State)
	}
	if p := refused(t, r.owner, http.StatusConflict, "POST", "/v1/placements/shop/rollback", obj{"reason": "complaints"}); !strings.Contains(p.Detail, "nothing came before") {
		t.Errorf("with nothing to undo: %v", p)
	}
}
