package bandit

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"nextbest"
)

// alone returns a model with the bias alone: for each action, so many rows and
// so many of them with reward 1.
func alone(tb testing.TB, spec Spec, counts [][2]int) *Model {
	tb.Helper()
	l, err := NewLearner(spec, 1)
	if err != nil {
		tb.Fatal(err)
	}
	for a, c := range counts {
		for i := range c[0] {
			reward := 0.0
			if i < c[1] {
				reward = 1
			}
			if err := l.Learn(actionID(a), []float32{1}, reward); err != nil {
				tb.Fatal(err)
			}
		}
	}
	return l.Model()
}

func TestSoftmaxIsItsFormula(t *testing.T) {
	spec := mustSpec(t, `{"algorithm":"softmax","params":{"temperature":0.5,"floor":0}}`)
	m := trained(t, spec, 3, 4, 40, 6)
	policy := mustPolicy(t, spec, m)
	x := randomX(rand.New(rand.NewPCG(1, 1)), 4)
	for _, c := range []struct {
		name          string
		scale, offset []float64
		mean          float64 // |scale|
	}{
		{"as it is", nil, nil, 1},
		{"arbitrated", []float64{2, -1, 3}, []float64{0, 1, -2}, 2},
	} {
		p, s := distribution(t, policy, &Request{X: x, Arms: []int32{0, 1, 2}, Scale: c.scale, Offset: c.offset})
		for a := range p {
			if want := math.Exp((s[a] - s[0]) / (0.5 * m.Noise() * c.mean)); math.Abs(p[a]/p[0]/want-1) > 1e-12 {
				t.Errorf("%s: p%d/p0 = %v, want %v", c.name, a, p[a]/p[0], want)
			}
		}
	}
	declared := mustSpec(t, `{"algorithm":"softmax","params":{"temperature":2,"unit":3,"floor":0}}`)
	p, s := distribution(t, mustPolicy(t, declared, m), &Request{X: x, Arms: []int32{0, 1, 2}})
	if want := math.Exp((s[1] - s[0]) / 6); math.Abs(p[1]/p[0]/want-1) > 1e-12 {
		t.Errorf("declared unit: %v, want %v", p[1]/p[0], want)
	}
	for scores, want := range map[[3]float64][]float64{
		{1, 3, 3}:                   {0, 0.5, 0.5},
		{-1e308, 1e308, -1e308}:     {0, 1, 0},
		{5, 5 - 1e-300, 5 - 1e-300}: {1. / 3, 1. / 3, 1. / 3},
	} {
		for _, temperature := range []float64{0, 1e-300, 1e-10} {
			boltzmann(p, scores[:], temperature)
			if !equal(p, want, 1e-12) {
				t.Errorf("scores %v at temperature %g: %v, want %v", scores, temperature, p, want)
			}
		}
	}
}

func TestSquareCBIsInverseGapWeighting(t *testing.T) {
	for _, c := range []struct {
		name         string
		gamma        float64
		scores, want []float64
	}{
		{"formula", 4, []float64{1, 0.5, 0}, []float64{1 - 1./5 - 1./7, 1. / 5, 1. / 7}},
		{"tied leaders share the rest", 4, []float64{1, 1, 0}, []float64{3. / 7, 3. / 7, 1. / 7}},
		{"all tied", 4, []float64{2, 2, 2}, []float64{1. / 3, 1. / 3, 1. / 3}},
		{"nothing known", 0, []float64{1, 0, 0}, []float64{1. / 3, 1. / 3, 1. / 3}},
		{"no scale", math.NaN(), []float64{1, 0, 0}, []float64{1. / 3, 1. / 3, 1. / 3}},
		{"certain", math.Inf(1), []float64{1, 0, 1}, []float64{0.5, 0, 0.5}},
		{"gap beyond float64", 1, []float64{-1e308, 1e308, -1e308}, []float64{0, 1, 0}},
		{"one", 4, []float64{7}, []float64{1}},
	} {
		p := make([]float64, len(c.scores))
		inverseGaps(p, c.scores, c.gamma)
		if !equal(p, c.want, 1e-15) {
			t.Errorf("%s: %v, want %v", c.name, p, c.want)
		}
	}
	// The adaptive γ of 160 rows and 4 features.
	spec := mustSpec(t, `{"algorithm":"squarecb","params":{"gamma_scale":2,"floor":0}}`)
	m := trained(t, spec, 4, 4, 40, 7)
	p, s := distribution(t, mustPolicy(t, spec, m), &Request{X: randomX(rand.New(rand.NewPCG(1, 1)), 4), Arms: []int32{0, 1, 2, 3}})
	best := slices.Max(s)
	gamma := 2 * math.Sqrt(160./4) / m.Noise()
	for a, v := range s {
		if want := 1 / (4 + gamma*(best-v)); v < best && math.Abs(p[a]-want) > 1e-14 {
			t.Errorf("action %d: %v, want %v", a, p[a], want)
		}
	}
}

