package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"nextbest"
)

// Kinds of jobs beside the root's kinds: what verifications and searches found.
const (
	KindVerification nextbest.Kind = "verifications"
	KindSearch       nextbest.Kind = "searches"
)

// JobState is how far an evaluation, a verification or a rebuild is.
type JobState string

// The states of a job.
const (
	Queued      JobState = "queued"
	Running     JobState = "running"
	Done        JobState = "done"
	Failed      JobState = "failed"
	Cancelled   JobState = "cancelled"
	Interrupted JobState = "interrupted" // the server stopped before it was done
)

func (st JobState) over() bool { return st != Queued && st != Running }

// Job is a long piece of work with what came of it. Its record in the registry
// is written when it is accepted and when it is over.
type Job struct {
	ID       string          `json:"id"`
	State    JobState        `json:"state" enum:"queued,running,done,failed,cancelled,interrupted"`
	Progress int64           `json:"progress" doc:"rows done so far"`
	Total    int64           `json:"total,omitempty" doc:"rows to do, where that is known"`
	Created  time.Time       `json:"created"`
	Started  *time.Time      `json:"started,omitempty"`
	Ended    *time.Time      `json:"ended,omitempty"`
	By       string          `json:"by" doc:"key that asked"`
	Request  json.RawMessage `json:"request" doc:"what was asked"`
	Repeats  string          `json:"repeats,omitempty" doc:"the job that it runs again"`
	Search   string          `json:"search,omitempty" doc:"of an evaluation: the search whose winner it judges"`
	Result   json.RawMessage `json:"result,omitempty" doc:"when done"`
	Problem  *Problem        `json:"problem,omitempty" doc:"when failed"`
	Instance string          `json:"instance" doc:"the server process that runs it"`
}

// work is a job's function; what it returns is kept as JSON.
type work func(ctx context.Context, progress Progress) (any, error)

// Progress is told how many rows are done of how many; 0 where that is not known.
type Progress func(done, total int64)

// rows is a progress whose end is not known.
func (p Progress) rows(done int64) { p(done, 0) }

type task struct {
	kind     nextbest.Kind
	work     work
	progress atomic.Int64
	total    atomic.Int64

	mu     sync.Mutex
	job    Job
	cancel context.CancelFunc
	fixed  bool // too late to cancel
}

// jobs runs work in a bounded number of goroutines, which Run owns.
type jobs struct {
	registry Registry
	log      *slog.Logger
	now      func() time.Time
	replica  string // of all processes on this data folder, one after the other; "" where nothing says so
	instance string // of this process; begins with the replica
	limits   Limits
	shared   bool
	queue    chan *task

	mu     sync.Mutex
	live   map[string]*task
	inside map[string]chan struct{} // requests that one task at a time works on
}

// waiting bounds how many jobs may wait for their turn.
const waiting = 64

func newJobs(o Options, log *slog.Logger) *jobs {
	instance := uuid.NewString()
	if o.Replica != "" {
		instance = o.Replica + "/" + instance
	}
	return &jobs{registry: o.Registry, log: log, now: o.Now, replica: o.Replica, instance: instance, limits: o.Limits, shared: o.Shared,
		queue: make(chan *task, waiting), live: map[string]*task{}, inside: map[string]chan struct{}{}}
}

// run works until ctx ends; then it stops what is running and waits for it.
func (j *jobs) run(ctx context.Context) error {
	j.sweep(ctx)
	var wg sync.WaitGroup
	if j.shared {
		wg.Go(func() { // replicas go without coming back
			tick := time.NewTicker(j.limits.JobTime)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					j.sweep(ctx)
				}
			}
		})
	}
	for range j.limits.Jobs {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case t := <-j.queue:
					j.do(ctx, t)
				}
			}
		})
	}
	wg.Wait()
	return nil
}

// gone reports whether the process that was to do an unfinished job is no more:
// it was any other where nobody shares the registry, an earlier one of this
// replica, or one that has said nothing for longer than a job may take.
func (j *jobs) gone(job *Job) bool {
	if job.State.over() || job.Instance == j.instance {
		return false
	}
	return !j.shared || j.replica != "" && strings.HasPrefix(job.Instance, j.replica+"/") || j.lapsed(job)
}

