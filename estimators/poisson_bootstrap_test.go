package estimators

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
)

// The counts follow Poisson(1): a χ² over 8 million of them, and no correlation
// between replicates or between customers.
func TestPoissonCounts(t *testing.T) {
	const customers, replicates = 8000, 1000
	var seen [12]float64
	count, before := make([]float64, replicates), make([]float64, replicates)
	var acrossReplicates, acrossCustomers float64
	for c := range customers {
		poissonCounts(count, mix(uint64(c)^mix(7)))
		for k, x := range count {
			seen[min(int(x), 11)]++
			acrossCustomers += (x - 1) * (before[k] - 1)
			if k > 0 {
				acrossReplicates += (x - 1) * (count[k-1] - 1)
			}
		}
		copy(before, count)
	}
	n, p, chi := float64(customers*replicates), math.Exp(-1), 0.0
	rest := 1.0
	for k := range 11 {
		chi += (seen[k] - n*p) * (seen[k] - n*p) / (n * p)
		rest -= p
		p /= float64(k + 1)
	}
	t.Logf("χ² %.1f on 10 degrees, correlations %.2g and %.2g", chi, acrossReplicates/n, acrossCustomers/n)
	if chi > 30 || seen[11] > 20 || rest < 0 {
		t.Errorf("χ² %.1f, %v", chi, seen)
	}
	if math.Abs(acrossReplicates)/n > 4/math.Sqrt(n) || math.Abs(acrossCustomers)/n > 4/math.Sqrt(n) {
		t.Errorf("correlations %g and %g", acrossReplicates/n, acrossCustomers/n)
	}
}

func TestPoissonBootstrap(t *testing.T) {
	w, r, q, qp, by := sample(101, 4000, 3)
	build := func() *PoissonBootstrap { return NewPoissonBootstrap(4, Replicates, 3) }
	add := func(b *PoissonBootstrap, c int) {
		v := make([]float64, 4)
		for i := by[c]; i < by[c+1]; i++ {
			v[0] += w[i] * r[i]
			v[1] += w[i]
			v[2]++
			v[3] += qp[i] + w[i]*(r[i]-q[i])
		}
		b.Add(uint64(c), v, v[0] != 0)
	}
	all := build()
	for c := range len(by) - 1 {
		add(all, c)
	}
	rng := rand.New(rand.NewPCG(102, 1))
	parts := []*PoissonBootstrap{build(), build(), build()}
	for _, c := range rng.Perm(len(by) - 1) {
		add(parts[rng.IntN(3)], c)
	}
	merged := build()
	for _, i := range rng.Perm(3) {
		merged.Merge(parts[i])
	}
	for name, f := range map[string]struct {
		f    func(s []float64) float64
		want func() (Estimate, error)
	}{
		"IPS":   {func(s []float64) float64 { return s[0] / s[2] }, func() (Estimate, error) { return IPS(by, w, r) }},
		"SNIPS": {func(s []float64) float64 { return s[0] / s[1] }, func() (Estimate, error) { return SNIPS(by, w, r) }},
		"DR":    {func(s []float64) float64 { return s[3] / s[2] }, func() (Estimate, error) { return DR(by, w, r, q, qp) }},
	} {
		e, iv, err := all.Estimate(f.f, 0.95)
		if err != nil {
			t.Fatal(err)
		}
		m, miv, err := merged.Estimate(f.f, 0.95)
		if err != nil {
			t.Fatal(err)
		}
		near(t, name+" merged", m.Value, e.Value, 1e-12)
		near(t, name+" merged se", m.StdErr, e.StdErr, 1e-12)
		near(t, name+" merged low", miv.Low, iv.Low, 1e-12)
		near(t, name+" merged high", miv.High, iv.High, 1e-12)
		want, err := f.want()
		if err != nil {
			t.Fatal(err)
		}
		near(t, name, e.Value, want.Value, 1e-12)
		// 1,000 replicates know their spread to 2.2%.
		if math.Abs(e.StdErr/want.StdErr-1) > 0.09 {
			t.Errorf("%s: bootstrap standard error %g, linearised %g", name, e.StdErr, want.StdErr)
		}
		normal := want.Normal(0.95)
		if d := 0.15 * (normal.High - normal.Low); math.Abs(iv.Low-normal.Low) > d || math.Abs(iv.High-normal.High) > d {
			t.Errorf("%s: %+v, normal %+v", name, iv, normal)
		}
	}
	few := NewPoissonBootstrap(2, 100, 1)
	for i := range 99 {
		few.Add(uint64(i), []float64{1, 1}, true)
	}
	if _, _, err := few.Estimate(func(s []float64) float64 { return s[0] }, 0.95); !errors.Is(err, ErrFewConversions) {
		t.Errorf("99 conversions: %v", err)
	}
	if _, _, err := build().Estimate(nil, 0.95); !errors.Is(err, ErrEmpty) {
		t.Errorf("nobody: %v", err)
	}
	num, den := make([]float64, len(w)), make([]float64, len(w))
	for i := range w {
		num[i], den[i] = w[i]*r[i], w[i]
	}
	e, iv, err := Bootstrap(by, num, den, Replicates, 3, 0.95)
	if err != nil {
		t.Fatal(err)
	}
	f, fiv, _ := all.Estimate(func(s []float64) float64 { return s[0] / s[1] }, 0.95)
	near(t, "by slices", e.Value, f.Value, 1e-12)
	near(t, "low by slices", iv.Low, fiv.Low, 1e-12)
	near(t, "high by slices", iv.High, fiv.High, 1e-12)
	if _, _, err := Bootstrap(nil, []float64{math.NaN()}, []float64{1}, 10, 1, .95); err == nil {
		t.Error("NaN passes")
	}
}

