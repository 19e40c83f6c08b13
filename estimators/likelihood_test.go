package estimators

import (
	"flag"
	"math"
	"math/rand/v2"
	"testing"
)

var replications = flag.Int("replications", 1000, "replications of each coverage test")

// golden maximises a concave function over [lo, hi].
func golden(f func(float64) float64, lo, hi float64) float64 {
	const g = 0.6180339887498949
	a, b := hi-g*(hi-lo), lo+g*(hi-lo)
	fa, fb := f(a), f(b)
	for range 120 {
		if fa >= fb {
			hi, b, fb = b, a, fa
			a = hi - g*(hi-lo)
			fa = f(a)
		} else {
			lo, a, fa = a, b, fb
			b = lo + g*(hi-lo)
			fb = f(b)
		}
	}
	return max(fa, fb)
}

// The solver against an independent nested search that knows nothing of
// derivatives or barriers, with corners that bind and corners that do not.
func TestProfileAgainstNestedSearch(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for trial := range 12 {
		n := []int{5, 40, 300}[trial%3]
		maxWeight := []float64{3, 20}[trial%2]
		var w, r []float64
		for range n {
			x := 0.0
			if rng.Float64() < 1/maxWeight {
				x = maxWeight * (0.5 + 0.5*rng.Float64())
			}
			w = append(w, x)
			r = append(r, float64(rng.IntN(2)))
		}
		l, err := weightLikelihood(nil, w, r)
		if err != nil {
			t.Fatal(err)
		}
		count, nn, a, y := l.cells.points()
		cs, _ := ValueSupport(maxWeight, 0, 1).corners()
		p := &profile{count: count, a: a, y: y, n: nn, corners: cs, rows: 1}
		for _, v := range []float64{0.2, 0.5, 0.77} {
			got := p.maximise(v, true)
			ok := func(β, τ float64) bool {
				for _, c := range cs {
					if 1+β*c.a+τ*(c.y-v*c.n) < 0 {
						return false
					}
				}
				return true
			}
			inner := func(τ float64) float64 {
				lo, hi := math.Inf(-1), math.Inf(1)
				for _, c := range cs {
					d := 1 + τ*(c.y-v*c.n)
					if c.a > 0 {
						lo = max(lo, -d/c.a)
					} else {
						hi = min(hi, -d/c.a)
					}
				}
				if lo > hi {
					return math.Inf(-1)
				}
				return golden(func(β float64) float64 {
					if !ok(β, τ) && !ok(β*(1-1e-12), τ) {
						return -1e9
					}
					s := 0.0
					for i := range w {
						s += math.Log(max(1+β*(w[i]-1)+τ*(w[i]*r[i]-v), 1e-300))
					}
					return s
				}, lo, hi)
			}
			want := golden(inner, -1/(1-v), 1/v) // the polygon's extent in τ
			if math.Abs(got-want) > 1e-5*max(1, want) {
				t.Errorf("trial %d, n %d, v %g: ℓ = %.9g, nested search %.9g", trial, n, v, got, want)
			}
		}
	}
}

