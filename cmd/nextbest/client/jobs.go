package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// job is a long piece of work under way.
type job struct {
	ID       string   `json:"id"`
	State    string   `json:"state"`
	Progress int64    `json:"progress"`
	Total    int64    `json:"total"`
	Problem  *Problem `json:"problem"`
	Result   any      `json:"result"`
}

// Await starts a job of a kind (evaluations, verifications) and polls it until
// it is done. See AwaitAt.
func (c *Client) Await(ctx context.Context, kind string, request, result any, progress func(done int64)) (id string, err error) {
	return c.AwaitAt(ctx, "/v1/"+kind, kind, request, result, progress)
}

// AwaitAt starts a job of a kind by a POST to a path and polls it until it is
// done. The result is decoded into result; progress is told how many
// rows are done. It returns the job's id.
func (c *Client) AwaitAt(ctx context.Context, path, kind string, request, result any, progress func(done int64)) (id string, err error) {
	return c.AwaitOf(ctx, path, kind, request, result, func(done, _ int64) { progress(done) })
}

// AwaitOf is AwaitAt for jobs that say how many rows there are to do; 0: not yet.
func (c *Client) AwaitOf(ctx context.Context, path, kind string, request, result any, progress func(done, total int64)) (id string, err error) {
	var j job
	if _, err := c.Call(ctx, http.MethodPost, path, request, &j); err != nil {
		return "", err
	}
	for {
		now := job{Result: result}
		if _, err := c.Call(ctx, http.MethodGet, "/v1/"+kind+"/"+j.ID, nil, &now); err != nil {
			return j.ID, err
		}
		switch now.State {
		case "done":
			return j.ID, nil
		case "queued", "running":
			progress(now.Progress, now.Total)
		default:
			if now.Problem != nil {
				return j.ID, fmt.Errorf("%s %s %s: %w", kind, j.ID, now.State, now.Problem)
			}
			return j.ID, fmt.Errorf("%s %s is %s", kind, j.ID, now.State)
		}
		select {
		case <-ctx.Done():
			return j.ID, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// ImportOptions say what an imported log is.
type ImportOptions struct {
	Name          string
	Placement     string
	Randomisation string
}

// Imported says what an import took.
type Imported struct {
	Name    string `json:"name"`
	Rows    int    `json:"rows"`
	Rewards int    `json:"rewards"`
}

// Import sends decisions that were logged elsewhere, as NDJSON.
func (c *Client) Import(ctx context.Context, o ImportOptions, ndjson []byte) (Imported, error) {
	q := url.Values{"name": {o.Name}, "placement": {o.Placement}}
	if o.Randomisation != "" {
		q.Set("randomisation", o.Randomisation)
	}
	var out Imported
	_, err := c.Call(ctx, http.MethodPost, "/v1/imports?"+q.Encode(), ndjson, &out, Header("Content-Type", "application/x-ndjson"))
	return out, err
}
