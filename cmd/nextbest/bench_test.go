package main

import (
	"context"
	"testing"
	"time"

	"nextbest/cmd/nextbest/bench"
)

// TestBenchmarksInSmall runs both benchmarks for a moment: they have to measure
// something, not to be fast.
func TestBenchmarksInSmall(t *testing.T) {
	r := start(t, own(t), quick)
	served, err := bench.Serve(t.Context(), r.admin, bench.ServeOptions{Connections: 4, Span: 200 * time.Millisecond, Turns: 1, CPU: r.processorTimes}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if served.PerSecond <= 0 || served.BasePerSec <= 0 || served.Ratio <= 0 || served.P99 <= 0 || served.ProgramCPU <= 0 || served.BaselineCPU <= 0 || served.Actions != 20 || served.Features != 32 {
		t.Errorf("serve %+v", served)
	}
	verified(t, r.analyst)
	visible := func(ctx context.Context) error {
		last, err := r.journal.Last(ctx)
		if err != nil {
			return err
		}
		return r.sink.WaitFor(ctx, last)
	}
	ingested, err := bench.Ingest(t.Context(), r.admin, visible, bench.IngestOptions{Connections: 2, Batch: 100, Span: 300 * time.Millisecond}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if ingested.PerSecond <= 0 || ingested.VisibleP99 <= 0 || ingested.BaselinePerSecond <= 0 {
		t.Errorf("ingest %+v", ingested)
	}
}
