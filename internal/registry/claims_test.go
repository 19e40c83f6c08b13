package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"nextbest"
	"nextbest/internal/embedded/enginetest"
)

func openClaims(t testing.TB, js jetstream.JetStream, opts ClaimsOptions) *Claims {
	t.Helper()
	c, err := OpenClaims(t.Context(), js, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestClaimOnce has 32 callers over two replicas claim one key: one wins, the
// others wait for its answer.
func TestClaimOnce(t *testing.T) {
	nc := enginetest.NATS(t)
	replicas := []*Claims{openClaims(t, jetStream(t, nc), ClaimsOptions{}), openClaims(t, jetStream(t, nc), ClaimsOptions{})}
	for _, key := range []string{"k", "ключ with spaces.and>*", ""} {
		var wins atomic.Int64
		var wg sync.WaitGroup
		for g := range 32 {
			c := replicas[g%2]
			wg.Go(func() {
				existing, won, err := c.Claim(t.Context(), key, []byte("body"))
				if err != nil {
					t.Error(err)
					return
				}
				if won {
					wins.Add(1)
					time.Sleep(20 * time.Millisecond)
					if err := c.Complete(t.Context(), key, []byte("answer")); err != nil {
						t.Error(err)
					}
				} else if s := string(existing); s != "body" && s != "answer" {
					t.Errorf("a loser got %q", s)
				}
				if v, err := c.Wait(t.Context(), key); err != nil || string(v) != "answer" {
					t.Errorf("%q, %v", v, err)
				}
			})
		}
		wg.Wait()
		if wins.Load() != 1 {
			t.Errorf("key %q was won %d times", key, wins.Load())
		}
	}
}

func TestClaimReleaseAndTakeOver(t *testing.T) {
	nc := enginetest.NATS(t)
	a, b := openClaims(t, jetStream(t, nc), ClaimsOptions{}), openClaims(t, jetStream(t, nc), ClaimsOptions{})
	claim := func(c *Claims, key string, want bool) {
		t.Helper()
		if _, won, err := c.Claim(t.Context(), key, []byte(key)); err != nil || won != want {
			t.Fatalf("claim %s: won %v, %v", key, won, err)
		}
	}
	claim(a, "x", true)
	claim(b, "x", false)
	wantCode(t, b.Complete(t.Context(), "x", nil), nextbest.Conflict)
	if err := a.Release(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	_, err := b.Wait(t.Context(), "x")
	wantCode(t, err, nextbest.NotFound)
	claim(b, "x", true)

	// b dies over it.
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, err = a.Wait(ctx, "x")
	wantCode(t, err, nextbest.Unavailable)
	if won, err := a.TakeOver(t.Context(), "x", []byte("x"), time.Hour); err != nil || won {
		t.Fatalf("a fresh claim was taken over: %v, %v", won, err)
	}
	if won, err := a.TakeOver(t.Context(), "x", []byte("x"), 10*time.Millisecond); err != nil || !won {
		t.Fatalf("a silent claim was not taken over: %v, %v", won, err)
	}
	wantCode(t, b.Complete(t.Context(), "x", []byte("too late")), nextbest.Conflict)
	if err := a.Complete(t.Context(), "x", []byte("done")); err != nil {
		t.Fatal(err)
	}
	if won, err := b.TakeOver(t.Context(), "x", nil, 0); err != nil || won {
		t.Fatalf("a finished claim was taken over: %v, %v", won, err)
	}
	if v, err := b.Wait(t.Context(), "x"); err != nil || string(v) != "done" {
		t.Fatalf("%q, %v", v, err)
	}
}

func TestClaimsExpire(t *testing.T) {
	c := openClaims(t, jetStream(t, enginetest.NATS(t)), ClaimsOptions{Keep: time.Second})
	if _, won, err := c.Claim(t.Context(), "x", []byte("1")); err != nil || !won {
		t.Fatal(won, err)
	}
	until(t, func() bool {
		_, won, err := c.Claim(t.Context(), "x", []byte("2"))
		return err == nil && won
	})
}

// TestClaimsLost takes the claims away under two replicas that keep watch: the
// bucket comes back without anybody opening it again, one replica puts back what
// the log knows, and neither ever says ready before that.
func TestClaimsLost(t *testing.T) {
	js := jetStream(t, enginetest.NATS(t))
	opts := ClaimsOptions{Watch: 20 * time.Millisecond}
	a, b := openClaims(t, js, opts), openClaims(t, js, opts)
	var mu sync.Mutex
	log := map[string]time.Time{}
	loaded := 0
	rebuild := func(ctx context.Context, load LoadClaim) error {
		mu.Lock()
		defer mu.Unlock()
		for key, at := range log {
			if err := load(ctx, key, []byte("first"), at); err != nil {
				return err
			}
			loaded++
		}
		return nil
	}
	for _, c := range []*Claims{a, b} {
		go c.Run(t.Context(), rebuild)
	}
	until(t, func() bool { return a.Ready() && b.Ready() })
	for i := range 10 {
		key := fmt.Sprint(i)
		if _, won, err := a.Claim(t.Context(), key, []byte("first")); err != nil || !won {
			t.Fatal(won, err)
		}
		log[key] = time.Now()
	}
	log["of the day before yesterday"] = time.Now().Add(-48 * time.Hour)
	if err := js.DeleteStream(t.Context(), claimStream); err != nil {
		t.Fatal(err)
	}
	claim := func(c *Claims, key string) (value []byte, won bool) {
		until(t, func() bool {
			var err error
			value, won, err = c.Claim(t.Context(), key, []byte("second"))
			return err == nil
		})
		return value, won
	}
	if _, won := claim(b, "new"); !won {
		t.Error("a new key was not won")
	}
	until(t, func() bool { return a.Ready() && b.Ready() })
	mu.Lock()
	if loaded != len(log) {
		t.Errorf("%d claims were put back, want %d by one replica", loaded, len(log))
	}
	mu.Unlock()
	for i := range 10 {
		if value, won := claim([]*Claims{a, b}[i%2], fmt.Sprint(i)); won || string(value) != "first" {
			t.Errorf("claim %d after the loss: won %v, %q", i, won, value)
		}
	}
	if _, won := claim(a, "of the day before yesterday"); !won {
		t.Error("a claim older than it is kept was put back")
	}
}

// TestClaimMeetsNewBucket: the claim that meets a new bucket knows, when it
// returns, that others may be missing, and its holder can replace it.
func TestClaimMeetsNewBucket(t *testing.T) {
	js := jetStream(t, enginetest.NATS(t))
	c := openClaims(t, js, ClaimsOptions{})
	watching, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- c.Run(watching, func(context.Context, LoadClaim) error { return nil })
	}()
	until(t, c.Ready)
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if _, won, err := c.Claim(t.Context(), fmt.Sprint(i), []byte("1")); err != nil || !won {
			t.Fatal(won, err)
		}
	}
	old := c.Generation()
	if err := js.DeleteStream(t.Context(), claimStream); err != nil {
		t.Fatal(err)
	}
	openClaims(t, js, ClaimsOptions{})
	if !c.Ready() {
		t.Fatal("the loss shows before anybody has looked")
	}
	if _, won, err := c.Claim(t.Context(), "3", []byte("1")); err != nil || !won {
		t.Fatal(won, err)
	}
	if c.Ready() || c.Generation() == old {
		t.Fatal("claim 3 was won again, and Ready does not say why")
	}
	wantCode(t, c.Complete(t.Context(), "5", nil), nextbest.Conflict)
	if err := c.Complete(t.Context(), "3", []byte("done")); err != nil {
		t.Fatal(err)
	}
	if v, won, err := c.Claim(t.Context(), "3", nil); err != nil || won || string(v) != "done" {
		t.Fatalf("%q, %v, %v", v, won, err)
	}
}

func TestLease(t *testing.T) {
	nc := enginetest.NATS(t)
	a, b := openClaims(t, jetStream(t, nc), ClaimsOptions{}), openClaims(t, jetStream(t, nc), ClaimsOptions{})
	hold := func(c *Claims) bool {
		ok, err := c.Hold(t.Context(), "learning", time.Second)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !hold(a) || hold(b) || !hold(a) {
		t.Fatal("the lease is not with a alone")
	}
	until(t, func() bool { return hold(b) })
	if hold(a) {
		t.Fatal("two replicas hold the lease")
	}
}

func FuzzDecodeMarker(f *testing.F) {
	f.Add([]byte(`{"generation":"g","since":"2026-01-01T00:00:00Z","ready":true}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decodeMarker(data)
		if err != nil {
			return
		}
		again, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := decodeMarker(again); err != nil || n.Generation != m.Generation || !n.Since.Equal(m.Since) || n.Ready != m.Ready {
			t.Fatalf("%+v, then %+v, %v", m, n, err)
		}
	})
}

func FuzzDecodeStored(f *testing.F) {
	f.Add([]byte(`{"message":{"subject":"s","seq":5,"hdrs":"TkFUUy8xLjANCk5hdHMtVFRMOiAxDQoNCg==","data":"YQ==","time":"2026-01-01T00:00:00Z"}}`))
	f.Add([]byte(`{"error":{"code":404,"err_code":10037,"description":"no message found"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		it, err := decodeStored(data)
		if err == nil && it.sequence == 0 && (it.value != nil || it.header != nil) {
			t.Fatal("an absent message has content")
		}
	})
}

// FuzzParseAck: the quick path agrees with encoding/json.
func FuzzParseAck(f *testing.F) {
	f.Add([]byte(`{"stream":"S", "seq":5}`))
	f.Add([]byte(`{"stream":"S","seq":5,"duplicate":true}`))
	f.Add([]byte(`{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 3"},"stream":"S","seq":0}`))
	f.Add([]byte(`{"stream":"S","seq":007}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		quick, ok := plainAck(data)
		a, err := parseAck(data)
		if ok {
			var slow struct {
				Seq uint64 `json:"seq"`
			}
			if jsonErr := json.Unmarshal(data, &slow); jsonErr == nil && slow.Seq != quick {
				t.Fatalf("%q is %d, not %d", data, slow.Seq, quick)
			}
		}
		if err == nil && a.code == 0 && a.sequence == 0 {
			t.Fatalf("%q acknowledges nothing", data)
		}
	})
}

func FuzzParseReply(f *testing.F) {
	f.Add("5.7")
	f.Add("1024.1")
	f.Fuzz(func(t *testing.T, token string) {
		if index, turn, ok := parseReply(token); ok && (index < 0 || index >= callSlots || turn > 1<<63 && len(token) < 19) {
			t.Fatalf("%q is slot %d, turn %d", token, index, turn)
		}
	})
}

// TestHeldClaims: claims that nobody completes take little memory and no time;
// the newest can always be completed.
func TestHeldClaims(t *testing.T) {
	c := openClaims(t, jetStream(t, enginetest.NATS(t)), ClaimsOptions{})
	if _, won, err := c.Claim(t.Context(), "first", []byte("1")); !won || err != nil {
		t.Fatal(won, err)
	}
	start := time.Now()
	for i := range 10 * mostHeld {
		c.hold("other-"+strconv.Itoa(i), 1)
		if i == mostHeld-2 {
			wantCode(t, c.Complete(t.Context(), "first", []byte("done")), "")
		}
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("%d claims were noted in %s", 10*mostHeld, took)
	}
	if n := len(c.mine) + len(c.older); n > 2*mostHeld {
		t.Errorf("%d claims are held; at most %d", n, 2*mostHeld)
	}
	wantCode(t, c.Complete(t.Context(), "first", []byte("again")), nextbest.Conflict)
}
