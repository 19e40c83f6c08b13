package logging

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"nextbest"
)

func TestTraffic(t *testing.T) {
	store := testStore(t)
	if got, err := store.Traffic(t.Context(), Span{Placement: "web"}, time.Hour); err != nil || got != (Traffic{}) {
		t.Errorf("empty log: %+v, %v", got, err)
	}
	c := newDecisionColumns()
	for i := range 10 {
		d := nextbest.Decision{ID: uuid.Must(uuid.NewV7()), Slot: 1, Time: t0.Add(time.Duration(i) * time.Minute), Placement: "web@1", Action: "x", Eligible: []string{"x"}, Probabilities: []float64{1}}
		switch {
		case i < 4:
			d.Eligible, d.Probabilities = []string{"a", "b", "x"}, []float64{.1, .1, .8}
		case i == 8:
			d.Arm = "holdout"
		case i == 9:
			d.Placement = "email@1"
		}
		c.append(uint64(i+1), 0, &d)
	}
	if err := store.insert(t.Context(), &c.inserter); err != nil {
		t.Fatal(err)
	}
	got, err := store.Traffic(t.Context(), Span{Placement: "web", From: t0}, time.Hour)
	if want := (Traffic{Decisions: 8, Eligible: 2, First: t0.UTC()}); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}
