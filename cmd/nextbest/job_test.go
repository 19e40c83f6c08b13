package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"nextbest/cmd/nextbest/client"
	"nextbest/experiments"
	"nextbest/internal/console"
	"nextbest/offline"
)

// TestWholeJob does the platform's main job through its HTTP API alone: define,
// decide, report, learn, evaluate, experiment, refuse, roll back, verify.
func TestWholeJob(t *testing.T) {
	r := start(t, own(t), quick)
	define(t, r)
	r.ready(t)

	t.Run("decide and report", func(t *testing.T) { decideAndReport(t, r) })
	t.Run("repeat", func(t *testing.T) { repeat(t, r) })
	t.Run("caps and consent", func(t *testing.T) { capsAndConsent(t, r) })
	model := uint64(0)
	t.Run("learn", func(t *testing.T) { model = learn(t, r) })
	evaluation := ""
	t.Run("evaluate", func(t *testing.T) { evaluation = evaluate(t, r, model) })
	t.Run("evaluate specifications", func(t *testing.T) { evaluateSpecifications(t, r, model) })
	t.Run("repeat an evaluation", func(t *testing.T) { repeatEvaluation(t, r, model) })
	t.Run("experiment", func(t *testing.T) { experiment(t, r, model, evaluation) })
	t.Run("roll back", func(t *testing.T) { rollBack(t, r) })
	t.Run("audit", func(t *testing.T) { audit(t, r) })
	t.Run("verify", func(t *testing.T) { verified(t, r.analyst) })
	t.Run("console", func(t *testing.T) { openConsole(t, r) })
	t.Run("machinery", func(t *testing.T) { machinery(t, r) })
}

func decideAndReport(t *testing.T, r *rig) {
	m := decide(t, r.channel, call("shop", "C-1", 3, "women"))
	if id, err := uuid.Parse(m.ID); err != nil || id.Version() != 7 {
		t.Errorf("decision id %q, want a UUIDv7", m.ID)
	}
	sum := 0.0
	for _, p := range m.Probabilities {
		sum += p.Probability
		if p.Action == m.Action && p.Probability != m.Propensity {
			t.Errorf("propensity %v of %s, whose probability is %v", m.Propensity, m.Action, p.Probability)
		}
	}
	if len(m.Probabilities) != 4 || sum < 1-1e-12 || sum > 1+1e-12 || m.Policy != "rules@1" {
		t.Errorf("probabilities %v sum to %v, policy %s", m.Probabilities, sum, m.Policy)
	}
	now := time.Now().UTC()
	must(t, r.channel, "POST", "/v1/decisions/"+m.ID+"/impression", obj{"slot": 1, "status": "shown", "time": now}, nil)
	var taken struct{ Accepted int }
	must(t, r.channel, "POST", "/v1/rewards", obj{"rewards": []obj{
		{"id": "o-1", "kind": "order", "value": 1, "time": now, "decision_id": m.ID},
		{"id": "o-2", "kind": "order", "value": 2, "time": now, "customer": obj{"id": "C-1"}},
		{"id": "o-3", "kind": "order", "value": 4, "time": now, "customer": obj{"id": "C-nobody"}},
	}}, &taken)
	if taken.Accepted != 3 {
		t.Errorf("%d rewards accepted, want 3", taken.Accepted)
	}
	must(t, r.channel, "POST", "/v1/rewards", lines(orderLine("o-4", m.ID, now), "", orderLine("o-5", m.ID, now)), &taken, ndjson)
	if taken.Accepted != 2 {
		t.Errorf("%d rewards accepted in bulk, want 2", taken.Accepted)
	}
	r.settled(t)
	var row struct {
		Items []struct {
			Action, Customer, Placement string
			Propensity                  float64
			Mixture                     float64 `json:"mixture_propensity"`
		}
	}
	must(t, r.analyst, "GET", "/v1/decisions/"+m.ID, nil, &row)
	if len(row.Items) != 1 || row.Items[0].Action != m.Action || row.Items[0].Propensity != m.Propensity || row.Items[0].Placement != "shop@1" || row.Items[0].Mixture != m.Propensity {
		t.Errorf("logged %+v, answered %+v", row.Items, m)
	}
	if strings.Contains(row.Items[0].Customer, "C-1") {
		t.Errorf("the log holds the identifier: %q", row.Items[0].Customer)
	}
	var unmatched struct{ Items []struct{ ID string } }
	must(t, r.analyst, "GET", "/v1/rewards/unmatched", nil, &unmatched)
	if len(unmatched.Items) != 1 || unmatched.Items[0].ID != "o-3" {
		t.Errorf("unmatched %+v, want o-3 alone", unmatched.Items)
	}
}

