package bandit

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mathext"

	"nextbest"
)

// TestBetaTableAgainstGonum compares distribution functions over many shapes.
func TestBetaTableAgainstGonum(t *testing.T) {
	var worst float64
	for _, s := range [][2]float64{{1, 1}, {0.5, 0.5}, {0.3, 4}, {1, 30}, {30, 1}, {2.5, 1.25}, {10, 20}, {300, 5000}, {20000, 300}} {
		table := newBetaTable(s[0], s[1])
		sd := math.Sqrt((s[0] + s[1]) / s[0] / s[1])
		for z := -8.0; z <= 8; z += 0.0371 {
			logit := table.mode + z*sd
			theta := logistic(logit)
			if theta > 1-1e-9 {
				continue // where 1 − θ is rounded, and the reference with it
			}
			got, _ := table.at(logit)
			e := math.Abs(got - mathext.RegIncBeta(s[0], s[1], theta))
			worst = max(worst, e)
			if e > 1e-11 {
				t.Fatalf("Beta(%g, %g) at %g: %.15g, want %.15g", s[0], s[1], theta, got, mathext.RegIncBeta(s[0], s[1], theta))
			}
		}
	}
	t.Logf("largest error %.2g", worst)
}

// fineBeta computes the probabilities by a rule of its own: equal panels in the
// score with 8 nodes each, gonum's incomplete Beta function and the logarithm
// of the density.
func fineBeta(shapes [][2]float64, scale, offset []float64) []float64 {
	k := len(shapes)
	lo, hi := math.Inf(-1), math.Inf(-1)
	for a := range shapes {
		lo, hi = max(lo, min(offset[a], offset[a]+scale[a])), max(hi, max(offset[a], offset[a]+scale[a]))
	}
	p, cdf, pdf := make([]float64, k), make([]float64, k), make([]float64, k)
	const panels = 3000
	h := (hi - lo) / panels
	for n := range panels {
		for j, x := range legendreNodes {
			y := lo + (float64(n)+0.5+x/2)*h
			for a, s := range shapes {
				u := (y - offset[a]) / scale[a]
				inside := u > 0 && u < 1
				u = min(max(u, 0), 1)
				cdf[a], pdf[a] = mathext.RegIncBeta(s[0], s[1], u), 0
				if inside {
					pdf[a] = math.Exp((s[0]-1)*math.Log(u)+(s[1]-1)*math.Log1p(-u)-mathext.Lbeta(s[0], s[1])) / math.Abs(scale[a])
				}
				if scale[a] < 0 {
					cdf[a] = 1 - cdf[a]
				}
			}
			for a := range p {
				f := pdf[a] * legendreWeights[j] * h / 2
				for b := range cdf {
					if b != a {
						f *= cdf[b]
					}
				}
				p[a] += f
			}
		}
	}
	return p
}

func TestBetaThompsonAgainstFineGrid(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	spec := mustSpec(t, `{"algorithm":"beta_thompson","params":{"floor":0}}`)
	repeats := 4
	if testing.Short() {
		repeats = 1
	}
	for _, k := range []int{2, 5, 12} {
		for i := range 3 * repeats {
			var counts [][2]int
			var shapes [][2]float64
			r := &Request{}
			scale, offset := make([]float64, k), make([]float64, k)
			for a := range k {
				n := rng.IntN([]int{4, 40, 400}[rng.IntN(3)]) + 2
				s := rng.IntN(n + 1)
				counts = append(counts, [2]int{n, s})
				shapes = append(shapes, [2]float64{1 + float64(s), 1 + float64(n-s)})
				scale[a] = 1
				if i%3 == 1 { // with integer shapes and equal supports the grid is smooth
					scale[a], offset[a] = []float64{1, -1}[rng.IntN(2)], float64(rng.IntN(2))/3
				}
			}
			policy := mustPolicy(t, spec, alone(t, spec, counts))
			for a := range k {
				r.Arms = append(r.Arms, policy.Arm(actionID(a)))
			}
			if i%3 != 0 {
				r.Scale, r.Offset = scale, offset
			}
			got, _ := distribution(t, policy, r)
			want := fineBeta(shapes, scale, offset)
			if !equal(got, want, 1e-9) {
				t.Fatalf("counts %v, scales %v, offsets %v: %v, fine grid %v", counts, scale, offset, got, want)
			}
		}
	}
}

