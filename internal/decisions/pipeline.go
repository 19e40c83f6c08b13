package decisions

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"nextbest"
)

// Journal records decisions; it returns when they are durable. Recording the
// same decision again must change nothing.
type Journal interface {
	Decisions(ctx context.Context, decisions []nextbest.Decision) (position uint64, err error)
}

// Log reads recorded decisions back. ok false means that it is not there (yet).
type Log interface {
	ByID(ctx context.Context, id uuid.UUID, slot uint8) (d nextbest.Decision, ok bool, err error)
	// ByKey returns the slots of the first of a key's decisions within ClaimKept,
	// in their order, none where there is none. It must know everything that was
	// acknowledged before the call.
	ByKey(ctx context.Context, key string) (slots []nextbest.Decision, err error)
}

// Options says what a pipeline works with. Catalogue, Journal, Contacts,
// Claims and Log are required.
type Options struct {
	Catalogue   func() *Catalogue // the newest
	Journal     Journal
	Impressions Impressions // nil: impressions are refused
	Contacts    Contacts
	Claims      Claims
	Log         Log
	Clock       func() time.Time // nil: time.Now
	// Reservation is how long a contact counts that no impression confirms; 24h
	// when 0.
	Reservation time.Duration
	Tries       int // of the compare-and-set; 8 when 0
	// Remember is how many decisions are kept in memory, so that their
	// impressions need no look into the log; 65536 when 0.
	Remember   int
	MaxContext int // bytes of context and customer as canonical JSON; 65536 when 0
	// HistoryReady says whether the contact history is complete; it is asked
	// after each read of it. While it is not, actions with caps or cool-downs
	// are excluded. Nil: always.
	HistoryReady func() bool
	// HistoryKept says whether what was written to the contact history at a
	// revision is there still: false when the history was lost since. It asks
	// whoever knows for sure, and only about decisions whose record took long.
	// Nil: always.
	HistoryKept func(ctx context.Context, revision uint64) (bool, error)
	// ClaimsReady says whether every claim of the last ClaimKept is there; it is
	// asked before and after each claim. While it is not, the log is asked about
	// the key. Nil: always.
	ClaimsReady func() bool
	Logger      *slog.Logger // nil: discard
}

// Pipeline makes decisions. It is safe for concurrent use.
type Pipeline struct {
	o      Options
	mint   Minter
	work   sync.Pool
	turns  turns
	recent *recent

	relaxed   chan struct{} // a slot for each decision answered before it is durable
	waiting   sync.WaitGroup
	pending   chan pendingImpression
	conflicts atomic.Uint64
}

