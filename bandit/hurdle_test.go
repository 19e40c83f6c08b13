package bandit

import (
	"math"
	"math/rand/v2"
	"testing"
)

const hurdleDocument = `{"algorithm":"hurdle_thompson"}`

// revenue is a world in which an action sells with a probability that is linear
// in x and the amount depends on the action alone.
type revenue struct {
	weights [][]float64
	mean    []float64
}

func newRevenue(rng *rand.Rand, k, d int) revenue {
	var w revenue
	for range k {
		theta := []float64{0.3 + 0.1*rng.Float64()}
		for range d - 1 {
			theta = append(theta, 0.1*(2*rng.Float64()-1)/float64(d))
		}
		w.weights, w.mean = append(w.weights, theta), append(w.mean, 50+10*rng.NormFloat64())
	}
	return w
}

// row returns a row of an action: context within ±1, amounts with a standard
// deviation of 30.
func (w revenue) row(rng *rand.Rand, a int) row {
	x := make([]float32, len(w.weights[a]))
	for j := range x {
		x[j] = float32(2*rng.Float64() - 1)
	}
	x[0] = 1
	reward := 0.0
	if rng.Float64() < sumOfProducts(w.weights[a], floats(x)) {
		reward = w.mean[a] + 30*rng.NormFloat64()
	}
	return row{actionID(a), x, reward}
}

func TestHurdleProbabilitiesAreExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	spec := mustSpec(t, `{"algorithm":"hurdle_thompson","params":{"floor":0}}`)
	world := newRevenue(rng, 3, 4)
	var rows []row
	for i := range 300 {
		rows = append(rows, world.row(rng, i%3))
	}
	m := learn(t, spec, rows).Model()
	// The same rows with 0 and 1 for rewards, as a plain ridge regression.
	binary := append([]row(nil), rows...)
	counts, totals := make([]float64, 3), make([]float64, 3)
	for i := range binary {
		if binary[i].reward != 0 {
			counts[i%3]++
			totals[i%3] += binary[i].reward
			binary[i].reward = 1
		}
	}
	thompson := mustSpec(t, `{"algorithm":"linear_thompson"}`)
	plain := newLinear(thompson, disjointPosterior(learn(t, thompson, binary).Model()))
	policy := mustPolicy(t, spec, m)
	r := &Request{X: randomX(rng, 4), Arms: []int32{0, 1, 2, -1}, Scale: []float64{1, 2, 1, -1}, Offset: []float64{0, -5, 1, 2}}
	w := plain.workspace()
	if err := plain.score(w, &Request{X: r.X, Arms: r.Arms}, true); err != nil {
		t.Fatal(err)
	}
	v := newValues(m)
	z := make([]float64, 3)
	var between float64
	for a := range z {
		z[a] = counts[a] / (counts[a] + v.within/v.between)
		between += z[a]
	}
	var common float64
	for a := range z {
		common += z[a] * totals[a] / counts[a] / between
	}
	mean, sd := make([]float64, 4), make([]float64, 4)
	for a := range mean {
		value := common
		if a < 3 {
			value = z[a]*totals[a]/counts[a] + (1-z[a])*common
		}
		mean[a] = r.Scale[a]*value*w.mean[a] + r.Offset[a]
		sd[a] = 0.5 * math.Abs(r.Scale[a]*value*w.sd[a])
	}
	got, scores := distribution(t, policy, r)
	if want := probabilitiesOf(t, mean, sd); !equal(got, want, 1e-9) || !equal(scores, mean, 1e-9) {
		t.Errorf("probabilities %v and scores %v, want %v and %v", got, scores, want, mean)
	}
}

