package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"nextbest"
	"nextbest/cmd/nextbest/client"
	"nextbest/estimators"
	"nextbest/experiments"
	"nextbest/internal/api"
	"nextbest/internal/learning"
	"nextbest/offline"
)

// evenTraffic makes decisions at the placement even, which serves all actions
// alike, and in which women buy after the letter for women, and men after theirs.
// It returns when all windows have closed.
func evenTraffic(t *testing.T, r *rig, part string) {
	t.Helper()
	var mu sync.Mutex
	var rewards []string
	var wg sync.WaitGroup
	for w := range 8 {
		rng := rand.New(rand.NewPCG(uint64(len(part)), uint64(w)))
		wg.Go(func() {
			for i := range 75 {
				taste := []string{"men", "women"}[i%2]
				var m made
				if _, err := r.channel.Call(t.Context(), "POST", "/v1/decisions", call("even", fmt.Sprintf("%s-%d-%d", part, w, i), float64(1+i%12), taste), &m); err != nil {
					t.Error(err)
					return
				}
				buys := 0.05
				if m.Action == taste+"s" {
					buys = 0.8
				}
				if rng.Float64() < buys {
					mu.Lock()
					rewards = append(rewards, orderLine(m.ID, m.ID, time.Now()))
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	must(t, r.channel, "POST", "/v1/rewards", lines(rewards...), nil, ndjson)
	time.Sleep(1100 * time.Millisecond) // the windows close
}

// searchedFor starts a search and waits until it is over.
func searchedFor(t *testing.T, r *rig, ask any) (j finished, report offline.SearchReport) {
	t.Helper()
	must(t, r.admin, "POST", "/v1/searches", ask, &j)
	eventually(t, "the search is over", func() error {
		must(t, r.analyst, "GET", "/v1/searches/"+j.ID, nil, &j)
		if j.State == "queued" || j.State == "running" {
			return errors.New(j.State)
		}
		return nil
	})
	if j.State == "done" {
		if err := json.Unmarshal(j.Result, &report); err != nil {
			t.Fatal(err)
		}
	}
	return j, report
}

// TestSearch finds the better of several policies on a live log, registers it with
// evidence that the offline gate of an experiment takes, and serves it to nobody.
func TestSearch(t *testing.T) {
	t.Parallel()
	r := start(t, own(t), quick)
	define(t, r)
	must(t, r.analyst, "POST", "/v1/policies/even/versions", obj{"algorithm": "uniform"}, nil)
	must(t, r.owner, "PUT", "/v1/placements/even", obj{"actions": []string{"do-nothing", "mens", "womens"}, "policy": "even@1", "channels": []string{"email"}, "objective": "orders@1"}, nil)
	evenTraffic(t, r, "train")
	trainTo := time.Now().UTC()
	evenTraffic(t, r, "select")
	selectTo := time.Now().UTC()
	evenTraffic(t, r, "gate")
	ask := obj{"placement": "even", "train_to": trainTo, "select_to": selectTo, "mature_at": time.Now().UTC().Truncate(time.Microsecond), "seed": 7,
		"specs": []obj{
			{"name": "sees", "spec": obj{"algorithm": "linear_thompson", "features": "shop@1"}, "grid": obj{"v": []float64{0.1, 1000}, "floor": []float64{0.03}}},
			{"name": "blind", "spec": obj{"algorithm": "ucb1"}, "grid": obj{"c": []float64{0.5, 1}}},
		}}
	with := func(field string, v any) obj {
		out := obj{field: v}
		for k, v := range ask {
			if _, ok := out[k]; !ok {
				out[k] = v
			}
		}
		return out
	}
	asked := with("experiment", obj{"id": "found"})

	t.Run("a crash between two steps", func(t *testing.T) { searchCrashes(t, r, ask) })
	first, report := searchedFor(t, r, asked)
	w := report.Winner
	if report.Outcome != offline.Chosen || report.Best != "sees floor=0.03 v=0.1" || w == nil || report.Tried != 4 || report.Each != 0.05/4 {
		t.Fatalf("%s %s %+v", first.State, first.Problem, report)
	}
	if w.Policy.String() != "sees@1" || w.Model != 1 || w.Gate == nil || !w.Gate.Passed || w.Gate.Look != 1 || w.Gate.Delta != estimators.Spend(0.05, 1) || w.Experiment != "found" {
		t.Errorf("winner %+v, warnings %q", w, report.Warnings)
	}
	var table bytes.Buffer
	if err := report.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + table.String())

	t.Run("the evidence", func(t *testing.T) { searchEvidence(t, r, w, trainTo, selectTo) })
	t.Run("the experiment", func(t *testing.T) { searchExperiment(t, r, w) })
	t.Run("again", func(t *testing.T) {
		_, again := searchedFor(t, r, ask)
		if again.Winner == nil || again.Winner.Evaluation != w.Evaluation || again.Winner.Policy != w.Policy || again.Winner.Model != w.Model || again.Winner.Gate.Look != 1 {
			t.Fatalf("%+v, then %+v", w, again.Winner)
		}
		// Up to what it wrote into the definitions, and the experiment that was not
		// asked for, it is the same report.
		again.Query.Definitions, again.Winner.Experiment = report.Query.Definitions, w.Experiment
		again.Query.Upto, report.Query.Upto = 0, 0
		for i := range again.Candidates {
			again.Candidates[i].Trained, report.Candidates[i].Trained = nil, nil
		}
		a, _ := json.Marshal(again)
		b, _ := json.Marshal(report)
		if !bytes.Equal(a, b) {
			t.Errorf("again\n%s\nfirst\n%s", a, b)
		}
	})
	t.Run("another look at the gate", func(t *testing.T) {
		_, other := searchedFor(t, r, with("specs", []obj{{"name": "other", "spec": obj{"algorithm": "linear_thompson", "features": "shop@1", "params": obj{"v": 0.2}}}}))
		if x := other.Winner; x == nil || x.Policy.String() != "other@1" || x.Gate.Look != 2 || x.Gate.Delta != estimators.Spend(0.05, 2) || x.Earlier != 1 || !strings.Contains(other.Verdict, "look number 2") {
			t.Errorf("%+v", x)
		}
		// Whoever evaluates the first winner again looks once more: after its gate and
		// the three evaluations of its evidence, and after the gate of the other.
		j := runEvaluation(t, r, "/v1/evaluations", obj{"placement": "even", "from": selectTo, "candidates": []obj{{"policy": "sees@1", "model": 1}}})
		var again offline.Report
		if err := json.Unmarshal(j.Result, &again); err != nil {
			t.Fatal(err)
		}
		if x, _ := again.Result("sees@1/1"); x.Gate == nil || x.Gate.Look != 6 {
			t.Errorf("%+v", x.Gate)
		}
	})
	t.Run("bad searches", func(t *testing.T) { badSearches(t, r, with, trainTo, selectTo) })
	t.Run("nothing better", func(t *testing.T) {
		before := len(r.definitions.History(nextbest.KindPolicy, "lost"))
		_, none := searchedFor(t, r, with("specs", []obj{{"name": "lost", "spec": obj{"algorithm": "softmax", "features": "shop@1", "params": obj{"temperature": 1e6}}}}))
		if none.Outcome != offline.NoneBetter || none.Winner != nil || len(r.definitions.History(nextbest.KindPolicy, "lost")) != before {
			t.Errorf("%+v", none)
		}
	})
	t.Run("twice at once", func(t *testing.T) { searchTwice(t, r, with) })
	t.Run("by customers", func(t *testing.T) { searchByCustomers(t, r) })
	if m := decide(t, r.channel, call("even", "after", 3, "men")); m.Policy != "even@1" || m.Experiment != nil {
		t.Errorf("after the searches %+v is served", m)
	}
}

// searchCrashes: what is registered when a search ends in the middle is taken by
// the next, and nothing is registered by one that is cancelled before.
func searchCrashes(t *testing.T, r *rig, ask obj) {
	raw, err := json.Marshal(ask)
	if err != nil {
		t.Fatal(err)
	}
	var body api.Search
	if err := json.Unmarshal(raw, &body); err != nil {
		t.Fatal(err)
	}
	s := searcher{evaluator{r.platform}, r.trainer, r.experiments}
	run := api.SearchRun{ID: "s", By: "tester", Progress: func(int64, int64) {}, Fix: func() error { return context.Canceled }}
	count := func() [2]int {
		return [2]int{len(r.definitions.History(nextbest.KindPolicy, "sees")), len(r.definitions.History(nextbest.KindModel, "sees.1"))}
	}
	if _, err := s.Search(t.Context(), body, run); !errors.Is(err, context.Canceled) || count() != [2]int{} {
		t.Errorf("cancelled: %v, registered %v", err, count())
	}
	down := errors.New("the power went")
	run.Fix = func() error { return nil }
	run.Evaluate = func(context.Context, api.Evaluation, func(int64)) (string, json.RawMessage, error) {
		return "", nil, down
	}
	for range 2 {
		if _, err := s.Search(t.Context(), body, run); !errors.Is(err, down) || count() != [2]int{1, 1} {
			t.Errorf("%v, registered %v", err, count())
		}
	}
}

// searchEvidence: the gate's evaluation is one like any other, and the winner
// proves nothing on the rows that it was learned from or chosen by.
func searchEvidence(t *testing.T, r *rig, w *offline.Winner, trainTo, selectTo time.Time) {
	var job api.Job
	must(t, r.analyst, "GET", "/v1/evaluations/"+w.Evaluation, nil, &job)
	if job.State != api.Done || job.Search == "" {
		t.Errorf("%+v", job)
	}
	if again := runEvaluation(t, r, "/v1/evaluations/"+w.Evaluation+"/repeat", nil); !bytes.Equal(again.Result, job.Result) {
		t.Errorf("the repeat gives\n%s\nthe gate gave\n%s", again.Result, job.Result)
	}
	rec, ok := r.definitions.Version(nextbest.KindModel, learning.ID(w.Policy), w.Model)
	m, err := learning.ParseModel(rec)
	if err != nil || !ok || len(m.Tuned) != 1 || !m.Tuned[0].From.Equal(trainTo) || !m.Tuned[0].To.Equal(selectTo) || !m.Trained.MatureAt.Equal(trainTo) || m.Trained.To.After(trainTo.Add(-time.Second+time.Microsecond)) || m.Trained.Rows < 500 || m.Trained.Rows > 600 {
		t.Errorf("%+v, %v", m, err)
	}
	var rebuilt learning.Rebuilt
	if _, err := r.analyst.AwaitAt(t.Context(), "/v1/policies/sees/versions/1/rebuild", "rebuilds", obj{"model": 1}, &rebuilt, func(int64) {}); err != nil || !rebuilt.Same {
		t.Errorf("%+v, %v", rebuilt, err)
	}
	for name, rows := range map[string]obj{"train": {"to": trainTo}, "select": {"from": trainTo, "to": selectTo}, "a part of select": {"from": trainTo.Add(100 * time.Millisecond), "to": selectTo}} {
		rows["placement"], rows["candidates"] = "even", []obj{{"policy": w.Policy, "model": w.Model}}
		var report offline.Report
		if err := json.Unmarshal(runEvaluation(t, r, "/v1/evaluations", rows).Result, &report); err != nil {
			t.Fatal(err)
		}
		x, _ := report.Result(fmt.Sprintf("%s/%d", w.Policy, w.Model))
		found := false
		for _, f := range x.Refusals {
			found = found || f.Code == estimators.RefusedTraining
		}
		if !found {
			t.Errorf("on the rows of %s it is not refused: %+v", name, x.Refusals)
		}
	}
	// Another model of the version that was chosen there is no better evidence.
	must(t, r.analyst, "POST", "/v1/policies/sees/versions/1/models", obj{"placement": "even", "to": trainTo}, nil)
	var report offline.Report
	if err := json.Unmarshal(runEvaluation(t, r, "/v1/evaluations", obj{"placement": "even", "from": trainTo, "to": selectTo, "candidates": []obj{{"policy": w.Policy, "model": 2}}}).Result, &report); err != nil {
		t.Fatal(err)
	}
	if x, _ := report.Result("sees@1/2"); !x.Refused() || x.Refusals[0].Code != estimators.RefusedTraining {
		t.Errorf("another model of the version: %+v", x.Refusals)
	}
}

// searchExperiment: the draft names the evidence, and its offline gate is passed.
func searchExperiment(t *testing.T, r *rig, w *offline.Winner) {
	d, rec, err := r.experiments.Get("found")
	if err != nil || d.State != experiments.Draft || d.Evaluation != w.Evaluation || d.Placement != "even" || d.Primary.Reward != "order" || d.Arms[d.Control()].Policy.String() != "even@1" || d.Arms[d.Arm("candidate")].Policy != w.Policy {
		t.Fatalf("%+v, %v", d, err)
	}
	if rec.Actor == "" || d.Author != rec.Actor {
		t.Errorf("author %q, written by %q", d.Author, rec.Actor)
	}
	ev, err := (evaluator{r.platform}).Evidence(t.Context(), w.Evaluation, w.Policy, w.Model)
	if err != nil || !(ev.GainLow > 0) || len(ev.Refusals) != 0 || ev.Look != 1 || ev.Placement != "even" {
		t.Errorf("%+v, %v", ev, err)
	}
	var gates struct{ Gates []experiments.Gate }
	must(t, r.owner, "POST", "/v1/experiments/found/start", obj{"reason": "go"}, nil)
	must(t, r.approver, "GET", "/v1/experiments/found/gates?arm=candidate", nil, &gates)
	if k := slices.IndexFunc(gates.Gates, func(g experiments.Gate) bool { return g.Name == experiments.GateOffline }); k < 0 || !gates.Gates[k].Passed {
		t.Errorf("%+v", gates)
	}
	must(t, r.owner, "POST", "/v1/experiments/found/stop", obj{"reason": "enough"}, nil)
}

// searchByCustomers gives each part customers of its own, on an imported log, and
// finds that what is served decided none of it.
func searchByCustomers(t *testing.T, r *rig) {
	must(t, r.owner, "PUT", "/v1/placements/archive", obj{"actions": []string{"do-nothing", "mens", "womens"}, "policy": "even@1", "channels": []string{"email"}, "objective": "orders@1"}, nil)
	rng := rand.New(rand.NewPCG(4, 4))
	var rows []string
	for i := range 2000 {
		taste, action, value := []string{"men", "women"}[i%2], []string{"do-nothing", "mens", "womens"}[rng.IntN(3)], 0
		if rng.Float64() < 0.05 || action == taste+"s" && rng.Float64() < 0.7 {
			value = 1
		}
		rows = append(rows, fmt.Sprintf(`{"id":"%d","customer":{"id":"A-%d"},"time":"2026-01-05T%02d:%02d:00Z","context":{"recency":%d,"taste":%q},"action":%q,"eligible":["do-nothing","mens","womens"],"rewards":[{"kind":"order","value":%d}]}`,
			i, i, i/60%24, i%60, 1+i%12, taste, action, value))
	}
	if got, err := r.analyst.Import(t.Context(), client.ImportOptions{Name: "archive", Placement: "archive", Randomisation: "uniform"}, lines(rows...)); err != nil || got.Rows != 2000 {
		t.Fatalf("%+v, %v", got, err)
	}
	ask := obj{"placement": "archive", "salt": "parts", "shares": obj{"train": 0.4, "select": 0.3}, "policy": "kept", "experiment": obj{"id": "archived"},
		"specs": []obj{{"name": "sees", "spec": obj{"algorithm": "linucb", "features": "shop@1"}, "grid": obj{"alpha": []float64{0.1, 1}, "floor": []float64{0.02, 0.9}}}}}
	j, report := searchedFor(t, r, ask)
	w := report.Winner
	if w == nil || w.Policy.String() != "kept@1" || !w.Gate.Passed || w.Experiment != "archived" || !strings.Contains(strings.Join(report.Warnings, ";"), "imported log, and placement archive serves even@1") {
		t.Fatalf("%s %s %+v", j.State, j.Problem, report)
	}
	if p := report.Parts; p.Train.Rows+p.Select.Rows+p.Gate.Rows != 2000 || p.Train.Rows < 700 || p.Train.Rows > 900 || *p.Gate.Split != (nextbest.Split{Salt: "parts", From: 0.7, To: 1}) {
		t.Errorf("%+v", p)
	}
	// 4 candidates of one training.
	for _, c := range report.Candidates {
		if c.Trained == nil || c.Trained.Rows != report.Parts.Train.Rows || c.Rank == 0 {
			t.Errorf("%+v", c)
		}
	}
	delete(ask, "experiment")
	ask["salt"] = "others"
	if j, _ = searchedFor(t, r, ask); j.State != "failed" || !strings.Contains(string(j.Problem), "same salt") {
		t.Errorf("another salt mixes the parts: %s %s", j.State, j.Problem)
	}
}

// badSearches are refused before they read a row, or say what would cure them.
func badSearches(t *testing.T, r *rig, with func(string, any) obj, trainTo, selectTo time.Time) {
	spec := func(change obj) []obj {
		s := obj{"name": "a", "spec": obj{"algorithm": "linear_thompson", "features": "shop@1"}}
		for k, v := range change {
			s[k] = v
		}
		return []obj{s}
	}
	for field, body := range map[string]obj{
		"specs[0].grid.alpha":     with("specs", spec(obj{"grid": obj{"alpha": []float64{1}}})),
		"specs[0].grid.v":         with("specs", spec(obj{"grid": obj{"v": []float64{}}})),
		"specs[0].grid.floor[1]":  with("specs", spec(obj{"grid": obj{"floor": []float64{0.1, 2}}})),
		"specs[0].spec.features":  with("specs", spec(obj{"spec": obj{"algorithm": "linear_thompson", "features": "shop@9"}})),
		"specs[0].spec.algorithm": with("specs", spec(obj{"spec": obj{"algorithm": "uniform"}})),
		"select_to":               with("select_to", trainTo),
		"salt":                    with("salt", "s"),
		"experiment.id":           with("experiment", obj{"id": "found"}),
	} {
		p := refused(t, r.admin, http.StatusUnprocessableEntity, "POST", "/v1/searches", body)
		if !strings.Contains(string(p.Raw), fmt.Sprintf(`"field":%q`, field)) {
			t.Errorf("want %s: %s", field, p.Raw)
		}
	}
	failed := func(name, says string, body obj) {
		t.Helper()
		j, _ := searchedFor(t, r, body)
		if j.State != "failed" || !strings.Contains(string(j.Problem), says) {
			t.Errorf("%s: %s %s", name, j.State, j.Problem)
		}
	}
	failed("no time to mature", "parts.select", with("select_to", trainTo.Add(500*time.Millisecond)))
	failed("rows of none", "parts.train", with("from", trainTo.Add(-time.Millisecond)))
	touched := with("select_to", selectTo.Add(-200*time.Millisecond))
	failed("a gate that is touched", "not untouched", touched)
	refused(t, r.analyst, http.StatusForbidden, "POST", "/v1/searches", with("experiment", obj{"id": "mine"}))
}