// lapsed reports whether a job that is not over has been under way for so long
// that whoever did it must be gone.
func (j *jobs) lapsed(job *Job) bool {
	return !job.State.over() && j.now().Sub(job.Created) > 2*j.limits.JobTime
}

// sweep marks what processes that are no more left unfinished.
func (j *jobs) sweep(ctx context.Context) {
	for _, kind := range []nextbest.Kind{nextbest.KindEvaluation, KindVerification, KindRebuild, KindSearch} {
		for _, rec := range j.registry.List(kind) {
			var job Job
			if json.Unmarshal(rec.Document, &job) != nil || !j.gone(&job) {
				continue
			}
			job.State = Interrupted
			if err := j.store(ctx, kind, job, "the server stopped before it was done"); err != nil {
				j.log.WarnContext(ctx, "could not mark an interrupted job", "kind", kind, "id", job.ID, "error", err)
			}
		}
	}
}

// start accepts a job: it is in the registry when start returns. repeats names
// the job that it runs again, if any.
func (j *jobs) start(ctx context.Context, kind nextbest.Kind, request any, repeats, reason string, w work) (Job, error) {
	t, err := j.task(kind, request, Who(ctx).Key, w)
	if err != nil {
		return Job{}, err
	}
	t.job.Repeats = repeats
	if len(j.queue) == cap(j.queue) {
		return Job{}, nextbest.Errorf(nextbest.Unavailable, "%d jobs are waiting already; try again when one is done", cap(j.queue))
	}
	if err := j.store(ctx, kind, t.job, reason); err != nil {
		return Job{}, err
	}
	accepted := t.job
	j.mu.Lock()
	j.live[t.job.ID] = t
	j.mu.Unlock()
	select {
	case j.queue <- t:
		return accepted, nil
	default:
		j.finish(ctx, t, Failed, nil, nextbest.Errorf(nextbest.Unavailable, "too many jobs were waiting"))
		return Job{}, nextbest.Errorf(nextbest.Unavailable, "too many jobs are waiting; try again when one is done")
	}
}

// task makes a task that nobody knows of yet.
func (j *jobs) task(kind nextbest.Kind, request any, by string, w work) (*task, error) {
	raw, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	return &task{kind: kind, work: w, job: Job{ID: id.String(), State: Queued, Created: j.now().UTC(), By: by, Request: raw, Instance: j.instance}}, nil
}

// do runs one task.
func (j *jobs) do(ctx context.Context, t *task) {
	t.mu.Lock()
	if t.job.State != Queued { // cancelled while it waited
		t.mu.Unlock()
		return
	}
	runCtx, cancel := context.WithTimeout(ctx, j.limits.JobTime)
	defer cancel()
	now := j.now().UTC()
	t.job.State, t.job.Started, t.cancel = Running, &now, cancel
	t.mu.Unlock()

	result, err := j.protected(runCtx, t)
	state, err := j.ended(ctx, runCtx, err)
	j.finish(context.WithoutCancel(ctx), t, state, result, err)
}

// ended says how work has ended: by an error, by the end of its own context, or
// by that of the server's.
func (j *jobs) ended(server, own context.Context, err error) (JobState, error) {
	switch {
	case err == nil:
		return Done, nil
	case server.Err() != nil:
		return Interrupted, err
	case errors.Is(own.Err(), context.DeadlineExceeded):
		return Failed, nextbest.Errorf(nextbest.Conflict, "stopped after %s, the longest a job may take; ask for less at once", j.limits.JobTime)
	case own.Err() != nil:
		return Cancelled, err
	}
	return Failed, err
}

// protected turns a panic of the work into an error.
func (j *jobs) protected(ctx context.Context, t *task) (result any, err error) {
	defer func() {
		if v := recover(); v != nil {
			j.log.ErrorContext(ctx, "panic in a job", "kind", t.kind, "id", t.job.ID, "panic", v)
			result, err = nil, errors.New("panic")
		}
	}()
	return t.work(context.WithValue(ctx, taskKey{}, t), func(done, total int64) {
		t.total.Store(total)
		t.progress.Store(done)
	})
}

