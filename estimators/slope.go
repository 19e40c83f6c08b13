package estimators

import (
	"math"
	"sort"
)

// Slope chooses among estimates that come in the order of increasing bias and,
// it is supposed, decreasing width: the last one for which the intervals
// value ± 2·width of it and of all before it still have a point in common (Su,
// Srinath and Krishnamurthy 2020, arXiv 2002.07729, §3). Its error is at most a
// constant times that of the best. Lengths that differ panic; there must be at
// least one.
func Slope(value, width []float64) int {
	sameLength(len(value), len(width))
	low, high := math.Inf(-1), math.Inf(1)
	for k := range value {
		low, high = max(low, value[k]-2*width[k]), min(high, value[k]+2*width[k])
		if low > high {
			return k - 1
		}
	}
	return len(value) - 1
}

// SlopeByWidth is the variant that needs no order of bias: widest first, the last
// one that differs from every wider by at most width_i + (√6 − 1)·width_j (Tucker
// and Lee 2021, Improved Estimator Selection for Off-Policy Evaluation, eq. 3).
// Of equal widths the later one comes first.
func SlopeByWidth(value, width []float64) int {
	sameLength(len(value), len(width))
	order := make([]int, len(value))
	for k := range order {
		order[k] = len(value) - 1 - k
	}
	sort.SliceStable(order, func(a, b int) bool { return width[order[a]] > width[order[b]] })
	c := math.Sqrt(6) - 1
	for at, i := range order {
		for _, j := range order[:at] {
			if math.Abs(value[j]-value[i]) > width[i]+c*width[j] {
				return order[at-1]
			}
		}
	}
	return order[len(order)-1]
}
