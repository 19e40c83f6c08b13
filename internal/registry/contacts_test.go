package registry

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"nextbest"
	"nextbest/internal/embedded/enginetest"
)

func openContacts(t testing.TB, js jetstream.JetStream, opts ContactsOptions) *Contacts {
	t.Helper()
	if opts.Poll == 0 {
		opts.Poll = 20 * time.Millisecond
	}
	c, err := OpenContacts(t.Context(), js, opts)
	// A cluster on a busy machine may take longer than one call is given.
	for tries := 0; tries < 5 && nextbest.CodeOf(err) == nextbest.Unavailable; tries++ {
		c, err = OpenContacts(t.Context(), js, opts)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func set(t testing.TB, c *Contacts, customer, value string) uint64 {
	t.Helper()
	for {
		_, rev, err := c.Get(t.Context(), customer)
		if err != nil {
			t.Fatal(err)
		}
		next, ok, err := c.CompareAndSet(t.Context(), customer, []byte(value), rev)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			return next
		}
	}
}

// TestContactsExact has two replicas count to a cap of 50 for each of a few
// customers, from many goroutines: a cap is reached, never exceeded.
func TestContactsExact(t *testing.T) {
	nc := enginetest.NATS(t)
	a, b := openContacts(t, jetStream(t, nc), ContactsOptions{}), openContacts(t, jetStream(t, nc), ContactsOptions{})
	const limit = 50
	var reserved [3]atomic.Int64
	var wg sync.WaitGroup
	for g := range 16 {
		c := []*Contacts{a, b}[g%2]
		wg.Go(func() {
			for i := 0; ; i++ {
				k := (g + i) % len(reserved)
				customer := "customer-" + strconv.Itoa(k)
				value, rev, err := c.Get(t.Context(), customer)
				if err != nil {
					t.Error(err)
					return
				}
				n, _ := strconv.Atoi(string(value))
				if n == limit {
					if reserved[0].Load()+reserved[1].Load()+reserved[2].Load() == 3*limit {
						return
					}
					continue
				}
				_, ok, err := c.CompareAndSet(t.Context(), customer, []byte(strconv.Itoa(n+1)), rev)
				if err != nil {
					t.Error(err)
					return
				}
				if ok {
					reserved[k].Add(1)
				}
			}
		})
	}
	wg.Wait()
	for k := range reserved {
		if n := reserved[k].Load(); n != limit {
			t.Errorf("customer %d: %d contacts under a cap of %d", k, n, limit)
		}
	}
}

func TestContactsBadKeys(t *testing.T) {
	c := openContacts(t, jetStream(t, enginetest.NATS(t)), ContactsOptions{})
	for _, key := range []string{"", "a.b", "*", ">", "a b", "ä", strings.Repeat("x", 129)} {
		_, _, err := c.Get(t.Context(), key)
		wantCode(t, err, nextbest.Invalid)
		_, _, err = c.CompareAndSet(t.Context(), key, nil, 0)
		wantCode(t, err, nextbest.Invalid)
	}
}

// TestRebuildOnce: of two replicas one rebuilds, both become ready, what was
// decided in the meantime is merged rather than overwritten.
func TestRebuildOnce(t *testing.T) {
	nc := enginetest.NATS(t)
	merge := func(current, loaded []byte) ([]byte, error) {
		return []byte(string(current) + "+" + string(loaded)), nil
	}
	a := openContacts(t, jetStream(t, nc), ContactsOptions{Merge: merge})
	b := openContacts(t, jetStream(t, nc), ContactsOptions{Merge: merge})
	if a.Ready() || b.Ready() || a.Generation() != b.Generation() {
		t.Fatal("a new bucket is ready, or has two generations")
	}
	set(t, a, "early", "live")
	var rebuilds atomic.Int64
	rebuild := func(ctx context.Context, load Load) error {
		rebuilds.Add(1)
		return errors.Join(load(ctx, "early", []byte("log")), load(ctx, "other", []byte("log")))
	}
	run(t, a, rebuild)
	run(t, b, rebuild)
	until(t, func() bool { return a.Ready() && b.Ready() })
	if n := rebuilds.Load(); n != 1 {
		t.Errorf("%d rebuilds", n)
	}
	for customer, want := range map[string]string{"early": "live+log", "other": "log"} {
		if v, _, err := b.Get(t.Context(), customer); err != nil || string(v) != want {
			t.Errorf("%s: %q, %v; want %q", customer, v, err, want)
		}
	}
}

// TestLostBucket takes the bucket away under two replicas: no compare-and-set
// that read before the loss passes, the write that meets the new bucket first
// notices, and the history is rebuilt.
func TestLostBucket(t *testing.T) {
	nc := enginetest.NATS(t)
	js := jetStream(t, nc)
	// A poll of an hour: the loss must show by the sequences alone.
	a := openContacts(t, js, ContactsOptions{Poll: time.Hour})
	for i := range 20 {
		set(t, a, fmt.Sprintf("c%d", i), "old")
	}
	old := a.Generation()
	_, rev, err := a.Get(t.Context(), "c3")
	if err != nil {
		t.Fatal(err)
	}
	_, absent, err := a.Get(t.Context(), "nobody")
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), contactStream); err != nil {
		t.Fatal(err)
	}
	_, _, err = a.CompareAndSet(t.Context(), "c3", []byte("new"), rev)
	wantCode(t, err, nextbest.Unavailable)
	// Another replica brings the bucket back.
	b := openContacts(t, js, ContactsOptions{Poll: time.Hour})
	if b.Generation() == old {
		t.Fatal("the new bucket has the old generation")
	}
	_, _, err = a.CompareAndSet(t.Context(), "nobody", []byte("new"), absent)
	wantCode(t, err, nextbest.Unavailable)
	if a.Generation() != b.Generation() || a.Ready() {
		t.Fatal("the write into the new bucket did not notice the loss")
	}
	if _, ok, err := a.CompareAndSet(t.Context(), "c3", []byte("new"), rev); ok || err != nil {
		t.Fatalf("a revision of the lost bucket passed: %v %v", ok, err)
	}
	if v, _, err := a.Get(t.Context(), "c3"); err != nil || v != nil {
		t.Fatalf("after the loss c3 is %q, %v", v, err)
	}
}

