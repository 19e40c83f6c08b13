package learning

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"nextbest"
)

// Rows that chose a model's policy are among its ranges, and among those of every
// model that continues it.
func TestRangesOfATunedModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	r, log, c := newPlatform(), &fakeLog{}, &clock{epoch.Add(10 * time.Minute)}
	for i := range 100 {
		log.add(decision(rng, epoch.Add(time.Duration(i)*6*time.Second), fmt.Sprintf("c%d", i%7)))
	}
	tr := newTrainer(t, r, log, log, c)
	first := train(t, tr, Request{Placement: "mail", MatureAt: epoch.Add(5 * time.Minute)})
	_, parameters := r.parameters(first.Number)
	chose := Trained{From: epoch.Add(5 * time.Minute), To: epoch.Add(7 * time.Minute), MatureAt: epoch.Add(7 * time.Minute), Upto: first.Trained.Upto, Rows: 20}
	first.Tuned = []Trained{chose}
	rec, err := tr.Publish(t.Context(), first, parameters, "ada", "the winner")
	if err != nil {
		t.Fatal(err)
	}
	m, err := ParseModel(rec)
	if err != nil || len(m.Tuned) != 1 || m.Tuned[0] != chose {
		t.Fatalf("%+v, %v", m, err)
	}
	ranges, err := Ranges(r, lints, m.Number)
	if err != nil || len(ranges) != 2 || ranges[1].From != chose.From || ranges[1].Model != m.Number || ranges[1].Placement != "mail" {
		t.Fatalf("%+v, %v", ranges, err)
	}
	for name, c := range map[string]struct {
		from, to time.Duration
		want     bool
	}{"learned": {0, time.Minute, true}, "chosen by": {6 * time.Minute, 8 * time.Minute, true}, "later": {7 * time.Minute, 9 * time.Minute, false}} {
		q := nextbest.Query{Placement: "mail@3", From: epoch.Add(c.from), To: epoch.Add(c.to)}
		if got := ranges[0].Overlaps(q) || ranges[1].Overlaps(q); got != c.want {
			t.Errorf("%s: overlaps %t", name, got)
		}
	}
	next := train(t, tr, Request{Placement: "mail", Base: m.Number, From: epoch.Add(8 * time.Minute)})
	if ranges, err = Ranges(r, lints, next.Number); err != nil || len(ranges) != 3 || ranges[1].From != chose.From {
		t.Errorf("of the model that continues it: %+v, %v", ranges, err)
	}
}
