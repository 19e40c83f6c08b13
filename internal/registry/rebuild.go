package registry

import (
	"context"
	"log/slog"
	"time"

	"nextbest"
)

// mostPause is the longest between two tries to put back what was lost.
const mostPause = 30 * time.Second

// keeper watches a memory bucket for one replica, brings it back where it is
// gone, and has it filled again by one replica at a time.
type keeper struct {
	bucket *bucket
	what   string // of the bucket, for messages
	id     string // of this replica, as a holder
	poll   time.Duration
	lease  time.Duration
	log    *slog.Logger
}

// run keeps watch until ctx ends. fill puts back what was lost into the given
// epoch of the bucket.
func (k *keeper) run(ctx context.Context, fill func(ctx context.Context, epoch uint64) error) error {
	tick := time.NewTicker(k.poll)
	defer tick.Stop()
	var seen uint64 // marker's sequence, and since when it has been the same
	since := time.Now()
	pause := k.poll // after a rebuild that failed
	for {
		if err := k.bucket.refresh(ctx); err != nil && ctx.Err() == nil {
			k.log.Warn(k.what+": the bucket cannot be reached", "error", err)
		}
		m := k.bucket.mark.Load()
		if m.sequence != seen {
			seen, since = m.sequence, time.Now()
		}
		if !m.Ready && ctx.Err() == nil && (m.Holder == "" || time.Since(since) > k.lease) {
			if err := k.rebuild(ctx, m, fill); err != nil && ctx.Err() == nil {
				k.log.Error(k.what+": what was lost could not be put back; it will be tried again", "error", err)
				select {
				case <-ctx.Done():
				case <-time.After(pause):
				}
				pause = min(2*pause, mostPause)
			} else {
				pause = k.poll
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-k.bucket.hint:
		}
	}
}

// rebuild claims the work by putting this replica into the marker, does it
// while the marker shows that it is alive, and sets the bucket ready.
func (k *keeper) rebuild(ctx context.Context, m *mark, fill func(ctx context.Context, epoch uint64) error) error {
	claim := m.marker
	claim.Holder, claim.Beat = k.id, m.Beat+1
	won, err := k.bucket.putMarker(ctx, claim, m.sequence)
	if err != nil || !won {
		return err
	}
	if err := k.bucket.refresh(ctx); err != nil {
		return err
	}
	mine := k.bucket.mark.Load()
	if mine.Generation != m.Generation || mine.Holder != k.id {
		return nil // lost or taken over already
	}
	work, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	alive := make(chan struct{})
	go func() {
		defer close(alive)
		k.beat(work, cancel)
	}()
	err = fill(work, mine.epoch)
	cause := context.Cause(work)
	cancel(nil)
	<-alive
	if cause != nil && ctx.Err() == nil {
		return cause
	}
	now := k.bucket.mark.Load()
	if now.Generation != m.Generation || now.Holder != k.id {
		return nextbest.Errorf(nextbest.Unavailable, "%s: the rebuild was overtaken", k.what)
	}
	done := now.marker
	done.Holder, done.Beat, done.Ready = "", 0, err == nil
	if _, put := k.bucket.putMarker(context.WithoutCancel(ctx), done, now.sequence); put != nil && err == nil {
		err = put
	}
	if refreshed := k.bucket.refresh(context.WithoutCancel(ctx)); refreshed != nil && err == nil {
		err = refreshed
	}
	return err
}

// beat keeps the marker changing while the rebuild works, and cancels the work
// when the marker is no longer this replica's.
func (k *keeper) beat(ctx context.Context, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(k.lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		m := k.bucket.mark.Load()
		next := m.marker
		next.Beat++
		won := m.Holder == k.id
		var err error
		if won {
			won, err = k.bucket.putMarker(ctx, next, m.sequence)
		}
		if err == nil {
			err = k.bucket.refresh(ctx)
		}
		if ctx.Err() == nil && err == nil && (!won || k.bucket.mark.Load().Holder != k.id) {
			cancel(nextbest.Errorf(nextbest.Unavailable, "%s: another replica has taken over the rebuild", k.what))
			return
		}
	}
}
