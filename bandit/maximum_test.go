package bandit

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// fineGrid computes the same probabilities by a rule of its own: panels of a
// quarter of the narrowest standard deviation, math.Erfc and math.Exp instead
// of the table, and prefix and suffix products instead of a division.
func fineGrid(mean, sd []float64) []float64 {
	const z = 8.5
	k := len(mean)
	p := make([]float64, k)
	lo, hi := math.Inf(-1), math.Inf(-1)
	for a := range mean {
		lo = max(lo, mean[a]-z*sd[a])
		hi = max(hi, mean[a]+z*sd[a])
	}
	cdf, pdf, prefix := make([]float64, k), make([]float64, k), make([]float64, k+1)
	for y := lo; y < hi; {
		h := hi - y
		for a := range mean {
			if mean[a]+z*sd[a] > y {
				h = min(h, sd[a]/4)
			}
		}
		for n, x := range legendreNodes {
			at := y + h/2 + h/2*x
			prefix[0] = 1
			for a := range mean {
				t := (at - mean[a]) / sd[a]
				cdf[a] = 0.5 * math.Erfc(-t/math.Sqrt2)
				pdf[a] = math.Exp(-t*t/2) / (sd[a] * math.Sqrt(2*math.Pi))
				prefix[a+1] = prefix[a] * cdf[a]
			}
			suffix := 1.0
			for a := k - 1; a >= 0; a-- {
				p[a] += h / 2 * legendreWeights[n] * pdf[a] * prefix[a] * suffix
				suffix *= cdf[a]
			}
		}
		if y+h <= y {
			break
		}
		y += h
	}
	return p
}

func gaussians(rng *rand.Rand, k int, spread, gap float64) (mean, sd []float64) {
	mean, sd = make([]float64, k), make([]float64, k)
	for a := range mean {
		sd[a] = math.Pow(spread, -rng.Float64())
		mean[a] = gap * rng.NormFloat64()
	}
	return mean, sd
}

func TestProbabilitiesAgainstFineGrid(t *testing.T) {
	ks := []int{2, 3, 5, 20, 100, 500}
	rng := rand.New(rand.NewPCG(1, 2))
	var worst, worstRelative float64
	for _, k := range ks {
		repeats := 400 / k
		if testing.Short() {
			repeats = 40 / k
		}
		for _, spread := range []float64{1, 10, 1e4} {
			for _, gap := range []float64{0, 0.01, 0.3, 2} {
				for range max(repeats, 1) {
					mean, sd := gaussians(rng, k, spread, gap)
					want := fineGrid(mean, sd)
					got := make([]float64, k)
					var q maximum
					if err := q.probabilities(got, mean, sd); err != nil {
						t.Fatalf("k=%d spread=%g gap=%g: %v", k, spread, gap, err)
					}
					for a := range got {
						e := math.Abs(got[a] - want[a])
						worst = max(worst, e)
						if want[a] >= 1e-6 {
							worstRelative = max(worstRelative, e/want[a])
						}
						if e > 5e-10 {
							t.Fatalf("k=%d spread=%g gap=%g arm %d: %.15g, fine grid %.15g", k, spread, gap, a, got[a], want[a])
						}
					}
				}
			}
		}
	}
	t.Logf("largest error %.2g, largest relative error where p ≥ 1e-6 %.2g", worst, worstRelative)
	if worstRelative > 1e-4 {
		t.Errorf("relative error %g where p ≥ 1e-6", worstRelative)
	}
}

// TestProbabilitiesWithTiesAndPoints compares with the fine grid where arms are
// alike, and a point mass with its closed form.
func TestProbabilitiesWithTiesAndPoints(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 14))
	for _, k := range []int{2, 3, 8, 40} {
		for range 20 {
			mean, sd := gaussians(rng, k, 100, 0.5)
			for a := 1; a < k; a += 2 { // pairs of equal arms
				mean[a], sd[a] = mean[a-1], sd[a-1]
			}
			got, want := probabilitiesOf(t, mean, sd), fineGrid(mean, sd)
			for a := range got {
				if math.Abs(got[a]-want[a]) > 1e-9 || a%2 == 1 && math.Abs(got[a]-got[a-1]) > 1e-12 {
					t.Fatalf("k=%d, pairs: %v, fine grid %v", k, got, want)
				}
			}
			// One point: P(it wins) = Π Φ((m − m_b)/s_b), exactly.
			point := rng.IntN(k)
			sd[point] = 0
			exact := 1.0
			for b := range mean {
				if b != point {
					exact *= 0.5 * math.Erfc(-(mean[point]-mean[b])/sd[b]/math.Sqrt2)
				}
			}
			if got := probabilitiesOf(t, mean, sd)[point]; math.Abs(got-exact) > 1e-9 {
				t.Fatalf("k=%d, point: %v, want %v", k, got, exact)
			}
		}
	}
}

