package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"nextbest"
	"nextbest/cmd/nextbest/client"
	"nextbest/internal/embedded/enginetest"
	"nextbest/logging"
)

// TestReplicas runs two servers on one NATS and one ClickHouse, both given by
// URL, and asks both about the same customers at the same time.
func TestReplicas(t *testing.T) {
	a, b := twoReplicas(t)
	define(t, a)
	a.ready(t)
	b.ready(t)
	eventually(t, "the definitions reach the other replica", func() error {
		_, err := b.owner.Call(t.Context(), "GET", "/v1/placements/mailbox", nil, nil)
		return err
	})

	t.Run("caps", func(t *testing.T) { capsAcross(t, a, b) })
	t.Run("repeats", func(t *testing.T) { repeatsAcross(t, a, b) })
	t.Run("definitions", func(t *testing.T) { definitionsAcross(t, a, b) })
	t.Run("impressions", func(t *testing.T) { impressionsAcross(t, a, b) })
	t.Run("log", func(t *testing.T) { logAcross(t, a, b) })
	t.Run("one goes", func(t *testing.T) {
		last := a.settled(t)
		a.stop()
		m := decide(t, b.channel, call("shop", "after", 3, "men"))
		if b.settled(t) <= last {
			t.Errorf("decision %s did not move the journal", m.ID)
		}
		verified(t, b.analyst)
	})
}

// twoReplicas opens both at once on engines that hold nothing yet.
func twoReplicas(t *testing.T) (a, b *rig) {
	t.Helper()
	ns, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(), SyncAlways: true, JetStreamMaxMemory: 256 << 20, JetStreamMaxStore: 4 << 30})
	if err != nil {
		t.Fatal(err)
	}
	go ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(20 * time.Second) {
		t.Fatal("NATS does not start")
	}
	clickhouse := enginetest.ClickHouse(t)
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	var servers [2]*server
	var errs [2]error
	var wg sync.WaitGroup
	for i := range servers {
		e := engines{Data: t.TempDir(), ClickHouse: clickhouse, NATS: ns.ClientURL(), Replicas: 1, JournalSize: 512}
		wg.Go(func() { servers[i], errs[i] = openServer(t.Context(), e, quick, log, t.Logf) })
	}
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	return serve(t, servers[0]), serve(t, servers[1])
}

// eventually waits up to ten seconds until f has no error.
func eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// together makes n calls at once, every other one on the second replica.
func together(t testing.TB, a, b *rig, n int, one func(i int, c *client.Client) error) {
	t.Helper()
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		c := []*client.Client{a.channel, b.channel}[i%2]
		wg.Go(func() {
			<-begin
			if err := one(i, c); err != nil {
				t.Error(err)
			}
		})
	}
	close(begin)
	wg.Wait()
}

