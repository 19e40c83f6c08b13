package bandit

import (
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"

	"nextbest"
)

// learners has every algorithm that learns from contexts, by sums in any order.
var learners = []string{`{"algorithm":"linucb"}`, `{"algorithm":"linear_thompson"}`, `{"algorithm":"epsilon_greedy"}`,
	`{"algorithm":"softmax"}`, `{"algorithm":"squarecb"}`, `{"algorithm":"linucb","params":{"levels":7}}`, `{"algorithm":"hybrid_linucb","params":{"levels":5}}`, hybridDocument, sharedDocument, hurdleDocument, `{"algorithm":"linear_thompson","params":{"siblings":1}}`}

// everyLearner has the algorithms whose rows can be taken out again and the
// others.
var everyLearner = append(learners[:len(learners):len(learners)], logisticDocument)

// rewardFor returns a reward that an algorithm can learn from.
func rewardFor(spec Spec, r float64) float64 {
	if spec.Ordered() {
		return map[bool]float64{true: 1}[r > 0]
	}
	return r
}

// trained returns a model of k actions and d features after n rows each.
func trained(tb testing.TB, spec Spec, k, d, n int, seed uint64) *Model {
	tb.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	l, err := NewLearner(spec, d)
	if err != nil {
		tb.Fatal(err)
	}
	for a := range k {
		for range n {
			x := randomX(rng, d)
			if err := l.Learn(actionID(a), x, rewardFor(spec, float64(x[0])*float64(a)/float64(k)+0.5*rng.NormFloat64())); err != nil {
				tb.Fatal(err)
			}
		}
	}
	return l.Model()
}

func actionID(a int) string { return "action-" + strconv.Itoa(a) }

func randomX(rng *rand.Rand, d int) []float32 {
	x := make([]float32, d)
	for j := range x {
		x[j] = float32(rng.NormFloat64())
	}
	x[0] = 1
	return x
}

