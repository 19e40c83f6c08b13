package api

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nextbest"
)

func (f *fixture) search(body string) Job {
	f.t.Helper()
	w := f.do(Analyst, "POST", "/v1/searches", body)
	var job Job
	decode(f.t, w, &job)
	if w.Code != 202 || w.Header().Get("Location") != "/v1/searches/"+job.ID || job.By != f.ids[Analyst] {
		f.t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	return job
}

func (f *fixture) jobAt(path string) (job Job) {
	f.t.Helper()
	decode(f.t, f.do(Analyst, "GET", path, ""), &job)
	return job
}

// A search evaluates its winner as a job of its own, even where every worker is
// at a search, and once where several searches ask the same at the same time; what
// was asked is kept with the time that it matured.
func TestSearchEvaluatesWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		asked := 0
		f.dom.evaluate = func(context.Context, Progress) (any, error) {
			asked++
			time.Sleep(time.Second)
			return map[string]any{"verdict": "better"}, nil
		}
		var mu sync.Mutex
		found := map[string]string{}
		f.dom.search = func(ctx context.Context, run SearchRun) (any, error) {
			run.Progress(40, 100)
			if err := run.Fix(); err != nil {
				return nil, err
			}
			id, result, err := run.Evaluate(ctx, Evaluation{Placement: "web", Seed: 7, Candidates: []CandidateRef{{Policy: "ucb@1", Model: 1}}}, func(int64) {})
			mu.Lock()
			defer mu.Unlock()
			found[run.ID] = id
			return result, err
		}
		stop := f.running()
		defer stop()
		first, second, third := f.search(searchBody), f.search(searchBody), f.search(searchBody)
		time.Sleep(10 * time.Second)
		gate := ""
		for _, s := range []Job{first, second, third} {
			job := f.jobAt("/v1/searches/" + s.ID)
			if job.State != Done || string(job.Result) != `{"verdict":"better"}` || job.Progress != 40 || job.Total != 100 || !strings.Contains(string(job.Request), `"mature_at":"2026-11-23T12:00:00Z"`) {
				t.Fatalf("%+v %s", job, job.Request)
			}
			gate = found[s.ID]
		}
		evaluation := f.jobAt("/v1/evaluations/" + gate)
		if evaluation.State != Done || evaluation.Search == "" || evaluation.By != f.ids[Analyst] || evaluation.Started == nil || evaluation.Ended == nil {
			t.Errorf("%+v", evaluation)
		}
		// The second came while the first was at it, the third when it was done.
		if found[third.ID] != found[first.ID] || found[second.ID] != found[first.ID] || asked != 1 {
			t.Errorf("%d evaluations: %v", asked, found)
		}
		// An evaluation that somebody else asked for in the same words is taken too, a
		// repeat of it is not.
		if w := f.do(Analyst, "POST", "/v1/evaluations/"+gate+"/repeat", ""); w.Code != 202 {
			t.Fatal(w.Body)
		}
		time.Sleep(10 * time.Second)
		again := f.search(searchBody)
		time.Sleep(10 * time.Second)
		if job, ok, err := f.srv.jobs.kept(nextbest.KindEvaluation, evaluation.Request); err != nil || !ok || job.Repeats != "" || found[again.ID] != job.ID {
			t.Errorf("%+v %v %v, found %v", job, ok, err, found[again.ID])
		}
	})
}

