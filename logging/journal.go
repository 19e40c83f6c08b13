package logging

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"nextbest"
)

// JournalOptions says where and how the journal is kept. The zero value is a
// single copy under the default name.
type JournalOptions struct {
	// Name of the stream; the dead letters' stream adds _DEAD. Default:
	// NEXTBEST_JOURNAL.
	Name string
	// Replicas of the stream on a NATS cluster: 1, 3 or 5. Default: 1.
	Replicas int
	// MaxBytes bounds the stream on disk; when it is full, events are refused
	// until the sink has caught up. Default: 8 GiB, or less where the server
	// does not offer as much.
	MaxBytes int64
	// After is where a stream that does not exist yet continues, so that
	// positions grow for the life of the ClickHouse database: Store.Position.
	// An existing journal that ends before it is refused.
	After uint64

	GroupEvents int           // events that share one message; default 256
	GroupBytes  int           // bytes that share one message; default 512 KiB
	InFlight    int           // messages of groups under way at once; default 1
	Wait        time.Duration // how long a message is retried until its callers get Unavailable; default 10 s
	MaxQueued   int64         // bytes of groups that wait, beyond which callers get Unavailable at once; default 64 MiB
}

func (o *JournalOptions) validate() error {
	o.Name = defaultTo(o.Name, "NEXTBEST_JOURNAL")
	o.Replicas = defaultTo(o.Replicas, 1)
	o.GroupEvents = defaultTo(o.GroupEvents, 256)
	o.GroupBytes = defaultTo(o.GroupBytes, 512<<10)
	o.InFlight = defaultTo(o.InFlight, 1)
	o.Wait = defaultTo(o.Wait, 10*time.Second)
	o.MaxQueued = defaultTo(o.MaxQueued, 64<<20)
	var p nextbest.Problems
	if strings.ContainsAny(o.Name, ".*> \t\r\n/\\") {
		p.Add("name", "%q may not hold dots, stars, blanks or slashes", o.Name)
	}
	if o.Replicas != 1 && o.Replicas != 3 && o.Replicas != 5 {
		p.Add("replicas", "%d; take 1, 3 or 5", o.Replicas)
	}
	if o.MaxBytes < 0 || o.MaxBytes > 0 && o.MaxBytes < 1<<20 {
		p.Add("max_bytes", "%d; take at least 1 MiB", o.MaxBytes)
	}
	if o.GroupEvents < 1 || o.GroupEvents > maxWireItems {
		p.Add("group_events", "%d; take 1 to %d", o.GroupEvents, maxWireItems)
	}
	if o.GroupBytes < 1 || o.InFlight < 1 || o.MaxQueued < 1 {
		p.Add("group_bytes, in_flight, max_queued", "must be positive")
	}
	if o.Wait < 0 || o.Wait > duplicateWindow/2 {
		p.Add("wait", "%s; a retry is recognised within %s, so take at most half of that", o.Wait, duplicateWindow)
	}
	return p.Err("the journal's configuration")
}

