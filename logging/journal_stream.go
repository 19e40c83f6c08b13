package logging

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"nextbest"
)

// defaultMaxBytes is how much a journal may hold when nobody says: an outage of
// ClickHouse of twenty minutes at 10,000 decisions a second.
const defaultMaxBytes = 8 << 30

func subjectOf(name string) string     { return strings.ToLower(name) + ".events" }
func deadStreamOf(name string) string  { return name + "_DEAD" }
func deadSubjectOf(name string) string { return strings.ToLower(name) + ".dead" }

// openStream opens or creates the journal's stream and its dead letters'.
func openStream(ctx context.Context, js jetstream.JetStream, opts *JournalOptions) (jetstream.Stream, error) {
	stream, err := js.Stream(ctx, opts.Name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		stream, err = createStream(ctx, js, opts)
	case err == nil:
		err = updateStream(ctx, js, stream, opts)
	}
	if err != nil {
		return nil, openError(opts.Name, err)
	}
	if last := stream.CachedInfo().State.LastSeq; last < opts.After {
		return nil, nextbest.Errorf(nextbest.Conflict, "the journal %s ends at position %d and ClickHouse holds rows up to %d: the journal is older than the database, so new corrections would lose against old rows. Let the sink drain it, delete the stream and start again: it then continues after %[3]d", opts.Name, last, opts.After)
	}
	_, err = js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: deadStreamOf(opts.Name), Subjects: []string{deadSubjectOf(opts.Name)},
		Description: "messages of the journal " + opts.Name + " that could not be decoded",
		Storage:     jetstream.FileStorage, Replicas: opts.Replicas,
		MaxBytes: 64 << 20, MaxMsgs: -1, MaxMsgsPerSubject: -1, Discard: jetstream.DiscardNew, Duplicates: duplicateWindow,
	})
	if err != nil {
		return nil, openError(deadStreamOf(opts.Name), err)
	}
	return stream, nil
}

func openError(name string, err error) error {
	var known *nextbest.Error
	if errors.As(err, &known) {
		return err
	}
	return nextbest.Errorf(nextbest.Unavailable, "open the stream %s: %w", name, err)
}

func createStream(ctx context.Context, js jetstream.JetStream, opts *JournalOptions) (jetstream.Stream, error) {
	config := jetstream.StreamConfig{
		Name: opts.Name, Subjects: []string{subjectOf(opts.Name)},
		Description: "decisions, impressions and rewards on their way to ClickHouse",
		Storage:     jetstream.FileStorage, Replicas: opts.Replicas,
		// Refuse rather than forget: what was acknowledged stays until the sink
		// has it.
		Discard: jetstream.DiscardNew, Retention: jetstream.LimitsPolicy,
		MaxBytes: opts.MaxBytes, MaxMsgs: -1, MaxMsgsPerSubject: -1,
		Duplicates: duplicateWindow,
	}
	if opts.After > 0 {
		config.FirstSeq = opts.After + 1
	}
	if config.MaxBytes == 0 {
		config.MaxBytes = defaultMaxBytes
	}
	for shrunk := false; ; shrunk = true {
		stream, err := js.CreateStream(ctx, config)
		if err == nil && shrunk {
			// This may be all there is; the registry needs room as well.
			config.MaxBytes /= 2
			return js.UpdateStream(ctx, config)
		}
		var api *jetstream.APIError
		if errors.As(err, &api) && api.ErrorCode == codeStorageLimits && opts.MaxBytes == 0 && config.MaxBytes > 64<<20 {
			config.MaxBytes /= 2
			continue
		}
		if errors.As(err, &api) && api.ErrorCode == codeStorageLimits {
			return nil, fmt.Errorf("the NATS server has no %d MiB for it: give JetStream more room or the journal a smaller bound: %w", config.MaxBytes>>20, err)
		}
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another replica was faster
			return js.Stream(ctx, opts.Name)
		}
		return stream, err
	}
}

// updateStream gives an existing stream the options that may change, and
// refuses one that could lose acknowledged events.
func updateStream(ctx context.Context, js jetstream.JetStream, stream jetstream.Stream, opts *JournalOptions) error {
	config := stream.CachedInfo().Config
	if config.Storage != jetstream.FileStorage || config.Discard != jetstream.DiscardNew || config.MaxAge != 0 || config.Retention != jetstream.LimitsPolicy {
		return nextbest.Errorf(nextbest.Conflict, "the stream %s exists with other settings (storage %s, discard %s, max age %s, retention %s) and could lose events: it needs file storage, discard new, no max age, retention by limits", opts.Name, config.Storage, config.Discard, config.MaxAge, config.Retention)
	}
	if (opts.MaxBytes == 0 || opts.MaxBytes == config.MaxBytes) && opts.Replicas == config.Replicas {
		return nil
	}
	if opts.MaxBytes > 0 {
		config.MaxBytes = opts.MaxBytes
	}
	config.Replicas = opts.Replicas
	_, err := js.UpdateStream(ctx, config)
	return err
}

// Read calls f with the events of every message after a position, up to the
// newest one when Read was called, in order; what f gets is its own to keep.
// Messages that cannot be decoded are left out, as the sink does. When some of
// the messages were purged, because ClickHouse has them, the error's code is
// Stale: read ClickHouse again and start after the sink's position of now.
func (j *Journal) Read(ctx context.Context, after uint64, f func(position uint64, ev *Events) error) error {
	last, err := j.Last(ctx)
	if err != nil || last <= after {
		return err
	}
	consumer, err := j.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1,
		InactiveThreshold: time.Minute,
	})
	if err != nil {
		return journalError("read events", err)
	}
	info, err := j.stream.Info(ctx)
	if err != nil {
		return journalError("read events", err)
	}
	purged := nextbest.Errorf(nextbest.Stale, "the journal was purged beyond position %d: read ClickHouse again and start after the sink's position of now", after)
	if info.State.FirstSeq > after+1 {
		return purged
	}
	messages, err := consumer.Messages()
	if err != nil {
		return journalError("read events", err)
	}
	defer messages.Stop()
	for want := after + 1; ; want++ { // nothing but a purge leaves a gap
		wait, cancel := context.WithTimeout(ctx, 5*time.Second)
		msg, err := messages.Next(jetstream.NextContext(wait))
		cancel()
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			// Nothing comes: perhaps the rest was purged meanwhile.
			info, err := j.stream.Info(ctx)
			if err != nil {
				return journalError("read events", err)
			}
			if info.State.FirstSeq > want {
				return purged
			}
			want--
			continue
		}
		if err != nil {
			return journalError("read events", err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return journalError("read events", err)
		}
		position := meta.Sequence.Stream
		if position != want {
			return purged
		}
		ev := new(Events)
		if err := decode(msg.Data(), ev); err == nil {
			if err := f(position, ev); err != nil {
				return err
			}
		} else if errors.Is(err, errNewer) {
			return nextbest.Errorf(nextbest.Conflict, "journal position %d: %w: start the newer program", position, err)
		}
		if position == last {
			return nil
		}
	}
}
