package coverage

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Setting is one kind of log whose intervals are put to the test: a fixed
// logger, a candidate whose weight at a row is 0 or the inverse of what the logger
// gave its action, and rewards whose rate grows with the weight, so that the
// estimate leans. The candidate is worth as much as the logger.
type Setting struct {
	Customers int
	Rows      int     // of each customer; above 1, a fifth of the customers have all the rewards
	Tail      string  // light: weights of 2; medium: 2 to 20; heavy: 3 to 100
	Rate      float64 // of rewards per row
	Revenue   bool    // a reward is worth 1 to 64 with P(≥ 2^j) = 2^(−1.5j), else 1
}

// tails holds weights and the shares of rows on which the candidate's action has
// that inverse propensity.
var tails = map[string][2][]float64{
	"light":  {{2}, {1}},
	"medium": {{2, 5, 10, 20}, {0.25, 0.25, 0.25, 0.25}},
	"heavy":  {{3, 10, 30, 100}, {0.4, 0.3, 0.2, 0.1}},
}

// cell is a kind of customer and how often it occurs.
type cell struct {
	p                               float64
	rows, weight, weighted, rewards float64
	conversion                      bool    // at a matched row
	q                               float64 // predicted reward of a row
	group                           int     // cells alike but for rewards at other rows
}

// cells enumerates every kind of customer.
func (s Setting) cells() []cell {
	sizes, sizeP := []float64{1}, []float64{1}
	if s.Revenue {
		sizes, sizeP = nil, nil
		for j := range 7 {
			p := math.Exp2(-1.5 * float64(j))
			if j < 6 {
				p *= 1 - math.Exp2(-1.5)
			}
			sizes, sizeP = append(sizes, math.Exp2(float64(j))), append(sizeP, p)
		}
	}
	kinds := [][2]float64{{1, 1}} // share, times the rate
	if s.Rows > 1 {
		kinds = [][2]float64{{0.8, 0}, {0.2, 5}}
	}
	var out []cell
	weights, shares := tails[s.Tail][0], tails[s.Tail][1]
	for l, w := range weights {
		rate := s.Rate
		if len(weights) > 1 {
			rate *= 0.5 + float64(l)/float64(len(weights)-1)
		}
		predicted := 0.7 * rate * mean(sizes, sizeP) // a model that knows the contexts, roughly
		for _, kind := range kinds {
			p := min(kind[1]*rate, 1)
			for m := range s.Rows + 1 { // matched rows
				pm := shares[l] * kind[0] * binomial(s.Rows, m, 1/w)
				for k := range m + 1 { // rewarded among them
					for u := range s.Rows - m + 1 { // and among the others
						q := pm * binomial(m, k, p) * binomial(s.Rows-m, u, p)
						if q == 0 {
							continue
						}
						for z, size := range sizes {
							c := cell{p: q * sizeP[z], rows: float64(s.Rows), weight: w * float64(m),
								weighted: w * float64(k) * size, rewards: float64(k+u) * size, conversion: k > 0, q: predicted}
							if k+u == 0 {
								c.p = q
							}
							out = append(out, c)
							if k+u == 0 {
								break
							}
						}
					}
				}
			}
		}
	}
	return out
}

func mean(v, p []float64) (m float64) {
	for i, x := range v {
		m += p[i] * x
	}
	return m
}

func binomial(n, k int, p float64) float64 {
	switch {
	case p == 0 && k == 0, p == 1 && k == n:
		return 1
	case p == 0, p == 1:
		return 0
	}
	return distuv.Binomial{N: float64(n), P: p}.Prob(float64(k))
}

// Settings returns the study: sample size × weight tail × base rate for
// conversions, clustered customers and heavy-tailed revenue.
func Settings() (out []Setting) {
	for _, kind := range []Setting{{Rows: 1}, {Rows: 5}, {Rows: 1, Revenue: true}} {
		for _, tail := range []string{"light", "medium", "heavy"} {
			for _, rate := range []float64{0.01, 0.05, 0.2} {
				for _, n := range []int{500, 2000, 10000} {
					kind.Tail, kind.Rate, kind.Customers = tail, rate, n
					if kind.Rows > 1 {
						kind.Rate, kind.Customers = rate/2, n/2 // .5 at most of a customer who buys
					}
					out = append(out, kind)
				}
			}
		}
	}
	return out
}
