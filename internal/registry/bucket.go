package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"nextbest"
)

// epochShift splits a revision that callers see into the epoch, above, and the
// stream's sequence, below, so that a revision of a bucket that was lost can
// never match one of the bucket that replaced it.
const epochShift = 48

// bucket is a memory stream used as a key-value store with compare-and-set, one
// message a key. Memory is lost when the server (or, with copies, all of them)
// restarts; a marker among the keys shows it: a bucket without the marker, or
// with another generation in it, has forgotten everything before.
type bucket struct {
	js    jetstream.JetStream
	calls *calls
	cfg   jetstream.StreamConfig
	api   string        // prefix of the JetStream API
	root  string        // subjects are root+"k."+key, and root+"m" for the marker
	lost  func()        // called when the generation changed, may be nil
	hint  chan struct{} // somebody wrote the marker
	sub   *nats.Subscription

	mu   sync.Mutex // one refresh at a time
	mark atomic.Pointer[mark]
	seen atomic.Uint64 // highest sequence seen in this generation
}

// marker is the content of the marker.
type marker struct {
	Generation string    `json:"generation"`
	Since      time.Time `json:"since"` // when the bucket was empty
	Ready      bool      `json:"ready"` // what was lost has been put back
	Holder     string    `json:"holder,omitempty"`
	Beat       uint64    `json:"beat,omitempty"` // the holder is alive while it grows
}

// mark is the marker as this replica last saw it.
type mark struct {
	marker
	sequence uint64
	epoch    uint64 // 1 for the first generation this replica saw, then 2, 3 …
}

// item is one key's message.
type item struct {
	value    []byte
	sequence uint64 // 0: the key is absent
	header   nats.Header
	time     time.Time
}

func decodeMarker(data []byte) (marker, error) {
	var m marker
	if err := decodeStrict(data, &m); err != nil {
		return marker{}, err
	}
	if m.Generation == "" || m.Since.IsZero() {
		return marker{}, errors.New("generation and since must be there")
	}
	return m, nil
}

// openBucket makes sure the stream and its marker exist.
func openBucket(ctx context.Context, js jetstream.JetStream, cfg jetstream.StreamConfig, root string, lost func()) (*bucket, error) {
	cfg.Subjects = []string{root + ">"}
	cfg.Storage, cfg.Retention, cfg.Discard = jetstream.MemoryStorage, jetstream.LimitsPolicy, jetstream.DiscardNew
	cfg.MaxMsgsPerSubject, cfg.AllowDirect, cfg.AllowMsgTTL = 1, true, true
	cfg.MaxBytes = limit(cfg.MaxBytes)
	b := &bucket{js: js, cfg: cfg, root: root, lost: lost, api: apiPrefix(js.Options()), hint: make(chan struct{}, 1)}
	var err error
	if b.calls, err = newCalls(js.Conn()); err != nil {
		return nil, err
	}
	b.sub, err = js.Conn().Subscribe(root+"m", func(*nats.Msg) {
		select {
		case b.hint <- struct{}{}:
		default:
		}
	})
	if err != nil {
		b.calls.close()
		return nil, unavailable("registry: subscribing to "+root+"m", err)
	}
	if err := b.refresh(ctx); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func apiPrefix(o jetstream.JetStreamOptions) string {
	switch {
	case o.APIPrefix != "":
		return string(bytes.TrimSuffix([]byte(o.APIPrefix), []byte("."))) + "."
	case o.Domain != "":
		return "$JS." + o.Domain + ".API."
	}
	return jetstream.DefaultAPIPrefix
}

func (b *bucket) close() {
	_ = b.sub.Unsubscribe()
	b.calls.close()
}

// refresh reads the marker, bringing stream and marker back where they are
// gone, and starts a new epoch when the generation is another one.
func (b *bucket) refresh(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		stream, err := ensureStream(ctx, b.js, b.cfg)
		if err != nil {
			return err
		}
		last := stream.CachedInfo().State.LastSeq
		it, err := b.getLeader(ctx, b.root+"m")
		if err != nil {
			return err
		}
		if it.sequence == 0 {
			m := marker{Generation: uuid.NewString(), Since: time.Now().UTC()}
			if _, err := b.putMarker(ctx, m, 0); err != nil {
				return err
			}
			continue
		}
		m, err := decodeMarker(it.value)
		if err != nil {
			return nextbest.Errorf(nextbest.Internal, "stream %s: its marker cannot be read: %w", b.cfg.Name, err)
		}
		old := b.mark.Load()
		epoch := uint64(1)
		if old != nil {
			epoch = old.epoch
			if old.Generation != m.Generation {
				epoch++
			}
		}
		b.mark.Store(&mark{marker: m, sequence: it.sequence, epoch: epoch})
		b.seen.Store(max(last, it.sequence))
		if old != nil && old.epoch != epoch && b.lost != nil {
			b.lost()
		}
		return nil
	}
}

// putMarker writes the marker if it is still at the sequence.
func (b *bucket) putMarker(ctx context.Context, m marker, sequence uint64) (won bool, err error) {
	data, err := json.Marshal(m)
	if err != nil {
		return false, err
	}
	a, err := b.publish(ctx, b.root+"m", data, sequence, nil)
	if err != nil {
		return false, err
	}
	return a.code == 0, nil
}

