package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nextbest"
)

// running starts the fixture's workers and returns how to stop them.
func (f *fixture) running() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background()) // not the test's: stop ends it
	done := make(chan struct{})
	go func() { defer close(done); f.srv.Run(ctx) }()
	return func() { cancel(); <-done }
}

func (f *fixture) evaluate() Job {
	f.t.Helper()
	w := f.do(Analyst, "POST", "/v1/evaluations", evaluationBody)
	var job Job
	decode(f.t, w, &job)
	if w.Code != 202 || w.Header().Get("Location") != "/v1/evaluations/"+job.ID || job.By != f.ids[Analyst] {
		f.t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	return job
}

func (f *fixture) job(id string) (job Job) {
	f.t.Helper()
	decode(f.t, f.do(Analyst, "GET", "/v1/evaluations/"+id, ""), &job)
	return job
}

func TestEvaluation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t) // in the bubble, or its channels would not count
		release := make(chan struct{})
		f.dom.evaluate = func(ctx context.Context, progress Progress) (any, error) {
			progress(123, 0)
			select {
			case <-release:
				return map[string]any{"verdict": "no evidence"}, nil
			case <-ctx.Done():
				return nil, errors.New("read interrupted")
			}
		}
		stop := f.running()
		defer stop()
		first, second, third := f.evaluate(), f.evaluate(), f.evaluate()
		synctest.Wait()
		if job := f.job(first.ID); job.State != Running || job.Progress != 123 {
			t.Errorf("%+v", job)
		}
		if job := f.job(third.ID); job.State != Queued { // two at once
			t.Errorf("%+v", job)
		}
		for _, id := range []string{second.ID, third.ID} {
			if w := f.do(Analyst, "DELETE", "/v1/evaluations/"+id, ""); w.Code != 202 {
				t.Errorf("cancel: %d %s", w.Code, w.Body)
			}
		}
		synctest.Wait()
		for _, id := range []string{second.ID, third.ID} {
			if job := f.job(id); job.State != Cancelled || job.Ended == nil {
				t.Errorf("%+v", job)
			}
		}
		close(release)
		synctest.Wait()
		job := f.job(first.ID)
		if job.State != Done || !strings.Contains(string(job.Result), "no evidence") || !strings.Contains(string(job.Request), `"seed":7`) {
			t.Errorf("%+v", job)
		}
		if w := f.do(Analyst, "DELETE", "/v1/evaluations/"+first.ID, ""); w.Code != 409 {
			t.Errorf("cancel what is done: %d", w.Code)
		}
		var list struct{ Items []Job }
		decode(t, f.do(Analyst, "GET", "/v1/evaluations", ""), &list)
		if len(list.Items) != 3 || list.Items[0].Result != nil {
			t.Errorf("%+v", list)
		}

		// What fails says why, without our inside; a panic too.
		f.dom.evaluate = func(context.Context, Progress) (any, error) { panic("secret") }
		bad := f.evaluate()
		synctest.Wait()
		f.dom.evaluate = func(context.Context, Progress) (any, error) {
			return nil, nextbest.FieldErrorf("split", "overlaps the training")
		}
		overlap := f.evaluate()
		synctest.Wait()
		if job := f.job(bad.ID); job.State != Failed || job.Problem.Code != nextbest.Internal {
			t.Errorf("%+v", job)
		}
		if job := f.job(overlap.ID); job.State != Failed || job.Problem.Problems[0].Field != "split" {
			t.Errorf("%+v", job)
		}

		// The server stops in the middle.
		f.dom.evaluate = func(ctx context.Context, _ Progress) (any, error) { <-ctx.Done(); return nil, ctx.Err() }
		cut := f.evaluate()
		synctest.Wait()
		stop()
		if job := f.job(cut.ID); job.State != Interrupted {
			t.Errorf("%+v", job)
		}
	})
}

