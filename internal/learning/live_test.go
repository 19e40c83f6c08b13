package learning

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"nextbest"
	"nextbest/bandit"
)

// clock is a settable time.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newTrainer(t testing.TB, r *fakeRegistry, log Log, p Position, c *clock) *Trainer {
	t.Helper()
	tr, err := New(Options{Log: log, Position: p, Definitions: r, Writer: r, Blobs: r, Now: c.now, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// decision makes a row of the log.
func decision(rng *rand.Rand, at time.Time, customer string) nextbest.Decision {
	var id uuid.UUID
	for i := range id {
		id[i] = byte(rng.Uint32())
	}
	context, err := json.Marshal(map[string]any{"context": map[string]any{"age": 20 + 50*rng.Float64(), "web": rng.IntN(2) == 0}, "customer": map[string]any{}})
	if err != nil {
		panic(err)
	}
	eligible := []string{"a", "b", nextbest.DoNothing}
	return nextbest.Decision{
		ID: id, Slot: 1, Time: at.Truncate(time.Microsecond), Placement: "mail@1", Customer: customer,
		Action: eligible[rng.IntN(3)], Eligible: eligible, Probabilities: []float64{1. / 3, 1. / 3, 1. / 3}, Propensity: 1. / 3,
		Policy: "even@1", Context: context,
	}
}

// history simulates a few minutes of a placement: decisions and rewards that
// come in time, late, out of order, twice, corrected, withdrawn, for decisions
// and for customers; some rows are imported late and some set aside. Each step
// is ten seconds; after says what to do at the end of each.
func history(rng *rand.Rand, log interface{ add(any) }, c *clock, steps int, lateness float64, after func(step int)) {
	var decisions []nextbest.Decision
	var rewards []nextbest.Reward
	for step := range steps {
		c.t = epoch.Add(time.Duration(step) * 10 * time.Second)
		for range 6 {
			at := c.t.Add(-time.Duration(rng.Int64N(int64(10 * time.Second))))
			if rng.Float64() < lateness/4 {
				at = at.Add(-time.Duration(rng.Int64N(int64(3 * time.Minute)))) // an import
			}
			d := decision(rng, at, fmt.Sprintf("c%d", rng.IntN(12)))
			d.SetAside = rng.IntN(8) == 0
			decisions = append(decisions, d)
			log.add(d)
		}
		for range 5 {
			d := decisions[rng.IntN(len(decisions))]
			r := nextbest.Reward{
				ID: fmt.Sprintf("r%d", len(rewards)), Kind: []string{"purchase", "opt_out", "visit"}[rng.IntN(3)],
				Value: math.Exp(4 * rng.NormFloat64()), Time: d.Time.Add(time.Duration(rng.Int64N(int64(70 * time.Second)))),
				DecisionID: d.ID, Slot: 1,
			}
			if late := r.Time.Before(c.t.Add(-10 * time.Second)); r.Time.After(c.t) || late && rng.Float64() > lateness {
				continue // it has not happened yet, or this history is on time
			}
			if rng.IntN(3) == 0 {
				r.DecisionID, r.Customer = uuid.UUID{}, d.Customer
			}
			rewards = append(rewards, r)
			log.add(r)
		}
		if len(rewards) > 0 && rng.Float64() < lateness {
			r := rewards[rng.IntN(len(rewards))]
			switch rng.IntN(3) {
			case 0:
				r.Withdrawn = true
			case 1:
				r.Value *= 2
			}
			log.add(r) // a repetition where nothing changed
		}
		after(step)
	}
}

// TestLiveEqualsRebuild is the promise of the package: whatever the order in
// which events arrive, after every pass the live model has the parameters that
// learning from zero, as of its own W and P, gives, and those of the sums over
// its rows taken one by one. The log forgets nothing, so models of the past are
// reproduced at the end as well.
func TestLiveEqualsRebuild(t *testing.T) {
	for memory, policy := range policies {
		for name, lateness := range map[string]float64{"on time": 0, "sometimes late": 0.1, "often late": 0.9} {
			for _, touched := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s, %s, touched=%v", memory, name, touched), func(t *testing.T) {
					liveEqualsRebuild(t, memory, policy, lateness, touched)
				})
			}
		}
	}
}