// Coverage .95 ± .0195 with plenty of conversions.
func TestBootstrapCoverage(t *testing.T) {
	reps := 400
	if testing.Short() {
		reps = 150
	}
	g := newRareLog(0.3)
	rng := rand.New(rand.NewPCG(103, 1))
	var poisson, studentised float64
	for rep := range reps {
		count, w, r := g.draw(rng, 3000)
		boot, bt := NewPoissonBootstrap(2, 400, uint64(rep)), NewBootstrapT(0, 400, uint64(rep))
		id := uint64(0)
		for k := range count {
			for range int(count[k]) {
				boot.Add(id, []float64{w[k] * r[k], 1}, w[k]*r[k] > 0)
				bt.Add(id, w[k]*r[k], 1, w[k]*r[k] > 0)
				id++
			}
		}
		_, iv, err := boot.Estimate(func(s []float64) float64 { return s[0] / s[1] }, 0.95)
		if err != nil {
			t.Fatal(err)
		}
		if iv.Low <= g.rate && g.rate <= iv.High {
			poisson++
		}
		if _, iv, err = bt.Interval(0, 1, 0.95); err != nil {
			t.Fatal(err)
		}
		if iv.Low <= g.rate && g.rate <= iv.High {
			studentised++
		}
	}
	t.Logf("coverage: Poisson bootstrap %.3f, bootstrap-t %.3f", poisson/float64(reps), studentised/float64(reps))
	slack := 0.0195 + 3*math.Sqrt(0.95*0.05/float64(reps))
	for name, k := range map[string]float64{"Poisson bootstrap": poisson, "bootstrap-t": studentised} {
		if math.Abs(k/float64(reps)-0.95) > slack {
			t.Errorf("%s covers %.3f", name, k/float64(reps))
		}
	}
}

func TestBootstrapT(t *testing.T) {
	w, r, _, _, by := sample(104, 1500, 3)
	build := func() *BootstrapT { return NewBootstrapT(0.2, 500, 9) }
	all, left, right := build(), build(), build()
	for c := range len(by) - 1 {
		var x, d float64
		for i := by[c]; i < by[c+1]; i++ {
			x, d = x+w[i]*r[i], d+w[i]
		}
		to := left
		if c%3 == 0 {
			to = right
		}
		all.Add(uint64(c), x, d, x > 0)
		to.Add(uint64(c), x, d, x > 0)
	}
	right.Merge(left)
	e, iv, err := all.Interval(0, 11, 0.95)
	if err != nil {
		t.Fatal(err)
	}
	m, miv, err := right.Interval(0, 11, 0.95)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "merged low", miv.Low, iv.Low, 1e-12)
	near(t, "merged high", miv.High, iv.High, 1e-12)
	near(t, "merged", m.Value, e.Value, 1e-12)
	want, _ := SNIPS(by, w, r)
	near(t, "value", e.Value, want.Value, 1e-12)
	near(t, "se", e.StdErr, want.StdErr, 1e-10)
	if n := want.Normal(.95); !(iv.High-want.Value > want.Value-iv.Low) || math.Abs((iv.High-iv.Low)/(n.High-n.Low)-1) > 0.2 {
		t.Errorf("bootstrap-t %+v around %g, normal %+v: it should lean upwards", iv, want.Value, n)
	}
	constant := NewBootstrapT(0, 100, 1)
	for i := range 50 {
		constant.Add(uint64(i), 2, 1, true)
	}
	if e, iv, err := constant.Interval(0, 10, 0.95); err != nil || iv.Low != 2 || iv.High != 2 || e.StdErr != 0 {
		t.Errorf("constant: %+v %+v %v", e, iv, err)
	}
	few := build()
	few.Add(1, 1, 1, true)
	if _, _, err := few.Interval(0, 1, 0.95); !errors.Is(err, ErrFewConversions) {
		t.Errorf("one conversion: %v", err)
	}
	if _, _, err := build().Interval(0, 1, 0.95); !errors.Is(err, ErrEmpty) {
		t.Errorf("nobody: %v", err)
	}
}

// One operation is one customer in 1,000 replicates of four sums, one customer
// in twenty with a reward.
func BenchmarkPoissonBootstrap(b *testing.B) {
	boot := NewPoissonBootstrap(4, Replicates, 1)
	v := []float64{0, 1.5, 1, 0.02}
	for i := range b.N {
		v[0] = 0
		if i%20 == 0 {
			v[0] = 1.5
		}
		boot.Add(uint64(i), v, i%20 == 0)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/Replicates, "ns/customer-replicate")
}
