package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"time"

	"nextbest/cmd/nextbest/bench"
	"nextbest/cmd/nextbest/client"
	"nextbest/internal/api"

	"github.com/prometheus/procfs"
)

type benchCmd struct {
	Serve    benchServeCmd    `cmd:"" help:"Durable decisions a second, beside a gin handler that only echoes."`
	Ingest   benchIngestCmd   `cmd:"" help:"Rewards a second in bulk, and how soon they can be queried."`
	Coverage benchCoverageCmd `cmd:"" help:"How often each interval holds the truth, on simulated logs."`
	Decide   benchDecideCmd   `cmd:"" help:"One distribution of each algorithm in process on one core, beside gonum."`
	Evaluate benchEvaluateCmd `cmd:"" help:"Off-policy evaluation of a log in ClickHouse, beside plain numpy on arrays in memory."`
}

type benchServeCmd struct {
	Connections int           `help:"Connections." default:"64"`
	Span        time.Duration `help:"Length of each turn." default:"5s"`
	Turns       int           `help:"Turns of each side." default:"3"`
	Profile     string        `help:"Write a CPU profile (pprof) of the platform's last turn here." type:"path" placeholder:"FILE"`
	JSON        bool          `help:"Print the result as JSON on standard output."`
}

// Run measures decisions on a platform of its own.
func (c *benchServeCmd) Run(ctx context.Context, t *terminal) error {
	return onFreshPlatform(ctx, t, func(ctx context.Context, srv *server, api *client.Client) error {
		o := bench.ServeOptions{Connections: c.Connections, Span: c.Span, Turns: c.Turns, CPU: srv.processorTimes}
		if c.Profile != "" {
			f, err := os.Create(c.Profile)
			if err != nil {
				return err
			}
			defer f.Close()
			o.Profile = f
		}
		r, err := bench.Serve(ctx, api, o, t.progress)
		if err != nil {
			return err
		}
		t.done()
		if c.JSON {
			return printJSON(t.out, measured{machine(), r})
		}
		fmt.Fprintf(t.out, "durable decisions, %d actions, %d features, LinUCB, caps on, %d connections\n", r.Actions, r.Features, r.Connections)
		fmt.Fprintf(t.out, "  %.0f a second, p99 %.1f ms; gin echo %.0f a second; ratio %.2f\n", r.PerSecond, r.P99, r.BasePerSec, r.Ratio)
		fmt.Fprintf(t.out, "  processor time for each: %.0f µs here (load generator included) and %.0f µs in ClickHouse; gin echo %.0f µs\n", r.ProgramCPU, r.EngineCPU, r.BaselineCPU)
		return nil
	})
}

type benchIngestCmd struct {
	Connections int           `help:"Connections." default:"8"`
	Batch       int           `help:"Rewards in one request." default:"1000"`
	Span        time.Duration `help:"Length of the load." default:"10s"`
	JSON        bool          `help:"Print the result as JSON on standard output."`
}

// Run measures rewards on a platform of its own.
func (c *benchIngestCmd) Run(ctx context.Context, t *terminal) error {
	return onFreshPlatform(ctx, t, func(ctx context.Context, srv *server, api *client.Client) error {
		r, err := bench.Ingest(ctx, api, srv.visible, bench.IngestOptions{Connections: c.Connections, Batch: c.Batch, Span: c.Span}, t.progress)
		if err != nil {
			return err
		}
		t.done()
		if c.JSON {
			return printJSON(t.out, measured{machine(), r})
		}
		fmt.Fprintf(t.out, "rewards in bulk, %d a request, %d connections\n", r.Batch, r.Connections)
		fmt.Fprintf(t.out, "  %.0f a second durable; visible in ClickHouse after %.0f ms (p50), %.0f ms (p99); gin that counts lines %.0f a second\n", r.PerSecond, r.VisibleP50, r.VisibleP99, r.BaselinePerSecond)
		return nil
	})
}

type benchDecideCmd struct {
	Actions  int           `help:"Actions of the main table." default:"20"`
	Features int           `help:"Features of the main table." default:"32"`
	Span     time.Duration `help:"Length of one measurement." default:"100ms"`
	JSON     bool          `help:"Print the result as JSON on standard output."`
}

// Run measures distributions in process; no platform is started.
func (c *benchDecideCmd) Run(t *terminal) error {
	if c.Actions < 1 || c.Actions > 5000 || c.Features < 1 || c.Features > 1024 || c.Span <= 0 {
		return fmt.Errorf("--actions must lie between 1 and 5000, --features between 1 and 1024, and --span above 0")
	}
	r, err := bench.Decide(bench.DecideOptions{Actions: c.Actions, Features: c.Features, Span: c.Span,
		ByActions: []int{2, 5, 20, 100, 500}, ByFeatures: []int{8, 32, 128, 512}}, t.progress)
	if err != nil {
		return err
	}
	t.done()
	if c.JSON {
		return printJSON(t.out, measured{machine(), r})
	}
	fmt.Fprintf(t.out, "one distribution, %d actions, %d features, one core\n", c.Actions, c.Features)
	for _, d := range append(r.Decisions, r.Learning) {
		fmt.Fprintf(t.out, "  %-16s %8.2f µs  %g allocations  gonum %.1f times as long\n", d.Algorithm, d.Nanoseconds/1e3, d.Allocations, d.Ratio)
	}
	return nil
}

