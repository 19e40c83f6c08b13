package main

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"nextbest"
	"nextbest/internal/learning"
	"nextbest/offline"
)

// searchTwice posts one search twice at once, and has several runs register one
// winner at the same moment: there is one policy version, model, evaluation and
// draft, and the rows of the gate are looked at once.
func searchTwice(t *testing.T, r *rig, with func(string, any) obj) {
	ask := with("policy", "twice")
	ask["experiment"] = obj{"id": "twice"}
	ids := map[string]bool{}
	var reports []offline.SearchReport
	before := len(r.definitions.List(nextbest.KindEvaluation))
	var jobs [2]finished
	for i := range jobs {
		must(t, r.admin, "POST", "/v1/searches", ask, &jobs[i])
	}
	for _, j := range jobs {
		eventually(t, "the search is over", func() error {
			must(t, r.analyst, "GET", "/v1/searches/"+j.ID, nil, &j)
			if j.State == "queued" || j.State == "running" {
				return fmt.Errorf("%s", j.State)
			}
			return nil
		})
		var report offline.SearchReport
		if err := json.Unmarshal(j.Result, &report); err != nil {
			t.Fatalf("%s %s: %v", j.State, j.Problem, err)
		}
		reports = append(reports, report)
		ids[report.Winner.Evaluation] = true
	}
	for _, report := range reports {
		if w := report.Winner; w.Policy.String() != "twice@1" || w.Model != 1 || w.Experiment != "twice" || len(ids) != 1 {
			t.Errorf("%+v, evaluations %v, warnings %q", w, ids, report.Warnings)
		}
	}
	if n := len(r.definitions.List(nextbest.KindEvaluation)) - before; n != 1 {
		t.Errorf("%d evaluations of the gate", n)
	}
	if v, m := len(r.definitions.History(nextbest.KindPolicy, "twice")), len(r.definitions.History(nextbest.KindModel, learning.ID(reports[0].Winner.Policy))); v != 1 || m != 1 {
		t.Errorf("%d policy versions and %d models", v, m)
	}

	// Steps that meet.
	s := &search{searcher: searcher{evaluator{r.platform}, r.trainer, r.experiments}}
	s.run.ID, s.run.By = "s", "tester"
	s.ask.Policy = "met"
	c := &offline.Combination{Of: "met", Document: json.RawMessage(`{"algorithm":"uniform"}`)}
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			<-begin
			if ref, err := s.policyVersion(t.Context(), c); err != nil || ref.String() != "met@1" {
				t.Errorf("%s, %v", ref, err)
			}
		})
	}
	close(begin)
	wg.Wait()
	if n := len(r.definitions.History(nextbest.KindPolicy, "met")); n != 1 {
		t.Errorf("%d versions of one specification", n)
	}
}
