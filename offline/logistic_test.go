package offline

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/uuid"
	"gonum.org/v1/gonum/mat"

	"nextbest"
)

// The fit is the maximum: the gradient vanishes there, and the truth is near.
func TestLogisticFit(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	truth := []float64{-2, 1, -0.5, 0.25}
	rows := make([]outcome, 40_000)
	for i := range rows {
		x := []float32{float32(rng.NormFloat64()), float32(rng.NormFloat64()), float32(rng.NormFloat64())}
		one := 0.0
		if rng.Float64() < logistic(linear(truth, x)) {
			one = 1
		}
		rows[i] = outcome{x, one, 1, uint8(i % 3)}
	}
	n := newton{width: 3, h: mat.NewSymDense(4, nil), g: mat.NewVecDense(4, nil)}
	for out := -1; out < 3; out++ {
		θ := make([]float64, 4)
		n.fit(θ, rows, out, 1, -2)
		n.derivatives(θ, rows, out, 1, -2)
		var inverse mat.Dense
		if err := inverse.Inverse(n.h); err != nil {
			t.Fatal(err)
		}
		for k, v := range θ {
			if g := n.g.AtVec(k); math.Abs(g) > 1e-4*float64(len(rows)) {
				t.Errorf("without fold %d: gradient %d is %g", out, k, g)
			}
			if se := math.Sqrt(inverse.At(k, k)); math.Abs(v-truth[k]) > 4*se {
				t.Errorf("without fold %d: weight %d is %.4f, the truth %.4f (standard error %.4f)", out, k, v, truth[k], se)
			}
		}
	}
	// Outcomes that x tells apart have no maximum but for the ridge.
	apart := []outcome{{[]float32{1, 0, 0}, 1, 1, 0}, {[]float32{-1, 0, 0}, 0, 1, 0}}
	θ := make([]float64, 4)
	n.fit(θ, apart, -1, 1, 0)
	if !finite(θ...) || θ[1] <= 0 {
		t.Errorf("separable outcomes: %v", θ)
	}
}

// A thinned sample weighs as much as the whole, and does not depend on how it
// was cut into lanes.
func TestLogisticSample(t *testing.T) {
	const n = 5 * sampleSize
	rng := rand.New(rand.NewPCG(3, 4))
	var whole, left, right logisticSample
	for i := range n {
		var id uuid.UUID
		for k := range id {
			id[k] = byte(rng.Uint32())
		}
		key, x := sampleKey(id, 0), []float32{float32(i)}
		reward := float64(i % 50 / 49)
		whole.add(key, 0, 0, x, reward)
		if i%2 == 0 {
			left.add(key, 0, 0, x, reward)
		} else {
			right.add(key, 0, 0, x, reward)
		}
	}
	if len(whole.some.rows) != n/50 || whole.some.halvings != 0 {
		t.Errorf("%d of %d conversions were kept", len(whole.some.rows), n/50)
	}
	weight := math.Ldexp(1, whole.none.halvings)
	kept := float64(len(whole.none.rows))
	all := float64(n - n/50)
	if sd := math.Sqrt(all*(1-1/weight)/weight) * weight; math.Abs(kept*weight-all) > 4*sd {
		t.Errorf("%g rows of weight %g stand for %g", kept, weight, all)
	}
	left.merge(&right)
	seen := map[float32]bool{}
	for _, r := range left.none.rows {
		seen[r.x[0]] = true
	}
	for _, r := range whole.none.rows {
		if left.none.halvings <= whole.none.halvings && !seen[r.x[0]] {
			t.Fatalf("row %v is in the whole and not in the halves", r.x[0])
		}
	}
}

// With a logistic model DR stays right, and DM is about as wrong as ridge's.
func TestLogisticModel(t *testing.T) {
	s := conversions()
	req := request(s, s.Best())
	req.RewardModel = modelLogistic
	r := get(t, evaluated(t, s, req), "best")
	truth := s.Best().Value()
	if r.DR == nil || truth < r.DR.Low || truth > r.DR.High {
		t.Errorf("%+v, the truth is %.4f", r.DR, truth)
	}
	ridge := get(t, evaluated(t, s, request(s, s.Best())), "best")
	if d := math.Abs(ridge.DM.Value - r.DM.Value); d == 0 || d > 0.02 {
		t.Errorf("DM is %v with logistic models and %v with ridge", r.DM.Value, ridge.DM.Value)
	}
	s.Revenue = true
	if _, err := Run(t.Context(), s, req, nil); nextbest.CodeOf(err) != nextbest.Invalid {
		t.Errorf("revenue with a logistic model: %v", err)
	}
}