func repeat(t *testing.T, r *rig) {
	key := client.Header("Idempotency-Key", "order-77")
	first := decide(t, r.channel, call("shop", "C-7", 3, "men"), key)
	again := decide(t, r.channel, call("shop", "C-7", 3, "men"), key)
	if first.Repeated || !again.Repeated || again.ID != first.ID || again.Action != first.Action || again.Propensity != first.Propensity {
		t.Errorf("first %+v, again %+v", first, again)
	}
	p := refused(t, r.channel, http.StatusConflict, "POST", "/v1/decisions", call("shop", "C-7", 4, "men"), key)
	if !strings.Contains(p.Detail, first.ID) || !strings.Contains(p.Detail, "order-77") {
		t.Errorf("the conflict names neither key nor decision: %s", p.Detail)
	}
	r.settled(t)
	var row struct{ Items []struct{ Action string } }
	must(t, r.analyst, "GET", "/v1/decisions/"+first.ID, nil, &row)
	if len(row.Items) != 1 {
		t.Errorf("%d rows of one decision", len(row.Items))
	}
}

func capsAndConsent(t *testing.T, r *rig) {
	body := call("shop", "C-8", 3, "men")
	body["customer"] = obj{"id": "C-8", "consent": obj{"email": false}}
	if m := decide(t, r.channel, body); m.why("news") != "no_consent" {
		t.Errorf("without consent, news is %q", m.why("news"))
	}
	one, two := decide(t, r.channel, call("mailbox", "C-8", 3, "men")), decide(t, r.channel, call("mailbox", "C-8", 3, "men"))
	if one.Action != "once" || two.Action != "do-nothing" || two.why("once") != "cap_reached" || two.Propensity != 1 {
		t.Errorf("first %+v, second %+v", one, two)
	}
	// An impression that did not happen frees the cap again.
	must(t, r.channel, "POST", "/v1/decisions/"+one.ID+"/impression", obj{"status": "not_shown"}, nil)
	if m := decide(t, r.channel, call("mailbox", "C-8", 3, "men")); m.Action != "once" {
		t.Errorf("after the contact did not happen: %+v", m)
	}
}

