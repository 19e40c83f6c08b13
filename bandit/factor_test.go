package bandit

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"
)

// TestFactorFollowsUpdatesAndDowndates compares the factor after a long series
// of rotations with one made from the sums.
func TestFactorFollowsUpdatesAndDowndates(t *testing.T) {
	for _, d := range []int{1, 3, 4, 5, 17, 32} {
		rng := rand.New(rand.NewPCG(uint64(d), 1))
		n := padded(d)
		f := newFactor(n, 0.5)
		sums := newStatistics(d)
		turns := make([]float64, 2*n)
		type row struct {
			x []float64
			r float64
		}
		var rows []row
		for range 3000 {
			if len(rows) > 40 && rng.IntN(2) == 0 {
				i := rng.IntN(len(rows))
				out := rows[i]
				rows[i] = rows[len(rows)-1]
				rows = rows[:len(rows)-1]
				sums.add(kindRidge, out.x[:d], out.r, -1)
				if !f.downdate(out.x, out.r, turns) {
					f = sums.factorise("x", 0.5)
				}
				continue
			}
			in := row{make([]float64, n), rng.NormFloat64()}
			for j := range d {
				in.x[j] = rng.NormFloat64() * math.Pow(10, float64(j%3))
			}
			rows = append(rows, in)
			sums.add(kindRidge, in.x[:d], in.r, 1)
			f.update(in.x, in.r, turns)
		}
		want := sums.factorise("x", 0.5)
		x, y := make([]float64, n), make([]float64, n)
		for range 20 {
			for j := range d {
				x[j] = rng.NormFloat64()
			}
			m1, v1 := f.solve(y, x)
			m2, v2 := want.solve(y, x)
			if math.Abs(m1-m2) > 1e-9*(1+math.Abs(m2)) || math.Abs(v1-v2) > 1e-9*v2 {
				t.Errorf("d=%d: prediction %.15g ± %.15g by rotations, %.15g ± %.15g by factorising", d, m1, v1, m2, v2)
			}
		}
	}
}

func TestDowndateReportsLostDigits(t *testing.T) {
	f, turns := newFactor(4, 1e-6), make([]float64, 8)
	x := []float64{1e3, 1, 0, 0}
	f.update(x, 1, turns)
	if f.downdate(x, 1, turns) {
		t.Error("taking the only row out again cancels twelve digits of the pivot; downdate must refuse")
	}
}

// TestPredictionsEqualABatchFit compares coefficients, predictions and
// variances with gonum's QR of (X; √λ I) at condition numbers up to 1e6. The
// tolerance, 1e-8, is the condition number times 1e-14.
func TestPredictionsEqualABatchFit(t *testing.T) {
	const d, n = 12, 400
	spec := mustSpec(t, `{"algorithm":"linucb","params":{"ridge":1e-6}}`)
	for _, condition := range []float64{1, 1e3, 1e6} {
		rng := rand.New(rand.NewPCG(7, 8))
		l, err := NewLearner(spec, d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Live(); err != nil {
			t.Fatal(err)
		}
		var xs [][]float32
		var rs []float64
		for range n {
			x := make([]float32, d)
			common := rng.NormFloat64()
			for j := range x {
				// Features share a direction; what tells them apart is smaller by the root of
				// the condition number of Σxxᵀ.
				x[j] = float32(common + rng.NormFloat64()/math.Sqrt(condition))
			}
			xs, rs = append(xs, x), append(rs, float64(x[0])+0.1*rng.NormFloat64())
			if err := l.Learn("a", x, rs[len(rs)-1]); err != nil {
				t.Fatal(err)
			}
		}
		m := l.Model()
		a, b := mat.NewDense(n+d, d, nil), mat.NewVecDense(n+d, nil)
		for i, x := range xs {
			for j, v := range x {
				a.Set(i, j, float64(v))
			}
			b.SetVec(i, rs[i])
		}
		for j := range d {
			a.Set(n+j, j, math.Sqrt(m.Precision()))
		}
		var qr mat.QR
		qr.Factorize(a)
		var theta mat.VecDense
		if err := qr.SolveVecTo(&theta, false, b); err != nil {
			t.Fatal(err)
		}
		var r mat.Dense
		qr.RTo(&r)
		for j, v := range m.arms[0].factor.theta[:d] {
			if math.Abs(v-theta.AtVec(j)) > 1e-8*mat.Norm(&theta, 2) {
				t.Errorf("condition %g: weight %d is %.12g, the batch fit says %.12g", condition, j, v, theta.AtVec(j))
			}
		}
		live := &l.live.factors[0]
		x, y := make([]float64, padded(d)), make([]float64, padded(d))
		for _, row := range xs[:20] {
			copy(x, floats(row))
			var z mat.VecDense
			if err := z.SolveVec(r.Slice(0, d, 0, d).T(), mat.NewVecDense(d, x[:d])); err != nil {
				t.Fatal(err)
			}
			wantMean, wantVariance := mat.Dot(mat.NewVecDense(d, x[:d]), &theta), mat.Dot(&z, &z)
			for name, f := range map[string]*factor{"snapshot": &m.arms[0].factor, "live": live} {
				mean, variance := f.solve(y, x)
				if math.Abs(mean-wantMean) > 1e-8*math.Abs(wantMean) || math.Abs(variance-wantVariance) > 1e-8*wantVariance {
					t.Errorf("condition %g, %s: %.12g ± %.12g, the batch fit says %.12g ± %.12g", condition, name, mean, variance, wantMean, wantVariance)
				}
			}
		}
	}
}
