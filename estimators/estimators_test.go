package estimators

import (
	"math"
	"math/rand/v2"
	"testing"
)

// world is a small problem that can be enumerated: contexts × actions × {0,1}.
type world struct {
	context []float64   // P(x)
	logger  [][]float64 // μ(a|x)
	target  [][]float64 // π(a|x)
	rate    [][]float64 // P(r=1|x,a)
}

func smallWorld() *world {
	return &world{
		context: []float64{0.5, 0.3, 0.2},
		logger:  [][]float64{{0.7, 0.1, 0.1, 0.1}, {0.25, 0.25, 0.25, 0.25}, {0.05, 0.05, 0.1, 0.8}},
		target:  [][]float64{{0.1, 0.6, 0.2, 0.1}, {0, 0, 1, 0}, {0.3, 0.3, 0.4, 0}},
		rate:    [][]float64{{0.05, 0.2, 0.1, 0.02}, {0.3, 0.1, 0.4, 0.2}, {0.5, 0.6, 0.1, 0.05}},
	}
}

func (w *world) value(policy [][]float64) (v float64) {
	for x, px := range w.context {
		for a, p := range policy[x] {
			v += px * p * w.rate[x][a]
		}
	}
	return v
}

func (w *world) model(x int, q func(x, a int) float64) (s float64) {
	for a, p := range w.target[x] {
		s += p * q(x, a)
	}
	return s
}

// each calls f with every possible row and its probability.
func (w *world) each(f func(p float64, x, a int, r float64)) {
	for x, px := range w.context {
		for a, μ := range w.logger[x] {
			f(px*μ*w.rate[x][a], x, a, 1)
			f(px*μ*(1-w.rate[x][a]), x, a, 0)
		}
	}
}

// counts draws multinomial cell counts of n rows, in the order of each.
func (w *world) counts(rng *rand.Rand, n int) []int {
	var ps []float64
	w.each(func(p float64, _, _ int, _ float64) { ps = append(ps, p) })
	return multinomial(rng, n, ps)
}

func multinomial(rng *rand.Rand, n int, ps []float64) []int {
	out := make([]int, len(ps))
	rest := 1.0
	for i, p := range ps {
		if n == 0 {
			break
		}
		k := n
		if i < len(ps)-1 && p < rest {
			k = rareBinomial(rng, n, p/rest)
		}
		out[i] = k
		n -= k
		rest -= p
	}
	return out
}

// rareBinomial draws by waiting times: exact, and quick where p is small.
func rareBinomial(rng *rand.Rand, n int, p float64) int {
	if p > 0.5 {
		return n - rareBinomial(rng, n, 1-p)
	}
	k, at, lq := 0, 0, math.Log1p(-p)
	if lq == 0 {
		return 0
	}
	for {
		gap := 1 + math.Floor(math.Log(1-rng.Float64())/lq)
		if gap > float64(n-at) {
			return k
		}
		at += int(gap)
		k++
	}
}

func near(t *testing.T, name string, got, want, tol float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tol*max(1, math.Abs(want))) {
		t.Errorf("%s = %.17g, want %.17g (tolerance %g)", name, got, want, tol)
	}
}

// Enumerating all rows with their probabilities gives exact expectations: a
// thousandth of a probability would show.
func TestUnbiasedByEnumeration(t *testing.T) {
	w := smallWorld()
	truth := w.value(w.target)
	for name, q := range map[string]func(x, a int) float64{
		"no model":    func(x, a int) float64 { return 0 },
		"true model":  func(x, a int) float64 { return w.rate[x][a] },
		"wrong model": func(x, a int) float64 { return 0.7 - 0.1*float64(a) + 0.3*float64(x) },
	} {
		var ips, dr, weight float64
		w.each(func(p float64, x, a int, r float64) {
			row := Row{Weight: w.target[x][a] / w.logger[x][a], Reward: r, Support: 1, Q: q(x, a), QPolicy: w.model(x, q)}
			var c Customer
			c.Add(&row)
			var i IPSTotal
			var d DRTotal
			i.Add(&c)
			d.Add(&c)
			iv, _ := i.Estimate()
			dv, _ := d.Estimate()
			ips += p * iv.Value
			dr += p * dv.Value
			weight += p * row.Weight
		})
		near(t, name+": E[IPS]", ips, truth, 1e-12)
		near(t, name+": E[DR]", dr, truth, 1e-12)
		near(t, name+": E[w]", weight, 1, 1e-12)
	}
}

