package bandit

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"nextbest"
)

const logisticDocument = `{"algorithm":"logistic_thompson"}`

// logisticRows draws rows of k actions from logistic models with weights of a
// given size and the given intercept.
func logisticRows(rng *rand.Rand, n, k, d int, intercept, size float64) []row {
	weights := make([][]float64, k)
	for a := range weights {
		weights[a] = []float64{intercept + size*rng.NormFloat64()}
		for range d - 1 {
			weights[a] = append(weights[a], size*rng.NormFloat64())
		}
	}
	rows := make([]row, n)
	for i := range rows {
		a, x := rng.IntN(k), randomX(rng, d)
		rows[i] = row{actionID(a), x, 0}
		if rng.Float64() < logistic(sumOfProducts(weights[a], floats(x))) {
			rows[i].reward = 1
		}
	}
	return rows
}

// batchMAP returns the mode of an action's weights and the precision matrix
// there, by Newton's method over all rows at once.
func batchMAP(rows []row, action string, lambda float64) (theta []float64, a [][]float64) {
	d := len(rows[0].x)
	theta = make([]float64, d)
	for range 15 {
		gradient := make([]float64, d)
		a = make([][]float64, d)
		for i := range a {
			a[i] = make([]float64, d)
			a[i][i] = lambda
			gradient[i] = -lambda * theta[i]
		}
		for _, r := range rows {
			if r.action != action {
				continue
			}
			x := floats(r.x)
			p := 1 / (1 + math.Exp(-sumOfProducts(theta, x)))
			for i := range x {
				gradient[i] += (r.reward - p) * x[i]
				for j := range x {
					a[i][j] += p * (1 - p) * x[i] * x[j]
				}
			}
		}
		for i, v := range solveDense(a, gradient) {
			theta[i] += v
		}
	}
	return theta, a
}

// TestLogisticIsCloseToTheBatchFit compares the fit by batches with the mode over
// all rows, in posterior standard deviations, at common and at rare rewards.
func TestLogisticIsCloseToTheBatchFit(t *testing.T) {
	spec := mustSpec(t, logisticDocument)
	seeds := uint64(10)
	if testing.Short() {
		seeds = 2
	}
	for _, c := range []struct {
		n, d            int
		intercept, size float64
		within          float64 // standard deviations, root mean square
	}{
		{200, 5, 0, 0.5, 1e-6},
		{2000, 5, 0, 0.5, 0.05},
		{20000, 5, 0, 1, 0.15},
		{2000, 20, 0, 0.3, 0.1},
		{2000, 5, -4, 0.5, 0.15},
		{20000, 8, -4, 0.3, 0.3},
	} {
		var squares, widths, count float64
		for seed := range seeds {
			rows := logisticRows(rand.New(rand.NewPCG(seed, 3)), c.n, 1, c.d, c.intercept, c.size)
			m := learn(t, spec, rows).Model()
			theta, a := batchMAP(rows, "action-0", m.Precision())
			f := m.arms[0].factor
			ours := f.inverseDiagonal(c.d)
			for j := range c.d {
				unit := make([]float64, c.d)
				unit[j] = 1
				variance := solveDense(a, unit)[j]
				squares += (f.theta[j] - theta[j]) * (f.theta[j] - theta[j]) / variance
				widths += math.Sqrt(ours[j] / variance)
				count++
			}
		}
		off := math.Sqrt(squares / count)
		t.Logf("%+v: off by %.3f standard deviations, which are %.3f of the batch fit's", c, off, widths/count)
		if off > c.within || math.Abs(widths/count-1) > 0.05 {
			t.Errorf("%+v: off by %.3f standard deviations, which are %.3f of the batch fit's", c, off, widths/count)
		}
	}
}

