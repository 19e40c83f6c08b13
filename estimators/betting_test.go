package estimators

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
)

// The cells' bound is never above that of single customers, and hardly below.
func TestBettingCellsAreSafe(t *testing.T) {
	w, r, _, _, by := sample(31, 4000, 3)
	want, err := ValueLower(by, w, r, 0, 11, 0.05)
	if err != nil {
		t.Fatal(err)
	}
	diff, _ := DifferenceLower(by, w, r, 0, 11, 0.05)
	value := Betting{Scale: 11}
	gap := Betting{Bound: 11, Scale: 11}
	for c := 1; c < len(by); c++ {
		var s, d float64
		for i := by[c-1]; i < by[c]; i++ {
			s += w[i] * r[i]
			d += (w[i] - 1) * r[i]
		}
		value.Add(float64(by[c]-by[c-1]), s)
		gap.Add(float64(by[c]-by[c-1]), d)
	}
	for _, x := range []struct {
		name string
		b    *Betting
		want float64
	}{{"value", &value, want}, {"difference", &gap, diff}} {
		got, err := x.b.Lower(0.05)
		if err != nil {
			t.Fatal(err)
		}
		if got > x.want+1e-9 || got < x.want-0.01 {
			t.Errorf("%s: bound from cells %.6f, from customers %.6f", x.name, got, x.want)
		}
	}
	if _, err := ValueLower(by, w, r, 0, 0, 0.05); !errors.Is(err, ErrNoRewardRange) {
		t.Errorf("no reward range: %v", err)
	}
	var re *RowError
	if _, err := ValueLower(nil, []float64{1, 1}, []float64{1, -1}, 0, 1, 0.05); !errors.As(err, &re) || re.Row != 1 {
		t.Errorf("reward below the range: %v", err)
	}
}

// Enumerated on the small world, every stake's one-step wealth has mean ≤ 1
// at the true value: the bound holds because of that and nothing else.
func TestBettingIsAFairGame(t *testing.T) {
	w := smallWorld()
	truth, logged := w.value(w.target), w.value(w.logger)
	for _, v := range []struct {
		name  string
		at    float64
		bound float64
		y     func(weight, r float64) float64
	}{
		{"value", truth, 0, func(weight, r float64) float64 { return weight * r }},
		{"difference", truth - logged, 1, func(weight, r float64) float64 { return (weight - 1) * r }},
	} {
		for _, at := range []float64{v.at, v.at + 0.05} {
			mean := 0.0
			w.each(func(p float64, x, a int, r float64) {
				b := Betting{Bound: v.bound, Scale: 1}
				b.Add(1, v.y(w.target[x][a]/w.logger[x][a], r))
				mean += p * math.Exp(b.LogWealth(at))
			})
			if mean > 1+1e-9 || mean < 0.9 {
				t.Errorf("%s: E[wealth] = %.6f at %g", v.name, mean, at)
			}
		}
	}
}

// The guarantee, one-sided, and the power measured for a target of .05 against
// a logger of .02.
func TestBettingBoundMissesRarelyAndHasPower(t *testing.T) {
	reps := *replications
	g := newRareLog(0.02)
	rng := rand.New(rand.NewPCG(41, 1))
	misses, total := 0, 0.0
	for range reps {
		count, w, r := g.draw(rng, 5000)
		b := Betting{Scale: 1}
		for k := range count {
			if count[k] > 0 {
				b.AddMany(count[k], 1, w[k]*r[k])
			}
		}
		low, err := b.Lower(0.05)
		if err != nil {
			t.Fatal(err)
		}
		total += low
		if low > 0.02 {
			misses++
		}
	}
	mean := total / float64(reps)
	t.Logf("truth .02: mean lower bound %.4f, misses %.4f", mean, float64(misses)/float64(reps))
	if float64(misses)/float64(reps) > 0.05 || mean < 0.006 {
		t.Errorf("misses %d of %d, mean bound %.4f", misses, reps, mean)
	}

	// Two actions, half each; the candidate always takes the second.
	trial := func(rate0, rate1 float64, n int) bool {
		c := multinomial(rng, n, []float64{0.5 * (1 - rate0), 0.5 * rate0, 0.5 * (1 - rate1), 0.5 * rate1})
		b := Betting{Bound: 1, Scale: 1}
		for k, y := range []float64{0, -1, 0, 1} { // (w − 1) r with w ∈ {0, 2}
			if c[k] > 0 {
				b.AddMany(float64(c[k]), 1, y)
			}
		}
		low, err := b.Lower(0.05)
		if err != nil {
			t.Fatal(err)
		}
		return low > 0
	}
	var falses, found int
	for range reps {
		if trial(0.03, 0.03, 2000) {
			falses++
		}
		if trial(0.01, 0.05, 2000) {
			found++
		}
	}
	t.Logf("no difference: passes %.4f; 5%% against 3%%: passes %.3f", float64(falses)/float64(reps), float64(found)/float64(reps))
	if float64(falses)/float64(reps) > 0.05 || float64(found)/float64(reps) < 0.5 {
		t.Errorf("false passes %d, true passes %d of %d", falses, found, reps)
	}
}
