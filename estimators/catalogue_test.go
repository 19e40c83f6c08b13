package estimators

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// clusters of the small world's actions.
var worldClusters = []int{0, 0, 1, 1}

// row of the small world under a model.
func (w *world) row(t *testing.T, x, a int, r float64, q func(x, a int) float64) Row {
	t.Helper()
	c, err := ClusterWeights([][]float64{w.target[x]}, [][]float64{w.logger[x]}, []int{a}, worldClusters)
	if err != nil {
		t.Fatal(err)
	}
	return Row{Weight: w.target[x][a] / w.logger[x][a], Reward: r, Support: 1, Q: q(x, a), QPolicy: w.model(x, q),
		Propensity: w.logger[x][a], Cluster: c[0], Mixture: w.target[x][a] / w.logger[x][a], Stability: 0.7}
}

// §8.1 for every estimator that claims to be unbiased, each row alone.
func TestUnbiasedEstimatorsByEnumeration(t *testing.T) {
	w := smallWorld()
	wrong := func(x, a int) float64 { return 0.7 - 0.1*float64(a) + 0.3*float64(x) }
	right := func(x, a int) float64 { return w.rate[x][a] }
	byCluster := smallWorld() // actions act through their cluster alone
	for x := range byCluster.rate {
		for a, c := range worldClusters {
			byCluster.rate[x][a] = []float64{0.15, 0.4}[c] + 0.05*float64(x)
		}
	}
	// The differences within a cluster are right, the level is not.
	offset := func(x, a int) float64 { return w.rate[x][a] + []float64{0.3, -0.2}[worldClusters[a]]*float64(x+1) }
	for _, c := range []struct {
		spec string
		w    *world
		q    func(x, a int) float64
	}{
		{"ips", w, wrong}, {"clipped_ips:max=inf", w, wrong}, {"subgaussian_ips:lambda=0", w, wrong}, {"log_smoothing:lambda=0", w, wrong},
		{"beta_ips:beta=0.3", w, wrong}, {"balanced", w, wrong}, {"adaptive_aipw", w, wrong},
		{"dr", w, wrong}, {"dr", w, right}, {"mrdr", w, wrong}, {"clipped_dr:max=inf", w, wrong}, {"switch_dr:tau=inf", w, wrong},
		{"dros:lambda=inf", w, wrong}, {"subgaussian_dr:lambda=0", w, wrong},
		{"dm", w, right}, {"switch_dr:tau=1", w, right}, {"dros:lambda=1", w, right}, {"clipped_dr:max=1", w, right}, {"subgaussian_dr:lambda=0.5", w, right},
		{"mips", byCluster, wrong}, {"offcem", w, offset}, {"offcem", byCluster, func(x, a int) float64 { return 0 }},
	} {
		choice, err := ParseChoice(c.spec)
		if err != nil {
			t.Fatal(err)
		}
		expected := 0.0
		c.w.each(func(p float64, x, a int, r float64) {
			acc := choice.New()
			acc.Add([]Row{c.w.row(t, x, a, r, c.q)})
			e, err := acc.Estimate()
			if err != nil {
				t.Fatal(c.spec, err)
			}
			expected += p * e.Value
		})
		near(t, "E["+c.spec+"]", expected, c.w.value(c.w.target), 1e-12)
	}
	// Where actions differ within clusters MIPS is biased, and the test sees it.
	biased := 0.0
	w.each(func(p float64, x, a int, r float64) { biased += p * w.row(t, x, a, r, wrong).Cluster * r })
	if math.Abs(biased-w.value(w.target)) < 0.005 {
		t.Errorf("MIPS without its assumption: %g, truth %g: the test has no power", biased, w.value(w.target))
	}
}

