package registry

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nextbest"
)

// TestLocalContactsExact counts to a cap of 50 for each of a few customers from
// many goroutines: the cap is reached, never exceeded.
func TestLocalContactsExact(t *testing.T) {
	c := NewLocalContacts(LocalOptions{})
	const limit = 50
	customers := []string{"a", "b", "c"}
	var wg sync.WaitGroup
	var mu sync.Mutex
	reserved, revisions := map[string]int{}, map[string]uint64{}
	for range 8 {
		for _, customer := range customers {
			wg.Go(func() {
				for {
					value, rev, _ := c.Get(t.Context(), customer)
					n, _ := strconv.Atoi(string(value))
					if n == limit {
						return
					}
					next, ok, err := c.CompareAndSet(t.Context(), customer, []byte(strconv.Itoa(n+1)), rev)
					if err != nil {
						t.Error(err)
						return
					}
					if ok {
						mu.Lock()
						reserved[customer]++
						if next <= rev {
							t.Errorf("revision %d after %d", next, rev)
						}
						revisions[customer] = max(next, revisions[customer])
						mu.Unlock()
					}
				}
			})
		}
	}
	wg.Wait()
	for _, customer := range customers {
		if n := reserved[customer]; n != limit {
			t.Errorf("%s: %d contacts under a cap of %d", customer, n, limit)
		}
		if _, rev, _ := c.Get(t.Context(), customer); rev != revisions[customer] {
			t.Errorf("%s: revision %d, the last write said %d", customer, rev, revisions[customer])
		}
	}
	if _, ok, _ := c.CompareAndSet(t.Context(), "a", []byte("x"), 0); ok {
		t.Error("a history was written by somebody who had seen none")
	}
}

// TestLocalContactsFull: at the limit nothing grows and nothing is lost.
func TestLocalContactsFull(t *testing.T) {
	c := NewLocalContacts(LocalOptions{MaxBytes: 3 * (localOverhead + 200)})
	value := []byte(strings.Repeat("v", 190))
	var err error
	stored := 0
	for i := 0; err == nil && i < 10; i++ {
		if _, _, err = c.CompareAndSet(t.Context(), "customer-"+strconv.Itoa(i), value, 0); err == nil {
			stored++
		}
	}
	if nextbest.CodeOf(err) != nextbest.Unavailable || stored != 3 {
		t.Fatalf("%d histories, then %v", stored, err)
	}
	_, rev, _ := c.Get(t.Context(), "customer-0")
	if _, ok, err := c.CompareAndSet(t.Context(), "customer-0", append(value, strings.Repeat("w", 100)...), rev); ok || nextbest.CodeOf(err) != nextbest.Unavailable {
		t.Fatalf("a history grew beyond the limit: %v", err)
	}
	if got, same, _ := c.Get(t.Context(), "customer-0"); len(got) != 190 || same != rev {
		t.Fatalf("%d bytes at revision %d", len(got), same)
	}
	if _, ok, err := c.CompareAndSet(t.Context(), "customer-0", nil, rev); !ok || err != nil {
		t.Fatalf("a history that shrinks: %v", err)
	}
	if _, ok, err := c.CompareAndSet(t.Context(), "n", []byte("v"), 0); !ok || err != nil {
		t.Fatalf("the room that was given back: %v", err)
	}
}

// TestLocalContactsRebuild: not ready before a rebuild has worked, which is
// tried again; what was decided meanwhile is merged rather than overwritten.
func TestLocalContactsRebuild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewLocalContacts(LocalOptions{Logger: slog.New(slog.DiscardHandler), Merge: func(current, loaded []byte) ([]byte, error) {
			return []byte(string(current) + "+" + string(loaded)), nil
		}})
		if _, ok, err := c.CompareAndSet(t.Context(), "early", []byte("live"), 0); !ok || err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		tries := 0
		ended := make(chan error, 1)
		go func() {
			ended <- c.Run(ctx, func(ctx context.Context, load Load) error {
				if tries++; tries < 3 {
					return errors.New("the log is away")
				}
				return errors.Join(load(ctx, "early", []byte("log")), load(ctx, "other", []byte("log")))
			})
		}()
		time.Sleep(2500 * time.Millisecond)
		if c.Ready() {
			t.Error("ready although no rebuild has worked")
		}
		time.Sleep(2 * time.Second)
		if !c.Ready() || tries != 3 {
			t.Errorf("ready %v after %d tries", c.Ready(), tries)
		}
		for customer, want := range map[string]string{"early": "live+log", "other": "log"} {
			if v, _, _ := c.Get(ctx, customer); string(v) != want {
				t.Errorf("%s: %q; want %q", customer, v, want)
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