func TestIdentities(t *testing.T) {
	w, r, q, qp, by := sample(1, 500, 3)
	zero := make([]float64, len(w))
	ips, err := IPS(by, w, r)
	if err != nil {
		t.Fatal(err)
	}
	dr, _ := DR(by, w, r, zero, zero)
	near(t, "DR(q=0)", dr.Value, ips.Value, 1e-12)
	near(t, "DR(q=0) se", dr.StdErr, ips.StdErr, 1e-12)
	dm, _ := DM(by, qp)
	dr, _ = DR(by, zero, r, q, qp)
	near(t, "DR(w=0)", dr.Value, dm.Value, 1e-12)
	ones := make([]float64, len(w))
	for i := range ones {
		ones[i] = 1
	}
	sn, _ := SNIPS(by, ones, r)
	near(t, "SNIPS(π=μ)", sn.Value, sum(r)/float64(len(r)), 1e-12)
	// A constant reward is known exactly by SNIPS whatever the weights.
	c := make([]float64, len(w))
	for i := range c {
		c[i] = 7.25
	}
	sn, _ = SNIPS(by, w, c)
	near(t, "SNIPS(constant)", sn.Value, 7.25, 1e-12)
	near(t, "SNIPS(constant) se", sn.StdErr, 0, 1e-12)
}

// sample draws rows of clustered customers; most rewards are zero.
func sample(seed uint64, customers, most int) (w, r, q, qp []float64, by Customers) {
	rng := rand.New(rand.NewPCG(seed, 7))
	by = Customers{0}
	for range customers {
		for range 1 + rng.IntN(most) {
			x := 0.0
			if rng.Float64() < 0.15 {
				x = 1 + 10*rng.Float64()
			}
			w = append(w, float64(rng.IntN(4))*(0.5+rng.Float64()))
			r = append(r, x)
			q = append(q, rng.Float64())
			qp = append(qp, rng.Float64())
		}
		by = append(by, len(w))
	}
	return
}

type totals struct {
	ips   IPSTotal
	snips SNIPSTotal
	dm    DMTotal
	dr    DRTotal
	d     Weighing
	wl    WeightLikelihood
	dl    Likelihood
	bet   Betting
}

func newTotals() *totals {
	return &totals{wl: WeightLikelihood{Origin: 0.5}, dl: Likelihood{Origin: 0.5}, bet: Betting{Bound: 11, Scale: 11}}
}

func (s *totals) add(c *Customer) {
	s.ips.Add(c)
	s.snips.Add(c)
	s.dm.Add(c)
	s.dr.Add(c)
	s.d.Add(c)
	s.wl.Add(c)
	s.dl.Add(c.Rows, c.Weight-c.Support, c.Model+c.Correction)
	s.bet.Add(c.Rows, c.WeightedReward-c.Reward)
}

func (s *totals) merge(o *totals) {
	s.ips.Merge(&o.ips)
	s.snips.Merge(&o.snips)
	s.dm.Merge(&o.dm)
	s.dr.Merge(&o.dr)
	s.d.Merge(&o.d)
	s.wl.Merge(&o.wl)
	s.dl.Merge(&o.dl)
	s.bet.Merge(&o.bet)
}

func (s *totals) numbers(t *testing.T) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	put := func(name string, e Estimate, err error) {
		if err != nil {
			t.Fatal(name, err)
		}
		out[name], out[name+" se"] = e.Value, e.StdErr
	}
	e, err := s.ips.Estimate()
	put("ips", e, err)
	e, err = s.snips.Estimate()
	put("snips", e, err)
	e, err = s.dm.Estimate()
	put("dm", e, err)
	e, err = s.dr.Estimate()
	put("dr", e, err)
	d := s.d.Estimate()
	out["ess"], out["matched"], out["max"], out["z"], out["share"] = d.ESS, d.MatchedConversions, d.MaxWeight, d.WeightZ, d.LargestShare
	v, iv, err := s.wl.Value(20, 0, 11, 0.95)
	if err != nil {
		t.Fatal(err)
	}
	out["el"], out["el low"], out["el high"] = v, iv.Low, iv.High
	v, iv, err = s.dl.Interval(Support{UMax: 20, Mean: 1, GMax: 1, EMin: -1, EMax: 11}, -10, 20, 0.95)
	if err != nil {
		t.Fatal(err)
	}
	out["el dr"], out["el dr low"], out["el dr high"] = v, iv.Low, iv.High
	out["bet"], err = s.bet.Lower(0.05)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Any split of the customers, merged in any order, gives the same numbers as
