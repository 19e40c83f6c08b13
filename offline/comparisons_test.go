package offline

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"nextbest"
	"nextbest/estimators"
)

// Two candidates that are nearly alike are told apart by their paired
// difference, whose interval is far narrower than either one's.
func TestComparisonsArePaired(t *testing.T) {
	s := conversions()
	best := s.Best()
	report := evaluated(t, s, request(s, best, best.Explore(0.05), s.Always(2)))
	if len(report.Comparisons) != 3 {
		t.Fatalf("%d comparisons of three candidates", len(report.Comparisons))
	}
	truth := map[string]float64{best.Name(): best.Value(), best.Explore(0.05).Name(): best.Explore(0.05).Value(), s.Always(2).Name(): s.Always(2).Value()}
	for _, c := range report.Comparisons {
		d := c.Difference
		if d == nil {
			t.Fatalf("%+v", c)
		}
		want := truth[c.Candidate] - truth[c.Other]
		a, b := get(t, report, c.Candidate).DR, get(t, report, c.Other).DR
		if math.Abs(d.Value-(a.Value-b.Value)) > 1e-12 {
			t.Errorf("%s − %s is %v, of %v and %v", c.Candidate, c.Other, d.Value, a.Value, b.Value)
		}
		if d.Method != methodLikelihood || !(d.Low <= d.Value && d.Value <= d.High) || math.Abs(d.Value-want) > 1.7*(d.High-d.Low) {
			t.Errorf("%s − %s: %+v, truth %v", c.Candidate, c.Other, *d, want)
		}
	}
	near := report.Comparisons[0].Difference
	if alone := get(t, report, "best").DR; near.High-near.Low > (alone.High-alone.Low)/2 {
		t.Errorf("the difference of two that are nearly alike is as wide as their values: %+v against %+v", *near, *alone)
	}
	var table strings.Builder
	if err := report.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(table.String(), "best candidate") {
		t.Errorf("no comparison in\n%s", table.String())
	}
}

// A refused candidate is compared with nobody, and its problem says why.
func TestComparisonsOfTheRefused(t *testing.T) {
	s := conversions()
	s.Customers = 300
	report := evaluated(t, s, request(s, s.Best(), s.Best().Explore(0.1)))
	for _, c := range report.Comparisons {
		if c.Difference != nil || !strings.HasPrefix(c.Problem, "refused for best: ") {
			t.Errorf("%+v", c)
		}
	}
	if report.Results[0].Gate != nil && report.Results[0].Gate.Discovered {
		t.Error("a refused candidate is named")
	}
}

// The interval of a paired difference covers the truth, by the nominal rate, in
// logs of customers with several rows each.
func TestComparisonsCover(t *testing.T) {
	replications := 1000
	if testing.Short() {
		replications = 100
	}
	missed := 0
	for seed := range uint64(replications) {
		s := &Simulation{Types: 4, Actions: 4, Customers: 400, Each: 3, Rate: 0.2, Epsilon: 0.5, Clustered: true, Seed: 100 + seed}
		a, b := s.Best(), s.Always(1)
		req := request(s, a, b)
		req.Limits = estimators.DefaultLimits
		req.Limits.ESS = 1 // what is tested is the interval, not the refusals
		report, err := Run(context.Background(), s, req, nil)
		if err != nil {
			t.Fatal(err)
		}
		d := report.Comparisons[0].Difference
		if d == nil {
			t.Fatalf("seed %d: %s", seed, report.Comparisons[0].Problem)
		}
		if want := a.Value() - b.Value(); want < d.Low || want > d.High {
			missed++
		}
	}
	// .05 nominal, up to .08 by the coverage that empirical likelihood promises
	// (.92 to .997), and four standard errors of the simulation.
	rate, se := float64(missed)/float64(replications), math.Sqrt(.05*.95/float64(replications))
	t.Logf("missed in %.3f of %d logs", rate, replications)
	if rate > .08+4*se || rate < .003-4*se {
		t.Errorf("missed in %.3f of %d logs", rate, replications)
	}
}

// Two candidates that part for one customer in a hundred have no normal interval of
// their difference: it would cover .39. With a declared floor there is one, and it
// covers; where they part for most, there is one either way.
func TestComparisonsThatRestOnLittle(t *testing.T) {
	const replications = 60
	for _, c := range []struct {
		declared bool
		types    int // that part, of 100
		shown    bool
	}{{true, 1, true}, {false, 1, false}, {false, 60, true}} {
		shown, missed := 0, 0
		for seed := range uint64(replications) {
			s := &Simulation{Types: 100, Actions: 3, Customers: 3000, Each: 1, Rate: 0.2, Epsilon: 0.6, Seed: 900 + seed, Undeclared: !c.declared}
			a := s.Always(1)
			b := a
			b.name, b.choose = "parting", func(kind int, eligible []int) int {
				if kind < c.types {
					return 2
				}
				return 1
			}
			x := evaluated(t, s, request(s, a, b)).Comparisons[0]
			if x.Difference == nil {
				if !strings.Contains(x.Problem, "conversions on one side") {
					t.Errorf("%+v: %s", c, x.Problem)
				}
				continue
			}
			shown++
			if want := a.Value() - b.Value(); want < x.Difference.Low || want > x.Difference.High {
				missed++
			}
		}
		if c.shown && shown < replications*9/10 || !c.shown && shown > 0 {
			t.Errorf("%+v: %d of %d differences are shown", c, shown, replications)
		}
		if n := float64(shown); float64(missed) > .08*n+4*math.Sqrt(.05*.95*n) {
			t.Errorf("%+v: %d of %d intervals miss", c, missed, shown)
		}
	}
}

