package registry

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"nextbest"
	"nextbest/internal/embedded/enginetest"
)

// TestTampering publishes past the registry. A running replica leaves the
// record out and says so, the audit finds it, a new replica refuses to start
// unless told to quarantine it, and the object can be written again.
func TestTampering(t *testing.T) {
	good := envelope{Nonce: "n", Version: 2, Actor: "eve", Time: time.Now(), Previous: strings.Repeat("a", 64), Document: []byte(`{"goal":"evil"}`)}
	body := func(change func(*envelope)) []byte {
		e := good
		change(&e)
		b, err := e.encode()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, c := range map[string]struct {
		subject string
		body    []byte
		want    string
	}{
		"another history": {definitions + "actions.mail", body(func(*envelope) {}), "as the hash of the record before"},
		"version":         {definitions + "actions.mail", body(func(e *envelope) { e.Version = 7 }), "version 7 where version 2 is due"},
		"restart":         {definitions + "actions.mail", body(func(e *envelope) { e.Version, e.Previous = 1, "" }), "version 1 where version 2 is due"},
		"not JSON":        {definitions + "actions.mail", []byte("{"), "unexpected EOF"},
		"extra field":     {definitions + "actions.mail", []byte(`{"extra":1}`), "unknown field"},
		"subject":         {definitions + "Actions.mail", body(func(*envelope) {}), "is not"},
	} {
		t.Run(name, func(t *testing.T) {
			js := jetStream(t, enginetest.NATS(t))
			r := open(t, js, Options{})
			put(t, r, action("mail", `{"goal":"good"}`, 0))
			ack, err := js.Publish(t.Context(), c.subject, c.body)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Wait(t.Context(), ack.Sequence); err != nil {
				t.Fatal(err)
			}
			if rec, ok := r.Get(nextbest.KindAction, "mail"); !ok || string(rec.Document) != `{"goal":"good"}` {
				t.Fatalf("the replica serves %s", rec.Document)
			}
			if p := r.Problems(); len(p) != 1 || !strings.Contains(p[0], c.want) {
				t.Fatalf("problems: %q", p)
			}
			audit, err := r.Audit(t.Context())
			if err != nil || audit.OK() || audit.Records != 1 {
				t.Fatalf("audit: %+v, %v", audit, err)
			}
			_, err = Open(t.Context(), js, Options{})
			if nextbest.CodeOf(err) != nextbest.Internal || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("a new replica trusts it: %v", err)
			}
			q := open(t, js, Options{Quarantine: true})
			now, _ := q.Get(nextbest.KindAction, "mail")
			if rec := put(t, q, action("mail", `{"goal":"better"}`, now.Revision)); rec.Version != 2 {
				t.Fatalf("the repaired object has version %d", rec.Version)
			}
		})
	}
}

// TestWeakStream: a stream of that name which could lose records is refused.
func TestWeakStream(t *testing.T) {
	js := jetStream(t, enginetest.NATS(t))
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: registryStream, Subjects: []string{definitions + ">"}}); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), js, Options{})
	wantCode(t, err, nextbest.Internal)
}

// TestDeletesDenied: nobody can take a record back through the server.
func TestDeletesDenied(t *testing.T) {
	r := open(t, jetStream(t, enginetest.NATS(t)), Options{})
	put(t, r, action("mail", `{}`, 0))
	if err := r.stream.DeleteMsg(t.Context(), 1); err == nil {
		t.Error("a record was deleted")
	}
	if err := r.stream.Purge(t.Context()); err == nil {
		t.Error("the registry was purged")
	}
	if info, err := r.stream.Info(t.Context()); err != nil || info.State.Msgs != 1 {
		t.Errorf("%+v, %v", info, err)
	}
}

// deaf loses the acknowledgement of some publishes, which the server has taken.
type deaf struct {
	jetstream.JetStream
	lose atomic.Int64
}

func (d *deaf) Publish(ctx context.Context, subject string, data []byte, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	ack, err := d.JetStream.Publish(ctx, subject, data, opts...)
	if err == nil && d.lose.Add(-1) >= 0 {
		return nil, nats.ErrTimeout
	}
	return ack, err
}

func TestLostAcknowledgement(t *testing.T) {
	js := &deaf{JetStream: jetStream(t, enginetest.NATS(t))}
	r := open(t, js, Options{})
	for i := range 5 {
		js.lose.Store(1)
		match := uint64(i)
		if rec := put(t, r, action("mail", fmt.Sprintf(`{"i":%d}`, i), match)); rec.Version != uint64(i)+1 {
			t.Fatalf("write %d became version %d", i, rec.Version)
		}
	}
	if _, all := r.Snapshot(); len(all) != 5 {
		t.Fatalf("5 writes left %d records", len(all))
	}
}

