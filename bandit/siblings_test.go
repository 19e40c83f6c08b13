package bandit

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// TestSiblingsChooseTheMostLikelySpread compares the evidence with the density
// of the rewards, written out as one Gaussian of all rows with σ² at its
// maximum, and the beliefs with the stacked regression of the chosen spread.
func TestSiblingsChooseTheMostLikelySpread(t *testing.T) {
	const d, k = 3, 4
	chosen := map[float64]int{}
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 1))
		spread := []float64{0.05, 0.4, 3}[seed%3]
		weights := make([][]float64, k)
		common := []float64{rng.NormFloat64(), rng.NormFloat64(), rng.NormFloat64()}
		for a := range weights {
			for _, c := range common {
				weights[a] = append(weights[a], c+spread*rng.NormFloat64())
			}
		}
		var rows []row
		for i := range 60 {
			x := randomX(rng, d)
			rows = append(rows, row{actionID(i % k), x, sumOfProducts(weights[i%k], floats(x)) + 0.5*rng.NormFloat64()})
		}
		spec := mustSpec(t, `{"algorithm":"linucb","params":{"siblings":1}}`)
		own, _ := meanLengths(spec, rows)
		lambda := spec.param("ridge") * own
		best, most := 0.0, math.Inf(-1)
		for _, ratio := range spreads {
			// Cov(r)/σ² = I + X X'/λ₀ + [same action] X X'/(λ₀ ratio).
			n := len(rows)
			v := make([][]float64, n)
			r := make([]float64, n)
			for i := range v {
				v[i], r[i] = make([]float64, n), rows[i].reward
				for j := range v[i] {
					c := sumOfProducts(floats(rows[i].x), floats(rows[j].x)) / lambda
					if v[i][j] = c; rows[i].action == rows[j].action {
						v[i][j] += c / ratio
					}
					if i == j {
						v[i][j]++
					}
				}
			}
			packed := make([]float64, 0, triangle(n))
			for i := range v {
				packed = append(packed, v[i][:i+1]...)
			}
			f, ok := factorise(packed, r, 0)
			if !ok {
				t.Fatal("not positive definite")
			}
			if e := -0.5*float64(n)*math.Log(f.explained()) - 0.5*f.logDeterminant(); e > most {
				best, most = ratio, e
			}
		}
		chosen[best]++
		actions := []string{"action-0", "action-1", "action-2", "action-3", "new"}
		want := stack(spec, rows, actions, lambda, best*lambda)
		beliefs, err := spec.posterior(learn(t, spec, rows).Model())
		if err != nil {
			t.Fatal(err)
		}
		l := newLinear(spec, beliefs)
		r := &Request{X: randomX(rng, d)}
		for _, id := range actions {
			r.Arms = append(r.Arms, l.Arm(id))
		}
		w := l.workspace()
		if err := l.score(w, r, true); err != nil {
			t.Fatal(err)
		}
		for i, id := range actions {
			if mean, sd := want.score(id, r.X); math.Abs(w.mean[i]-mean) > 1e-9 || math.Abs(w.sd[i]-sd) > 1e-9 {
				t.Errorf("spread %g, %s: mean %v and standard deviation %v, want %v and %v", spread, id, w.mean[i], w.sd[i], mean, sd)
			}
		}
	}
	if len(chosen) < 3 {
		t.Errorf("spreads of .05, .4 and 3 led to the ratios %v", chosen)
	}
}

