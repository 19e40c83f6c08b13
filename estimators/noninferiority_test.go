package estimators

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestDifferenceTestExpectationByEnumeration(t *testing.T) {
	const bound = 4.0
	// The control's value is 4 with probability .25 and 1 with .25, mean 1.25;
	// the candidate's is 4 with probability .25+d/4, mean 1.25+d.
	population := func(p, d float64) [][]outcome {
		var customers [][]outcome
		for range 4 {
			high := .25 + d/4
			customers = append(customers, []outcome{
				{(1 - p) * .25, false, 4}, {(1 - p) * .25, false, 1}, {(1 - p) * .5, false, 0},
				{p * high, true, 4}, {p * .25, true, 1}, {p * (.75 - high), true, 0},
			})
		}
		return customers
	}
	for _, c := range []struct {
		name         string
		p            float64
		test         func(p float64) *DifferenceTest
		truth        float64
		least, limit float64
	}{
		{"rollback at the margin", .5, differenceRollback(bound, .5, HarmDecrease), -.5, 1, 1},
		{"rollback of the harmless", .5, differenceRollback(bound, .5, HarmDecrease), 0, 0, 1},
		{"rollback of the harmful", .9, differenceRollback(bound, .1, HarmDecrease), -1, 1.05, 99},
		{"more is worse, at the margin", .9, differenceRollback(bound, .5, HarmIncrease), .5, 1, 1},
		{"more is worse, harmful", .5, differenceRollback(bound, .1, HarmIncrease), 1.5, 1.05, 99},
		{"non-inferiority at the margin", .5, differenceNonInferior(bound, .5, HarmDecrease), -.5, 1, 1},
		{"non-inferiority beyond it", .3, differenceNonInferior(bound, .5, HarmDecrease), -1, 0, 1},
		{"non-inferiority of the equal", .5, differenceNonInferior(bound, 2, HarmDecrease), 0, 1.05, 99},
		{"more is worse, at the margin of non-inferiority", .2, differenceNonInferior(bound, .5, HarmIncrease), .5, 1, 1},
	} {
		var mean float64
		enumerate(population(c.p, c.truth), func(path []outcome, probability float64) {
			test := c.test(c.p)
			for _, o := range path {
				test.Add(o.candidate, o.y)
			}
			mean += probability * math.Exp(test.LogE())
		})
		if mean > c.limit+1e-12 || mean < c.least-1e-12 {
			t.Errorf("%s: E[e] = %.15f, want between %v and %v", c.name, mean, c.least, c.limit)
		}
	}
}

func differenceRollback(bound, margin float64, harm Harm) func(float64) *DifferenceTest {
	return func(p float64) *DifferenceTest { return NewDifferenceRollback(p, bound, margin, harm) }
}

func differenceNonInferior(bound, margin float64, harm Harm) func(float64) *DifferenceTest {
	return func(p float64) *DifferenceTest { return NewDifferenceNonInferiority(p, bound, margin, harm) }
}

func TestDifferenceTestErrorRates(t *testing.T) {
	const alpha, bound, rate = .05, 100.0, .05
	n := reps(t, 80, 500)
	customers := 20_000
	for _, c := range []struct {
		name        string
		p           float64
		make        func(p float64) *DifferenceTest
		factor      float64 // of the candidate's buying rate; the mean is 2.5 under control
		least, most float64
	}{
		{"rollback at the margin", .5, differenceRollback(bound, .25, HarmDecrease), .9, 0, alpha},
		{"rollback at the margin, control 10%", .9, differenceRollback(bound, .25, HarmDecrease), .9, 0, alpha},
		{"rollback of the harmless", .5, differenceRollback(bound, .25, HarmDecrease), 1, 0, alpha},
		{"rollback of RR .6", .5, differenceRollback(bound, .25, HarmDecrease), .6, .9, 1},
		{"non-inferiority at the margin", .5, differenceNonInferior(bound, .25, HarmDecrease), .9, 0, alpha},
		{"non-inferiority of the equal at 1", .5, differenceNonInferior(bound, 1, HarmDecrease), 1, .9, 1},
	} {
		rng := rand.New(rand.NewPCG(23, uint64(len(c.name))))
		crossed := 0
		for range n {
			test := c.make(c.p)
			// Skip ahead to the customers who buy; the others are zeros.
			for range 100 {
				buyers := binomial(rng, customers/100, rate)
				zeros := customers/100 - buyers
				for range buyers {
					candidate := rng.Float64() < c.p
					if candidate && rng.Float64() >= c.factor {
						zeros++
						continue
					}
					test.Add(candidate, bound*rng.Float64())
				}
				test.zeros += zeros
				test.n += zeros
				if test.LogE() >= -math.Log(alpha) {
					crossed++
					break
				}
			}
		}
		got := float64(crossed) / float64(n)
		t.Logf("%-45s %.4f", c.name, got)
		if got > c.most+slack(c.most, n) || got < c.least-slack(c.least, n) {
			t.Errorf("%s: crossed in %.4f of %d runs, want %.2f to %.2f", c.name, got, n, c.least, c.most)
		}
	}
}

func TestDifferenceTestMergeAndCap(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 1))
	make := differenceRollback(10, 1, HarmDecrease)
	all, a, b, capped := make(.5), make(.5), make(.5), make(.5)
	for i := range 400 {
		z, y := rng.Float64() < .5, math.Max(0, 12*rng.Float64()-4)
		all.Add(z, y)
		capped.Add(z, math.Min(y, 10))
		if i%3 == 0 {
			a.Add(z, y)
		} else {
			b.Add(z, y)
		}
	}
	a.Merge(b)
	if math.Abs(a.LogE()-all.LogE()) > 1e-10 || a.N() != 400 {
		t.Errorf("merged %v of %d customers, all at once %v", a.LogE(), a.N(), all.LogE())
	}
	if capped.LogE() != all.LogE() {
		t.Errorf("values over the bound count %v, capped ones %v", all.LogE(), capped.LogE())
	}
}
