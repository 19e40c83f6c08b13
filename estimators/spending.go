package estimators

import (
	"fmt"
	"math"
)

// Spend returns the error probability that the k-th look (from 1) at the same
// question may use, so that all looks together, however many there come to be,
// err with a probability of at most delta: delta·6/(π²k²), whose sum over k is
// delta (union bound; Σ1/k² = π²/6). The looks need not be independent.
func Spend(delta float64, k int) float64 {
	if k < 1 {
		panic(fmt.Sprintf("estimators: look %d; they count from 1", k))
	}
	return delta * 6 / (math.Pi * math.Pi * float64(k) * float64(k))
}
