package registry

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"nextbest"
)

const (
	callSlots   = 1024            // calls in flight at once
	callTimeout = 5 * time.Second // for one call, whatever the caller's context allows
	readTimeout = time.Second     // for one attempt at a read, which may be repeated
)

// calls sends requests over one subscription for all replies. nats.Conn's own
// Request does the same with a map, a channel and a timer for each call; here a
// call takes a ready slot, which under 64 goroutines is half as fast again (see
// DESIGN.md).
type calls struct {
	conn   *nats.Conn
	prefix string // of the reply subjects: <prefix><slot>.<turn>
	sub    *nats.Subscription
	slots  [callSlots]slot
	free   chan *slot
}

// slot is one call in flight. Its turn tells a late reply from the right one.
type slot struct {
	index string
	reply chan *nats.Msg

	mu   sync.Mutex
	turn uint64
}

func newCalls(conn *nats.Conn) (*calls, error) {
	c := &calls{conn: conn, prefix: nats.NewInbox() + ".", free: make(chan *slot, callSlots)}
	for i := range c.slots {
		c.slots[i].index = strconv.Itoa(i)
		c.slots[i].reply = make(chan *nats.Msg, 1)
		c.free <- &c.slots[i]
	}
	var err error
	if c.sub, err = conn.Subscribe(c.prefix+">", c.deliver); err != nil {
		return nil, unavailable("registry: subscribing to replies", err)
	}
	return c, nil
}

func (c *calls) close() { _ = c.sub.Unsubscribe() }

// deliver hands a reply to the call that waits for it, or drops it.
func (c *calls) deliver(m *nats.Msg) {
	index, turn, ok := parseReply(strings.TrimPrefix(m.Subject, c.prefix))
	if !ok {
		return
	}
	s := &c.slots[index]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.turn != turn {
		return
	}
	select {
	case s.reply <- m:
	default:
	}
}

// parseReply reads "<slot>.<turn>".
func parseReply(token string) (index int, turn uint64, ok bool) {
	a, b, has := strings.Cut(token, ".")
	index, err := strconv.Atoi(a)
	if err != nil || !has || index < 0 || index >= callSlots {
		return 0, 0, false
	}
	turn, err = strconv.ParseUint(b, 10, 64)
	return index, turn, err == nil
}

// read repeats a request that changes nothing until it is answered: a reply is
// lost when the server that was to give it goes.
func (c *calls) read(ctx context.Context, m *nats.Msg) (r *nats.Msg, err error) {
	for range callTimeout / readTimeout {
		if r, err = c.do(ctx, m, readTimeout); err == nil || ctx.Err() != nil || c.conn.IsClosed() {
			return r, err
		}
	}
	return nil, err
}

// do sends one request and waits for its reply, no longer than limit.
func (c *calls) do(ctx context.Context, m *nats.Msg, limit time.Duration) (*nats.Msg, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	expired := timer.C
	var s *slot
	select {
	case s = <-c.free:
	case <-ctx.Done():
		return nil, nextbest.Errorf(nextbest.Unavailable, "NATS does not keep up: %w", ctx.Err())
	case <-expired:
		return nil, nextbest.Errorf(nextbest.Unavailable, "NATS does not keep up: %d calls are waiting", callSlots)
	}
	defer func() { c.free <- s }()
	s.mu.Lock()
	s.turn++
	turn := s.turn
	select {
	case <-s.reply: // of a call that gave up
	default:
	}
	s.mu.Unlock()
	m.Reply = c.prefix + s.index + "." + strconv.FormatUint(turn, 10)
	if err := c.conn.PublishMsg(m); errors.Is(err, nats.ErrReconnectBufExceeded) {
		return nil, nextbest.Errorf(nextbest.Unavailable, "there is no connection to NATS: %w", err)
	} else if err != nil {
		return nil, nextbest.Errorf(nextbest.Unavailable, "NATS: %w", err)
	}
	select {
	case r := <-s.reply:
		return r, nil
	case <-ctx.Done():
		return nil, nextbest.Errorf(nextbest.Unavailable, "NATS did not answer: %w", ctx.Err())
	case <-expired:
		return nil, nextbest.Errorf(nextbest.Unavailable, "NATS did not answer within %v", limit)
	}
}

// ack is what the server says to a message published into a stream.
type ack struct {
	sequence    uint64
	code        jetstream.ErrorCode // 0: stored
	description string
}

// parseAck reads an acknowledgement such as {"stream":"S","seq":5} or
// {"error":{"code":400,"err_code":10071,"description":"…"},"stream":"S","seq":0}.
func parseAck(data []byte) (ack, error) {
	if seq, ok := plainAck(data); ok {
		return ack{sequence: seq}, nil
	}
	var a struct {
		Error *struct {
			Code        int                 `json:"code"`
			ErrCode     jetstream.ErrorCode `json:"err_code"`
			Description string              `json:"description"`
		} `json:"error"`
		Seq uint64 `json:"seq"`
	}
	if err := json.Unmarshal(data, &a); err != nil {
		return ack{}, nextbest.Errorf(nextbest.Unavailable, "NATS acknowledged with something that is no acknowledgement: %w", err)
	}
	switch {
	case a.Error != nil && a.Error.ErrCode == 0:
		return ack{code: jetstream.ErrorCode(max(1, min(a.Error.Code, 999))), description: a.Error.Description}, nil
	case a.Error != nil:
		return ack{code: a.Error.ErrCode, description: a.Error.Description}, nil
	case a.Seq == 0:
		return ack{}, nextbest.Errorf(nextbest.Unavailable, "NATS acknowledged without a sequence: %.100q", data)
	}
	return ack{sequence: a.Seq}, nil
}

// plainAck reads exactly {"stream":"S", "seq":N}, by far the commonest answer,
// where S is a name that needs no escapes.
func plainAck(data []byte) (uint64, bool) {
	rest, ok := strings.CutPrefix(string(data), `{"stream":"`)
	if !ok {
		return 0, false
	}
	name, rest, ok := strings.Cut(rest, `"`)
	if !ok || strings.ContainsAny(name, "\\\n") {
		return 0, false
	}
	rest, ok = strings.CutPrefix(strings.Replace(rest, ", ", ",", 1), `,"seq":`)
	if !ok {
		return 0, false
	}
	digits, ok := strings.CutSuffix(rest, "}")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && n > 0
}
