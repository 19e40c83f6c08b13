package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"nextbest"
	"nextbest/internal/decisions"
)

func TestDecide(t *testing.T) {
	f := newFixture(t)
	w := f.do(Channel, "POST", "/v1/decisions", `{"context":{"recency":3,"tags":["a",true],"deep":{"x":1e2}},"placement":"web","customer":{"id":"C-\u00e9\ud83d\ude00","type":"crm","consent":{"email":true}},"durable":false}`, "Idempotency-Key", "k1")
	if w.Code != 201 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	call := f.dom.calls[0]
	if call.Placement != "web" || call.Customer.ID != "C-é😀" || call.Customer.Type != "crm" || call.Key != "k1" || !call.Relaxed {
		t.Errorf("%+v", call)
	}
	if want := `{"context":{"deep":{"x":100},"recency":3,"tags":["a",true]},"customer":{"consent":{"email":true}}}`; f.dom.contexts[0] != want {
		t.Errorf("context %s", f.dom.contexts[0])
	}
	// Nothing of one call is left for the next.
	f.do(Channel, "POST", "/v1/decisions", `{"placement":"web","customer":{"id":"D"}}`)
	if f.dom.contexts[1] != `{"context":{},"customer":{}}` || f.dom.calls[1].Relaxed || f.dom.calls[1].Key != "" {
		t.Errorf("%s %+v", f.dom.contexts[1], f.dom.calls[1])
	}
	f.dom.answer.Repeated = true
	if w := f.do(Channel, "POST", "/v1/decisions", decisionBody); w.Code != 200 || !strings.Contains(w.Body.String(), `"repeated":true`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// severalSlots are the slots of an answer at a placement with several.
var severalSlots = []decisions.SlotAnswer{
	{Slot: 1, Action: "mens", Treatment: "a", Channel: "email", Propensity: .4, Probabilities: []decisions.Probability{{Action: "do-nothing", Probability: .6}, {Action: "mens", Probability: .4}}, Excluded: []nextbest.Exclusion{}},
	{Slot: 2, Action: "do-nothing", Propensity: 1, Probabilities: []decisions.Probability{{Action: "do-nothing", Probability: 1}}, Excluded: []nextbest.Exclusion{{Action: "mens", Reason: nextbest.ReasonEarlierSlot, Detail: "slot 1"}}},
}

// TestAnswerIsJSON compares the hand-written encoding with encoding/json.
func TestAnswerIsJSON(t *testing.T) {
	f := newFixture(t)
	bare := decisions.Answer{DecisionID: uuid.UUID{1}, Action: nextbest.DoNothing, Probabilities: []decisions.Probability{}, Excluded: []nextbest.Exclusion{}, Time: testNow.Add(123456 * time.Microsecond)}
	odd := f.dom.answer
	odd.Action, odd.Propensity, odd.Repeated, odd.Slot = "\"\\\n\x00é😀<&>\u2028", 1e-300, true, 255
	odd.Probabilities = []decisions.Probability{{Action: "", Probability: 5e-324}, {Action: "b", Probability: 1 - 1.0/(1<<53)}}
	odd.Experiment = &decisions.Assigned{Arm: "holdout", Probability: 0.05}
	list := f.dom.answer
	list.Slots = severalSlots
	for _, a := range []decisions.Answer{f.dom.answer, bare, odd, list} {
		ours := appendAnswer(nil, &a)
		theirs, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		var x, y map[string]any
		if err := json.Unmarshal(ours, &x); err != nil {
			t.Fatalf("%v in %s", err, ours)
		}
		if err := json.Unmarshal(theirs, &y); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(x, y) {
			t.Errorf("%s\nis not\n%s", ours, theirs)
		}
	}
}

// TestStatuses maps every code once, on a hot route and on one of huma's.
func TestStatuses(t *testing.T) {
	f := newFixture(t)
	for code, status := range statuses {
		f.dom.fail = fmt.Errorf("wrapped: %w", &nextbest.Error{Code: code, Message: "m", Problems: []nextbest.Problem{{Field: "f", Message: "wrong", Cure: "right"}}})
		hot := f.do(Admin, "POST", "/v1/decisions", decisionBody)
		huma := f.do(Admin, "POST", "/v1/experiments/exp-1/stop", `{"reason":"r"}`)
		if hot.Code != status || huma.Code != status {
			t.Errorf("%s: %d and %d, want %d", code, hot.Code, huma.Code, status)
		}
		if hot.Body.String() != strings.TrimSpace(huma.Body.String()) {
			t.Errorf("%s: the routes differ: %s and %s", code, hot.Body, huma.Body)
		}
		if a, b := hot.Header().Get("Retry-After"), huma.Header().Get("Retry-After"); a != b || (a != "") != (status == 503) {
			t.Errorf("%s: Retry-After %q and %q", code, a, b)
		}
		problemOf(t, hot)
		problemOf(t, huma)
	}
	f.dom.fail = fmt.Errorf("publish: %w", context.Canceled)
	if w := f.do(Admin, "POST", "/v1/decisions", decisionBody); w.Code != 503 {
		t.Errorf("a caller that went away: %d", w.Code)
	}
	f.dom.fail = errors.New("password=hunter2")
	for _, w := range []string{f.do(Admin, "POST", "/v1/decisions", decisionBody).Body.String(), f.do(Admin, "POST", "/v1/experiments/exp-1/stop", `{"reason":"r"}`).Body.String()} {
		if strings.Contains(w, "hunter2") || !strings.Contains(w, `"internal"`) {
			t.Errorf("an internal error leaks: %s", w)
		}
	}
}

func TestPanic(t *testing.T) {
	f := newFixture(t)
	f.dom.panics = true
	w := f.do(Channel, "POST", "/v1/decisions", decisionBody)
	if p := problemOf(t, w); w.Code != 500 || strings.Contains(w.Body.String(), "secret") || p.Code != nextbest.Internal {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	f.dom.panics = false
	if w := f.do(Channel, "POST", "/v1/decisions", decisionBody); w.Code != 201 {
		t.Errorf("after a panic: %d", w.Code)
	}
}

func TestRewards(t *testing.T) {
	f := newFixture(t)
	w := f.do(Channel, "POST", "/v1/rewards", `{"rewards":[{"id":"o-1","kind":"purchase","value":59.9,"time":"2026-11-23T10:00:00+02:00","decision_id":"`+someDecision+`","slot":2},
		{"id":"o-2","kind":"opt_out","time":"2026-11-23T10:00:00.5Z","customer":{"id":"C-1042","type":"crm"},"withdrawn":true}]}`)
	if w.Code != 202 || strings.TrimSpace(w.Body.String()) != `{"accepted":2,"position":42}` {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	want := []nextbest.Reward{
		{ID: "o-1", Kind: "purchase", Value: 59.9, Time: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC), DecisionID: uuid.MustParse(someDecision), Slot: 2},
		{ID: "o-2", Kind: "opt_out", Time: time.Date(2026, 11, 23, 10, 0, 0, 5e8, time.UTC), Slot: 1, Customer: "pseudonym-of-crm:C-1042", Withdrawn: true},
	}
	if !reflect.DeepEqual(f.dom.rewards, want) {
		t.Errorf("%+v", f.dom.rewards)
	}
	f.dom.rewards = nil
	line := `{"id":"o-%d","kind":"purchase","value":%d,"time":"2026-11-23T10:00:00Z","customer":{"id":"C-%d"}}` + "\r\n"
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, line, i, i, i%7)
	}
	w = f.do(Channel, "POST", "/v1/rewards", b.String(), "Content-Type", ndjsonType+"; charset=utf-8")
	if w.Code != 202 || len(f.dom.rewards) != 1000 || f.dom.rewards[999].Value != 999 || f.dom.rewards[8].Customer != "pseudonym-of-:C-1" {
		t.Fatalf("%d %s, %d rewards", w.Code, w.Body, len(f.dom.rewards))
	}
	// A kind counts as soon as an objective names it.
	body := `{"rewards":[{"id":"1","kind":"click","value":1,"time":"2026-11-23T10:00:00Z","customer":{"id":"C"}}]}`
	if w := f.do(Channel, "POST", "/v1/rewards", body); w.Code != 422 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	f.do(Owner, "PUT", "/v1/objectives/clicks", `{"terms":[{"reward":"click","weight":1}],"window":"1d","default":0}`)
	if w := f.do(Channel, "POST", "/v1/rewards", body); w.Code != 202 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	f.dom.fail = nextbest.Errorf(nextbest.TooLarge, "over one message")
	if w := f.do(Channel, "POST", "/v1/rewards", body); w.Code != 413 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestImpression(t *testing.T) {
	f := newFixture(t)
	w := f.do(Channel, "POST", "/v1/decisions/"+someDecision+"/impression", `{"slot":1,"status":"overridden","action":"mens","time":"2026-11-23T11:00:00Z"}`)
	if w.Code != 202 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	want := nextbest.Impression{DecisionID: uuid.MustParse(someDecision), Slot: 1, Status: nextbest.Overridden, Action: "mens", Time: testNow.Add(-time.Hour)}
	if f.dom.impressions[0] != want {
		t.Errorf("%+v", f.dom.impressions[0])
	}
	f.do(Channel, "POST", "/v1/decisions/"+someDecision+"/impression", `{"status":"shown"}`)
	if got := f.dom.impressions[1]; got.Slot != 1 || !got.Time.Equal(testNow) {
		t.Errorf("%+v", got)
	}
}

func TestImport(t *testing.T) {
	f := newFixture(t)
	body := `{"id":"r1","customer":{"id":"C"},"time":"2026-11-01T10:00:00Z","context":{"recency":3},"action":"mens","propensity":0.25,"eligible":["mens","do-nothing"],"probabilities":[0.25,0.75],"rewards":[{"kind":"purchase","value":20}]}
{"customer":{"id":"D"},"time":"2026-11-01T10:00:00Z","context":{},"action":"do-nothing","propensity":1,"eligible":["do-nothing"]}`
	w := f.do(Analyst, "POST", "/v1/imports?name=old&placement=web&reason=history", body, "Content-Type", ndjsonType)
	if w.Code != 201 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	m := f.dom.imports[0]
	r := m.Rows[0]
	if m.Name != "old" || m.Placement != "web" || m.Actor != f.ids[Analyst] || m.Reason != "history" || len(m.Rows) != 2 || r.Line != 1 || r.ID != "r1" ||
		r.Customer != "pseudonym-of-:C" || r.Propensity != .25 || r.Context["recency"] != 3.0 || !r.Rewards[0].Time.Equal(r.Time) || m.Rows[1].Probabilities != nil {
		t.Errorf("%+v", m)
	}
	// The user names the randomisation: bad and missing propensities are filled.
	body = `{"customer":{"id":"C"},"time":"2026-11-01T10:00:00Z","context":{},"action":"a","propensity":0,"eligible":["a","b","c"]}
{"customer":{"id":"C"},"time":"2026-11-01T10:00:00Z","context":{},"action":"b","eligible":["a","b"]}`
	for name, want := range map[string][2]float64{"uniform": {1. / 3, .5}, "weights:a=1,b=3,c=4": {.125, .75}} {
		w := f.do(Analyst, "POST", "/v1/imports?name=old&placement=web&randomisation="+name, body, "Content-Type", ndjsonType)
		rows := f.dom.imports[len(f.dom.imports)-1].Rows
		if w.Code != 201 || math.Abs(rows[0].Propensity-want[0]) > 1e-15 || math.Abs(rows[1].Propensity-want[1]) > 1e-15 || len(rows[0].Probabilities) != 3 {
			t.Errorf("%s: %d %+v", name, w.Code, rows)
		}
	}
}

func TestLog(t *testing.T) {
	f := newFixture(t)
	if w := f.do(Analyst, "GET", "/v1/decisions/"+someDecision, ""); w.Code != 404 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	f.dom.rows = []nextbest.Decision{{ID: uuid.MustParse(someDecision), Slot: 1, Time: testNow, Action: "mens", Propensity: .5, Eligible: []string{"mens", "do-nothing"},
		Probabilities: []float64{.5, .5}, Context: []byte(`{"context":{}}`), Arms: []nextbest.ArmProbability{{Arm: "a", Share: .5, Probability: .2}, {Arm: "b", Share: .5, Probability: .4}}}}
	var out struct{ Items []LoggedDecision }
	decode(t, f.do(Analyst, "GET", "/v1/decisions/"+someDecision, ""), &out)
	if len(out.Items) != 1 || math.Abs(out.Items[0].Mixture-.3) > 1e-15 || *out.Items[0].Probabilities[1].Probability != .5 {
		t.Errorf("%+v", out)
	}
	if w := f.do(Analyst, "GET", "/v1/decisions/xyz", ""); w.Code != 422 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := f.do(Analyst, "GET", "/v1/rewards/unmatched?limit=5", ""); w.Code != 200 || !strings.Contains(w.Body.String(), `"why":"no decision"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestHealth(t *testing.T) {
	f := newFixture(t)
	f.do(Channel, "POST", "/v1/decisions", decisionBody)
	f.do(Analyst, "GET", "/v1/actions", "")
	for path, want := range map[string]string{"/healthz": `"ok"`, "/readyz": `"ready"`,
		"/metrics": `nextbest_http_requests_total{method="POST",route="/v1/decisions",status="201"} 1`} {
		if w := f.do("", "GET", path, ""); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	f.dom.fail = errors.New("away")
	if w := f.do("", "GET", "/readyz", ""); w.Code != 503 || !strings.Contains(w.Body.String(), "not ready") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
