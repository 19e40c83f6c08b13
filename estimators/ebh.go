package estimators

import (
	"math"
	"sort"
)

// EBH applies the e-BH procedure of Wang & Ramdas (2022, arXiv 2009.02824) to
// the logarithms of m e-values: with e_(k) the k-th largest, it rejects the
// largest k hypotheses for which e_(k) ≥ m/(kα), and so bounds the false
// discovery rate by alpha under any dependence. It returns what is rejected, in
// the order given. The e-values must be those of one moment: running maxima of
// e-processes do not keep the rate (arXiv 2501.19360).
func EBH(logE []float64, alpha float64) []bool {
	m := len(logE)
	order := make([]int, m)
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool { return logE[order[a]] > logE[order[b]] })
	rejected := make([]bool, m)
	for k := m; k >= 1; k-- {
		if logE[order[k-1]] >= EBHThreshold(m, k, alpha) {
			for _, i := range order[:k] {
				rejected[i] = true
			}
			break
		}
	}
	return rejected
}

// EBHThreshold returns log(m/(kα)), what the k-th largest of m e-values must
// reach in logarithms.
func EBHThreshold(m, k int, alpha float64) float64 {
	return math.Log(float64(m) / (float64(k) * alpha))
}
