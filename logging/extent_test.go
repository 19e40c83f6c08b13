package logging

import (
	"math/rand/v2"
	"testing"
	"time"

	"nextbest"
)

// The extent of a query is that of the rows that it gives.
func TestExtentIsThatOfTheRows(t *testing.T) {
	store := testStore(t)
	rng := rand.New(rand.NewPCG(3, 27))
	log := newRandomLog(rng, 250, 100)
	log.insert(t, store, rng)
	some, none := 0, 0
	for range 40 {
		q := randomQuery(rng, log.last)
		var want Extent
		if err := store.Rows(t.Context(), q, func(b *nextbest.Batch) error {
			for _, micros := range b.Time {
				at := time.UnixMicro(micros).UTC()
				if want.Rows == 0 || at.Before(want.First) {
					want.First = at
				}
				if at.After(want.Last) {
					want.Last = at
				}
				want.Rows++
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if got, err := store.Extent(t.Context(), q); err != nil || got != want {
			t.Fatalf("%+v, %v; the rows are %+v; query %+v", got, err, want, q)
		}
		if want.Rows > 0 {
			some++
		} else {
			none++
		}
	}
	if some < 10 || none == 0 {
		t.Errorf("%d queries with rows and %d without: too few of either", some, none)
	}
	if _, err := store.Extent(t.Context(), nextbest.Query{}); nextbest.CodeOf(err) != nextbest.Invalid {
		t.Errorf("a query of nothing: %v", err)
	}
}
