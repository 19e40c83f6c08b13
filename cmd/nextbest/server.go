package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"nextbest"
	"nextbest/experiments"
	"nextbest/internal/api"
	"nextbest/internal/console"
	"nextbest/internal/learning"
)

// server is a platform with its REST API and console on a listener.
type server struct {
	*platform
	listener    net.Listener
	api         *api.Server
	console     *console.Console
	experiments *experiments.Service
	trainer     *learning.Trainer
	telemetry   *telemetry
	kept        kept
}

// settings are what serve and demo can choose besides the engines.
type settings struct {
	listen string
	watch  time.Duration // between looks at running experiments' guardrails
	learn  time.Duration // between passes of the live trainer
	settle time.Duration // how late rewards may reach the log
}

// openServer opens the platform and everything that serves it.
func openServer(ctx context.Context, e engines, s settings, log *slog.Logger, progress func(format string, args ...any)) (_ *server, err error) {
	srv := &server{kept: kept{turn: make(chan struct{}, 1)}}
	defer func() {
		if err != nil {
			srv.Close()
		}
	}()
	if s.listen == "" {
		return nil, errors.New("no address to listen on: give --listen or NEXTBEST_LISTEN, such as 127.0.0.1:8080")
	}
	// The address is taken before the engines start, so that a busy port is an
	// error at once.
	if srv.listener, err = net.Listen("tcp", s.listen); err != nil {
		return nil, fmt.Errorf("listen on %s: %w; choose another address with --listen", s.listen, err)
	}
	if srv.telemetry, err = startTelemetry(ctx, version); err != nil {
		return nil, err
	}
	if srv.platform, err = openPlatform(ctx, e, log, progress); err != nil {
		return nil, err
	}
	p := srv.platform
	if srv.experiments, err = experiments.NewService(experiments.Options{Definitions: p.definitions, Changes: p.definitions, Log: p.store,
		Evaluations: evaluator{p}, Interval: s.watch, Settle: s.settle, Logger: log}); err != nil {
		return nil, err
	}
	if srv.trainer, err = learning.New(learning.Options{Log: p.store, Position: p.sink, Definitions: p.definitions, Writer: p.definitions,
		Blobs: p.definitions, Lease: p.claims, Interval: s.learn, Logger: log}); err != nil {
		return nil, err
	}
	if err = srv.telemetry.metrics.Register(newGauges(p)); err != nil {
		return nil, err
	}
	replica, err := replicaName(p.folder)
	if err != nil {
		return nil, err
	}
	options := api.Options{
		Registry: p.definitions, Checker: checker{p.definitions}, Decider: p.pipeline, Outcomes: outcomes{p}, Pseudonyms: pseudonyms{p.definitions},
		Log: rowLog{p.store}, Traffic: rowLog{p.store}, Trainer: trainer{p, srv.trainer}, Weights: weights{p.definitions}, Rebuilder: srv.trainer, Models: srv.trainer, Evaluator: evaluator{p}, Searcher: searcher{evaluator{p}, srv.trainer, srv.experiments}, Verifier: verifier{p},
		Importer: importer{p, new(sync.Mutex)}, Lifecycle: lifecycle{srv.experiments}, Evidence: experimentEvidence{srv.experiments}, Console: overview{srv}, Readiness: readiness{p},
		Logger: log, Metrics: srv.telemetry.metrics, Tracer: srv.telemetry.tracer, Version: version, Shared: e.NATS != "", Replica: replica,
	}
	srv.console = console.New(keyCheck{srv})
	options.Mount = srv.console.Mount
	srv.api, err = api.New(options)
	return srv, err
}

// Address returns the server's base URL.
func (s *server) Address() string { return "http://" + s.listener.Addr().String() }

// Run serves until ctx ends. The order of the end is the reverse of the need:
// first no more requests, then the jobs and workers, then (Close) the journal
// and the engines.
func (s *server) Run(ctx context.Context) error {
	workers, stopWorkers := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWorkers()
	g, gctx := errgroup.WithContext(workers)
	g.Go(func() error { return s.platform.Run(gctx) })
	g.Go(func() error { return named("jobs", s.api.Run(gctx)) })
	g.Go(func() error { return named("experiments", s.experiments.Watch(gctx)) })
	g.Go(func() error { return named("learning", s.trainer.Run(gctx)) })
	web := &http.Server{Handler: s.api.Handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)}
	g.Go(func() error {
		if err := web.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			return named("HTTP", err)
		}
		return nil
	})
	g.Go(func() error {
		select {
		case <-ctx.Done():
		case <-gctx.Done():
		}
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		err := web.Shutdown(closing)
		stopWorkers()
		if errors.Is(err, context.DeadlineExceeded) {
			return web.Close()
		}
		return err
	})
	return g.Wait()
}

// Close ends the platform.
func (s *server) Close() {
	if s.platform != nil {
		s.platform.Close()
	}
	if s.telemetry != nil {
		s.telemetry.Close()
	}
	if s.listener != nil {
		s.listener.Close()
	}
}

// newKey makes an API key and returns its secret.
func (s *server) newKey(ctx context.Context, role api.Role, name, reason string) (string, error) {
	key, change, err := api.NewKey(role, name, "nextbest", reason)
	if err != nil {
		return "", err
	}
	_, err = s.definitions.Put(ctx, change)
	return key, err
}

// hasKeys reports whether any key was ever made.
func (s *server) hasKeys() bool { return len(s.definitions.List(nextbest.KindKey)) > 0 }

// keyCheck tells the console whether a key may read.
type keyCheck struct{ s *server }

// MayRead refuses unknown keys and roles that may not read.
func (k keyCheck) MayRead(key string) error { return k.s.api.Allows(key, api.MayRead) }
