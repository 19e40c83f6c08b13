package estimators

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestDiagnostics(t *testing.T) {
	var d Weighing
	for range 300 {
		var c Customer
		c.Add(&Row{Weight: 2, Reward: 1, Support: 1, Matched: true})
		c.Add(&Row{Weight: 0.1, Reward: 1, Support: 1, Matched: true})
		d.Add(&c)
		c = Customer{}
		c.Add(&Row{Support: 1})
		c.Add(&Row{Support: 0.8, Reward: 1, Matched: true})
		d.Add(&c)
	}
	g := d.Estimate()
	near(t, "ESS", g.ESS, 300, 1e-9)
	near(t, "matched conversions", g.MatchedConversions, 300, 1e-9)
	near(t, "largest weight", g.MaxWeight, 2, 0)
	near(t, "mean weight", g.MeanWeight, 0.525, 1e-9)
	near(t, "off support", g.OffSupport, 0.05, 1e-9)
	near(t, "largest share", g.LargestShare, 1.0/300, 1e-9)
	if g.WeightZ > -10 {
		t.Errorf("z = %g: weights of .525 for a support of .95 must show", g.WeightZ)
	}
	codes := map[string]bool{}
	for _, r := range Judge(g, DefaultLimits) {
		codes[r.Code] = true
		if r.Message == "" || r.Cure == "" {
			t.Errorf("%s says nothing", r.Code)
		}
	}
	if !codes[RefusedOffSupport] || !codes[RefusedWeights] || len(codes) != 2 {
		t.Errorf("refused for %v", codes)
	}
}

func TestJudge(t *testing.T) {
	good := Diagnostics{Rows: 5000, Customers: 4000, ESS: 900, MatchedConversions: 50, MeanWeight: 1, WeightZ: 1, LargestShare: 0.05}
	if r := Judge(good, DefaultLimits); len(r) != 0 {
		t.Errorf("a healthy candidate is refused: %v", r)
	}
	for code, spoil := range map[string]func(*Diagnostics){
		RefusedEmpty:       func(d *Diagnostics) { d.Rows = 0 },
		RefusedESS:         func(d *Diagnostics) { d.ESS = 99.9 },
		RefusedConversions: func(d *Diagnostics) { d.MatchedConversions = 19.9 },
		RefusedOffSupport:  func(d *Diagnostics) { d.OffSupport = 0.0101 },
		RefusedShare:       func(d *Diagnostics) { d.LargestShare = 0.101 },
		RefusedWeights:     func(d *Diagnostics) { d.WeightZ = -5.1 },
	} {
		d := good
		spoil(&d)
		r := Judge(d, DefaultLimits)
		if len(r) != 1 || r[0].Code != code || strings.ContainsAny(r[0].Cure, "%!") {
			t.Errorf("%s: %v", code, r)
		}
	}
}

func TestManski(t *testing.T) {
	got := Manski(Interval{0.1, 0.2}, 0.3, 0, 1)
	near(t, "low", got.Low, 0.1, 1e-12)
	near(t, "high", got.High, 0.5, 1e-12)
	got = Manski(Interval{0.1, 0.9}, 0.3, -1, 1)
	near(t, "low", got.Low, -0.2, 1e-12)
	near(t, "high", got.High, 1, 1e-12)
}

// Healthy logs pass nearly always, at the Bonferroni level, and a logger that
// lies about one action is found. Small cells are not judged.
func TestCalibration(t *testing.T) {
	rng := rand.New(rand.NewPCG(51, 1))
	log := func(rows int, lie float64) bool {
		var a, b Calibration
		for i := range rows {
			to := &a
			if i%2 == 1 {
				to = &b
			}
			p := []float64{0.05, 0.05 + 0.4*rng.Float64(), 0}
			p[2] = 1 - p[0] - p[1]
			u := rng.Float64()
			taken := 2
			if u < p[0]+lie {
				taken = 0
			} else if u < p[0]+lie+p[1] {
				taken = 1
			}
			for k, x := range p {
				to.Add(k, x, k == taken)
			}
		}
		a.Merge(&b)
		_, failed := a.Judge(0.01)
		return failed
	}
	const reps = 300
	fails := 0
	for range reps {
		if log(2000, 0) {
			fails++
		}
	}
	if rate := float64(fails) / reps; rate > 0.01+4*math.Sqrt(0.01*0.99/reps) {
		t.Errorf("healthy logs fail %.3f of the time", rate)
	}
	if !log(5000, 0.03) {
		t.Error("an action taken at .08 instead of .05 is not found")
	}
	var c Calibration
	for range 100 {
		c.Add(0, 0.2, true) // impossible, but Σμ = 20
	}
	if cells, failed := c.Judge(0.01); failed || len(cells) != 0 {
		t.Error("a cell of Σμ = 20 was judged")
	}
	c = Calibration{}
	for range 30 {
		c.Add(0, 1, false)
	}
	if cells, failed := c.Judge(0.01); !failed || !math.IsInf(cells[0].Z, -1) {
		t.Error("a certain action that is never taken passes")
	}
}

// Actions that are all but certain leave a cell with hardly any variance, where
// one draw of another action is many standard errors: healthy logs must pass,
// and broken ones still fail.
func TestCalibrationOfCertainActions(t *testing.T) {
	const alpha, runs = .001, 4000
	rng := rand.New(rand.NewPCG(5, 1))
	for _, p := range []float64{.9999, .999, .99} {
		healthy, broken := 0, 0
		for range runs {
			var good, bad Calibration
			for range 450 {
				other := rng.Float64() >= p
				good.Add(0, p, !other)
				good.Add(1, 1-p, other)
				other = other || rng.Float64() < .05
				bad.Add(0, p, !other)
				bad.Add(1, 1-p, other)
			}
			if _, failed := good.Judge(alpha); failed {
				healthy++
			}
			if _, failed := bad.Judge(alpha); failed {
				broken++
			}
		}
		if healthy > 12 { // alpha and four standard errors
			t.Errorf("at %v, %d of %d healthy logs fail", p, healthy, runs)
		}
		if broken < runs*9/10 {
			t.Errorf("at %v, only %d of %d logs with a twentieth redrawn fail", p, broken, runs)
		}
	}
}
