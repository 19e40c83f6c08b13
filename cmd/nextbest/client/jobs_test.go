package client

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// jobServer runs one job, which shows the states in turn.
func jobServer(t *testing.T, states ...string) *Client {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == "POST" && r.URL.Path == "/v1/evaluations":
			w.WriteHeader(http.StatusAccepted)
			fmt.Fprint(w, `{"id":"j1","state":"queued"}`)
		case r.Method == "GET" && r.URL.Path == "/v1/evaluations/j1":
			fmt.Fprint(w, states[0])
			if len(states) > 1 {
				states = states[1:]
			}
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	return New(srv.URL, "k", 1)
}

func TestAwait(t *testing.T) {
	c := jobServer(t, `{"id":"j1","state":"queued"}`, `{"id":"j1","state":"running","progress":40}`, `{"id":"j1","state":"done","result":{"n":7}}`)
	var seen []int64
	var result struct{ N int }
	id, err := c.Await(t.Context(), "evaluations", map[string]any{}, &result, func(done int64) { seen = append(seen, done) })
	if err != nil || id != "j1" || result.N != 7 || fmt.Sprint(seen) != "[0 40]" {
		t.Errorf("id %s, result %+v, progress %v, error %v", id, result, seen, err)
	}
}

func TestAwaitFails(t *testing.T) {
	for state, want := range map[string]string{
		`{"id":"j1","state":"failed","problem":{"status":422,"title":"Unprocessable Entity","detail":"no rows"}}`: "no rows",
		`{"id":"j1","state":"cancelled"}`:                   "is cancelled",
		`{"id":"j1","state":"done","result":{"n":"seven"}}`: "decode",
	} {
		var result struct{ N int }
		if _, err := jobServer(t, state).Await(t.Context(), "evaluations", map[string]any{}, &result, func(int64) {}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s gives error %v, want %q", state, err, want)
		}
	}
	if _, err := jobServer(t, "").Await(t.Context(), "verifications", map[string]any{}, nil, func(int64) {}); AsProblem(err) == nil || AsProblem(err).Status != 404 {
		t.Errorf("a kind that is not there: %v", err)
	}
}

func TestImport(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if q := r.URL.Query(); q.Get("name") != "old" || q.Get("placement") != "shop" || q.Get("randomisation") != "weights:a=0.5,b=0.5" || r.Header.Get("Content-Type") != "application/x-ndjson" || string(body) != "{}\n" {
			t.Errorf("%s %v %q", r.URL, r.Header, body)
		}
		if err := json.NewEncoder(w).Encode(Imported{Name: "old", Rows: 1}); err != nil {
			t.Error(err)
		}
	}))
	defer srv.Close()
	got, err := New(srv.URL, "k", 1).Import(t.Context(), ImportOptions{Name: "old", Placement: "shop", Randomisation: "weights:a=0.5,b=0.5"}, []byte("{}\n"))
	if err != nil || got.Rows != 1 || got.Name != "old" {
		t.Errorf("%+v, %v", got, err)
	}
}
