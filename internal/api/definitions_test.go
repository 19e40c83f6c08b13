package api

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"nextbest"
	"nextbest/experiments"
)

func decode(t testing.TB, w *httptest.ResponseRecorder, into any) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
		t.Fatalf("%v in %d %s", err, w.Code, w.Body)
	}
}

// TestPreconditions walks through every way to say, or not to say, what a
// change was made from.
func TestPreconditions(t *testing.T) {
	f := newFixture(t)
	const path = "/v1/actions/tip"
	step := func(name string, status int, code nextbest.Code, body string, headers ...string) *httptest.ResponseRecorder {
		t.Helper()
		written := f.reg.changes()
		w := f.do(Owner, "PUT", path, body, headers...)
		if w.Code != status {
			t.Fatalf("%s: %d, want %d: %s", name, w.Code, status, w.Body)
		}
		if status >= 400 {
			future := name == "change from a future one" // the registry's own words
			if p := problemOf(t, w); p.Code != code || !future && (len(p.Problems) == 0 || p.Problems[0].Cure == "" && code != nextbest.Invalid) {
				t.Errorf("%s: %+v", name, p)
			}
			if f.reg.changes() != written {
				t.Errorf("%s wrote something", name)
			}
		}
		return w
	}
	step("change what is not there", 412, nextbest.Stale, `{}`, "If-Match", `"3"`)
	w := step("create", 201, "", `{"goal":"tip"}`, "If-None-Match", "*", "X-Reason", "first")
	if w.Header().Get("Location") != path {
		t.Errorf("location %q", w.Header().Get("Location"))
	}
	etag := w.Header().Get("ETag")
	step("create again", 412, nextbest.Stale, `{}`, "If-None-Match", "*")
	step("change blindly", 428, PreconditionRequired, `{"goal":"b"}`)
	step("nonsense", 422, nextbest.Invalid, `{"goal":"b"}`, "If-Match", "abc")
	w = step("change", 200, "", `{"goal":"b"}`, "If-Match", etag)
	second := w.Header().Get("ETag")
	step("change from the old one", 412, nextbest.Stale, `{"goal":"c"}`, "If-Match", etag)
	step("change from a future one", 412, nextbest.Stale, `{"goal":"c"}`, "If-Match", `"999999"`)
	step("whatever it is", 200, "", `{"goal":"c"}`, "If-Match", "*")
	if second == etag {
		t.Error("the ETag did not change")
	}

	var got Stored[nextbest.Action]
	w = f.do(Analyst, "GET", path, "")
	decode(t, w, &got)
	if got.Version != 3 || got.Document.Goal != "c" || got.Document.ID != "tip" || got.Ref != "tip@3" || got.Actor != f.ids[Owner] || w.Header().Get("ETag") == second {
		t.Errorf("%+v", got)
	}
	decode(t, f.do(Analyst, "GET", path+"?version=1", ""), &got)
	if got.Version != 1 || got.Document.Goal != "tip" || got.Reason != "first" {
		t.Errorf("%+v", got)
	}
	if w := f.do(Analyst, "GET", path+"?version=9", ""); w.Code != 404 {
		t.Errorf("version 9: %d", w.Code)
	}
	var list struct{ Items []Stored[nextbest.Action] }
	decode(t, f.do(Analyst, "GET", path+"/history", ""), &list)
	if len(list.Items) != 3 || list.Items[1].Document.Goal != "b" {
		t.Errorf("history %+v", list)
	}
	decode(t, f.do(Analyst, "GET", "/v1/actions", ""), &list)
	if len(list.Items) != 2 {
		t.Errorf("list %+v", list)
	}
	var audit struct{ Items []AuditEntry }
	decode(t, f.do(Analyst, "GET", "/v1/audit?kind=actions&id=tip&limit=2&documents=true", ""), &audit)
	if len(audit.Items) != 2 || audit.Items[0].Version != 3 || audit.Items[0].Actor != f.ids[Owner] || !strings.Contains(string(audit.Items[0].Document), `"c"`) {
		t.Errorf("audit %+v", audit)
	}
}

