package api

import (
	"net/http"
)

// SessionCookie holds the API key of somebody who signed in to the console. It
// counts for reading only: what changes something needs the key in a header,
// so that no other site can make a browser do it.
const SessionCookie = "nextbest_key"

// Allows refuses a key that is unknown or whose role does not give the
// permission.
func (s *Server) Allows(key string, may Permission) error {
	id, err := s.auth.identify(http.Header{"X-Api-Key": {key}})
	if err != nil {
		return err
	}
	if !id.Role.May(may) {
		return forbidden(id, may)
	}
	return nil
}

// identifyRequest returns who sent a request.
func (s *Server) identifyRequest(r *http.Request) (Identity, error) {
	if r.Method == http.MethodGet && r.Header.Get("Authorization") == "" && r.Header.Get("X-Api-Key") == "" {
		if c, err := r.Cookie(SessionCookie); err == nil {
			return s.auth.identify(http.Header{"X-Api-Key": {c.Value}})
		}
	}
	return s.auth.identify(r.Header)
}
