package bandit

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

type row struct {
	action string
	x      []float32
	reward float64
}

func randomRows(n, k, d int, seed uint64) []row {
	rng := rand.New(rand.NewPCG(seed, 5))
	rows := make([]row, n)
	for i := range rows {
		x := randomX(rng, d)
		rows[i] = row{actionID(rng.IntN(k)), x, float64(x[1]) + rng.NormFloat64()}
	}
	return rows
}

func learn(tb testing.TB, spec Spec, rows []row) *Learner {
	tb.Helper()
	l, err := NewLearner(spec, len(rows[0].x))
	if err != nil {
		tb.Fatal(err)
	}
	for _, r := range rows {
		if err := l.Learn(r.action, r.x, rewardFor(spec, r.reward)); err != nil {
			tb.Fatal(err)
		}
	}
	return l
}

// sameStatistics compares two models to a tolerance relative to the largest
// entry of each sum.
func sameStatistics(t *testing.T, what string, got, want *Model, tolerance float64) {
	t.Helper()
	if a, b := got.Actions(), want.Actions(); len(a) != len(b) {
		t.Fatalf("%s: actions %v, want %v", what, a, b)
	}
	for i, w := range want.arms {
		g := got.arms[i]
		near := func(a, b, size float64) bool { return math.Abs(a-b) <= tolerance*size }
		var bs, gs float64
		for j := range w.b {
			bs = max(bs, math.Abs(w.b[j]))
		}
		for j := range w.gram {
			gs = max(gs, math.Abs(w.gram[j]))
		}
		ok := g.action == w.action && g.n == w.n && near(g.squares, w.squares, w.squares)
		for j := range w.b {
			ok = ok && near(g.b[j], w.b[j], bs)
		}
		for j := range w.gram {
			ok = ok && near(g.gram[j], w.gram[j], gs)
		}
		if !ok {
			t.Errorf("%s: the statistics of %s differ", what, w.action)
		}
	}
	if math.Abs(got.Noise()/want.Noise()-1) > tolerance || got.Precision() != want.Precision() {
		t.Errorf("%s: noise %.12g and precision %g, want %.12g and %g", what, got.Noise(), got.Precision(), want.Noise(), want.Precision())
	}
}

func TestLearningIsOrderFree(t *testing.T) {
	spec := mustSpec(t, `{"algorithm":"linear_thompson"}`)
	rows := randomRows(2000, 4, 7, 1)
	want := learn(t, spec, rows).Model()
	rng := rand.New(rand.NewPCG(1, 2))

	shuffled := append([]row(nil), rows...)
	rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	sameStatistics(t, "shuffled", learn(t, spec, shuffled).Model(), want, 1e-12)

	halves := learn(t, spec, rows[:700])
	if err := halves.Merge(learn(t, spec, rows[700:])); err != nil {
		t.Fatal(err)
	}
	sameStatistics(t, "merged", halves.Model(), want, 1e-12)

	resumed, err := ResumeLearner(spec, learn(t, spec, rows[:900]).Model())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows[900:] {
		if err := resumed.Learn(r.action, r.x, r.reward); err != nil {
			t.Fatal(err)
		}
	}
	sameStatistics(t, "resumed", resumed.Model(), want, 1e-12)

	// Late rewards: every third row is first learned with another reward, which
	// is taken out again when the right one arrives.
	corrected, err := NewLearner(spec, 7)
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, r := range rows {
		if i%3 == 0 {
			must(corrected.Learn(r.action, r.x, -5))
		} else {
			must(corrected.Learn(r.action, r.x, r.reward))
		}
	}
	must(corrected.Learn("mistake", rows[0].x, 1))
	for i, r := range rows {
		if i%3 == 0 {
			must(corrected.Unlearn(r.action, r.x, -5))
			must(corrected.Learn(r.action, r.x, r.reward))
		}
	}
	must(corrected.Unlearn("mistake", rows[0].x, 1))
	sameStatistics(t, "corrected", corrected.Model(), want, 1e-9)
}