func TestUnavailable(t *testing.T) {
	nc := enginetest.NATS(t)
	r := open(t, jetStream(t, nc), Options{Timeout: 300 * time.Millisecond})
	c := openContacts(t, jetStream(t, nc), ContactsOptions{})
	nc.Close()
	_, err := r.Put(t.Context(), action("mail", `{}`, 0))
	wantCode(t, err, nextbest.Unavailable)
	_, _, err = c.Get(t.Context(), "a")
	wantCode(t, err, nextbest.Unavailable)
	_, err = r.PutBlob(t.Context(), content(5))
	wantCode(t, err, nextbest.Unavailable)
}

func TestEnsureSecret(t *testing.T) {
	nc := enginetest.NATS(t)
	values := make(chan string, 8)
	for i := range 8 {
		r := open(t, jetStream(t, nc), Options{})
		go func() {
			v, err := r.EnsureSecret(context.Background(), "pepper")
			if err != nil {
				v = fmt.Sprint(i, err)
			}
			values <- v
		}()
	}
	first := <-values
	for range 7 {
		if v := <-values; v != first {
			t.Fatalf("two replicas have %q and %q", first, v)
		}
	}
	if !isHash(first) {
		t.Fatalf("the secret %q is not 256 bits", first)
	}
	r := open(t, jetStream(t, nc), Options{})
	put(t, r, nextbest.Change{Kind: nextbest.KindSecret, ID: "pepper", Deleted: true, Actor: "ann", IfMatch: nextbest.AnyRevision})
	_, err := r.EnsureSecret(t.Context(), "pepper")
	wantCode(t, err, nextbest.Internal)
}

func FuzzDecodeEnvelope(f *testing.F) {
	e := envelope{Nonce: "n", Version: 2, Actor: "eve", Reason: "<r>", Time: time.Unix(1, 5000).UTC(), Previous: strings.Repeat("a", 64), Document: []byte(`{"a":"\u2028<"}`)}
	b, err := e.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"nonce":"n","version":1,"actor":"a","time":"2026-01-01T00:00:00Z","deleted":true}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := newState()
		s.apply(1, definitions+"actions.a", data) // never panics
		e, err := decodeEnvelope(data)
		if err != nil {
			if len(s.records) != 0 {
				t.Fatal("a body that cannot be decoded became a record")
			}
			return
		}
		again, err := e.encode()
		if err != nil {
			t.Fatal(err)
		}
		d, err := decodeEnvelope(again)
		if err != nil || d.Version != e.Version || d.Actor != e.Actor || d.Reason != e.Reason || !d.Time.Equal(e.Time) || d.Previous != e.Previous || d.Deleted != e.Deleted {
			t.Fatalf("%q is %+v, then %+v, %v", data, e, d, err)
		}
	})
}

func FuzzParseSubject(f *testing.F) {
	f.Add(definitions + "models.lints.3")
	f.Add(definitions + "actions.a")
	f.Fuzz(func(t *testing.T, subject string) {
		if kind, id, err := parseSubject(subject); err == nil && subjectOf(kind, id) != subject {
			t.Fatalf("%q is %s/%s", subject, kind, id)
		}
	})
}

func FuzzDecodeSecret(f *testing.F) {
	f.Add([]byte(`{"value":"x"}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		if v, err := decodeSecret("s", document); (err == nil) == (v == "") {
			t.Fatalf("%q is %q, %v", document, v, err)
		}
	})
}

// TestLostEnd opens a stream whose newest record is gone, as after a disk that
// forgot: it is refused, not waited for.
func TestLostEnd(t *testing.T) {
	js := jetStream(t, enginetest.NATS(t))
	r := open(t, js, Options{})
	cfg := r.stream.CachedInfo().Config
	r.Close()
	if err := js.DeleteStream(t.Context(), registryStream); err != nil {
		t.Fatal(err)
	}
	cfg.DenyDelete = false
	stream, err := js.CreateStream(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ack, err := js.Publish(t.Context(), definitions+"actions.mail", []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.DeleteMsg(t.Context(), ack.Sequence); err != nil {
		t.Fatal(err)
	}
	cfg.DenyDelete = true
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := Open(ctx, js, Options{}); nextbest.CodeOf(err) != nextbest.Internal || !strings.Contains(err.Error(), "revision 1") {
		t.Errorf("opened with %v", err)
	}
}
