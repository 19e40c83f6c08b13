package registry

import (
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"nextbest"
)

const (
	contactStream  = "nextbest_contacts"
	contactSubject = "nextbest.contacts."
)

// ContactsOptions are the settings of the contact history.
type ContactsOptions struct {
	Replicas int   // copies of the stream; 0: 1, or what an existing stream has
	MaxBytes int64 // 0: the server's limit alone
	// Keep is how long an entry is kept after its last change; it must be at
	// least the longest window of any cap or cool-down. 0: while the server runs.
	Keep  time.Duration
	Cache int // customers kept in this process; 0: 65,536
	// Merge joins what the bucket holds about a customer with what a rebuild
	// found, neither of which may be changed. Nil: the bucket's is kept.
	Merge  func(current, loaded []byte) ([]byte, error)
	Poll   time.Duration // between looks at the marker; 0: 1 s
	Lease  time.Duration // after which a silent rebuild is taken over; 0: 10 s
	Logger *slog.Logger  // nil: slog.Default
}

// Contacts is the contact history of every customer, in memory, shared by all
// replicas; the values are opaque here. It is exact through compare-and-set and
// knows when it has been lost: then Ready is false until one replica has put
// back what the log knows. Safe for concurrent use.
type Contacts struct {
	bucket *bucket
	opts   ContactsOptions
	cache  *shelf
	id     string // of this replica, as a holder
}

