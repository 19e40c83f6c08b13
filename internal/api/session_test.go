package api

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"nextbest"
)

func TestSessionCookieReadsOnly(t *testing.T) {
	key, change, err := NewKey(Owner, "console", "test", "test")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{auth: &authenticator{definitions: oneKey{change}}}
	for _, v := range []struct {
		method, cookie string
		ok             bool
	}{{"GET", key, true}, {"POST", key, false}, {"GET", key + "x", false}, {"GET", "", false}} {
		r := httptest.NewRequest(v.method, "/v1/overview", nil)
		r.AddCookie(&http.Cookie{Name: SessionCookie, Value: v.cookie})
		if _, err := s.identifyRequest(r); (err == nil) != v.ok {
			t.Errorf("%s with cookie %q: %v", v.method, v.cookie, err)
		}
	}
	if s.Allows(key, MayRead) != nil || s.Allows(key, MayKeys) == nil || s.Allows("nb_x_y", MayRead) == nil {
		t.Error("Allows must follow the role")
	}
}

// oneKey is a registry that holds one API key.
type oneKey struct{ change nextbest.Change }

func (o oneKey) Get(kind nextbest.Kind, id string) (nextbest.Record, bool) {
	return nextbest.Record{Kind: kind, ID: id, Version: 1, Revision: 1, Document: o.change.Document}, id == o.change.ID
}
func (o oneKey) Version(nextbest.Kind, string, uint64) (nextbest.Record, bool) {
	return nextbest.Record{}, false
}
func (o oneKey) List(nextbest.Kind) []nextbest.Record { return nil }
