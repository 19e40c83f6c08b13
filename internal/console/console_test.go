package console

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
)

type fakeKeys map[string]bool

func (k fakeKeys) MayRead(key string) error {
	if !k[key] {
		return errors.New("unknown key")
	}
	return nil
}

func serve(t *testing.T) (*Console, http.Handler) {
	t.Helper()
	gin.SetMode(gin.TestMode)
	c, e := New(fakeKeys{"good": true}), gin.New()
	c.Mount(e)
	return c, e
}

func TestFilesAreServed(t *testing.T) {
	_, h := serve(t)
	for path, want := range map[string]string{"/console/": "<title>nextbest</title>", "/console/console.js": "/v1/overview", "/console/charts.js": "svg", "/console/console.css": "--ink", "/console/icon.svg": "<svg"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != 200 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d, want 200 with %q", path, w.Code, want)
		}
		if w.Header().Get("Content-Security-Policy") == "" {
			t.Errorf("%s has no content security policy", path)
		}
	}
}

func TestLinkWorksOnce(t *testing.T) {
	c, h := serve(t)
	path := c.Link("secret token", "good")
	for i, want := range []int{200, 303} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		cookies := w.Result().Cookies()
		if w.Code != want || (len(cookies) == 1) != (i == 0) {
			t.Errorf("visit %d: %d with %d cookies, want %d", i+1, w.Code, len(cookies), want)
		}
		if i == 0 && (cookies[0].Value != "good" || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteStrictMode) {
			t.Errorf("cookie %+v", cookies[0])
		}
	}
}

func TestLogin(t *testing.T) {
	_, h := serve(t)
	for key, cookies := range map[string]int{"good": 1, "bad": 0, "": 0} {
		r := httptest.NewRequest("POST", "/console/login", strings.NewReader(url.Values{"key": {key}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := len(w.Result().Cookies()); got != cookies {
			t.Errorf("key %q: %d cookies, want %d", key, got, cookies)
		}
	}
}

func TestIntervals(t *testing.T) {
	if MeanOf(Moments{}) != nil || LiftOf(Moments{Customers: 5}, Moments{}) != nil {
		t.Error("no customers, no figure")
	}
	if m := MeanOf(Moments{Customers: 99, Mean: 1, SD: 1}); m.Low != nil {
		t.Error("99 customers are too few for an interval")
	}
	few, many := MeanOf(Moments{Customers: 1000, Mean: 2, SD: 1}), MeanOf(Moments{Customers: 100000, Mean: 2, SD: 1})
	if !(*few.Low < *many.Low && *many.Low < 2 && 2 < *many.High && *many.High < *few.High) {
		t.Errorf("intervals do not shrink around the mean: %v–%v, %v–%v", *few.Low, *few.High, *many.Low, *many.High)
	}
	l := LiftOf(Moments{Customers: 1000, Mean: 3, SD: 1}, Moments{Customers: 1000, Mean: 2, SD: 1})
	if l.Value != 1 || *l.High-*l.Low <= 2*(*few.High-2) {
		t.Errorf("a difference is less certain than either side: %v [%v, %v]", l.Value, *l.Low, *l.High)
	}
}
