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

// near compares all sums of two models.
func near(t *testing.T, what string, got, want *bandit.Model, tolerance float64) {
	t.Helper()
	if fmt.Sprint(got.Actions()) != fmt.Sprint(want.Actions()) || got.Width() != want.Width() {
		t.Fatalf("%s: actions %v of width %d, want %v of %d", what, got.Actions(), got.Width(), want.Actions(), want.Width())
	}
	for _, action := range want.Actions() {
		g, _ := got.Statistics(action)
		w, _ := want.Statistics(action)
		if math.Abs(g.N-w.N) > tolerance*w.N || math.Abs(g.Squares-w.Squares) > tolerance*w.Squares {
			t.Errorf("%s, %s: n %v and %v, Σr² %v and %v", what, action, g.N, w.N, g.Squares, w.Squares)
		}
		for i := range w.B {
			if math.Abs(g.B[i]-w.B[i]) > tolerance*math.Sqrt(w.A[i][i]*w.Squares) {
				t.Errorf("%s, %s: b[%d] is %v, want %v", what, action, i, g.B[i], w.B[i])
			}
			for j := range w.A {
				if math.Abs(g.A[i][j]-w.A[i][j]) > tolerance*math.Sqrt(w.A[i][i]*w.A[j][j]) {
					t.Errorf("%s, %s: A[%d][%d] is %v, want %v", what, action, i, j, g.A[i][j], w.A[i][j])
				}
			}
		}
	}
}

// TestMigratedModelIsAWarmStart moves a model to a schema with other moments and
// a new feature, lets it go on learning, and compares with learning everything
// under that schema from the log.
func TestMigratedModelIsAWarmStart(t *testing.T) {
	for _, forgetting := range []string{"", `,"forgetting":{"half_life":"1h"}`} {
		rng := rand.New(rand.NewPCG(13, 13))
		r, log, c := &fakeRegistry{}, &fakeLog{}, &clock{epoch.Add(time.Hour)}
		r.define(nextbest.KindFeatures, "f", `{"features":[{"name":"age","type":"numeric","mean":40,"sd":10},{"name":"web","type":"boolean"}]}`)
		r.define(nextbest.KindFeatures, "f", `{"features":[{"name":"web","type":"boolean"},{"name":"vip","type":"boolean","missing":"indicator"},{"name":"years","renamed_from":"age","type":"numeric","mean":30,"sd":8}]}`)
		r.define(nextbest.KindFeatures, "f", `{"features":[{"name":"web","type":"boolean"},{"name":"vip","type":"boolean"}]}`)
		for version := 1; version <= 3; version++ {
			r.define(nextbest.KindPolicy, "lints", fmt.Sprintf(`{"algorithm":"linear_thompson","features":"f@%d"%s}`, version, forgetting))
		}
		r.define(nextbest.KindPolicy, "lints", `{"algorithm":"linear_thompson","features":"f@2","forgetting":{"window":"1h"}}`)
		r.define(nextbest.KindObjective, "value", `{"terms":[{"reward":"purchase","weight":1}],"window":"60s","default":0.25}`)
		r.define(nextbest.KindPlacement, "mail", `{"channels":["email"],"objective":"value@1","actions":["a","b"],"policy":"lints@2","model":1,"learning":"online"}`)
		second := nextbest.Ref{ID: "lints", Version: 2}
		for i := range 60 {
			d := decision(rng, epoch.Add(time.Duration(i)*30*time.Second), fmt.Sprint("c", i))
			log.add(d)
			log.add(nextbest.Reward{ID: fmt.Sprint("r", i), Kind: "purchase", Value: rng.NormFloat64(), Time: d.Time, DecisionID: d.ID})
		}
		tr := newTrainer(t, r, log, log, c)
		old := train(t, tr, Request{Placement: "mail", Split: &nextbest.Split{Salt: "s", To: 1}})
		rec, err := tr.Migrate(t.Context(), Migration{Policy: second, From: Origin{lints, old.Number}, Actor: "ada", Reason: "new schema"})
		if err != nil {
			t.Fatal(err)
		}
		m, err := ParseModel(rec)
		if err != nil {
			t.Fatal(err)
		}
		if m.Policy != second || m.Number != 1 || m.Features != "f@2" || *m.MigratedFrom != (Origin{lints, old.Number}) || m.Trained.To != old.Trained.To || m.Trained.Rows != old.Trained.Rows {
			t.Errorf("%+v", m)
		}
		_, got, err := tr.parameters(t.Context(), second, m.Number)
		if err != nil {
			t.Fatal(err)
		}
		again, err := tr.Reproduce(t.Context(), second, 1)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "reproduced", again.Model, got, 1e-9)
		fromLog := func(m Model) *bandit.Model {
			t.Helper()
			m.Base, m.MigratedFrom, m.Trained.From = 0, nil, time.Time{}
			job, err := tr.job(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			outcome, err := Train(t.Context(), log, job)
			if err != nil {
				t.Fatal(err)
			}
			return outcome.Model
		}
		near(t, "migrated", got, fromLog(m), 1e-6) // float32 holds x to 6e-8
		ranges, err := Ranges(r, second, 1)
		if err != nil || len(ranges) != 2 || ranges[1].Split == nil {
			t.Errorf("ranges %+v, %v", ranges, err)
		}

		for i := range 40 { // and on it goes
			d := decision(rng, c.t.Add(time.Duration(i)*time.Second), fmt.Sprint("late", i))
			log.add(d)
			log.add(nextbest.Reward{ID: fmt.Sprint("l", i), Kind: "purchase", Value: rng.NormFloat64(), Time: d.Time, DecisionID: d.ID})
		}
		c.t = c.t.Add(time.Hour)
		if err := tr.Pass(t.Context()); err != nil {
			t.Fatal(err)
		}
		current, ok := r.Get(nextbest.KindCurrent, "lints.2")
		if !ok {
			t.Fatalf("nothing was published: %+v", tr.Status())
		}
		now, err := parseCurrent(current)
		if err != nil {
			t.Fatal(err)
		}
		models, err := Lineage(r, second, now.Model)
		if err != nil {
			t.Fatal(err)
		}
		live := models[len(models)-1]
		if live.Base != 1 || live.Trained.Rows != 40 {
			t.Errorf("live: %+v", live)
		}
		if _, got, err = tr.parameters(t.Context(), second, live.Number); err != nil {
			t.Fatal(err)
		}
		near(t, "live", got, fromLog(live), 1e-6)

		for version, text := range map[uint64]string{1: "is the version that the model is wanted for", 3: "vip is new", 4: "forgets what is older"} {
			refused := Migration{Policy: nextbest.Ref{ID: "lints", Version: version}, From: Origin{lints, old.Number}, Actor: "ada"}
			if _, err := tr.Migrate(t.Context(), refused); nextbest.CodeOf(err) != nextbest.Invalid || !strings.Contains(err.Error(), text) {
				t.Errorf("version %d: %v, want %q", version, err, text)
			}
		}
		if _, err := tr.Migrate(t.Context(), Migration{Policy: second, From: Origin{lints, 9}, Actor: "ada"}); nextbest.CodeOf(err) != nextbest.NotFound {
			t.Errorf("no such model: %v", err)
		}
	}
}

