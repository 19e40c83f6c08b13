package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"nextbest"
)

const (
	claimStream  = "nextbest_claims"
	claimSubject = "nextbest.claims."
	stateHeader  = "Nextbest-State" // done, released, or absent: claimed
)

// ClaimsOptions are the settings of the claims.
type ClaimsOptions struct {
	Replicas int           // copies of the stream; 0: 1, or what an existing stream has
	MaxBytes int64         // 0: the server's limit alone
	Keep     time.Duration // of a claim; 0: 25 h, an hour more than the day in which callers may retry
	Poll     time.Duration // least time between looks at an unfinished claim; 0: 2 ms
	Watch    time.Duration // between looks at the marker; 0: 1 s
	Lease    time.Duration // after which a silent rebuild is taken over; 0: 10 s
	Logger   *slog.Logger  // nil: slog.Default
}

// Claims makes things happen once across replicas: whoever creates a key's
// claim does the work, everybody else gets what the winner stored. Claims are in
// memory; Ready says whether any may be missing that the log still knows. Safe
// for concurrent use.
type Claims struct {
	bucket *bucket
	opts   ClaimsOptions
	id     string // of this replica, as a lease holder

	mu    sync.Mutex
	mine  map[string]held // claims won here and not completed, by subject key
	older map[string]held // those before the newest mostHeld
}

// held is a claim won here.
type held struct {
	sequence uint64
	epoch    uint64
}

// mostHeld is how many claims are held at least until they are completed.
// Beyond twice as many, those that nobody completes are forgotten: then they
// stay as they are.
const mostHeld = 1 << 15