func TestProbabilitiesInvariance(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, k := range []int{2, 7, 40} {
		for range 50 {
			mean, sd := gaussians(rng, k, 1e3, 0.5)
			if rng.IntN(3) == 0 {
				sd[rng.IntN(k)] = 0
			}
			base := probabilitiesOf(t, mean, sd)
			order := rng.Perm(k)
			scale, shift := math.Exp(10*rng.NormFloat64()), 100*rng.NormFloat64()
			m, s := make([]float64, k), make([]float64, k)
			am, as := make([]float64, k), make([]float64, k)
			for i, o := range order {
				m[i], s[i] = mean[o], sd[o]
				am[i], as[i] = scale*(mean[i]+shift), scale*sd[i]
			}
			permuted, affine := probabilitiesOf(t, m, s), probabilitiesOf(t, am, as)
			for i, o := range order {
				if e := math.Abs(permuted[i] - base[o]); e > 1e-12 {
					t.Fatalf("k=%d: permuting the actions changes a probability by %g", k, e)
				}
				if e := math.Abs(affine[i] - base[i]); e > 1e-9 {
					t.Fatalf("k=%d: an affine change of all scores (×%g, +%g) changes a probability by %g", k, scale, shift, e)
				}
			}
		}
	}
}

func probabilitiesOf(tb testing.TB, mean, sd []float64) []float64 {
	tb.Helper()
	p := make([]float64, len(mean))
	var q maximum
	if err := q.probabilities(p, mean, sd); err != nil {
		tb.Fatalf("mean %v, sd %v: %v", mean, sd, err)
	}
	return p
}

func TestProbabilitiesOfDegenerateScores(t *testing.T) {
	inf := math.MaxFloat64
	for _, c := range []struct {
		name           string
		mean, sd, want []float64
	}{
		{"one arm", []float64{3}, []float64{2}, []float64{1}},
		{"one point", []float64{3}, []float64{0}, []float64{1}},
		{"all points, two tied", []float64{1, 2, 2}, []float64{0, 0, 0}, []float64{0, 0.5, 0.5}},
		{"point against a symmetric arm", []float64{1, 1}, []float64{0, 3}, []float64{0.5, 0.5}},
		{"two tied points share what the arm leaves", []float64{1, 1, 1}, []float64{0, 0, 3}, []float64{0.25, 0.25, 0.5}},
		{"a lower point never wins", []float64{1, 0, 1}, []float64{0, 0, 3}, []float64{0.5, 0, 0.5}},
		{"point below every arm", []float64{-100, 0, 0}, []float64{0, 1, 1}, []float64{0, 0.5, 0.5}},
		{"identical arms", []float64{7, 7, 7}, []float64{1e-9, 1e-9, 1e-9}, []float64{1. / 3, 1. / 3, 1. / 3}},
		{"far apart", []float64{0, 1e9}, []float64{1, 1}, []float64{0, 1}},
		{"narrow against wide", []float64{0, 0}, []float64{1e-200, 1}, []float64{0.5, 0.5}},
		{"denormal deviation", []float64{0, 0}, []float64{5e-324, 1}, []float64{0.5, 0.5}},
		{"below the resolution of the mean", []float64{1, 1, 0}, []float64{1e-30, 1e-30, 1e-3}, []float64{0.5, 0.5, 0}},
		{"huge numbers", []float64{inf / 16, inf / 16}, []float64{inf / 64, inf / 64}, []float64{0.5, 0.5}},
	} {
		got := probabilitiesOf(t, c.mean, c.sd)
		for i := range got {
			if math.Abs(got[i]-c.want[i]) > 1e-9 {
				t.Errorf("%s: %v, want %v", c.name, got, c.want)
				break
			}
		}
	}
}

// TestSamplerMatchesProbabilities draws scores 200,000 times and compares the
// winners with the computed probabilities by a χ² test at 1e-6.
func TestSamplerMatchesProbabilities(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	mean := []float64{0.3, 0.1, 0, -0.2, 0.25, 0}
	sd := []float64{0.2, 0.5, 1, 1.5, 0.01, 0.3}
	p := probabilitiesOf(t, mean, sd)
	const n = 200_000
	wins := make([]float64, len(p))
	for range n {
		best, winner := math.Inf(-1), 0
		for a := range mean {
			if s := mean[a] + sd[a]*rng.NormFloat64(); s > best {
				best, winner = s, a
			}
		}
		wins[winner]++
	}
	var chi2 float64
	for a := range p {
		chi2 += (wins[a] - n*p[a]) * (wins[a] - n*p[a]) / (n * p[a])
	}
	if chi2 > 35.9 { // the 1 − 1e-6 quantile of χ² with 5 degrees of freedom
		t.Errorf("χ² = %.1f for probabilities %v and winners %v", chi2, p, wins)
	}
}

func BenchmarkMaximum(b *testing.B) {
	for _, k := range []int{2, 5, 20, 100, 500} {
		for _, gap := range []float64{0, 1} {
			b.Run(fmt.Sprintf("K=%d/gap=%g", k, gap), func(b *testing.B) {
				rng := rand.New(rand.NewPCG(1, 2))
				mean, sd := gaussians(rng, k, 2, gap)
				p := make([]float64, k)
				var q maximum
				for b.Loop() {
					if err := q.probabilities(p, mean, sd); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(best(20, func() { _ = q.probabilities(p, mean, sd) })), "best-ns")
				b.ReportMetric(float64(q.nodes), "nodes")
			})
		}
	}
}
