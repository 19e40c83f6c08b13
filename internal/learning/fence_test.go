package learning

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"nextbest"
	"nextbest/bandit"
	"nextbest/internal/embedded/enginetest"
	"nextbest/internal/registry"
)

// replica is one program's view of the platform: its own registry on the shared
// NATS server, a log that may lag, a clock that may be wrong.
type replica struct {
	*registry.Registry
	trainer *Trainer
}

// sharedLog is one log read by several replicas at a time.
type sharedLog struct {
	mu  sync.Mutex
	log *fakeLog
}

func (l *sharedLog) add(e any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.log.add(e)
}

func (l *sharedLog) Rows(ctx context.Context, q nextbest.Query, each func(*nextbest.Batch) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.Rows(ctx, q, each)
}

func (l *sharedLog) Touched(ctx context.Context, q nextbest.Query, after uint64) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return touchedLog{l.log}.Touched(ctx, q, after)
}

// lagging is the position of a replica whose sink is behind.
type lagging struct {
	log *sharedLog
	by  uint64
}

func (p lagging) Position() uint64 {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	at := p.log.log.Position()
	return at - min(at, p.by)
}

func newReplica(t *testing.T, nc *nats.Conn, log *sharedLog, lag uint64, now func() time.Time, wrap func(Writer) Writer) *replica {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{}
	if r.Registry, err = registry.Open(t.Context(), js, registry.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	var w Writer = r.Registry
	if wrap != nil {
		w = wrap(w)
	}
	if r.trainer, err = New(Options{Log: log, Position: lagging{log, lag}, Definitions: r.Registry, Writer: w, Blobs: r.Registry, Now: now, Logger: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	return r
}

// definePlatform writes newPlatform's definitions.
func definePlatform(t *testing.T, r *replica) {
	t.Helper()
	for _, rec := range newPlatform().records {
		if _, err := r.Put(t.Context(), nextbest.Change{Kind: rec.Kind, ID: rec.ID, Document: rec.Document, Actor: "ann", Reason: "test"}); err != nil {
			t.Fatal(err)
		}
	}
}

// published returns the models that were current, in order, with their parameters,
// and checks each against learning again from its record.
func published(t *testing.T, r *replica) (models []Model) {
	t.Helper()
	for _, rec := range r.History(nextbest.KindCurrent, ID(lints)) {
		c, err := parseCurrent(rec)
		if err != nil {
			t.Fatal(err)
		}
		rec, ok := r.Version(nextbest.KindModel, ID(lints), c.Model)
		if !ok {
			t.Fatalf("model %d was current and does not exist", c.Model)
		}
		m, err := ParseModel(rec)
		if err != nil {
			t.Fatal(err)
		}
		content, err := r.Blob(t.Context(), m.Hash)
		if err != nil {
			t.Fatal(err)
		}
		parameters, err := bandit.UnmarshalModel(content)
		if err != nil {
			t.Fatal(err)
		}
		again, err := r.trainer.Reproduce(t.Context(), lints, m.Number)
		if err != nil {
			t.Fatal(err)
		}
		assertSame(t, parameters, again.Model)
		models = append(models, m)
	}
	return models
}

// TestRacingTrainers: three trainers without a lease on three replicas of one
// registry, one with a log that lags and one with a clock that is ahead, pass
// at the same time while events come in late and out of order. What is current
// never goes back, every model can be learned again, and in the end the current
// one knows everything.
func TestRacingTrainers(t *testing.T) {
	nc := enginetest.NATS(t)
	log := &sharedLog{log: &fakeLog{}}
	var mu sync.Mutex
	c := &clock{}
	now := func(ahead time.Duration) func() time.Time {
		return func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return c.t.Add(ahead)
		}
	}
	replicas := []*replica{
		newReplica(t, nc, log, 0, now(0), nil),
		newReplica(t, nc, log, 9, now(0), nil),
		newReplica(t, nc, log, 0, now(7*time.Second), nil),
	}
	definePlatform(t, replicas[0])
	done := make(chan struct{})
	var wg sync.WaitGroup
	for _, r := range replicas {
		wg.Go(func() {
			for {
				if err := r.trainer.Pass(t.Context()); err != nil {
					t.Error(err)
				}
				select {
				case <-done:
					return
				case <-time.After(time.Millisecond):
				}
			}
		})
	}
	local := &clock{}
	history(newRand(61), log, local, 40, 0.5, func(int) {
		mu.Lock()
		c.t = local.t
		mu.Unlock()
		time.Sleep(15 * time.Millisecond)
	})
	close(done)
	wg.Wait()
	mu.Lock()
	c.t = c.t.Add(time.Minute)
	mu.Unlock()
	log.add(decision(newRand(62), c.t, "last"))
	// A pass may meet what the others published last, which this replica has not
	// heard of yet, and lose the compare-and-set; a later one does not.
	for range 20 {
		if err := replicas[0].trainer.Pass(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	models := published(t, replicas[0])
	t.Logf("%d models were current of %d published", len(models), len(replicas[0].History(nextbest.KindModel, ID(lints))))
	if len(models) < 10 {
		t.Fatal("too few to say anything")
	}
	for i, m := range models[1:] {
		if before := models[i]; m.Trained.Upto < before.Trained.Upto || m.Trained.Upto == before.Trained.Upto && !m.Trained.MatureAt.After(before.Trained.MatureAt) {
			t.Errorf("model %d of P=%d, W=%s followed model %d of P=%d, W=%s", m.Number, m.Trained.Upto, m.Trained.MatureAt, before.Number, before.Trained.Upto, before.Trained.MatureAt)
		}
	}
	if last := models[len(models)-1]; last.Trained.Upto != log.log.Position() || !last.Trained.MatureAt.Equal(c.t) {
		t.Errorf("in the end the current model is of P=%d, W=%s", last.Trained.Upto, last.Trained.MatureAt)
	}
}

// interrupted is a writer that calls a function before a record of one kind.
type interrupted struct {
	Writer
	kind   nextbest.Kind
	before func() error
}

func (w *interrupted) Put(ctx context.Context, c nextbest.Change) (nextbest.Record, error) {
	if f := w.before; f != nil && c.Kind == w.kind {
		w.before = nil
		if err := f(); err != nil {
			return nextbest.Record{}, err
		}
	}
	return w.Writer.Put(ctx, c)
}

// TestKilledTrainer: a trainer ends after the blob was stored, or after the
// model was listed, and before the pointer moved. What was current stays, and
// the next trainer goes on from the log.
func TestKilledTrainer(t *testing.T) {
	for _, kind := range []nextbest.Kind{nextbest.KindModel, nextbest.KindCurrent} {
		t.Run(string(kind), func(t *testing.T) {
			nc := enginetest.NATS(t)
			log := &sharedLog{log: &fakeLog{}}
			c := &clock{epoch.Add(time.Hour)}
			rng := newRand(63)
			var w *interrupted
			victim := newReplica(t, nc, log, 0, c.now, func(inner Writer) Writer {
				w = &interrupted{Writer: inner, kind: kind}
				return w
			})
			definePlatform(t, victim)
			log.add(decision(rng, epoch, "c"))
			if err := victim.trainer.Pass(t.Context()); err != nil {
				t.Fatal(err)
			}
			log.add(decision(rng, epoch, "d"))
			w.before = func() error { return errors.New("killed") }
			if err := victim.trainer.Pass(t.Context()); err == nil {
				t.Fatal("it was not killed")
			}
			if models := published(t, victim); len(models) != 1 || models[0].Trained.Rows != 1 {
				t.Fatalf("current after the kill: %+v", models)
			}
			next := newReplica(t, nc, log, 0, c.now, nil)
			if err := next.trainer.Pass(t.Context()); err != nil {
				t.Fatal(err)
			}
			if models := published(t, next); len(models) != 2 || models[1].Trained.Rows != 2 {
				t.Fatalf("current after the next trainer: %+v", models)
			}
		})
	}
}

// TestLateTrainer: a trainer stands still right before it moves the pointer,
// while another publishes. The compare-and-set refuses it, however it differs:
// fewer rows, a log that lags, a clock that is ahead or behind.
func TestLateTrainer(t *testing.T) {
	for i, c := range []struct {
		lag  uint64
		skew time.Duration
	}{{0, 0}, {2, 0}, {0, time.Hour}, {0, -time.Minute}} {
		t.Run(fmt.Sprintf("behind by %d, ahead by %s", c.lag, c.skew), func(t *testing.T) {
			nc := enginetest.NATS(t)
			log := &sharedLog{log: &fakeLog{}}
			at, rng := &clock{epoch.Add(time.Hour)}, newRand(uint64(70+i))
			var w *interrupted
			late := newReplica(t, nc, log, c.lag, func() time.Time { return at.t.Add(c.skew) }, func(inner Writer) Writer {
				w = &interrupted{Writer: inner, kind: nextbest.KindCurrent}
				return w
			})
			other := newReplica(t, nc, log, 0, at.now, nil)
			definePlatform(t, late)
			if defined, _ := late.Snapshot(); other.Wait(t.Context(), defined) != nil {
				t.Fatal("the other replica has not heard of the definitions")
			}
			for range 5 {
				log.add(decision(rng, epoch, "c"))
			}
			w.before = func() error {
				for range 5 {
					log.add(decision(rng, epoch, "d"))
				}
				return other.trainer.Pass(t.Context())
			}
			if err := late.trainer.Pass(t.Context()); err != nil {
				t.Fatal(err)
			}
			if models := published(t, other); len(models) != 1 || models[0].Trained.Rows != 10 {
				t.Fatalf("the late trainer has published over the other: %+v", models)
			}
			if err := late.trainer.Pass(t.Context()); err != nil { // it reads again, and knows nothing more
				t.Fatal(err)
			}
			if models := published(t, other); len(models) != 1 {
				t.Fatalf("the late trainer has published what was known: %+v", models)
			}
			log.add(decision(rng, epoch, "e"))
			if err := other.trainer.Pass(t.Context()); err != nil {
				t.Fatal(err)
			}
			models := published(t, other)
			if last := models[len(models)-1]; last.Trained.Rows != 11 || !last.Trained.MatureAt.Equal(at.t) {
				t.Fatalf("in the end: %+v", last)
			}
		})
	}
}
