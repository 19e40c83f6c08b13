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
	tick := time.NewTicker(c.opts.Poll)
	defer tick.Stop()
	var seen uint64 // marker's sequence, and since when it has been the same
	since := time.Now()
	for {
		if err := c.bucket.refresh(ctx); err != nil && ctx.Err() == nil {
			c.opts.Logger.Warn("contacts: the bucket cannot be reached", "error", err)
		}
		m := c.bucket.mark.Load()
		if m.sequence != seen {
			seen, since = m.sequence, time.Now()
		}
		if !m.Ready && ctx.Err() == nil && (m.Holder == "" || time.Since(since) > c.opts.Lease) {
			if err := c.rebuild(ctx, m, rebuild); err != nil && ctx.Err() == nil {
				c.opts.Logger.Error("contacts: the history could not be rebuilt; it will be tried again", "error", err)
				select {
				case <-ctx.Done():
				case <-time.After(c.opts.Poll):
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-c.bucket.hint:
		}
	}
}

// rebuild claims the work by putting this replica into the marker, does it
// while the marker shows that it is alive, and sets the history ready.
func (c *Contacts) rebuild(ctx context.Context, m *mark, fill func(context.Context, Load) error) error {
	claim := m.marker
	claim.Holder, claim.Beat = c.id, m.Beat+1
	won, err := c.bucket.putMarker(ctx, claim, m.sequence)
	if err != nil || !won {
		return err
	}
	if err := c.bucket.refresh(ctx); err != nil {
		return err
	}
	mine := c.bucket.mark.Load()
	if mine.Generation != m.Generation || mine.Holder != c.id {
		return nil // lost or taken over already
	}
	work, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	alive := make(chan struct{})
	go func() {
		defer close(alive)
		c.beat(work, cancel)
	}()
	err = fill(work, func(ctx context.Context, customer string, value []byte) error {
		return c.load(ctx, mine.epoch, customer, value)
	})
	cause := context.Cause(work)
	cancel(nil)
	<-alive
	if cause != nil && ctx.Err() == nil {
		return cause
	}
	now := c.bucket.mark.Load()
	if now.Generation != m.Generation || now.Holder != c.id {
		return nextbest.Errorf(nextbest.Unavailable, "contacts: the rebuild was overtaken")
	}
	done := now.marker
	done.Holder, done.Beat, done.Ready = "", 0, err == nil
	if _, put := c.bucket.putMarker(context.WithoutCancel(ctx), done, now.sequence); put != nil && err == nil {
		err = put
	}
	if refreshed := c.bucket.refresh(context.WithoutCancel(ctx)); refreshed != nil && err == nil {
		err = refreshed
	}
	return err
}

// beat keeps the marker changing while the rebuild works, and cancels the work
// when the marker is no longer this replica's.
func (c *Contacts) beat(ctx context.Context, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(c.opts.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		m := c.bucket.mark.Load()
		next := m.marker
		next.Beat++
		won := m.Holder == c.id
		var err error
		if won {
			won, err = c.bucket.putMarker(ctx, next, m.sequence)
		}
		if err == nil {
			err = c.bucket.refresh(ctx)
		}
		if ctx.Err() == nil && err == nil && (!won || c.bucket.mark.Load().Holder != c.id) {
			cancel(nextbest.Errorf(nextbest.Unavailable, "contacts: another replica has taken over the rebuild"))
			return
		}
	}
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
