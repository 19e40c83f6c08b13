package offline

import (
	"flag"
	"math"
	"testing"

	"nextbest"
)

var replications = flag.Int("replications", 60, "replications of each coverage test")

// The default intervals, through Run, over sample sizes, conversion counts,
// clustering and revenue: values and paired differences cover what they say
// from 20 converting customers up, and what is too thin is refused.
func TestDefaultIntervalsCover(t *testing.T) {
	for _, c := range []struct {
		name string
		sim  Simulation
	}{
		{"thin", Simulation{Types: 6, Actions: 4, Customers: 1500, Each: 1, Rate: 0.05, Epsilon: 0.4}},
		{"ordinary", Simulation{Types: 6, Actions: 4, Customers: 3000, Each: 1, Rate: 0.1, Epsilon: 0.4}},
		{"clustered", Simulation{Types: 6, Actions: 4, Customers: 600, Each: 5, Rate: 0.1, Epsilon: 0.5, Clustered: true}},
		{"revenue", Simulation{Types: 6, Actions: 4, Customers: 3000, Each: 1, Rate: 0.15, Epsilon: 0.4, Revenue: true}},
		{"near the logger", Simulation{Types: 6, Actions: 4, Customers: 1000, Each: 2, Rate: 0.1, Epsilon: 0.9}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.sim
			truth := s.Best().Value()
			gap := truth - s.Logger().Value()
			hits := map[string]float64{}
			refused, wrongGate, wrong := 0, 0, 0
			conversions := 0.0
			for rep := range *replications {
				s.Seed = uint64(1000 + rep)
				report := evaluated(t, &s, request(&s, s.Best()))
				x := get(t, report, "best")
				if x.Refused() {
					refused++
				}
				conversions += x.Diagnostics.MatchedConversions
				for name, f := range map[string]*Figure{"IPS": x.IPS, "SNIPS": x.SNIPS, "DR": x.DR, "value": x.Value} {
					if f.Low <= truth && truth <= f.High {
						hits[name]++
					}
				}
				if x.VsLogged.Low <= gap && gap <= x.VsLogged.High {
					hits["against logged"]++
				}
				if x.Gate.Lower > gap {
					wrongGate++
				}
				if y := get(t, report, "logged"); y.DR.Low <= s.Logger().Value() && s.Logger().Value() <= y.DR.High {
					hits["logged"]++
				}
				// What was compared is the mixture of the folds' choices.
				fixed := 0.0
				for _, name := range report.BestFixed[1:] {
					action := 0
					if name != nextbest.DoNothing {
						action = int(name[len(name)-1] - '0')
					}
					fixed += s.Always(action).Value() / float64(len(report.BestFixed)-1)
				}
				if d := truth - fixed; x.VsBestFixed.Low <= d && d <= x.VsBestFixed.High {
					hits["against best fixed"]++
				}
				if f := x.VsBestFixed; f.Low > truth-s.Always(0).Value() {
					wrong++ // more than over the worst action
				}
			}
			n := float64(*replications)
			slack := 3 * math.Sqrt(0.95*0.05/n)
			t.Logf("truth %.4f, %.0f matched conversions, %d of %.0f refused, gate wrong %d: coverage ×%.0f %v", truth, conversions/n, refused, n, wrongGate, n, hits)
			for name, k := range hits {
				if cov := k / n; cov < 0.92-slack || cov > 0.999 && n > 1000 {
					t.Errorf("%s covers %.3f", name, cov)
				}
			}
			if float64(wrongGate)/n > 0.05+3*math.Sqrt(0.05*0.95/n) || wrong > 0 {
				t.Errorf("the gate's bound is above the truth in %d of %.0f, absurd lifts %d", wrongGate, n, wrong)
			}
			if conversions/n < 15 && float64(refused) < 0.8*n {
				t.Errorf("%d of %.0f thin logs are refused", refused, n)
			}
			if conversions/n > 60 && float64(refused) > 0.02*n {
				t.Errorf("%d of %.0f good logs are refused", refused, n)
			}
		})
	}
}
