package learning

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"nextbest"
	"nextbest/bandit"
)

// learned is a platform whose live trainer has published some models.
func learned(t *testing.T, memory string) (*fakeRegistry, *fakeLog, *clock, *Trainer) {
	t.Helper()
	r, log, c := newPlatformOf(policies[memory]), &fakeLog{}, &clock{}
	tr := newTrainer(t, r, touchedLog{log}, log, c)
	history(newRand(81), log, c, 30, 0.3, func(step int) {
		if step%3 == 2 {
			if err := tr.Pass(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
	if r.current() < 5 {
		t.Fatalf("%d models", r.current())
	}
	return r, log, c, tr
}

// TestRebuild: what is published is found again in the log, and what was not
// learned from the log is told from it.
func TestRebuild(t *testing.T) {
	for memory := range policies {
		r, log, _, tr := learned(t, memory)
		var told int64
		got, err := tr.Rebuild(t.Context(), lints, 0, func(rows int64) { told = rows })
		if err != nil {
			t.Fatal(err)
		}
		m, parameters := r.parameters(r.current())
		if !got.Same || got.Model != m.Number || got.Rows != m.Trained.Rows || got.Rows != told || got.Rows == 0 || got.Difference.Max() > Tolerance || got.Seconds <= 0 {
			t.Errorf("%s: %+v, told of %d rows", memory, got, told)
		}
		if got, err = tr.Rebuild(t.Context(), lints, 2, nil); err != nil || !got.Same || got.Model != 2 {
			t.Errorf("%s: model 2: %+v, %v", memory, got, err)
		}
		// A record that names other rows than were learned.
		m.Trained.To = m.Trained.To.Add(-20 * time.Second)
		rec, err := tr.Publish(t.Context(), m, parameters, "ann", "forged")
		if err != nil {
			t.Fatal(err)
		}
		if got, err = tr.Rebuild(t.Context(), lints, rec.Version, nil); err != nil || got.Same || got.Difference.N < 1e-4 || got.Rows >= got.Recorded {
			t.Errorf("%s: a forged model is %+v, %v", memory, got, err)
		}
		// Rewards that come later do not change what was learned before.
		before := len(log.events)
		for _, e := range log.events[:before] {
			if w, ok := e.(nextbest.Reward); ok {
				w.Value += 100
				log.add(w)
			}
		}
		if got, err = tr.Rebuild(t.Context(), lints, 0, nil); err != nil || !got.Same {
			t.Errorf("%s: after corrections: %+v, %v", memory, got, err)
		}
	}
	r := newPlatform()
	tr := newTrainer(t, r, &fakeLog{}, &fakeLog{}, &clock{epoch})
	for _, number := range []uint64{0, 3} {
		if _, err := tr.Rebuild(t.Context(), lints, number, nil); nextbest.CodeOf(err) != nextbest.NotFound {
			t.Errorf("model %d of none: %v", number, err)
		}
	}
}

// TestCompareSeesEverySum: two models that differ in one row differ in the sums
// that the row is part of, in whichever way the algorithm keeps them.
func TestCompareSeesEverySum(t *testing.T) {
	for _, algorithm := range []string{"linear_thompson", "hurdle_thompson"} {
		learn := func(reward float64, action string) *bandit.Model {
			spec, err := bandit.ParseSpec(fmt.Appendf(nil, `{"algorithm":%q}`, algorithm))
			if err != nil {
				t.Fatal(err)
			}
			l, err := bandit.NewLearner(spec, 1)
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range []float64{0, 2, reward} {
				if err := l.Learn(action, []float32{1}, row); err != nil {
					t.Fatal(err)
				}
			}
			return l.Model()
		}
		if d := Compare(learn(4, "a"), learn(4, "a")); d.Max() != 0 {
			t.Errorf("%s: a model and its like differ by %+v", algorithm, d)
		}
		if d := Compare(learn(4, "a"), learn(2, "a")); math.Abs(d.B-1./3) > 1e-12 || math.Abs(d.Squares-.6) > 1e-12 || d.A != 0 || d.N != 0 {
			t.Errorf("%s: 4 and 2 among 0 and 2 differ by %+v", algorithm, d)
		}
		if d := Compare(learn(4, "a"), learn(4, "b")); d.Max() != 1 {
			t.Errorf("%s: models of other actions differ by %+v", algorithm, d)
		}
	}
}

// TestDiff: weights by name, the largest change first, in standard errors of the
// first model; an action that the first does not know is compared with the prior.
func TestDiff(t *testing.T) {
	rng := rand.New(rand.NewPCG(82, 82))
	r, log, c := newPlatform(), &fakeLog{}, &clock{epoch.Add(time.Hour)}
	tr := newTrainer(t, r, log, log, c)
	add := func(action string, value float64) {
		d := decision(rng, epoch, fmt.Sprintf("c%d", len(log.events)))
		d.Action = action
		log.add(d)
		log.add(nextbest.Reward{ID: d.ID.String(), Kind: "purchase", Value: value + rng.NormFloat64(), Time: d.Time, DecisionID: d.ID, Slot: 1})
	}
	for range 200 {
		add("a", 0)
		add(nextbest.DoNothing, 0)
	}
	first := train(t, tr, Request{Placement: "mail"})
	for range 50 {
		add("a", 20)
		add("b", 3)
	}
	second := train(t, tr, Request{Placement: "mail"})
	d, err := tr.Diff(t.Context(), lints, first.Number, second.Number)
	if err != nil {
		t.Fatal(err)
	}
	_, x := r.parameters(first.Number)
	if d.RowsAdded != 100 || d.NoiseFrom != x.Noise() || d.NoiseTo < 2*d.NoiseFrom || len(d.Actions) != 3 {
		t.Fatalf("%+v", d)
	}
	a, b, nothing := d.Actions[0], d.Actions[1], d.Actions[2]
	if a.Action != "a" || a.RowsFrom != 200 || a.RowsTo != 250 || b.Action != "b" || b.RowsFrom != 0 || b.RowsTo != 50 || nothing.RowsFrom != 200 || nothing.RowsTo != 200 {
		t.Fatalf("%+v", d.Actions)
	}
	bias := a.Weights[0]
	if bias.Feature != "bias" || math.Abs(bias.To-bias.From-4) > 1 || math.Abs(bias.Change*bias.StandardError-(bias.To-bias.From)) > 1e-12 || bias.Change < 10 {
		t.Errorf("the largest change of a is %+v", bias)
	}
	if prior := x.Noise() / math.Sqrt(x.Precision()); b.Weights[0].From != 0 || math.Abs(b.Weights[0].StandardError/prior-1) > 1e-12 {
		t.Errorf("b, which was not known, is %+v; the prior's error is %v", b.Weights[0], prior)
	}
	if nothing.largest() > 0.2 {
		t.Errorf("nothing was learned of do-nothing and it changed by %+v", nothing.Weights[0])
	}
	for _, action := range d.Actions {
		for i, w := range action.Weights[1:] {
			if math.Abs(w.Change) > math.Abs(action.Weights[i].Change) {
				t.Errorf("%s: %v follows %v", action.Action, w.Change, action.Weights[i].Change)
			}
		}
	}
	if d, err = tr.Diff(t.Context(), lints, 2, 2); err != nil || d.RowsAdded != 0 || d.Actions[0].largest() != 0 {
		t.Errorf("a model and itself: %+v, %v", d, err)
	}
	if _, err := tr.Diff(t.Context(), lints, 1, 9); nextbest.CodeOf(err) != nextbest.NotFound {
		t.Error(err)
	}
}

// TestRollback: an earlier model is current again and stays, whatever happens,
// until live learning is resumed; then the next pass publishes what was learned in
// the meantime, from the log.
func TestRollback(t *testing.T) {
	r, log, c, tr := learned(t, "all")
	was := r.current()
	rec, err := tr.Rollback(t.Context(), lints, 2, 0, "ann", "it sells nothing")
	if err != nil || rec.Actor != "ann" || rec.Reason != "it sells nothing" || r.current() != 2 {
		t.Fatalf("%+v, %v, current is %d", rec, err, r.current())
	}
	other := newTrainer(t, r, touchedLog{log}, log, c)
	for range 5 {
		c.t = c.t.Add(time.Minute)
		log.add(decision(newRand(uint64(len(log.events))), c.t.Add(-2*time.Minute), "new"))
		for _, trainer := range []*Trainer{tr, other} {
			if err := trainer.Pass(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if s := tr.Status()[0]; r.current() != 2 || s.Paused != "ann: it sells nothing" {
		t.Fatalf("current is %d, status %+v", r.current(), s)
	}
	if _, err := tr.Rollback(t.Context(), lints, 2, 0, "ann", "again"); nextbest.CodeOf(err) != nextbest.Conflict {
		t.Errorf("rolled back to what is: %v", err)
	}
	if _, err := tr.Rollback(t.Context(), lints, 3, rec.Revision-1, "ann", "late"); nextbest.CodeOf(err) != nextbest.Stale {
		t.Errorf("rolled back by an old revision: %v", err)
	}
	if _, err := tr.Rollback(t.Context(), lints, was+50, 0, "ann", "no"); nextbest.CodeOf(err) != nextbest.NotFound {
		t.Errorf("rolled back to what is not: %v", err)
	}
	if rec, err = tr.Resume(t.Context(), lints, 0, "bob", "it was the season"); err != nil || rec.Actor != "bob" || r.current() != 2 {
		t.Fatalf("%+v, %v, current is %d", rec, err, r.current())
	}
	if _, err = tr.Resume(t.Context(), lints, 0, "bob", "again"); nextbest.CodeOf(err) != nextbest.Conflict {
		t.Errorf("resumed what goes on: %v", err)
	}
	if err := tr.Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	m, live := r.parameters(r.current())
	if m.Number <= was || m.Trained.Upto != log.Position() || tr.Status()[0].Paused != "" {
		t.Fatalf("after the pause %+v is current", m)
	}
	assertFit(t, live, batchFit(t, r, log.rows, m))

	empty := newPlatform()
	tr = newTrainer(t, empty, log, log, c)
	train(t, tr, Request{Placement: "mail"})
	for _, err := range []error{
		func() error { _, err := tr.Rollback(t.Context(), lints, 1, 0, "ann", "x"); return err }(),
		func() error { _, err := tr.Resume(t.Context(), lints, 0, "ann", "x"); return err }(),
	} {
		if nextbest.CodeOf(err) != nextbest.Conflict || !strings.Contains(err.Error(), "no current model") {
			t.Errorf("a policy that does not learn online: %v", err)
		}
	}
}

// TestRollbackRace: a pass that began before the rollback publishes nothing over
// it, however long it takes.
func TestRollbackRace(t *testing.T) {
	r, log, c, tr := learned(t, "all")
	c.t = c.t.Add(time.Minute)
	log.add(decision(newRand(83), c.t.Add(-2*time.Minute), "new"))
	r.beforePB = func() {
		if _, err := tr.Rollback(t.Context(), lints, 1, 0, "ann", "stop"); err != nil {
			t.Error(err)
		}
	}
	if err := tr.Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r.current() != 1 {
		t.Fatalf("current is %d", r.current())
	}
}
