package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"nextbest"
)

// The streams of this package.
const (
	registryStream = "nextbest_registry"
	blobStream     = "nextbest_blobs"
)

// Options of a Registry. The zero value is a single copy with no limit of its
// own.
type Options struct {
	Replicas   int              // copies of the streams; 0: 1, or what an existing stream has
	MaxBytes   int64            // of the definitions' stream; 0: the server's limit alone
	BlobBytes  int64            // of the blobs' stream; 0: the server's limit alone
	CacheBytes int64            // of blobs kept in this process; 0: 64 MiB
	Timeout    time.Duration    // after which a write gives up; 0: 10 s
	Quarantine bool             // open a registry that fails its checks, without the bad records
	Logger     *slog.Logger     // nil: slog.Default
	Now        func() time.Time // nil: time.Now
}

func (o *Options) fill() error {
	if o.Replicas < 0 || o.MaxBytes < 0 || o.BlobBytes < 0 || o.CacheBytes < 0 || o.Timeout < 0 {
		return nextbest.Errorf(nextbest.Invalid, "registry: replicas, sizes and the time-out must not be negative")
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 64 << 20
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return nil
}

// Registry is one replica's view of the definitions: the whole stream, applied
// in order. Reads are local and never block on the network. Safe for concurrent
// use. Records and their documents are shared: nobody may change them.
type Registry struct {
	js     jetstream.JetStream
	opts   Options
	stream jetstream.Stream
	blobs  *blobs
	feed   jetstream.ConsumeContext

	mu      sync.RWMutex
	state   *state
	changed chan struct{} // closed and replaced at each message applied
}

// Open connects to the registry's stream, creating it where there is none, and
// returns once every record written so far is applied and checked against the
// hash chain. New records are applied from then on until Close, whether or not
// Run is running. A registry that fails its checks is refused unless
// Options.Quarantine is set.
func Open(ctx context.Context, js jetstream.JetStream, opts Options) (*Registry, error) {
	if err := opts.fill(); err != nil {
		return nil, err
	}
	stream, err := ensureStream(ctx, js, jetstream.StreamConfig{
		Name: registryStream, Subjects: []string{definitions + ">"},
		Description: "definitions, one subject each; the audit trail",
		Storage:     jetstream.FileStorage, Retention: jetstream.LimitsPolicy,
		Discard: jetstream.DiscardNew, MaxMsgsPerSubject: -1,
		DenyDelete: true, DenyPurge: true, AllowDirect: true,
		MaxBytes: limit(opts.MaxBytes), Replicas: opts.Replicas,
	})
	if err != nil {
		return nil, err
	}
	if cfg := stream.CachedInfo().Config; !cfg.DenyDelete || !cfg.DenyPurge || cfg.Storage != jetstream.FileStorage || cfg.MaxMsgsPerSubject > 0 || cfg.MaxAge > 0 {
		return nil, nextbest.Errorf(nextbest.Internal, "registry: stream %s exists but may lose records (it must be a file stream that denies deletes and purges and has no age or per-subject limit); it was not created by this program", registryStream)
	}
	b, err := openBlobs(ctx, js, opts)
	if err != nil {
		return nil, err
	}
	r := &Registry{js: js, opts: opts, stream: stream, blobs: b, state: newState(), changed: make(chan struct{})}
	consumer, err := js.OrderedConsumer(ctx, registryStream, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		return nil, unavailable("registry: reading stream "+registryStream, err)
	}
	r.feed, err = consumer.Consume(r.deliver, jetstream.PullExpiry(6*time.Second), jetstream.PullHeartbeat(time.Second), jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
		opts.Logger.Warn("registry: the feed of definitions stumbled; it resumes by itself", "error", err)
	}))
	if err != nil {
		return nil, unavailable("registry: reading stream "+registryStream, err)
	}
	if err := r.catchUp(ctx); err != nil {
		r.Close()
		return nil, err
	}
	if p := r.Problems(); len(p) > 0 && !opts.Quarantine {
		r.Close()
		return nil, nextbest.Errorf(nextbest.Internal, "registry: %d records fail their checks, so the definitions cannot be trusted (%s); restore the stream %s from a backup, or open it with the bad records in quarantine to look at it",
			len(p), strings.Join(p[:min(3, len(p))], "; "), registryStream)
	}
	return r, nil
}

// Run keeps the replica company until ctx ends and then closes it. It exists
// so that the program can own the registry as it owns its other workers.
func (r *Registry) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		r.Close()
		<-r.feed.Closed()
		return nil
	case <-r.feed.Closed():
		if ctx.Err() != nil {
			return nil
		}
		return nextbest.Errorf(nextbest.Unavailable, "registry: the feed of definitions has ended; was the connection to NATS closed?")
	}
}