// cas writes a key's message if its last one has the sequence (0: none), and
// returns the new sequence; ok is false when somebody else was first. When the
// new sequence shows that the bucket was lost, the marker is up to date before
// cas returns. ttl 0 keeps the message until the server stops.
func (b *bucket) cas(ctx context.Context, key string, value []byte, sequence uint64, ttl time.Duration, header nats.Header) (next uint64, ok bool, err error) {
	if ttl > 0 {
		if header == nil {
			header = make(nats.Header, 2)
		}
		header[jetstream.MsgTTLHeader] = []string{strconv.FormatInt(int64(math.Ceil(ttl.Seconds())), 10)}
	}
	before := b.seen.Load()
	a, err := b.publish(ctx, b.root+"k."+key, value, sequence, header)
	if err != nil || a.code != 0 {
		return 0, false, err
	}
	if a.sequence <= before {
		// Sequences only grow within a generation: this one starts again.
		if err := b.refresh(ctx); err != nil {
			return 0, false, err
		}
	} else {
		raise(&b.seen, a.sequence)
	}
	return a.sequence, true, nil
}

// publish sends one compare-and-set. A refused one has the code in the ack.
func (b *bucket) publish(ctx context.Context, subject string, value []byte, sequence uint64, header nats.Header) (ack, error) {
	if header == nil {
		header = make(nats.Header, 1)
	}
	header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(sequence, 10)}
	r, err := b.calls.do(ctx, &nats.Msg{Subject: subject, Data: value, Header: header}, callTimeout)
	if err != nil {
		return ack{}, err
	}
	if status := r.Header.Get("Status"); status != "" {
		return ack{}, b.refused(status)
	}
	a, err := parseAck(r.Data)
	switch {
	case err != nil:
		return ack{}, err
	case a.code == 0 || wrongSequence(a.code):
		return a, nil
	case a.code == jetstream.JSErrCodeStreamMessageExceedsMaximum:
		return ack{}, nextbest.Errorf(nextbest.TooLarge, "stream %s: %s", b.cfg.Name, a.description)
	}
	return ack{}, nextbest.Errorf(nextbest.Unavailable, "stream %s: %s (code %d)", b.cfg.Name, a.description, a.code)
}

// refused explains a reply that is only a status.
func (b *bucket) refused(status string) error {
	if status == "503" {
		select { // the stream is gone: have the owner look
		case b.hint <- struct{}{}:
		default:
		}
		return nextbest.Errorf(nextbest.Unavailable, "stream %s does not answer; its server may be restarting", b.cfg.Name)
	}
	return nextbest.Errorf(nextbest.Unavailable, "stream %s answered with status %s", b.cfg.Name, status)
}

// get reads a key, from any copy: the answer may be a moment old.
func (b *bucket) get(ctx context.Context, key string) (item, error) {
	r, err := b.calls.read(ctx, &nats.Msg{Subject: b.api + "DIRECT.GET." + b.cfg.Name + "." + b.root + "k." + key})
	if err != nil {
		return item{}, err
	}
	switch status := r.Header.Get("Status"); status {
	case "":
	case "404":
		return item{}, nil
	default:
		return item{}, b.refused(status)
	}
	sequence, err := strconv.ParseUint(r.Header.Get(jetstream.SequenceHeader), 10, 64)
	if err != nil || sequence == 0 {
		return item{}, nextbest.Errorf(nextbest.Unavailable, "stream %s answered without a sequence", b.cfg.Name)
	}
	at, err := time.Parse(time.RFC3339Nano, r.Header.Get(jetstream.TimeStampHeaer))
	if err != nil {
		return item{}, nextbest.Errorf(nextbest.Unavailable, "stream %s answered without a time: %w", b.cfg.Name, err)
	}
	return item{value: r.Data, sequence: sequence, header: r.Header, time: at}, nil
}

// getLeader reads the last message of a subject from the stream's leader, which
// has every acknowledged write.
func (b *bucket) getLeader(ctx context.Context, subject string) (item, error) {
	r, err := b.calls.read(ctx, &nats.Msg{Subject: b.api + "STREAM.MSG.GET." + b.cfg.Name, Data: fmt.Appendf(nil, `{"last_by_subj":%q}`, subject)})
	if err != nil {
		return item{}, err
	}
	if status := r.Header.Get("Status"); status != "" {
		return item{}, b.refused(status)
	}
	it, err := decodeStored(r.Data)
	if err != nil {
		return item{}, nextbest.Errorf(nextbest.Unavailable, "stream %s: %w", b.cfg.Name, err)
	}
	return it, nil
}

// decodeStored reads the answer to STREAM.MSG.GET; a message that is not there
// is an item without a sequence.
func decodeStored(data []byte) (item, error) {
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Sequence uint64    `json:"seq"`
			Header   []byte    `json:"hdrs"`
			Data     []byte    `json:"data"`
			Time     time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return item{}, fmt.Errorf("an answer that is not JSON: %w", err)
	}
	switch {
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return item{}, nil
	case answer.Error != nil:
		return item{}, answer.Error
	case answer.Message == nil || answer.Message.Sequence == 0:
		return item{}, errors.New("an answer without a message")
	}
	it := item{value: answer.Message.Data, sequence: answer.Message.Sequence, time: answer.Message.Time}
	if len(answer.Message.Header) > 0 {
		h, err := nats.DecodeHeadersMsg(answer.Message.Header)
		if err != nil {
			return item{}, fmt.Errorf("a message with headers that cannot be read: %w", err)
		}
		it.header = h
	}
	return it, nil
}

// raise sets a to v unless it is higher already.
func raise(a *atomic.Uint64, v uint64) {
	for {
		old := a.Load()
		if v <= old || a.CompareAndSwap(old, v) {
			return
		}
	}
}

// validKey reports whether a key may be part of a subject.
func validKey(key string) bool {
	if key == "" || len(key) > 128 {
		return false
	}
	for i := range len(key) {
		switch c := key[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '=':
		default:
			return false
		}
	}
	return true
}