// finish keeps what came of a task and forgets the task.
func (j *jobs) finish(ctx context.Context, t *task, state JobState, result any, err error) {
	t.mu.Lock()
	now := j.now().UTC()
	t.job.State, t.job.Ended, t.job.Progress, t.job.Total = state, &now, t.progress.Load(), t.total.Load()
	if state == Done {
		raw, bad := json.Marshal(result)
		if bad != nil {
			t.job.State, err = Failed, bad
		} else {
			t.job.Result = raw
		}
	}
	if t.job.State == Failed {
		t.job.Problem = problem(err)
		if t.job.Problem.Status == http.StatusInternalServerError {
			j.log.ErrorContext(ctx, "job failed", "kind", t.kind, "id", t.job.ID, "error", err)
		}
	}
	job := t.job
	t.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := j.store(ctx, t.kind, job, string(job.State)); err != nil {
		j.log.ErrorContext(ctx, "what came of a job could not be kept", "kind", t.kind, "id", job.ID, "error", err)
		return // stays live, so that this process still answers it
	}
	j.mu.Lock()
	delete(j.live, job.ID)
	j.mu.Unlock()
}

func (j *jobs) store(ctx context.Context, kind nextbest.Kind, job Job, reason string) error {
	doc, err := json.Marshal(job)
	if err != nil {
		return err
	}
	_, err = j.registry.Put(ctx, nextbest.Change{Kind: kind, ID: job.ID, Document: doc, Actor: job.By, Reason: reason, IfMatch: nextbest.AnyRevision})
	return err
}

// get returns a job with its progress as it is now.
func (j *jobs) get(kind nextbest.Kind, id string) (Job, error) {
	j.mu.Lock()
	t := j.live[id]
	j.mu.Unlock()
	if t != nil && t.kind == kind {
		t.mu.Lock()
		defer t.mu.Unlock()
		job := t.job
		job.Progress, job.Total = t.progress.Load(), t.total.Load()
		return job, nil
	}
	rec, ok := j.registry.Get(kind, id)
	if !ok || rec.Deleted {
		return Job{}, notFound(kind, id)
	}
	var job Job
	if err := json.Unmarshal(rec.Document, &job); err != nil {
		return Job{}, err
	}
	if j.lapsed(&job) {
		job.State = Interrupted // of a replica that is no more
	}
	return job, nil
}

// list returns every job of the kind, newest first, without results.
func (j *jobs) list(kind nextbest.Kind) []Job {
	records := j.registry.List(kind)
	out := make([]Job, 0, len(records))
	for _, rec := range records {
		job, err := j.get(kind, rec.ID)
		if err != nil {
			continue
		}
		job.Result = nil
		out = append(out, job)
	}
	sortNewest(out)
	return out
}

// stop cancels a job that is not over.
func (j *jobs) stop(ctx context.Context, kind nextbest.Kind, id string) (Job, error) {
	job, err := j.get(kind, id)
	if err != nil {
		return Job{}, err
	}
	j.mu.Lock()
	t := j.live[id]
	j.mu.Unlock()
	switch {
	case job.State.over():
		return Job{}, nextbest.Errorf(nextbest.Conflict, "it is over already (%s)", job.State)
	case t == nil:
		return Job{}, nextbest.Errorf(nextbest.Conflict, "it runs in another server process (%s); cancel it there", job.Instance)
	}
	t.mu.Lock()
	waits, cancel, fixed := t.job.State == Queued, t.cancel, t.fixed
	if waits {
		t.job.State = Cancelled
	}
	t.mu.Unlock()
	switch {
	case fixed && job.Search != "":
		return Job{}, nextbest.Errorf(nextbest.Conflict, "it is a part of search %s, which is registering its winner", job.Search)
	case fixed:
		return Job{}, nextbest.Errorf(nextbest.Conflict, "it is too late to cancel it: it is registering what it found")
	}
	if waits {
		j.finish(ctx, t, Cancelled, nil, nil)
	} else if cancel != nil {
		cancel()
	}
	return j.get(kind, id)
}
