package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"nextbest"
)

// JobEvent is one event of a job's stream: progress while it is at work, end
// when it is over. The result is fetched from the job itself.
type JobEvent struct {
	ID       string   `json:"id"`
	State    JobState `json:"state" enum:"queued,running,done,failed,cancelled,interrupted"`
	Progress int64    `json:"progress" doc:"rows done so far"`
	Total    int64    `json:"total,omitempty" doc:"rows to do, where that is known"`
	Problem  *Problem `json:"problem,omitempty" doc:"when failed"`
}

const eventsType = "text/event-stream"

// Events come when something changed, looked at every eventPause; after
// eventSilence a comment keeps the connection open.
const (
	eventPause   = 200 * time.Millisecond
	eventSilence = 15 * time.Second
)

// eventsOperation describes a stream of JobEvents.
func eventsOperation(a huma.API, op huma.Operation) huma.Operation {
	event := a.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[JobEvent](), true, "JobEvent")
	op.Description = "Server-sent events, each with the data described here: `progress` whenever the state or the number of rows changes, and one `end` when the job is over; then the stream closes."
	op.Responses = map[string]*huma.Response{"200": {Description: "The stream", Content: map[string]*huma.MediaType{eventsType: {Schema: &huma.Schema{
		Type: huma.TypeString, Description: "lines as server-sent events have them", Extensions: map[string]any{"x-event-data": event}}}}}}
	return op
}

// startEvents begins a stream on c's answer.
func startEvents(c huma.Context) *eventWriter {
	c.SetHeader("Content-Type", eventsType)
	c.SetHeader("Cache-Control", "no-store")
	c.SetHeader("X-Accel-Buffering", "no") // a proxy's
	w := c.BodyWriter()
	flusher, _ := w.(http.Flusher)
	return &eventWriter{w: w, flusher: flusher}
}

type eventWriter struct {
	w       io.Writer
	flusher http.Flusher
}

// send writes one event, or a comment where it has no name.
func (e *eventWriter) send(name string, data any) error {
	text := ":\n\n"
	if name != "" {
		raw, err := json.Marshal(data)
		if err != nil {
			return err
		}
		text = fmt.Sprintf("event: %s\ndata: %s\n\n", name, raw)
	}
	if _, err := io.WriteString(e.w, text); err != nil {
		return err
	}
	if e.flusher != nil {
		e.flusher.Flush()
	}
	return nil
}

// watch sends a job's events until it is over or nobody listens.
func (j *jobs) watch(ctx context.Context, kind nextbest.Kind, id string, out *eventWriter) {
	tick := time.NewTicker(eventPause)
	defer tick.Stop()
	var last JobEvent
	silent := time.Duration(0)
	for {
		job, err := j.get(kind, id)
		if err != nil {
			return // it was there a moment ago
		}
		now := JobEvent{ID: job.ID, State: job.State, Progress: job.Progress, Total: job.Total, Problem: job.Problem}
		if job.State.over() {
			_ = out.send("end", now) // nobody listens, or this was the last
			return
		}
		switch {
		case now != last:
			err, silent = out.send("progress", now), 0
		case silent >= eventSilence:
			err, silent = out.send("", nil), 0
		}
		if err != nil {
			return
		}
		last = now
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			silent += eventPause
		}
	}
}