// all at once, and the accumulators agree with the pure functions.
func TestMergeEqualsAllAtOnce(t *testing.T) {
	w, r, q, qp, by := sample(2, 3000, 4)
	customers := make([]Customer, len(by)-1)
	for c := range customers {
		for i := by[c]; i < by[c+1]; i++ {
			customers[c].Add(&Row{Weight: w[i], Reward: r[i], Support: 1, Q: q[i], QPolicy: qp[i], Matched: r[i] > 0})
		}
	}
	all := newTotals()
	for c := range customers {
		all.add(&customers[c])
	}
	want := all.numbers(t)

	for _, f := range []struct {
		name string
		f    func() (Estimate, error)
	}{
		{"ips", func() (Estimate, error) { return IPS(by, w, r) }},
		{"snips", func() (Estimate, error) { return SNIPS(by, w, r) }},
		{"dm", func() (Estimate, error) { return DM(by, qp) }},
		{"dr", func() (Estimate, error) { return DR(by, w, r, q, qp) }},
	} {
		e, err := f.f()
		if err != nil {
			t.Fatal(err)
		}
		near(t, f.name, want[f.name], e.Value, 1e-12)
		near(t, f.name+" se", want[f.name+" se"], e.StdErr, 1e-12)
	}
	near(t, "ess", want["ess"], ESS(by, w), 1e-12)

	rng := rand.New(rand.NewPCG(3, 3))
	for range 4 {
		parts := make([]*totals, 1+rng.IntN(7))
		for i := range parts {
			parts[i] = newTotals()
		}
		for _, c := range rng.Perm(len(customers)) {
			parts[rng.IntN(len(parts))].add(&customers[c])
		}
		got := newTotals()
		for _, i := range rng.Perm(len(parts)) {
			got.merge(parts[i])
		}
		for name, v := range got.numbers(t) {
			tol := 1e-12
			if len(name) > 1 && (name[:2] == "el" || name == "bet") {
				tol = 1e-8 // ends are found by iteration
			}
			near(t, "merged "+name, v, want[name], tol)
		}
	}
}

// A mean a hundred million times the spread loses no digits: Σx² − (Σx)²/n
// gives a variance of 14.7 for .084 here.
func TestLargeMeanKeepsItsVariance(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	var small, large, left, right Ratio
	for i := range 20000 {
		n := float64(1 + i%3)
		x := rng.Float64() * n
		small.Add(x, n)
		large.Add(x+1e8*n, n)
		if i%2 == 0 {
			left.Add(x+1e8*n, n)
		} else {
			right.Add(x+1e8*n, n)
		}
	}
	left.Merge(&right)
	a, _ := small.Estimate()
	b, _ := large.Estimate()
	c, _ := left.Estimate()
	// 1e8 + x holds x to 1.5e-8 only.
	near(t, "value", b.Value-1e8, a.Value, 1e-7)
	if math.Abs(b.StdErr/a.StdErr-1) > 1e-6 || math.Abs(c.StdErr/a.StdErr-1) > 1e-6 {
		t.Errorf("standard errors %g, %g merged, want %g", b.StdErr, c.StdErr, a.StdErr)
	}
}

// §8.3: bias and mean weight within 4 standard errors over 2,000 replications;
// double robustness holds both ways and fails when both models are wrong.
func TestReplications(t *testing.T) {
	w := smallWorld()
	truth := w.value(w.target)
	right := func(x, a int) float64 { return w.rate[x][a] }
	wrong := func(x, a int) float64 { return 0.8 - 0.2*float64(a) }
	rng := rand.New(rand.NewPCG(5, 5))
	type stat struct{ r Ratio }
	got := map[string]*stat{}
	put := func(name string, v float64) {
		if got[name] == nil {
			got[name] = &stat{}
		}
		got[name].r.Add(v, 1)
	}
	for range 2000 {
		counts := w.counts(rng, 400)
		i := 0
		var n, ips, weight, model, prop, both float64
		w.each(func(_ float64, x, a int, r float64) {
			k := float64(counts[i])
			i++
			μ := w.logger[x][a]
			bad := 0.25 // what a logger that only knows the number of actions would say
			π := w.target[x][a]
			n += k
			weight += k * π / μ
			ips += k * π / μ * r
			prop += k * (w.model(x, wrong) + π/μ*(r-wrong(x, a)))
			model += k * (w.model(x, right) + π/bad*(r-right(x, a)))
			both += k * (w.model(x, wrong) + π/bad*(r-wrong(x, a)))
		})
		put("ips", ips/n-truth)
		put("mean weight", weight/n-1)
		put("dr, right propensities", prop/n-truth)
		put("dr, right model", model/n-truth)
		put("dr, both wrong", both/n-truth)
	}
	for name, s := range got {
		e, _ := s.r.Estimate()
		z := math.Abs(e.Value / e.StdErr)
		if name == "dr, both wrong" {
			if z < 8 {
				t.Errorf("%s: bias of %.1f standard errors; the test has no power", name, z)
			}
		} else if z > 4 {
			t.Errorf("%s: off by %.1f standard errors", name, z)
		}
	}
}
