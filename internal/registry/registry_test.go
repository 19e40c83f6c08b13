package registry

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"nextbest"
	"nextbest/internal/embedded/enginetest"
)

func jetStream(t testing.TB, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func open(t testing.TB, js jetstream.JetStream, opts Options) *Registry {
	t.Helper()
	r, err := Open(t.Context(), js, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func action(id, document string, ifMatch uint64) nextbest.Change {
	return nextbest.Change{Kind: nextbest.KindAction, ID: id, Document: []byte(document), Actor: "ann", Reason: "a test", IfMatch: ifMatch}
}

func put(t testing.TB, r *Registry, c nextbest.Change) nextbest.Record {
	t.Helper()
	rec, err := r.Put(t.Context(), c)
	if err != nil {
		t.Fatalf("put %s/%s: %v", c.Kind, c.ID, err)
	}
	return rec
}

func wantCode(t testing.TB, err error, code nextbest.Code) {
	t.Helper()
	if nextbest.CodeOf(err) != code {
		t.Errorf("got error %v (code %q), want code %q", err, nextbest.CodeOf(err), code)
	}
}

func TestPutReadAndHistory(t *testing.T) {
	r := open(t, jetStream(t, enginetest.NATS(t)), Options{})
	first := put(t, r, action("mail", `{"goal": "a<b & c"}`, 0))
	if first.Version != 1 || first.Revision != 1 || first.Previous != "" || string(first.Document) != `{"goal":"a<b & c"}` {
		t.Fatalf("first record: %+v %s", first, first.Document)
	}
	second := put(t, r, action("mail", `{"goal":"x"}`, first.Revision))
	if second.Version != 2 || second.Revision != 2 || !isHash(second.Previous) {
		t.Fatalf("second record: %+v", second)
	}
	put(t, r, nextbest.Change{Kind: nextbest.KindModel, ID: "lints.3", Document: []byte(`{}`), Actor: "trainer"})

	_, err := r.Put(t.Context(), action("mail", `{}`, 0))
	wantCode(t, err, nextbest.Conflict)
	_, err = r.Put(t.Context(), action("mail", `{}`, first.Revision))
	wantCode(t, err, nextbest.Stale)
	_, err = r.Put(t.Context(), action("mail", `{}`, 999))
	wantCode(t, err, nextbest.Stale)
	_, err = r.Put(t.Context(), action("other", `{}`, 1))
	wantCode(t, err, nextbest.Stale)
	_, err = r.Put(t.Context(), nextbest.Change{Kind: nextbest.KindAction, ID: "none", Deleted: true, Actor: "ann", IfMatch: nextbest.AnyRevision})
	wantCode(t, err, nextbest.NotFound)
	if rev, all := r.Snapshot(); rev != 3 || len(all) != 3 {
		t.Fatalf("the refused changes left traces: revision %d, %d records", rev, len(all))
	}

	third := put(t, r, nextbest.Change{Kind: nextbest.KindAction, ID: "mail", Deleted: true, Actor: "bob", IfMatch: second.Revision})
	if _, ok := r.Get(nextbest.KindAction, "mail"); ok || !third.Deleted {
		t.Fatal("a deleted action is still there")
	}
	if got := r.List(nextbest.KindAction); len(got) != 0 {
		t.Fatalf("a deleted action is listed: %v", got)
	}
	if old, ok := r.Version(nextbest.KindAction, "mail", 2); !ok || string(old.Document) != `{"goal":"x"}` {
		t.Fatalf("version 2 is %+v", old)
	}
	fourth := put(t, r, action("mail", `{"goal":"again"}`, 0))
	if fourth.Version != 4 {
		t.Fatalf("the recreated action has version %d", fourth.Version)
	}
	if h := r.History(nextbest.KindAction, "mail"); len(h) != 4 || h[2].Actor != "bob" || !h[2].Deleted {
		t.Fatalf("history: %+v", h)
	}
}

func TestBadChanges(t *testing.T) {
	r := open(t, jetStream(t, enginetest.NATS(t)), Options{})
	for name, c := range map[string]nextbest.Change{
		"kind":             {Kind: "Bad.Kind", ID: "a", Document: []byte(`{}`), Actor: "ann"},
		"wildcard":         {Kind: "actions", ID: "*", Document: []byte(`{}`), Actor: "ann"},
		"dots":             {Kind: "actions", ID: "a..1", Document: []byte(`{}`), Actor: "ann"},
		"version zero":     {Kind: "models", ID: "a.0", Document: []byte(`{}`), Actor: "ann"},
		"no actor":         {Kind: "actions", ID: "a", Document: []byte(`{}`)},
		"not JSON":         {Kind: "actions", ID: "a", Document: []byte(`{"a":1e}`), Actor: "ann"},
		"not an object":    {Kind: "actions", ID: "a", Document: []byte(`[1]`), Actor: "ann"},
		"two values":       {Kind: "actions", ID: "a", Document: []byte(`{} {}`), Actor: "ann"},
		"deleted document": {Kind: "actions", ID: "a", Document: []byte(`{}`), Deleted: true, Actor: "ann"},
	} {
		if _, err := r.Put(t.Context(), c); nextbest.CodeOf(err) != nextbest.Invalid {
			t.Errorf("%s: got %v", name, err)
		}
	}
	large := action("a", `{"x":"`+string(make([]byte, 0))+fmt.Sprintf("%02000000d", 1)+`"}`, 0)
	_, err := r.Put(t.Context(), large)
	wantCode(t, err, nextbest.TooLarge)
	if rev, _ := r.Snapshot(); rev != 0 {
		t.Fatalf("bad changes left %d records", rev)
	}
}

// TestRacingWriters has two replicas, each with several writers, increment one
// counter by compare-and-set. Both never win: the counter ends at the number of
// successes, and every version is there once.
func TestRacingWriters(t *testing.T) {
	nc := enginetest.NATS(t)
	a, b := open(t, jetStream(t, nc), Options{}), open(t, jetStream(t, nc), Options{})
	put(t, a, action("n", `{"n":0}`, 0))
	var wins, last atomic.Uint64
	var wg sync.WaitGroup
	for g := range 8 {
		r := []*Registry{a, b}[g%2]
		wg.Go(func() {
			for done := 0; done < 10; {
				now, ok := r.Get(nextbest.KindAction, "n")
				if !ok {
					continue // replica b has not seen it yet
				}
				rec, err := r.Put(t.Context(), action("n", fmt.Sprintf(`{"n":%d}`, now.Version), now.Revision))
				switch nextbest.CodeOf(err) {
				case "":
					if rec.Version != now.Version+1 {
						t.Errorf("version %d follows %d", rec.Version, now.Version)
					}
					for old := last.Load(); old < rec.Revision && !last.CompareAndSwap(old, rec.Revision); {
						old = last.Load()
					}
					wins.Add(1)
					done++
				case nextbest.Stale:
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for _, r := range []*Registry{a, b} { // either may still have to hear of the other's last write
		if err := r.Wait(t.Context(), last.Load()); err != nil {
			t.Fatal(err)
		}
	}
	_, all := a.Snapshot()
	if wins.Load() != 80 || len(all) != 81 {
		t.Fatalf("%d wins, %d records", wins.Load(), len(all))
	}
	for i, rec := range all {
		if want := fmt.Sprintf(`{"n":%d}`, i); string(rec.Document) != want {
			t.Fatalf("record %d is %s", i, rec.Document)
		}
	}
	assertEqual(t, a, b)
}

// TestTwoRegistriesConverge writes unconditional changes on both and compares.
func TestTwoRegistriesConverge(t *testing.T) {
	nc := enginetest.NATS(t)
	a, b := open(t, jetStream(t, nc), Options{}), open(t, jetStream(t, nc), Options{})
	var wg sync.WaitGroup
	for g := range 6 {
		r := []*Registry{a, b}[g%2]
		wg.Go(func() {
			for i := range 10 {
				c := action(fmt.Sprintf("a%d", i%3), fmt.Sprintf(`{"g":%d,"i":%d}`, g, i), nextbest.AnyRevision)
				if _, err := r.Put(t.Context(), c); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(a.Wait(t.Context(), 60), b.Wait(t.Context(), 60)); err != nil {
		t.Fatal(err)
	}
	assertEqual(t, a, b)
	c := open(t, jetStream(t, nc), Options{}) // Open returns caught up
	assertEqual(t, a, c)
	audit, err := c.Audit(t.Context())
	if err != nil || !audit.OK() || audit.Records != 60 || audit.Objects != 3 || audit.Revision != 60 {
		t.Fatalf("audit: %+v, %v", audit, err)
	}
	if c.mu.RLock(); audit.Head != c.state.headHash() {
		t.Error("the audit's head differs from the replica's")
	}
	c.mu.RUnlock()
}

func assertEqual(t *testing.T, a, b *Registry) {
	t.Helper()
	_, x := a.Snapshot()
	_, y := b.Snapshot()
	if len(x) != len(y) {
		t.Fatalf("%d and %d records", len(x), len(y))
	}
	for i := range x {
		if fmt.Sprintf("%+v", x[i]) != fmt.Sprintf("%+v", y[i]) {
			t.Fatalf("record %d differs:\n%+v\n%+v", i, x[i], y[i])
		}
	}
}

// TestWriteOnOtherReplica names in If-Match a revision that only the other
// replica has seen so far.
func TestWriteOnOtherReplica(t *testing.T) {
	nc := enginetest.NATS(t)
	a, b := open(t, jetStream(t, nc), Options{}), open(t, jetStream(t, nc), Options{})
	for i := range 20 {
		match := uint64(0)
		if now, ok := a.Get(nextbest.KindAction, "x"); ok {
			match = now.Revision
		}
		rec := put(t, a, action("x", fmt.Sprintf(`{"i":%d}`, i), match))
		put(t, b, action("x", `{"from":"b"}`, rec.Revision))
		if err := a.Wait(t.Context(), rec.Revision+1); err != nil {
			t.Fatal(err)
		}
	}
}

func TestChanged(t *testing.T) {
	r := open(t, jetStream(t, enginetest.NATS(t)), Options{})
	changed := r.Changed()
	select {
	case <-changed:
		t.Fatal("nothing has changed")
	default:
	}
	put(t, r, action("a", `{}`, 0))
	<-changed
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	wantCode(t, r.Wait(ctx, 5), nextbest.Unavailable)
}

func TestRunEnds(t *testing.T) {
	nc := enginetest.NATS(t)
	r := open(t, jetStream(t, nc), Options{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	lost := open(t, jetStream(t, nc), Options{})
	go func() { ended <- lost.Run(t.Context()) }()
	nc.Close()
	wantCode(t, <-ended, nextbest.Unavailable)
}
