package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"nextbest"
	"nextbest/internal/decisions"
	"nextbest/internal/registry"
	"nextbest/logging"
)

// platform is everything between the engines and the HTTP server, wired.
type platform struct {
	log         *slog.Logger
	folder      string // of the data
	engines     *running
	store       *logging.Store
	journal     *logging.Journal
	sink        *logging.Sink
	definitions *definitions
	contacts    contactHistory
	shared      *registry.Contacts // contacts, where other replicas may share them; else nil
	claims      *registry.Claims
	pipeline    *decisions.Pipeline
	gap         string // what ClickHouse lacked at the start; "": nothing
}

// contactHistory is every customer's contact history: registry.Contacts, or
// registry.LocalContacts where this process is the only one.
type contactHistory interface {
	decisions.Contacts
	Ready() bool
	Run(ctx context.Context, rebuild func(ctx context.Context, load registry.Load) error) error
}

// openPlatform starts the engines and opens everything on them, in the order
// in which one needs the other: engines, log, journal, definitions, customer
// state, pipeline.
func openPlatform(ctx context.Context, e engines, log *slog.Logger, progress func(format string, args ...any)) (_ *platform, err error) {
	p := &platform{log: log, folder: e.Data}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	if p.engines, err = startEngines(ctx, e, log, progress); err != nil {
		return nil, err
	}
	if p.store, err = logging.OpenStore(ctx, p.engines.clickhouse); err != nil {
		return nil, err
	}
	after, err := p.store.Position(ctx)
	if err != nil {
		return nil, err
	}
	js := p.engines.js
	if p.journal, err = logging.OpenJournal(ctx, js, logging.JournalOptions{Replicas: e.Replicas, MaxBytes: e.JournalSize << 20, After: after}); err != nil {
		return nil, err
	}
	p.sink = logging.NewSink(p.journal, p.store, logging.SinkOptions{Logger: log})
	if p.gap, err = p.sink.Gap(ctx); err != nil {
		return nil, err
	}
	if p.gap != "" {
		log.Warn("the log is not complete", "cause", p.gap)
	}

	r, err := registry.Open(ctx, js, registry.Options{Replicas: e.Replicas, Logger: log})
	if err != nil {
		return nil, err
	}
	for _, secret := range []string{decisions.SecretPepper, decisions.SecretFirstSalt} {
		if _, err := r.EnsureSecret(ctx, secret); err != nil {
			return nil, err
		}
	}
	if p.definitions, err = newDefinitions(r, log); err != nil {
		return nil, err
	}
	if e.NATS == "" {
		// Nobody else reaches the server inside this process.
		p.contacts = registry.NewLocalContacts(registry.LocalOptions{MaxBytes: e.memory() / 2, Merge: decisions.MergeHistories, Logger: log})
	} else {
		if p.shared, err = registry.OpenContacts(ctx, js, registry.ContactsOptions{Replicas: e.Replicas, Merge: decisions.MergeHistories, Logger: log}); err != nil {
			return nil, err
		}
		p.contacts = p.shared
	}
	if p.claims, err = registry.OpenClaims(ctx, js, registry.ClaimsOptions{Replicas: e.Replicas, MaxBytes: claimBytes(e), Logger: log}); err != nil {
		return nil, err
	}
	o := decisions.Options{
		Catalogue: p.definitions.Catalogue, Journal: p.journal, Impressions: p.journal, Contacts: p.contacts, Claims: p.claims,
		Log: &decisionLog{platform: p}, HistoryReady: p.contacts.Ready, ClaimsReady: p.claims.Ready, Logger: log,
	}
	if p.shared != nil {
		o.HistoryKept = p.shared.Kept
	}
	p.pipeline, err = decisions.NewPipeline(o)
	return p, err
}

// claimBytes bounds the idempotency keys to half of the memory for the state of
// customers: many of them must not take the room of the contact history,
// without which nothing is decided.
func claimBytes(e engines) int64 {
	if e.NATS != "" {
		return 0 // the limits of the server are its owner's
	}
	return e.memory() / 2
}

// Run keeps everything going until ctx ends: the engine's supervisor, the sink,
// the definitions, the contact history, the idempotency keys. Each returns only with ctx or when it
// cannot go on.
func (p *platform) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.engines.Run(ctx) })
	g.Go(func() error { return named("sink", p.sink.Run(ctx)) })
	g.Go(func() error { return named("definitions", p.definitions.Run(ctx)) })
	g.Go(func() error { return named("contact history", p.contacts.Run(ctx, p.rebuildContacts)) })
	g.Go(func() error { return named("idempotency keys", p.claims.Run(ctx, p.rebuildClaims)) })
	g.Go(func() error { return named("impressions", p.pipeline.Run(ctx)) })
	return g.Wait()
}

