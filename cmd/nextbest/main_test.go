package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nextbest/cmd/nextbest/client"
	"nextbest/experiments"
	"nextbest/internal/api"
	"nextbest/internal/embedded/enginetest"
)

// TestMain also makes the test binary the program itself, for the scripts, and
// the engine's child.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "nextbest" {
		main()
	}
	enginetest.Main(m)
}

// rig is a running server with a client for each role.
type rig struct {
	*server
	channel, analyst, owner, approver, admin *client.Client
	stop                                     func()
}

// quick are settings with which weeks pass in seconds.
var quick = settings{listen: "127.0.0.1:0", watch: 100 * time.Millisecond, learn: 200 * time.Millisecond, settle: 200 * time.Millisecond}

// own returns engines of a test's own: a fresh database in the package's
// ClickHouse and an embedded NATS in a fresh folder.
func own(t testing.TB) engines {
	t.Helper()
	return engines{Data: t.TempDir(), ClickHouse: enginetest.ClickHouse(t), Replicas: 1, ClickHouseMemory: 1024, JournalSize: 512}
}

// start runs a server until the test ends or stop is called.
func start(t testing.TB, e engines, s settings) *rig {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	srv, err := openServer(t.Context(), e, s, log, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, srv)
}

// serve runs a server that is open.
func serve(t testing.TB, srv *server) *rig {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(ctx) }()
	r := &rig{server: srv}
	r.stop = func() {
		if ctx.Err() != nil {
			return
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the server ended: %v", err)
		}
		srv.Close()
	}
	t.Cleanup(r.stop)
	for role, to := range map[api.Role]**client.Client{api.Channel: &r.channel, api.Analyst: &r.analyst, api.Owner: &r.owner, api.Approver: &r.approver, api.Admin: &r.admin} {
		key, err := srv.newKey(t.Context(), role, string(role), "test")
		if err != nil {
			t.Fatal(err)
		}
		*to = client.New(srv.Address(), key, 16)
	}
	return r
}

// obj is a JSON object.
type obj = map[string]any

// must makes a call that has to work.
func must(t testing.TB, c *client.Client, method, path string, in, out any, options ...client.Option) http.Header {
	t.Helper()
	h, err := c.Call(t.Context(), method, path, in, out, options...)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// refused makes a call that has to be refused with the status, and checks that
// the answer is a problem document.
func refused(t testing.TB, c *client.Client, status int, method, path string, in any, options ...client.Option) *client.Problem {
	t.Helper()
	var out json.RawMessage
	h, err := c.Call(t.Context(), method, path, in, &out, options...)
	p := client.AsProblem(err)
	if p == nil {
		t.Fatalf("%s %s: want status %d, got %s, error %v", method, path, status, out, err)
	}
	if p.Status != status {
		t.Fatalf("%s %s: want status %d, got %v", method, path, status, p)
	}
	if got := h.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("%s %s: content type %q of a refusal", method, path, got)
	}
	return p
}