func TestBetaThompsonDegenerate(t *testing.T) {
	spec := mustSpec(t, `{"algorithm":"beta_thompson","params":{"floor":0}}`)
	policy := mustPolicy(t, spec, alone(t, spec, [][2]int{{8, 2}, {8, 2}, {6, 6}}))
	for _, c := range []struct {
		name                string
		arms                []int32
		scale, offset, want []float64
	}{
		{"one", []int32{2}, nil, nil, []float64{1}},
		{"alike", []int32{0, 1}, nil, nil, []float64{0.5, 0.5}},
		{"priors", []int32{-1, -1, -1, -1}, nil, nil, []float64{0.25, 0.25, 0.25, 0.25}},
		{"worth nothing", []int32{0, -1}, []float64{1, 0}, []float64{0, 0}, []float64{1, 0}},
		{"prior against its median", []int32{-1, 0}, []float64{1, 0}, []float64{0, 0.5}, []float64{0.5, 0.5}},
		{"tied certainties", []int32{-1, 0, 1}, []float64{1, 0, 0}, []float64{0, 0.75, 0.75}, []float64{0.25, 0.375, 0.375}},
		{"all certain", []int32{0, 1, 2}, []float64{0, 0, 0}, []float64{1, 2, 2}, []float64{0, 0.5, 0.5}},
		{"supports apart", []int32{0, 1}, []float64{1, 1}, []float64{0, 5}, []float64{0, 1}},
		{"costs in the same place", []int32{-1, -1}, []float64{1, -1}, []float64{0, 1}, []float64{0.5, 0.5}},
		{"narrower than the place can tell", []int32{-1, -1, -1}, []float64{1e-11, 1e-11, 1}, []float64{1e6, 1e6, 1e6 - 0.5}, []float64{0.25, 0.25, 0.5}},
		{"twice as wide", []int32{-1, -1}, []float64{1, 2}, []float64{0, 0}, []float64{0.25, 0.75}},
	} {
		got, _ := distribution(t, policy, &Request{Arms: c.arms, Scale: c.scale, Offset: c.offset})
		if !equal(got, c.want, 1e-9) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	// A million rows beside none, and two that are nearly alike: P = Φ(z).
	m := alone(t, spec, [][2]int{{2, 1}, {2, 1}})
	for i, successes := range []float64{500_000, 500_700} {
		m.arms[i].n, m.arms[i].b[0], m.arms[i].squares, m.arms[i].gram[0] = 1e6, successes, successes, 1e6
	}
	got, _ := distribution(t, mustPolicy(t, spec, m), &Request{Arms: []int32{0, 1}})
	if want := 0.5 * math.Erfc(700/math.Sqrt(2*2*250_000)); math.Abs(got[0]-want) > 1e-5 {
		t.Errorf("500,000 and 500,700 of a million: %v, want about %v", got[0], want)
	}
}

func TestBetaThompsonRefusesOtherRewards(t *testing.T) {
	spec := mustSpec(t, `{"algorithm":"beta_thompson"}`)
	for _, rewards := range [][]float64{{0, 1.5}, {-0.5, 0.1}, {3}, {-1, 1}} {
		beta, err := NewLearner(spec, 1)
		if err != nil {
			t.Fatal(err)
		}
		var refused error
		for _, r := range rewards {
			refused = errors.Join(refused, beta.Learn("a", []float32{1}, r))
		}
		if nextbest.CodeOf(refused) != nextbest.Invalid {
			t.Errorf("rewards %v were learned: %v", rewards, refused)
		}
		l, err := NewLearner(mustSpec(t, `{"algorithm":"ucb1"}`), 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rewards {
			if err := l.Learn("a", []float32{1}, r); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := New(spec, l.Model()); nextbest.CodeOf(err) != nextbest.Invalid {
			t.Errorf("rewards %v: error %v, want invalid", rewards, err)
		}
	}
}

func BenchmarkBetaThompson(b *testing.B) {
	spec := mustSpec(b, `{"algorithm":"beta_thompson"}`)
	var counts [][2]int
	rng := rand.New(rand.NewPCG(2, 2))
	for range 20 {
		n := 20 + rng.IntN(300)
		counts = append(counts, [2]int{n, n / (2 + rng.IntN(8))})
	}
	ours, _, _ := decision(b, spec, alone(b, spec, counts), 20, 1)
	b.ReportAllocs()
	for b.Loop() {
		ours()
	}
}
