package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"nextbest"
	"nextbest/bandit"
	"nextbest/internal/decisions"
	"nextbest/internal/learning"
)

// testNow is the clock of every test.
var testNow = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// memory is a registry that lives in a slice.
type memory struct {
	mu   sync.Mutex
	all  []nextbest.Record
	puts int
}

func (m *memory) find(kind nextbest.Kind, id string, n uint64) (r nextbest.Record, ok bool) {
	for _, rec := range m.all {
		if rec.Kind == kind && rec.ID == id && (n == 0 || rec.Version == n) {
			r, ok = rec, true
		}
	}
	return r, ok
}

func (m *memory) Get(kind nextbest.Kind, id string) (nextbest.Record, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.find(kind, id, 0)
}

func (m *memory) Version(kind nextbest.Kind, id string, n uint64) (nextbest.Record, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.find(kind, id, n)
}

func (m *memory) History(kind nextbest.Kind, id string) (out []nextbest.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.all {
		if r.Kind == kind && r.ID == id {
			out = append(out, r)
		}
	}
	return out
}

func (m *memory) List(kind nextbest.Kind) (out []nextbest.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.all {
		if last, _ := m.find(kind, r.ID, 0); r.Kind == kind && last.Revision == r.Revision && !r.Deleted {
			out = append(out, r)
		}
	}
	return out
}

func (m *memory) Snapshot() (uint64, []nextbest.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return uint64(len(m.all)), append([]nextbest.Record(nil), m.all...)
}

func (m *memory) Put(_ context.Context, c nextbest.Change) (nextbest.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, exists := m.find(c.Kind, c.ID, 0)
	live := exists && !old.Deleted
	if c.Actor == "" {
		return old, nextbest.FieldErrorf("actor", "is missing")
	}
	if c.IfMatch == 0 && live {
		return old, nextbest.Errorf(nextbest.Conflict, "exists")
	}
	if c.IfMatch != 0 && c.IfMatch != nextbest.AnyRevision && old.Revision != c.IfMatch {
		return old, nextbest.Errorf(nextbest.Stale, "stale")
	}
	m.puts++
	r := nextbest.Record{Kind: c.Kind, ID: c.ID, Version: old.Version + 1, Revision: uint64(len(m.all)) + 1, Document: c.Document,
		Deleted: c.Deleted, Actor: c.Actor, Reason: c.Reason, Time: testNow}
	m.all = append(m.all, r)
	return r, nil
}

func (m *memory) changes() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.puts
}

// domain stands for everything behind the API and remembers what reached it.
type domain struct {
	mu          sync.Mutex
	calls       []decisions.Call
	contexts    []string // as JSON, because the maps are used again
	rewards     []nextbest.Reward
	impressions []nextbest.Impression
	commands    []Command
	imports     []Import
	moved       uint64 // revision that a rollback asked for
	trainings   []Training
	answer      decisions.Answer
	fail        error
	panics      bool
	evaluate    func(ctx context.Context, progress Progress) (any, error)
	search      func(ctx context.Context, run SearchRun) (any, error)
	rows        []nextbest.Decision
}

func (d *domain) seen() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.calls) + len(d.rewards) + len(d.impressions) + len(d.commands) + len(d.imports) + len(d.trainings)
}

func (d *domain) Decide(_ context.Context, c decisions.Call) (decisions.Answer, error) {
	if d.panics {
		panic("secret detail")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		return decisions.Answer{}, d.fail
	}
	text, _ := json.Marshal(map[string]any{"context": c.Context, "customer": c.Customer.Attributes})
	d.calls, d.contexts = append(d.calls, c), append(d.contexts, string(text))
	return d.answer, nil
}

func (d *domain) Rewards(_ context.Context, r []nextbest.Reward) (uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		return 0, d.fail
	}
	d.rewards = append(d.rewards, r...)
	return 42, nil
}

func (d *domain) Impressions(_ context.Context, i []nextbest.Impression) (uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.impressions = append(d.impressions, i...)
	return 43, d.fail
}

func (d *domain) Pseudonym(kind, id string) (string, error) {
	if strings.Contains(kind, ":") {
		return "", nextbest.FieldErrorf("customer.type", "must have no colon")
	}
	return "pseudonym-of-" + kind + ":" + id, nil
}

func (d *domain) Apply(_ context.Context, c Command) (nextbest.Record, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		return nextbest.Record{}, d.fail
	}
	d.commands = append(d.commands, c)
	doc := strings.Replace(experimentBody, "{", `{"state":"running",`, 1)
	return nextbest.Record{ID: c.ID, Version: 2, Revision: 99, Document: []byte(doc), Actor: c.Actor, Reason: c.Reason, Time: testNow}, nil
}

func (d *domain) Undo(_ context.Context, c Command) (nextbest.Record, string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.commands = append(d.commands, c)
	return nextbest.Record{ID: c.ID, Version: 2, Revision: 99, Document: []byte(placementBody), Actor: c.Actor, Reason: c.Reason, Time: testNow}, "exp-1", d.fail
}

