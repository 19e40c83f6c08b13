package offline

import (
	"context"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"nextbest"
)

// seldom makes offer-01 a rare action that is worth as much as doing nothing, drawn
// with a known probability, on the rows of a log.
type seldom struct {
	*Simulation
	rare float64
	rate float64
}

func (s seldom) Rows(ctx context.Context, q nextbest.Query, f func(*nextbest.Batch) error) error {
	rng := rand.New(rand.NewPCG(s.Seed, 77))
	return s.Simulation.Rows(ctx, q, func(b *nextbest.Batch) error {
		offsets, eligible, probabilities := []int{0}, []uint32{}, []float64{}
		for i := range b.N() {
			eligible = append(eligible, 0, 1)
			probabilities = append(probabilities, 1-s.rare, s.rare)
			offsets = append(offsets, len(eligible))
			b.Chosen[i], b.Reward[i] = 0, 0
			if rng.Float64() < s.rare {
				b.Chosen[i] = 1
			}
			b.Propensity[i], b.Floor[i] = probabilities[2*i+b.Chosen[i]], min(s.rare, 1-s.rare)
			if b.Matched[i] = rng.Float64() < s.rate; b.Matched[i] {
				b.Reward[i] = 1
			}
		}
		c := *b
		c.Offsets, c.Eligible, c.Probabilities = offsets, eligible, probabilities
		return f(&c)
	})
}

// A lift's interval covers where it is shown, and is not shown where hardly anybody
// converted after the action, whatever was converted without it: with the two
// customers of these logs it would cover .8.
func TestLiftNeedsConversionsOnBothSides(t *testing.T) {
	const replications = 150
	for _, c := range []struct {
		customers  int
		rare, rate float64
		shown      bool
	}{{3000, 0.02, 0.03, false}, {3000, 0.98, 0.03, false}, {2000, 0.15, 0.15, true}} {
		shown, missed := 0, 0
		for rep := range replications {
			s := seldom{&Simulation{Types: 2, Actions: 3, Customers: c.customers, Each: 1, Rate: 0.1, Epsilon: 0.5, Seed: uint64(rep)}, c.rare, c.rate}
			u := evaluated(t, s, request(s.Simulation)).Uplift
			if len(u) != 1 {
				t.Fatalf("%+v", u)
			}
			if u[0].Lift == nil {
				if !c.shown && !strings.Contains(u[0].Problem, "converted (at least 20 needed)") {
					t.Errorf("%+v", u[0])
				}
				continue
			}
			shown++
			if u[0].Lift.Low > 0 || u[0].Lift.High < 0 {
				missed++
			}
		}
		t.Logf("%+v: shown %d, missed %d of %d", c, shown, missed, replications)
		if c.shown != (shown > replications/2) {
			t.Errorf("%+v: %d of %d lifts are shown", c, shown, replications)
		}
		// What is promised, .92, and four standard errors of the simulation.
		if n := float64(shown); shown > 0 && float64(missed) > 0.08*n+4*math.Sqrt(0.05*0.95*n) {
			t.Errorf("%+v: %d of %d intervals miss", c, missed, shown)
		}
	}
}

// A side may have few conversions where one more would hardly move the mean, and
// may not where it would, or where nobody was on it; a customer of several rows
// weighs as one.
func TestConvertsFew(t *testing.T) {
	side := func(weight float64, rows, each, converted int) *converts {
		c := &converts{}
		for i := range rows {
			c.add(uint64(1+i/each), weight, i/each < converted)
		}
		return c
	}
	const rows, se = 10_000, 0.005 // as of 1,000 rows of weight 10, of which 25 converted
	for _, x := range []struct {
		name string
		side *converts
		few  bool
	}{
		{"enough", side(10, 1000, 1, 25), false},
		{"few that weigh much", side(100, 100, 1, 3), true},
		{"few that weigh little", side(1.1, 9000, 1, 3), false},
		{"few customers of many rows", side(1.1, 9000, 40, 3), true},
		{"many rows of enough customers", side(1.1, 9000, 40, 25), false},
		{"nobody", &converts{}, true},
	} {
		if got := x.side.few(20, 1, rows, se); got != x.few {
			t.Errorf("%s (%+v): few is %v", x.name, *x.side, got)
		}
	}
}
