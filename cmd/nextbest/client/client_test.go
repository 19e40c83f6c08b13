package client

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestCall(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer k" {
			t.Errorf("authorization %q", r.Header.Get("Authorization"))
		}
		if r.URL.Path == "/bad" {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(422)
			w.Write([]byte(`{"status":422,"title":"Unprocessable Entity","code":"invalid","detail":"action is invalid","problems":[{"field":"caps[0].max","message":"must be at least 1","cure":"set it to 1"}]}`))
			return
		}
		w.Header().Set("ETag", `"7"`)
		w.Write([]byte(`{"n":3}`))
	}))
	defer srv.Close()
	c := New(srv.URL+"/", "k", 4)
	var out struct{ N int }
	h, err := c.Call(t.Context(), "PUT", "/ok", map[string]int{"a": 1}, &out)
	if err != nil || out.N != 3 || h.Get("ETag") != `"7"` {
		t.Errorf("%v, %v, %v", out, h, err)
	}
	_, err = c.Call(t.Context(), "PUT", "/bad", nil, nil)
	p := AsProblem(err)
	if p == nil || p.Status != 422 || p.Code != "invalid" || !strings.Contains(err.Error(), "caps[0].max: must be at least 1 (set it to 1)") {
		t.Errorf("problem %+v, error %v", p, err)
	}
}
