package main

import (
	"strings"
	"testing"
	"time"

	"nextbest"
	"nextbest/internal/api"
	"nextbest/offline"
)

// An evaluation is of the customers whom a candidate would serve.
func TestEvaluationsLeaveTheHoldoutOut(t *testing.T) {
	q := queryOf(api.Evaluation{Placement: "shop", Source: "live", Experiment: "exp"}, nextbest.Objective{Window: 1}, 7)
	if !q.SkipHeld || q.Placement != "shop" || q.Source != "live" || q.Experiment != "exp" || q.Upto != 7 || q.Objective.Window != 1 {
		t.Errorf("%+v", q)
	}
}

func TestEvaluationsRefuseTheFuture(t *testing.T) {
	_, err := evaluator{}.Evaluate(t.Context(), api.Evaluation{Placement: "shop", MatureAt: time.Now().Add(time.Hour)}, nil)
	if nextbest.CodeOf(err) != nextbest.Invalid {
		t.Errorf("rows that mature in an hour: %v", err)
	}
}

// The gates learn by what an evaluation measured.
func TestEvidenceNamesItsObjective(t *testing.T) {
	report := &offline.Report{Query: offline.QueryRecord{Placement: "shop", Objective: nextbest.Objective{Terms: []nextbest.Term{{Reward: "open", Weight: 1}}, Window: 5}},
		Results: []offline.Result{{Name: "lints@1/2", Gate: &offline.Gate{Lower: 1, RewardMax: 60}}}}
	ev, err := evidence("e1", report, nextbest.Ref{ID: "lints", Version: 1}, 2)
	if err != nil || len(ev.Objective.Terms) != 1 || ev.Objective.Terms[0].Reward != "open" || ev.Objective.Window != 5 || len(ev.Refusals) != 1 || !strings.Contains(ev.Refusals[0], "more than 60") {
		t.Errorf("%+v %v", ev, err)
	}
}
