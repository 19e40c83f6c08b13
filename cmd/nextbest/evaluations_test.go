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

// records is a history written by hand.
type records map[string][]string

func (r records) History(kind nextbest.Kind, id string) (all []nextbest.Record) {
	for _, doc := range r[string(kind)+"/"+id] {
		all = append(all, nextbest.Record{Kind: kind, ID: id, Document: []byte(doc), Deleted: doc == ""})
	}
	return all
}

// Caps and cool-downs of any version count, at this placement alone: rows were
// logged under them.
func TestLimitedPlacements(t *testing.T) {
	for name, c := range map[string]struct {
		mail []string // the action's versions
		want bool
	}{
		"free":              {[]string{`{}`}, false},
		"capped":            {[]string{`{"caps":[{"max":1,"per":"7d"}]}`}, true},
		"capped once":       {[]string{`{}`, `{"caps":[{"scope":"all","max":1,"per":"7d"}]}`, `{}`}, true},
		"cooling":           {[]string{`{"cool_down":"3d"}`}, true},
		"capped, then gone": {[]string{`{"caps":[{"max":1,"per":"7d"}]}`, ``}, true},
		"unknown":           {nil, false},
	} {
		r := records{"placements/shop": {`{"actions":["call","mail"]}`, `{"actions":["call"]}`, ``}, "actions/call": {`{}`}, "actions/mail": c.mail,
			"placements/other": {`{"actions":["sms"]}`}, "actions/sms": {`{"cool_down":"1d"}`}}
		for _, placement := range []string{"shop", "shop@2"} {
			if got := limited(r, placement); got != c.want {
				t.Errorf("%s, %s: %v", name, placement, got)
			}
		}
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