// Binned customers give the same end points as customers kept one by one.
func TestCellsKeepTheInterval(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	for _, customers := range []int{300, 20000} {
		var binned WeightLikelihood
		var count, n, a, y []float64
		rows := 0.0
		for range customers {
			var c Customer
			for range 1 + rng.IntN(3) {
				r := 0.0
				if rng.Float64() < 0.05 {
					r = math.Exp(1.2 * rng.NormFloat64()) // revenue
				}
				c.Add(&Row{Weight: 20 * math.Pow(rng.Float64(), 19), Reward: min(r, 40), Support: 1})
			}
			binned.Add(&c)
			rows = max(rows, c.Rows)
			count, n, a, y = append(count, 1), append(n, c.Rows), append(a, c.Weight-c.Rows), append(y, c.WeightedReward)
		}
		cs, _ := ValueSupport(20, 0, 40).corners()
		exact := &profile{count: count, a: a, y: y, n: n, corners: cs, rows: rows}
		v, want := exact.interval(0, 40, chiSquared(0.95))
		got, iv, err := binned.Value(20, 0, 40, 0.95)
		if err != nil {
			t.Fatal(err)
		}
		width := want.High - want.Low
		t.Logf("%d customers in %d cells (level %d): [%.6f, %.6f], exact [%.6f, %.6f]", customers, len(binned.cells.all), binned.cells.level, iv.Low, iv.High, want.Low, want.High)
		tol := 1e-5 * width // bins of 2⁻⁷; coarser where customers are many and rewards continuous
		if binned.cells.level > 0 {
			tol = 2e-4 * width
		}
		if math.Abs(iv.Low-want.Low) > tol || math.Abs(iv.High-want.High) > tol || math.Abs(got-v) > tol {
			t.Errorf("%d customers: %.9g %+v, exact %.9g %+v", customers, got, iv, v, want)
		}
	}
}

// logger draws one log of §4's kind: matched with probability 1/w on half of
// the weights, w ≤ 20, reward 2%.
type rareLog struct {
	weights []float64 // of a match
	shares  []float64
	rate    float64
}

func newRareLog(rate float64) rareLog {
	return rareLog{weights: []float64{20, 10, 5, 2}, shares: []float64{0.25, 0.25, 0.25, 0.25}, rate: rate}
}

// draw returns cell counts of (w, r): unmatched rows first.
func (g rareLog) draw(rng *rand.Rand, n int) (count, w, r []float64) {
	ps := []float64{0}
	w, r = []float64{0}, []float64{0}
	for i, x := range g.weights {
		p := g.shares[i] / x
		ps[0] += g.shares[i] * (1 - 1/x)
		ps = append(ps, p*(1-g.rate), p*g.rate)
		w, r = append(w, x, x), append(r, 0, 1)
	}
	for _, k := range multinomial(rng, n, ps) {
		count = append(count, float64(k))
	}
	return
}

// §8.4: empirical likelihood covers .92 to .997 from 20 conversions up, while
// the normal interval's shortfall at few conversions shows that the test can
// tell.
func TestEmpiricalLikelihoodCoverage(t *testing.T) {
	for _, c := range []struct {
		n    int
		rate float64
	}{{1000, 0.02}, {5000, 0.02}, {2000, 0.1}, {1000, 0.5}} {
		g := newRareLog(c.rate)
		rng := rand.New(rand.NewPCG(uint64(c.n), 11))
		var value, ips, snips, normal int
		for range *replications {
			count, w, r := g.draw(rng, c.n)
			l := WeightLikelihood{Origin: 0}
			var ratio Ratio
			for k := range count {
				if count[k] > 0 {
					l.AddMany(count[k], 1, w[k], w[k]*r[k])
				}
				for range int(count[k]) {
					ratio.Add(w[k]*r[k], 1)
				}
			}
			in := func(iv Interval, err error) int {
				if err != nil {
					t.Fatal(err)
				}
				if iv.Low <= c.rate && c.rate <= iv.High {
					return 1
				}
				return 0
			}
			_, iv, err := l.Value(20, 0, 1, 0.95)
			value += in(iv, err)
			_, iv, err = l.IPS(20, 0, 1, 0.95)
			ips += in(iv, err)
			_, iv, err = l.SNIPS(20, 0, 1, 0.95)
			snips += in(iv, err)
			e, _ := ratio.Estimate()
			normal += in(e.Normal(0.95), nil)
		}
		of := float64(*replications)
		t.Logf("n %d, rate %g: value %.3f, IPS %.3f, SNIPS %.3f, normal %.3f", c.n, c.rate, float64(value)/of, float64(ips)/of, float64(snips)/of, float64(normal)/of)
		slack := 3 * math.Sqrt(0.95*0.05/of)
		matched := float64(c.n) * c.rate * 0.2125 // Σ share/w
		for name, k := range map[string]int{"value": value, "IPS": ips, "SNIPS": snips} {
			low := 0.92
			if matched < 20 {
				low = 0.90 // below what a report concludes from
			}
			if cov := float64(k) / of; cov < low-slack || cov > 0.997+slack {
				t.Errorf("n %d, rate %g: %s covers %.3f", c.n, c.rate, name, cov)
			}
		}
		if matched < 10 && float64(normal)/of > 0.85 {
			t.Errorf("the normal interval covers %.3f at %.0f matched conversions: the log is too easy", float64(normal)/of, matched)
		}
	}
}