// checker refuses everything.
type checker struct{ seen []nextbest.Record }

func (c *checker) Check(_ context.Context, r nextbest.Record) error {
	c.seen = append(c.seen, r)
	return nextbest.FieldErrorf("policy", "rules@9 does not exist")
}

func TestCheckerRefuses(t *testing.T) {
	f := newFixture(t)
	c := &checker{}
	f.srv.o.Checker = c
	written := f.reg.changes()
	w := f.do(Admin, "PUT", "/v1/placements/mail", strings.Replace(placementBody, "rules@1", "rules@9", 1))
	if p := problemOf(t, w); w.Code != 422 || p.Problems[0].Field != "policy" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if f.reg.changes() != written || len(c.seen) != 1 || c.seen[0].ID != "mail" || c.seen[0].Kind != nextbest.KindPlacement {
		t.Errorf("written %d, checked %+v", f.reg.changes()-written, c.seen)
	}
}

// TestPlacementPolicy: an owner changes a placement, but not what it serves.
func TestPlacementPolicy(t *testing.T) {
	f := newFixture(t)
	etag := f.do(Owner, "GET", "/v1/placements/web", "").Header().Get("ETag")
	w := f.do(Owner, "PUT", "/v1/placements/web", strings.Replace(placementBody, "rules@1", "lints@1", 1), "If-Match", etag)
	if p := problemOf(t, w); w.Code != 403 || p.Problems[0].Field != "policy" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	w = f.do(Owner, "PUT", "/v1/placements/web", strings.Replace(placementBody, `["web"]`, `["web","app"]`, 1), "If-Match", etag)
	if w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestExperiments(t *testing.T) {
	f := newFixture(t)
	var e Stored[Experiment]
	decode(t, f.do(Owner, "GET", "/v1/experiments/exp-1", ""), &e)
	if e.Document.Author != f.ids[Admin] || e.Document.State != "draft" || e.Document.Alpha != .05 {
		t.Errorf("%+v", e.Document)
	}
	// A draft that was read can be changed and written back; the author stays.
	e.Document.Author = "somebody else"
	raw, _ := json.Marshal(e.Document)
	if w := f.do(Owner, "PUT", "/v1/experiments/exp-1", string(raw), "If-Match", `"`+"*"+`"`); w.Code != 422 {
		t.Errorf("quoted star: %d", w.Code)
	}
	w := f.do(Owner, "PUT", "/v1/experiments/exp-1", string(raw), "If-Match", "*")
	decode(t, w, &e)
	if w.Code != 200 || e.Document.Author != f.ids[Admin] || e.Actor != f.ids[Owner] {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for _, c := range []struct {
		role       Role
		path, body string
		want       Command
	}{
		{Owner, "/v1/experiments/exp-1/start", ``, Command{Verb: "start", ID: "exp-1", Actor: f.ids[Owner], Reason: "go"}},
		{Owner, "/v1/experiments/exp-1/start", `{"reason":"body"}`, Command{Verb: "start", ID: "exp-1", Actor: f.ids[Owner], Reason: "body"}},
		{Owner, "/v1/experiments/exp-1/ramp", `{"ramp":0.5}`, Command{Verb: "ramp", ID: "exp-1", Ramp: .5, Actor: f.ids[Owner], Reason: "go"}},
		{Approver, "/v1/experiments/exp-1/promote", `{"arm":"candidate","model":902,"evaluation":"ev-2","reason":"it won"}`, Command{Verb: "promote", ID: "exp-1", Arm: "candidate", Model: 902, Evaluation: "ev-2", Actor: f.ids[Approver], Reason: "it won"}},
		{Approver, "/v1/experiments/exp-1/stop", `{"reason":"enough"}`, Command{Verb: "stop", ID: "exp-1", Actor: f.ids[Approver], Reason: "enough"}},
		{Owner, "/v1/placements/web/rollback", `{"reason":"complaints"}`, Command{ID: "web", Actor: f.ids[Owner], Reason: "complaints"}},
	} {
		w := f.do(c.role, "POST", c.path, c.body, "X-Reason", "go")
		if w.Code != 200 || w.Header().Get("ETag") != `"99"` {
			t.Errorf("%s: %d %s", c.path, w.Code, w.Body)
			continue
		}
		if got := f.dom.commands[len(f.dom.commands)-1]; got != c.want {
			t.Errorf("%s: %+v, want %+v", c.path, got, c.want)
		}
	}
	// A refused promotion lists the gates.
	number := 0.01
	f.dom.fail = &experiments.RefusedError{Gates: []experiments.Gate{{Name: experiments.GateLive, Number: &number, Needs: "above 0", Cure: "wait"}}}
	w = f.do(Approver, "POST", "/v1/experiments/exp-1/promote", `{"arm":"candidate","reason":"now"}`)
	if w.Code != 500 { // a RefusedError without its cause is nobody's
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestRefusedPromotion uses the gates' own refusal.
func TestRefusedPromotion(t *testing.T) {
	f := newFixture(t)
	f.dom.fail = refusal{&nextbest.Error{Code: nextbest.Conflict, Message: "the gates do not admit it",
		Problems: []nextbest.Problem{{Field: "gates.duration", Message: "3 days, needs 14", Cure: "wait 11 days"}}}}
	w := f.do(Approver, "POST", "/v1/experiments/exp-1/promote", `{"arm":"candidate","reason":"now"}`)
	if p := problemOf(t, w); w.Code != 409 || p.Code != nextbest.Conflict || p.Problems[0].Cure != "wait 11 days" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// TestProblemExtensions: extensions stand beside the members of RFC 9457.
func TestProblemExtensions(t *testing.T) {
	b, err := json.Marshal(&Problem{Status: 409, Extensions: map[string]any{"gates": []int{1}}})
	if err != nil || !json.Valid(b) || !strings.Contains(string(b), `"gates":[1]`) {
		t.Errorf("%s %v", b, err)
	}
}

func TestPoliciesAndModels(t *testing.T) {
	f := newFixture(t)
	w := f.do(Analyst, "POST", "/v1/policies/lints/versions", `{"algorithm":"linear_thompson","params":{"v":0.9}}`)
	if w.Code != 201 || w.Header().Get("Location") != "/v1/policies/lints/versions/2" {
		t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	var p Stored[Policy]
	decode(t, f.do(Analyst, "GET", "/v1/policies/lints/versions/1", ""), &p)
	if p.Document.Params["v"] != .5 || p.Version != 1 {
		t.Errorf("%+v", p)
	}
	if w := f.do(Analyst, "POST", "/v1/policies/lints/versions", `{"algorithm":"uniform"}`, "If-Match", `"1"`); w.Code != 412 {
		t.Errorf("a stale If-Match on a new version: %d", w.Code)
	}
	w = f.do(Analyst, "POST", "/v1/policies/lints/versions/1/models", `{"placement":"web","objective":"value@1","split":{"salt":"a","from":0,"to":0.5}}`)
	if w.Code != 201 || w.Header().Get("Location") != "/v1/policies/lints/versions/1/models/7" {
		t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	if got := f.dom.trainings[0]; got.Policy != (nextbest.Ref{ID: "lints", Version: 1}) || got.Split.To != .5 || got.Actor != f.ids[Analyst] {
		t.Errorf("%+v", got)
	}
	if w := f.do(Analyst, "GET", "/v1/policies/lints/versions/1/models/7/weights", ""); w.Code != 404 {
		t.Errorf("weights of a model the registry does not have: %d", w.Code)
	}
}