// TestHurdleScoresAreUnbiased draws worlds and data: over both, the score is
// the revenue to be expected, within 4 standard errors of 2,000 worlds.
func TestHurdleScoresAreUnbiased(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	spec := mustSpec(t, `{"algorithm":"hurdle_thompson","params":{"ridge":1e-6}}`)
	const worlds, k, n = 2000, 5, 60
	var sum, squares, size float64
	for range worlds {
		world := newRevenue(rng, k, 2)
		var rows []row
		for i := range k * n {
			rows = append(rows, world.row(rng, i%k))
		}
		policy := mustPolicy(t, spec, learn(t, spec, rows).Model())
		x := world.row(rng, 0).x
		r := &Request{X: x}
		for a := range k {
			r.Arms = append(r.Arms, policy.Arm(actionID(a)))
		}
		_, scores := distribution(t, policy, r)
		var miss float64
		for a, s := range scores {
			truth := world.mean[a] * sumOfProducts(world.weights[a], floats(x))
			miss += (s - truth) / k
			size += truth / (k * worlds)
		}
		sum += miss
		squares += miss * miss
	}
	mean := sum / worlds
	se := math.Sqrt(squares/worlds-mean*mean) / math.Sqrt(worlds-1)
	t.Logf("bias %.4f ± %.4f of %.2f", mean, se, size)
	if math.Abs(mean) > 4*se || se > 0.02*size {
		t.Errorf("scores miss the expected revenue of %.2f by %.4f ± %.4f", size, mean, se)
	}
}

func TestValuesShrink(t *testing.T) {
	arm := func(count, total, squares float64) *armModel {
		return &armModel{sums: sums{n: 100, squares: count, amounts: total, amountSquares: squares}}
	}
	// Amounts 10, 14 and 20, 24: within 8, between 100/2 − 8/2.
	v := newValues(&Model{arms: []*armModel{arm(2, 24, 296), arm(2, 44, 976)}})
	if v.mean != 17 || v.within != 8 || math.Abs(v.between-46) > 1e-12 {
		t.Errorf("%+v", v)
	}
	z := 2 / (2 + 8./46)
	if got := v.of(arm(2, 24, 296)).mean; math.Abs(got-(12*z+17*(1-z))) > 1e-12 {
		t.Errorf("value %v", got)
	}
	if got := v.of(&armModel{}); got.mean != 17 || math.Abs(got.deviation-math.Sqrt(46+46/(2*z))) > 1e-12 {
		t.Errorf("a new action's value is %+v", *got)
	}
	for name, c := range map[string]struct {
		arms []*armModel
		mean float64
	}{
		"nothing sold":       {[]*armModel{arm(0, 0, 0)}, 0},
		"one sale each":      {[]*armModel{arm(1, 10, 100), arm(1, 20, 400)}, 15},
		"no difference":      {[]*armModel{arm(2, 30, 500), arm(2, 30, 500)}, 15},
		"one action":         {[]*armModel{arm(2, 30, 500)}, 15},
		"one action of many": {[]*armModel{arm(2, 30, 500), arm(0, 0, 0)}, 15},
	} {
		if v := newValues(&Model{arms: c.arms}); v.of(c.arms[0]).mean != c.mean || v.of(&armModel{}).mean != c.mean {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

func TestHurdleSumsAreOrderFree(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	spec := mustSpec(t, hurdleDocument)
	world := newRevenue(rng, 3, 4)
	var rows []row
	for i := range 400 {
		rows = append(rows, world.row(rng, i%3))
	}
	want := learn(t, spec, rows).Model()
	half := learn(t, spec, rows[200:])
	if err := half.Merge(learn(t, spec, rows[:200])); err != nil {
		t.Fatal(err)
	}
	extra := row{rows[0].action, rows[0].x, 123.5}
	if err := half.Learn(extra.action, extra.x, extra.reward); err != nil {
		t.Fatal(err)
	}
	if err := half.Unlearn(extra.action, extra.x, extra.reward); err != nil {
		t.Fatal(err)
	}
	got := half.Model()
	sameStatistics(t, "merged and unlearned", got, want, 1e-12)
	for i, a := range want.arms {
		g := got.arms[i]
		if math.Abs(g.amounts/a.amounts-1) > 1e-12 || math.Abs(g.amountSquares/a.amountSquares-1) > 1e-12 {
			t.Errorf("amounts of %s: %v and %v, want %v and %v", a.action, g.amounts, g.amountSquares, a.amounts, a.amountSquares)
		}
	}
	if err := half.Merge(learn(t, mustSpec(t, `{"algorithm":"linear_thompson"}`), rows)); err == nil {
		t.Error("sums of another kind were merged")
	}
	if _, err := New(spec, learn(t, mustSpec(t, `{"algorithm":"linear_thompson"}`), rows).Model()); err == nil {
		t.Error("a model of another kind was taken")
	}
}
