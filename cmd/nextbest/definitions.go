package main

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"nextbest"
	"nextbest/internal/decisions"
	"nextbest/internal/registry"
)

// definitions keeps the compiled catalogue in step with the registry. A write
// through it answers once this replica decides by it.
type definitions struct {
	*registry.Registry
	log *slog.Logger

	mu      sync.Mutex // of compiling
	current atomic.Pointer[decisions.Catalogue]
}

// newDefinitions compiles what the registry holds.
func newDefinitions(r *registry.Registry, log *slog.Logger) (*definitions, error) {
	d := &definitions{Registry: r, log: log}
	return d, d.refresh()
}

// Catalogue returns the newest compiled definitions.
func (d *definitions) Catalogue() *decisions.Catalogue { return d.current.Load() }

// Put writes one record and compiles it.
func (d *definitions) Put(ctx context.Context, c nextbest.Change) (nextbest.Record, error) {
	rec, err := d.Registry.Put(ctx, c)
	if err != nil {
		return rec, err
	}
	return rec, d.refresh()
}

// Run compiles what other replicas write, until ctx ends.
func (d *definitions) Run(ctx context.Context) error {
	for {
		changed := d.Changed()
		var again <-chan time.Time
		if err := d.refresh(); err != nil {
			d.log.Error("the new definitions do not compile yet; deciding by the ones before", "error", err)
			again = time.After(time.Second)
		}
		select {
		case <-changed:
		case <-again:
		case <-ctx.Done():
			return nil
		}
	}
}

// refresh compiles the registry's newest state unless that is done already.
func (d *definitions) refresh() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.current.Load()
	revision, records := d.Snapshot()
	if before != nil && before.Revision >= revision {
		return nil
	}
	if before == nil {
		before = &decisions.Catalogue{}
	}
	next, err := before.Update(records, d.blob)
	if err != nil {
		return err
	}
	d.current.Store(next)
	return nil
}

// blob fetches a model's parameters.
func (d *definitions) blob(hash string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return d.Blob(ctx, hash)
}