// TestWarmStartFromAnotherLog continues a model of an import with the rows of
// another placement, and of the same one without learning rows twice.
func TestWarmStartFromAnotherLog(t *testing.T) {
	rng := rand.New(rand.NewPCG(14, 14))
	r, log, c := newPlatform(), &fakeLog{}, &clock{epoch.Add(time.Hour)}
	r.define(nextbest.KindPlacement, "call", `{"channels":["phone"],"objective":"value@1","actions":["a","b"],"policy":"even@1"}`)
	for i := range 60 {
		d := decision(rng, epoch.Add(time.Duration(i)*time.Minute/2), fmt.Sprint("c", i))
		if i%3 == 1 {
			d.Placement = "call@1"
		} else if i%3 == 2 {
			d.Source = "spring"
		}
		log.add(d)
	}
	tr := newTrainer(t, r, log, log, c)
	imported := train(t, tr, Request{Placement: "mail", Source: "spring"})
	if imported.Trained.Rows != 20 || imported.Trained.Source != "spring" {
		t.Fatalf("imported: %+v", imported.Trained)
	}
	both := train(t, tr, Request{Placement: "call", Base: imported.Number})
	if _, m := r.parameters(both.Number); both.Base != imported.Number || m.Rows() != 40 {
		t.Errorf("20 rows of an import and 20 of another placement: %v rows, %+v", m.Rows(), both)
	}
	c.t = c.t.Add(time.Hour)
	log.add(decision(rng, epoch.Add(90*time.Minute), "new"))
	again := train(t, tr, Request{Placement: "mail", Base: imported.Number})
	if _, m := r.parameters(again.Number); m.Rows() != 21 || !again.Trained.From.Equal(imported.Trained.To) {
		t.Errorf("only rows after the base: %v rows from %v", m.Rows(), again.Trained.From)
	}
}
