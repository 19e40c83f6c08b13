package estimators

import (
	"errors"
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

// §8.2.
func TestIdentitiesOfTheCatalogue(t *testing.T) {
	w, r, q, qp, by := sample(71, 400, 3)
	zero, ones := make([]float64, len(w)), make([]float64, len(w))
	action, cluster := make([]int, len(w)), []int{3, 1, 2}
	var π, μ [][]float64
	own := make([]float64, len(w))
	rng := rand.New(rand.NewPCG(71, 1))
	propensity, probability := make([]float64, len(w)), make([]float64, len(w))
	for i := range w {
		ones[i] = 1
		a, b := 0.1+0.8*rng.Float64(), 0.1+0.8*rng.Float64()
		π, μ = append(π, []float64{a, (1 - a) / 2, (1 - a) / 2}), append(μ, []float64{b, (1 - b) / 3, 2 * (1 - b) / 3})
		action[i] = rng.IntN(3)
		probability[i], propensity[i] = π[i][action[i]], μ[i][action[i]]
		own[i] = probability[i] / propensity[i]
	}
	must := func(e Estimate, err error) Estimate {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	same := func(name string, got, want Estimate) {
		t.Helper()
		near(t, name, got.Value, want.Value, 1e-12)
		near(t, name+" se", got.StdErr, want.StdErr, 1e-12)
	}
	ips, dr, dm, snips := must(IPS(by, w, r)), must(DR(by, w, r, q, qp)), must(DM(by, qp)), must(SNIPS(by, w, r))
	inf := math.Inf(1)
	same("clipped at +Inf", must(ClippedIPS(by, w, r, inf)), ips)
	same("clipped DR at +Inf", must(ClippedDR(by, w, r, q, qp, inf)), dr)
	same("clipped DR at 0", must(ClippedDR(by, w, r, q, qp, 0)), dm)
	same("SWITCH at +Inf", must(SwitchDR(by, w, r, q, qp, inf)), dr)
	same("SWITCH at 0", must(SwitchDR(by, w, r, q, qp, 0)), dm)
	same("DRos at +Inf", must(DRos(by, w, r, q, qp, inf)), dr)
	same("DRos at 0", must(DRos(by, w, r, q, qp, 0)), dm)
	same("sub-Gaussian IPS at 0", must(SubGaussianIPS(by, w, r, 0)), ips)
	same("sub-Gaussian DR at 0", must(SubGaussianDR(by, w, r, q, qp, 0)), dr)
	same("log-smoothing at 0", must(LogSmoothing(by, w, r, 0)), ips)
	same("β-IPS at β = 0", must(FixedBetaIPS(by, w, r, 0)), ips)
	same("SNDR(q = 0)", must(SNDR(by, w, r, zero, zero)), snips)
	same("DRos(q = 0, +Inf)", must(DRos(by, w, r, zero, zero, inf)), ips)
	cw, err := ClusterWeights(π, μ, action, cluster)
	if err != nil {
		t.Fatal(err)
	}
	same("MIPS with e = a", must(MIPS(by, cw, r)), must(IPS(by, own, r)))
	same("OffCEM with c = a", must(OffCEM(by, cw, r, q, qp)), must(DR(by, own, r, q, qp)))
	cw, _ = ClusterWeights(π, μ, action, []int{5, 5, 5})
	same("OffCEM in one cluster, f = 0", must(OffCEM(by, cw, r, zero, zero)), must(IPS(by, ones, r)))
	bw, err := BalancedWeights(probability, [][]float64{propensity}, []float64{float64(len(w))})
	if err != nil {
		t.Fatal(err)
	}
	same("balanced with one logger", must(Balanced(by, bw, r)), must(IPS(by, own, r)))
	mean := must(IPS(by, ones, r))
	same("SNIPS(π = μ)", must(SNIPS(by, ones, r)), mean)
	same("β-IPS(π = μ)", must(BetaIPS(by, ones, r)), mean)
	same("sub-Gaussian IPS at 1 of positive weights", must(SubGaussianIPS(by, own, r, 1)), mean)
	same("adaptive AIPW with h constant", must(AdaptiveAIPW(by, ones, w, r, q, qp)), dr)
	agrees, third := make([]bool, len(w)), make([]float64, len(w))
	for i := range w {
		agrees[i], third[i] = w[i] > 0, 1.0/3
	}
	uniform := make([]float64, len(w))
	for i := range w {
		if agrees[i] {
			uniform[i] = 3
		}
	}
	same("replay", must(Replay(by, agrees, third, r)), must(SNIPS(by, uniform, r)))
	var lists, single [][]Slot
	for i := range w {
		lists = append(lists, []Slot{{Weight: w[i], Marginal: w[i], Reward: r[i], Q: q[i], QPolicy: qp[i]}})
		single = append(single, []Slot{{Weight: w[i], Marginal: w[i], Reward: r[i]}})
	}
	same("cascade-DR of one slot", must(CascadeDR(by, lists)), dr)
	same("position-wise IPS of one slot", must(PositionIPS(by, single)), ips)
	// Shrinkage is below its limit everywhere in between.
	for _, λ := range []float64{1e-300, 1e-3, 1, 1e300} {
		if s := shrunk(3, λ); !(s >= 0 && s <= 3) {
			t.Errorf("λ = %g: weight 3 becomes %g", λ, s)
		}
	}
	// A smaller baseline variance than IPS, on rewards with a level.
	far := make([]float64, len(r))
	for i := range r {
		far[i] = r[i] + 1000
	}
	b, i := must(BetaIPS(by, own, far)), must(IPS(by, own, far))
	if !(b.StdErr < i.StdErr/50) {
		t.Errorf("β-IPS has standard error %g, IPS %g", b.StdErr, i.StdErr)
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

// Every estimator refuses what it cannot use and names the row, or gives a
// number: never NaN.
func TestBadInputToTheCatalogue(t *testing.T) {
	nan, infinite := math.NaN(), math.Inf(1)
	spoil := map[string]func(r *Row){
		"weight": func(r *Row) {
			r.Weight, r.Cluster, r.Mixture, r.Slots[1].Weight, r.Slots[1].Marginal = nan, nan, nan, nan, nan
		},
		"negative": func(r *Row) {
			r.Weight, r.Cluster, r.Mixture, r.Slots[1].Weight, r.Slots[1].Marginal = -1, -1, -1, -1, -1
		},
		"infinite": func(r *Row) {
			r.Weight, r.Cluster, r.Mixture, r.Slots[1].Weight, r.Slots[1].Marginal = infinite, infinite, infinite, infinite, infinite
		},
		"reward":      func(r *Row) { r.Reward, r.Slots[2].Reward = nan, nan },
		"model":       func(r *Row) { r.Q, r.QPolicy, r.Slots[2].Q = nan, nan, nan },
		"stability":   func(r *Row) { r.Stability = 0 },
		"propensity":  func(r *Row) { r.Propensity = 0 },
		"uncertain":   func(r *Row) { r.Weight = 2 },
		"not uniform": func(r *Row) { r.Propensity = 0.5; r.Weight = 2 },
		"no slots":    func(r *Row) { r.Slots = nil },
		"loss":        func(r *Row) { r.Reward = -1 },
	}
	refused := map[string]string{
		"weight": "not dm", "negative": "not dm", "infinite": "not dm", "reward": "not dm",
		"stability": "adaptive_aipw", "propensity": "replay", "uncertain": "replay", "not uniform": "replay", "no slots": "position_ips cascade_dr", "loss": "log_smoothing",
		"model": "dm dr clipped_dr sndr switch_dr dros mrdr subgaussian_dr offcem adaptive_aipw cascade_dr",
	}
	for name, build := range everyAccumulator(t) {
		base, _, _ := strings.Cut(name, ":")
		for what, f := range spoil {
			customers := sampleRows(1, 30, base == "replay")
			row := 0
			for _, c := range customers[:20] {
				row += len(c)
			}
			f(&customers[20][0])
			a := build()
			for _, c := range customers {
				a.Add(c)
			}
			e, err := a.Estimate()
			must := strings.Contains(" "+refused[what]+" ", " "+base+" ")
			if strings.HasPrefix(refused[what], "not") {
				must = !strings.Contains(refused[what], base)
			}
			var re *RowError
			switch {
			case err == nil && (math.IsNaN(e.Value) || math.IsInf(e.Value, 0)):
				t.Errorf("%s, %s: %v", name, what, e)
			case must && (!errors.As(err, &re) || re.Row != row):
				t.Errorf("%s, %s: %v, want row %d", name, what, err, row)
			case err != nil && !errors.As(err, &re):
				t.Errorf("%s, %s: %v", name, what, err)
			}
			// What was bad in one part is bad in the whole.
			whole := build()
			whole.Merge(a)
			if _, again := whole.Estimate(); (again == nil) != (err == nil) {
				t.Errorf("%s, %s: merged %v, alone %v", name, what, again, err)
			}
		}
		// Degenerate logs.
		if _, err := build().Estimate(); !errors.Is(err, ErrEmpty) {
			t.Errorf("%s of an empty log: %v", name, err)
		}
		none := build()
		for _, c := range sampleRows(2, 30, base == "replay") {
			for i := range c {
				c[i].Weight, c[i].Cluster, c[i].Mixture = 0, 0, 0
			}
			none.Add(c)
		}
		if e, err := none.Estimate(); err != nil && !errors.Is(err, ErrNoWeight) || err == nil && (math.IsNaN(e.Value) || math.IsNaN(e.StdErr)) {
			t.Errorf("%s of weights that are all zero: %v, %v", name, e, err)
		}
		one := build()
		one.Add(sampleRows(4, 1, true)[0])
		if e, err := one.Estimate(); err != nil && !errors.Is(err, ErrNoWeight) || err == nil && (math.IsNaN(e.Value) || !math.IsNaN(e.StdErr)) {
			t.Errorf("%s of one customer: %v, %v", name, e, err)
		}
		constant := build()
		for _, c := range sampleRows(3, 50, base == "replay") {
			for i := range c {
				c[i].Reward = 7.25
			}
			constant.Add(c)
		}
		e, err := constant.Estimate()
		if err != nil || math.IsNaN(e.Value) {
			t.Errorf("%s of a constant reward: %v, %v", name, e, err)
		}
		if base == "snips" || base == "replay" {
			near(t, name+" of a constant reward", e.Value, 7.25, 1e-12)
			near(t, name+" se of a constant reward", e.StdErr, 0, 1e-12)
		}
	}
	for what, f := range map[string]func() error{
		"sum": func() error {
			_, err := ClusterWeights([][]float64{{.5, .6}}, [][]float64{{.5, .5}}, []int{0}, []int{0, 1})
			return err
		},
		"logged": func() error {
			_, err := ClusterWeights([][]float64{{.5, .5}}, [][]float64{{.5, .6}}, []int{0}, []int{0, 1})
			return err
		},
		"above 1": func() error {
			_, err := ClusterWeights([][]float64{{1.5, -.5}}, [][]float64{{.5, .5}}, []int{0}, []int{0, 1})
			return err
		},
		"no mass": func() error {
			_, err := ClusterWeights([][]float64{{.5, .5}}, [][]float64{{0, 1}}, []int{0}, []int{0, 1})
			return err
		},
		"action": func() error {
			_, err := ClusterWeights([][]float64{{.5, .5}}, [][]float64{{.5, .5}}, []int{2}, []int{0, 1})
			return err
		},
		"mixture": func() error {
			_, err := BalancedWeights([]float64{.5}, [][]float64{{0}, {0}}, []float64{1, 1})
			return err
		},
		"of logger": func() error {
			_, err := BalancedWeights([]float64{.5}, [][]float64{{.5}, {nan}}, []float64{1, 1})
			return err
		},
		"reference": func() error { _, err := StabilityWeight([][]float64{{.5, .5}}, [][]float64{{1, 0}}); return err },
		"mrdr":      func() error { _, err := MRDRWeights([]float64{.5}, []float64{0}); return err },
		"feature": func() error {
			_, err := MRDR(nil, []float64{1}, []float64{1}, [][]float64{{nan}}, [][]float64{{1}}, 2, 1e-9)
			return err
		},
	} {
		var re *RowError
		if err := f(); !errors.As(err, &re) || re.Row != 0 {
			t.Errorf("%s: %v", what, err)
		}
	}
	for name, f := range map[string]func(){
		"lengths":    func() { _, _ = DRos(nil, []float64{1}, []float64{1, 2}, nil, nil, 1) },
		"λ":          func() { NewDRos(-1) },
		"NaN":        func() { NewSwitchDR(nan) },
		"estimators": func() { NewIPS().Merge(NewSNIPS()) },
		"parameters": func() { NewDRos(1).Merge(NewDRos(2)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s that disagree do not panic", name)
				}
			}()
			f()
		}()
	}
}
