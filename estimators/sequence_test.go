package estimators

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Reference values of the formula, computed apart with 30 digits.
func TestAsymptoticRadius(t *testing.T) {
	for _, c := range []struct {
		n        int
		sd, a, p float64
		oneSided bool
		want     float64
	}{
		{1000, 1, .05, 1000, false, radiusTwo1000},
		{5000, 2, .05, 10000, true, radiusOne5000},
	} {
		if got := AsymptoticRadius(c.n, c.sd, c.a, c.p, c.oneSided); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("n=%d: %.15f, want %.15f", c.n, got, c.want)
		}
	}
	if r := AsymptoticRadius(0, 1, .05, 100, false); !math.IsInf(r, 1) {
		t.Errorf("no customers: %v", r)
	}
	// The planned time is where it is tightest, relative to 1/√n.
	at := func(planned float64) float64 { return AsymptoticRadius(1000, 1, .05, planned, false) }
	if at(1000) > at(300) || at(1000) > at(3000) {
		t.Errorf("radius at 1,000: %v planned for 1,000, %v for 300, %v for 3,000", at(1000), at(300), at(3000))
	}
}

func TestDifferenceSequenceIsUnbiasedWhateverIsPredicted(t *testing.T) {
	// Two customers, all assignments and outcomes: E[mean φ] = Δ.
	for _, m := range [][2]float64{{0, 0}, {.3, .9}, {-5, 2}} {
		var mean float64
		enumerate(converting(2, .3, 1.5), func(path []outcome, probability float64) {
			s := NewDifferenceSequence(.7, 100)
			for _, o := range path {
				s.AddPredicted(o.candidate, o.y, m[0], m[1])
			}
			mean += probability * s.Estimate()
		})
		want := .5 * (.1 + .25) / 2
		if math.Abs(mean-want) > 1e-12 {
			t.Errorf("predictions %v: E[estimate] = %v, want %v", m, mean, want)
		}
	}
}

// A/A with 100 looks: one-sided and two-sided misses after the burn-in; a
// sparse control and 2% conversions, where the plug-in variance alone misses.
func TestDifferenceSequenceErrorRates(t *testing.T) {
	const alpha = .05
	n, customers := reps(t, 60, 600), 20_000
	for _, c := range []struct {
		name       string
		p          float64
		factor     float64
		power      float64
		predictive bool
	}{
		{"A/A", .5, 1, 0, false},
		{"A/A, control 10%", .9, 1, 0, false},
		{"A/A, with what is known of the customer", .5, 1, 0, true},
		{"1.6 times as many buyers", .5, 1.6, .8, false},
	} {
		rng := rand.New(rand.NewPCG(31, uint64(len(c.name))))
		above, missed := 0, 0
		var width float64
		for range n {
			s := NewDifferenceSequence(c.p, float64(customers))
			up, out := false, false
			for i := range customers {
				habit := rng.Float64()
				z := rng.Float64() < c.p
				rate := .04 * habit
				if z {
					rate *= c.factor
				}
				y := 0.0
				if rng.Float64() < rate {
					y = 50 + 50*rng.Float64()
				}
				if c.predictive {
					s.AddPredicted(z, y, 75*.04*habit, 75*.04*habit*c.factor)
				} else {
					s.Add(z, y)
				}
				if i%200 == 199 {
					low, high := s.Interval(alpha)
					truth := 75 * .02 * (c.factor - 1)
					out = out || truth < low || truth > high
					up = up || s.LowerBound(alpha) > 0
					width = high - low
				}
			}
			if up {
				above++
			}
			if out {
				missed++
			}
		}
		up, out := float64(above)/float64(n), float64(missed)/float64(n)
		t.Logf("%-42s above 0: %.3f, truth missed: %.3f, width %.3f", c.name, up, out, width)
		if out > alpha+slack(alpha, n) {
			t.Errorf("%s: the truth was missed at some look in %.3f of %d runs", c.name, out, n)
		}
		if c.factor == 1 && up > alpha+slack(alpha, n) {
			t.Errorf("%s: the lower bound passed 0 in %.3f of %d runs", c.name, up, n)
		}
		if up < c.power-slack(c.power, n) {
			t.Errorf("%s: power %.3f, want %.2f", c.name, up, c.power)
		}
	}
}

func TestDifferenceSequenceBurnIn(t *testing.T) {
	s := NewDifferenceSequence(.5, 1000)
	for range BurnIn {
		s.Add(true, 1)
	}
	for range BurnIn - 1 {
		s.Add(false, 1)
	}
	if s.Ready() || !math.IsInf(s.LowerBound(.05), -1) {
		t.Fatalf("ready with %d conversions in the control arm", BurnIn-1)
	}
	s.Add(false, 1)
	if low, high := s.Interval(.05); !s.Ready() || math.IsInf(low, 0) || math.IsInf(high, 0) {
		t.Fatalf("not ready with %d conversions in each arm: [%v, %v]", BurnIn, low, high)
	}
}

const (
	radiusTwo1000 = 0.09598924328720410120
	radiusOne5000 = 0.07912474361457486152
)

// Revenue with a heavy tail and a small control: until the control has met its
// large customers it looks poor, and only their squares tell that it has not.
func TestDifferenceSequenceWaitsForTheTail(t *testing.T) {
	runs := 60
	if !testing.Short() {
		runs = 150
	}
	for _, c := range []struct{ rate, sigma, cap, ratio float64 }{{.02, 1.5, 100, 1}, {.02, 2, 1000, 1}, {.02, 2, 1000, .8}, {.05, 1, 20, 1}} {
		rng := rand.New(rand.NewPCG(21, uint64(c.cap)))
		wrong := 0
		for range runs {
			s := NewDifferenceSequence(.9, 10000)
			found := false
			for i := range 20000 {
				candidate, rate, y := rng.Float64() < .9, c.rate, 0.
				if candidate {
					rate *= c.ratio
				}
				if rng.Float64() < rate {
					y = math.Min(math.Exp(c.sigma*rng.NormFloat64()), c.cap)
				}
				s.Add(candidate, y)
				found = found || i%200 == 0 && s.LowerBound(.05) > 0
			}
			if found {
				wrong++
			}
		}
		if rate := float64(wrong) / float64(runs); rate > .05+2*math.Sqrt(.05*.95/float64(runs)) {
			t.Errorf("%+v: a candidate that is no better wins in %.3f of %d runs", c, rate, runs)
		}
	}
}