// TestRebuildTakenOver: the replica that rebuilds goes silent, another does it.
func TestRebuildTakenOver(t *testing.T) {
	nc := enginetest.NATS(t)
	js := jetStream(t, nc)
	a := openContacts(t, js, ContactsOptions{})
	claim := a.bucket.mark.Load()
	dead := claim.marker
	dead.Holder = "a replica that died"
	if won, err := a.bucket.putMarker(t.Context(), dead, claim.sequence); err != nil || !won {
		t.Fatal(won, err)
	}
	b := openContacts(t, js, ContactsOptions{Lease: 200 * time.Millisecond})
	var calls atomic.Int64
	start := time.Now()
	run(t, b, func(ctx context.Context, load Load) error {
		if calls.Add(1) == 1 {
			return errors.New("the log is away")
		}
		return load(ctx, "x", []byte("1"))
	})
	until(t, b.Ready)
	if took := time.Since(start); took < 200*time.Millisecond || calls.Load() != 2 {
		t.Errorf("taken over after %v, %d calls", took, calls.Load())
	}
}

func TestContactsExpire(t *testing.T) {
	c := openContacts(t, jetStream(t, enginetest.NATS(t)), ContactsOptions{Keep: time.Second})
	set(t, c, "a", "x")
	until(t, func() bool {
		it, err := c.bucket.getLeader(t.Context(), contactSubject+"k.a")
		return err == nil && it.sequence == 0
	})
	// The kept revision is old now; the next try asks the leader and passes.
	set(t, c, "a", "y")
	if err := c.bucket.refresh(t.Context()); err != nil || c.bucket.mark.Load().epoch != 1 {
		t.Fatalf("the marker has expired too: %v", err)
	}
}

func run(t *testing.T, c *Contacts, rebuild func(context.Context, Load) error) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx, rebuild) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func until(t *testing.T, what func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !what(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen within 30 s")
		}
	}
}

// BenchmarkContacts measures one decision's share from 64 goroutines over one
// in-process connection: new customers (a read that finds nothing, a write) and
// known ones (a write, the read being local).
func BenchmarkContacts(b *testing.B) {
	value := make([]byte, 300)
	for _, known := range []bool{false, true} {
		b.Run(fmt.Sprintf("known=%v", known), func(b *testing.B) {
			c := openContacts(b, jetStream(b, enginetest.NATS(b)), ContactsOptions{})
			var next atomic.Int64
			b.SetParallelism(64 / 2)
			b.ReportAllocs()
			b.RunParallel(func(p *testing.PB) {
				g := next.Add(1) << 32
				for p.Next() {
					customer := strconv.FormatInt(g, 16)
					if !known {
						customer = strconv.FormatInt(next.Add(1), 16)
					}
					_, rev, err := c.Get(context.Background(), customer)
					if err != nil {
						b.Fatal(err)
					}
					if _, ok, err := c.CompareAndSet(context.Background(), customer, value, rev); err != nil || !ok {
						b.Fatal(ok, err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
		})
	}
}

// BenchmarkKV is the same through nats.go's key-value store.
func BenchmarkKV(b *testing.B) {
	value := make([]byte, 300)
	kv, err := jetStream(b, enginetest.NATS(b)).CreateKeyValue(context.Background(), jetstream.KeyValueConfig{Bucket: "bench", Storage: jetstream.MemoryStorage})
	if err != nil {
		b.Fatal(err)
	}
	var next atomic.Int64
	b.SetParallelism(64 / 2)
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			customer := strconv.FormatInt(next.Add(1), 16)
			if _, err := kv.Get(context.Background(), customer); !errors.Is(err, jetstream.ErrKeyNotFound) {
				b.Fatal(err)
			}
			if _, err := kv.Create(context.Background(), customer, value); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

// TestKept: a revision is kept until the bucket is lost, which is found by asking.
func TestKept(t *testing.T) {
	js := jetStream(t, enginetest.NATS(t))
	c := openContacts(t, js, ContactsOptions{Poll: time.Hour})
	rev := set(t, c, "a", "x")
	if kept, err := c.Kept(t.Context(), rev); err != nil || !kept {
		t.Fatal(kept, err)
	}
	if err := js.DeleteStream(t.Context(), contactStream); err != nil {
		t.Fatal(err)
	}
	if kept, err := c.Kept(t.Context(), rev); err != nil || kept {
		t.Fatal(kept, err)
	}
	if kept, err := c.Kept(t.Context(), set(t, c, "a", "y")); err != nil || !kept {
		t.Fatal(kept, err)
	}
}
