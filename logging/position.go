package logging

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/nats-io/nats.go/jetstream"
)

// insert writes the gathered rows as one block and returns when the server has
// it on disk (the tables' settings see to that). Deduplication is off: identical blocks are harmless, and the same
// token with other rows would drop them silently.
func (s *Store) insert(ctx context.Context, in *inserter) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	settings := []ch.Setting{
		ch.SettingInt("async_insert", 0),
		ch.SettingInt("insert_deduplicate", 0),
		// An import may span more months than the default of 100 allows.
		ch.SettingInt("max_partitions_per_insert_block", 0),
	}
	return storeError("insert into "+in.table, s.bulk(ctx, ch.Query{Body: in.input.Into(in.table), Input: in.input, Settings: settings}))
}

// Position returns P: everything up to this journal position is in ClickHouse.
// It never falls.
func (s *Sink) Position() uint64 { return s.position.Load() }

// WaitFor returns when ClickHouse holds everything up to a journal position,
// whichever replica's sink carries it.
func (s *Sink) WaitFor(ctx context.Context, position uint64) error {
	for {
		s.mu.Lock()
		moved := s.moved
		s.mu.Unlock()
		if s.position.Load() >= position {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			s.mu.Lock()
			failing := s.failing
			s.mu.Unlock()
			err := fmt.Errorf("ClickHouse holds the journal up to position %d, not yet up to %d: %w", s.position.Load(), position, ctx.Err())
			if failing != nil {
				err = fmt.Errorf("%w (the sink retries: %w)", err, failing)
			}
			return err
		}
	}
}

// refresh reads P: the consumer's acknowledgement floor, or the end of the
// stream when nothing is left to carry.
func (s *Sink) refresh(ctx context.Context) error {
	// The consumer first: what arrives between the two questions must not count
	// as carried.
	consumer, err := s.journal.stream.Consumer(ctx, consumerName)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil // no sink has run yet
	}
	if err != nil {
		return err
	}
	info := consumer.CachedInfo()
	floor := info.AckFloor.Stream
	if info.NumPending == 0 && info.NumAckPending == 0 {
		floor = max(floor, info.Delivered.Stream)
	}
	if floor == 0 {
		// Nothing was delivered yet; what is before the first message was purged
		// because ClickHouse has it, or belongs to an earlier journal.
		stream, err := s.journal.stream.Info(ctx)
		if err != nil {
			return err
		}
		if first := stream.State.FirstSeq; first > 0 {
			floor = first - 1
		}
	}
	s.pendingMessages.Store(info.NumPending + uint64(info.NumAckPending))
	s.advance(floor)
	return nil
}

func (s *Sink) advance(position uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if position > s.position.Load() {
		s.position.Store(position)
		close(s.moved)
		s.moved = make(chan struct{})
	}
}

// watch follows P, which other replicas' sinks move too, and purges the journal
// behind it.
func (s *Sink) watch(ctx context.Context) {
	var purged time.Time
	for sleep(ctx, 100*time.Millisecond) {
		if err := s.refresh(ctx); err != nil {
			continue // consume meets the same error and reports it
		}
		if time.Since(purged) >= s.opts.PurgeEvery {
			purged = time.Now()
			if err := s.purge(ctx, purged); err != nil && ctx.Err() == nil {
				s.log.Warn("the journal could not be purged", "error", err)
			}
		}
	}
}

// purge removes messages that ClickHouse holds and that are older than KeepFor,
// and younger ones too when the stream is more than half full.
func (s *Sink) purge(ctx context.Context, now time.Time) error {
	position := s.Position()
	info, err := s.journal.stream.Info(ctx)
	if err != nil {
		return err
	}
	state := info.State
	if state.Msgs == 0 || position < state.FirstSeq {
		return nil
	}
	keep := position + 1 // first message to keep
	if s.opts.KeepFor > 0 {
		if keep, err = s.firstSince(ctx, now.Add(-s.opts.KeepFor), state.FirstSeq, position+1); err != nil {
			return err
		}
	}
	if half := uint64(info.Config.MaxBytes) / 2; state.Bytes > half {
		// Messages differ in size; the next purge corrects the estimate.
		excess := float64(state.Bytes-half) / float64(state.Bytes)
		keep = max(keep, state.FirstSeq+uint64(excess*float64(state.Msgs))+1)
	}
	keep = min(keep, position+1)
	if keep <= state.FirstSeq {
		return nil
	}
	return s.journal.stream.Purge(ctx, jetstream.WithPurgeSequence(keep))
}

// firstSince returns the first position in [lo, hi] whose message is not older
// than t, hi when all of them are. Messages are ordered by time, so a binary
// search finds it.
func (s *Sink) firstSince(ctx context.Context, t time.Time, lo, hi uint64) (uint64, error) {
	for lo < hi {
		mid := lo + (hi-lo)/2
		msg, err := s.journal.stream.GetMsg(ctx, mid)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			lo = mid + 1 // another replica has purged it
		case err != nil:
			return 0, err
		case msg.Time.Before(t):
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return lo, nil
}

// SinkStats says how the sink is doing.
type SinkStats struct {
	Position    uint64 // P
	Last        uint64 // newest journal position
	Lag         uint64 // messages that are not in ClickHouse yet
	DeadLetters uint64 // messages that could not be decoded, of all replicas
	Rows        uint64 // inserted by this sink
	Inserts     uint64
	Retries     uint64        // inserts that failed and were tried again
	LastInsert  time.Duration // how long the newest flush took
	Bytes       uint64        // size of the journal
	MaxBytes    int64
	Error       string // what is being retried now; empty when all is well
}

// Stats returns the state of this sink and its journal.
func (s *Sink) Stats(ctx context.Context) (SinkStats, error) {
	info, err := s.journal.stream.Info(ctx)
	if err != nil {
		return SinkStats{}, journalError("read the journal's state", err)
	}
	dead, err := s.journal.js.Stream(ctx, deadStreamOf(s.journal.opts.Name))
	if err != nil {
		return SinkStats{}, journalError("read the dead letters' state", err)
	}
	st := SinkStats{
		Position: s.Position(), Last: info.State.LastSeq, Lag: s.pendingMessages.Load(),
		DeadLetters: dead.CachedInfo().State.Msgs,
		Rows:        s.rows.Load(), Inserts: s.inserts.Load(), Retries: s.retries.Load(),
		LastInsert: time.Duration(s.lastInsert.Load()),
		Bytes:      info.State.Bytes, MaxBytes: info.Config.MaxBytes,
	}
	s.mu.Lock()
	if s.failing != nil {
		st.Error = s.failing.Error()
	}
	s.mu.Unlock()
	return st, nil
}