func defaultTo[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// duplicateWindow is how long JetStream recognises a batch id that it has
// stored already.
const duplicateWindow = 2 * time.Minute

// gatherRows is the largest call that shares a message with others. A larger
// one is encoded by its caller and travels alone.
const gatherRows = 64

// Journal is the durable log of events in front of ClickHouse. Its methods
// return once the events are on disk, and are safe for concurrent use.
type Journal struct {
	js         jetstream.JetStream
	opts       JournalOptions
	stream     jetstream.Stream
	subject    string
	maxMessage int    // bytes that one message may have
	instance   string // makes batch ids of this journal unlike any other's
	serial     atomic.Uint64

	life context.Context // ends when Close gives up waiting
	end  context.CancelFunc
	wg   sync.WaitGroup // publishers
	big  chan struct{}  // places for messages that travel alone

	mu       sync.Mutex
	pending  *group   // gathers rows
	ready    []*group // full groups, oldest first
	queued   int64    // bytes in ready
	inFlight int
	closed   bool

	messages, events, failures atomic.Uint64
	failed                     atomic.Int64 // nanoseconds of the newest message given up; 0 since one was stored
}

// group is a message that several callers share.
type group struct {
	enc  *encoder
	done chan struct{} // closed when position and err are set

	position uint64
	err      error
}

var encoders = sync.Pool{New: func() any { return new(encoder) }}

// OpenJournal opens the journal's streams, which it creates when they are
// missing.
func OpenJournal(ctx context.Context, js jetstream.JetStream, opts JournalOptions) (*Journal, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	stream, err := openStream(ctx, js, &opts)
	if err != nil {
		return nil, err
	}
	j := &Journal{
		js: js, opts: opts, stream: stream, subject: subjectOf(opts.Name),
		// Headers travel within the payload's limit.
		maxMessage: int(js.Conn().MaxPayload()) - 1024,
		instance:   strconv.FormatUint(rand.Uint64(), 36) + "-",
		big:        make(chan struct{}, 4),
	}
	j.opts.GroupBytes = min(j.opts.GroupBytes, j.maxMessage)
	j.life, j.end = context.WithCancel(context.Background())
	return j, nil
}

// MaxMessage returns the bytes that one call of Rewards may take when encoded.
func (j *Journal) MaxMessage() int { return j.maxMessage }

// Last returns the position of the newest message, which may be one that was
// purged already.
func (j *Journal) Last(ctx context.Context) (uint64, error) {
	info, err := j.stream.Info(ctx)
	if err != nil {
		return 0, journalError("read the last position", err)
	}
	return info.State.LastSeq, nil
}

// JournalStats counts what the journal has done since it was opened.
type JournalStats struct {
	Messages uint64 // stored
	Events   uint64 // stored
	Failures uint64 // messages given up
	Queued   int64  // bytes that wait for their turn
}

// Stats returns the counters.
func (j *Journal) Stats() JournalStats {
	j.mu.Lock()
	queued := j.queued
	j.mu.Unlock()
	return JournalStats{Messages: j.messages.Load(), Events: j.events.Load(), Failures: j.failures.Load(), Queued: queued}
}

// Close refuses new events and waits until those under way are durable or have
// failed; when ctx ends first, it gives them up.
func (j *Journal) Close(ctx context.Context) error {
	j.mu.Lock()
	j.closed = true
	j.mu.Unlock()
	defer j.end()
	idle := make(chan struct{})
	go func() {
		j.wg.Wait()
		close(idle)
	}()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		j.end()
		<-idle
		return fmt.Errorf("the journal was closed while events were under way: %w", ctx.Err())
	}
}

// gather adds rows to the message that gathers now, publishes it at once when
// nothing is in flight, and waits until it is durable. What put appends is one
// unit: it is never split over two messages. put runs under the journal's lock
// and is done when gather returns, even if the context has ended by then.
func (j *Journal) gather(ctx context.Context, what string, put func(*encoder)) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	j.mu.Lock()
	if err := j.refusal(); err != nil {
		j.mu.Unlock()
		return 0, err
	}
	g := j.open()
	before := g.enc.mark()
	put(g.enc)
	if g.enc.rows > j.opts.GroupEvents || len(g.enc.buf) > j.opts.GroupBytes {
		if before.rows > 0 {
			g.enc.rollback(before)
			j.seal()
			g = j.open()
			before = g.enc.mark()
			put(g.enc)
		}
		if n := len(g.enc.buf); n > j.maxMessage {
			g.enc.rollback(before)
			j.mu.Unlock()
			return 0, tooLarge(what, n, j.maxMessage)
		}
	}
	if g.enc.rows >= j.opts.GroupEvents || len(g.enc.buf) >= j.opts.GroupBytes {
		j.seal()
	}
	if j.inFlight < j.opts.InFlight {
		j.inFlight++
		j.wg.Add(1)
		go j.publishGroups()
	}
	j.mu.Unlock()

	select {
	case <-g.done:
		return g.position, g.err
	case <-ctx.Done():
		return 0, nextbest.Errorf(nextbest.Unavailable, "the caller gave up waiting for the journal, so the events may or may not be recorded: %w", ctx.Err())
	}
}

// refusal says why the journal takes nothing now. The caller holds the lock.
func (j *Journal) refusal() error {
	switch {
	case j.closed:
		return nextbest.Errorf(nextbest.Unavailable, "the journal is closed: the program is shutting down")
	case j.failed.Load() != 0 && !j.js.Conn().IsConnected():
		return nextbest.Errorf(nextbest.Unavailable, "the journal is away: there is no connection to NATS")
	case j.queued > j.opts.MaxQueued:
		return nextbest.Errorf(nextbest.Unavailable, "the journal is overloaded: %d MiB wait for the disk; try again in a moment", j.queued>>20)
	}
	return nil
}

// open returns the group that gathers. The caller holds the lock.
func (j *Journal) open() *group {
	if j.pending == nil {
		j.pending = &group{enc: encoders.Get().(*encoder), done: make(chan struct{})}
		j.pending.enc.reset()
	}
	return j.pending
}

// seal ends the group that gathers. The caller holds the lock.
func (j *Journal) seal() {
	j.ready = append(j.ready, j.pending)
	j.queued += int64(len(j.pending.enc.buf))
	j.pending = nil
}