func mustPolicy(tb testing.TB, spec Spec, m *Model) Policy {
	tb.Helper()
	p, err := New(spec, m)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func distribution(tb testing.TB, p Policy, r *Request) (probabilities, scores []float64) {
	tb.Helper()
	probabilities, scores = make([]float64, len(r.Arms)), make([]float64, len(r.Arms))
	if err := p.Distribution(probabilities, scores, r); err != nil {
		tb.Fatal(err)
	}
	checkDistribution(tb, p, probabilities)
	return probabilities, scores
}

// checkDistribution asserts what the package promises of every distribution.
func checkDistribution(tb testing.TB, policy Policy, p []float64) {
	tb.Helper()
	var sum float64
	for i, v := range p {
		if !(v >= 0) || v < policy.Floor(len(p))*(1-1e-12) {
			tb.Fatalf("probability %d of %d is %v; the floor is %v", i, len(p), v, policy.Floor(len(p)))
		}
		sum += v
	}
	if math.Abs(sum-1) > 1e-12 {
		tb.Fatalf("the probabilities sum to 1 %+g", sum-1)
	}
}

func equal(a, b []float64, tolerance float64) bool {
	for i := range a {
		if !(math.Abs(a[i]-b[i]) <= tolerance) {
			return false
		}
	}
	return len(a) == len(b)
}

func TestPoliciesWithoutModels(t *testing.T) {
	for _, c := range []struct {
		name, spec string
		eligible   []string
		preferred  int
		want       []float64
		floor      float64
	}{
		{"uniform", `{"algorithm":"uniform"}`, []string{"a", "b", "c"}, -1, []float64{1. / 3, 1. / 3, 1. / 3}, 1. / 3},
		{"fixed", `{"algorithm":"fixed","weights":{"a":3,"b":1}}`, []string{"a", "b"}, -1, []float64{0.75, 0.25}, 0},
		{"fixed, one not eligible", `{"algorithm":"fixed","weights":{"a":3,"b":1,"c":1}}`, []string{"b", "c"}, -1, []float64{0.5, 0.5}, 0},
		{"fixed, no weight for c", `{"algorithm":"fixed","weights":{"a":3,"b":1}}`, []string{"c", "b"}, -1, []float64{0, 1}, 0},
		{"fixed, nothing left", `{"algorithm":"fixed","weights":{"a":3}}`, []string{"c", "do-nothing"}, -1, []float64{0, 1}, 0},
		{"fixed with a floor", `{"algorithm":"fixed","weights":{"a":1},"params":{"floor":0.2}}`, []string{"a", "b"}, -1, []float64{0.9, 0.1}, 0.1},
		{"rules, matched", `{"algorithm":"rules","rules":[{"when":"x","action":"a"}],"params":{"epsilon":0.2}}`, []string{"b", "a", "c", "do-nothing"}, 1, []float64{0.05, 0.85, 0.05, 0.05}, 0.05},
		{"rules, none matched", `{"algorithm":"rules","rules":[{"when":"x","action":"a"}]}`, []string{"a", "do-nothing"}, -1, []float64{0, 1}, 0},
		{"untrained linucb", `{"algorithm":"linucb"}`, []string{"a", "b"}, -1, []float64{0.5, 0.5}, 0.0025},
		{"untrained thompson", `{"algorithm":"linear_thompson"}`, []string{"a", "b"}, -1, []float64{0.5, 0.5}, 0.0025},
		{"untrained greedy", `{"algorithm":"epsilon_greedy"}`, []string{"a", "b"}, -1, []float64{0.5, 0.5}, 0.025},
	} {
		p := mustPolicy(t, mustSpec(t, c.spec), nil)
		r := &Request{X: []float32{1, 2}, Preferred: c.preferred}
		for _, id := range c.eligible {
			r.Arms = append(r.Arms, p.Arm(id))
		}
		got, _ := distribution(t, p, r)
		if !equal(got, c.want, 1e-15) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if f := p.Floor(len(c.eligible)); math.Abs(f-c.floor) > 1e-15 {
			t.Errorf("%s: floor %v, want %v", c.name, f, c.floor)
		}
	}
}

func TestPoliciesRefuseWhatTheyCannotDecide(t *testing.T) {
	two := func(r Request) *Request {
		if r.Arms == nil {
			r.Arms = []int32{-1, -1}
		}
		r.Preferred = -1
		return &r
	}
	m := trained(t, mustSpec(t, `{"algorithm":"linucb"}`), 2, 4, 10, 1)
	x := []float32{1, 0, 0, 0}
	for _, c := range []struct {
		name, spec string
		model      *Model
		request    *Request
	}{
		{"rules without do-nothing", `{"algorithm":"rules","rules":[{"when":"x","action":"a"}]}`, nil, two(Request{})},
		{"fixed without weights or do-nothing", `{"algorithm":"fixed","weights":{"a":1}}`, nil, two(Request{})},
		{"wrong width", `{"algorithm":"linucb"}`, m, two(Request{X: x[:3]})},
		{"NaN context", `{"algorithm":"linear_thompson"}`, m, two(Request{X: []float32{1, float32(math.NaN()), 0, 0}})},
		{"infinite value", `{"algorithm":"linear_thompson"}`, m, two(Request{X: x, Scale: []float64{1, math.Inf(1)}})},
		{"overflowing value", `{"algorithm":"epsilon_greedy"}`, m, two(Request{X: []float32{1e30, 0, 0, 0}, Scale: []float64{1e300, 1}, Arms: []int32{0, 1}})},
		{"NaN cost", `{"algorithm":"linucb"}`, m, two(Request{X: x, Offset: []float64{math.NaN(), 0}})},
	} {
		p := mustPolicy(t, mustSpec(t, c.spec), c.model)
		err := p.Distribution(make([]float64, 2), make([]float64, 2), c.request)
		if nextbest.CodeOf(err) != nextbest.Invalid {
			t.Errorf("%s: error %v, want one with the code invalid", c.name, err)
		}
	}
	if _, err := New(mustSpec(t, `{"algorithm":"uniform"}`), m); err == nil {
		t.Error("uniform took a model")
	}
	if _, err := New(mustSpec(t, `{"algorithm":"linucb","params":{"ridge":1}}`), m); err == nil {
		t.Error("a model of another ridge was taken")
	}
}

func TestUnseenActionsGetThePrior(t *testing.T) {
	spec := mustSpec(t, `{"algorithm":"linear_thompson"}`)
	m := trained(t, spec, 1, 3, 50, 2)
	p := mustPolicy(t, spec, m)
	if p.Arm("action-0") != 0 || p.Arm("other") != -1 {
		t.Fatalf("arms %d and %d", p.Arm("action-0"), p.Arm("other"))
	}
	x := []float32{1, 2, -1}
	w := p.(linearThompson).workspace()
	if err := p.(linearThompson).score(w, &Request{X: x, Arms: []int32{0, -1}}, true); err != nil {
		t.Fatal(err)
	}
	want := m.Noise() * math.Sqrt(6/m.Precision())
	if w.mean[1] != 0 || math.Abs(w.sd[1]/want-1) > 1e-14 {
		t.Errorf("prior mean %v and standard deviation %v, want 0 and %v", w.mean[1], w.sd[1], want)
	}
	if !(w.sd[0] < w.sd[1]/2) {
		t.Errorf("50 rows leave a standard deviation of %v, the prior has %v", w.sd[0], w.sd[1])
	}
}

// TestArbitrationIsExact checks that scale and offset enter as an affine change
// of a Gaussian score, by integrating the changed scores directly.
func TestArbitrationIsExact(t *testing.T) {
	spec := mustSpec(t, `{"algorithm":"linear_thompson","params":{"floor":0}}`)
	m := trained(t, spec, 4, 5, 30, 3)
	policy := mustPolicy(t, spec, m).(linearThompson)
	rng := rand.New(rand.NewPCG(9, 9))
	arms := []int32{3, 0, -1, 1, 2}
	for range 20 {
		x := randomX(rng, 5)
		w := policy.workspace()
		if err := policy.score(w, &Request{X: x, Arms: arms}, true); err != nil {
			t.Fatal(err)
		}
		mean, sd := append([]float64(nil), w.mean...), append([]float64(nil), w.sd...)
		r := &Request{X: x, Arms: arms, Scale: []float64{2, 0, 1, -0.5, 3}, Offset: []float64{0, 0.4, -0.1, 0.2, -1}}
		for i := range mean {
			mean[i], sd[i] = r.Scale[i]*mean[i]+r.Offset[i], 0.5*math.Abs(r.Scale[i])*sd[i]
		}
		got, scores := distribution(t, policy, r)
		if want := probabilitiesOf(t, mean, sd); !equal(got, want, 1e-9) {
			t.Errorf("probabilities %v, want %v", got, want)
		}
		if !equal(scores, mean, 1e-12) {
			t.Errorf("scores %v, want %v", scores, mean)
		}
	}
}

// TestLinUCBIsLi2010 compares the index with its definition, computed from the
// statistics by Gauss-Jordan elimination.
func TestLinUCBIsLi2010(t *testing.T) {
	spec := mustSpec(t, `{"algorithm":"linucb","params":{"alpha":1.5,"floor":0.1}}`)
	m := trained(t, spec, 3, 6, 40, 4)
	policy := mustPolicy(t, spec, m)
	x := randomX(rand.New(rand.NewPCG(1, 1)), 6)
	got, scores := distribution(t, policy, &Request{X: x, Arms: []int32{0, 1, 2}})
	best, at := math.Inf(-1), 0
	for a, id := range m.Actions() {
		s, _ := m.Statistics(id)
		theta, z := solveDense(s.A, s.B), solveDense(s.A, floats(x))
		var mean, variance float64
		for j, v := range x {
			mean += theta[j] * float64(v)
			variance += z[j] * float64(v)
		}
		want := mean + 1.5*m.Noise()*math.Sqrt(variance)
		if math.Abs(scores[a]-want) > 1e-12 {
			t.Errorf("%s: index %.15g, want %.15g", id, scores[a], want)
		}
		if want > best {
			best, at = want, a
		}
	}
	for a, v := range got {
		want := 0.1 / 3
		if a == at {
			want += 0.9
		}
		if math.Abs(v-want) > 1e-15 {
			t.Errorf("probabilities %v with the best at %d", got, at)
		}
	}
}

func floats(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// solveDense solves a·z = b by elimination with row pivoting.
func solveDense(a [][]float64, b []float64) []float64 {
	n := len(b)
	rows := make([][]float64, n)
	for i := range rows {
		rows[i] = append(append([]float64(nil), a[i]...), b[i])
	}
	for c := range n {
		pivot := c
		for i := c; i < n; i++ {
			if math.Abs(rows[i][c]) > math.Abs(rows[pivot][c]) {
				pivot = i
			}
		}
		rows[c], rows[pivot] = rows[pivot], rows[c]
		for i := range n {
			if i != c {
				f := rows[i][c] / rows[c][c]
				for j := c; j <= n; j++ {
					rows[i][j] -= f * rows[c][j]
				}
			}
		}
	}
	z := make([]float64, n)
	for i := range z {
		z[i] = rows[i][n] / rows[i][i]
	}
	return z
}

// TestScoresDoNotDependOnCompany asks for subsets, in other orders and from
// several goroutines: each action's score is the same bit for bit.
func TestScoresDoNotDependOnCompany(t *testing.T) {
	for _, document := range everyLearner {
		spec := mustSpec(t, document)
		policy := mustPolicy(t, spec, trained(t, spec, 9, 13, 20, 5))
		x := randomX(rand.New(rand.NewPCG(2, 2)), 13)
		all := []int32{0, 1, 2, 3, 4, 5, 6, 7, 8}
		p0, want := distribution(t, policy, &Request{X: x, Arms: all})
		var group sync.WaitGroup
		for g := range 4 {
			group.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(g), 3))
				for range 50 {
					arms := make([]int32, 0, len(all))
					for _, i := range rng.Perm(len(all))[:1+rng.IntN(len(all))] {
						arms = append(arms, int32(i))
					}
					p, scores := make([]float64, len(arms)), make([]float64, len(arms))
					if err := policy.Distribution(p, scores, &Request{X: x, Arms: arms}); err != nil {
						t.Error(err)
						return
					}
					for i, a := range arms {
						if scores[i] != want[a] {
							t.Errorf("%s: score %v of action %d in company of %v, alone %v", document, scores[i], a, arms, want[a])
							return
						}
					}
					again := make([]float64, len(all))
					if err := policy.Distribution(again, make([]float64, len(all)), &Request{X: x, Arms: all}); err != nil || !equal(again, p0, 0) {
						t.Errorf("%s: the same request gave %v and %v (%v)", document, p0, again, err)
						return
					}
				}
			})
		}
		group.Wait()
	}
}

