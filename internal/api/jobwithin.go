package api

import (
	"context"
	"encoding/json"

	"nextbest"
)

// taskKey finds the task in the context of its work.
type taskKey struct{}

// fix makes the task whose work has the context one that cannot be cancelled any
// more; an error where it has been already.
func fix(ctx context.Context) error {
	t := ctx.Value(taskKey{}).(*task)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	t.fixed = true
	return nil
}

// within runs a job inside the work of another, at once and in its goroutine, so
// that it waits for no turn that the other one has. It is a job like any other,
// with a record of its own, but is cancelled with the other alone. The error is
// that of the work.
func (j *jobs) within(ctx context.Context, kind nextbest.Kind, request any, reason string, w work) (Job, error) {
	outer := ctx.Value(taskKey{}).(*task)
	t, err := j.task(kind, request, outer.job.By, w)
	if err != nil {
		return Job{}, err
	}
	now := j.now().UTC()
	t.job.State, t.job.Started, t.job.Search, t.fixed = Running, &now, outer.job.ID, true
	if err := j.store(ctx, kind, t.job, reason); err != nil {
		return Job{}, err
	}
	j.mu.Lock()
	j.live[t.job.ID] = t
	j.mu.Unlock()
	result, failed := j.protected(ctx, t)
	// Its context is that of the other's work: whatever ended that, nobody
	// cancelled this one for itself.
	state := Done
	switch {
	case failed == nil:
	case ctx.Err() != nil:
		state = Interrupted
	default:
		state = Failed
	}
	j.finish(context.WithoutCancel(ctx), t, state, result, failed)
	t.mu.Lock()
	defer t.mu.Unlock()
	if failed == nil && t.job.State != Done {
		failed = nextbest.Errorf(nextbest.Internal, "%s %s ended as %s", kind.Singular(), t.job.ID, t.job.State)
	}
	return t.job, failed
}

// enter waits until nobody else in this process is between enter and leave with
// the same request: two runs of one search at the same time take one look at the
// rows of the gate, not two. The error is that of ctx.
func (j *jobs) enter(ctx context.Context, request any) (leave func(), err error) {
	raw, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	key := string(raw)
	for {
		j.mu.Lock()
		other := j.inside[key]
		if other == nil {
			mine := make(chan struct{})
			j.inside[key] = mine
			j.mu.Unlock()
			return func() {
				j.mu.Lock()
				delete(j.inside, key)
				j.mu.Unlock()
				close(mine)
			}, nil
		}
		j.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// kept returns the first finished job of a kind with exactly this request.
func (j *jobs) kept(kind nextbest.Kind, request any) (found Job, ok bool, err error) {
	raw, err := json.Marshal(request)
	if err != nil {
		return found, false, err
	}
	for _, rec := range j.registry.List(kind) {
		var job Job
		if json.Unmarshal(rec.Document, &job) == nil && job.State == Done && job.Repeats == "" && string(job.Request) == string(raw) && (!ok || job.Created.Before(found.Created)) {
			found, ok = job, true
		}
	}
	return found, ok, nil
}
