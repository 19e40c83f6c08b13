package estimators

import (
	"math"
	"math/rand/v2"
	"testing"
)

// outcome is what one customer can do, for enumerations.
type outcome struct {
	probability float64
	candidate   bool
	y           float64
}

// enumerate calls visit with every sequence of outcomes and its probability.
func enumerate(customers [][]outcome, visit func(path []outcome, probability float64)) {
	path := make([]outcome, 0, len(customers))
	var walk func(probability float64)
	walk = func(probability float64) {
		if len(path) == len(customers) {
			visit(path, probability)
			return
		}
		for _, o := range customers[len(path)] {
			path = append(path, o)
			walk(probability * o.probability)
			path = path[:len(path)-1]
		}
	}
	walk(1)
}

// converting returns the outcomes of customers whose conversion rate drifts
// from .1 to .4 under control and is ratio times that under the candidate.
func converting(n int, share, ratio float64) [][]outcome {
	var customers [][]outcome
	for i := range n {
		base := .1 + .3*float64(i)/float64(n)
		customers = append(customers, []outcome{
			{share * base, false, 1},
			{share * (1 - base), false, 0},
			{(1 - share) * base * ratio, true, 1},
			{(1 - share) * (1 - base*ratio), true, 0},
		})
	}
	return customers
}

func TestRatioTestExpectationByEnumeration(t *testing.T) {
	for _, c := range []struct {
		name         string
		share, null  float64
		side         Side
		truth        float64
		least, limit float64 // of E[e]
	}{
		{"at the boundary", .5, 1, Above, 1, 1, 1},
		{"sparse control", .1, 1, Above, 1, 1, 1},
		{"harm is not superiority", .5, 1, Above, .7, 0, 1},
		{"benefit is", .5, 1, Above, 2, 1.05, 9},
		{"rollback at the margin", .5, .9, Below, .9, 1, 1},
		{"rollback of the harmless", .3, .9, Below, 1, 0, 1},
		{"rollback of the better", .3, .9, Below, 1.5, 0, 1},
		{"rollback of the harmful", .5, .9, Below, .3, 1.05, 9},
		{"more is worse, at the margin", .2, 1.2, Above, 1.2, 1, 1},
		{"more is worse, harmless", .2, 1.2, Above, .8, 0, 1},
		{"non-inferiority at the margin", .4, 1.2, Below, 1.2, 1, 1},
		{"non-inferiority beyond it", .4, 1.2, Below, 2, 0, 1},
	} {
		var mean, stopped float64
		enumerate(converting(6, c.share, c.truth), func(path []outcome, probability float64) {
			test := NewRatioTest(c.share, c.null, c.side)
			stop := math.NaN()
			for _, o := range path {
				if o.y != 0 {
					test.Add(!o.candidate)
				}
				if math.IsNaN(stop) && test.LogE() > math.Log(1.2) {
					stop = math.Exp(test.LogE())
				}
			}
			e := math.Exp(test.LogE())
			if math.IsNaN(stop) {
				stop = e
			}
			mean += probability * e
			stopped += probability * stop
		})
		for name, v := range map[string]float64{"E[e]": mean, "E[e] when stopped at 1.2": stopped} {
			if v > c.limit+1e-12 || v < c.least-1e-12 {
				t.Errorf("%s: %s = %.15f, want between %v and %v", c.name, name, v, c.least, c.limit)
			}
		}
	}
}

// The e-value of counts that can be done by hand: one grid point at a time.
func TestRatioTestByHand(t *testing.T) {
	const s, r0 = .3, 1.1
	test := NewRatioTest(s, r0, Above)
	for range 3 {
		test.Add(true)
	}
	for range 5 {
		test.Add(false)
	}
	var want, weights float64
	s0 := s / (s + (1-s)*r0)
	for k, rho := range ratioGrid {
		q := s / (s + (1-s)*r0*math.Exp(rho))
		w := math.Exp(ratioLogWeights[k])
		want += w * math.Pow(q/s0, 3) * math.Pow((1-q)/(1-s0), 5)
		weights += w
	}
	if math.Abs(weights-1) > 1e-12 {
		t.Errorf("grid weights sum to %v", weights)
	}
	if got := math.Exp(test.LogE()); math.Abs(got-want) > 1e-12*want {
		t.Errorf("e = %v, want %v", got, want)
	}
}

func TestRatioTestMerge(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 0))
	all, a, b := NewSuperiorityTest(.4), NewSuperiorityTest(.4), NewSuperiorityTest(.4)
	for range 500 {
		control := rng.Float64() < .3
		all.Add(control)
		if rng.Float64() < .2 {
			a.Add(control)
		} else {
			b.Add(control)
		}
	}
	a.Merge(b)
	if math.Abs(a.LogE()-all.LogE()) > 1e-12*math.Abs(all.LogE()) {
		t.Errorf("merged %v, all at once %v", a.LogE(), all.LogE())
	}
	if all.MaxLogE() < all.LogE() {
		t.Errorf("running maximum %v below the present value %v", all.MaxLogE(), all.LogE())
	}
}

// reps scales a sweep: enough to fail when the method is wrong, more without
// -short.
func reps(t *testing.T, short, long int) int {
	if testing.Short() {
		return short
	}
	return long
}

// slack is four standard errors of a frequency of alpha over n runs.
func slack(alpha float64, n int) float64 { return 4 * math.Sqrt(alpha*(1-alpha)/float64(n)) }