// NewPipeline returns a pipeline, or an error that names what is missing.
func NewPipeline(o Options) (*Pipeline, error) {
	var p nextbest.Problems
	for name, missing := range map[string]bool{"Catalogue": o.Catalogue == nil, "Journal": o.Journal == nil, "Contacts": o.Contacts == nil, "Claims": o.Claims == nil, "Log": o.Log == nil} {
		if missing {
			p.Add(name, "is required")
		}
	}
	if err := p.Err("pipeline options"); err != nil {
		return nil, err
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Reservation <= 0 {
		o.Reservation = 24 * time.Hour
	}
	if o.Tries <= 0 {
		o.Tries = 8
	}
	if o.Remember <= 0 {
		o.Remember = 1 << 16
	}
	if o.MaxContext <= 0 {
		o.MaxContext = 1 << 16
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.HistoryReady == nil {
		o.HistoryReady = func() bool { return true }
	}
	if o.ClaimsReady == nil {
		o.ClaimsReady = func() bool { return true }
	}
	pl := &Pipeline{o: o, turns: turns{seed: maphash.MakeSeed()}, recent: newRecent(o.Remember), relaxed: make(chan struct{}, 1024), pending: make(chan pendingImpression, 4096)}
	pl.work.New = func() any { return new(work) }
	return pl, nil
}

// Conflicts returns how many compare-and-sets of contact histories found that
// somebody else had been first.
func (p *Pipeline) Conflicts() uint64 { return p.conflicts.Load() }

// Drain waits until the records of all relaxed calls are durable or given up.
// No call may start after it.
func (p *Pipeline) Drain(ctx context.Context) error {
	done := make(chan struct{})
	go func() { p.waiting.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return nextbest.Errorf(nextbest.Unavailable, "decisions are not all recorded: %w", ctx.Err())
	}
}

// Decide makes one decision, of as many slots as the placement has. Errors: nextbest.NotFound for an unknown
// placement, Invalid naming the field for a bad call, TooLarge, Conflict for a
// key used with another call, Unavailable when an engine is away or the
// customer's history changed too often. After an error nothing is recorded,
// except that a contact may stay reserved until it expires.
func (p *Pipeline) Decide(ctx context.Context, call Call) (Answer, error) {
	c := p.o.Catalogue()
	pl, err := c.placement(call.Placement)
	if err != nil {
		return Answer{}, err
	}
	if err := checkKey(call.Key); err != nil {
		return Answer{}, err
	}
	if c.salt == "" {
		return Answer{}, nextbest.Errorf(nextbest.Unavailable, "secret %q is not defined, so nothing can be drawn; start the server once to create it", SecretFirstSalt)
	}
	w := p.work.Get().(*work)
	defer p.work.Put(w)
	w.now = p.o.Clock().UTC().Truncate(time.Microsecond)
	if err := w.prepare(c, pl, &call, p.o.MaxContext); err != nil {
		return Answer{}, err
	}
	body := ""
	if call.Key != "" {
		body = bodyHash(&call, w.customer, w.canonical.buf)
	}
	w.input.SetNow(w.now)
	w.assign(c, pl)
	id := p.mint.Mint(w.now)
	w.reserved = reservation{}
	if pl.tracked {
		err = p.decideTracked(ctx, c, pl, w, id)
	} else {
		w.contacts = w.contacts[:0]
		err = w.decideSlots(c, pl, id, p.o.Reservation)
	}
	if err != nil {
		return Answer{}, err
	}
	rows := w.rows
	w.rows = nil // they are kept
	for i := range rows {
		rows[i].Key, rows[i].Body = call.Key, body
	}
	several := pl.slots > 1
	if call.Key != "" {
		first, won, err := p.claim(ctx, rows)
		if err != nil || !won {
			if pl.tracked {
				p.release(ctx, &rows[0])
			}
			if err != nil {
				return Answer{}, err
			}
			return p.repeat(ctx, first, body, several)
		}
	}
	for i := range rows {
		p.recent.put(&rows[i], pl.tracked)
	}
	if call.Relaxed {
		return answer(rows, several, false, false), p.later(ctx, rows, w.reserved)
	}
	if _, err := p.o.Journal.Decisions(ctx, rows); err != nil {
		return Answer{}, unavailable("the journal", err)
	}
	if err := p.keep(ctx, w.reserved); err != nil {
		return Answer{}, err
	}
	if call.Key != "" {
		p.shrink(ctx, rows)
	}
	return answer(rows, several, true, false), nil
}

// decideTracked decides with the customer's history: read, decide every slot,
// compare and set once, whatever was drawn, do-nothing included; on conflict
// everything is done again with the same uniform numbers. Were only some draws written, only those
// could be retried, and the logged propensities would be biased.
func (p *Pipeline) decideTracked(ctx context.Context, c *Catalogue, pl *placement, w *work, id uuid.UUID) error {
	turn := p.turns.of(w.customer)
	turn.Lock()
	defer turn.Unlock()
	for range p.o.Tries {
		last, revision, err := p.o.Contacts.Get(ctx, w.customer)
		if err != nil {
			return unavailable("the contact history", err)
		}
		w.loading = !p.o.HistoryReady()
		if w.contacts, err = readContacts(w.contacts[:0], last, c.names); err != nil {
			return err
		}
		w.contacts = trim(w.contacts, w.now, c.window)
		if err := w.decideSlots(c, pl, id, p.o.Reservation); err != nil {
			return err
		}
		value := appendContacts(make([]byte, 0, len(last)+128), w.contacts)
		next, ok, err := p.o.Contacts.CompareAndSet(ctx, w.customer, value, revision)
		if err != nil {
			return unavailable("the contact history", err)
		}
		if ok {
			w.reserved.customer, w.reserved.revision, w.reserved.at = w.customer, next, time.Now()
			return nil
		}
		p.conflicts.Add(1)
	}
	return nextbest.Errorf(nextbest.Unavailable, "the customer's contact history changed %d times while this call was decided; try again", p.o.Tries)
}

// later records a relaxed call's decision in the background, at most as many
// at a time as there are slots.
func (p *Pipeline) later(ctx context.Context, rows []nextbest.Decision, r reservation) error {
	select {
	case p.relaxed <- struct{}{}:
	case <-ctx.Done():
		return unavailable("the journal", ctx.Err())
	}
	p.waiting.Go(func() {
		defer func() { <-p.relaxed }()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		for pause := 50 * time.Millisecond; ; pause *= 2 {
			_, err := p.o.Journal.Decisions(ctx, rows)
			if err == nil {
				if err := p.keep(ctx, r); err != nil {
					p.o.Logger.Warn("a contact was answered for before the contact history was lost", "decision", rows[0].ID, "error", err)
				}
				return
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				p.o.Logger.Error("a relaxed decision was answered and could not be recorded", "decision", rows[0].ID, "error", err)
				return
			}
		}
	})
	return nil
}

// unavailable classifies an engine's error: what carries a code keeps it.
func unavailable(what string, err error) error {
	var e *nextbest.Error
	if errors.As(err, &e) && e.Code != nextbest.Internal {
		return err
	}
	return nextbest.Errorf(nextbest.Unavailable, "%s is away: %w", what, err)
}
