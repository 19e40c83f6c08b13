package estimators

import (
	"fmt"
	"math"
)

// ClippedIPS is IPS with weights cut at a largest one, M[min(w, c) r] (Bottou et
// al. 2013, Counterfactual Reasoning and Learning Systems, JMLR 14, eq. 15;
// Ionides 2008). For rewards ≥ 0 it is biased downwards; c = +Inf is IPS.
func ClippedIPS(by Customers, weight, reward []float64, c float64) (Estimate, error) {
	return NewClippedIPS(c).weighted(by, weight, reward)
}

// NewClippedIPS accumulates ClippedIPS. It panics on a negative or NaN c.
func NewClippedIPS(c float64) *Total {
	notNegative("largest weight", c)
	return &Total{kind: "clipped_ips", param: c, needs: needWeight | needReward, term: func(r *Row) (x, d float64) {
		return clip(r.Weight, c) * r.Reward, 1
	}}
}

// ClippedDR is DR with weights cut at a largest one, M[q_π + min(w, c)(r − q)]
// (Su, Dimakopoulou, Krishnamurthy and Dudík 2020, arXiv 1907.09623, §4: the
// pessimistic shrinkage). c = 0 is DM, +Inf is DR.
func ClippedDR(by Customers, weight, reward, q, qPolicy []float64, c float64) (Estimate, error) {
	return NewClippedDR(c).modelled(by, weight, reward, q, qPolicy)
}

// NewClippedDR accumulates ClippedDR. It panics on a negative or NaN c.
func NewClippedDR(c float64) *Total {
	notNegative("largest weight", c)
	return &Total{kind: "clipped_dr", param: c, needs: needWeight | needReward | needModel, term: func(r *Row) (x, d float64) {
		return r.QPolicy + clip(r.Weight, c)*(r.Reward-r.Q), 1
	}}
}

func clip(w, c float64) float64 { return min(w, c) }

// notNegative panics: hyperparameters are the program's own.
func notNegative(name string, v float64) {
	if !(v >= 0) {
		panic(fmt.Sprintf("estimators: %s %v", name, v))
	}
}

// within panics unless v is in [lo, hi].
func within(name string, v, lo, hi float64) {
	if math.IsNaN(v) || v < lo || v > hi {
		panic(fmt.Sprintf("estimators: %s %v is not in [%v, %v]", name, v, lo, hi))
	}
}