// A stream tells of progress and of the end, and closes.
func TestEvaluationEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		release := make(chan struct{})
		f.dom.evaluate = func(_ context.Context, progress Progress) (any, error) {
			progress(10, 40)
			<-release
			progress(20, 40)
			return map[string]any{"verdict": "no evidence"}, nil
		}
		stop := f.running()
		defer stop()
		job := f.evaluate()
		var w *httptest.ResponseRecorder
		done := make(chan struct{})
		go func() {
			defer close(done)
			w = f.do(Approver, "GET", "/v1/evaluations/"+job.ID+"/events", "")
		}()
		time.Sleep(40 * time.Second) // nothing happens: comments keep it open
		close(release)
		<-done
		if w.Code != 200 || w.Header().Get("Content-Type") != "text/event-stream" || !w.Flushed {
			t.Fatalf("%d %v", w.Code, w.Header())
		}
		lines := strings.Split(strings.TrimSpace(w.Body.String()), "\n\n")
		comments, events := 0, []string{}
		for _, l := range lines {
			if l == ":" {
				comments++
				continue
			}
			events = append(events, l)
		}
		running := `event: progress` + "\n" + `data: {"id":"` + job.ID + `","state":"running","progress":10,"total":40}`
		end := `event: end` + "\n" + `data: {"id":"` + job.ID + `","state":"done","progress":20,"total":40}`
		if comments != 2 || len(events) < 2 || events[len(events)-2] != running || events[len(events)-1] != end {
			t.Errorf("%d comments, events %q", comments, events)
		}
		if w := f.do(Approver, "GET", "/v1/evaluations/"+job.ID+"/events", ""); !strings.HasPrefix(w.Body.String(), "event: end") {
			t.Errorf("of what is over: %s", w.Body)
		}
		if w := f.do(Approver, "GET", "/v1/evaluations/none/events", ""); w.Code != 404 {
			t.Errorf("of what is not there: %d", w.Code)
		}
	})
}

// Somebody who stops listening ends the stream.
func TestEventsUnheard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		job := f.evaluate() // nobody works: it waits
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			f.srv.jobs.watch(ctx, nextbest.KindEvaluation, job.ID, &eventWriter{w: io.Discard})
		}()
		synctest.Wait()
		cancel()
		<-done
	})
}

// What is done can be run again, and says of what it is the repeat.
func TestRepeatEvaluation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		first := f.evaluate()
		if w := f.do(Analyst, "POST", "/v1/evaluations/"+first.ID+"/repeat", ""); w.Code != 409 {
			t.Errorf("of what waits: %d %s", w.Code, w.Body)
		}
		stop := f.running()
		defer stop()
		synctest.Wait()
		var again Job
		w := f.do(Analyst, "POST", "/v1/evaluations/"+first.ID+"/repeat", "")
		decode(t, w, &again)
		synctest.Wait()
		then, now := f.job(first.ID), f.job(again.ID)
		if w.Code != 202 || now.State != Done || now.Repeats != first.ID || string(now.Request) != string(then.Request) || string(now.Result) != string(then.Result) {
			t.Errorf("%d %+v\nof %+v", w.Code, now, then)
		}
	})
}

// TestLeftOver: what an earlier process left unfinished is marked.
func TestLeftOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		doc, _ := json.Marshal(Job{ID: "old", State: Running, By: "somebody", Instance: "another", Created: testNow})
		if _, err := f.reg.Put(t.Context(), nextbest.Change{Kind: nextbest.KindEvaluation, ID: "old", Document: doc, Actor: "somebody"}); err != nil {
			t.Fatal(err)
		}
		if job := f.job("old"); job.State != Running {
			t.Errorf("%+v", job)
		}
		if w := f.do(Analyst, "DELETE", "/v1/evaluations/old", ""); w.Code != 409 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		stop := f.running()
		synctest.Wait()
		stop()
		if job := f.job("old"); job.State != Interrupted {
			t.Errorf("%+v", job)
		}
	})
}