// fetch gets a page without a key and returns its status and body.
func fetch(t testing.TB, c *http.Client, url string) (int, string) {
	t.Helper()
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// made is the part of an answer to a decision call that tests look at.
type made struct {
	ID            string  `json:"decision_id"`
	Action        string  `json:"action"`
	Channel       string  `json:"channel"`
	Propensity    float64 `json:"propensity"`
	Policy        string  `json:"policy"`
	Model         uint64  `json:"model"`
	Repeated      bool    `json:"repeated"`
	Probabilities []struct {
		Action      string  `json:"action"`
		Probability float64 `json:"probability"`
	} `json:"probabilities"`
	Excluded []struct {
		Action string `json:"action"`
		Reason string `json:"reason"`
		Detail string `json:"detail"`
	} `json:"excluded"`
	Experiment *struct {
		ID  string `json:"id"`
		Arm string `json:"arm"`
	} `json:"experiment"`
}

// why returns the reason for which an action was left out, "" if it was not.
func (m *made) why(action string) string {
	for _, e := range m.Excluded {
		if e.Action == action {
			return e.Reason
		}
	}
	return ""
}

// settled waits until everything acknowledged so far is in ClickHouse.
func (r *rig) settled(t testing.TB) uint64 {
	t.Helper()
	last, err := r.journal.Last(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := r.sink.WaitFor(ctx, last); err != nil {
		t.Fatalf("the sink did not reach %d: %v", last, err)
	}
	return last
}

// ready waits until capped actions may be used.
func (r *rig) ready(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !r.contacts.Ready(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			_, body := fetch(t, http.DefaultClient, r.Address()+"/readyz")
			t.Fatalf("the contact history is not ready: %s", body)
		}
	}
}

// define writes what the tests' shop has. Windows last a second; the caps of
// letter-a and call are exact: at most one contact an hour.
func define(t testing.TB, r *rig) {
	t.Helper()
	must(t, r.analyst, "PUT", "/v1/features/shop", obj{"features": []obj{
		{"name": "recency", "type": "numeric", "mean": 6, "sd": 3, "missing": "refuse"},
		{"name": "taste", "type": "categorical", "levels": []string{"men", "women"}},
	}}, nil)
	must(t, r.owner, "PUT", "/v1/objectives/orders", obj{"terms": []obj{{"reward": "order", "weight": 1}}, "window": "1s", "default": 0}, nil)
	must(t, r.owner, "PUT", "/v1/objectives/opt-outs", obj{"terms": []obj{{"reward": "opt_out", "weight": 1}}, "window": "1s", "default": 0}, nil)
	letter := func(id string) obj {
		return obj{"owner": "crm", "treatments": []obj{{"id": "a", "channel": "email", "content": "cms:" + id}}}
	}
	must(t, r.owner, "PUT", "/v1/actions/mens", letter("mens"), nil)
	must(t, r.owner, "PUT", "/v1/actions/womens", letter("womens"), nil)
	consent := letter("news")
	consent["consent"] = []string{"email"}
	must(t, r.owner, "PUT", "/v1/actions/news", consent, nil)
	capped := letter("once")
	capped["caps"] = []obj{{"scope": "action", "max": 1, "per": "1h"}}
	must(t, r.owner, "PUT", "/v1/actions/once", capped, nil)
	for id, spec := range map[string]obj{
		"rules":     {"algorithm": "rules", "params": obj{"epsilon": 0.2}, "rules": []obj{{"when": "context.taste == 'women'", "action": "womens"}, {"when": "true", "action": "mens"}}},
		"rules-0":   {"algorithm": "rules", "params": obj{"epsilon": 0}, "rules": []obj{{"when": "true", "action": "mens"}}},
		"once-only": {"algorithm": "fixed", "weights": obj{"once": 1}},
		"lints":     {"algorithm": "linear_thompson", "features": "shop@1"},
	} {
		must(t, r.analyst, "POST", "/v1/policies/"+id+"/versions", spec, nil)
	}
	all := []string{"do-nothing", "mens", "womens", "news"}
	for id, p := range map[string]obj{
		"shop":    {"actions": all, "policy": "rules@1"},
		"certain": {"actions": all, "policy": "rules-0@1"},
		"mailbox": {"actions": []string{"do-nothing", "once"}, "policy": "once-only@1"},
	} {
		p["channels"], p["objective"] = []string{"email"}, "orders@1"
		must(t, r.owner, "PUT", "/v1/placements/"+id, p, nil)
	}
}

// call is the body of a decision call.
func call(placement, customer string, recency float64, taste string) obj {
	return obj{"placement": placement, "customer": obj{"id": customer, "consent": obj{"email": true}}, "context": obj{"recency": recency, "taste": taste}}
}

// decide asks for one decision.
func decide(t testing.TB, c *client.Client, body any, options ...client.Option) made {
	t.Helper()
	var m made
	must(t, c, "POST", "/v1/decisions", body, &m, options...)
	return m
}

// once reports an order for a decision as an NDJSON line.
func orderLine(id, decision string, at time.Time) string {
	return fmt.Sprintf(`{"id":%q,"kind":"order","value":1,"time":%q,"decision_id":%q}`, id, at.Format(time.RFC3339Nano), decision)
}

// verified replays everything and fails unless all of it is identical.
func verified(t testing.TB, c *client.Client) int64 {
	t.Helper()
	var v api.Verified
	if _, err := c.Await(t.Context(), "verifications", obj{}, &v, func(int64) {}); err != nil {
		t.Fatal(err)
	}
	if v.Checked == 0 || v.Identical != v.Checked || len(v.Different) > 0 {
		t.Errorf("%d of %d decisions replayed identically: %+v", v.Identical, v.Checked, v.Different)
	}
	return v.Checked
}

// ndjson sends lines as one request.
var ndjson = client.Header("Content-Type", "application/x-ndjson")

func lines(l ...string) []byte { return []byte(strings.Join(l, "\n") + "\n") }

// refusedGates returns the gates that a refused promotion lists.
func refusedGates(t testing.TB, p *client.Problem) []experiments.Gate {
	t.Helper()
	var body struct{ Gates []experiments.Gate }
	if err := json.Unmarshal(p.Raw, &body); err != nil || len(body.Gates) == 0 {
		t.Fatalf("a refused promotion without gates: %s (%v)", p.Raw, err)
	}
	return body.Gates
}