// Among candidates that are worth exactly what ran, e-BH names any in at most
// delta of the logs; beside them a better one is named.
func TestDiscoveries(t *testing.T) {
	replications := 500
	if testing.Short() {
		replications = 40
	}
	var wrong, named, refused int
	for seed := range uint64(replications) {
		s := &Simulation{Types: 4, Actions: 4, Customers: 1500, Each: 1, Rate: 0.15, Epsilon: 0.5, Seed: 5000 + seed}
		candidates := []Candidate{s.Best()}
		for k, below := range []SimulatedPolicy{s.Always(0), s.Always(0).Explore(.2), s.Always(2).Explore(.5), s.Always(0).Explore(.5)} {
			candidates = append(candidates, worth(s.Logger().Value(), s.Best(), below, fmt.Sprintf("null-%d", k)))
		}
		req := request(s, candidates...)
		req.Limits = estimators.DefaultLimits
		req.Limits.ESS, req.Limits.Conversions, req.Limits.Share = 1, 1, 1 // e-BH alone is tested
		report, err := Run(context.Background(), s, req, nil)
		if err != nil {
			t.Fatal(err)
		}
		false0 := false
		for _, x := range report.Results[:len(candidates)] {
			if x.Refused() { // the propensity check errs in a thousandth of the logs
				refused++
			}
			if x.Gate.Discovered && x.Name == "best" {
				named++
			}
			false0 = false0 || x.Gate.Discovered && x.Name != "best"
		}
		if false0 {
			wrong++
		}
	}
	t.Logf("nulls named in %d, the better one in %d of %d logs; %d refused", wrong, named, replications, refused)
	if refused > replications/10 {
		t.Errorf("%d of %d results are refused", refused, 5*replications)
	}
	if limit := .05*float64(replications) + 4*math.Sqrt(.05*.95*float64(replications)); float64(wrong) > limit {
		t.Errorf("nulls were named in %d of %d logs", wrong, replications)
	}
	if named < replications/2 {
		t.Errorf("the better one was named in %d of %d logs only", named, replications)
	}
}

// worth mixes two policies so that the mixture's value is v.
func worth(v float64, better, worse SimulatedPolicy, name string) Candidate {
	return blend{name: name, a: better, b: worse, share: (v - worse.Value()) / (better.Value() - worse.Value())}
}

// blend takes a with a probability of share, else b.
type blend struct {
	name  string
	a, b  SimulatedPolicy
	share float64
}

func (m blend) Name() string { return m.name }

func (m blend) Fork() Candidate { return m }

func (m blend) Distribution(p []float64, b *nextbest.Batch, row int) error {
	other := make([]float64, len(p))
	if err := m.b.Distribution(other, b, row); err != nil {
		return err
	}
	if err := m.a.Distribution(p, b, row); err != nil {
		return err
	}
	for k := range p {
		p[k] = m.share*p[k] + (1-m.share)*other[k]
	}
	return nil
}

// Candidates that were looked at before have less of the error left: with an
// e-value that is just enough at the first look, a tenth look names nobody.
func TestDiscoveriesPayForLooks(t *testing.T) {
	s := &Simulation{Types: 4, Actions: 4, Customers: 2000, Each: 1, Rate: 0.15, Epsilon: 0.5, Seed: 11}
	req := request(s, s.Best())
	req.Looks = []int{1}
	first := get(t, evaluated(t, s, req), "best").Gate
	req.Looks = []int{1000}
	later := get(t, evaluated(t, s, req), "best").Gate
	if first.LogE != later.LogE {
		t.Fatalf("the e-value changes with the look: %v, %v", first.LogE, later.LogE)
	}
	if !first.Discovered || later.Discovered {
		t.Errorf("log e %v: named at the first look %v, at the thousandth %v", first.LogE, first.Discovered, later.Discovered)
	}
}

// So it is with the difference to the best fixed action.
func TestBestFixedDifferenceThatRestsOnLittle(t *testing.T) {
	for _, c := range []struct {
		types int // of 100 that part from it
		shown bool
	}{{1, false}, {60, true}} {
		s := &Simulation{Types: 100, Actions: 3, Customers: 4000, Each: 1, Rate: 0.2, Epsilon: 0.6, Seed: 41, Undeclared: true}
		best := s.Always(1)
		best.name, best.choose = "parting", func(kind int, eligible []int) int {
			if kind < c.types {
				return 0
			}
			return 1
		}
		report := evaluated(t, s, request(s, best, s.Always(2)))
		x, other := get(t, report, "parting"), get(t, report, s.Always(2).Name())
		said := strings.Contains(strings.Join(x.Warnings, "\n"), "no difference to the best fixed action is shown")
		if fixed := report.BestFixed; (x.VsBestFixed != nil) != c.shown || said == c.shown || other.VsBestFixed == nil {
			t.Errorf("%+v (best fixed %v): %+v, warnings %q; another's %+v", c, fixed, x.VsBestFixed, x.Warnings, other.VsBestFixed)
		}
	}
}
