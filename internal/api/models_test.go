package api

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"nextbest"
	"nextbest/internal/learning"
)

// withModels is a fixture whose policy lints@1 has three models, the second of
// them current.
func withModels(t *testing.T) (f *fixture, etag string) {
	t.Helper()
	f = newFixture(t)
	put := func(kind nextbest.Kind, document string) nextbest.Record {
		rec, err := f.reg.Put(t.Context(), nextbest.Change{Kind: kind, ID: "lints.1", Document: []byte(document), Actor: "trainer", IfMatch: nextbest.AnyRevision})
		if err != nil {
			t.Fatal(err)
		}
		return rec
	}
	for range 3 {
		put(nextbest.KindModel, `{"policy":"lints@1","hash":"ab","placement":"web","objective":"value@1","trained":{"to":"2026-11-01T00:00:00Z","mature_at":"2026-11-15T00:00:00Z","upto":7,"split":null,"rows":5},"base":0}`)
	}
	rec := put(nextbest.KindCurrent, `{"model":2,"paused":true}`)
	return f, strconv.Quote(strconv.FormatUint(rec.Revision, 10))
}

func TestModelsAreListed(t *testing.T) {
	f, _ := withModels(t)
	var list struct {
		Items []struct {
			Version  uint64
			Document struct {
				Hash            string
				Current, Paused bool
				Trained         learning.Trained
			}
		}
	}
	decode(t, f.do(Analyst, "GET", "/v1/policies/lints/versions/1/models", ""), &list)
	if len(list.Items) != 3 {
		t.Fatalf("%+v", list)
	}
	for _, m := range list.Items {
		if d := m.Document; d.Current != (m.Version == 2) || d.Paused != d.Current || d.Hash != "ab" || d.Trained.Upto != 7 || d.Trained.Rows != 5 {
			t.Errorf("%+v", m)
		}
	}
	var one struct{ Document struct{ Current bool } }
	decode(t, f.do(Analyst, "GET", "/v1/policies/lints/versions/1/models/2", ""), &one)
	if !one.Document.Current {
		t.Error("the current model does not say so")
	}
	var diff learning.Diff
	decode(t, f.do(Analyst, "GET", "/v1/policies/lints/versions/1/models/1/diff/3", ""), &diff)
	if diff.From != 1 || diff.To != 3 || diff.Policy.String() != "lints@1" {
		t.Errorf("%+v", diff)
	}
}

func TestRebuildIsAJob(t *testing.T) {
	f, _ := withModels(t)
	defer f.running()()
	for body, want := range map[string]uint64{"": 1, `{"model":3}`: 3} {
		w := f.do(Analyst, "POST", "/v1/policies/lints/versions/1/rebuild", body)
		if w.Code != http.StatusAccepted {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		var job struct {
			State  JobState
			Result learning.Rebuilt
		}
		for deadline := time.Now().Add(10 * time.Second); job.State != Done; time.Sleep(time.Millisecond) {
			decode(t, f.do(Analyst, "GET", w.Header().Get("Location"), ""), &job)
			if job.State == Failed || time.Now().After(deadline) {
				t.Fatalf("%+v", job)
			}
		}
		if job.Result.Model != want || !job.Result.Same {
			t.Errorf("%s: %+v", body, job.Result)
		}
	}
	for path, body := range map[string]string{"/v1/policies/lints/versions/9/rebuild": "{}", "/v1/policies/lints/versions/1/rebuild": `{"model":9}`} {
		if w := f.do(Analyst, "POST", path, body); w.Code != 404 {
			t.Errorf("%s %s: %d %s", path, body, w.Code, w.Body)
		}
	}
}

func TestRollbackOfAModel(t *testing.T) {
	f, etag := withModels(t)
	const path = "/v1/policies/lints/versions/1/"
	var rec Stored[CurrentModel]
	decode(t, f.do(Owner, "POST", path+"rollback", `{"model":1,"reason":"it sells nothing"}`, "If-Match", etag), &rec)
	if rec.Document != (CurrentModel{1, true}) || rec.Reason != "it sells nothing" || rec.Actor != f.ids[Owner] || f.dom.moved == 0 {
		t.Errorf("%+v, asked for revision %d", rec, f.dom.moved)
	}
	rec = Stored[CurrentModel]{}
	decode(t, f.do(Owner, "POST", path+"resume", `{"reason":"it was the season"}`), &rec)
	if rec.Document.Paused || f.dom.moved != 0 {
		t.Errorf("%+v, asked for revision %d", rec, f.dom.moved)
	}
	for _, c := range []struct {
		body, header, value string
		code                int
		text                string
	}{
		{`{"model":1}`, "", "", 422, "reason"},
		{`{"model":9,"reason":"r"}`, "", "", 404, "no model 9"},
		{`{"model":1,"reason":"r"}`, "If-Match", `"1"`, 412, "revision"},
		{`{"model":1,"reason":"r"}`, "If-Match", `x`, 422, "If-Match"},
	} {
		var header []string
		if c.header != "" {
			header = []string{c.header, c.value}
		}
		if w := f.do(Owner, "POST", path+"rollback", c.body, header...); w.Code != c.code || !strings.Contains(w.Body.String(), c.text) {
			t.Errorf("%s %s: %d %s, want %d and %q", c.body, c.value, w.Code, w.Body, c.code, c.text)
		}
	}
}
