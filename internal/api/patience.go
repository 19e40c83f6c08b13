package api

import (
	"io"
	"net/http"
	"time"
)

// A body may take a moment, and longer the longer it is. Whoever sends one byte
// now and then must not hold a connection for ever.
const (
	bodyWait    = 30 * time.Second
	bodyRate    = 128 << 10       // bytes a second at least
	unknownWait = 5 * time.Minute // for a body of unknown length
)

// patience gives every body a time by which it must be there. The server's own
// ReadTimeout would also end long work on a body that came in time.
func patience(next http.Handler, wait time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 && r.Body != nil {
			limit := unknownWait
			if r.ContentLength > 0 {
				limit = wait + time.Duration(r.ContentLength/bodyRate)*time.Second
			}
			a := &arriving{ReadCloser: r.Body, connection: http.NewResponseController(w)}
			if a.connection.SetReadDeadline(time.Now().Add(limit)) == nil {
				r.Body = a
			}
		}
		next.ServeHTTP(w, r)
	})
}

// arriving is a body that ends the connection's deadline when it is there.
type arriving struct {
	io.ReadCloser
	connection *http.ResponseController
}

// Read implements io.Reader.
func (a *arriving) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	if err == io.EOF {
		_ = a.connection.SetReadDeadline(time.Time{}) // it took one before
	}
	return n, err
}