func TestLogisticLearnsInOrderOnly(t *testing.T) {
	spec := mustSpec(t, logisticDocument)
	if !spec.Ordered() || mustSpec(t, hurdleDocument).Ordered() || mustSpec(t, `{"algorithm":"linucb"}`).Ordered() {
		t.Error("the logistic model alone depends on the order")
	}
	rows := logisticRows(rand.New(rand.NewPCG(2, 2)), 400, 3, 4, -1, 0.5)
	whole := learn(t, spec, rows)
	want, _ := whole.Model().MarshalBinary()
	if got, _ := learn(t, spec, rows).Model().MarshalBinary(); !bytes.Equal(got, want) {
		t.Error("the same rows in the same order give other bytes")
	}
	resumed, err := ResumeLearner(spec, learn(t, spec, rows[:150]).Model())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows[150:] {
		if err := resumed.Learn(r.action, r.x, r.reward); err != nil {
			t.Fatal(err)
		}
	}
	for i, a := range whole.Model().arms { // the batches are others
		sds, theta := a.factor.inverseDiagonal(4), resumed.Model().arms[i].factor.theta
		for j, v := range sds {
			if off := math.Abs(theta[j]-a.factor.theta[j]) / math.Sqrt(v); off > 0.3 {
				t.Errorf("%s: resumed, weight %d is off by %.3f standard deviations", a.action, j, off)
			}
		}
	}
	x := rows[0].x
	for name, err := range map[string]error{
		"reward above 1":  whole.Learn("action-0", x, 1.01),
		"negative reward": whole.Learn("action-0", x, -0.01),
		"an amount":       whole.Learn("action-0", x, 59.9),
		"not a number":    whole.Learn("action-0", x, math.NaN()),
		"a row taken out": whole.Unlearn("action-0", x, rows[0].reward),
		"another learner": whole.Merge(learn(t, spec, rows)),
		"a half-life": func() error {
			_, err := ParseSpec([]byte(`{"algorithm":"logistic_thompson","forgetting":{"half_life":"30d"}}`))
			return err
		}(),
	} {
		if nextbest.CodeOf(err) != nextbest.Invalid {
			t.Errorf("%s: error %v, want one with the code invalid", name, err)
		}
	}
	if after, _ := whole.Model().MarshalBinary(); !bytes.Equal(after, want) {
		t.Error("a refused row changed the model")
	}
}

// logisticGrid integrates over each arm's own logit with panels of .008 standard
// deviations.
func logisticGrid(mean, sd, scale, offset []float64) []float64 {
	p := make([]float64, len(mean))
	const panels = 2500
	for a := range mean {
		var sum float64
		for n := range panels {
			for k, node := range legendreNodes {
				t := -10 + 20*(float64(n)+0.5+0.5*node)/panels
				f := legendreWeights[k] * 10 / panels * math.Exp(-t*t/2) / math.Sqrt(2*math.Pi)
				g := mean[a] + sd[a]*t
				for b := range mean {
					if b == a {
						continue
					}
					// P(score b < y) where y = scale_a σ(g) + offset_a, by the distance from
					// each end of b's range.
					left := (offset[a] - offset[b]) + scale[a]*logistic(g)
					right := (offset[b] - offset[a]) + scale[b] - scale[a]*logistic(g)
					if scale[a] == scale[b] && offset[a] == offset[b] {
						left, right = scale[a]*logistic(g), scale[a]*logistic(-g)
					}
					switch {
					case scale[b] > 0 && left <= 0, scale[b] < 0 && right >= 0:
						f = 0
					case scale[b] > 0 && right > 0:
						f *= 0.5 * math.Erfc(-(math.Log(left/right)-mean[b])/sd[b]/math.Sqrt2)
					case scale[b] < 0 && left < 0:
						f *= 0.5 * math.Erfc((math.Log(left/right)-mean[b])/sd[b]/math.Sqrt2)
					}
				}
				sum += f
			}
		}
		p[a] = sum
	}
	return p
}

func TestLogisticProbabilitiesAgainstFineGrid(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	repeats := 45
	if testing.Short() {
		repeats = 9
	}
	worst, nodes := 0.0, 0
	for i := range repeats {
		k := 2 + rng.IntN(5)
		mean, sd := make([]float64, k), make([]float64, k)
		scale, offset := make([]float64, k), make([]float64, k)
		common := -3 * rng.Float64()
		for a := range mean {
			mean[a] = common + rng.NormFloat64()
			sd[a] = 0.05 * math.Pow(40, rng.Float64())
			scale[a] = 5 + 10*rng.Float64()
			if i%3 == 1 {
				offset[a] = -0.3 * rng.Float64()
			}
			if i%3 == 2 && rng.IntN(3) == 0 {
				scale[a] = -scale[a]
			}
		}
		want := logisticGrid(mean, sd, scale, offset)
		got := make([]float64, k)
		var q logisticMaximum
		if err := q.probabilities(got, mean, sd, &Request{Scale: scale, Offset: offset}); err != nil {
			t.Fatal(err)
		}
		nodes += q.nodes
		for a := range got {
			worst = max(worst, math.Abs(got[a]-want[a]))
			if math.Abs(got[a]-want[a]) > 1e-9 {
				t.Errorf("mean %v, sd %v, scale %v, offset %v: %v, fine grid %v", mean, sd, scale, offset, got, want)
				break
			}
		}
	}
	t.Logf("largest error %.2g, %d nodes on average", worst, nodes/repeats)
}