// By row a clustered log's interval covers far too little; by customer not.
func TestCoverageByCustomer(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 1))
	const customers, rows = 200, 20
	reps := *replications / 2
	var byRow, byCustomer int
	for range reps {
		var clustered, flat WeightLikelihood
		for range customers {
			var c Customer
			p := 0.0 // a customer likes it or not
			if rng.Float64() < 0.2 {
				p = 0.5
			}
			for range rows {
				row := Row{Support: 1}
				if rng.Float64() < 0.5 {
					row.Weight = 2
				}
				if rng.Float64() < p {
					row.Reward = 1
				}
				c.Add(&row)
				var single Customer
				single.Add(&row)
				flat.Add(&single)
			}
			clustered.Add(&c)
		}
		_, a, err := clustered.Value(2, 0, 1, 0.95)
		if err != nil {
			t.Fatal(err)
		}
		_, b, _ := flat.Value(2, 0, 1, 0.95)
		if a.Low <= 0.1 && 0.1 <= a.High {
			byCustomer++
		}
		if b.Low <= 0.1 && 0.1 <= b.High {
			byRow++
		}
	}
	c, r := float64(byCustomer)/float64(reps), float64(byRow)/float64(reps)
	t.Logf("coverage by customer %.3f, by row %.3f", c, r)
	if c < 0.90 || r > 0.80 {
		t.Errorf("coverage by customer %.3f (want ≥ .90), by row %.3f (want far less)", c, r)
	}
}

func TestLikelihoodEdges(t *testing.T) {
	w, r := []float64{0, 2, 0, 2, 0, 2}, make([]float64, 6)
	v, iv, err := EmpiricalLikelihood(nil, w, r, 10, 0, 1, 0.95)
	if err != nil || v != 0 || iv.Low != 0 || !(iv.High > 0.3 && iv.High <= 1) {
		t.Errorf("no reward seen: %g %+v %v", v, iv, err)
	}
	for i := range r {
		r[i] = 5
	}
	v, iv, err = EmpiricalLikelihood(nil, w, r, 10, 5, 5, 0.95)
	if err != nil || v != 5 || iv.Low != 5 || iv.High != 5 {
		t.Errorf("constant reward: %g %+v %v", v, iv, err)
	}
	if _, _, err = EmpiricalLikelihood(nil, w, r, math.Inf(1), 0, 5, 0.95); err == nil {
		t.Error("no largest weight: no error")
	}
	v, iv, err = EmpiricalLikelihood(nil, []float64{1}, []float64{-3}, 4, -10, 10, 0.95)
	if err != nil || math.IsNaN(v) || !(iv.Low <= v && v <= iv.High) {
		t.Errorf("one row: %g %+v %v", v, iv, err)
	}
	v, iv, err = EmpiricalLikelihood(nil, make([]float64, 50), make([]float64, 50), 4, 0, 1, 0.95)
	if err != nil || math.IsNaN(v) || !(iv.Low <= v && v <= iv.High) || iv.High-iv.Low < 0.9 {
		t.Errorf("all weights zero: %g %+v %v", v, iv, err)
	}
	if _, _, err = EmpiricalLikelihood(nil, nil, nil, 4, 0, 1, 0.95); err == nil {
		t.Error("empty log: no error")
	}
}