func TestVerification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		stop := f.running()
		defer stop()
		w := f.do(Analyst, "POST", "/v1/verifications", `{"placement":"web"}`)
		if w.Code != 202 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		synctest.Wait()
		var job Job
		decode(t, f.do(Analyst, "GET", w.Header().Get("Location"), ""), &job)
		if job.State != Done || string(job.Result) != `{"checked":10,"identical":10,"different":[]}` {
			t.Errorf("%+v %s", job, job.Result)
		}
	})
}

// Where several processes share the registry, one that starts again marks what it
// left unfinished before, and leaves alone what others are at until that is longer
// than a job may take.
func TestJobsOfEarlierProcesses(t *testing.T) {
	f := newFixture(t)
	now := testNow
	process := func(replica string) *jobs {
		return newJobs(Options{Registry: f.reg, Now: func() time.Time { return now }, Limits: Limits{Jobs: 1, JobTime: time.Hour}, Shared: true, Replica: replica}, slog.New(slog.DiscardHandler))
	}
	idle := func(context.Context, Progress) (any, error) { return nil, nil }
	ctx := context.WithValue(t.Context(), identityKey{}, Identity{Key: f.ids[Analyst], Role: Analyst})
	ids := map[string]string{}
	for _, replica := range []string{"a", "aa"} {
		job, err := process(replica).start(ctx, KindSearch, evaluationBody, "", "", idle)
		if err != nil {
			t.Fatal(err)
		}
		ids[replica] = job.ID
	}
	want := func(when string, a, aa JobState) {
		t.Helper()
		for replica, state := range map[string]JobState{"a": a, "aa": aa} {
			rec, _ := f.reg.Get(KindSearch, ids[replica])
			var job Job
			if err := json.Unmarshal(rec.Document, &job); err != nil || job.State != state {
				t.Errorf("%s: the job of %s is %s, %v; want %s", when, replica, job.State, err, state)
			}
		}
	}
	a := process("a")
	mine, err := a.start(ctx, KindSearch, evaluationBody, "", "", idle)
	if err != nil {
		t.Fatal(err)
	}
	a.sweep(ctx)
	want("a starts again", Interrupted, Queued)
	if job, err := a.get(KindSearch, mine.ID); err != nil || job.State != Queued {
		t.Errorf("its own is %+v, %v", job, err)
	}
	process("").sweep(ctx)
	want("one without a name starts", Interrupted, Queued)
	now = now.Add(3 * time.Hour)
	a.sweep(ctx)
	want("three hours later", Interrupted, Interrupted)
}

// TestEvaluationNeedsAModel: a policy that learns is not valued as its prior; the
// refusal names the models that there are.
func TestEvaluationNeedsAModel(t *testing.T) {
	f := newFixture(t)
	for want := range 13 {
		w := f.do(Analyst, "POST", "/v1/evaluations", `{"placement":"web","candidates":[{"policy":"lints@1"}]}`)
		p := problemOf(t, w)
		says := map[int]string{0: "lints@1 learns and has no model: train one first", 1: "such as lints@1/1; there is 1", 2: "such as lints@1/2; there are 1, 2",
			12: "there are 12, the newest 3, 4, 5, 6, 7, 8, 9, 10, 11, 12"}[want]
		if w.Code != 422 || len(p.Problems) != 1 || p.Problems[0].Field != "candidates[0].model" || !strings.Contains(p.Problems[0].Message, says) {
			t.Errorf("%d models: %d %+v, want %q", want, w.Code, p.Problems, says)
		}
		if _, err := f.reg.Put(t.Context(), nextbest.Change{Kind: nextbest.KindModel, ID: "lints.1", Document: []byte(`{}`), Actor: "a", IfMatch: nextbest.AnyRevision}); err != nil {
			t.Fatal(err)
		}
	}
	if w := f.do(Analyst, "POST", "/v1/evaluations", `{"placement":"web","candidates":[{"policy":"lints@1","model":2}]}`); w.Code != 202 {
		t.Errorf("with a model: %d %s", w.Code, w.Body)
	}
}
