package decisions

import (
	"context"
	"time"

	"github.com/fxamacker/cbor/v2"

	"nextbest"
)

// Claims makes sure that a key is answered once across replicas: whoever
// creates the key's claim first has the answer. Claims are kept for ClaimKept.
type Claims interface {
	Claim(ctx context.Context, key string, value []byte) (existing []byte, won bool, err error)
	// Complete replaces the value of a claim that was won here.
	Complete(ctx context.Context, key string, value []byte) error
}

// ClaimKept is how long a key remembers its answer.
const ClaimKept = 25 * time.Hour

// A claim's value is the whole record of the decision. It is claimed before
// the record is journaled, so that whoever comes second, on any replica, while
// the first is in flight or after it was lost, can make the same record durable
// (recording it twice changes nothing) and give the same answer.
var claimEncoding, claimDecoding = func() (cbor.EncMode, cbor.DecMode) {
	options := cbor.CanonicalEncOptions()
	options.Time = cbor.TimeRFC3339Nano
	enc, err := options.EncMode()
	if err != nil {
		panic(err) // the options are constants
	}
	dec, err := cbor.DecOptions{}.DecMode()
	if err != nil {
		panic(err)
	}
	return enc, dec
}()

// claim tries to make d its key's answer. When it did not win it returns the
// decision that is. While claims may be missing, the log is asked before the
// claim, and what it has is claimed in d's place: whoever comes next finds that.
func (p *Pipeline) claim(ctx context.Context, d *nextbest.Decision) (first *nextbest.Decision, won bool, err error) {
	asked := !p.o.ClaimsReady()
	var logged *nextbest.Decision
	if asked {
		if logged, err = p.logged(ctx, d); err != nil {
			return nil, false, err
		}
	}
	mine := d
	if logged != nil {
		mine = logged
	}
	value, err := claimEncoding.Marshal(mine)
	if err != nil {
		return nil, false, nextbest.Errorf(nextbest.Internal, "decision %s cannot be claimed: %w", mine.ID, err)
	}
	existing, won, err := p.o.Claims.Claim(ctx, d.Key, value)
	if err != nil {
		return nil, false, unavailable("the store of idempotency keys", err)
	}
	if !won {
		first = &nextbest.Decision{}
		if err := claimDecoding.Unmarshal(existing, first); err != nil {
			return nil, false, nextbest.Errorf(nextbest.Internal, "the first answer of the key cannot be read: %w", err)
		}
		first.Time = first.Time.UTC()
		return first, false, nil
	}
	if asked || p.o.ClaimsReady() {
		return logged, logged == nil, nil
	}
	// The claim itself found out that the claims were lost.
	if logged, err = p.logged(ctx, d); err != nil || logged == nil {
		return nil, err == nil, err
	}
	if value, err = claimEncoding.Marshal(logged); err == nil {
		err = p.o.Claims.Complete(ctx, d.Key, value)
	}
	if err != nil {
		return nil, false, unavailable("the store of idempotency keys", err)
	}
	return logged, false, nil
}

// logged returns what the log has as the answer of d's key, nil when that is
// nothing.
func (p *Pipeline) logged(ctx context.Context, d *nextbest.Decision) (*nextbest.Decision, error) {
	first, ok, err := p.o.Log.ByKey(ctx, d.Key)
	if err != nil {
		return nil, unavailable("the log, asked whether the key was used before,", err)
	}
	if !ok || first.ID == d.ID || d.Time.Sub(first.Time) >= ClaimKept {
		return nil, nil
	}
	return &first, nil
}

// LoggedKeys reads the decisions that had an idempotency key back from the log,
// oldest first.
type LoggedKeys interface {
	Keyed(ctx context.Context, since time.Time, each func(*nextbest.Decision) error) error
}

// LoadClaims puts back the claims that the log knows. load keeps the first
// value it is given for a key.
func LoadClaims(ctx context.Context, log LoggedKeys, now time.Time, load func(ctx context.Context, key string, value []byte, at time.Time) error) error {
	return log.Keyed(ctx, now.Add(-ClaimKept), func(d *nextbest.Decision) error {
		d.Context, d.X, d.Scores = nil, nil, nil // it is durable, see shrink
		value, err := claimEncoding.Marshal(d)
		if err != nil {
			return nextbest.Errorf(nextbest.Internal, "decision %s cannot be claimed: %w", d.ID, err)
		}
		return load(ctx, d.Key, value, d.Time)
	})
}

// largeClaim is the size of a claim's value above which what only the journal
// needs is taken out of it once the journal has it: claims are kept in memory.
const largeClaim = 2 << 10

// shrink takes the context and the features out of the claim of a decision that
// is durable. Whoever finds such a claim need not record the decision.
func (p *Pipeline) shrink(ctx context.Context, d *nextbest.Decision) {
	if len(d.Context)+4*len(d.X) < largeClaim {
		return
	}
	small := *d
	small.Context, small.X, small.Scores = nil, nil, nil
	value, err := claimEncoding.Marshal(&small)
	if err == nil {
		err = p.o.Claims.Complete(ctx, d.Key, value)
	}
	if err != nil {
		p.o.Logger.Debug("a large claim stays as it is", "decision", d.ID, "error", err)
	}
}

// repeat answers a call whose key has the answer first.
func (p *Pipeline) repeat(ctx context.Context, first *nextbest.Decision, body string) (Answer, error) {
	if first.Body != body {
		return Answer{}, nextbest.Errorf(nextbest.Conflict, "Idempotency-Key %q was used for another call, answered by decision %s; use a new key for a new call", first.Key, first.ID)
	}
	if len(first.Context) > 0 { // else it is durable, see shrink
		if _, err := p.o.Journal.Decisions(ctx, []nextbest.Decision{*first}); err != nil {
			return Answer{}, unavailable("the journal", err)
		}
	}
	return answer(first, true, true), nil
}