// policies are the ways to remember, in a history of ten minutes.
var policies = map[string]string{
	"all":       `{"algorithm":"linear_thompson","features":"f@1"}`,
	"half-life": `{"algorithm":"linear_thompson","features":"f@1","forgetting":{"half_life":"100s"}}`,
	"window":    `{"algorithm":"linear_thompson","features":"f@1","forgetting":{"window":"256s"}}`,
}

func liveEqualsRebuild(t *testing.T, memory, policy string, lateness float64, touched bool) {
	rng := rand.New(rand.NewPCG(1, uint64(lateness*10)))
	r, log, c := newPlatformOf(policy), &fakeLog{}, &clock{}
	var reader Log = log
	if touched {
		reader = touchedLog{log}
	}
	tr := newTrainer(t, r, reader, log, c)
	passes := 0
	history(rng, log, c, 60, lateness, func(step int) {
		if rng.IntN(3) == 0 {
			return
		}
		passes++
		if err := tr.Pass(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	models := uint64(len(r.history(nextbest.KindModel, "lints.1")))
	if models < 10 || r.current() != models {
		t.Fatalf("%d models, current is %d", models, r.current())
	}
	for n := uint64(1); n <= models; n++ {
		m, live := r.parameters(n)
		again, err := tr.Reproduce(t.Context(), lints, n)
		if err != nil {
			t.Fatal(err)
		}
		if again.Rows != m.Trained.Rows || memory != "half-life" && live.Rows() != float64(m.Trained.Rows) {
			t.Fatalf("model %d: %v rows, rebuilt from %d, recorded %d", n, live.Rows(), again.Rows, m.Trained.Rows)
		}
		assertSame(t, live, again.Model)
		assertFit(t, live, batchFit(t, r, log.rows, m))
	}
	s := tr.Status()[0]
	t.Logf("%d passes, %d models, %d rebuilds, %d rows", passes, models, s.Rebuilds, s.Rows)
	switch {
	case memory == "window" && s.Rebuilds < 5: // its beginning moves every 4 s
		t.Errorf("%d rebuilds in %d passes though the window slides", s.Rebuilds, passes)
	case memory == "window" && s.Rows > 300:
		t.Errorf("%d rows are learned; some 6 every 10 s matured in the window", s.Rows)
	case memory != "window" && touched && lateness == 0 && s.Rebuilds != 1:
		t.Errorf("%d rebuilds though nothing was late", s.Rebuilds)
	case touched && lateness == 0.9 && (s.Rebuilds < 5 || s.Rebuilds > int64(passes)):
		t.Errorf("%d rebuilds in %d passes though much was late", s.Rebuilds, passes)
	}
}

// assertSame compares parameters to 1e-9 relative: sums taken in another order
// differ by rounding alone.
func assertSame(t *testing.T, a, b *bandit.Model) {
	t.Helper()
	if !slices.Equal(a.Actions(), b.Actions()) {
		t.Fatalf("actions %v and %v", a.Actions(), b.Actions())
	}
	near := func(what string, x, y float64) {
		if math.Abs(x-y) > 1e-9*max(math.Abs(x), math.Abs(y), 1e-3) {
			t.Fatalf("%s: %v and %v", what, x, y)
		}
	}
	for _, action := range a.Actions() {
		x, _ := a.Statistics(action)
		y, _ := b.Statistics(action)
		near(action+" n", x.N, y.N)
		near(action+" Σr²", x.Squares, y.Squares)
		for i := range x.B {
			near(fmt.Sprintf("%s b[%d]", action, i), x.B[i], y.B[i])
			for j := range x.A[i] {
				near(fmt.Sprintf("%s A[%d][%d]", action, i, j), x.A[i][j], y.A[i][j])
			}
		}
	}
	near("noise", a.Noise(), b.Noise())
}

// TestStaleTrainer: while one trainer is about to publish, another publishes
// more. The slow one changes nothing, and catches up at its next pass.
func TestStaleTrainer(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	r, log, c := newPlatform(), &fakeLog{}, &clock{epoch.Add(time.Hour)}
	for range 20 {
		log.add(decision(rng, epoch, "c"))
	}
	slow, fast := newTrainer(t, r, touchedLog{log}, log, c), newTrainer(t, r, touchedLog{log}, log, c)
	r.beforePB = func() {
		for range 20 {
			log.add(decision(rng, epoch.Add(time.Minute), "c"))
		}
		if err := fast.Pass(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := slow.Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	if m, _ := r.parameters(r.current()); m.Trained.Rows != 40 || m.Number != 1 {
		t.Fatalf("the slow trainer published over the fast one: %+v", m)
	}
	if err := slow.Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	if m, _ := r.parameters(r.current()); m.Trained.Rows != 40 || m.Number != 1 {
		t.Fatalf("a trainer with nothing new published: %+v", m)
	}
	log.add(decision(rng, epoch.Add(2*time.Minute), "c"))
	if err := slow.Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	if m, _ := r.parameters(r.current()); m.Trained.Rows != 41 || m.Number != 2 {
		t.Fatalf("the slow trainer does not catch up: %+v", m)
	}
}

// TestTargets: arms of running experiments learn, others do not, and one policy
// version cannot learn in two ways.
func TestTargets(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	r, log, c := newPlatform(), &fakeLog{}, &clock{epoch.Add(time.Hour)}
	log.add(decision(rng, epoch, "c"))
	r.define(nextbest.KindPlacement, "mail", `{"objective":"value@1","policy":"even@1"}`)
	tr := newTrainer(t, r, log, log, c)
	experiment := func(state string) {
		r.define(nextbest.KindExperiment, "x", fmt.Sprintf(`{"placement":"mail","state":%q,"arms":[{"id":"control","policy":"even@1"},{"id":"candidate","policy":"lints@1","learning":"online"}]}`, state))
	}
	pass := func() error { return tr.Pass(t.Context()) }
	experiment("draft")
	if err := pass(); err != nil || r.current() != 0 {
		t.Fatalf("a draft learned: %v", err)
	}
	experiment("running")
	if err := pass(); err != nil || r.current() != 1 {
		t.Fatalf("a running experiment does not learn: %v", err)
	}
	r.define(nextbest.KindPlacement, "web", `{"objective":"value@1","policy":"lints@1","learning":"online"}`)
	if err := pass(); nextbest.CodeOf(err) != nextbest.Conflict || tr.Status()[0].Problem == "" {
		t.Fatalf("one policy version learns at two placements: %v", err)
	}
	r.define(nextbest.KindPlacement, "web", `{"objective":"value@1","policy":"even@1","learning":"online"}`)
	if err := pass(); nextbest.CodeOf(err) != nextbest.Invalid {
		t.Fatalf("a uniform policy learns: %v", err)
	}
}

type deniedLease struct{ asked int }

func (l *deniedLease) Hold(context.Context, string, time.Duration) (bool, error) {
	l.asked++
	return false, nil
}

// TestRun: it passes at the interval, works only with the lease, and ends.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 5))
		r, log := newPlatform(), &fakeLog{}
		log.add(decision(rng, time.Now(), "c"))
		lease := &deniedLease{}
		run := func(l Lease) (stop func()) {
			tr, err := New(Options{Log: log, Position: log, Definitions: r, Writer: r, Blobs: r, Lease: l})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- tr.Run(ctx) }()
			return func() {
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}
		}
		stop := run(lease)
		time.Sleep(2 * time.Minute)
		stop()
		if r.current() != 0 || lease.asked != 13 {
			t.Errorf("without the lease: model %d, asked %d times", r.current(), lease.asked)
		}
		stop = run(nil)
		time.Sleep(time.Minute)
		stop()
		if r.current() != 1 {
			t.Errorf("model %d", r.current())
		}
	})
}
