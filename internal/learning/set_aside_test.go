package learning

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"nextbest"
	"nextbest/bandit"
)

// tested is a log that tests add to.
type tested interface {
	Log
	Position
	SetAside
	add(any)
}

// TestSetAsideIsNeverLearned: two platforms see the same decisions, but one of
// them also rows that are set aside, with an action of their own and with huge
// rewards, early and late. Whichever way a model is made, it has the same bytes
// on both.
func TestSetAsideIsNeverLearned(t *testing.T) {
	for name, newLog := range map[string]func() (log tested, flush func()){
		"described": func() (tested, func()) { return &fakeLog{}, func() {} },
		"real":      func() (tested, func()) { l := newRealLog(t); return l, func() { l.flush(t) } },
	} {
		t.Run(name, func(t *testing.T) {
			var models [2][]*bandit.Model
			var ways []string
			for k, aside := range []bool{true, false} {
				log, flush := newLog()
				ways = nil
				models[k] = everyWay(t, log, flush, aside, &ways)
			}
			for i, way := range ways {
				a, _ := models[0][i].MarshalBinary()
				b, _ := models[1][i].MarshalBinary()
				if string(a) != string(b) || strings.Contains(fmt.Sprint(models[0][i].Actions()), "secret") {
					t.Errorf("%s: rows that are set aside change what is learned, of %v", way, models[0][i].Actions())
				}
			}
		})
	}
}

// everyWay makes models in every way there is, on a log with or without rows
// that are set aside.
func everyWay(t *testing.T, log tested, flush func(), aside bool, ways *[]string) (models []*bandit.Model) {
	t.Helper()
	rng := newRand(91)
	r, c := newPlatform(), &clock{epoch.Add(time.Hour)}
	add := func(n int, at time.Time) (left int64) {
		for i := range n {
			d := decision(rng, at.Add(time.Duration(i)*time.Millisecond), fmt.Sprintf("c%d", i))
			d.Source = "live"
			w := nextbest.Reward{ID: d.ID.String(), Kind: "purchase", Value: rng.Float64(), Time: d.Time, DecisionID: d.ID, Slot: 1}
			if d.SetAside = i%2 == 0; d.SetAside {
				d.Customer += "-aside"
				if i%4 == 0 {
					d.Action, d.Eligible = "secret", []string{"secret", "b", nextbest.DoNothing}
				}
				w.Value = 1e6
				left++
			}
			if !d.SetAside || aside {
				log.add(d)
				log.add(w)
			}
		}
		flush()
		if !aside {
			return 0
		}
		return left
	}
	keep := func(way string, m *bandit.Model, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", way, err)
		}
		models, *ways = append(models, m), append(*ways, way)
	}
	left := add(40, epoch)
	tr := newTrainer(t, r, log, log, c)
	pass := func(way string) {
		t.Helper()
		err := tr.Pass(t.Context())
		_, m := r.parameters(r.current())
		keep(way, m, err)
	}
	pass("live, from zero")
	trained := train(t, tr, Request{Placement: "mail"})
	if trained.Trained.SetAside != left || trained.Trained.Rows != 20 {
		t.Errorf("trained on %d rows, %d set aside; want 20 and %d", trained.Trained.Rows, trained.Trained.SetAside, left)
	}
	_, m := r.parameters(trained.Number)
	keep("trained", m, nil)
	again, err := tr.Reproduce(t.Context(), lints, trained.Number)
	keep("learned again", again.Model, err)
	if rebuilt, err := tr.Rebuild(t.Context(), lints, trained.Number, nil); err != nil || !rebuilt.Same || rebuilt.Rows != 20 {
		t.Errorf("rebuilt: %+v, %v", rebuilt, err)
	}

	left += add(40, epoch.Add(10*time.Minute))
	pass("live, on a log that grew")
	continued := train(t, tr, Request{Placement: "mail", Base: trained.Number, From: trained.Trained.To})
	_, m = r.parameters(continued.Number)
	keep("continued from a base", m, nil)
	r.define(nextbest.KindPlacement, "mail", fmt.Sprintf(`{"objective":"value@1","policy":"lints@1","learning":"online","model":%d}`, trained.Number))
	pass("live, from a base")

	from, err := bandit.NewSchema([]byte(`{"features":[{"name":"age","type":"numeric","mean":40,"sd":10},{"name":"web","type":"boolean"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	to, err := bandit.NewSchema([]byte(`{"features":[{"name":"web","type":"boolean"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	m, err = bandit.Migrate(m, from, to)
	keep("migrated", m, err)

	// However a job is made: the flag is set where rows are read.
	job, err := tr.job(t.Context(), trained)
	if err != nil {
		t.Fatal(err)
	}
	job.Queries[0].SkipSetAside = false
	outcome, err := Train(t.Context(), log, job)
	keep("a job of one's own", outcome.Model, err)

	if aside { // nothing but rows that are set aside
		from := epoch.Add(20 * time.Minute)
		d := decision(rng, from, "last")
		d.SetAside, d.Source = true, "live"
		log.add(d)
		flush()
		_, err := tr.Train(t.Context(), Request{Policy: lints, Placement: "mail", From: from, Actor: "ann"})
		if nextbest.CodeOf(err) != nextbest.Conflict || !strings.Contains(err.Error(), "1 that are set aside") {
			t.Errorf("trained on rows that are set aside alone: %v", err)
		}
	}
	return models
}
