package decisions

import (
	"context"
	"slices"
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

// A claim's value is the whole record of the decision, a list of records where
// it has several slots. It is claimed before
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

// marshalClaim encodes the records of a decision's slots.
func marshalClaim(rows []nextbest.Decision) ([]byte, error) {
	var v any = rows
	if len(rows) == 1 {
		v = &rows[0]
	}
	value, err := claimEncoding.Marshal(v)
	if err != nil {
		return nil, nextbest.Errorf(nextbest.Internal, "decision %s cannot be claimed: %w", rows[0].ID, err)
	}
	return value, nil
}

// unmarshalClaim decodes what marshalClaim encoded.
func unmarshalClaim(value []byte) (rows []nextbest.Decision, err error) {
	const list = 4 // CBOR's major type, in the upper three bits of the first byte
	if len(value) > 0 && value[0]>>5 == list {
		err = claimDecoding.Unmarshal(value, &rows)
	} else {
		rows = make([]nextbest.Decision, 1)
		err = claimDecoding.Unmarshal(value, &rows[0])
	}
	if err != nil || len(rows) == 0 {
		return nil, nextbest.Errorf(nextbest.Internal, "the first answer of the key cannot be read: %w", err)
	}
	for i := range rows {
		rows[i].Time = rows[i].Time.UTC()
	}
	return rows, nil
}

// claim tries to make the records of a decision its key's answer. When it did
// not win it returns the records that are. While claims may be missing, the log is asked before the
// claim, and what it has is claimed in d's place: whoever comes next finds that.
func (p *Pipeline) claim(ctx context.Context, rows []nextbest.Decision) (first []nextbest.Decision, won bool, err error) {
	asked := !p.o.ClaimsReady()
	var logged []nextbest.Decision
	if asked {
		if logged, err = p.logged(ctx, &rows[0]); err != nil {
			return nil, false, err
		}
	}
	mine := rows
	if logged != nil {
		mine = logged
	}
	value, err := marshalClaim(mine)
	if err != nil {
		return nil, false, err
	}
	existing, won, err := p.o.Claims.Claim(ctx, rows[0].Key, value)
	if err != nil {
		return nil, false, unavailable("the store of idempotency keys", err)
	}
	if !won {
		first, err = unmarshalClaim(existing)
		return first, false, err
	}
	if asked || p.o.ClaimsReady() {
		return logged, logged == nil, nil
	}
	// The claim itself found out that the claims were lost.
	if logged, err = p.logged(ctx, &rows[0]); err != nil || logged == nil {
		return nil, err == nil, err
	}
	if value, err = marshalClaim(logged); err == nil {
		err = p.o.Claims.Complete(ctx, rows[0].Key, value)
	}
	if err != nil {
		return nil, false, unavailable("the store of idempotency keys", err)
	}
	return logged, false, nil
}

// logged returns what the log has as the answer of d's key, nil when that is
// nothing.
func (p *Pipeline) logged(ctx context.Context, d *nextbest.Decision) ([]nextbest.Decision, error) {
	first, err := p.o.Log.ByKey(ctx, d.Key)
	if err != nil {
		return nil, unavailable("the log, asked whether the key was used before,", err)
	}
	if len(first) == 0 || first[0].ID == d.ID || d.Time.Sub(first[0].Time) >= ClaimKept {
		return nil, nil
	}
	return first, nil
}

// LoggedKeys reads the decisions that had an idempotency key back from the log,
// oldest first, the slots of one decision after each other.
type LoggedKeys interface {
	Keyed(ctx context.Context, since time.Time, each func(*nextbest.Decision) error) error
}

// LoadClaims puts back the claims that the log knows. load keeps the first
// value it is given for a key.
func LoadClaims(ctx context.Context, log LoggedKeys, now time.Time, load func(ctx context.Context, key string, value []byte, at time.Time) error) error {
	var rows []nextbest.Decision
	flush := func() error {
		if len(rows) == 0 {
			return nil
		}
		value, err := marshalClaim(small(rows)) // they are durable, see shrink
		if err != nil {
			return err
		}
		return load(ctx, rows[0].Key, value, rows[0].Time)
	}
	err := log.Keyed(ctx, now.Add(-ClaimKept), func(d *nextbest.Decision) error {
		if len(rows) > 0 && rows[0].ID != d.ID {
			if err := flush(); err != nil {
				return err
			}
			rows = rows[:0]
		}
		rows = append(rows, *d)
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

// small returns the records without what only the journal needs.
func small(rows []nextbest.Decision) []nextbest.Decision {
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].Context, rows[i].X, rows[i].Scores = nil, nil, nil
	}
	return rows
}

// largeClaim is the size of a claim's value above which what only the journal
// needs is taken out of it once the journal has it: claims are kept in memory.
const largeClaim = 2 << 10

// shrink takes the context and the features out of the claim of a decision that
// is durable. Whoever finds such a claim need not record the decision.
func (p *Pipeline) shrink(ctx context.Context, rows []nextbest.Decision) {
	d := &rows[0]
	if len(rows)*(len(d.Context)+4*len(d.X)) < largeClaim {
		return
	}
	value, err := marshalClaim(small(rows))
	if err == nil {
		err = p.o.Claims.Complete(ctx, d.Key, value)
	}
	if err != nil {
		p.o.Logger.Debug("a large claim stays as it is", "decision", d.ID, "error", err)
	}
}

// repeat answers a call whose key has the answer first.
func (p *Pipeline) repeat(ctx context.Context, rows []nextbest.Decision, body string, several bool) (Answer, error) {
	first := &rows[0]
	if first.Body != body {
		return Answer{}, nextbest.Errorf(nextbest.Conflict, "Idempotency-Key %q was used for another call, answered by decision %s; use a new key for a new call", first.Key, first.ID)
	}
	if len(first.Context) > 0 { // else it is durable, see shrink
		if _, err := p.o.Journal.Decisions(ctx, rows); err != nil {
			return Answer{}, unavailable("the journal", err)
		}
	}
	return answer(rows, several, true, true), nil
}
