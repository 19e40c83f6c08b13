package estimators

import (
	"math"
	"testing"
)

// Two slots filled without repeats from three actions: rewards of the first
// depend on its action, of the second on both. All lists are enumerated.
func TestListsByEnumeration(t *testing.T) {
	logger := func(above []int) []float64 { return withoutRepeats([]float64{0.5, 0.3, 0.2}, above) }
	target := func(above []int) []float64 { return withoutRepeats([]float64{0.1, 0.3, 0.6}, above) }
	first := []float64{0.1, 0.4, 0.2}
	second := func(a, b int) float64 { return 0.05 + 0.2*float64(a) + 0.1*float64(b) } // cascade
	alone := func(b int) float64 { return 0.05 + 0.1*float64(b) }                      // position by position
	μ, π := PositionMarginals(2, 3, logger), PositionMarginals(2, 3, target)
	for l := range μ {
		near(t, "Σ marginals", sum(μ[l]), 1, 1e-12)
	}
	q := func(a, b int) float64 { return 0.3 - 0.2*float64(a) + 0.05*float64(b) } // wrong on purpose
	q1 := func(a int) float64 { return 0.7 - 0.3*float64(a) }
	var truth, truthAlone, cascade, position, conditional float64
	for a, pa := range logger(nil) {
		for b, pb := range logger([]int{a}) {
			if pb == 0 {
				continue
			}
			ta, tb := target(nil)[a], target([]int{a})[b]
			truth += ta * tb * (first[a] + second(a, b))
			truthAlone += ta * tb * (first[a] + alone(b))
			var qπ, qπ1 float64
			for c, p := range target([]int{a}) {
				qπ += p * q(a, c)
			}
			for c, p := range target(nil) {
				qπ1 += p * q1(c)
			}
			list := []Slot{
				{Weight: ta / pa, Marginal: π[0][a] / μ[0][a], Reward: first[a], Q: q1(a), QPolicy: qπ1},
				{Weight: tb / pb, Marginal: π[1][b] / μ[1][b], Reward: second(a, b), Q: q(a, b), QPolicy: qπ},
			}
			e, err := CascadeDR(nil, [][]Slot{list})
			if err != nil {
				t.Fatal(err)
			}
			cascade += pa * pb * e.Value
			list[1].Reward = alone(b)
			if e, err = PositionIPS(nil, [][]Slot{list}); err != nil {
				t.Fatal(err)
			}
			position += pa * pb * e.Value
			list[1].Marginal = list[1].Weight // what was logged for the draw
			e, _ = PositionIPS(nil, [][]Slot{list})
			conditional += pa * pb * e.Value
		}
	}
	near(t, "E[cascade-DR]", cascade, truth, 1e-12)
	near(t, "E[position-wise IPS]", position, truthAlone, 1e-12)
	if math.Abs(conditional-truthAlone) < 1e-3 {
		t.Error("conditional probabilities for marginal ones go unnoticed")
	}
}

func withoutRepeats(p []float64, above []int) []float64 {
	out := append([]float64(nil), p...)
	for _, a := range above {
		out[a] = 0
	}
	s := sum(out)
	for a := range out {
		out[a] /= s
	}
	return out
}