// learn makes traffic in which women buy after the letter for women, and men
// after the one for men, and trains a model on half of the customers.
func learn(t *testing.T, r *rig) (model uint64) {
	var mu sync.Mutex
	var rewards []string
	var wg sync.WaitGroup
	for w := range 8 {
		rng := rand.New(rand.NewPCG(1, uint64(w)))
		wg.Go(func() {
			for i := range 150 {
				taste := []string{"men", "women"}[i%2]
				var m made
				if _, err := r.channel.Call(t.Context(), "POST", "/v1/decisions", call("shop", fmt.Sprintf("L-%d-%d", w, i), float64(1+i%12), taste), &m); err != nil {
					t.Error(err)
					return
				}
				buys := 0.05
				if m.Action == taste+"s" {
					buys = 0.7
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
	time.Sleep(1200 * time.Millisecond) // the window closes
	var trained struct {
		Version  uint64
		Document struct {
			Trained struct{ Rows int64 }
		}
	}
	must(t, r.analyst, "POST", "/v1/policies/lints/versions/1/models", obj{"placement": "shop", "split": obj{"salt": "x", "from": 0, "to": 0.5}}, &trained)
	if n := trained.Document.Trained.Rows; trained.Version != 1 || n < 400 || n > 800 {
		t.Errorf("model %d from %d rows, want model 1 from about 600", trained.Version, n)
	}
	var weights struct{ Actions any }
	must(t, r.analyst, "GET", "/v1/policies/lints/versions/1/models/1/weights", nil, &weights)
	if !strings.Contains(fmt.Sprint(weights.Actions), "recency") {
		t.Errorf("weights without the feature: %v", weights.Actions)
	}
	return trained.Version
}

// evaluate gets an estimate on the exploring log and a refusal on the other.
func evaluate(t *testing.T, r *rig, model uint64) (id string) {
	ask := obj{"placement": "shop", "split": obj{"salt": "x", "from": 0.5, "to": 1}, "candidates": []obj{{"policy": "lints@1", "model": model}}, "seed": 7}
	var report offline.Report
	id, err := r.analyst.Await(t.Context(), "evaluations", ask, &report, func(int64) {})
	if err != nil {
		t.Fatal(err)
	}
	got, ok := report.Result("lints@1/1")
	if !ok || got.DR == nil {
		t.Fatalf("no estimate: %+v", report.Results)
	}
	// The truth: everybody may get the letter they like, .7, or with the rest of
	// the probability another action; the rules give it with probability .85.
	if got.DR.Value < 0.3 || got.DR.Value > 0.9 || !(got.DR.Low < got.DR.Value && got.DR.Value < got.DR.High) {
		t.Errorf("DR %+v", got.DR)
	}
	// The same rows again give the same report.
	var again offline.Report
	if _, err := r.analyst.Await(t.Context(), "evaluations", ask, &again, func(int64) {}); err != nil {
		t.Fatal(err)
	}
	if a, _ := again.Result("lints@1/1"); a.DR == nil || *a.DR != *got.DR {
		t.Errorf("the second run gives %+v, the first %+v", a.DR, got.DR)
	}
	// Rows that it was trained on are no evidence.
	ask["split"] = obj{"salt": "x", "from": 0.25, "to": 1}
	var overlap offline.Report
	if _, err := r.analyst.Await(t.Context(), "evaluations", ask, &overlap, func(int64) {}); err != nil {
		t.Fatal(err)
	}
	if o, _ := overlap.Result("lints@1/1"); !o.Refused() || !strings.Contains(o.Verdict, "REFUSED") || !strings.Contains(o.Refusals[0].Message, "train") {
		t.Errorf("training rows were evaluated: %+v", o)
	}
	for i := range 60 {
		decide(t, r.channel, call("certain", fmt.Sprintf("D-%d", i), 3, "men"))
	}
	time.Sleep(1200 * time.Millisecond)
	var certain offline.Report
	if _, err := r.analyst.Await(t.Context(), "evaluations", obj{"placement": "certain", "candidates": []obj{{"policy": "lints@1", "model": model}}}, &certain, func(int64) {}); err != nil {
		t.Fatal(err)
	}
	if c, ok := certain.Result("lints@1/1"); !ok || !c.Refused() || c.Refusals[0].Message == "" || c.Refusals[0].Cure == "" {
		t.Errorf("a log without exploration gave %+v", c)
	}
	return id
}

// finished is an evaluation's job that is done.
type finished struct {
	ID, State, Repeats string
	Result, Problem    json.RawMessage
}

// runEvaluation posts a job of the evaluations and waits until it is done.
func runEvaluation(t *testing.T, r *rig, path string, body any) (j finished) {
	t.Helper()
	must(t, r.analyst, "POST", path, body, &j)
	eventually(t, "the evaluation is done", func() error {
		must(t, r.analyst, "GET", "/v1/evaluations/"+j.ID, nil, &j)
		if j.State == "queued" || j.State == "running" {
			return errors.New(j.State)
		}
		return nil
	})
	if j.State != "done" {
		t.Fatalf("%s: %s", j.State, j.Problem)
	}
	return j
}

// evaluateSpecifications: what is not registered is evaluated as if it were, and
// again bit for bit.
func evaluateSpecifications(t *testing.T, r *rig, model uint64) {
	ask := obj{"placement": "shop", "split": obj{"salt": "x", "from": 0.5, "to": 1}, "seed": 7, "baselines": []string{"logged", "fixed:mens"}, "cross_fit": "time", "distribution": true,
		"estimators": []string{"mips", "offcem", "mrdr", "balanced", "adaptive_aipw", "cascade_dr", "position_ips"}, "clusters": obj{"mens": "letters", "womens": "letters"}, "candidates": []obj{
			{"policy": "lints@1", "model": model},
			{"policy": "rules@1"},
			{"name": "learner", "spec": obj{"algorithm": "linear_thompson", "features": "shop@1"}, "train": obj{"split": obj{"salt": "x", "from": 0, "to": 0.5}}},
			{"name": "table", "spec": obj{"algorithm": "rules", "params": obj{"epsilon": 0.2}, "rules": []obj{{"when": "context.taste == 'women'", "action": "womens"}, {"when": "true", "action": "mens"}}}},
			{"name": "evenly", "spec": obj{"algorithm": "uniform"}},
		}}
	first := runEvaluation(t, r, "/v1/evaluations", ask)
	var report offline.Report
	if err := json.Unmarshal(first.Result, &report); err != nil {
		t.Fatal(err)
	}
	for name, twin := range map[string]string{"learner": "lints@1/1", "table": "rules@1"} {
		got, _ := report.Result(name)
		want, _ := report.Result(twin)
		if got == nil || got.Refused() || got.DR == nil || *got.DR != *want.DR || *got.IPS != *want.IPS {
			t.Errorf("%s gives %+v, its registered twin %+v", name, got, want)
		}
	}
	// (.7 + 3·.05)/4 where all four may be sent. The draws are real: in some runs one
	// customer carries so much of it that it is refused, and then has its figures
	// all the same.
	if e, _ := report.Result("evenly"); e.DR == nil || math.Abs(e.DR.Value-0.22) > e.DR.High-e.DR.Low {
		t.Errorf("uniform: %+v", e)
	}
	if f, ok := report.Result("fixed:mens"); !ok || !f.Baseline || f.DR == nil {
		t.Errorf("always mens: %+v", f)
	}
	if n := len(report.Comparisons); n != 10 || report.Comparisons[1].Difference == nil {
		t.Errorf("%d comparisons of five candidates: %+v", n, report.Comparisons)
	}
	if got, _ := report.Result("rules@1"); len(got.Estimates) != 7 || got.Distribution == nil || report.Query.CrossFit != "time" || report.Query.Clusters["womens"] != "letters" {
		t.Errorf("what was asked for beside: %+v, %+v, %+v", got.Estimates, got.Distribution, report.Query)
	}
	made := report.Query.Specified
	if len(made) != 3 || made[0].Trained == nil || made[0].Trained.Rows < 400 || made[1].Trained != nil || !strings.Contains(string(made[0].Spec), `"v":`) {
		t.Errorf("how they were made: %+v", made)
	}
	again := runEvaluation(t, r, "/v1/evaluations/"+first.ID+"/repeat", nil)
	if !bytes.Equal(again.Result, first.Result) {
		t.Errorf("the repeat gives\n%s\nthe first run gave\n%s", again.Result, first.Result)
	}
	// A schema that does not exist, and rows that are evaluated too.
	refuse := func(field string, change func(c obj)) {
		t.Helper()
		c := obj{"name": "learner", "spec": obj{"algorithm": "linear_thompson", "features": "shop@1"}, "train": obj{"split": obj{"salt": "x", "from": 0, "to": 0.5}}}
		change(c)
		p := refused(t, r.analyst, http.StatusUnprocessableEntity, "POST", "/v1/evaluations", obj{"placement": "shop", "split": obj{"salt": "x", "from": 0.5, "to": 1}, "candidates": []obj{c}})
		if !strings.Contains(string(p.Raw), `"candidates[0].`+field+`"`) {
			t.Errorf("want %s: %s", field, p.Raw)
		}
	}
	refuse("spec.features", func(c obj) { c["spec"] = obj{"algorithm": "linear_thompson", "features": "shop@9"} })
	refuse("spec.params.v", func(c obj) { c["spec"] = obj{"algorithm": "linear_thompson", "params": obj{"v": -1}} })
	refuse("spec.rules[0].action", func(c obj) {
		c["spec"] = obj{"algorithm": "rules", "rules": []obj{{"when": "true", "action": "gold"}}}
		delete(c, "train")
	})
	refuse("train", func(c obj) { c["train"] = obj{"split": obj{"salt": "x", "from": 0, "to": 0.6}} })
	refuse("train", func(c obj) { c["train"] = obj{"to": time.Now()} })
}

// repeatEvaluation: after corrections, new decisions and another value of an
// action, a finished evaluation can still be had again, bit for bit.
func repeatEvaluation(t *testing.T, r *rig, model uint64) {
	ask := obj{"placement": "shop", "candidates": []obj{{"policy": "rules@1"}, {"policy": "lints@1", "model": model}}, "seed": 11}
	run := func(path string, body any) finished {
		t.Helper()
		return runEvaluation(t, r, path, body)
	}
	first := run("/v1/evaluations", ask)
	dear := obj{"owner": "crm", "value": 40, "treatments": []obj{{"id": "a", "channel": "email", "content": "cms:mens"}}}
	must(t, r.owner, "PUT", "/v1/actions/mens", dear, nil, client.IfMatch("*"))
	defer func() {
		dear["value"] = 1
		must(t, r.owner, "PUT", "/v1/actions/mens", dear, nil, client.IfMatch("*"))
	}()
	m := decide(t, r.channel, call("shop", "N-1", 3, "men"))
	now := time.Now().UTC()
	must(t, r.channel, "POST", "/v1/rewards", obj{"rewards": []obj{
		{"id": "o-2", "kind": "order", "value": 2, "time": now, "customer": obj{"id": "C-1"}, "withdrawn": true},
		{"id": "n-1", "kind": "order", "value": 1, "time": now, "decision_id": m.ID},
	}}, nil)
	r.settled(t)
	again := run("/v1/evaluations/"+first.ID+"/repeat", nil)
	if !bytes.Equal(again.Result, first.Result) || again.Repeats != first.ID {
		t.Errorf("the repeat of %s (%s) gives\n%s\nthe first run gave\n%s", first.ID, again.Repeats, again.Result, first.Result)
	}
	// Run anew, the correction and the action's value show.
	var then, anew offline.Report
	for _, x := range []struct {
		raw    json.RawMessage
		report *offline.Report
	}{{first.Result, &then}, {run("/v1/evaluations", ask).Result, &anew}} {
		if err := json.Unmarshal(x.raw, x.report); err != nil {
			t.Fatal(err)
		}
	}
	lints := func(r *offline.Report) float64 {
		return r.Overlap[slices.IndexFunc(r.Overlap, func(a offline.ActionShare) bool { return a.Action == "mens" })].Candidates[1]
	}
	if then.Log.MeanReward == anew.Log.MeanReward || lints(&then) == lints(&anew) {
		t.Errorf("mean reward %v, then %v; the candidate's mens %v, then %v", then.Log.MeanReward, anew.Log.MeanReward, lints(&then), lints(&anew))
	}
}

func experiment(t *testing.T, r *rig, model uint64, evaluation string) {
	doc := obj{
		"placement": "shop", "salt": "trial", "window": "1s", "minimum_duration": "1h", "evaluation": evaluation,
		"arms":       []obj{{"id": "control", "policy": "rules@1", "share": 0.5, "control": true}, {"id": "candidate", "policy": "lints@1", "model": model, "share": 0.5}},
		"primary":    obj{"reward": "order", "kind": "conversion"},
		"guardrails": []obj{{"reward": "opt_out", "kind": "conversion", "harm": "increase", "margin": 0.2}},
	}
	// The admin writes it and may promote, but not their own.
	must(t, r.admin, "PUT", "/v1/experiments/trial", doc, nil)
	must(t, r.admin, "POST", "/v1/experiments/trial/start", obj{"reason": "go"}, nil)
	refused(t, r.owner, http.StatusConflict, "POST", "/v1/experiments/trial/start", obj{"reason": "again"})
	arms := map[string]string{}
	for range 2 { // a customer stays in the arm
		for i := range 60 {
			customer := fmt.Sprintf("E-%d", i)
			m := decide(t, r.channel, call("shop", customer, 3, "men"))
			if m.Experiment == nil {
				t.Fatalf("%s is not in the experiment: %+v", customer, m)
			}
			if before := arms[customer]; before != "" && before != m.Experiment.Arm {
				t.Errorf("%s went from %s to %s", customer, before, m.Experiment.Arm)
			}
			arms[customer] = m.Experiment.Arm
			if want := map[string]string{"control": "rules@1", "candidate": "lints@1"}[m.Experiment.Arm]; m.Policy != want {
				t.Errorf("arm %s is served by %s", m.Experiment.Arm, m.Policy)
			}
		}
	}
	eventually(t, "the customers' windows close", func() error {
		var status experiments.Status
		must(t, r.owner, "GET", "/v1/experiments/trial/status", nil, &status)
		if status.State != experiments.Running || status.Evidence.Customers != 60 {
			return fmt.Errorf("state %s with %d customers, want running with 60", status.State, status.Evidence.Customers)
		}
		return nil
	})
	var gates struct {
		Passed bool
		Gates  []experiments.Gate
	}
	must(t, r.approver, "GET", "/v1/experiments/trial/gates?arm=candidate", nil, &gates)
	if gates.Passed || len(gates.Gates) < 6 {
		t.Errorf("gates %+v", gates)
	}
	for _, g := range gates.Gates {
		if g.Needs == "" || g.Detail == "" || !g.Passed && g.Cure == "" {
			t.Errorf("gate %+v does not say what it needs, found or would cure it", g)
		}
	}
	failed := func(c *client.Client) (names []string) {
		p := refused(t, c, http.StatusConflict, "POST", "/v1/experiments/trial/promote", obj{"arm": "candidate", "reason": "I like it"})
		for _, g := range refusedGates(t, p) {
			if !g.Passed {
				names = append(names, g.Name)
			}
		}
		return names
	}
	if f := failed(r.approver); !slices.Contains(f, experiments.GateDuration) || slices.Contains(f, experiments.GateSecondPerson) {
		t.Errorf("for the approver %v fail; want the duration, not the second person", f)
	}
	if f := failed(r.admin); !slices.Contains(f, experiments.GateSecondPerson) {
		t.Errorf("for the author %v fail; want the second person among them", f)
	}
	var p struct {
		Version  uint64
		Document struct{ Policy string }
	}
	must(t, r.owner, "GET", "/v1/placements/shop", nil, &p)
	if p.Version != 1 || p.Document.Policy != "rules@1" {
		t.Errorf("after two refusals the placement is at version %d and serves %s", p.Version, p.Document.Policy)
	}
	must(t, r.owner, "POST", "/v1/experiments/trial/stop", obj{"reason": "enough"}, nil)
	if m := decide(t, r.channel, call("shop", "E-1", 3, "men")); m.Experiment != nil || m.Policy != "rules@1" {
		t.Errorf("after the stop: %+v", m)
	}
	refused(t, r.owner, http.StatusConflict, "POST", "/v1/experiments/trial/start", obj{})
}

// rollBack changes what a placement serves by hand and goes back.
func rollBack(t *testing.T, r *rig) {
	get := func(c *client.Client) (doc obj, etag string) {
		var p struct{ Document obj }
		h := must(t, c, "GET", "/v1/placements/certain", nil, &p)
		return p.Document, h.Get("ETag")
	}
	doc, etag := get(r.owner)
	doc["policy"] = "rules@1"
	refused(t, r.owner, http.StatusForbidden, "PUT", "/v1/placements/certain", doc, client.IfMatch(etag))
	must(t, r.admin, "PUT", "/v1/placements/certain", doc, nil, client.IfMatch(etag), client.Header("X-Reason", "by hand"))
	if m := decide(t, r.channel, call("certain", "C-9", 3, "men")); m.Policy != "rules@1" {
		t.Errorf("after the change %s serves", m.Policy)
	}
	must(t, r.approver, "POST", "/v1/placements/certain/rollback", obj{"reason": "complaints"}, nil)
	if m := decide(t, r.channel, call("certain", "C-9", 3, "men")); m.Policy != "rules-0@1" {
		t.Errorf("after the rollback %s serves", m.Policy)
	}
	// The holdout gets nothing, everywhere.
	must(t, r.owner, "PUT", "/v1/holdouts/universal", obj{"share": 0.5, "salt": "h"}, nil)
	held := 0
	for i := range 40 {
		if m := decide(t, r.channel, call("shop", fmt.Sprintf("H-%d", i), 3, "men")); m.Experiment != nil && m.Experiment.Arm == "holdout" {
			held++
			if m.Action != "do-nothing" || m.Propensity != 1 {
				t.Errorf("a customer of the holdout got %+v", m)
			}
		}
	}
	if held < 8 || held > 32 { // binomial(40, .5): p < 1e-4 outside
		t.Errorf("%d of 40 customers are in the holdout of one half", held)
	}
}

func audit(t *testing.T, r *rig) {
	var trail struct {
		Items []struct{ Kind, ID, Actor, Reason, Previous, Document string }
	}
	must(t, r.analyst, "GET", "/v1/audit?kind=placements&id=certain", nil, &trail)
	if len(trail.Items) != 3 || trail.Items[0].Reason != "rollback: complaints" || trail.Items[1].Reason != "by hand" || trail.Items[0].Previous == "" {
		t.Errorf("audit trail %+v", trail.Items)
	}
	var keys struct{ Items []struct{ ID, Role string } }
	must(t, r.admin, "GET", "/v1/keys", nil, &keys)
	for _, k := range keys.Items {
		if k.Role == "approver" && trail.Items[0].Actor != k.ID {
			t.Errorf("the rollback's actor is %q, want %q", trail.Items[0].Actor, k.ID)
		}
	}
	var secrets struct{ Items []obj }
	must(t, r.admin, "GET", "/v1/audit?documents=true&limit=1000", nil, &secrets)
	for _, e := range secrets.Items {
		if (e["kind"] == "keys" || e["kind"] == "secrets") && e["document"] != nil {
			t.Errorf("the audit trail shows a %v", e["kind"])
		}
	}
}

func openConsole(t *testing.T, r *rig) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	if status, _ := fetch(t, browser, r.Address()+"/v1/overview"); status != http.StatusUnauthorized {
		t.Errorf("the overview without a key answers %d", status)
	}
	link := r.Address() + r.console.Link(token(), r.owner.Key)
	if status, body := fetch(t, browser, link); status != http.StatusOK || !strings.Contains(body, "Signed in") {
		t.Errorf("the link answers %d: %s", status, body)
	}
	if status, body := fetch(t, browser, r.Address()+"/console"); status != http.StatusOK || !strings.Contains(body, "<title>") {
		t.Errorf("the console without a slash answers %d: %.200s", status, body)
	}
	if status, body := fetch(t, browser, r.Address()+"/console/"); status != http.StatusOK || !strings.Contains(body, "<title>") {
		t.Errorf("the console answers %d: %.200s", status, body)
	}
	if status, body := fetch(t, browser, r.Address()+"/v1/overview"); status != http.StatusOK {
		t.Errorf("the overview with the cookie answers %d: %s", status, body)
	}
	stranger := &http.Client{}
	if _, body := fetch(t, stranger, link); strings.Contains(body, "Signed in") {
		t.Error("the link opens twice")
	}
	var v console.Overview
	must(t, r.owner, "GET", "/v1/overview", nil, &v)
	if len(v.Placements) != 3 || v.Placements[0].ID != "shop" || v.Placements[0].Decisions < 1200 || v.Placements[0].Rewards == 0 || len(v.Placements[0].Mix) == 0 {
		t.Errorf("placements %+v", v.Placements)
	}
	for _, p := range v.Placements[1:] {
		if p.Rewards != 0 {
			t.Errorf("%d rewards of another placement's decisions are shown at %s", p.Rewards, p.ID)
		}
	}
	if len(v.Experiments) != 1 || v.Experiments[0].State != experiments.Stopped || len(v.Experiments[0].Gates["candidate"]) == 0 {
		t.Errorf("experiments %+v", v.Experiments)
	}
	if v.Health.Verified == nil || v.Health.Unmatched != 1 || v.Health.DeadLetters != 0 {
		t.Errorf("health %+v", v.Health)
	}
}

// machinery looks at the routes that need no key.
func machinery(t *testing.T, r *rig) {
	for path, want := range map[string]string{
		"/healthz":      `"status":"ok"`,
		"/readyz":       `"status":"ready"`,
		"/openapi.json": `"openapi":"3.1`,
		"/openapi.yaml": "openapi: 3.1",
		"/metrics":      `nextbest_http_requests_total{`,
		"/metrics?":     "nextbest_sink_lag_messages ",
		"/docs":         "/v1/decisions",
	} {
		if status, body := fetch(t, http.DefaultClient, r.Address()+path); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s answers %d without %s: %.300s", path, status, want, body)
		}
	}
}
