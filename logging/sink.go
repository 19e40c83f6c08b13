package logging

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// SinkOptions says how the sink carries the journal into ClickHouse.
type SinkOptions struct {
	Logger     *slog.Logger  // default: slog.Default
	FlushEvery time.Duration // longest wait of a row for its insert; default 250 ms
	// FlushBusy is the longest wait while rows come fast (busyRows within
	// FlushEvery), counted from when the journal took the row; default 1 s. Few
	// large inserts cost ClickHouse half of what many small ones do.
	FlushBusy time.Duration
	FlushRows int // rows that do not wait any longer; default 50,000
	// KeepFor is how long the journal keeps messages that ClickHouse has
	// already, room permitting; default 24 h, negative: not at all.
	KeepFor    time.Duration
	PurgeEvery time.Duration // default 1 min
}

// consumerName is the durable consumer that all sinks of a journal share.
const consumerName = "sink"

// ackWait is after what time a message goes to another sink, or to the same one
// again: how long P may stand still after a crash.
const ackWait = 5 * time.Second

// busyRows are the rows within FlushEvery that make it worth waiting for more.
const busyRows = 1000

// newerPause is how long a message of a newer program waits for a sink that can
// read it.
const newerPause = 5 * time.Second

// Sink carries the journal into ClickHouse. Several may run at once, on one
// replica each: they share the work, and what two of them insert is there once.
type Sink struct {
	journal *Journal
	store   *Store
	opts    SinkOptions
	log     *slog.Logger

	decisions   *decisionColumns
	impressions *impressionColumns
	rewards     *rewardColumns
	events      Events
	batch       []jetstream.Msg // what the columns hold
	due         time.Time       // of the batch's insert, when rows come fast

	position atomic.Uint64
	moved    chan struct{} // closed and replaced under mu when position grows
	mu       sync.Mutex
	failing  error // what the sink is retrying now, nil when all is well
	failedAt time.Time

	inserts, rows, retries, dead atomic.Uint64
	pendingMessages              atomic.Uint64
	lastInsert                   atomic.Int64 // nanoseconds that the newest flush took
}

// NewSink returns a sink that Run starts.
func NewSink(j *Journal, s *Store, opts SinkOptions) *Sink {
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	opts.FlushEvery = defaultTo(opts.FlushEvery, 250*time.Millisecond)
	opts.FlushBusy = defaultTo(opts.FlushBusy, time.Second)
	opts.FlushRows = defaultTo(opts.FlushRows, 50_000)
	opts.KeepFor = defaultTo(opts.KeepFor, 24*time.Hour)
	opts.PurgeEvery = defaultTo(opts.PurgeEvery, time.Minute)
	return &Sink{
		journal: j, store: s, opts: opts, log: opts.Logger,
		decisions: newDecisionColumns(), impressions: newImpressionColumns(), rewards: newRewardColumns(),
		moved: make(chan struct{}),
	}
}

// Run carries rows until ctx ends. Whatever fails is retried with growing
// pauses, for ever: the journal holds what ClickHouse does not take. What was
// gathered when ctx ends is left to the next run. Run is called once.
func (s *Sink) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.watch(ctx) })
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		start := time.Now()
		err := s.consume(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(start) > time.Minute {
			pause = 100 * time.Millisecond
		}
		s.failed("read the journal", err)
		if !sleep(ctx, pause) {
			return nil
		}
	}
}

// consumer returns the durable consumer that all sinks share.
func (s *Sink) consumer(ctx context.Context) (jetstream.Consumer, error) {
	return s.journal.stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: consumerName, Description: "carries the journal into ClickHouse",
		DeliverPolicy: jetstream.DeliverAllPolicy,
		// Each message by itself: acknowledging all up to one would acknowledge
		// what another sink has not inserted yet.
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait,
		MaxDeliver: -1, MaxAckPending: 10_000,
	})
}

// consume gathers messages and flushes them until something fails.
func (s *Sink) consume(ctx context.Context) error {
	defer s.giveBack()
	consumer, err := s.consumer(ctx)
	if err != nil {
		return err
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessagesWithBytesLimit(4096, 16<<20))
	if err != nil {
		return err
	}
	// The iterator blocks, so it has a goroutine of its own. At the end it hands
	// back what it has fetched ahead.
	arrived := make(chan jetstream.Msg)
	failed := make(chan error, 1)
	done := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer messages.Drain()
	defer close(done)
	wg.Go(func() {
		for {
			msg, err := messages.Next()
			if err != nil {
				failed <- err
				return
			}
			select {
			case arrived <- msg:
			case <-done:
				_ = msg.Nak() // without it, the message comes again after ackWait
			}
		}
	})

	timer := time.NewTimer(time.Hour)
	timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-failed:
			return err
		case msg := <-arrived:
			if len(s.batch) == 0 {
				timer.Reset(s.opts.FlushEvery)
			}
			if err := s.take(ctx, msg); err != nil {
				return err
			}
			if s.gathered() < s.opts.FlushRows {
				continue
			}
		case <-timer.C:
			if left := time.Until(s.due); left > 0 && s.gathered() >= busyRows {
				timer.Reset(left)
				continue
			}
		}
		timer.Stop()
		if err := s.flush(ctx); err != nil {
			return err
		}
	}
}

// gathered returns the rows that the columns hold.
func (s *Sink) gathered() int {
	return s.decisions.rows() + s.impressions.rows() + s.rewards.rows()
}

