package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"nextbest"
)

const (
	ackWait  = 2 * time.Second        // for one acknowledgement before the same message is sent again
	moveWait = 250 * time.Millisecond // for another writer's record to arrive here
)

// Put writes one new record and returns it once this replica has applied it.
// Errors: Invalid; Conflict when IfMatch is 0 and the object exists; Stale when
// IfMatch is another revision than the object's; NotFound when something is
// deleted that does not exist; TooLarge; Unavailable when NATS does not answer,
// after which the record may or may not be there.
func (r *Registry) Put(ctx context.Context, c nextbest.Change) (nextbest.Record, error) {
	document, err := checkChange(&c)
	if err != nil {
		return nextbest.Record{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	if err := r.reach(ctx, c.IfMatch); err != nil {
		return nextbest.Record{}, err
	}
	subject := subjectOf(c.Kind, c.ID)
	for {
		nonce := uuid.NewString()
		body, last, err := r.prepare(c, document, nonce)
		if err != nil {
			return nextbest.Record{}, err
		}
		if limit := int(r.js.Conn().MaxPayload()) - 1024; len(body) > limit {
			return nextbest.Record{}, nextbest.Errorf(nextbest.TooLarge, "%s/%s: the record has %d bytes, the limit is %d; keep large content in a blob and name its hash", c.Kind, c.ID, len(body), limit)
		}
		rec, lost, err := r.write(ctx, c, subject, body, nonce, last)
		if err != nil || !lost {
			return rec, err
		}
		if c.IfMatch != nextbest.AnyRevision {
			// Another writer came first; prepare says which error that is, and
			// there is nothing else to try when the object is gone again.
			if _, _, err := r.prepare(c, document, nonce); err != nil {
				return nextbest.Record{}, err
			}
			return nextbest.Record{}, stale(c, 0)
		}
	}
}

// checkChange validates c and returns its document, compacted.
func checkChange(c *nextbest.Change) ([]byte, error) {
	var p nextbest.Problems
	if !kindPattern.MatchString(string(c.Kind)) {
		p.Add("kind", "%q must match %s", c.Kind, kindPattern)
	}
	if !idPattern.MatchString(c.ID) {
		p.Add("id", "%q must match %s", c.ID, idPattern)
	}
	if c.Actor == "" {
		p.Add("actor", "every record says who wrote it")
	}
	var document bytes.Buffer
	switch trimmed := bytes.TrimLeft(c.Document, " \t\r\n"); {
	case c.Deleted && len(trimmed) > 0:
		p.Add("document", "a deletion carries none")
	case c.Deleted:
	case len(trimmed) == 0 || trimmed[0] != '{':
		p.Add("document", "it must be a JSON object")
	default:
		if err := json.Compact(&document, trimmed); err != nil {
			p.Add("document", "it is not JSON: %v", err)
		}
	}
	return document.Bytes(), p.Err("the change")
}

// reach waits until this replica has applied the revision that a caller learnt
// from another one. A revision nobody has written is left to prepare.
func (r *Registry) reach(ctx context.Context, revision uint64) error {
	r.mu.RLock()
	have := r.state.revision
	r.mu.RUnlock()
	if revision == nextbest.AnyRevision || revision <= have {
		return nil
	}
	info, err := r.stream.Info(ctx)
	if err != nil {
		return unavailable("registry: stream "+registryStream, err)
	}
	return r.Wait(ctx, min(revision, info.State.LastSeq))
}

// prepare checks c against the local state and returns the message that
// continues the object, with the revision of the subject's last message.
func (r *Registry) prepare(c nextbest.Change, document []byte, nonce string) (body []byte, last uint64, err error) {
	r.mu.RLock()
	o := r.state.object(c.Kind, c.ID)
	last = o.last
	versions, previous := uint64(len(o.entries)), o.hash()
	latest, exists := o.latest()
	r.mu.RUnlock()
	switch {
	case c.IfMatch == 0 && exists:
		return nil, 0, nextbest.Errorf(nextbest.Conflict, "%s/%s exists already, at revision %d; to change it, name that revision", c.Kind, c.ID, latest.Revision)
	case c.IfMatch != 0 && c.IfMatch != nextbest.AnyRevision && (!exists || latest.Revision != c.IfMatch):
		return nil, 0, stale(c, latest.Revision)
	case c.Deleted && !exists:
		return nil, 0, nextbest.Errorf(nextbest.NotFound, "%s/%s does not exist, so it cannot be deleted", c.Kind, c.ID)
	}
	e := envelope{
		Nonce: nonce, Version: versions + 1, Actor: c.Actor, Reason: c.Reason,
		Time: r.opts.Now().UTC().Truncate(time.Microsecond), Previous: previous, Deleted: c.Deleted, Document: document,
	}
	body, err = e.encode()
	if err != nil {
		return nil, 0, nextbest.Errorf(nextbest.Internal, "%s/%s: encoding the record: %w", c.Kind, c.ID, err)
	}
	return body, last, nil
}

func stale(c nextbest.Change, now uint64) error {
	if now == 0 {
		return nextbest.Errorf(nextbest.Stale, "%s/%s is not at revision %d: it does not exist any more; read it again", c.Kind, c.ID, c.IfMatch)
	}
	return nextbest.Errorf(nextbest.Stale, "%s/%s is at revision %d, not %d: somebody changed it; read it again and repeat the change", c.Kind, c.ID, now, c.IfMatch)
}

// write sends the message until it is known to be in the stream or known to
// have lost against another writer's. A lost acknowledgement is no reason to
// give up: the same message is sent again, and finding it in the stream, by its
// nonce, is as good as the acknowledgement.
func (r *Registry) write(ctx context.Context, c nextbest.Change, subject string, body []byte, nonce string, last uint64) (rec nextbest.Record, lost bool, err error) {
	for {
		once, cancel := context.WithTimeout(ctx, ackWait)
		ack, err := r.js.Publish(once, subject, body,
			jetstream.WithExpectLastSequencePerSubject(last), jetstream.WithMsgID(nonce), jetstream.WithExpectStream(registryStream))
		cancel()
		var api *jetstream.APIError
		switch {
		case err == nil:
			if err := r.Wait(ctx, ack.Sequence); err != nil {
				return rec, false, nextbest.Errorf(nextbest.Unavailable, "%s/%s was written as revision %d: %w", c.Kind, c.ID, ack.Sequence, err)
			}
		case errors.As(err, &api) && wrongSequence(api.ErrorCode):
			// Somebody's record is there, perhaps our own from an attempt whose
			// acknowledgement was lost. In a cluster it may still be on its way,
			// or come to nothing.
			r.waitMoved(ctx, c, last)
		case errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamMessageExceedsMaximum:
			return rec, false, nextbest.Errorf(nextbest.TooLarge, "%s/%s: the record is too large for the stream: %w", c.Kind, c.ID, err)
		case errors.As(err, &api) && api.Code < 500:
			return rec, false, nextbest.Errorf(nextbest.Unavailable, "%s/%s could not be written: %w", c.Kind, c.ID, err)
		default:
			r.waitMoved(ctx, c, last)
		}
		r.mu.RLock()
		o := r.state.object(c.Kind, c.ID)
		rec, mine := o.written(nonce)
		moved := o.last != last
		r.mu.RUnlock()
		switch {
		case mine:
			return rec, false, nil
		case moved:
			return rec, true, nil
		case ctx.Err() != nil:
			return rec, false, nextbest.Errorf(nextbest.Unavailable, "%s/%s: NATS did not confirm the record, which may or may not be written; read the object before trying again (%w)", c.Kind, c.ID, errors.Join(ctx.Err(), err))
		}
	}
}

// waitMoved waits a moment for the object to get another record than last.
func (r *Registry) waitMoved(ctx context.Context, c nextbest.Change, last uint64) {
	timer := time.NewTimer(moveWait)
	defer timer.Stop()
	for {
		r.mu.RLock()
		moved, changed := r.state.object(c.Kind, c.ID).last != last, r.changed
		r.mu.RUnlock()
		if moved {
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// wrongSequence reports whether the server refused a compare-and-set.
func wrongSequence(code jetstream.ErrorCode) bool {
	return code == jetstream.JSErrCodeStreamWrongLastSequence || code == jetstream.JSErrCodeStreamWrongLastSequenceConstant
}