// next returns the group to publish next, nil when there is none.
func (j *Journal) next() *group {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.ready) > 0 {
		g := j.ready[0]
		j.ready[0] = nil
		j.ready = j.ready[1:]
		j.queued -= int64(len(g.enc.buf))
		return g
	}
	// A group whose only call was refused as too large is empty.
	if g := j.pending; g != nil && g.enc.rows > 0 {
		j.pending = nil
		return g
	}
	j.inFlight--
	return nil
}

func (j *Journal) publishGroups() {
	defer j.wg.Done()
	for g := j.next(); g != nil; g = j.next() {
		g.position, g.err = j.publish(g.enc)
		encoders.Put(g.enc)
		g.enc = nil
		close(g.done)
	}
}

// alone publishes a message that no other caller shares.
func (j *Journal) alone(ctx context.Context, enc *encoder) (uint64, error) {
	select {
	case j.big <- struct{}{}:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	defer func() { <-j.big }()
	j.mu.Lock()
	err := j.refusal()
	if err == nil {
		j.wg.Add(1)
	}
	j.mu.Unlock()
	if err != nil {
		return 0, err
	}
	defer j.wg.Done()
	return j.publish(enc)
}

// Patience with a journal that does not answer.
const (
	attemptWait = 3 * time.Second // for one acknowledgement
	awayWait    = 2 * time.Second // for a connection that is lost
	failingFor  = 5 * time.Second // after the newest failure
)

// Failing reports whether the newest message, a moment ago, could not be stored.
func (j *Journal) Failing() bool {
	at := j.failed.Load()
	return at != 0 && time.Since(time.Unix(0, at)) < failingFor
}

// publish stores one message and returns its position. It retries under the
// same id, which JetStream recognises, and gives up after opts.Wait; after one
// attempt when the message before was given up, so that callers are not kept
// while everybody knows.
func (j *Journal) publish(enc *encoder) (position uint64, err error) {
	defer func() {
		if err != nil {
			j.failed.Store(time.Now().UnixNano())
		} else if j.failed.Load() != 0 {
			j.failed.Store(0)
		}
	}()
	id := j.instance + strconv.FormatUint(j.serial.Add(1), 36)
	msg := &nats.Msg{Subject: j.subject, Data: enc.message()}
	start, wait := time.Now(), j.opts.Wait
	if j.failed.Load() != 0 {
		wait = min(wait, attemptWait)
	}
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		// A new attempt needs a new header: the client adds to it.
		msg.Header = nats.Header{}
		ctx, cancel := context.WithTimeout(j.life, min(attemptWait, wait-time.Since(start)))
		ack, err := j.js.PublishMsg(ctx, msg, jetstream.WithMsgID(id), jetstream.WithExpectStream(j.opts.Name), jetstream.WithRetryAttempts(0))
		cancel()
		if err == nil {
			j.messages.Add(1)
			j.events.Add(uint64(enc.rows))
			return ack.Sequence, nil
		}
		if !j.js.Conn().IsConnected() {
			wait = min(wait, awayWait)
		}
		if j.life.Err() != nil || final(err) || time.Since(start)+pause > wait {
			j.failures.Add(1)
			return 0, journalError("record events", err)
		}
		time.Sleep(pause)
	}
}

// The server's codes for a stream or a disk that is full.
const (
	codeStoreFailed   jetstream.ErrorCode = 10077
	codeInsufficient  jetstream.ErrorCode = 10023
	codeStorageLimits jetstream.ErrorCode = 10047
)

// final reports whether another attempt would get the same answer.
func final(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == codeStoreFailed || api.ErrorCode == codeInsufficient || api.ErrorCode == codeStorageLimits)
}

// journalError says what a JetStream error means to a caller.
func journalError(doing string, err error) error {
	var api *jetstream.APIError
	switch {
	case final(err) && errors.As(err, &api):
		return nextbest.Errorf(nextbest.Unavailable, "the journal is full (%s): nothing is recorded until the sink has caught up with ClickHouse or the journal gets more room; %w", api.Description, err)
	case errors.Is(err, nats.ErrReconnectBufExceeded):
		return nextbest.Errorf(nextbest.Unavailable, "there is no connection to NATS: %s: %w", doing, err)
	case errors.Is(err, context.Canceled):
		return nextbest.Errorf(nextbest.Unavailable, "the journal is closing: %s: %w", doing, err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return nextbest.Errorf(nextbest.Unavailable, "the journal does not answer in time: %s: %w; the events may or may not be recorded, so retry with the same ids or Idempotency-Key", doing, err)
	}
	return nextbest.Errorf(nextbest.Unavailable, "journal: %s: %w", doing, err)
}

func tooLarge(what string, size, limit int) error {
	return nextbest.Errorf(nextbest.TooLarge, "%s takes %d bytes in the journal and one message holds %d: send it in smaller parts", what, size, limit)
}