// TestNoiseIsTheRecursiveResidual checks σ² = Σe²/(1+xᵀA⁻¹x)/n over one-step
// predictions against the order-free form.
func TestNoiseIsTheRecursiveResidual(t *testing.T) {
	const d, lambda = 5, 0.7
	rng := rand.New(rand.NewPCG(3, 3))
	f, sums := newFactor(padded(d), lambda), newStatistics(d)
	x, y, turns := make([]float64, padded(d)), make([]float64, padded(d)), make([]float64, 2*padded(d))
	var recursive float64
	for range 300 {
		for j := range d {
			x[j] = rng.NormFloat64()
		}
		r := x[0] - x[2] + rng.NormFloat64()
		mean, variance := f.solve(y, x)
		recursive += (r - mean) * (r - mean) / (1 + variance)
		f.update(x, r, turns)
		sums.add(kindRidge, x[:d], r, 1)
	}
	if got := sums.squares - f.explained(); math.Abs(got/recursive-1) > 1e-10 {
		t.Errorf("Σr² − bᵀA⁻¹b = %.12g, Σe²/(1+xᵀA⁻¹x) = %.12g", got, recursive)
	}
}

func TestLiveEqualsSnapshots(t *testing.T) {
	for _, document := range learners {
		spec := mustSpec(t, document)
		const d = 6
		l, err := NewLearner(spec, d)
		if err != nil {
			t.Fatal(err)
		}
		live, err := l.Live()
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(4, 4))
		var rows []row
		for step := range 600 {
			if len(rows) > 3 && rng.IntN(3) == 0 {
				i := rng.IntN(len(rows))
				out := rows[i]
				rows[i] = rows[len(rows)-1]
				rows = rows[:len(rows)-1]
				if err := l.Unlearn(out.action, out.x, out.reward); err != nil {
					t.Fatal(err)
				}
			} else {
				in := row{actionID(rng.IntN(5)), randomX(rng, d), rng.NormFloat64()}
				for j := range in.x { // the mean squared length grows: the precision moves
					in.x[j] *= float32(1 + step/100)
				}
				rows = append(rows, in)
				if err := l.Learn(in.action, in.x, in.reward); err != nil {
					t.Fatal(err)
				}
			}
			if step%20 != 0 {
				continue
			}
			if v, ok := live.(*liveSnapshots); ok {
				v.due = 0 // compare with a snapshot of the same rows
				if err := v.refresh(); err != nil {
					t.Fatal(err)
				}
			}
			snapshot := mustPolicy(t, spec, l.Model())
			a, b := &Request{X: randomX(rng, d)}, &Request{}
			b.X = a.X
			for i := range 6 {
				a.Arms, b.Arms = append(a.Arms, live.Arm(actionID(i))), append(b.Arms, snapshot.Arm(actionID(i)))
			}
			p1, s1 := distribution(t, live, a)
			p2, s2 := distribution(t, snapshot, b)
			if !equal(p1, p2, 1e-8) || !equal(s1, s2, 1e-9) {
				t.Fatalf("%s, step %d: live %v %v, snapshot %v %v", document, step, p1, s1, p2, s2)
			}
		}
		other := learn(t, spec, randomRows(50, 8, d, 9))
		if err := l.Merge(other); err != nil {
			t.Fatal(err)
		}
		snapshot := mustPolicy(t, spec, l.Model())
		x := randomX(rng, d)
		p1, _ := distribution(t, live, &Request{X: x, Arms: []int32{live.Arm(actionID(7)), live.Arm(actionID(0))}})
		p2, _ := distribution(t, snapshot, &Request{X: x, Arms: []int32{snapshot.Arm(actionID(7)), snapshot.Arm(actionID(0))}})
		if !equal(p1, p2, 1e-8) {
			t.Errorf("%s: after a merge live %v, snapshot %v", document, p1, p2)
		}
	}
}