// Close stops applying records. What was read stays readable.
func (r *Registry) Close() { r.feed.Stop() }

// deliver applies one message of the feed.
func (r *Registry) deliver(m jetstream.Msg) {
	meta, err := m.Metadata()
	if err != nil {
		r.opts.Logger.Error("registry: a message without metadata was left out", "subject", m.Subject(), "error", err)
		return
	}
	r.mu.Lock()
	known := len(r.state.problems)
	r.state.apply(meta.Sequence.Stream, m.Subject(), m.Data())
	fresh := r.state.problems[known:]
	close(r.changed)
	r.changed = make(chan struct{})
	r.mu.Unlock()
	for _, p := range fresh {
		r.opts.Logger.Error("registry: a record fails its checks and is left out", "problem", p)
	}
}

// catchUp waits until everything now in the stream is applied. A stream whose last
// record is gone, which no deletion can do, would be waited for without end.
func (r *Registry) catchUp(ctx context.Context) error {
	info, err := r.stream.Info(ctx)
	if err != nil {
		return unavailable("registry: stream "+registryStream, err)
	}
	if last := info.State.LastSeq; last > 0 {
		if _, err := r.stream.GetMsg(ctx, last); errors.Is(err, jetstream.ErrMsgNotFound) {
			return nextbest.Errorf(nextbest.Internal, "registry: the stream %s has come to revision %d and the record of that revision is gone, so the definitions cannot be trusted; restore the stream from a backup", registryStream, last)
		}
	}
	return r.Wait(ctx, info.State.LastSeq)
}

// Wait returns once the revision is applied here.
func (r *Registry) Wait(ctx context.Context, revision uint64) error {
	for {
		r.mu.RLock()
		have, changed := r.state.revision, r.changed
		r.mu.RUnlock()
		if have >= revision {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nextbest.Errorf(nextbest.Unavailable, "registry: this replica is at revision %d and waits for %d: %w", have, revision, ctx.Err())
		}
	}
}

// Changed returns a channel that is closed when the next record is applied.
// Take the channel, then the Snapshot, then wait.
func (r *Registry) Changed() <-chan struct{} {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.changed
}

// Get returns the newest record of an object; false when there is none or it
// was deleted.
func (r *Registry) Get(kind nextbest.Kind, id string) (nextbest.Record, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.state.object(kind, id).latest()
}

// Version returns version n of an object, deleted or not.
func (r *Registry) Version(kind nextbest.Kind, id string, n uint64) (nextbest.Record, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e := r.state.object(kind, id).entries
	if n == 0 || n > uint64(len(e)) {
		return nextbest.Record{}, false
	}
	return e[n-1].record, true
}

// History returns every record of an object, oldest first, deletions included.
func (r *Registry) History(kind nextbest.Kind, id string) []nextbest.Record {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e := r.state.object(kind, id).entries
	out := make([]nextbest.Record, len(e))
	for i := range e {
		out[i] = e[i].record
	}
	return out
}

// List returns the newest record of every object of a kind that exists, by id.
func (r *Registry) List(kind nextbest.Kind) []nextbest.Record {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.state.list(kind)
}

// Snapshot returns the revision and all records up to it, old versions
// included, in the order in which they were written.
func (r *Registry) Snapshot() (revision uint64, all []nextbest.Record) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	n := len(r.state.records)
	return r.state.revision, r.state.records[:n:n]
}

// Problems lists the messages that fail their checks and were left out.
func (r *Registry) Problems() []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	n := len(r.state.problems)
	return r.state.problems[:n:n]
}

// ensureStream returns the stream, created from cfg where there is none. More
// copies than an existing stream has are added; fewer are not taken away.
func ensureStream(ctx context.Context, js jetstream.JetStream, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	want := cfg.Replicas
	cfg.Replicas = max(1, want)
	for {
		s, err := js.Stream(ctx, cfg.Name)
		if err == nil {
			have := s.CachedInfo().Config
			if want <= have.Replicas {
				return s, nil
			}
			have.Replicas = want
			if s, err = js.UpdateStream(ctx, have); err != nil {
				return nil, unavailable(fmt.Sprintf("registry: %d copies of stream %s", want, cfg.Name), err)
			}
			return s, nil
		}
		if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil, unavailable("registry: stream "+cfg.Name, err)
		}
		s, err = js.CreateStream(ctx, cfg)
		if err == nil {
			return s, nil
		}
		if !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return nil, unavailable("registry: creating stream "+cfg.Name, err)
		}
	}
}

// limit turns "0: none" into the server's "-1: none".
func limit(n int64) int64 {
	if n == 0 {
		return -1
	}
	return n
}

// unavailable says that NATS did not do what was asked.
func unavailable(what string, err error) *nextbest.Error {
	return nextbest.Errorf(nextbest.Unavailable, "%s: %w", what, err)
}
