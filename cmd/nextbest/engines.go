package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"nextbest/internal/embedded"
)

// running holds the two engines: embedded in this program, or the user's own.
type running struct {
	clickhouse string // URL
	js         jetstream.JetStream

	folder *embedded.Folder
	engine *embedded.ClickHouse // nil: the user's
	server *embedded.NATS       // nil: the user's
	conn   *nats.Conn
}

// startEngines locks the data folder and brings up what no URL was given for.
// The folder comes first: a second program on it would corrupt both engines.
func startEngines(ctx context.Context, e engines, log *slog.Logger, progress func(format string, args ...any)) (_ *running, err error) {
	r := &running{clickhouse: e.ClickHouse}
	defer func() {
		if err != nil {
			r.Close()
		}
	}()
	if r.folder, err = embedded.LockFolder(e.Data); err != nil {
		return nil, err
	}
	library := ""
	if e.ClickHouse == "" {
		if library, err = embedded.FetchLibrary(ctx, fetchProgress(progress)); err != nil {
			return nil, err
		}
	}
	// The two engines start side by side.
	g, ctx2 := errgroup.WithContext(ctx)
	if e.ClickHouse == "" {
		g.Go(func() (err error) {
			r.engine, err = embedded.StartClickHouse(ctx2, embedded.ClickHouseOptions{Dir: filepath.Join(e.Data, "clickhouse"), Library: library, MemoryLimit: e.ClickHouseMemory << 20, Logger: log})
			return err
		})
	}
	g.Go(func() (err error) {
		if e.NATS == "" {
			if r.server, err = embedded.StartNATS(embedded.NATSOptions{Dir: filepath.Join(e.Data, "nats"), MemoryLimit: e.memory(), Logger: log}); err != nil {
				return err
			}
			r.conn, err = r.server.Connect()
		} else {
			r.conn, err = nats.Connect(e.NATS, nats.Name("nextbest"), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(false),
				nats.ReconnectWait(250*time.Millisecond), nats.ReconnectBufSize(-1)) // what cannot be sent now is refused now
			if err != nil {
				err = fmt.Errorf("connect to NATS: %w; check --nats, or leave it out to use the embedded one", err)
			}
		}
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if r.engine != nil {
		r.clickhouse = r.engine.URL()
	}
	r.js, err = jetstream.New(r.conn)
	return r, err
}

// Run supervises the embedded engines until ctx ends.
func (r *running) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	if r.engine != nil {
		g.Go(func() error { return named("ClickHouse", r.engine.Run(ctx)) })
	}
	if r.server != nil {
		g.Go(func() error { return named("NATS", r.server.Run(ctx)) })
	}
	g.Go(func() error {
		<-ctx.Done()
		return nil
	})
	return g.Wait()
}

// Close stops the engines that were started here, NATS last, and gives the
// folder back.
func (r *running) Close() {
	if r.engine != nil {
		if err := r.engine.Close(); err != nil {
			slog.Warn("ClickHouse did not stop cleanly", "error", err)
		}
	}
	if r.conn != nil {
		r.conn.Close()
	}
	if r.server != nil {
		r.server.Close()
	}
	if r.folder != nil {
		r.folder.Close()
	}
}

// fetchProgress says what is being fetched, at most once a second.
func fetchProgress(say func(format string, args ...any)) func(stage string, done, total int64) {
	var last time.Time
	stageBefore := ""
	return func(stage string, done, total int64) {
		if stage == stageBefore && time.Since(last) < time.Second {
			return
		}
		stageBefore, last = stage, time.Now()
		switch {
		case total > 0:
			say("ClickHouse library: %s, %d of %d MB", stage, done/1e6, total/1e6)
		default:
			say("ClickHouse library: %s", stage)
		}
	}
}
