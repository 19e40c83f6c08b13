package bandit

import (
	"math"
	"math/rand/v2"
	"testing"
)

const (
	hybridDocument = `{"algorithm":"hybrid_linucb","params":{"ridge":0.5,"shared_ridge":0.1},"action_features":{"action-0":[1,0.5],"action-1":[0,-1],"action-3":[1,2],"unseen":[-1,0.25]}}`
	sharedDocument = `{"algorithm":"shared_thompson","action_features":{"action-0":[1,0.5],"action-1":[0,-1],"action-3":[1,2],"unseen":[-1,0.25]}}`
)

// stacked is the regression on [f_a ⊗ x, and x in the place of action a], whose
// prior precisions are given, solved with everything written out.
type stacked struct {
	d       int
	actions []string // with weights of their own
	spec    Spec
	a       [][]float64
	theta   []float64
	noise   float64
}

func (s *stacked) design(action string, x []float32) []float64 {
	var z []float64
	for _, f := range s.spec.featuresOf(action) {
		for _, v := range x {
			z = append(z, f*float64(v))
		}
	}
	for _, id := range s.actions {
		for _, v := range x {
			if id != action {
				v = 0
			}
			z = append(z, float64(v))
		}
	}
	return z
}

func stack(spec Spec, rows []row, actions []string, shared, own float64) *stacked {
	s := &stacked{d: len(rows[0].x), actions: actions, spec: spec}
	n := len(s.design("", rows[0].x))
	s.a = make([][]float64, n)
	b := make([]float64, n)
	for i := range s.a {
		s.a[i] = make([]float64, n)
		s.a[i][i] = own
		if i < s.d*spec.actionWidth() {
			s.a[i][i] = shared
		}
	}
	var squares float64
	for _, r := range rows {
		z := s.design(r.action, r.x)
		for i := range z {
			b[i] += r.reward * z[i]
			for j := range z {
				s.a[i][j] += z[i] * z[j]
			}
		}
		squares += r.reward * r.reward
	}
	s.theta = solveDense(s.a, b)
	s.noise = math.Sqrt((squares - sumOfProducts(s.theta, b)) / float64(len(rows)))
	return s
}

func sumOfProducts(a, b []float64) (s float64) {
	for i := range a {
		s += a[i] * b[i]
	}
	return s
}

// score returns the mean and standard deviation of an action's score.
func (s *stacked) score(action string, x []float32) (mean, sd float64) {
	z := s.design(action, x)
	return sumOfProducts(z, s.theta), s.noise * math.Sqrt(sumOfProducts(z, solveDense(s.a, z)))
}

// meanLengths returns the mean ‖x‖² and the mean ‖f ⊗ x‖², rounded to powers of
// two.
func meanLengths(spec Spec, rows []row) (own, shared float64) {
	for _, r := range rows {
		x, f := floats(r.x), spec.featuresOf(r.action)
		own += sumOfProducts(x, x) / float64(len(rows))
		shared += sumOfProducts(x, x) * sumOfProducts(f, f) / float64(len(rows))
	}
	return math.Exp2(math.Round(math.Log2(own))), math.Exp2(math.Round(math.Log2(shared)))
}

// TestJointModelsAreTheStackedRegression compares what is derived from the sums
// per action with a batch fit on the stacked design, for actions with rows, with
// features alone, and with neither.
func TestJointModelsAreTheStackedRegression(t *testing.T) {
	for seed := range uint64(6) {
		rows := randomRows(40+int(seed)*100, 4, 3+int(seed), seed)
		asked := []string{"action-0", "action-1", "action-2", "action-3", "unseen", "unknown"}
		for _, c := range []struct {
			document string
			own      []string // actions with weights of their own
			pick     func(spec Spec, own, shared float64) (float64, float64)
		}{
			{hybridDocument, asked, func(s Spec, own, shared float64) (float64, float64) {
				return s.param("shared_ridge") * shared, s.param("ridge") * own
			}},
			{sharedDocument, nil, func(s Spec, _, shared float64) (float64, float64) { return s.param("ridge") * shared, 1 }},
		} {
			spec := mustSpec(t, c.document)
			own, shared := meanLengths(spec, rows)
			sharedPrecision, ownPrecision := c.pick(spec, own, shared)
			want := stack(spec, rows, c.own, sharedPrecision, ownPrecision)
			beliefs, err := spec.posterior(learn(t, spec, rows).Model())
			if err != nil {
				t.Fatal(err)
			}
			l := newLinear(spec, beliefs)
			if math.Abs(l.noise/want.noise-1) > 1e-9 {
				t.Errorf("%s: noise %.12g, want %.12g", spec.Algorithm, l.noise, want.noise)
			}
			rng := rand.New(rand.NewPCG(seed, 8))
			for range 10 {
				r := &Request{X: randomX(rng, len(rows[0].x))}
				for _, id := range asked {
					r.Arms = append(r.Arms, l.Arm(id))
				}
				w := l.workspace()
				if err := l.score(w, r, true); err != nil {
					t.Fatal(err)
				}
				for i, id := range asked {
					mean, sd := want.score(id, r.X)
					if math.Abs(w.mean[i]-mean) > 1e-9 || math.Abs(w.sd[i]-sd) > 1e-9 {
						t.Errorf("%s, %s: mean %.12g and standard deviation %.12g, want %.12g and %.12g", spec.Algorithm, id, w.mean[i], w.sd[i], mean, sd)
					}
				}
			}
		}
	}
}