// TestLogisticProbabilitiesOfEqualValues compares equal scales with the Gaussian
// quadrature over the logits.
func TestLogisticProbabilitiesOfEqualValues(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 1))
	for range 50 {
		mean, sd := gaussians(rng, 2+rng.IntN(8), 50, 1)
		scale, offset := make([]float64, len(mean)), make([]float64, len(mean))
		for a := range mean {
			mean[a] -= 3
			scale[a], offset[a] = 7, -0.25
		}
		got := make([]float64, len(mean))
		var q logisticMaximum
		if err := q.probabilities(got, mean, sd, &Request{Scale: scale, Offset: offset}); err != nil {
			t.Fatal(err)
		}
		if want := probabilitiesOf(t, mean, sd); !equal(got, want, 2e-9) {
			t.Errorf("mean %v, sd %v: %v, want %v", mean, sd, got, want)
		}
	}
}

func TestLogisticProbabilitiesOfDegenerateScores(t *testing.T) {
	for _, c := range []struct {
		name                          string
		mean, sd, scale, offset, want []float64
	}{
		{"no value against a median", []float64{0, 0}, []float64{1, 1}, []float64{0, 2}, []float64{1, 0}, []float64{0.5, 0.5}},
		{"no values, two tied", []float64{5, -5, 0}, []float64{1, 1, 1}, []float64{0, 0, 0}, []float64{1, 1, 0}, []float64{0.5, 0.5, 0}},
		{"a loss never beats nothing", []float64{0, 0}, []float64{1, 1}, []float64{-3, 0}, []float64{0, 0}, []float64{0, 1}},
		{"the smaller loss", []float64{-1, 1}, []float64{0, 0}, []float64{-3, -3}, []float64{0, 0}, []float64{1, 0}},
		{"mirrored losses", []float64{1, -1}, []float64{2, 2}, []float64{-3, 3}, []float64{3, 0}, []float64{0.5, 0.5}},
		{"point against a median", []float64{1, 1}, []float64{0, 2}, []float64{3, 3.0000000001}, []float64{0, 0}, []float64{0.5, 0.5}},
		{"far apart", []float64{0, 0}, []float64{1, 1}, []float64{1, 2}, []float64{0, 1}, []float64{0, 1}},
		{"sure and unsure", []float64{-25, -20}, []float64{1, 4}, []float64{1, 2}, []float64{0, 0}, []float64{1 - 0.9163283857451845, 0.9163283857451845}},
		{"below the resolution", []float64{0, 0}, []float64{1e-20, 1e-20}, []float64{1, 2}, []float64{0, -0.5}, []float64{0.5, 0.5}},
	} {
		got := make([]float64, len(c.mean))
		var q logisticMaximum
		if err := q.probabilities(got, c.mean, c.sd, &Request{Scale: c.scale, Offset: c.offset}); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if !equal(got, c.want, 1e-9) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestLogisticPolicyIsThompsonSampling draws scores and compares the winners
// with the policy's probabilities, with and without values, by χ² at 1e-6.
func TestLogisticPolicyIsThompsonSampling(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	spec := mustSpec(t, `{"algorithm":"logistic_thompson","params":{"v":1,"floor":0}}`)
	m := learn(t, spec, logisticRows(rng, 150, 3, 4, -1, 0.5)).Model()
	policy := mustPolicy(t, spec, m)
	for _, scale := range [][]float64{nil, {1, 1.5, 0.8, 0.5}} {
		r := &Request{X: randomX(rng, 4), Arms: []int32{0, 1, 2, -1}, Scale: scale}
		p, scores := distribution(t, policy, r)
		const n = 100_000
		wins, means := make([]float64, 4), make([]float64, 4)
		x := floats(r.X)
		for range n {
			best, winner := math.Inf(-1), 0
			for a := range wins {
				mean, variance := 0.0, sumOfProducts(x, x)/m.Precision()
				if a < 3 {
					s, _ := m.Statistics(actionID(a))
					mean, variance = sumOfProducts(solveDense(s.A, s.B), x), sumOfProducts(x, solveDense(s.A, x))
				}
				draw := 1 / (1 + math.Exp(-mean-math.Sqrt(variance)*rng.NormFloat64()))
				if scale != nil {
					draw *= scale[a]
				}
				means[a] += draw / n
				if draw > best {
					best, winner = draw, a
				}
			}
			wins[winner]++
		}
		var chi2 float64
		for a := range p {
			chi2 += (wins[a] - n*p[a]) * (wins[a] - n*p[a]) / (n * p[a])
		}
		if chi2 > 30.7 { // the 1 − 1e-6 quantile of χ² with 3 degrees of freedom
			t.Errorf("χ² = %.1f for probabilities %v and winners %v", chi2, p, wins)
		}
		for a := range scores {
			if math.Abs(scores[a]-means[a]) > 0.03 {
				t.Errorf("score %v of action %d, whose draws have the mean %v", scores[a], a, means[a])
			}
		}
	}
}

func BenchmarkLogistic(b *testing.B) {
	for _, values := range []bool{false, true} {
		b.Run(fmt.Sprintf("K=20/d=32/values=%v", values), func(b *testing.B) {
			spec := mustSpec(b, logisticDocument)
			rng := rand.New(rand.NewPCG(2, 2))
			policy := mustPolicy(b, spec, learn(b, spec, logisticRows(rng, 20*200, 20, 32, -1, 0.2)).Model())
			r := &Request{X: randomX(rng, 32)}
			for a := range 20 {
				r.Arms = append(r.Arms, policy.Arm(actionID(a)))
				if values {
					r.Scale = append(r.Scale, 10+10*rng.Float64())
				}
			}
			p, scores := make([]float64, 20), make([]float64, 20)
			decide := func() {
				if err := policy.Distribution(p, scores, r); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				decide()
			}
			b.ReportMetric(float64(best(10, decide)), "best-ns")
		})
	}
}

// TestLogisticProbabilitiesOfDistantScores has scores in the running that are
// narrow for the resolution of others' offsets: the shares add up none the less,
// and what is far below changes nothing.
func TestLogisticProbabilitiesOfDistantScores(t *testing.T) {
	for _, c := range []struct{ mean, sd, scale, offset []float64 }{
		{[]float64{0.41, 0.40, 0.60, 0, 0}, []float64{0.36, 0.36, 0.35, 0.37, 0.37}, []float64{-1, 2.6e-4, 1, 1.88e-6, 1}, []float64{-1.8e10, -728, 1, 1, 1}},
		{[]float64{0.96, -0.69}, []float64{0.27, 0.21}, []float64{0, 5.1e-12}, []float64{0, 1}},
		{[]float64{-0.63, 1.16, -0.71, -0.15, 0.93}, []float64{0.16, 0.12, 0.14, 0.14, 0.14}, []float64{0, 1, 6.5e-4, 0, -1}, []float64{-1.39e11, 1, -1.7e-4, -0.04, 0}},
		{[]float64{0, 1, -1}, []float64{1, 1, 1}, []float64{1e-13, -2e-13, 1e-12}, []float64{1, 1, 1}},
		{[]float64{0, 0, 0}, []float64{1, 1, 1}, []float64{1e10, -1e10, 1e-5}, []float64{0, 1e10, 5e9}},
		{[]float64{0, 0}, []float64{1, 3}, []float64{1, 1}, []float64{1e12, 1e12 + 0.5}},
	} {
		k := len(c.mean)
		var q logisticMaximum
		p, alone := make([]float64, k), make([]float64, k)
		if err := q.probabilities(p, c.mean, c.sd, &Request{Arms: make([]int32, k), Scale: c.scale, Offset: c.offset}); err != nil {
			t.Error(err)
			continue
		}
		// The same without the first action, where it has no chance.
		if p[0] != 0 {
			continue
		}
		if err := q.probabilities(alone[1:], c.mean[1:], c.sd[1:], &Request{Arms: make([]int32, k-1), Scale: c.scale[1:], Offset: c.offset[1:]}); err != nil {
			t.Error(err)
		}
		if !equal(p, alone, 1e-12) {
			t.Errorf("%v with an action that has no chance, %v without it", p, alone)
		}
	}
}
