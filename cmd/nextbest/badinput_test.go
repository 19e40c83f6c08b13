package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"nextbest"
	"nextbest/cmd/nextbest/client"
	"nextbest/logging"
)

// state is what no refused request may change.
type state struct {
	Revision uint64 // of the definitions
	Journal  uint64 // last position: decisions, impressions and rewards
}

func (r *rig) state(t testing.TB) state {
	t.Helper()
	revision, _ := r.definitions.Snapshot()
	last, err := r.journal.Last(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return state{revision, last}
}

// counts reads from ClickHouse what the placement's log holds.
func (r *rig) counts(t testing.TB, placement string) (decisions, rewards int64) {
	t.Helper()
	r.settled(t)
	c, err := r.store.Counts(t.Context(), logging.Span{Placement: placement, From: time.Now().Add(-9999 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Rewards {
		rewards += n
	}
	return c.Decisions, rewards
}

// bad is one request that has to be refused.
type bad struct {
	name         string
	as           *client.Client // nil: admin
	method, path string
	body         any // string: as it is
	status       int
	field        string // of the first problem; "" where the request as a whole is refused
	says         string
	header       []client.Option
}

// TestBadInput sends what must be refused and checks status, field, reason,
// and that nothing changed: neither definitions nor log nor contact history.
func TestBadInput(t *testing.T) {
	r := start(t, own(t), quick)
	define(t, r)
	r.ready(t)
	m := decide(t, r.channel, call("shop", "C-1", 3, "men"), client.Header("Idempotency-Key", "used"))
	now := time.Now().UTC().Format(time.RFC3339)
	revoked := revokedKey(t, r)
	_, etag := placementAt(t, r, "shop")
	unknown := importedID("x", "y", time.Now().Add(-time.Hour))

	reward := func(rest string) string {
		return `{"rewards":[{"id":"b-1","time":"` + now + `",` + rest + `}]}`
	}
	decision := func(context string) string {
		return `{"placement":"shop","customer":{"id":"C-2"},"context":` + context + `}`
	}
	row := func(rest string) string {
		return `{"id":"r-%d","customer":{"id":"C-3"},"time":"2026-01-05T10:00:00Z","context":{"recency":3,"taste":"men"},"action":"mens","eligible":["do-nothing","mens"],` + rest + `}`
	}
	good := fmt.Sprintf(row(`"propensity":0.5`), 1)
	imports := "/v1/imports?name=old&placement=shop"
	lints := obj{"algorithm": "linear_thompson", "features": "shop@9"}
	trial := func(change func(obj)) obj {
		doc := obj{"placement": "shop", "salt": "x", "window": "1s", "primary": obj{"reward": "order"},
			"arms": []obj{{"id": "a", "policy": "rules@1", "share": 0.5, "control": true}, {"id": "b", "policy": "lints@1", "share": 0.5}}}
		change(doc)
		return doc
	}
	shop := func(change func(obj)) obj {
		doc, _ := placementAt(t, r, "shop")
		change(doc)
		return doc
	}

	tests := []bad{
		// Unknown names.
		{"unknown placement", nil, "POST", "/v1/decisions", call("nowhere", "C-2", 3, "men"), 404, "placement", "nowhere", nil},
		{"unknown reward kind", nil, "POST", "/v1/rewards", reward(`"kind":"applause","value":1,"decision_id":"` + m.ID + `"`), 422, "rewards[0].kind", "applause", nil},
		{"unknown action in an impression", nil, "POST", "/v1/decisions/" + m.ID + "/impression", `{"status":"overridden","action":"nothing-known"}`, 422, "action", "nothing-known", nil},
		{"unknown status of an impression", nil, "POST", "/v1/decisions/" + m.ID + "/impression", `{"status":"seen"}`, 422, "status", "seen", nil},
		{"unknown decision in an impression", nil, "POST", "/v1/decisions/" + unknown.String() + "/impression", `{"status":"shown"}`, 404, "decision_id", unknown.String(), nil},
		{"unknown slot in an impression", nil, "POST", "/v1/decisions/" + m.ID + "/impression", `{"status":"shown","slot":2}`, 422, "slot", "2", nil},
		{"unknown action in a placement", nil, "PUT", "/v1/placements/new", shop(func(d obj) { d["actions"] = []string{"do-nothing", "mans"} }), 422, "actions[1]", "mans", nil},
		{"unknown action in a rule", nil, "POST", "/v1/policies/p/versions", obj{"algorithm": "rules", "rules": []obj{{"when": "true", "action": "mans"}}}, 422, "rules[0].action", "mans", nil},
		{"unknown action in weights", nil, "POST", "/v1/policies/p/versions", obj{"algorithm": "fixed", "weights": obj{"mans": 1}}, 422, "weights.mans", "mans", nil},
		{"unknown kind of definition", nil, "PUT", "/v1/widgets/x", obj{}, 404, "", "/v1/widgets/x", nil},
		{"unknown algorithm", nil, "POST", "/v1/policies/p/versions", obj{"algorithm": "oracle"}, 422, "algorithm", "", nil},
		{"unknown field", nil, "PUT", "/v1/actions/a", obj{"color": "red"}, 422, "color", "no such field", nil},
		{"unknown objective", nil, "PUT", "/v1/placements/new", shop(func(d obj) { d["objective"] = "value@1" }), 422, "objective", "value", nil},
		{"unknown policy version", nil, "PUT", "/v1/placements/new", shop(func(d obj) { d["policy"] = "rules@2" }), 422, "policy", "rules@2", nil},
		{"rule that does not compile", nil, "POST", "/v1/policies/p/versions", obj{"algorithm": "rules", "rules": []obj{{"when": "context.recency <", "action": "mens"}}}, 422, "rules[0].when", "", nil},

		// Numbers, nulls, texts, missing features.
		{"1e999 in a context", nil, "POST", "/v1/decisions", decision(`{"recency":1e999,"taste":"men"}`), 422, "context.recency", "", nil},
		{"1e999 as a value", nil, "POST", "/v1/rewards", reward(`"kind":"order","value":1e999,"decision_id":"` + m.ID + `"`), 422, "rewards[0].value", "", nil},
		{"1e999 in a definition", nil, "PUT", "/v1/objectives/o", `{"terms":[{"reward":"order","weight":1e999}],"window":"1s","default":0}`, 422, "terms[0].weight", "", nil},
		{"NaN", nil, "POST", "/v1/decisions", decision(`{"recency":NaN,"taste":"men"}`), 400, "context.recency", "", nil},
		{"null feature", nil, "POST", "/v1/decisions", decision(`{"recency":null,"taste":"men"}`), 422, "context.recency", "null", nil},
		{"null value", nil, "POST", "/v1/rewards", reward(`"kind":"order","value":null,"decision_id":"` + m.ID + `"`), 422, "rewards[0].value", "null", nil},
		{"null customer", nil, "POST", "/v1/decisions", `{"placement":"shop","customer":null}`, 422, "customer", "null", nil},
		{"text for a number", nil, "POST", "/v1/decisions", `{"placement":"learned","customer":{"id":"C-2"},"context":{"recency":"three","taste":"men"}}`, 422, "context.recency", "", nil},
		{"number for a text", nil, "POST", "/v1/decisions", `{"placement":"learned","customer":{"id":"C-2"},"context":{"recency":3,"taste":7}}`, 422, "context.taste", "", nil},
		{"missing feature", nil, "POST", "/v1/decisions", `{"placement":"learned","customer":{"id":"C-2"},"context":{"taste":"men"}}`, 422, "context.recency", "missing", nil},
		{"text as a value", nil, "POST", "/v1/rewards", reward(`"kind":"order","value":"1","decision_id":"` + m.ID + `"`), 422, "rewards[0].value", "", nil},
		{"number as a customer", nil, "POST", "/v1/decisions", `{"placement":"shop","customer":{"id":42}}`, 422, "customer.id", "", nil},
		{"no customer", nil, "POST", "/v1/decisions", `{"placement":"shop"}`, 422, "customer", "missing", nil},
		{"half a document", nil, "POST", "/v1/decisions", `{"placement":"shop"`, 400, "", "", nil},
		{"a name twice", nil, "POST", "/v1/decisions", `{"placement":"shop","placement":"certain","customer":{"id":"C-2"}}`, 422, "placement", "twice", nil},

		// Rewards that cannot be.
		{"reward for a decision that is no id", nil, "POST", "/v1/rewards", reward(`"kind":"order","value":1,"decision_id":"17"`), 422, "rewards[0].decision_id", "", nil},
		{"reward for nobody", nil, "POST", "/v1/rewards", reward(`"kind":"order","value":1`), 422, "rewards[0].decision_id", "", nil},
		{"one bad line of three", nil, "POST", "/v1/rewards", string(lines(orderLine("l-1", m.ID, time.Now()), orderLine("l-2", m.ID, time.Now().Add(time.Hour)), orderLine("l-3", m.ID, time.Now()))), 422, "line 2: time", "", []client.Option{ndjson}},

		// Imports.
		{"propensity 0", nil, "POST", imports, string(lines(good, fmt.Sprintf(row(`"propensity":0`), 2))), 422, "line 2: propensity", "(0, 1]", []client.Option{ndjson}},
		{"propensity 1.5", nil, "POST", imports, string(lines(good, good2(row), fmt.Sprintf(row(`"propensity":1.5`), 3))), 422, "line 3: propensity", "(0, 1]", []client.Option{ndjson}},
		{"negative propensity", nil, "POST", imports, fmt.Sprintf(row(`"propensity":-0.5`), 1), 422, "line 1: propensity", "(0, 1]", []client.Option{ndjson}},
		{"no propensity", nil, "POST", imports, fmt.Sprintf(row(`"rewards":[]`), 1), 422, "line 1: propensity", "missing", []client.Option{ndjson}},
		{"propensity against the randomisation", nil, "POST", imports + "&randomisation=uniform", fmt.Sprintf(row(`"propensity":0.9`), 1), 422, "line 1: propensity", "randomisation", []client.Option{ndjson}},
		{"randomisation nobody knows", nil, "POST", imports + "&randomisation=dice", good, 422, "randomisation", "dice", []client.Option{ndjson}},
		{"import with an unknown action", nil, "POST", imports, strings.ReplaceAll(good, `"mens"`, `"mans"`), 422, "line 1.eligible[1]", "mans", []client.Option{ndjson}},
		{"import at an unknown placement", nil, "POST", "/v1/imports?name=old&placement=nowhere", good, 422, "placement", "nowhere", []client.Option{ndjson}},
		{"import of an id twice", nil, "POST", imports, string(lines(good, good)), 422, "line 2: id", "line 1", []client.Option{ndjson}},
		{"import as if it were live", nil, "POST", "/v1/imports?name=live&placement=shop", good, 422, "name", "live", []client.Option{ndjson}},

		// Ids that are taken.
		{"idempotency key with another call", nil, "POST", "/v1/decisions", call("shop", "C-1", 4, "men"), 409, "", m.ID, []client.Option{client.Header("Idempotency-Key", "used")}},
		{"idempotency key with another customer", nil, "POST", "/v1/decisions", call("shop", "C-2", 3, "men"), 409, "", m.ID, []client.Option{client.Header("Idempotency-Key", "used")}},
		{"definition that exists", nil, "PUT", "/v1/actions/mens", obj{"owner": "me"}, 428, "If-Match", "missing", nil},
		{"definition that exists, create only", nil, "PUT", "/v1/actions/mens", obj{"owner": "me"}, 412, "If-Match", "exists", []client.Option{client.Header("If-None-Match", "*")}},
		{"document with another id", nil, "PUT", "/v1/actions/a", obj{"id": "b"}, 422, "id", "", nil},

		// Too large.
		{"decision call too large", nil, "POST", "/v1/decisions", decision(`{"taste":"` + strings.Repeat("m", 256<<10) + `"}`), 413, "body", "256 KiB", nil},
		{"rewards too large", nil, "POST", "/v1/rewards", strings.Repeat(" ", 4<<20+1), 413, "body", "4 MiB", nil},
		{"rewards too large for one message", nil, "POST", "/v1/rewards", string(manyRewards(m.ID)), 413, "", "smaller parts", []client.Option{ndjson}},
		{"definition too large", nil, "PUT", "/v1/actions/a", obj{"owner": strings.Repeat("x", 256<<10)}, 413, "body", "256 KiB", nil},
		{"long idempotency key", nil, "POST", "/v1/decisions", call("shop", "C-2", 3, "men"), 422, "Idempotency-Key", "256", []client.Option{client.Header("Idempotency-Key", strings.Repeat("k", 257))}},

		// Keys and roles.
		{"no key", r.admin.As(""), "POST", "/v1/decisions", call("shop", "C-2", 3, "men"), 401, "Authorization", "", nil},
		{"wrong key", r.admin.As("nb_0000000000_" + strings.Repeat("0", 64)), "POST", "/v1/decisions", call("shop", "C-2", 3, "men"), 401, "Authorization", "", nil},
		{"key with another's secret", r.admin.As(r.admin.Key[:14] + r.channel.Key[14:]), "POST", "/v1/decisions", call("shop", "C-2", 3, "men"), 401, "Authorization", "", nil},
		{"revoked key", revoked, "POST", "/v1/decisions", call("shop", "C-2", 3, "men"), 401, "Authorization", "revoked", nil},
		{"analyst decides", r.analyst, "POST", "/v1/decisions", call("shop", "C-2", 3, "men"), 403, "Authorization", "analyst", nil},
		{"analyst reports", r.analyst, "POST", "/v1/rewards", string(lines(orderLine("x-1", m.ID, time.Now()))), 403, "Authorization", "analyst", []client.Option{ndjson}},
		{"channel defines", r.channel, "PUT", "/v1/actions/a", obj{}, 403, "Authorization", "channel", nil},
		{"channel reads the log", r.channel, "GET", "/v1/decisions/" + m.ID, nil, 403, "Authorization", "channel", nil},
		{"channel imports", r.channel, "POST", imports, good, 403, "Authorization", "channel", []client.Option{ndjson}},
		{"approver defines", r.approver, "PUT", "/v1/actions/a", obj{}, 403, "Authorization", "approver", nil},
		{"owner promotes", r.owner, "POST", "/v1/experiments/trial/promote", obj{"arm": "b", "reason": "go"}, 403, "Authorization", "owner", nil},
		{"owner makes a key", r.owner, "POST", "/v1/keys", obj{"role": "admin", "name": "me"}, 403, "Authorization", "owner", nil},

		// What does not fit.
		{"policy whose schema is not there", nil, "POST", "/v1/policies/p/versions", lints, 422, "features", "shop@9", nil},
		{"parameter out of range", nil, "POST", "/v1/policies/p/versions", obj{"algorithm": "epsilon_greedy", "features": "shop@1", "params": obj{"epsilon": 1.5}}, 422, "params.epsilon", "", nil},
		{"model that is not there", nil, "PUT", "/v1/placements/new", shop(func(d obj) { d["policy"], d["model"] = "lints@1", 3 }), 422, "model", "3", nil},
		{"experiment with a model that is not there", nil, "PUT", "/v1/experiments/trial", trial(func(d obj) { d["arms"].([]obj)[1]["model"] = 3 }), 422, "arms[1].model", "3", nil},
		{"experiment with shares that do not add up", nil, "PUT", "/v1/experiments/trial", trial(func(d obj) { d["arms"].([]obj)[1]["share"] = 0.6 }), 422, "arms", "1", nil},
		{"experiment of an unknown placement", nil, "PUT", "/v1/experiments/trial", trial(func(d obj) { d["placement"] = "nowhere" }), 422, "placement", "nowhere", nil},
		{"schema with a level twice", nil, "PUT", "/v1/features/f", obj{"features": []obj{{"name": "taste", "type": "categorical", "levels": []string{"a", "a"}}}}, 422, "features[0].levels", "twice", nil},

		// Revisions.
		{"stale If-Match", nil, "PUT", "/v1/placements/shop", shop(func(d obj) { d["owner"] = "me" }), 412, "If-Match", etag, []client.Option{client.IfMatch(`"1"`)}},
		{"If-Match of something new", nil, "PUT", "/v1/actions/a", obj{}, 412, "If-Match", "", []client.Option{client.IfMatch(`"1"`)}},
		{"If-Match that is no ETag", nil, "PUT", "/v1/placements/shop", shop(func(d obj) { d["owner"] = "me" }), 422, "If-Match", "", []client.Option{client.IfMatch(`"abc"`)}},
	}
	must(t, r.owner, "PUT", "/v1/placements/learned", shop(func(d obj) { d["policy"] = "lints@1" }), nil)
	decisions, rewards := r.counts(t, "shop")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := r.state(t)
			as, body := tt.as, tt.body
			if as == nil {
				as = r.admin
			}
			if text, ok := body.(string); ok {
				body = []byte(text)
			}
			p := refused(t, as, tt.status, tt.method, tt.path, body, tt.header...)
			text := p.Detail
			if tt.field != "" {
				if len(p.Problems) == 0 || p.Problems[0].Field != tt.field {
					t.Fatalf("%s: want a problem with %s", p.Raw, tt.field)
				}
				text += " " + p.Problems[0].Message + " " + p.Problems[0].Cure
			}
			if !strings.Contains(text, tt.says) {
				t.Errorf("%s does not say %q", p.Raw, tt.says)
			}
			if p.Code == "" || p.Title == "" {
				t.Errorf("%s has no code or title", p.Raw)
			}
			if after := r.state(t); after != before {
				t.Errorf("the refused request went from %+v to %+v", before, after)
			}
		})
	}
	if d, w := r.counts(t, "shop"); d != decisions || w != rewards || d != 1 {
		t.Errorf("the log went from %d decisions and %d rewards to %d and %d", decisions, rewards, d, w)
	}
}

// TestBadInputLeavesNoTrace checks what a refusal could leave behind besides
// records: a reserved contact or a claimed key.
func TestBadInputLeavesNoTrace(t *testing.T) {
	r := start(t, own(t), quick)
	define(t, r)
	r.ready(t)
	key := client.Header("Idempotency-Key", "k-1")
	bad := call("mailbox", "C-1", 3, "men")
	bad["context"] = obj{"recency": nil}
	refused(t, r.channel, 422, "POST", "/v1/decisions", bad, key)
	refused(t, r.channel, 422, "POST", "/v1/decisions", []byte(`{"placement":"mailbox","customer":{"id":"C-1"},"context":{},"extra":1}`), key)
	if m := decide(t, r.channel, call("mailbox", "C-1", 3, "men"), key); m.Action != "once" || m.Repeated {
		t.Errorf("after two refusals: %+v", m)
	}
	// A conflict must not use up the cap either.
	refused(t, r.channel, 409, "POST", "/v1/decisions", call("mailbox", "C-2", 3, "men"), key)
	if m := decide(t, r.channel, call("mailbox", "C-2", 3, "men")); m.Action != "once" {
		t.Errorf("after a conflict: %+v", m)
	}
}

// TestImport takes rows with propensities, and rows without where the user
// says how they were randomised; sent again they change nothing.
func TestImport(t *testing.T) {
	r := start(t, own(t), quick)
	define(t, r)
	row := func(i int, rest string) string {
		return fmt.Sprintf(`{"id":"r-%d","customer":{"id":"I-%d"},"time":"2026-01-05T10:00:00Z","context":{"recency":3,"taste":"men"},"action":"mens","eligible":["do-nothing","mens","womens"]%s,"rewards":[{"kind":"order","value":%d,"time":"2026-01-05T10:00:00.5Z"}]}`, i, i, rest, i)
	}
	for range 2 {
		got, err := r.analyst.Import(t.Context(), client.ImportOptions{Name: "known", Placement: "shop"}, lines(row(1, `,"propensity":0.25`), row(2, `,"propensity":1`)))
		if err != nil || got.Rows != 2 || got.Rewards != 2 {
			t.Fatalf("%+v, %v", got, err)
		}
		got, err = r.analyst.Import(t.Context(), client.ImportOptions{Name: "named", Placement: "shop", Randomisation: "uniform"}, lines(row(3, ``), row(4, `,"propensity":0`), row(5, `,"propensity":1.5`)))
		if err != nil || got.Rows != 3 {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if d, w := r.counts(t, "shop"); d != 5 || w != 5 {
		t.Errorf("the log holds %d decisions and %d rewards, want 5 and 5", d, w)
	}
	want := map[string]float64{"known": math.NaN(), "named": 1. / 3}
	err := r.store.Decisions(t.Context(), logging.DecisionQuery{Placement: "shop"}, func(d *nextbest.Decision) error {
		if p := want[d.Source]; !math.IsNaN(p) && d.Propensity != p {
			t.Errorf("a row of %s has propensity %v, want %v", d.Source, d.Propensity, p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var row1 struct {
		Items []struct {
			Propensity    float64
			Probabilities []obj
		}
	}
	must(t, r.analyst, "GET", "/v1/decisions/"+importedID("known", "r-1", time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)).String(), nil, &row1)
	if len(row1.Items) != 1 || row1.Items[0].Propensity != 0.25 || len(row1.Items[0].Probabilities) != 3 || row1.Items[0].Probabilities[1]["probability"] != nil {
		t.Errorf("a row of which only the propensity is known reads %+v", row1.Items)
	}
	// Nobody here drew imported rows, so there is nothing to replay.
	var v struct{ Checked, Identical int64 }
	if _, err := r.analyst.Await(t.Context(), "verifications", obj{"placement": "shop"}, &v, func(int64) {}); err != nil || v.Checked != 0 {
		t.Errorf("%d imported rows were replayed, error %v", v.Checked, err)
	}
}

// TestUnmatched takes a reward for a decision that nobody made, as orders may
// overtake decisions, and keeps it visible.
func TestUnmatched(t *testing.T) {
	r := start(t, own(t), quick)
	define(t, r)
	m := decide(t, r.channel, call("shop", "C-1", 3, "men"))
	unknown, err := uuid.NewV7()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	must(t, r.channel, "POST", "/v1/rewards", lines(orderLine("known", m.ID, now), orderLine("lost", unknown.String(), now)), nil, ndjson)
	d, w := r.counts(t, "shop")
	if d != 1 || w != 2 {
		t.Errorf("%d decisions and %d rewards, want 1 and 2", d, w)
	}
	var unmatched struct {
		Items []struct {
			ID, Why    string
			DecisionID string `json:"decision_id"`
		}
	}
	must(t, r.analyst, "GET", "/v1/rewards/unmatched?kind=order", nil, &unmatched)
	if len(unmatched.Items) != 1 || unmatched.Items[0].ID != "lost" || unmatched.Items[0].DecisionID != unknown.String() || unmatched.Items[0].Why == "" {
		t.Errorf("unmatched %+v", unmatched.Items)
	}
	// The newest report of an id counts: a correction replaces, a withdrawal
	// takes back; neither counts twice.
	mean := func() float64 {
		sum := 0.0
		rows := 0
		q := nextbest.Query{Placement: "shop", MatureAt: now.Add(time.Minute), Objective: nextbest.Objective{Terms: []nextbest.Term{{Reward: "order", Weight: 1}}, Window: nextbest.Duration(10 * time.Second)}}
		if err := r.store.Rows(t.Context(), q, func(b *nextbest.Batch) error {
			for _, v := range b.Reward {
				sum += v
				rows++
			}
			return nil
		}); err != nil || rows != 1 {
			t.Fatalf("%d rows, error %v", rows, err)
		}
		return sum
	}
	for _, c := range []struct {
		line string
		want float64
	}{
		{orderLine("known", m.ID, now), 1},
		{strings.Replace(orderLine("known", m.ID, now), `"value":1`, `"value":5`, 1), 5},
		{strings.Replace(orderLine("known", m.ID, now), `"value":1`, `"withdrawn":true`, 1), 0},
	} {
		must(t, r.channel, "POST", "/v1/rewards", lines(c.line), nil, ndjson)
		r.settled(t)
		if got := mean(); got != c.want {
			t.Errorf("after %s the decision is worth %v, want %v", c.line, got, c.want)
		}
	}
}

// TestImportTooLarge is refused by its announced length, before it is sent.
func TestImportTooLarge(t *testing.T) {
	r := start(t, own(t), quick)
	define(t, r)
	req, err := http.NewRequestWithContext(t.Context(), "POST", r.Address()+"/v1/imports?name=old&placement=shop", io.LimitReader(zeros{}, 64<<20+1))
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = 64<<20 + 1
	req.Header.Set("Authorization", "Bearer "+r.analyst.Key)
	req.Header.Set("Content-Type", "application/x-ndjson")
	req.Header.Set("Expect", "100-continue")
	res, err := (&http.Client{Transport: &http.Transport{ExpectContinueTimeout: 10 * time.Second}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var p client.Problem
	if err := json.NewDecoder(res.Body).Decode(&p); err != nil || res.StatusCode != 413 || p.Problems[0].Field != "body" || !strings.Contains(p.Problems[0].Message, "64 MiB") {
		t.Errorf("%d %+v, %v", res.StatusCode, p, err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func good2(row func(string) string) string { return fmt.Sprintf(row(`"propensity":1`), 2) }

// manyRewards is more than one journal message holds and less than a body may.
// Its ids are random, so that compressing them does not help.
func manyRewards(decision string) []byte {
	var b bytes.Buffer
	at := time.Now()
	for range 11000 {
		b.WriteString(orderLine(rand.Text()+rand.Text()+rand.Text()+rand.Text()+rand.Text()+rand.Text()+rand.Text(), decision, at))
		b.WriteByte('\n')
	}
	return b.Bytes()
}

func revokedKey(t testing.TB, r *rig) *client.Client {
	t.Helper()
	var k struct{ ID, Key string }
	must(t, r.admin, "POST", "/v1/keys", obj{"role": "admin", "name": "leaver"}, &k)
	c := r.admin.As(k.Key)
	must(t, c, "GET", "/v1/keys", nil, nil)
	must(t, r.admin, "DELETE", "/v1/keys/"+k.ID, nil, nil)
	return c
}

// placementAt returns a placement's document and ETag.
func placementAt(t testing.TB, r *rig, id string) (doc obj, etag string) {
	t.Helper()
	var p struct{ Document obj }
	h := must(t, r.admin, "GET", "/v1/placements/"+id, nil, &p)
	return p.Document, h.Get("ETag")
}