// TestDrawsAreThePosterior compares shares with the count over scores that are
// written out, with sampling from the posterior, and across rebuilt models.
func TestDrawsAreThePosterior(t *testing.T) {
	spec := mustSpec(t, sharedDocument)
	spec.Params["floor"], spec.Params["draws"] = 0, 1024
	rows := randomRows(60, 4, 4, 3)
	model := learn(t, spec, rows).Model()
	policy := mustPolicy(t, spec, model).(sharedThompson)
	_, shared := meanLengths(spec, rows)
	truth := stack(spec, rows, nil, spec.param("ridge")*shared, 1)
	ids := []string{"action-0", "action-1", "action-2", "action-3", "unseen", "other"}
	rng := rand.New(rand.NewPCG(4, 4))
	r := &Request{X: randomX(rng, 4), Scale: []float64{1, 2, 1, 0.5, -1, 1}, Offset: []float64{0, -0.1, 0, 0.2, 0.1, 0}}
	for _, id := range ids {
		r.Arms = append(r.Arms, policy.Arm(id))
	}
	got, scores := distribution(t, policy, r)

	score := func(a int, weights []float64) float64 {
		return r.Scale[a]*sumOfProducts(truth.design(ids[a], r.X), weights) + r.Offset[a]
	}
	share := func(p []float64, weights []float64, of int) {
		best, ties := math.Inf(-1), []int(nil)
		for a := range ids {
			switch s := score(a, weights); {
			case s > best+1e-12:
				best, ties = s, []int{a}
			case s > best-1e-12:
				ties = append(ties, a)
			}
		}
		for _, a := range ties {
			p[a] += 1 / float64(of*len(ties))
		}
	}
	dw, d := policy.draws, 4
	size := d * dw.k
	counted := make([]float64, len(ids))
	for j := range dw.n {
		for _, sign := range []float64{1, -1} {
			weights := make([]float64, size)
			for i := range weights {
				weights[i] = truth.theta[i] + sign*dw.values[4*size*(j/4)+4*i+j%4]
			}
			share(counted, weights, 2*dw.n)
		}
	}
	if !equal(got, counted, 1e-12) {
		t.Errorf("probabilities %v, want %v", got, counted)
	}
	for a := range ids {
		if math.Abs(scores[a]-score(a, truth.theta)) > 1e-9 {
			t.Errorf("score %v of %s, want %v", scores[a], ids[a], score(a, truth.theta))
		}
	}
	if got[2] != got[5] || got[2] == 0 {
		t.Errorf("action-2 and a new action have the same features and probabilities %v and %v", got[2], got[5])
	}

	// 20,000 draws by another way: L⁻ᵀg from a factor made here.
	packed := make([]float64, 0, triangle(size))
	for i := range size {
		packed = append(packed, truth.a[i][:i+1]...)
	}
	f, _ := factorise(packed, make([]float64, size), 0)
	sampled := make([]float64, len(ids))
	const n = 20_000
	g := make([]float64, padded(size))
	for range n {
		for i := range size {
			g[i] = 0.5 * truth.noise * rng.NormFloat64()
		}
		f.solveTransposed(g, size)
		weights := make([]float64, size)
		for i := range weights {
			weights[i] = truth.theta[i] + g[i]
		}
		share(sampled, weights, n)
	}
	for a, p := range sampled {
		if se := math.Sqrt(p*(1-p)/1024) + math.Sqrt(p*(1-p)/n); math.Abs(got[a]-p) > 4*se+1e-3 {
			t.Errorf("%s: probability %v, sampled %v, %.1f standard errors", ids[a], got[a], p, (got[a]-p)/se)
		}
	}

	other := spec
	other.Params = map[string]float64{"floor": 0, "draws": 1024, "seed": 1}
	p2, _ := distribution(t, mustPolicy(t, other, model), r)
	if equal(got, p2, 0) {
		t.Error("another seed gives the same draws")
	}
}

func TestSharedWeightsAreBounded(t *testing.T) {
	for document, widest := range map[string]int{
		sharedDocument:                  maxShared / 3, // 3 features of an action
		hybridDocument:                  maxShared / 3,
		`{"algorithm":"hybrid_linucb"}`: maxHybrid,
		`{"algorithm":"linucb","params":{"siblings":1}}`: maxHybrid,
		`{"algorithm":"linucb"}`:                         maxWidth,
	} {
		spec := mustSpec(t, document)
		if _, err := NewLearner(spec, widest); err != nil {
			t.Errorf("%s: %d features: %v", document, widest, err)
		}
		if _, err := NewLearner(spec, widest+1); err == nil {
			t.Errorf("%s: %d features were taken", document, widest+1)
		}
		if widest < maxWidth {
			m := &Model{kind: kindRidge, width: widest + 1, ridge: spec.param("ridge")}
			if _, err := New(spec, m); err == nil {
				t.Errorf("%s: a model of %d features was taken", document, widest+1)
			}
		}
	}
}

// TestStandardNormal checks the draws' moments and that they are what they have
// always been.
func TestStandardNormal(t *testing.T) {
	if got := standardNormal(0x8000000000000000); got <= 0 || got > 1e-15 {
		t.Errorf("the middle gives %g", got)
	}
	for bits, want := range map[uint64]float64{1 << 62: -0.6744897501960817, 3 << 62: 0.6744897501960817, 0xf9999999_99999999: 1.9599639845400543} {
		if got := standardNormal(bits); math.Abs(got-want) > 1e-13 {
			t.Errorf("standardNormal(%#x) = %.17g, want %.17g", bits, got, want)
		}
	}
	for _, bits := range []uint64{0, math.MaxUint64} {
		if got := standardNormal(bits); math.Abs(got) < 8 || math.Abs(got) > 9 {
			t.Errorf("the end %#x gives %g", bits, got)
		}
	}
}