func (d *domain) Import(_ context.Context, m Import) (Imported, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.imports = append(d.imports, m)
	return Imported{Name: m.Name, Rows: len(m.Rows), From: testNow, To: testNow}, d.fail
}

func (d *domain) Train(_ context.Context, t Training) (nextbest.Record, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.trainings = append(d.trainings, t)
	return nextbest.Record{Kind: nextbest.KindModel, ID: "lints.1", Version: 7, Revision: 88, Actor: t.Actor, Time: testNow,
		Document: []byte(`{"policy":"lints@1","hash":"ab","placement":"web","objective":"value@1"}`)}, d.fail
}

func (d *domain) Migrate(_ context.Context, m Migration) (nextbest.Record, error) {
	return nextbest.Record{Kind: nextbest.KindModel, ID: "lints.1", Version: 8, Revision: 89, Actor: m.Actor, Time: testNow,
		Document: []byte(`{"policy":"lints@1","hash":"ab","placement":"web","objective":"value@1","features":"retail@2","migrated_from":{"policy":"` + m.From.String() + `","model":3}}`)}, d.fail
}

func (d *domain) Moments(_ context.Context, definition []byte, from MomentsFrom) ([]byte, error) {
	m, err := bandit.NewMoments(definition)
	if err != nil {
		return nil, err
	}
	for i := range 3 {
		m.Add(map[string]any{"recency": float64(i)}, testNow)
	}
	raw, err := m.Definition(bandit.Source{Placement: from.Placement, To: testNow, Upto: 9})
	return raw, cmp.Or(err, d.fail)
}

func (d *domain) Weights(context.Context, nextbest.Record) (any, error) {
	return map[string]any{"arms": []string{}}, nil
}

func (d *domain) Rebuild(_ context.Context, policy nextbest.Ref, number uint64, _ func(int64)) (learning.Rebuilt, error) {
	return learning.Rebuilt{Policy: policy, Model: max(number, 1), Rows: 10, Recorded: 10, Same: true}, d.fail
}

func (d *domain) Diff(_ context.Context, policy nextbest.Ref, from, to uint64) (learning.Diff, error) {
	return learning.Diff{Policy: policy, From: from, To: to, Actions: []learning.ActionChanges{}}, d.fail
}

func (d *domain) Rollback(_ context.Context, policy nextbest.Ref, model, ifMatch uint64, actor, reason string) (nextbest.Record, error) {
	return d.current(policy, fmt.Sprintf(`{"model":%d,"paused":true}`, model), ifMatch, actor, reason)
}

func (d *domain) Resume(_ context.Context, policy nextbest.Ref, ifMatch uint64, actor, reason string) (nextbest.Record, error) {
	return d.current(policy, `{"model":1}`, ifMatch, actor, reason)
}

func (d *domain) current(policy nextbest.Ref, document string, ifMatch uint64, actor, reason string) (nextbest.Record, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.moved = ifMatch
	return nextbest.Record{Kind: nextbest.KindCurrent, ID: learning.ID(policy), Version: 2, Revision: 99, Actor: actor, Reason: reason, Time: testNow, Document: []byte(document)}, d.fail
}

func (d *domain) Evaluate(ctx context.Context, _ Evaluation, progress Progress) (any, error) {
	if d.evaluate != nil {
		return d.evaluate(ctx, progress)
	}
	return map[string]any{"verdict": "no evidence"}, nil
}

func (d *domain) Search(ctx context.Context, _ Search, run SearchRun) (any, error) {
	if d.search != nil {
		return d.search(ctx, run)
	}
	return map[string]any{"outcome": "none_better"}, nil
}

func (d *domain) Repeat(_ context.Context, e Evaluation, result json.RawMessage, _ Progress) (any, error) {
	if e.Seed != 7 {
		return nil, nextbest.Errorf(nextbest.Conflict, "seed %d", e.Seed)
	}
	return result, nil
}

func (d *domain) Verify(context.Context, Verification, func(int64)) (Verified, error) {
	return Verified{Checked: 10, Identical: 10}, nil
}

func (d *domain) Decision(context.Context, uuid.UUID) ([]nextbest.Decision, error) {
	return d.rows, d.fail
}

func (d *domain) Unmatched(context.Context, UnmatchedQuery) ([]UnmatchedReward, error) {
	return []UnmatchedReward{{ID: "o-1", Kind: "purchase", Time: testNow, Why: "no decision"}}, nil
}

func (d *domain) SQL(context.Context, string) (SQLResult, error) {
	return SQLResult{Columns: []SQLColumn{{"n", "UInt64"}}, Rows: [][]any{{1}}}, nil
}

func (d *domain) Gates(context.Context, string, string, uint64, string) (any, error) {
	return map[string]any{"gates": []any{}}, nil
}

func (d *domain) Status(context.Context, string) (any, error) {
	return map[string]any{"arms": []any{}}, nil
}

func (d *domain) Overview(context.Context) (any, error) { return map[string]any{"ok": true}, nil }

func (d *domain) Ready(context.Context) []Dependency {
	return []Dependency{{Name: "clickhouse", OK: d.fail == nil}}
}

// fixture is a server on fakes with one key of each role.
type fixture struct {
	t    testing.TB
	reg  *memory
	dom  *domain
	srv  *Server
	keys map[Role]string
	ids  map[Role]string
}