// binomial draws by inversion of Bernoulli sums or, for many trials, a rounded
// normal; exact enough for simulated cell counts of some hundred conversions.
func binomial(rng *rand.Rand, n int, p float64) int {
	if float64(n)*p > 200 && float64(n)*(1-p) > 200 {
		return int(math.Round(float64(n)*p + math.Sqrt(float64(n)*p*(1-p))*rng.NormFloat64()))
	}
	k := 0
	for range n {
		if rng.Float64() < p {
			k++
		}
	}
	return k
}

// everCrossed simulates one experiment of 2,000 conversions under control-like
// rates with 100 looks and reports whether the test ever reached 1/alpha.
// A conversion is the control's with probability share/(share+(1−share)·ratio).
func everCrossed(rng *rand.Rand, test *RatioTest, share, ratio, alpha float64) bool {
	p := share / (share + (1-share)*ratio)
	for range 100 {
		k := binomial(rng, 20, p)
		test.control += k
		test.candidate += 20 - k
		if test.LogE() >= -math.Log(alpha) {
			return true
		}
	}
	return false
}

func TestRatioTestErrorRates(t *testing.T) {
	const alpha = .05
	n := reps(t, 300, 2000)
	for _, c := range []struct {
		name        string
		share       float64
		make        func(share float64) *RatioTest
		truth       float64
		least, most float64
	}{
		{"A/A", .5, NewSuperiorityTest, 1, 0, alpha},
		{"A/A, control 10%", .1, NewSuperiorityTest, 1, 0, alpha},
		{"RR .7 is never superior", .5, NewSuperiorityTest, .7, 0, 0},
		{"RR .7 is never superior, control 10%", .1, NewSuperiorityTest, .7, 0, 0},
		{"RR 1.3 is superior", .5, NewSuperiorityTest, 1.3, .95, 1},
		{"RR 1.5 is superior, control 10%", .1, NewSuperiorityTest, 1.5, .95, 1},
		{"harmless is not rolled back", .5, rollback(0, HarmDecrease), 1, 0, alpha},
		{"harmless is not rolled back, control 10%", .1, rollback(0, HarmDecrease), 1, 0, alpha},
		{"within the margin is not rolled back", .5, rollback(.1, HarmDecrease), .9, 0, alpha},
		{"RR .7 is rolled back", .5, rollback(.1, HarmDecrease), .7, .9, 1},
		{"RR .7 against 1 is rolled back", .5, rollback(0, HarmDecrease), .7, .99, 1},
		{"opt-outs within the margin", .5, rollback(.2, HarmIncrease), 1.2, 0, alpha},
		{"opt-outs 1.6 times are rolled back", .5, rollback(.2, HarmIncrease), 1.6, .9, 1},
		{"at the margin is not non-inferior", .5, nonInferior(.2, HarmIncrease), 1.2, 0, alpha},
		{"equal is non-inferior at .25", .5, nonInferior(.25, HarmIncrease), 1, .8, 1},
		{"equal is non-inferior at .25 less", .5, nonInferior(.25, HarmDecrease), 1, .95, 1},
	} {
		rng := rand.New(rand.NewPCG(17, uint64(len(c.name))))
		crossed := 0
		for range n {
			if everCrossed(rng, c.make(c.share), c.share, c.truth, alpha) {
				crossed++
			}
		}
		rate := float64(crossed) / float64(n)
		t.Logf("%-45s %.4f", c.name, rate)
		if most := c.most; rate > most+slack(most, n) || rate < c.least-slack(c.least, n) {
			t.Errorf("%s: crossed in %.4f of %d runs, want %.2f to %.2f", c.name, rate, n, c.least, c.most)
		}
	}
}

func rollback(margin float64, harm Harm) func(float64) *RatioTest {
	return func(share float64) *RatioTest { return NewRatioRollback(share, margin, harm) }
}

func nonInferior(margin float64, harm Harm) func(float64) *RatioTest {
	return func(share float64) *RatioTest { return NewRatioNonInferiority(share, margin, harm) }
}

func TestRatioSequence(t *testing.T) {
	if low, high := RatioSequence(0, 0, .5, .05); low != 0 || !math.IsInf(high, 1) {
		t.Errorf("no conversions: [%v, %v]", low, high)
	}
	// Symmetric arms: the interval is symmetric in log RR.
	low, high := RatioSequence(200, 200, .5, .05)
	if math.Abs(low*high-1) > 1e-6 || low < .6 || low > .9 {
		t.Errorf("200 against 200: [%v, %v]", low, high)
	}
	// The end is where the test turns.
	at := func(r float64) float64 {
		test := NewRatioTest(.5, r, Above)
		test.control, test.candidate = 200, 300
		return test.LogE()
	}
	end := RatioBound(200, 300, .5, .05, Above)
	if limit := -math.Log(.05); at(end*.999) < limit || at(end*1.001) > limit {
		t.Errorf("lower end %v: evidence %v below and %v above it, limit %v", end, at(end*.999), at(end*1.001), limit)
	}
	const truth, share = 1.2, .3
	n := reps(t, 100, 400)
	rng := rand.New(rand.NewPCG(5, 5))
	missed := 0
	for range n {
		var control, candidate int
		for range 20 {
			k := binomial(rng, 40, share/(share+(1-share)*truth))
			control, candidate = control+k, candidate+40-k
			if l, h := RatioSequence(control, candidate, share, .05); l > truth || h < truth {
				missed++
				break
			}
		}
	}
	if rate := float64(missed) / float64(n); rate > .05+slack(.05, n) {
		t.Errorf("missed the ratio at some look in %.3f of %d runs", rate, n)
	}
}
