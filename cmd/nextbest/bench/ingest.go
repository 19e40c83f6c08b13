package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"nextbest/cmd/nextbest/client"
)

// IngestOptions size the measurement of rewards.
type IngestOptions struct {
	Connections int
	Batch       int           // rewards in one request
	Span        time.Duration // of the load
}

// IngestResult says how fast rewards become durable and visible.
type IngestResult struct {
	Connections int     `json:"connections"`
	Batch       int     `json:"batch"`
	Rewards     int     `json:"rewards"`
	PerSecond   float64 `json:"per_second"` // durable
	P99         float64 `json:"p99_ms"`     // of one request
	// From acknowledgement to visible in ClickHouse.
	VisibleP50 float64 `json:"visible_p50_ms"`
	VisibleP99 float64 `json:"visible_p99_ms"`
	// BaselinePerSecond is what a gin handler takes that reads the same request
	// and counts its lines.
	BaselinePerSecond float64 `json:"baseline_per_second"`
	Ratio             float64 `json:"ratio"`
}

// Visible waits until everything that was acknowledged so far can be queried.
type Visible func(ctx context.Context) error

// Ingest measures bulk rewards against a running platform.
func Ingest(ctx context.Context, admin *client.Client, visible Visible, o IngestOptions, progress func(format string, args ...any)) (*IngestResult, error) {
	channel, err := prepareIngest(ctx, admin)
	if err != nil {
		return nil, err
	}
	const distinct = 64
	ours := &load{address: strings.TrimPrefix(admin.Address, "http://"), connections: o.Connections, span: o.Span}
	base := &load{connections: o.Connections, span: min(o.Span, 3*time.Second)}
	for i := range distinct {
		body := rewardLines(i, o.Batch)
		ours.requests = append(ours.requests, request("/v1/rewards", channel.Key, "application/x-ndjson", body))
		base.requests = append(base.requests, request("/count", channel.Key, "application/x-ndjson", body))
	}
	address, stop, err := countingBaseline()
	if err != nil {
		return nil, err
	}
	defer stop()
	base.address = address
	progress("baseline")
	b, err := base.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("baseline: %w", err)
	}
	progress("rewards for %s", o.Span)
	watch, end := context.WithCancel(ctx)
	defer end()
	var mu sync.Mutex
	var seen []time.Duration
	var watching sync.WaitGroup
	watching.Go(func() {
		for watch.Err() == nil {
			start := time.Now()
			if visible(watch) != nil {
				return
			}
			mu.Lock()
			seen = append(seen, time.Since(start))
			mu.Unlock()
			time.Sleep(10 * time.Millisecond)
		}
	})
	p, err := ours.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("platform: %w", err)
	}
	if p.Failed > 0 {
		return nil, fmt.Errorf("%d of %d requests failed", p.Failed, p.Requests)
	}
	end()
	watching.Wait()
	mu.Lock()
	defer mu.Unlock()
	if len(seen) == 0 {
		return nil, fmt.Errorf("nothing became visible within %s", o.Span)
	}
	slices.Sort(seen)
	ms := func(q float64) float64 {
		return float64(seen[int(q*float64(len(seen)-1))]) / float64(time.Millisecond)
	}
	r := &IngestResult{Connections: o.Connections, Batch: o.Batch, Rewards: p.Requests * o.Batch, PerSecond: p.PerSecond * float64(o.Batch), P99: p.P99,
		VisibleP50: ms(.5), VisibleP99: ms(.99), BaselinePerSecond: b.PerSecond * float64(o.Batch)}
	r.Ratio = r.PerSecond / r.BaselinePerSecond
	return r, nil
}
