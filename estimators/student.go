package estimators

import "gonum.org/v1/gonum/stat/distuv"

// StudentLower is the one-sided lower bound value − t_{C−1}(1 − δ)·se (Thomas,
// Theocharous and Ghavamzadeh 2015, High Confidence Policy Improvement, §2.4): as
// short of the truth as the normal interval where few customers convert. With one
// customer it is −Inf.
func (e Estimate) StudentLower(delta float64) float64 {
	if e.Customers < 2 {
		return -inf
	}
	t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(e.Customers - 1)}
	return e.Value - t.Quantile(1-delta)*e.StdErr
}