func TestUCB1IsAuer2002(t *testing.T) {
	spec := mustSpec(t, `{"algorithm":"ucb1","params":{"c":0.5,"floor":0.1}}`)
	policy := mustPolicy(t, spec, alone(t, spec, [][2]int{{50, 20}, {10, 3}, {200, 90}}))
	arms := func(ids ...string) (all []int32) {
		for _, id := range ids {
			all = append(all, policy.Arm(id))
		}
		return all
	}
	three := arms("action-0", "action-1", "action-2")
	p, s := distribution(t, policy, &Request{X: []float32{1, 7}, Arms: three, Scale: []float64{1, 1, -2}, Offset: []float64{0, 0, 3}})
	bound := func(mean, n float64) float64 { return mean + 0.5*math.Sqrt(2*math.Log(260)/n) }
	want := []float64{bound(0.4, 50), bound(0.3, 10), 3 - 2*0.45 + 2*(bound(0, 200))}
	if !equal(s, want, 1e-14) || !equal(p, []float64{0.1 / 3, 0.1 / 3, 0.1/3 + 0.9}, 1e-15) {
		t.Errorf("scores %v, want %v; probabilities %v", s, want, p)
	}
	// What was never tried comes first, unless it is worth nothing.
	p, s = distribution(t, policy, &Request{Arms: arms("action-0", "new", "newer", "worthless"), Scale: []float64{1, 1, 2, 0}, Offset: []float64{0, -1, 0, 9}})
	if !equal(p, []float64{0.025, 0.475, 0.475, 0.025}, 1e-15) || s[1] != math.MaxFloat64 || s[3] != 9 {
		t.Errorf("untried actions: %v with scores %v", p, s)
	}
}

// TestRandUCBSumsItsLevels compares with the same policy at each level's α.
func TestRandUCBSumsItsLevels(t *testing.T) {
	for _, algorithm := range []string{"linucb", "hybrid_linucb"} {
		t.Run(algorithm, func(t *testing.T) { sumsItsLevels(t, algorithm) })
	}
}