func named(what string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// rebuildContacts loads the contact history from the log once everything that
// was acknowledged before now is in it.
func (p *platform) rebuildContacts(ctx context.Context, load registry.Load) error {
	if _, err := p.catchUp(ctx, mostBacklog); err != nil {
		return err
	}
	return decisions.LoadHistories(ctx, p.definitions.Catalogue(), p.store, time.Now(), 24*time.Hour, load)
}

// rebuildClaims loads the idempotency keys from the log in the same way.
func (p *platform) rebuildClaims(ctx context.Context, load registry.LoadClaim) error {
	if _, err := p.catchUp(ctx, mostBacklog); err != nil {
		return err
	}
	return decisions.LoadClaims(ctx, keyedLog{p.store}, time.Now(), load)
}

// How long different things wait for the log to catch up with the journal.
const (
	keyBacklog  = 5 * time.Second // a call with an idempotency key
	mostRequest = 30 * time.Second
	mostBacklog = 10 * time.Minute // work in the background, which is tried again or says that it failed
)

// catchUp waits until everything that was acknowledged before now is in the
// log, and returns the position of the last of it.
func (p *platform) catchUp(ctx context.Context, most time.Duration) (last uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	if last, err = p.journal.Last(ctx); err != nil {
		return 0, err
	}
	if err := p.sink.WaitFor(ctx, last); err != nil {
		return 0, nextbest.Errorf(nextbest.Unavailable, "the log has not caught up with the journal; try again when ClickHouse answers: %w", err)
	}
	return last, nil
}

// keyedLog reads the decisions that had an idempotency key.
type keyedLog struct{ store *logging.Store }

// Keyed gives them oldest first.
func (l keyedLog) Keyed(ctx context.Context, since time.Time, each func(*nextbest.Decision) error) error {
	return l.store.Decisions(ctx, logging.DecisionQuery{From: since, Keyed: true}, each)
}

// Close ends everything in the reverse order. What was acknowledged stays in
// the journal, and the next start brings it to ClickHouse.
func (p *platform) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if p.pipeline != nil {
		if err := p.pipeline.Drain(ctx); err != nil {
			p.log.Error("stopping", "error", err)
		}
	}
	if p.journal != nil {
		if err := p.journal.Close(ctx); err != nil {
			p.log.Error("stopping", "error", err)
		}
	}
	if p.claims != nil {
		p.claims.Close()
	}
	if p.shared != nil {
		p.shared.Close()
	}
	if p.definitions != nil {
		p.definitions.Close()
	}
	if p.store != nil {
		if err := p.store.Close(); err != nil {
			p.log.Error("stopping", "error", err)
		}
	}
	if p.engines != nil {
		p.engines.Close()
	}
}

// decisionLog reads single decisions back for the pipeline.
type decisionLog struct {
	platform *platform
	complete atomic.Value // Claims.Generation for which the log is known to be complete
}

// ByID returns one slot of a decision.
func (l *decisionLog) ByID(ctx context.Context, id uuid.UUID, slot uint8) (found nextbest.Decision, ok bool, err error) {
	err = l.platform.store.Decisions(ctx, logging.DecisionQuery{IDs: []uuid.UUID{id}}, func(d *nextbest.Decision) error {
		if d.Slot == slot {
			found, ok = *d, true
		}
		return nil
	})
	return found, ok, err
}

// ByKey returns the slots of an idempotency key's first decision. It is asked about keys
// whose claims may be lost: everything acknowledged before the loss must be in
// the log by then, or a decision that is still on its way would be made twice.
func (l *decisionLog) ByKey(ctx context.Context, key string) (slots []nextbest.Decision, err error) {
	if err := l.catchUp(ctx); err != nil {
		return nil, err
	}
	err = l.platform.store.Decisions(ctx, logging.DecisionQuery{Key: key, From: time.Now().Add(-decisions.ClaimKept)}, func(d *nextbest.Decision) error {
		if len(slots) == 0 || slots[0].ID == d.ID {
			slots = append(slots, *d)
		}
		return nil
	})
	return slots, err
}

// catchUp waits, once for each loss of the claims, until the log holds what was
// acknowledged before it.
func (l *decisionLog) catchUp(ctx context.Context) error {
	generation := l.platform.claims.Generation()
	if l.complete.Load() == generation {
		return nil
	}
	if _, err := l.platform.catchUp(ctx, keyBacklog); err != nil {
		return fmt.Errorf("nobody can tell yet whether the key was used before: %w", err)
	}
	l.complete.Store(generation)
	return nil
}