// OpenClaims connects to the claims, creating the bucket where there is none.
func OpenClaims(ctx context.Context, js jetstream.JetStream, opts ClaimsOptions) (*Claims, error) {
	if opts.Replicas < 0 || opts.MaxBytes < 0 || opts.Keep < 0 || opts.Poll < 0 || opts.Watch < 0 || opts.Lease < 0 {
		return nil, nextbest.Errorf(nextbest.Invalid, "claims: sizes and spans of time must not be negative")
	}
	if opts.Keep == 0 {
		opts.Keep = 25 * time.Hour
	}
	if opts.Poll == 0 {
		opts.Poll = 2 * time.Millisecond
	}
	if opts.Watch == 0 {
		opts.Watch = time.Second
	}
	if opts.Lease == 0 {
		opts.Lease = 10 * time.Second
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	c := &Claims{opts: opts, id: uuid.NewString(), mine: map[string]held{}}
	var err error
	c.bucket, err = openBucket(ctx, js, jetstream.StreamConfig{
		Name: claimStream, Description: "idempotency keys and leases, in memory",
		MaxBytes: opts.MaxBytes, Replicas: opts.Replicas,
	}, claimSubject, nil)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Close ends the use of the claims in this process.
func (c *Claims) Close() { c.bucket.close() }

// Ready reports whether every claim within ClaimsOptions.Keep is there: true
// from the moment a rebuild has finished until the claims are lost again. Until
// then, a claim that was won may repeat a lost one: ask the log before claiming.
// A claim that meets a new bucket knows when it returns: ask Ready after it too.
func (c *Claims) Ready() bool { return c.bucket.mark.Load().Ready }

// Generation names the life of the bucket: another one means that everything
// before was lost.
func (c *Claims) Generation() string { return c.bucket.mark.Load().Generation }

// LoadClaim puts back the finished claim of a key, made at the given time,
// unless the key has one. Safe for concurrent use.
type LoadClaim func(ctx context.Context, key string, value []byte, at time.Time) error

// Run keeps watch until ctx ends: it brings the bucket back where it is gone,
// and whenever claims may be missing, one replica calls rebuild, which loads
// those that the log knows, and then declares the claims ready.
func (c *Claims) Run(ctx context.Context, rebuild func(ctx context.Context, load LoadClaim) error) error {
	k := keeper{bucket: c.bucket, what: "claims", id: c.id, poll: c.opts.Watch, lease: c.opts.Lease, log: c.opts.Logger}
	return k.run(ctx, func(ctx context.Context, epoch uint64) error {
		return rebuild(ctx, func(ctx context.Context, key string, value []byte, at time.Time) error {
			left := c.opts.Keep - time.Since(at)
			if left <= 0 {
				return nil
			}
			_, _, err := c.bucket.cas(ctx, claimKey(key), value, 0, left, nats.Header{stateHeader: {"done"}})
			if err == nil && c.bucket.mark.Load().epoch != epoch {
				err = nextbest.Errorf(nextbest.Unavailable, "claims: the bucket was lost again during its rebuild")
			}
			return err
		})
	})
}

// Claim creates the key's claim with a value. Whoever is not the first gets the
// value that is there and won = false; Wait tells whether it is final.
func (c *Claims) Claim(ctx context.Context, key string, value []byte) (existing []byte, won bool, err error) {
	k := claimKey(key)
	var sequence uint64
	for {
		won, err = c.take(ctx, k, value, sequence)
		if err != nil || won {
			return nil, won, err
		}
		it, err := c.bucket.getLeader(ctx, claimSubject+"k."+k)
		if err != nil {
			return nil, false, err
		}
		sequence = it.sequence
		if sequence != 0 && it.header.Get(stateHeader) != "released" {
			return it.value, false, nil
		}
	}
}

// take writes an unfinished claim over the given sequence.
func (c *Claims) take(ctx context.Context, k string, value []byte, sequence uint64) (won bool, err error) {
	next, ok, err := c.bucket.cas(ctx, k, value, sequence, c.opts.Keep, nil)
	if err != nil || !ok {
		return false, err
	}
	c.hold(k, next)
	return true, nil
}

func (c *Claims) hold(k string, sequence uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.mine) >= mostHeld {
		c.mine, c.older = map[string]held{}, c.mine
	}
	c.mine[k] = held{sequence, c.bucket.mark.Load().epoch}
}

// Complete replaces the value of a claim won here by the finished answer.
// Conflict: the claim is not held here, or was taken over.
func (c *Claims) Complete(ctx context.Context, key string, value []byte) error {
	return c.finish(ctx, key, value, c.opts.Keep, "done")
}

// Release gives up a claim won here, so that the next Claim wins.
func (c *Claims) Release(ctx context.Context, key string) error {
	return c.finish(ctx, key, nil, time.Second, "released")
}

func (c *Claims) finish(ctx context.Context, key string, value []byte, keep time.Duration, state string) error {
	k := claimKey(key)
	c.mu.Lock()
	h, ok := c.mine[k]
	if !ok {
		h, ok = c.older[k]
	}
	c.mu.Unlock()
	if !ok || h.epoch != c.bucket.mark.Load().epoch {
		return nextbest.Errorf(nextbest.Conflict, "claim %.100q is not held by this replica", key)
	}
	_, ok, err := c.bucket.cas(ctx, k, value, h.sequence, keep, nats.Header{stateHeader: {state}})
	if err != nil {
		return err
	}
	c.mu.Lock()
	delete(c.mine, k)
	delete(c.older, k)
	c.mu.Unlock()
	if !ok {
		return nextbest.Errorf(nextbest.Conflict, "claim %.100q was taken over by another replica, or lost", key)
	}
	return nil
}

// Wait returns the finished answer of a claim, waiting for whoever holds it to
// complete it. Errors: NotFound when the claim is released, expired or lost;
// Unavailable when ctx ends first (see TakeOver).
func (c *Claims) Wait(ctx context.Context, key string) ([]byte, error) {
	pause := c.opts.Poll
	for {
		it, err := c.bucket.getLeader(ctx, claimSubject+"k."+claimKey(key))
		if err != nil {
			return nil, err
		}
		state := it.header.Get(stateHeader)
		switch {
		case it.sequence == 0 || state == "released":
			return nil, nextbest.Errorf(nextbest.NotFound, "claim %.100q is gone", key)
		case state == "done":
			return it.value, nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, nextbest.Errorf(nextbest.Unavailable, "claim %.100q is still being worked on: %w", key, ctx.Err())
		}
		pause = min(2*pause, 100*time.Millisecond)
	}
}

// TakeOver claims a key whose holder has been silent: an unfinished claim at
// least as old as age, or none. The old holder's Complete then fails.
func (c *Claims) TakeOver(ctx context.Context, key string, value []byte, age time.Duration) (won bool, err error) {
	k := claimKey(key)
	it, err := c.bucket.getLeader(ctx, claimSubject+"k."+k)
	if err != nil {
		return false, err
	}
	state := it.header.Get(stateHeader)
	if it.sequence != 0 && state != "released" && (state == "done" || time.Since(it.time) < age) {
		return false, nil
	}
	return c.take(ctx, k, value, it.sequence)
}

// Hold takes or renews a lease: it returns true when this replica holds name
// for the given time (at least 1 s) from now. A lease only saves work: two
// replicas may believe in it for a moment, so what it guards must be safe twice.
func (c *Claims) Hold(ctx context.Context, name string, span time.Duration) (bool, error) {
	k := claimKey("lease\x00" + name)
	it, err := c.bucket.getLeader(ctx, claimSubject+"k."+k)
	if err != nil {
		return false, err
	}
	if it.sequence != 0 && string(it.value) != c.id {
		return false, nil
	}
	_, ok, err := c.bucket.cas(ctx, k, []byte(c.id), it.sequence, max(span, time.Second), nil)
	return ok, err
}

// claimKey turns any key into a subject token.
func claimKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}