// FuzzDistribution checks the package's promise over random models: whatever was
// learned and whatever the arbitration, each distribution is one.
func FuzzDistribution(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { randomDecision(t, rand.New(rand.NewPCG(seed, 7))) })
}

// TestDistributionsOverRandomModels does the same over as many models as
// NEXTBEST_RANDOM_MODELS says, every algorithm included; a million take some
// minutes.
func TestDistributionsOverRandomModels(t *testing.T) {
	models := 3000
	if testing.Short() {
		models = 500
	}
	if given := os.Getenv("NEXTBEST_RANDOM_MODELS"); given != "" {
		n, err := strconv.Atoi(given)
		if err != nil {
			t.Fatal(err)
		}
		models = n
	}
	rng := rand.New(rand.NewPCG(11, 12))
	for range models {
		randomDecision(t, rng)
	}
}

// randomDecision learns a random model with rewards and features of random
// magnitude and decides with every algorithm that learns.
func randomDecision(t *testing.T, rng *rand.Rand) {
	k, d := 1+rng.IntN(12), 1+rng.IntN(6)
	magnitude := func() float64 { return math.Exp(8 * rng.NormFloat64()) }
	more := append([]string{`{"algorithm":"linear_thompson","params":{"v":1,"floor":0}}`, `{"algorithm":"softmax","params":{"unit":0.01,"floor":0}}`,
		`{"algorithm":"squarecb","params":{"gamma":50,"floor":0}}`, `{"algorithm":"ucb1"}`, `{"algorithm":"beta_thompson"}`}, everyLearner...)
	spec := mustSpec(t, more[rng.IntN(len(more))])
	if spec.ContextFree() {
		d = 1
	}
	l, err := NewLearner(spec, d)
	if err != nil {
		t.Fatal(err)
	}
	xs, rs := magnitude(), magnitude()
	context := func() []float32 {
		x := randomX(rng, d)
		for j := range x {
			x[j] *= float32(xs)
			if rng.IntN(4) == 0 {
				x[j] = 0
			}
		}
		if spec.ContextFree() {
			x[0] = 1
		}
		return x
	}
	reward := func() float64 {
		if algorithms[spec.Algorithm].unitRewards {
			return rng.Float64()
		}
		return rewardFor(spec, float64(rng.IntN(3))*rs)
	}
	for range rng.IntN(30) {
		if err := l.Learn(actionID(rng.IntN(k)), context(), reward()); err != nil {
			t.Fatal(err)
		}
	}
	policy := mustPolicy(t, spec, l.Model())
	r := &Request{X: context()}
	for a := range k {
		r.Arms = append(r.Arms, policy.Arm(actionID(a)))
	}
	if rng.IntN(2) == 0 {
		for range k {
			r.Scale = append(r.Scale, []float64{0, 1, -1, magnitude()}[rng.IntN(4)])
			r.Offset = append(r.Offset, []float64{0, 1, -magnitude()}[rng.IntN(3)])
		}
	}
	distribution(t, policy, r)
}