// OpenContacts connects to the contact history, creating it where there is
// none. Run must run for it to become ready.
func OpenContacts(ctx context.Context, js jetstream.JetStream, opts ContactsOptions) (*Contacts, error) {
	if opts.Replicas < 0 || opts.MaxBytes < 0 || opts.Keep < 0 || opts.Cache < 0 || opts.Poll < 0 || opts.Lease < 0 {
		return nil, nextbest.Errorf(nextbest.Invalid, "contacts: sizes and spans of time must not be negative")
	}
	if opts.Cache == 0 {
		opts.Cache = 1 << 16
	}
	if opts.Poll == 0 {
		opts.Poll = time.Second
	}
	if opts.Lease == 0 {
		opts.Lease = 10 * time.Second
	}
	if opts.Merge == nil {
		opts.Merge = func(current, _ []byte) ([]byte, error) { return current, nil }
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	c := &Contacts{opts: opts, cache: newShelf(opts.Cache), id: uuid.NewString()}
	var err error
	c.bucket, err = openBucket(ctx, js, jetstream.StreamConfig{
		Name: contactStream, Description: "contact history by customer, in memory",
		MaxBytes: opts.MaxBytes, Replicas: opts.Replicas,
	}, contactSubject, c.cache.clear)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Close ends the use of the contact history in this process.
func (c *Contacts) Close() { c.bucket.close() }

// Get returns what is known about a customer and the revision to hand to
// CompareAndSet; nil when nothing is. What it returns may be a moment old and
// must not be changed. Whoever relies on the history being complete asks Ready
// after Get: CompareAndSet refuses the revision if it was lost in between.
func (c *Contacts) Get(ctx context.Context, customer string) (value []byte, revision uint64, err error) {
	if !validKey(customer) {
		return nil, 0, nextbest.Errorf(nextbest.Invalid, "contacts: %.140q is no pseudonym: letters, digits, - _ and =, up to 128", customer)
	}
	epoch := c.bucket.mark.Load().epoch
	kept, known := c.cache.get(customer)
	if known && !kept.outrun {
		if kept.revision>>epochShift == epoch {
			return kept.value, kept.revision, nil
		}
	}
	var it item
	if known && kept.outrun {
		it, err = c.bucket.getLeader(ctx, contactSubject+"k."+customer)
	} else {
		it, err = c.bucket.get(ctx, customer)
	}
	if err != nil {
		return nil, 0, err
	}
	return it.value, epoch<<epochShift | it.sequence, nil
}

// CompareAndSet replaces what is known about a customer if nobody has changed
// it since the revision was read, and returns the new revision; ok is false
// when somebody has: read again and decide again. After an error the value may
// or may not be stored.
func (c *Contacts) CompareAndSet(ctx context.Context, customer string, value []byte, revision uint64) (next uint64, ok bool, err error) {
	if !validKey(customer) {
		return 0, false, nextbest.Errorf(nextbest.Invalid, "contacts: %.140q is no pseudonym: letters, digits, - _ and =, up to 128", customer)
	}
	epoch := revision >> epochShift
	if epoch != c.bucket.mark.Load().epoch {
		c.cache.drop(customer)
		return 0, false, nil
	}
	sequence, ok, err := c.bucket.cas(ctx, customer, value, revision&(1<<epochShift-1), c.opts.Keep, nil)
	if err == nil && ok && c.bucket.mark.Load().epoch != epoch {
		err = nextbest.Errorf(nextbest.Unavailable, "the contact history was lost when its server restarted and is being rebuilt; try again")
	}
	switch {
	case err != nil:
		c.cache.drop(customer)
		return 0, false, err
	case !ok:
		c.cache.outrun(customer)
		return 0, false, nil
	}
	next = epoch<<epochShift | sequence
	c.cache.put(customer, value, next)
	return next, true, nil
}

// Ready reports whether the history is complete: true from the moment a rebuild
// has finished until the history is lost again. All replicas agree within
// Options.Poll; see Get for the order in which to ask.
func (c *Contacts) Ready() bool { return c.bucket.mark.Load().Ready }

// Kept reports whether the history is still the one in which the revision was
// written; false when it was lost since. Unlike Ready it asks the bucket itself.
func (c *Contacts) Kept(ctx context.Context, revision uint64) (bool, error) {
	if err := c.bucket.refresh(ctx); err != nil {
		return false, err
	}
	return c.bucket.mark.Load().epoch == revision>>epochShift, nil
}

// Generation names the life of the bucket: another one means that everything
// before was lost.
func (c *Contacts) Generation() string { return c.bucket.mark.Load().Generation }

// Load puts one customer's rebuilt history into the bucket, merged with what is
// there. Safe for concurrent use.
type Load func(ctx context.Context, customer string, value []byte) error

// Run keeps watch until ctx ends. Whenever the history is not ready, one replica
// calls rebuild, which loads every customer that has contacts within the
// longest window, and then declares the history ready; a replica that dies over
// it is replaced after Options.Lease.
func (c *Contacts) Run(ctx context.Context, rebuild func(ctx context.Context, load Load) error) error {
	k := keeper{bucket: c.bucket, what: "contacts", id: c.id, poll: c.opts.Poll, lease: c.opts.Lease, log: c.opts.Logger}
	return k.run(ctx, func(ctx context.Context, epoch uint64) error {
		return rebuild(ctx, func(ctx context.Context, customer string, value []byte) error {
			return c.load(ctx, epoch, customer, value)
		})
	})
}

// load puts value there if the customer is absent and merges otherwise.
func (c *Contacts) load(ctx context.Context, epoch uint64, customer string, value []byte) error {
	revision, merged := epoch<<epochShift, value
	for {
		if epoch != c.bucket.mark.Load().epoch {
			return nextbest.Errorf(nextbest.Unavailable, "contacts: the bucket was lost again during its rebuild")
		}
		_, ok, err := c.CompareAndSet(ctx, customer, merged, revision)
		if err != nil || ok {
			return err
		}
		var current []byte
		if current, revision, err = c.Get(ctx, customer); err != nil {
			return err
		}
		merged = value
		if revision&(1<<epochShift-1) != 0 {
			if merged, err = c.opts.Merge(current, value); err != nil {
				return nextbest.Errorf(nextbest.Internal, "contacts: merging the history of %s: %w", customer, err)
			}
		}
	}
}
