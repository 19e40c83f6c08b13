package estimators

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
)

// Published values: R's binom.test(0, 10), (5, 10) and (10, 10).
func TestClopperPearson(t *testing.T) {
	for _, c := range []struct{ k, n, low, high float64 }{
		{0, 10, 0, 0.3084971}, {5, 10, 0.187086, 0.812914}, {10, 10, 0.6915029, 1},
	} {
		iv, err := ClopperPearson(c.k, c.n, 0.95)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "low", iv.Low, c.low, 1e-6)
		near(t, "high", iv.High, c.high, 1e-6)
	}
	if iv, err := ClopperPearson(1.3, 60.5, 0.95); err != nil || !(iv.Low > 0 && iv.High < 0.15) {
		t.Errorf("fractions: %+v %v", iv, err)
	}
	for _, c := range [][2]float64{{0, 0}, {-1, 10}, {11, 10}, {math.NaN(), 10}, {1, math.NaN()}} {
		if _, err := ClopperPearson(c[0], c[1], 0.95); !errors.Is(err, ErrEmpty) {
			t.Errorf("%v: %v", c, err)
		}
	}
}

func TestEmpiricalBernstein(t *testing.T) {
	// Maurer and Pontil's formula for one row per customer.
	y := []float64{0, 3, 0, 1, 0, 0, 2, 5}
	b := EmpiricalBernstein{High: 6}
	var mean, ss float64
	for _, x := range y {
		b.Add(1, x)
		mean += x / 8
	}
	for _, x := range y {
		ss += (x - mean) * (x - mean)
	}
	l := math.Log(2 / 0.4)
	want := mean - math.Sqrt(2*ss/7*l/8) - 7*6*l/(3*7)
	b.Low = -20 // so that the bound is not cut; the range is then 26
	want -= 7 * 20 * l / (3 * 7)
	got, err := b.Lower(0.4)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "lower", got, want, 1e-9)

	// Covers what it says, and more, with several rows per customer.
	rng := rand.New(rand.NewPCG(31, 2))
	misses, reps, width := 0, 500, 0.0
	for range reps {
		left, right := EmpiricalBernstein{High: 2}, EmpiricalBernstein{High: 2}
		for c := range 800 {
			n, y := float64(1+rng.IntN(3)), 0.0
			for range int(n) {
				if rng.Float64() < 0.5 && rng.Float64() < 0.3 {
					y += 2
				}
			}
			if c%2 == 0 {
				left.Add(n, y)
			} else {
				right.Add(n, y)
			}
		}
		left.Merge(&right)
		iv, err := left.Interval(0.95)
		if err != nil {
			t.Fatal(err)
		}
		width += (iv.High - iv.Low) / float64(reps)
		if iv.Low > 0.3 || iv.High < 0.3 {
			misses++
		}
	}
	t.Logf("misses %d of %d, width %.3f", misses, reps, width)
	if float64(misses) > 0.05*float64(reps)+4*math.Sqrt(0.05*0.95*float64(reps)) || width > 0.5 {
		t.Errorf("misses %d of %d, width %.3f", misses, reps, width)
	}
	var none EmpiricalBernstein
	if _, err := none.Lower(0.05); !errors.Is(err, ErrEmpty) {
		t.Errorf("nobody: %v", err)
	}
	none.High = math.Inf(1)
	none.Add(1, 1)
	if _, err := none.Lower(0.05); !errors.Is(err, ErrNoRange) {
		t.Errorf("no range: %v", err)
	}
	one := EmpiricalBernstein{High: 3}
	one.Add(1, 1)
	if iv, err := one.Interval(0.95); err != nil || iv.Low != 0 || iv.High != 3 {
		t.Errorf("one customer: %+v %v", iv, err)
	}
	constant := EmpiricalBernstein{High: 3}
	for range 100000 {
		constant.Add(2, 2)
	}
	if iv, err := constant.Interval(0.95); err != nil || !(iv.Low > 0.99 && iv.Low < 1 && iv.High > 1 && iv.High < 1.01) {
		t.Errorf("constant: %+v %v", iv, err)
	}
}