// take adds the rows of one message to the columns.
func (s *Sink) take(ctx context.Context, msg jetstream.Msg) error {
	meta, err := msg.Metadata()
	if err != nil {
		return err
	}
	position := meta.Sequence.Stream
	if len(s.batch) == 0 {
		// Part of the wait may have passed behind the insert before. The clock of
		// the server is not trusted beyond that.
		s.due = time.Now().Add(min(s.opts.FlushBusy, s.opts.FlushBusy-time.Since(meta.Timestamp)))
	}
	ev := &s.events
	ev.Decisions, ev.Impressions, ev.Rewards = ev.Decisions[:0], ev.Impressions[:0], ev.Rewards[:0]
	switch err := decode(msg.Data(), ev); {
	case errors.Is(err, errNewer):
		// Another replica is newer than this one: the message is its to take.
		s.failed(fmt.Sprintf("decode journal position %d", position), err)
		return msg.NakWithDelay(newerPause)
	case err != nil:
		if err := s.bury(ctx, msg, position, err); err != nil {
			return err
		}
	}
	for i := range ev.Decisions {
		s.decisions.append(position, i, &ev.Decisions[i])
	}
	for i := range ev.Impressions {
		s.impressions.append(position, i, &ev.Impressions[i])
	}
	for i := range ev.Rewards {
		s.rewards.append(position, i, &ev.Rewards[i])
	}
	s.batch = append(s.batch, msg)
	return nil
}

// bury keeps a message that cannot be decoded in the dead letters' stream.
func (s *Sink) bury(ctx context.Context, msg jetstream.Msg, position uint64, cause error) error {
	letter := &nats.Msg{Subject: deadSubjectOf(s.journal.opts.Name), Data: msg.Data(), Header: nats.Header{}}
	letter.Header.Set("Nextbest-Position", fmt.Sprint(position))
	letter.Header.Set("Nextbest-Error", cause.Error())
	_, err := s.journal.js.PublishMsg(ctx, letter, jetstream.WithMsgID(fmt.Sprintf("%s/%d", s.journal.opts.Name, position)))
	if err != nil {
		return fmt.Errorf("journal position %d cannot be decoded (%w) and not be put aside either: %w", position, cause, err)
	}
	s.dead.Add(1)
	s.log.Error("a journal message cannot be decoded and is now a dead letter", "position", position, "bytes", len(msg.Data()), "error", cause, "stream", deadStreamOf(s.journal.opts.Name))
	return nil
}

// flush inserts what was gathered, for as long as that takes, and then
// acknowledges it to the journal.
func (s *Sink) flush(ctx context.Context) error {
	if len(s.batch) == 0 {
		return nil
	}
	// With ClickHouse away for long, the journal would hand out the same
	// messages again; telling it that work goes on prevents that.
	extended := time.Now()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		start := time.Now()
		err := s.insert(ctx)
		if err == nil {
			s.lastInsert.Store(int64(time.Since(start)))
			break
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.retries.Add(1)
		s.failed("insert into ClickHouse", err)
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
		if time.Since(extended) > ackWait/3 {
			extended = time.Now()
			for _, msg := range s.batch {
				if err := msg.InProgress(); err != nil {
					return err
				}
			}
		}
	}
	for i, msg := range s.batch {
		var err error
		if i == len(s.batch)-1 {
			err = msg.DoubleAck(ctx) // so that the floor read below counts them all
		} else {
			err = msg.Ack()
		}
		if err != nil {
			return err // they come again, and the rows replace themselves
		}
	}
	s.drop()
	s.recovered()
	return s.refresh(ctx)
}

// insert makes one insert for each table that has rows.
func (s *Sink) insert(ctx context.Context) error {
	for _, in := range []*inserter{&s.decisions.inserter, &s.impressions.inserter, &s.rewards.inserter, s.reports()} {
		if in.rows() == 0 {
			continue
		}
		if err := s.store.insert(ctx, in); err != nil {
			return err
		}
		s.inserts.Add(1)
	}
	s.rows.Add(uint64(s.gathered()))
	return nil
}

// reports returns the rewards once more, for the table that keeps every report.
func (s *Sink) reports() *inserter {
	return &inserter{table: tableRewardReports, input: s.rewards.input}
}

// giveBack returns what was gathered and not acknowledged to the journal.
func (s *Sink) giveBack() {
	for _, msg := range s.batch {
		_ = msg.Nak() // without it, the message comes again after ackWait
	}
	s.drop()
}

// drop forgets what was gathered.
func (s *Sink) drop() {
	clear(s.batch)
	s.batch = s.batch[:0]
	s.decisions.reset()
	s.impressions.reset()
	s.rewards.reset()
}

func (s *Sink) failed(doing string, err error) {
	s.mu.Lock()
	s.failing, s.failedAt = err, time.Now()
	s.mu.Unlock()
	s.log.Warn("the sink retries", "doing", doing, "error", err)
}

func (s *Sink) recovered() {
	s.mu.Lock()
	before := s.failing
	if errors.Is(before, errNewer) && time.Since(s.failedAt) < 2*newerPause {
		s.mu.Unlock()
		return // that message still waits for a newer program
	}
	s.failing = nil
	s.mu.Unlock()
	if before != nil {
		s.log.Info("the sink works again", "position", s.Position())
	}
}

// sleep waits and reports whether ctx still lives.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