func sumsItsLevels(t *testing.T, algorithm string) {
	spec := mustSpec(t, `{"algorithm":"`+algorithm+`","params":{"alpha":1.2,"levels":16,"floor":0}}`)
	m := trained(t, spec, 6, 5, 8, 8)
	policy := mustPolicy(t, spec, m)
	arms := []int32{0, 1, 2, 3, 4, 5}
	rng := rand.New(rand.NewPCG(3, 1))
	mixed := 0
	for range 50 {
		r := &Request{X: randomX(rng, 5), Arms: arms}
		p, s := distribution(t, policy, r)
		want := make([]float64, len(arms))
		var total float64
		for i := range 16 {
			z := 3 * (float64(i) + 0.5) / 16
			total += math.Exp(-z * z / 2)
			at := spec
			at.Params = map[string]float64{"alpha": 1.2 * z, "floor": 0}
			q, _ := distribution(t, mustPolicy(t, at, m), r)
			for a := range q {
				want[a] += math.Exp(-z*z/2) * q[a]
			}
		}
		for a := range want {
			want[a] /= total
		}
		if !equal(p, want, 1e-14) {
			t.Fatalf("%v, want %v", p, want)
		}
		if slices.Max(p) < 0.999 {
			mixed++
		}
		plain := spec
		plain.Params = map[string]float64{"alpha": 1.2}
		if _, q := distribution(t, mustPolicy(t, plain, m), r); !slices.Equal(s, q) {
			t.Fatalf("scores %v, want the bounds at α %v", s, q)
		}
	}
	if mixed == 0 {
		t.Error("no decision had two actions in the running")
	}
}

func TestContextFreePoliciesRefuseContexts(t *testing.T) {
	for _, algorithm := range Algorithms() {
		if !algorithms[algorithm].contextFree {
			continue
		}
		if _, err := ParseSpec([]byte(`{"algorithm":"` + algorithm + `","features":"retail@1"}`)); nextbest.CodeOf(err) != nextbest.Invalid {
			t.Errorf("%s took features: %v", algorithm, err)
		}
		spec := mustSpec(t, `{"algorithm":"`+algorithm+`"}`)
		if _, err := NewLearner(spec, 2); nextbest.CodeOf(err) != nextbest.Invalid {
			t.Errorf("%s learns two features: %v", algorithm, err)
		}
		m, err := UnmarshalModel(mustBytes(t, alone(t, spec, [][2]int{{3, 1}, {5, 5}})))
		if err != nil {
			t.Fatalf("%s: %v", algorithm, err)
		}
		distribution(t, mustPolicy(t, spec, m), &Request{Arms: []int32{0, 1, -1}})
	}
}

func mustBytes(tb testing.TB, m *Model) []byte {
	tb.Helper()
	b, err := m.MarshalBinary()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// TestDistributionsAreEquivariant permutes the eligible actions and changes all
// scores affinely (value × c, cost shifted): the probabilities go along.
func TestDistributionsAreEquivariant(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	for _, algorithm := range Algorithms() {
		known := algorithms[algorithm]
		if !known.learns || known.actionFeatures == needsActionFeatures {
			continue
		}
		spec := mustSpec(t, `{"algorithm":"`+algorithm+`"}`)
		const k = 6
		d := 4
		var m *Model
		if known.contextFree {
			d, m = 1, alone(t, spec, [][2]int{{9, 3}, {4, 3}, {1, 0}, {20, 8}, {7, 7}, {2, 1}})
		} else {
			m = trained(t, spec, k, d, 12, 9)
		}
		policy := mustPolicy(t, spec, m)
		for range 20 {
			base := &Request{X: randomX(rng, d), Arms: []int32{0, 1, 2, 3, 4, 5}}
			for range k {
				base.Scale = append(base.Scale, []float64{1, 2, -0.5}[rng.IntN(3)])
				base.Offset = append(base.Offset, rng.NormFloat64()*0.1)
			}
			want, _ := distribution(t, policy, base)
			factor, shift := math.Exp(2*rng.NormFloat64()), rng.NormFloat64()
			changed := &Request{X: base.X}
			order := rng.Perm(k)
			for _, o := range order {
				changed.Arms = append(changed.Arms, base.Arms[o])
				changed.Scale = append(changed.Scale, factor*base.Scale[o])
				changed.Offset = append(changed.Offset, factor*(base.Offset[o]+shift))
			}
			got, _ := distribution(t, policy, changed)
			for i, o := range order {
				if math.Abs(got[i]-want[o]) > 1e-9 {
					t.Fatalf("%s: permuted, ×%g, +%g: %v in order %v, want %v", algorithm, factor, shift, got, order, want)
				}
			}
		}
	}
}