type benchEvaluateCmd struct {
	Rows      int  `help:"Logged decisions." default:"1000000"`
	Bootstrap int  `help:"Replicates of the Poisson bootstrap." default:"1000"`
	Baseline  bool `help:"Run the numpy baseline as well (python3; numpy is installed into the user's cache where it is missing)." default:"true" negatable:""`
	JSON      bool `help:"Print the result as JSON on standard output."`
}

// Run measures evaluations of a log on a platform of its own.
func (c *benchEvaluateCmd) Run(ctx context.Context, t *terminal) error {
	return onFreshPlatform(ctx, t, func(ctx context.Context, srv *server, _ *client.Client) error {
		r, err := bench.Evaluate(ctx, srv.journal, srv.store, srv.visible, bench.EvaluateOptions{Rows: c.Rows, Bootstrap: c.Bootstrap, Baseline: c.Baseline, CPU: srv.processorTimes}, t.progress)
		if err != nil {
			return err
		}
		t.done()
		if c.JSON {
			return printJSON(t.out, measured{machine(), r})
		}
		fmt.Fprintf(t.out, "%d rows of %d customers, %d actions, %d features; %d estimators, bootstrap of %d\n", r.Rows, r.Customers, r.Actions, r.Features, len(r.Estimators)+4, r.Bootstrap)
		for _, x := range []struct {
			name string
			run  bench.EvaluateRun
		}{{"LinUCB on every row", r.LinUCB}, {"given probabilities", r.Given}} {
			fmt.Fprintf(t.out, "  %-22s %6.2f s, %6.2f processor seconds and %.2f in ClickHouse, %4.0f MB\n", x.name, x.run.Seconds, x.run.CPU, x.run.Engine, x.run.Memory)
		}
		fmt.Fprintf(t.out, "  %-22s %6.2f s more\n", "logistic reward model", r.Logistic)
		if b := r.Baseline; b != nil {
			fmt.Fprintf(t.out, "  %-22s %6.2f s (estimators %.2f, bootstrap of three %.2f), %.0f MB; ratio %.1f\n", "numpy "+b.Version, b.Seconds, b.Estimates, b.Bootstrap, b.Memory, r.Ratio)
		} else if r.Missing != "" {
			fmt.Fprintf(t.out, "  no numpy baseline: %s\n", r.Missing)
		}
		return nil
	})
}

// visible waits until everything that is in the journal can be queried.
func (s *server) visible(ctx context.Context) error {
	last, err := s.journal.Last(ctx)
	if err != nil {
		return err
	}
	return s.sink.WaitFor(ctx, last)
}

// measured is a result with where it was measured.
type measured struct {
	Machine string `json:"machine"`
	Result  any    `json:"result"`
}

func machine() string {
	return fmt.Sprintf("%s/%s, %d CPUs, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
}

// onFreshPlatform runs f against a platform on a fresh folder.
func onFreshPlatform(ctx context.Context, t *terminal, f func(ctx context.Context, srv *server, admin *client.Client) error) error {
	data, err := os.MkdirTemp("", "nextbest-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(data)
	log := newLog(t.err, slog.LevelError)
	srv, err := openServer(ctx, engines{Data: data, Replicas: 1, ClickHouseMemory: 2048, JournalSize: 8192},
		settings{listen: "127.0.0.1:0", watch: time.Minute, learn: time.Minute}, log, t.say)
	if err != nil {
		return err
	}
	defer srv.Close()
	key, err := srv.newKey(ctx, api.Admin, "bench", "bench")
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(running) }()
	err = f(running, srv, client.New(srv.Address(), key, 64))
	stop()
	return errors.Join(err, <-ended)
}

// processorTimes returns what this program and its ClickHouse have taken so
// far.
func (s *server) processorTimes() (program, engine time.Duration) {
	if s.engines.engine != nil {
		engine = processorTime(s.engines.engine.Pid())
	}
	return processorTime(os.Getpid()), engine
}

// processorTime returns what a process has taken so far, 0 where the system
// does not say.
func processorTime(pid int) time.Duration {
	proc, err := procfs.NewProc(pid)
	if err != nil {
		return 0
	}
	stat, err := proc.Stat()
	if err != nil {
		return 0
	}
	return time.Duration(stat.CPUTime() * float64(time.Second))
}