// A search can be cancelled until it begins to register; then it is too late, and
// its evaluation is cancelled by nobody.
func TestCancelASearch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		choose, judge := make(chan struct{}), make(chan struct{})
		gate := ""
		f.dom.evaluate = func(context.Context, Progress) (any, error) {
			<-judge
			return 1, nil
		}
		registered := 0
		f.dom.search = func(ctx context.Context, run SearchRun) (any, error) {
			select {
			case <-choose:
			case <-ctx.Done():
			}
			if err := run.Fix(); err != nil {
				return nil, err
			}
			registered++
			id, _, err := run.Evaluate(ctx, Evaluation{Placement: "web"}, func(int64) {})
			gate = id
			return 1, err
		}
		stop := f.running()
		defer stop()
		job := f.search(searchBody)
		synctest.Wait()
		if w := f.do(Analyst, "DELETE", "/v1/searches/"+job.ID, ""); w.Code != 202 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		synctest.Wait()
		if job = f.jobAt("/v1/searches/" + job.ID); job.State != Cancelled || registered != 0 {
			t.Errorf("%+v, registered %d", job, registered)
		}
		job = f.search(searchBody)
		close(choose)
		synctest.Wait()
		w := f.do(Analyst, "DELETE", "/v1/searches/"+job.ID, "")
		if w.Code != 409 || !strings.Contains(problemOf(t, w).Detail, "too late") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		var list struct{ Items []Job }
		decode(t, f.do(Analyst, "GET", "/v1/evaluations", ""), &list)
		if len(list.Items) != 1 || list.Items[0].State != Running || list.Items[0].Search != job.ID {
			t.Fatalf("%+v", list)
		}
		if w := f.do(Analyst, "DELETE", "/v1/evaluations/"+list.Items[0].ID, ""); w.Code != 409 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		close(judge)
		synctest.Wait()
		if job = f.jobAt("/v1/searches/" + job.ID); job.State != Done || registered != 1 || gate != list.Items[0].ID {
			t.Errorf("%+v, registered %d", job, registered)
		}
		// What fails within is the search's failure, with its record.
		f.dom.evaluate = func(context.Context, Progress) (any, error) {
			return nil, nextbest.Errorf(nextbest.Unavailable, "ClickHouse is away")
		}
		f.dom.search = func(ctx context.Context, run SearchRun) (any, error) {
			id, _, err := run.Evaluate(ctx, Evaluation{Placement: "web", Seed: 9}, func(int64) {})
			gate = id
			return nil, err
		}
		job = f.search(searchBody)
		synctest.Wait()
		if job = f.jobAt("/v1/searches/" + job.ID); job.State != Failed || job.Problem.Status != 503 || f.jobAt("/v1/evaluations/"+gate).State != Failed {
			t.Errorf("%+v", job)
		}
	})
}

// An experiment's id may be given again after a search that was interrupted when
// it had written the draft, and never otherwise.
func TestDraftOfAnInterruptedSearch(t *testing.T) {
	f := newFixture(t)
	put := func(kind nextbest.Kind, id, document string) {
		t.Helper()
		if _, err := f.reg.Put(t.Context(), nextbest.Change{Kind: kind, ID: id, Document: []byte(document), Actor: "x", IfMatch: nextbest.AnyRevision}); err != nil {
			t.Fatal(err)
		}
	}
	body := strings.Replace(searchBody, "{", `{"experiment":{"id":"found","reward":"purchase"},`, 1)
	draft := strings.Replace(experimentBody, "{", `{"evaluation":"e",`, 1)
	for _, c := range []struct {
		experiment, search string
		status             int
	}{
		{"", "", 202},
		{draft, "", 422},
		{draft, `{"id":"s","state":"interrupted","created":"2026-11-23T11:00:00Z"}`, 202},
		{draft, `{"id":"s","state":"done","created":"2026-11-23T11:00:00Z"}`, 422},
		{strings.Replace(draft, "{", `{"state":"running",`, 1), `{"id":"s","state":"interrupted","created":"2026-11-23T11:00:00Z"}`, 422},
	} {
		if c.experiment != "" {
			put(nextbest.KindExperiment, "found", c.experiment)
			put(nextbest.KindEvaluation, "e", `{"id":"e","state":"done","search":"s"}`)
		}
		if c.search != "" {
			put(KindSearch, "s", c.search)
		}
		if w := f.do(Owner, "POST", "/v1/searches", body); w.Code != c.status {
			t.Errorf("%s after %s: %d %s", c.experiment, c.search, w.Code, w.Body)
		}
	}
	w := f.do(Analyst, "POST", "/v1/searches", strings.Replace(body, "found", "mine", 1))
	if w.Code != 403 || !strings.Contains(w.Body.String(), "define") {
		t.Errorf("an analyst writes an experiment: %d %s", w.Code, w.Body)
	}
}

// The server's end interrupts a search and what it evaluates.
func TestSearchIsInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.dom.evaluate = func(ctx context.Context, _ Progress) (any, error) {
			<-ctx.Done()
			return nil, errors.New("read interrupted")
		}
		gate := ""
		f.dom.search = func(ctx context.Context, run SearchRun) (any, error) {
			if err := run.Fix(); err != nil {
				return nil, err
			}
			id, _, err := run.Evaluate(ctx, Evaluation{Placement: "web"}, func(int64) {})
			gate = id
			return nil, err
		}
		stop := f.running()
		job := f.search(searchBody)
		synctest.Wait()
		stop()
		for path, want := range map[string]JobState{"/v1/searches/" + job.ID: Interrupted, "/v1/evaluations/" + gate: Interrupted} {
			if got := f.jobAt(path); got.State != want {
				raw, _ := json.Marshal(got)
				t.Errorf("%s: %s", path, raw)
			}
		}
	})
}