// capsAcross has 40 calls for one customer on both replicas: the action with a
// cap of one is given once, in the answers and in the log.
func capsAcross(t *testing.T, a, b *rig) {
	var mu sync.Mutex
	contacts, away := map[string]int{}, 0
	for round := range 5 {
		customer := fmt.Sprintf("K-%d", round)
		together(t, a, b, 40, func(_ int, c *client.Client) error {
			var m made
			_, err := c.Call(t.Context(), "POST", "/v1/decisions", call("mailbox", customer, 3, "men"), &m)
			mu.Lock()
			defer mu.Unlock()
			if p := client.AsProblem(err); p != nil && p.Status == http.StatusServiceUnavailable {
				away++ // too many conflicts: nothing was decided
				return nil
			}
			if m.Action == "once" {
				contacts[customer]++
			}
			return err
		})
		if contacts[customer] != 1 {
			t.Errorf("customer %s was contacted %d times, the cap is 1", customer, contacts[customer])
		}
	}
	if away > 20 {
		t.Errorf("%d of 200 calls gave up", away)
	}
	a.settled(t)
	logged := map[string]int{}
	rows := 0
	if err := b.store.Decisions(t.Context(), logging.DecisionQuery{Placement: "mailbox"}, func(d *nextbest.Decision) error {
		rows++
		if d.Action == "once" {
			logged[d.Customer]++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if rows != 200-away || len(logged) != 5 {
		t.Errorf("%d rows in the log with contacts of %d customers, want %d and 5", rows, len(logged), 200-away)
	}
	for customer, n := range logged {
		if n != 1 {
			t.Errorf("the log has %d contacts of %s", n, customer)
		}
	}
}

// repeatsAcross sends one call with one key to both replicas at once.
func repeatsAcross(t *testing.T, a, b *rig) {
	for round := range 10 {
		var mu sync.Mutex
		ids, firsts := map[string]int{}, 0
		key := client.Header("Idempotency-Key", fmt.Sprintf("key-%d", round))
		together(t, a, b, 10, func(_ int, c *client.Client) error {
			var m made
			_, err := c.Call(t.Context(), "POST", "/v1/decisions", call("shop", fmt.Sprintf("R-%d", round), 3, "men"), &m, key)
			mu.Lock()
			defer mu.Unlock()
			ids[m.ID]++
			if !m.Repeated {
				firsts++
			}
			return err
		})
		if len(ids) != 1 || firsts != 1 {
			t.Errorf("one key has %d first answers and decisions %v", firsts, ids)
		}
	}
	refused(t, b.channel, 409, "POST", "/v1/decisions", call("shop", "R-0", 4, "men"), client.Header("Idempotency-Key", "key-0"))
	a.settled(t)
	rows := 0
	if err := a.store.Decisions(t.Context(), logging.DecisionQuery{Placement: "shop"}, func(*nextbest.Decision) error { rows++; return nil }); err != nil || rows != 10 {
		t.Errorf("%d rows of 10 keys, error %v", rows, err)
	}
}

// definitionsAcross changes one definition on both: one wins.
func definitionsAcross(t *testing.T, a, b *rig) {
	doc, etag := placementAt(t, a, "certain")
	var wg sync.WaitGroup
	var statuses [2]int
	for i, r := range []*rig{a, b} {
		mine := obj{}
		for k, v := range doc {
			mine[k] = v
		}
		mine["owner"] = fmt.Sprintf("replica-%d", i)
		wg.Go(func() {
			_, err := r.owner.Call(t.Context(), "PUT", "/v1/placements/certain", mine, nil, client.IfMatch(etag))
			statuses[i] = http.StatusOK
			if p := client.AsProblem(err); p != nil {
				statuses[i] = p.Status
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if statuses != [2]int{200, 412} && statuses != [2]int{412, 200} {
		t.Errorf("two changes of one revision answer %v; want one 200 and one 412", statuses)
	}
	eventually(t, "both replicas agree", func() error {
		one, tagA := placementAt(t, a, "certain")
		other, tagB := placementAt(t, b, "certain")
		if one["owner"] != other["owner"] || tagA != tagB || tagA == etag {
			return fmt.Errorf("%v at %s, %v at %s", one["owner"], tagA, other["owner"], tagB)
		}
		return nil
	})
	gone := revokedKey(t, a)
	eventually(t, "a revoked key is refused by the other replica", func() error {
		_, err := b.admin.As(gone.Key).Call(t.Context(), "GET", "/v1/keys", nil, nil)
		if p := client.AsProblem(err); p == nil || p.Status != http.StatusUnauthorized {
			return fmt.Errorf("answered with %v", err)
		}
		return nil
	})
}

// impressionsAcross reports to one replica what became of the other's decision.
func impressionsAcross(t *testing.T, a, b *rig) {
	m := decide(t, a.channel, call("mailbox", "I-1", 3, "men"))
	must(t, b.channel, "POST", "/v1/decisions/"+m.ID+"/impression", obj{"status": "bounced"}, nil)
	eventually(t, "the bounce frees the cap", func() error {
		if again := decide(t, a.channel, call("mailbox", "I-1", 3, "men")); again.Action != "once" {
			return fmt.Errorf("%+v", again)
		}
		return nil
	})
}

// logAcross looks at the log after traffic on both: both sinks reach the end,
// and no decision or reward is there twice.
func logAcross(t *testing.T, a, b *rig) {
	d0, w0 := a.counts(t, "shop")
	var mu sync.Mutex
	ids := map[string]bool{}
	together(t, a, b, 16, func(i int, c *client.Client) error {
		for k := range 25 {
			var m made
			if _, err := c.Call(t.Context(), "POST", "/v1/decisions", call("shop", fmt.Sprintf("L-%d-%d", i, k), 3, "men"), &m); err != nil {
				return err
			}
			if _, err := c.Call(t.Context(), "POST", "/v1/rewards", lines(orderLine(m.ID, m.ID, time.Now())), nil, ndjson); err != nil {
				return err
			}
			mu.Lock()
			ids[m.ID] = true
			mu.Unlock()
		}
		return nil
	})
	a.settled(t)
	b.settled(t)
	if d, w := b.counts(t, "shop"); len(ids) != 400 || d-d0 != 400 || w-w0 != 400 {
		t.Errorf("%d decisions were answered; the log holds %d more decisions and %d more rewards", len(ids), d-d0, w-w0)
	}
	for _, r := range []*rig{a, b} {
		if s, err := r.sink.Stats(t.Context()); err != nil || s.Lag != 0 || s.DeadLetters != 0 {
			t.Errorf("a sink has %+v, error %v", s, err)
		}
	}
}
