package api

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestSlowBodies: a body that does not arrive is given up, one that has arrived
// leaves its handler all the time it wants, and the connection can be used again.
func TestSlowBodies(t *testing.T) {
	const wait = 300 * time.Millisecond
	server := httptest.NewServer(patience(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		select {
		case <-time.After(2 * wait):
		case <-r.Context().Done():
			w.WriteHeader(http.StatusInternalServerError)
		}
	}), wait))
	defer server.Close()
	for name, c := range map[string]struct {
		body   string
		status int
		again  bool
	}{"whole": {"12345", http.StatusOK, true}, "half": {"12", http.StatusBadRequest, false}} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		reader := bufio.NewReader(conn)
		for range 2 {
			start := time.Now()
			fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n%s", c.body)
			if err := conn.SetReadDeadline(start.Add(20 * wait)); err != nil {
				t.Fatal(err)
			}
			res, err := http.ReadResponse(reader, nil)
			if err != nil || res.StatusCode != c.status {
				t.Fatalf("%s: %+v, %v, after %s", name, res, err, time.Since(start))
			}
			if _, err := io.Copy(io.Discard, res.Body); err != nil {
				t.Fatal(err)
			}
			if !c.again {
				break
			}
		}
	}
}
