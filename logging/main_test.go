package logging

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"nextbest"
	"nextbest/internal/embedded"
	"nextbest/internal/embedded/enginetest"
)

func TestMain(m *testing.M) {
	embedded.ChildMain()
	if dir := os.Getenv(killDir); dir != "" {
		killedProgram(dir)
	}
	enginetest.Main(m)
}

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)

// newID returns a UUIDv7 for a time.
func newID(at time.Time, rng *rand.Rand) uuid.UUID {
	var id uuid.UUID
	ms := uint64(at.UnixMilli())
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	for i := 6; i < 16; i++ {
		id[i] = byte(rng.Uint32())
	}
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id
}

// fullDecision returns a decision with 20 actions and 32 features in which no
// field is empty.
func fullDecision(rng *rand.Rand, at time.Time) nextbest.Decision {
	d := nextbest.Decision{
		ID: newID(at, rng), Slot: 1, Time: at, Placement: "email-daily@3", Objective: "value@1",
		Customer: fmt.Sprintf("%032x", rng.Uint64()), Source: "live",
		Treatment: "a", Channel: "email", Propensity: rng.Float64(),
		Policy: "lints@3", Model: 814, Features: "retail@1",
		Context:    []byte(`{"context":{"history":329.08,"recency":3},"customer":{"channel":"Web","newbie":true,"zip":"Surburban"}}`),
		Experiment: "exp-1@2", Arm: "candidate",
		Arms: []nextbest.ArmProbability{
			{Arm: "holdout", Share: 0.05, Policy: "do-nothing@1", Probability: 0},
			{Arm: "candidate", Share: 0.475, Policy: "lints@3", Model: 814, Probability: rng.Float64(), Floor: 0.03},
			{Arm: "control", Share: 0.475, Policy: "rules@1", Probability: 0.1, Floor: 0.0125},
		},
		Floor: 0.02, SetAside: rng.IntN(2) == 0, Salt: "s1", Catalogue: 77, Numerics: "amd64/1",
		Key: fmt.Sprintf("key-%d", rng.Uint64()), Body: fmt.Sprintf("%016x", rng.Uint64()),
		Excluded: []nextbest.Exclusion{{Action: "womens-email", Reason: nextbest.ReasonCap, Detail: "2 of 2 in 7d"}},
	}
	for i := range 20 {
		d.Eligible = append(d.Eligible, fmt.Sprintf("action-%02d", i))
		d.Probabilities = append(d.Probabilities, rng.Float64())
		d.Scores = append(d.Scores, rng.NormFloat64())
	}
	d.Action = d.Eligible[rng.IntN(20)]
	for range 32 {
		d.X = append(d.X, float32(rng.NormFloat64()))
	}
	return d
}

// oddDecision returns a decision with the values that codecs get wrong.
func oddDecision(rng *rand.Rand, at time.Time) nextbest.Decision {
	return nextbest.Decision{
		ID: newID(at, rng), Slot: 255, Time: at, Action: "ünïcode \x00 'quoted'", Propensity: math.SmallestNonzeroFloat64,
		Eligible: []string{""}, Probabilities: []float64{math.Copysign(0, -1)}, Scores: []float64{math.Inf(-1)},
		X: []float32{math.SmallestNonzeroFloat32, float32(math.Inf(1))}, Model: math.MaxUint64, Catalogue: math.MaxUint64,
	}
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// testJournal opens a journal on a NATS server of its own.
func testJournal(t testing.TB, opts JournalOptions) (*Journal, *nats.Conn) {
	t.Helper()
	conn := enginetest.NATS(t)
	return openJournal(t, conn, opts), conn
}

func openJournal(t testing.TB, conn *nats.Conn, opts JournalOptions) *Journal {
	t.Helper()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	j, err := OpenJournal(t.Context(), js, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(context.Background()); err != nil {
			t.Errorf("closing the journal: %v", err)
		}
	})
	return j
}

func testStore(t testing.TB) *Store {
	t.Helper()
	s, err := OpenStore(t.Context(), enginetest.ClickHouse(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	})
	return s
}

// startSink runs a sink until the test ends.
func startSink(t testing.TB, j *Journal, s *Store, opts SinkOptions) *Sink {
	t.Helper()
	if opts.Logger == nil {
		opts.Logger = quiet()
	}
	if opts.FlushEvery == 0 {
		opts.FlushEvery = 20 * time.Millisecond
	}
	sink := NewSink(j, s, opts)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- sink.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("sink: %v", err)
		}
	})
	return sink
}

func waitFor(t testing.TB, sink *Sink, position uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	if err := sink.WaitFor(ctx, position); err != nil {
		t.Fatal(err)
	}
}

// queryRow scans one row.
func queryRow(t testing.TB, s *Store, query string, dest ...any) {
	t.Helper()
	if err := s.conn.QueryRow(t.Context(), query).Scan(dest...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}
