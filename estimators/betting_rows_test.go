package estimators

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
)

// activity is a population of customers with several rows each, whose rewards may
// hang on how many. Weights are 0 or 2.
type activity struct {
	name string
	// customer draws one: its rows, its weighted reward, and the mean of that given
	// the rows (NaN where the rows hang on the rewards).
	customer func(rng *rand.Rand) (n, y, given float64)
	value    float64 // E[y]/E[n]
	rows     float64 // the most possible
	// fair says that the bound holds of the population too.
	fair bool
}

// rewards draws n rows of rate p.
func rewards(rng *rand.Rand, n int, p float64) (float64, float64, float64) {
	y := 0.0
	for range n {
		if rng.Float64() < p/2 {
			y += 2
		}
	}
	return float64(n), y, float64(n) * p
}

// pareto has P(n ≥ k) = k^−index up to most, and the rate of reward rate(n).
func pareto(name string, index float64, most int, rate func(n int) float64, fair bool) activity {
	rows, earned := 0.0, 0.0
	for k := 1; k <= most; k++ {
		p := math.Pow(float64(k), -index)
		if k < most {
			p -= math.Pow(float64(k+1), -index)
		}
		rows += p * float64(k)
		earned += p * float64(k) * rate(k)
	}
	return activity{name, func(rng *rand.Rand) (float64, float64, float64) {
		n := int(min(float64(most), math.Pow(rng.Float64(), -1/index)))
		return rewards(rng, n, rate(n))
	}, earned / rows, float64(most), fair}
}

// Given the numbers of rows the bound holds, however uneven they are and however
// rewards hang on them. Of the population it holds where tails are light, even
// where customers stop coming once they have converted; with a declared most it
// always holds, and without, rare customers who are far busier than all seen break
// it, as they break any bound.
func TestBettingBoundGivenTheRows(t *testing.T) {
	const customers, δ, reps = 300, 0.05, 1000
	less := func(n int) float64 { return 0.3 / float64(n) }
	for _, a := range []activity{
		pareto("index 3", 3, 1000, less, true),
		pareto("index 2", 2, 1000, less, true),
		pareto("index 1.1", 1.1, 5000, less, false),
		pareto("busy customers never convert", 1.3, 2000, func(n int) float64 { return map[bool]float64{true: 0.9}[n <= 20] }, false),
		{"stops once converted", func(rng *rand.Rand) (n, y, given float64) {
			for n < 200 {
				n++
				if w := float64(2 * rng.IntN(2)); rng.Float64() < 0.1 {
					return n, w, math.NaN()
				}
			}
			return n, 0, math.NaN()
		}, 0.1, 200, true},
		{"one in 600 has 1000 rows", func(rng *rand.Rand) (n, y, given float64) {
			if rng.IntN(600) == 0 {
				return 1000, 0, 0
			}
			return rewards(rng, 1, 0.3)
		}, 0.3 * 599 / (599 + 1000), 1000, false},
	} {
		rng := rand.New(rand.NewPCG(61, 4))
		var missGiven, missAll, missDeclared float64
		for range reps {
			open, declared := Betting{Scale: 1}, Betting{Scale: 1, Rows: a.rows}
			var given, rows float64
			for range customers {
				n, y, mean := a.customer(rng)
				open.Add(n, y)
				declared.Add(n, y)
				given, rows = given+mean, rows+n
			}
			limit := math.Log(1 / δ)
			if open.LogWealth(given/rows) >= limit {
				missGiven++
			}
			if open.LogWealth(a.value) >= limit {
				missAll++
			}
			if declared.LogWealth(a.value) >= limit {
				missDeclared++
			}
		}
		t.Logf("%s: misses given the rows %.3f, of the population %.3f, with the most declared %.3f", a.name, missGiven/reps, missAll/reps, missDeclared/reps)
		most := reps * (δ + 4*math.Sqrt(δ*(1-δ)/reps))
		if missGiven > most || missDeclared > most || a.fair && missAll > most {
			t.Errorf("%s: of %d samples %g miss given the rows, %g of the population, %g with the most declared", a.name, reps, missGiven, missAll, missDeclared)
		}
	}
	b := Betting{Scale: 1, Rows: 2}
	b.Add(3, 1)
	if _, err := b.Lower(0.05); !errors.Is(err, ErrTooManyRows) {
		t.Errorf("three rows of two: %v", err)
	}
}