// Two-sided by betting: at every one of 40 looks at once, for a declared range
// with losses in it.
func TestBettingSequence(t *testing.T) {
	rng := rand.New(rand.NewPCG(41, 3))
	reps := 150
	misses, width := 0, 0.0
	for range reps {
		s, err := NewBettingSequence(-1, 1)
		if err != nil {
			t.Fatal(err)
		}
		missed := false
		var iv Interval
		for range 40 {
			part, _ := NewBettingSequence(-1, 1)
			for range 50 {
				w, r := 0.0, 0.0
				if rng.Float64() < 0.25 {
					w = 4
				}
				switch u := rng.Float64(); {
				case u < 0.3:
					r = 1
				case u < 0.4:
					r = -1
				}
				var c Customer
				c.Add(&Row{Weight: w, Reward: r, Support: 1})
				part.Add(&c)
			}
			s.Merge(part)
			if iv, err = s.Interval(0.05); err != nil {
				t.Fatal(err)
			}
			missed = missed || iv.Low > 0.2 || iv.High < 0.2
		}
		width += (iv.High - iv.Low) / float64(reps)
		if missed {
			misses++
		}
	}
	t.Logf("missed at any of 40 looks: %d of %d, last width %.3f", misses, reps, width)
	if float64(misses) > 0.05*float64(reps)+4*math.Sqrt(0.05*0.95*float64(reps)) || width > 0.6 {
		t.Errorf("missed %d of %d, width %.3f", misses, reps, width)
	}
	if _, err := NewBettingSequence(1, 1); !errors.Is(err, ErrNoRewardRange) {
		t.Errorf("no range: %v", err)
	}
	empty, _ := NewBettingSequence(0, 1)
	if _, err := empty.Interval(0.05); !errors.Is(err, ErrEmpty) {
		t.Errorf("nobody: %v", err)
	}
}

func TestAsymptoticSequenceOfAnEstimate(t *testing.T) {
	e := Estimate{Value: 0.5, StdErr: 0.01, Customers: 10000}
	iv := e.Asymptotic(500, 10000, 0.05)
	n := e.Normal(0.95)
	if ratio := (iv.High - iv.Low) / (n.High - n.Low); !(ratio > 1.3 && ratio < 1.7) {
		t.Errorf("%+v is %.2f times the normal interval", iv, ratio)
	}
	if iv := e.Asymptotic(24, 10000, 0.05); !math.IsInf(iv.Low, -1) || !math.IsInf(iv.High, 1) {
		t.Errorf("24 conversions: %+v", iv)
	}
	if got := (Estimate{Value: 1, StdErr: math.NaN(), Customers: 1}).StudentLower(0.05); !math.IsInf(got, -1) {
		t.Errorf("one customer: %g", got)
	}
}

// The extremes against a search over all assignments of Γ and 1/Γ, and the flip
// against the extremes.
func TestSensitivity(t *testing.T) {
	rng := rand.New(rand.NewPCG(51, 4))
	for range 30 {
		n := 3 + rng.IntN(8)
		w, r := make([]float64, n), make([]float64, n)
		var a, b Sensitivity
		for i := range w {
			w[i], r[i] = rng.Float64(), float64(rng.IntN(5)-1)
			to := &a
			if i%2 == 0 {
				to = &b
			}
			to.Add(w[i], r[i])
		}
		a.Merge(&b)
		gamma := 1 + 2*rng.Float64()
		low, high := math.Inf(1), math.Inf(-1)
		for set := range 1 << n {
			var x, d float64
			for i := range w {
				g := w[i] * gamma
				if set>>i&1 == 1 {
					g = w[i] / gamma
				}
				x, d = x+g*r[i], d+g
			}
			low, high = min(low, x/d), max(high, x/d)
		}
		iv, err := a.Range(gamma)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "low", iv.Low, low, 1e-12)
		near(t, "high", iv.High, high, 1e-12)
		at, _ := a.Range(1)
		flip, err := a.Flip(at.Low-0.1, 0.02)
		if err != nil {
			t.Fatal(err)
		}
		if !math.IsInf(flip, 1) {
			edge, _ := a.Range(flip)
			near(t, "low at the flip", edge.Low, at.Low-0.08, 1e-9)
		}
		flip, _ = a.Flip(at.High+0.3, 0.1)
		if !math.IsInf(flip, 1) {
			edge, _ := a.Range(flip)
			near(t, "high at the flip", edge.High, at.High+0.2, 1e-9)
		}
		if flip, _ := a.Flip(at.Low, 0); flip != 1 {
			t.Errorf("no verdict flips at %g", flip)
		}
		if flip, _ := a.Flip(-5, 0); !math.IsInf(flip, 1) {
			t.Errorf("a value that no reward is below flips at %g", flip)
		}
	}
	// A conversion rate of .06 against .05 falls when weights are off by √(.06·.95/(.94·.05)).
	var s Sensitivity
	s.Add(940, 0)
	s.Add(60, 1)
	flip, err := s.Flip(0.05, 0)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "Γ", flip, math.Sqrt(0.06*0.95/(0.94*0.05)), 1e-9)
	var empty Sensitivity
	empty.Add(0, 1)
	if _, err := empty.Flip(0, 0); !errors.Is(err, ErrNoWeight) {
		t.Errorf("no weight: %v", err)
	}
	if _, err := empty.Range(2); !errors.Is(err, ErrNoWeight) {
		t.Errorf("no weight: %v", err)
	}
}
