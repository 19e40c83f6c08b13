package learning

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"nextbest"
	"nextbest/internal/embedded/enginetest"
	"nextbest/logging"
)

func TestMain(m *testing.M) { enginetest.Main(m) }

// realLog is the platform's own log: journal, sink and ClickHouse. What is added
// waits for flush.
type realLog struct {
	*logging.Store
	sink      *logging.Sink
	journal   *logging.Journal
	decisions []nextbest.Decision
	rewards   []nextbest.Reward
	last      uint64 // position
}

func newRealLog(t testing.TB) *realLog {
	t.Helper()
	js, err := jetstream.New(enginetest.NATS(t))
	if err != nil {
		t.Fatal(err)
	}
	l := &realLog{}
	if l.journal, err = logging.OpenJournal(t.Context(), js, logging.JournalOptions{}); err != nil {
		t.Fatal(err)
	}
	if l.Store, err = logging.OpenStore(t.Context(), enginetest.ClickHouse(t)); err != nil {
		t.Fatal(err)
	}
	l.sink = logging.NewSink(l.journal, l.Store, logging.SinkOptions{FlushEvery: time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.sink.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := l.journal.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := l.Store.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func (l *realLog) Position() uint64 { return l.sink.Position() }

func (l *realLog) add(e any) {
	switch e := e.(type) {
	case nextbest.Decision:
		l.decisions = append(l.decisions, e)
	case nextbest.Reward:
		l.rewards = append(l.rewards, e)
	}
}

// send journals what was added.
func (l *realLog) send(t testing.TB) {
	t.Helper()
	var err error
	if len(l.decisions) > 0 {
		if l.last, err = l.journal.Decisions(t.Context(), l.decisions); err != nil {
			t.Fatal(err)
		}
	}
	if len(l.rewards) > 0 {
		if l.last, err = l.journal.Rewards(t.Context(), l.rewards); err != nil {
			t.Fatal(err)
		}
	}
	l.decisions, l.rewards = nil, nil
}

// flush sends what was added and waits until ClickHouse has it.
func (l *realLog) flush(t testing.TB) {
	t.Helper()
	l.send(t)
	if err := l.sink.WaitFor(t.Context(), l.last); err != nil {
		t.Fatal(err)
	}
}

var aggregations = []string{"sum", "first", "last", "max"}

// newPlatformBy is a platform whose objective aggregates in one way.
func newPlatformBy(aggregation, memory string) *fakeRegistry {
	r := newPlatformOf(policies[memory])
	r.define(nextbest.KindObjective, "value", fmt.Sprintf(`{"terms":[{"reward":"purchase","weight":1},{"reward":"opt_out","weight":-5}],"window":"60s","aggregation":%q,"default":0.25}`, aggregation))
	r.define(nextbest.KindPlacement, "mail", `{"channels":["email"],"objective":"value@2","actions":["a","b"],"policy":"lints@1","learning":"online"}`)
	return r
}

// report is one report of a reward, seconds after its decision.
type report struct {
	id, kind  string
	value     float64
	at        float64 // when it happened, in seconds
	reported  float64 // when the platform was told
	withdrawn bool
	customer  bool // names the customer and not the decision
}

// maturation are decisions with what is reported about them. The window is 60 s,
// a purchase counts 1 and an opt-out −5 times, a decision without rewards .25.
var maturation = []struct {
	name    string
	reports []report
	want    [4]float64 // by sum, first, last, max: worked out by hand
}{
	{"nothing", nil, [4]float64{0.25, 0.25, 0.25, 0.25}},
	{"one", []report{{"a", "purchase", 3, 10, 11, false, false}}, [4]float64{3, 3, 3, 3}},
	{"several", []report{{"a", "purchase", 7, 5, 6, false, false}, {"b", "purchase", 3, 10, 11, false, false}, {"c", "purchase", 5, 20, 21, false, false}}, [4]float64{15, 7, 5, 7}},
	{"out-of-order", []report{{"c", "purchase", 5, 20, 21, false, false}, {"b", "purchase", 3, 10, 31, false, false}, {"a", "purchase", 7, 5, 45, false, false}}, [4]float64{15, 7, 5, 7}},
	{"several-kinds", []report{{"a", "purchase", 7, 5, 6, false, false}, {"b", "opt_out", 1, 8, 9, false, false}, {"c", "purchase", 9, 20, 21, false, false}, {"d", "opt_out", 2, 30, 31, false, false}}, [4]float64{1, 2, -1, -1}},
	{"only-the-other-kind", []report{{"a", "opt_out", 1, 8, 9, false, false}}, [4]float64{-5, -5, -5, -5}},
	{"a-kind-that-does-not-count", []report{{"a", "visit", 3, 8, 9, false, false}}, [4]float64{0.25, 0.25, 0.25, 0.25}},
	{"worth-nothing", []report{{"a", "purchase", 0, 8, 9, false, false}}, [4]float64{}},
	{"negative", []report{{"a", "purchase", -4, 8, 9, false, false}, {"b", "purchase", -6, 9, 9, false, false}}, [4]float64{-10, -4, -6, -4}},
	{"repeated", []report{{"a", "purchase", 3, 10, 11, false, false}, {"a", "purchase", 3, 10, 12, false, false}, {"a", "purchase", 3, 10, 95, false, false}}, [4]float64{3, 3, 3, 3}},
	{"replaced", []report{{"a", "purchase", 3, 10, 11, false, false}, {"b", "purchase", 4, 12, 13, false, false}, {"a", "purchase", 9, 10, 40, false, false}}, [4]float64{13, 9, 4, 9}},
	{"replaced-late", []report{{"a", "purchase", 3, 10, 11, false, false}, {"a", "purchase", 9, 10, 105, false, false}}, [4]float64{9, 9, 9, 9}},
	{"replaced-by-another-kind", []report{{"a", "purchase", 3, 10, 11, false, false}, {"a", "opt_out", 1, 10, 105, false, false}}, [4]float64{-5, -5, -5, -5}},
	{"moved-in-time", []report{{"a", "purchase", 3, 10, 11, false, false}, {"b", "purchase", 4, 12, 13, false, false}, {"a", "purchase", 3, 20, 105, false, false}}, [4]float64{7, 4, 3, 4}},
	{"moved-out-of-the-window", []report{{"a", "purchase", 3, 10, 11, false, false}, {"a", "purchase", 3, 60, 105, false, false}}, [4]float64{0.25, 0.25, 0.25, 0.25}},
	{"withdrawn", []report{{"a", "purchase", 3, 10, 11, false, false}, {"b", "purchase", 4, 12, 13, false, false}, {"a", "purchase", 3, 10, 40, true, false}}, [4]float64{4, 4, 4, 4}},
	{"withdrawn-late", []report{{"a", "purchase", 3, 10, 11, false, false}, {"a", "purchase", 3, 10, 125, true, false}}, [4]float64{0.25, 0.25, 0.25, 0.25}},
	{"withdrawn-and-put-back", []report{{"a", "purchase", 3, 10, 11, false, false}, {"a", "purchase", 3, 10, 70, true, false}, {"a", "purchase", 6, 10, 125, false, false}}, [4]float64{6, 6, 6, 6}},
	{"withdrawn-before-it-came", []report{{"a", "purchase", 3, 10, 11, true, false}}, [4]float64{0.25, 0.25, 0.25, 0.25}},
	{"delayed", []report{{"a", "purchase", 3, 10, 125, false, false}}, [4]float64{3, 3, 3, 3}},
	{"delayed-first", []report{{"b", "purchase", 4, 12, 13, false, false}, {"a", "purchase", 3, 10, 125, false, false}}, [4]float64{7, 3, 4, 4}},
	{"at-once", []report{{"a", "purchase", 3, 0, 1, false, false}}, [4]float64{3, 3, 3, 3}},
	{"at-the-end", []report{{"a", "purchase", 3, 59.999999, 60, false, false}}, [4]float64{3, 3, 3, 3}},
	{"too-late", []report{{"a", "purchase", 3, 60, 61, false, false}}, [4]float64{0.25, 0.25, 0.25, 0.25}},
	{"too-early", []report{{"a", "purchase", 3, -1, 5, false, false}}, [4]float64{0.25, 0.25, 0.25, 0.25}},
	{"by-customer", []report{{"a", "purchase", 3, 10, 11, false, true}, {"b", "purchase", 4, 12, 125, false, false}}, [4]float64{7, 3, 4, 4}},
}

// TestMaturation: each of the decisions above has an action of its own, so that
// the parameters of that action show what its reward matured to. A live trainer
// passes every twenty seconds while late reports come in; what it has learned in the end
// is what was worked out by hand, on the log as described and on the real one,
// live and from zero.
func TestMaturation(t *testing.T) {
	for k, aggregation := range aggregations {
		t.Run(aggregation, func(t *testing.T) {
			fake, real := &fakeLog{}, newRealLog(t)
			c := &clock{}
			r, rReal := newPlatformBy(aggregation, "all"), newPlatformBy(aggregation, "all")
			tr, trReal := newTrainer(t, r, touchedLog{fake}, fake, c), newTrainer(t, rReal, real, real, c)
			rng := newRand(31)
			decisions := make([]nextbest.Decision, len(maturation))
			want := map[string]*fit{}
			for i, m := range maturation {
				d := decision(rng, epoch.Add(time.Duration(i)*time.Millisecond), "c-"+m.name)
				d.Action, d.Eligible, d.Probabilities = m.name, []string{m.name, nextbest.DoNothing}, []float64{0.5, 0.5}
				d.Source = "live"
				decisions[i] = d
				x, err := encode(r, d)
				if err != nil {
					t.Fatal(err)
				}
				fitOf(want, m.name, len(x)).add(x, m.want[k], 1)
			}
			for second := 0; second <= 140; second += 10 {
				c.t = epoch.Add(time.Duration(second) * time.Second)
				for i, m := range maturation {
					d := decisions[i]
					if second == 0 {
						fake.add(d)
						real.add(d)
					}
					for _, p := range m.reports {
						if p.reported > float64(second) || p.reported <= float64(second-10) {
							continue
						}
						e := nextbest.Reward{ID: m.name + "-" + p.id, Kind: p.kind, Value: p.value, Withdrawn: p.withdrawn, Slot: 1,
							Time: d.Time.Add(time.Duration(math.Round(p.at*1e6)) * time.Microsecond), DecisionID: d.ID}
						if p.customer {
							e.DecisionID, e.Customer, e.Slot = [16]byte{}, d.Customer, 0
						}
						fake.add(e)
						real.add(e)
						real.send(t) // one message each: their order is the order of the reports
					}
				}
				if second < 60 || second%20 != 0 {
					continue
				}
				real.flush(t)
				for _, trainer := range []*Trainer{tr, trReal} {
					if err := trainer.Pass(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
			for name, p := range map[string]struct {
				r  *fakeRegistry
				tr *Trainer
			}{"described": {r, tr}, "real": {rReal, trReal}} {
				m, live := p.r.parameters(p.r.current())
				if m.Trained.Rows != int64(len(maturation)) {
					t.Fatalf("%s: %d rows", name, m.Trained.Rows)
				}
				for _, d := range maturation { // by name, before the whole
					if s, ok := live.Statistics(d.name); !ok || math.Abs(s.B[0]-d.want[k]) > 1e-9*max(1, math.Abs(d.want[k])) {
						t.Errorf("%s, %s: learned %v, want %v", name, d.name, s.B, d.want[k])
					}
				}
				assertFit(t, live, want)
				again, err := p.tr.Reproduce(t.Context(), lints, m.Number)
				if err != nil {
					t.Fatal(err)
				}
				assertFit(t, again.Model, want)
				if models := len(p.r.history(nextbest.KindModel, "lints.1")); models < 4 {
					t.Errorf("%s: %d models: the late reports changed nothing", name, models)
				}
			}
		})
	}
}

// both adds to the log as described and to the real one.
type both struct {
	fake *fakeLog
	real *realLog
}

func (b both) add(e any) {
	b.fake.add(e)
	if d, ok := e.(nextbest.Decision); ok {
		d.Source = "live"
		e = d
	}
	b.real.add(e)
}

// TestRealHistories: random histories of late, repeated, out-of-order, corrected
// and withdrawn rewards on the real log. Every model that is published equals
// the batch fit of the rows as they then were, and learning again from its record
// at the end gives the same.
func TestRealHistories(t *testing.T) {
	for i, memory := range []string{"all", "half-life", "window", "all"} {
		aggregation := aggregations[i]
		t.Run(memory+", "+aggregation, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(41, uint64(i)))
			r, c := newPlatformBy(aggregation, memory), &clock{}
			logs := both{&fakeLog{}, newRealLog(t)}
			tr := newTrainer(t, r, logs.real, logs.real, c)
			latest := func(q nextbest.Query) []fakeRow {
				q.Upto = 0
				return logs.fake.rows(q)
			}
			models := uint64(0)
			history(rng, logs, c, 30, 0.5, func(step int) {
				if step%3 != 2 {
					return
				}
				logs.real.flush(t)
				if err := tr.Pass(t.Context()); err != nil {
					t.Fatal(err)
				}
				if now := r.current(); now != models {
					models = now
					m, live := r.parameters(now)
					assertFit(t, live, batchFit(t, r, latest, m))
				}
			})
			if models < 5 {
				t.Fatalf("%d models", models)
			}
			for n := uint64(1); n <= models; n += 3 {
				_, live := r.parameters(n)
				again, err := tr.Reproduce(t.Context(), lints, n)
				if err != nil {
					t.Fatal(err)
				}
				assertSame(t, live, again.Model)
			}
		})
	}
}

// TestOrdinaryStream: while nothing is late, each pass on the real log adds what
// matured since, however many events came after the learned range; the model is
// what learning from zero gives.
func TestOrdinaryStream(t *testing.T) {
	rng := newRand(61)
	r, c, real := newPlatform(), &clock{}, newRealLog(t)
	tr := newTrainer(t, r, real, real, c)
	history(rng, both{&fakeLog{}, real}, c, 30, 0, func(step int) {
		if step%3 != 2 {
			return
		}
		real.flush(t)
		if err := tr.Pass(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	if s := tr.Status()[0]; s.Rebuilds != 1 || s.Rows < 50 {
		t.Errorf("%d rebuilds, %d rows; want increments after the first", s.Rebuilds, s.Rows)
	}
	m, live := r.parameters(r.current())
	again, err := tr.Reproduce(t.Context(), lints, m.Number)
	if err != nil {
		t.Fatal(err)
	}
	assertSame(t, live, again.Model)
}

// TestOrderOfArrival: the same events in order, scrambled and twice give the
// same parameters.
func TestOrderOfArrival(t *testing.T) {
	rng := newRand(51)
	ordered, c := &fakeLog{}, &clock{}
	history(rng, ordered, c, 30, 0.5, func(int) {})
	c.t = epoch.Add(time.Hour)
	newest := map[string]nextbest.Reward{}
	var events []any
	for _, e := range ordered.events {
		if r, ok := e.(nextbest.Reward); ok {
			newest[r.ID] = r
		} else {
			events = append(events, e)
		}
	}
	for _, r := range newest {
		events = append(events, r)
	}
	slices.SortFunc(events, func(a, b any) int { return timeOf(a).Compare(timeOf(b)) })
	r := newPlatformBy("last", "half-life")
	inOrder := train(t, newTrainer(t, r, &fakeLog{events: events}, &fakeLog{events: events}, c), Request{Placement: "mail"})
	_, want := r.parameters(inOrder.Number)
	scrambled := slices.Concat(events, events)
	rng.Shuffle(len(scrambled), func(i, j int) { scrambled[i], scrambled[j] = scrambled[j], scrambled[i] })
	real := newRealLog(t)
	for _, e := range scrambled {
		both{&fakeLog{}, real}.add(e)
	}
	real.flush(t)
	for name, log := range map[string]interface {
		Log
		Position
	}{"as it came": ordered, "scrambled": &fakeLog{events: scrambled}, "scrambled, real": real} {
		m := train(t, newTrainer(t, r, log, log, c), Request{Placement: "mail"})
		_, got := r.parameters(m.Number)
		t.Log(name, m.Trained.Rows)
		assertSame(t, got, want)
	}
}

func timeOf(e any) time.Time {
	if d, ok := e.(nextbest.Decision); ok {
		return d.Time
	}
	return e.(nextbest.Reward).Time
}
