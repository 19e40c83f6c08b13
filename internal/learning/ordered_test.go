package learning

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"nextbest"
)

// TestOrderedModelsAreRebuilt learns a model that depends on the order of its
// rows while decisions come in: each one published has, byte for byte, the
// parameters that learning from zero gives. Rewards that are no shares are
// counted and left out.
func TestOrderedModelsAreRebuilt(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 4))
	r, log, c := newPlatformOf(`{"algorithm":"logistic_thompson","features":"f@1"}`), &fakeLog{}, &clock{}
	tr := newTrainer(t, r, touchedLog{log}, log, c)
	history(rng, log, c, 60, 0, func(int) {
		if err := tr.Pass(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	s := tr.Status()[0]
	if s.Rebuilds < 10 || s.Rows < 100 || s.Unusable == 0 {
		t.Errorf("%+v: want a rebuild for each pass with new rows, and rewards beyond 1 left out", s)
	}
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
		a, _ := live.MarshalBinary()
		b, _ := again.Model.MarshalBinary()
		if !bytes.Equal(a, b) || again.Rows != m.Trained.Rows {
			t.Errorf("model %d of %d rows differs from the one learned from zero, of %d rows", n, m.Trained.Rows, again.Rows)
		}
	}
}
