package estimators

import (
	"fmt"
	"math"
)

// RowError says which row of the input cannot be used and why.
type RowError struct {
	Row     int // 0-based
	Problem string
}

// Error names the row, counted from 0.
func (e *RowError) Error() string { return fmt.Sprintf("row %d: %s", e.Row, e.Problem) }

func rowErrorf(row int, format string, args ...any) error {
	return &RowError{Row: row, Problem: fmt.Sprintf(format, args...)}
}

// Weights returns w = π/μ for each row's logged action. A propensity outside
// (0, 1] or a probability outside [0, 1] is a *RowError.
func Weights(probability, propensity []float64) ([]float64, error) {
	sameLength(len(probability), len(propensity))
	w := make([]float64, len(probability))
	for i, p := range propensity {
		if !(p > 0 && p <= 1) {
			return nil, rowErrorf(i, "propensity %v: it must be in (0, 1]; a log without propensities cannot be evaluated", p)
		}
		if q := probability[i]; !(q >= 0 && q <= 1) {
			return nil, rowErrorf(i, "evaluation probability %v: it must be in [0, 1]", q)
		}
		w[i] = probability[i] / p
	}
	return w, nil
}

func checkWeights(weight []float64) error {
	for i, w := range weight {
		if !(w >= 0) || math.IsInf(w, 1) {
			return rowErrorf(i, "weight %v: it must be finite and not negative", w)
		}
	}
	return nil
}

func checkFinite(name string, v []float64) error {
	for i, x := range v {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return rowErrorf(i, "%s %v: it must be a finite number", name, x)
		}
	}
	return nil
}

func sameLength(n int, others ...int) {
	for _, m := range others {
		if m != n {
			panic(fmt.Sprintf("estimators: slices of length %d and %d", n, m))
		}
	}
}
