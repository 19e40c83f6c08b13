package registry

import (
	"context"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"nextbest"
)

// LocalOptions are the settings of a LocalContacts.
type LocalOptions struct {
	MaxBytes int64 // of all histories, about; 0: no limit
	// Merge joins what is held about a customer with what a rebuild found, as
	// ContactsOptions.Merge does.
	Merge  func(current, loaded []byte) ([]byte, error)
	Poll   time.Duration // before a rebuild that failed is tried again, then doubling; 0: 1 s
	Logger *slog.Logger  // nil: slog.Default
}

// LocalContacts is the contact history of a platform that runs in one process
// alone: what Contacts keeps in a memory stream of the server inside that
// process, without the way there and back. It is exact in the same way, lives as
// long (as the process), and is put back from the log in the same way. Safe for
// concurrent use.
type LocalContacts struct {
	opts   LocalOptions
	seed   maphash.Seed
	shards [256]localShard
	bytes  atomic.Int64
	ready  atomic.Bool
}

type localShard struct {
	mu        sync.Mutex
	histories map[string]localHistory
	last      uint64 // newest revision
}

type localHistory struct {
	value    []byte
	revision uint64
}

// localOverhead is about what a customer takes beside pseudonym and history:
// the map's entry and its spare room.
const localOverhead = 128

// NewLocalContacts returns an empty contact history. Run must run for it to
// become ready.
func NewLocalContacts(opts LocalOptions) *LocalContacts {
	if opts.Poll <= 0 {
		opts.Poll = time.Second
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.Merge == nil {
		opts.Merge = func(current, _ []byte) ([]byte, error) { return current, nil }
	}
	c := &LocalContacts{opts: opts, seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].histories = map[string]localHistory{}
	}
	return c
}

// Ready reports whether the history is complete: true since the first rebuild
// has finished.
func (c *LocalContacts) Ready() bool { return c.ready.Load() }

func (c *LocalContacts) shard(customer string) *localShard {
	return &c.shards[maphash.String(c.seed, customer)%uint64(len(c.shards))]
}

// Get returns what is known about a customer, which must not be changed, and
// the revision to hand to CompareAndSet; nil and 0 when nothing is.
func (c *LocalContacts) Get(_ context.Context, customer string) (value []byte, revision uint64, err error) {
	s := c.shard(customer)
	s.mu.Lock()
	h := s.histories[customer]
	s.mu.Unlock()
	return h.value, h.revision, nil
}

// CompareAndSet replaces what is known about a customer if nobody has changed
// it since the revision was read, and returns the new revision; ok is false
// when somebody has. It keeps value. Where the limit is reached, the error is
// Unavailable and nothing has changed.
func (c *LocalContacts) CompareAndSet(_ context.Context, customer string, value []byte, revision uint64) (next uint64, ok bool, err error) {
	s := c.shard(customer)
	s.mu.Lock()
	defer s.mu.Unlock()
	old, known := s.histories[customer]
	if old.revision != revision {
		return 0, false, nil
	}
	more := int64(len(value) - len(old.value))
	if !known {
		more += int64(len(customer)) + localOverhead
	}
	if all := c.bytes.Add(more); more > 0 && c.opts.MaxBytes > 0 && all > c.opts.MaxBytes {
		c.bytes.Add(-more)
		return 0, false, nextbest.Errorf(nextbest.Unavailable, "the contact history has no room left in its %d MiB: give it more memory", c.opts.MaxBytes>>20)
	}
	s.last++
	s.histories[customer] = localHistory{value, s.last}
	return s.last, true, nil
}

// Run has the history rebuilt, again after growing pauses where that fails, and
// returns when ctx ends. See Contacts.Run for what rebuild does.
func (c *LocalContacts) Run(ctx context.Context, rebuild func(ctx context.Context, load Load) error) error {
	for pause := c.opts.Poll; ; pause = min(2*pause, mostPause) {
		err := rebuild(ctx, c.load)
		if err == nil {
			c.ready.Store(true)
			<-ctx.Done()
			return nil
		}
		if ctx.Err() == nil {
			c.opts.Logger.Error("contacts: what was lost could not be put back; it will be tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// load puts value there if the customer is absent and merges otherwise.
func (c *LocalContacts) load(ctx context.Context, customer string, value []byte) error {
	for {
		current, revision, err := c.Get(ctx, customer)
		if err != nil {
			return err
		}
		merged := value
		if revision != 0 {
			if merged, err = c.opts.Merge(current, value); err != nil {
				return nextbest.Errorf(nextbest.Internal, "contacts: merging the history of %s: %w", customer, err)
			}
		}
		if _, ok, err := c.CompareAndSet(ctx, customer, merged, revision); err != nil || ok {
			return err
		}
	}
}