// Two loggers: the balanced weights are those of the mixture, each row's own
// would be unbiased as well, and only the balanced ones stay small.
func TestBalancedByEnumeration(t *testing.T) {
	w := smallWorld()
	second := [][]float64{{0.1, 0.1, 0.4, 0.4}, {0.7, 0.1, 0.1, 0.1}, {0.3, 0.3, 0.3, 0.1}}
	rows := []float64{300, 100}
	expected, variance := 0.0, [2]float64{}
	for k, μ := range [][][]float64{w.logger, second} {
		for x, px := range w.context {
			for a := range w.target[x] {
				b, err := BalancedWeights([]float64{w.target[x][a]}, [][]float64{{w.logger[x][a]}, {second[x][a]}}, rows)
				if err != nil {
					t.Fatal(err)
				}
				p := rows[k] / 400 * px * μ[x][a]
				own := w.target[x][a] / μ[x][a]
				expected += p * b[0] * w.rate[x][a]
				variance[0] += p * b[0] * b[0] * w.rate[x][a]
				variance[1] += p * own * own * w.rate[x][a]
			}
		}
	}
	near(t, "E[balanced]", expected, w.value(w.target), 1e-12)
	if !(variance[0] < variance[1]) {
		t.Errorf("second moments: balanced %g, own propensities %g", variance[0], variance[1])
	}
}

// everyAccumulator of the catalogue, at its default, one extreme and by SLOPE.
func everyAccumulator(t *testing.T) map[string]func() Accumulator {
	out := map[string]func() Accumulator{}
	for _, d := range Catalogue() {
		specs := []string{d.Name}
		if p := d.Parameter; p != nil && p.Grid != nil {
			specs = append(specs, d.Name+":"+p.Name+"=slope", d.Name+":"+p.Name+"=0.5")
		}
		for _, s := range specs {
			c, err := ParseChoice(s)
			if err != nil {
				t.Fatal(err)
			}
			out[s] = c.New
		}
	}
	out["beta_ips:beta=1"] = func() Accumulator { return NewFixedBetaIPS(1) }
	return out
}

// sampleRows fills every column. Replay wants a certain candidate and a uniform
// logger, so certain makes one.
func sampleRows(seed uint64, customers int, certain bool) [][]Row {
	rng := rand.New(rand.NewPCG(seed, 5))
	out := make([][]Row, customers)
	for c := range out {
		for range 1 + rng.IntN(3) {
			r := Row{Weight: float64(rng.IntN(3)) * (0.5 + rng.Float64()), Support: 1, Q: rng.Float64(), QPolicy: rng.Float64(), Propensity: 0.25,
				Cluster: 2 * rng.Float64(), Mixture: 2 * rng.Float64(), Stability: 0.5 + rng.Float64()}
			if certain {
				r.Weight = float64(4 * rng.IntN(2))
			}
			if rng.Float64() < 0.2 {
				r.Reward = 1 + 10*rng.Float64()
			}
			for range 3 {
				r.Slots = append(r.Slots, Slot{Weight: 2 * rng.Float64(), Marginal: 2 * rng.Float64(), Reward: rng.Float64(), Q: rng.Float64(), QPolicy: rng.Float64()})
			}
			out[c] = append(out[c], r)
		}
	}
	return out
}

// §8.7 for the whole catalogue: any split, any order.
func TestMergeOfTheCatalogue(t *testing.T) {
	for name, build := range everyAccumulator(t) {
		customers := sampleRows(81, 700, name == "replay")
		all := build()
		for _, c := range customers {
			all.Add(c)
		}
		want, err := all.Estimate()
		if err != nil {
			t.Fatal(name, err)
		}
		rng := rand.New(rand.NewPCG(82, 3))
		for range 3 {
			parts := make([]Accumulator, 1+rng.IntN(6))
			for i := range parts {
				parts[i] = build()
			}
			for _, c := range rng.Perm(len(customers)) {
				parts[rng.IntN(len(parts))].Add(customers[c])
			}
			got := build()
			for _, i := range rng.Perm(len(parts)) {
				got.Merge(parts[i])
			}
			e, err := got.Estimate()
			if err != nil {
				t.Fatal(name, err)
			}
			near(t, name, e.Value, want.Value, 1e-12)
			near(t, name+" se", e.StdErr, want.StdErr, 1e-12)
			if e.Customers != 700 || !(e.StdErr > 0) {
				t.Errorf("%s: %+v", name, e)
			}
		}
	}
}