func TestLearnerRefusesBadRowsAndStaysAsItWas(t *testing.T) {
	spec := mustSpec(t, `{"algorithm":"linucb"}`)
	rows := randomRows(20, 2, 3, 1)
	l := learn(t, spec, rows)
	before, _ := l.Model().MarshalBinary()
	x := rows[0].x
	for name, err := range map[string]error{
		"NaN reward":     l.Learn("action-0", x, math.NaN()),
		"huge reward":    l.Learn("action-0", x, 1e101),
		"NaN feature":    l.Learn("action-0", []float32{1, float32(math.NaN()), 0}, 1),
		"infinite":       l.Learn("action-0", []float32{1, float32(math.Inf(1)), 0}, 1),
		"no action":      l.Learn("", x, 1),
		"never learned":  l.Unlearn("action-9", x, 1),
		"NaN unlearned":  l.Unlearn("action-0", x, math.NaN()),
		"other width":    l.Merge(learn(t, spec, randomRows(5, 2, 4, 1))),
		"other ridge":    l.Merge(learn(t, mustSpec(t, `{"algorithm":"linucb","params":{"ridge":2}}`), rows)),
		"no such policy": func() error { _, err := NewLearner(mustSpec(t, `{"algorithm":"uniform"}`), 3); return err }(),
		"no features":    func() error { _, err := NewLearner(spec, 0); return err }(),
	} {
		if err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if after, _ := l.Model().MarshalBinary(); !bytes.Equal(before, after) {
		t.Error("a refused row changed the statistics")
	}
}

func TestModelsAreImmutable(t *testing.T) {
	spec := mustSpec(t, `{"algorithm":"linucb"}`)
	rows := randomRows(200, 3, 4, 6)
	l := learn(t, spec, rows[:100])
	m := l.Model()
	before, _ := m.MarshalBinary()
	policy := mustPolicy(t, spec, m)
	r := &Request{X: rows[0].x, Arms: []int32{0, 1, 2}}
	_, scores := distribution(t, policy, r)
	for _, row := range rows[100:] {
		if err := l.Learn(row.action, row.x, row.reward); err != nil {
			t.Fatal(err)
		}
	}
	l.Model()
	if after, _ := m.MarshalBinary(); !bytes.Equal(before, after) {
		t.Error("learning on changed an earlier snapshot")
	}
	if _, again := distribution(t, policy, r); !equal(scores, again, 0) {
		t.Error("learning on changed an earlier policy")
	}
}

func TestWeightsAreReadable(t *testing.T) {
	s := mustSchema(t, `{"features":[{"name":"recency","type":"numeric"},{"name":"newbie","type":"boolean"}]}`)
	spec := mustSpec(t, `{"algorithm":"linucb","params":{"ridge":1e-6}}`)
	l, err := NewLearner(spec, s.Width())
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(8, 8))
	const n, sigma = 20_000, 0.5
	x := make([]float32, s.Width())
	for range n {
		recency, newbie := rng.NormFloat64(), rng.IntN(2) == 0
		if err := s.Encode(x, map[string]any{"recency": recency, "newbie": newbie}, time.Time{}); err != nil {
			t.Fatal(err)
		}
		reward := 2 - recency + sigma*rng.NormFloat64()
		if newbie {
			reward += 3
		}
		if err := l.Learn("mail", x, reward); err != nil {
			t.Fatal(err)
		}
	}
	weights, err := l.Model().Weights(spec, s)
	if err != nil {
		t.Fatal(err)
	}
	if len(weights) != 1 || weights[0].Action != "mail" || weights[0].Rows != n {
		t.Fatalf("%+v", weights)
	}
	// Standard errors of a regression on an intercept, a standard normal and a
	// fair coin: σ/√n times √2, 1 and 2.
	for i, want := range []Weight{
		{"bias", 2, sigma / math.Sqrt(n) * math.Sqrt2},
		{"recency", -1, sigma / math.Sqrt(n)},
		{"newbie", 3, sigma / math.Sqrt(n) * 2},
	} {
		got := weights[0].Weights[i]
		if got.Feature != want.Feature || math.Abs(got.Weight-want.Weight) > 4*want.StandardError || math.Abs(got.StandardError/want.StandardError-1) > 0.03 {
			t.Errorf("%+v, want about %+v", got, want)
		}
	}
	if _, err := l.Model().Weights(spec, mustSchema(t, `{"features":[]}`)); err == nil {
		t.Error("a schema of another width was taken")
	}
}
