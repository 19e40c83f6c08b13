package estimators

import "math"

// LogSmoothing is the logarithmically smoothed estimate M[log(1 + λwr)]/λ for
// rewards ≥ 0 (Sakhi, Aouali, Alquier and Chopin 2024, arXiv 2405.14335, eq. 9,
// with rewards for negative costs). It is biased downwards, less than clipping
// at 1/λ is, and its bound has no largest weight in it. λ = 0 is IPS. λ acts on wr, so
// that of rewards in cents is a hundredth of that in whole units.
func LogSmoothing(by Customers, weight, reward []float64, λ float64) (Estimate, error) {
	return NewLogSmoothing(λ).weighted(by, weight, reward)
}

// NewLogSmoothing accumulates LogSmoothing. It panics on a λ that is negative,
// NaN or infinite.
func NewLogSmoothing(λ float64) *Total {
	within("λ", λ, 0, math.MaxFloat64)
	return &Total{kind: "log_smoothing", param: λ, needs: needWeight | needReward | needGain, term: func(r *Row) (x, d float64) {
		return smoothed(r.Weight*r.Reward, λ), 1
	}}
}

// smoothed is log(1+λx)/λ, x at λ = 0.
func smoothed(x, λ float64) float64 {
	if λ == 0 {
		return x
	}
	return math.Log1p(λ*x) / λ
}
