package bench

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestReadAnswer(t *testing.T) {
	for name, v := range map[string]struct {
		text   string
		status int
	}{
		"length":  {"HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhello", 201},
		"chunked": {"HTTP/1.1 503 Service Unavailable\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 503},
		"empty":   {"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", 202},
	} {
		r := bufio.NewReader(strings.NewReader(v.text + "next"))
		status, err := readAnswer(r)
		rest, _ := r.Peek(4)
		if err != nil || status != v.status || string(rest) != "next" {
			t.Errorf("%s: %d, %v, then %q; want %d and the next answer", name, status, err, rest, v.status)
		}
	}
	for _, text := range []string{"", "HTTP\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"} {
		if status, err := readAnswer(bufio.NewReader(strings.NewReader(text))); err == nil {
			t.Errorf("%q was read as %d", text, status)
		}
	}
}

// Every answer is counted, and those other than 2xx as failed.
func TestLoadCountsFailures(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer srv.Close()
	l := &load{address: strings.TrimPrefix(srv.URL, "http://"), connections: 2, span: 100 * time.Millisecond,
		requests: [][]byte{request("/good", "k", "application/json", []byte("{}")), request("/bad", "k", "application/json", []byte("{}"))}}
	got, err := l.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Requests < 2 || got.Failed == 0 || got.Failed == got.Requests || got.P50 > got.P99 {
		t.Errorf("%+v", got)
	}
}