const (
	placementBody  = `{"channels":["web"],"objective":"value@1","actions":["mens","do-nothing"],"policy":"rules@1"}`
	objectiveBody  = `{"terms":[{"reward":"purchase","weight":1},{"reward":"opt_out","weight":-5}],"window":"14d","default":0}`
	experimentBody = `{"placement":"web","arms":[{"id":"control","policy":"rules@1","share":0.5,"control":true},{"id":"candidate","policy":"lints@1","model":2,"share":0.5}],
		"primary":{"reward":"purchase"},"guardrails":[{"reward":"opt_out","harm":"increase","margin":0.1}],"window":"14d","salt":"e1"}`
	decisionBody   = `{"placement":"web","customer":{"id":"C-1042","consent":{"email":true}},"context":{"recency":3,"history":329.08,"channel":"Web"}}`
	evaluationBody = `{"placement":"web","reward":"purchase","candidates":[{"name":"evenly","spec":{"algorithm":"uniform"}}],"seed":7}`
	searchBody     = `{"placement":"web","train_to":"2026-09-01T00:00:00Z","select_to":"2026-10-01T00:00:00Z","specs":[{"name":"ucb","spec":{"algorithm":"linucb","features":"retail@1"},"grid":{"alpha":[0.5,1],"floor":[0.02]}}],"seed":7}`
	someDecision   = "019ab0c0-0000-7000-8000-000000000001"
)

func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{t: t, reg: &memory{}, dom: &domain{}, keys: map[Role]string{}, ids: map[Role]string{}}
	f.dom.answer = decisions.Answer{DecisionID: uuid.MustParse(someDecision), Slot: 1, Action: "mens", Treatment: "a", Channel: "web", Propensity: .73,
		Probabilities: []decisions.Probability{{Action: "mens", Probability: .73}, {Action: "do-nothing", Probability: .27}},
		Excluded:      []nextbest.Exclusion{{Action: "womens", Reason: nextbest.ReasonCap, Detail: `2 of 2 in "7d"`}},
		Experiment:    &decisions.Assigned{ID: "exp-1@2", Arm: "candidate", Probability: .45}, Policy: "lints@1", Model: 814, Placement: "web@1", Time: testNow, Durable: true}
	for _, role := range roles {
		key, change, err := NewKey(role, "test "+string(role), "setup", "")
		if err != nil {
			t.Fatal(err)
		}
		rec, err := f.reg.Put(t.Context(), change)
		if err != nil {
			t.Fatal(err)
		}
		f.keys[role], f.ids[role] = key, rec.ID
	}
	var err error
	d := f.dom
	f.srv, err = New(Options{Registry: f.reg, Decider: d, Outcomes: d, Pseudonyms: d, Log: d, Trainer: d, Weights: d, Rebuilder: d, Models: d, Evaluator: d, Searcher: d, Verifier: d, Importer: d,
		Lifecycle: d, Evidence: d, Console: d, Readiness: d, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return testNow }})
	if err != nil {
		t.Fatal(err)
	}
	f.define()
	return f
}

// define writes one definition of each kind.
func (f *fixture) define() {
	f.t.Helper()
	for path, body := range map[string]string{
		"/v1/objectives/value":        objectiveBody,
		"/v1/actions/mens":            `{"goal":"cross_sell","treatments":[{"id":"a","channel":"web"}]}`,
		"/v1/features/retail":         `{"features":[{"name":"recency","type":"numeric","mean":5.8,"sd":3.5}]}`,
		"/v1/placements/web":          placementBody,
		"/v1/experiments/exp-1":       experimentBody,
		"/v1/holdouts/universal":      `{"share":0.05,"salt":"h1"}`,
		"/v1/policies/lints/versions": `{"algorithm":"linear_thompson","params":{"v":0.5},"features":"retail@1"}`,
	} {
		method := "PUT"
		if strings.HasSuffix(path, "/versions") {
			method = "POST"
		}
		if r := f.do(Admin, method, path, body); r.Code != 201 {
			f.t.Fatalf("%s %s: %d %s", method, path, r.Code, r.Body)
		}
	}
}

// do sends one request with the role's key ("" for none) and headers in pairs.
func (f *fixture) do(role Role, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req := httptest.NewRequest(method, path, r)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if key := f.keys[role]; key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	f.srv.Handler().ServeHTTP(w, req)
	return w
}

// problemOf decodes a problem document and checks its type.
func problemOf(t testing.TB, w *httptest.ResponseRecorder) Problem {
	t.Helper()
	if ct := w.Header().Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("content type %q of %d %s", ct, w.Code, w.Body)
	}
	var p Problem
	dec := json.NewDecoder(bytes.NewReader(w.Body.Bytes()))
	if err := dec.Decode(&p); err != nil {
		t.Fatalf("%v in %s", err, w.Body)
	}
	if p.Status != w.Code || p.Title != http.StatusText(w.Code) || p.Code == "" || p.Type != "about:blank" {
		t.Errorf("problem %+v of status %d", p, w.Code)
	}
	return p
}
