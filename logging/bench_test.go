package logging

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"nextbest"
	"nextbest/internal/embedded"
)

func benchJournal(b *testing.B, opts JournalOptions) *Journal {
	b.Helper()
	n, err := embedded.StartNATS(embedded.NATSOptions{Dir: b.TempDir(), Logger: quiet()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(n.Close)
	conn, err := n.Connect()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		b.Fatal(err)
	}
	j, err := OpenJournal(context.Background(), js, opts)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := j.Close(context.Background()); err != nil {
			b.Error(err)
		}
	})
	return j
}

// BenchmarkJournalDecisions: single durable decisions of 20 actions and 32
// features from 64 callers at once.
func BenchmarkJournalDecisions(b *testing.B) {
	for _, inFlight := range []int{1, 2, 4} {
		for _, callers := range []int{1, 64, 256} {
			b.Run(fmt.Sprintf("inflight=%d/callers=%d", inFlight, callers), func(b *testing.B) {
				j := benchJournal(b, JournalOptions{InFlight: inFlight})
				rng := rand.New(rand.NewPCG(1, 1))
				decisions := make([]nextbest.Decision, 1024)
				for i := range decisions {
					decisions[i] = fullDecision(rng, t0)
				}
				var next atomic.Int64
				n := int64(b.N)
				b.ReportAllocs()
				b.ResetTimer()
				var wg sync.WaitGroup
				for range callers {
					wg.Go(func() {
						for i := next.Add(1); i <= n; i = next.Add(1) {
							k := int(i) % len(decisions)
							if _, err := j.Decisions(context.Background(), decisions[k:k+1]); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
				b.ReportMetric(float64(j.Stats().Events)/float64(j.Stats().Messages), "events/message")
			})
		}
	}
}

// BenchmarkJournalRewards: bulk calls of 10,000 rewards from two callers.
func BenchmarkJournalRewards(b *testing.B) {
	j := benchJournal(b, JournalOptions{})
	rewards := rewardsOf(10_000, "reward")
	var next atomic.Int64
	n := int64(b.N)
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for i := next.Add(1); i <= n; i = next.Add(1) {
				if _, err := j.Rewards(context.Background(), rewards); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)*10_000/b.Elapsed().Seconds(), "rewards/s")
}

// BenchmarkSink: from a full journal into ClickHouse.
func BenchmarkSink(b *testing.B) {
	b.Run("decisions", func(b *testing.B) {
		rng := rand.New(rand.NewPCG(1, 1))
		decisions := make([]nextbest.Decision, 50_000)
		for i := range decisions {
			decisions[i] = fullDecision(rng, t0.Add(time.Duration(i)*time.Millisecond))
		}
		benchSink(b, len(decisions), func(j *Journal, _ int) (uint64, error) {
			return j.Decisions(context.Background(), decisions)
		})
	})
	b.Run("rewards", func(b *testing.B) {
		benchSink(b, 100_000, func(j *Journal, round int) (p uint64, err error) {
			for i := 0; i < 10 && err == nil; i++ {
				p, err = j.Rewards(context.Background(), rewardsOf(10_000, fmt.Sprintf("%d-%d", round, i)))
			}
			return p, err
		})
	})
}

func benchSink(b *testing.B, rows int, fill func(j *Journal, round int) (uint64, error)) {
	store := testStore(b)
	j := benchJournal(b, JournalOptions{})
	var last uint64
	var err error
	for i := range b.N {
		if last, err = fill(j, i); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	sink := startSink(b, j, store, SinkOptions{FlushEvery: 250 * time.Millisecond})
	if err := sink.WaitFor(context.Background(), last); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "rows/s")
}