// lateArrival plays rounds with five actions, adds a sixth and returns the mean
// regret per round after that.
func lateArrival(t *testing.T, spec Spec, seed uint64, level, spread float64) float64 {
	const d, before, after = 8, 600, 500
	rng := rand.New(rand.NewPCG(seed, 77))
	weights := make([][]float64, 6)
	common := make([]float64, d)
	for i := range common {
		common[i] = 0.5 * rng.NormFloat64()
	}
	common[0] = level
	for a := range weights {
		for _, c := range common {
			weights[a] = append(weights[a], c+spread*rng.NormFloat64())
		}
	}
	l, err := NewLearner(spec, d)
	if err != nil {
		t.Fatal(err)
	}
	policy, err := l.Live()
	if err != nil {
		t.Fatal(err)
	}
	var regret float64
	for round := range before + after {
		k := 5
		if round >= before {
			k = 6
		}
		r := &Request{X: randomX(rng, d)}
		truth, best := make([]float64, k), math.Inf(-1)
		for a := range k {
			r.Arms = append(r.Arms, policy.Arm(actionID(a)))
			truth[a] = sumOfProducts(weights[a], floats(r.X))
			best = max(best, truth[a])
		}
		p, _ := distribution(t, policy, r)
		a := Draw(p, rng.Float64())
		if round >= before {
			for i := range p {
				regret += p[i] * (best - truth[i]) / after
			}
		}
		if err := l.Learn(actionID(a), r.X, truth[a]+rng.NormFloat64()); err != nil {
			t.Fatal(err)
		}
	}
	return regret
}

// TestSiblingsHelpNewActions measures the regret after a sixth action has come
// late: lower with the siblings' prior where rewards have a common level, for
// then 0 is a bad guess, and no worse where they have nothing in common.
func TestSiblingsHelpNewActions(t *testing.T) {
	if testing.Short() {
		t.Skip("40 runs of 1,100 rounds for each of eight settings")
	}
	const seeds = uint64(40)
	for _, algorithm := range []string{"linucb", "linear_thompson"} {
		for _, c := range [][2]float64{{3, 0.3}, {3, 1}, {0, 0.3}, {0, 3}} {
			level, spread := c[0], c[1]
			var sum, squares, base float64
			for seed := range seeds {
				alone := lateArrival(t, mustSpec(t, fmt.Sprintf(`{"algorithm":%q}`, algorithm)), seed, level, spread)
				with := lateArrival(t, mustSpec(t, fmt.Sprintf(`{"algorithm":%q,"params":{"siblings":1}}`, algorithm)), seed, level, spread)
				base += alone / float64(seeds)
				d := with - alone
				sum += d
				squares += d * d
			}
			mean := sum / float64(seeds)
			se := math.Sqrt((squares/float64(seeds) - mean*mean) / float64(seeds-1))
			t.Logf("%s, level %g, spread %g: regret per round %.4f, with siblings %+.4f ± %.4f", algorithm, level, spread, base, mean, se)
			switch {
			case level > 0 && mean > -3*se:
				t.Errorf("%s, spread %g: siblings change the regret by %.4f ± %.4f, which is no gain", algorithm, spread, mean, se)
			case mean > 3*se:
				t.Errorf("%s, spread %g: siblings change the regret by %.4f ± %.4f", algorithm, spread, mean, se)
			}
		}
	}
}

// TestRemovedActionsKeepTheirStatistics learns on while an action is not
// eligible, through bytes, and asks for it again.
func TestRemovedActionsKeepTheirStatistics(t *testing.T) {
	for _, document := range learners {
		spec := mustSpec(t, document)
		rows := randomRows(300, 3, 4, 5)
		m := learn(t, spec, rows).Model()
		before, _ := m.Statistics("action-2")
		l, err := ResumeLearner(spec, m)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range randomRows(300, 2, 4, 6) { // action-2 is away
			if err := l.Learn(r.action, r.x, r.reward); err != nil {
				t.Fatal(err)
			}
		}
		b, _ := l.Model().MarshalBinary()
		again, err := UnmarshalModel(b)
		if err != nil {
			t.Fatal(err)
		}
		after, ok := again.Statistics("action-2")
		if !ok || after.N != before.N || after.Squares != before.Squares || !equal(after.B, before.B, 0) {
			t.Errorf("%s: statistics of an action that was away changed from %v to %v", document, before, after)
		}
		if mustPolicy(t, spec, again).Arm("action-2") < 0 {
			t.Errorf("%s: an action that was away is unknown", document)
		}
	}
}