// The accumulators agree with the functions of slices, which are written apart
// for the estimators that are no plain ratio.
func TestAccumulatorsAgreeWithSlices(t *testing.T) {
	w, r, q, qp, by := sample(91, 600, 4)
	for i := range r {
		r[i] += 1e6 // a large mean loses no digits
		q[i] += 1e6
		qp[i] += 1e6
	}
	feed := func(a Accumulator) Estimate {
		for c := 1; c < len(by); c++ {
			var rows []Row
			for i := by[c-1]; i < by[c]; i++ {
				rows = append(rows, Row{Weight: w[i], Reward: r[i], Q: q[i], QPolicy: qp[i]})
			}
			a.Add(rows)
		}
		e, err := a.Estimate()
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	want, err := SNDR(by, w, r, q, qp)
	if err != nil {
		t.Fatal(err)
	}
	got := feed(new(SNDRTotal))
	near(t, "SNDR", got.Value, want.Value, 1e-12)
	if math.Abs(got.StdErr/want.StdErr-1) > 1e-6 {
		t.Errorf("SNDR: standard error %g, by slices %g", got.StdErr, want.StdErr)
	}
	// β-IPS against its definition, and its standard error against the jackknife.
	estimate := func(skip int) float64 {
		var n, wr, sw, t, u float64
		for c := 1; c < len(by); c++ {
			if c == skip {
				continue
			}
			for i := by[c-1]; i < by[c]; i++ {
				x := r[i] - 1e6
				n, wr, sw, t, u = n+1, wr+w[i]*x, sw+w[i], t+(w[i]*w[i]-w[i])*x, u+w[i]*w[i]-w[i]
			}
		}
		β := t / u
		return wr/n - β*(sw/n-1) + 1e6
	}
	b := new(BetaIPSTotal)
	got = feed(b)
	near(t, "β-IPS", got.Value, estimate(-1), 1e-12)
	var jack Ratio
	for c := 1; c < len(by); c++ {
		jack.Add(estimate(c), 1)
	}
	e, _ := jack.Estimate()
	if se := e.StdErr * float64(len(by)-2); math.Abs(got.StdErr/se-1) > 0.05 {
		t.Errorf("β-IPS: standard error %g, jackknife %g", got.StdErr, se)
	}
}

func TestParseChoice(t *testing.T) {
	for _, s := range []string{"dr", "dros:lambda=1", "switch_dr:tau=inf", "clipped_ips:max=slope", "beta_ips", "beta_ips:beta=-0.5", "subgaussian_dr:lambda=0.05"} {
		c, err := ParseChoice(s)
		if err != nil || c.String() != s {
			t.Errorf("%s: %v, %v", s, c.String(), err)
		}
	}
	if c, err := ParseChoice(" Switch-DR "); err != nil || c.String() != "switch_dr:tau=10" {
		t.Errorf("defaults: %v, %v", c, err)
	}
	for s, says := range map[string]string{
		"doubly": "is not one of ips", "dr:lambda=1": "has no parameter", "dros:tau=1": "dros:lambda=100", "dros:lambda": "dros:lambda=100",
		"dros:lambda=-1": "must be a number in [0, +Inf]", "subgaussian_ips:lambda=2": "[0, 1]", "dros:lambda=nan": "must be a number",
		"beta_ips:beta=slope": "no order of bias", "log_smoothing:lambda=inf": "must be a number",
	} {
		if _, err := ParseChoice(s); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", s, err, says)
		}
	}
	for _, d := range Catalogue() {
		if d.Formula == "" || d.Source == "" || d.Note == "" || len(d.Columns) == 0 {
			t.Errorf("%s is not described: %+v", d.Name, d)
		}
	}
	for _, n := range DefaultEstimators {
		if _, err := ParseChoice(n); err != nil {
			t.Error(err)
		}
	}
}
