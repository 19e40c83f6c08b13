package experiments

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"testing"
	"time"

	"nextbest"
)

// world is a population under an experiment with guardrails, for simulated
// runs from enrolments to promotion and rollback.
type world struct {
	share     float64 // of the control
	rate      float64 // of purchases under control
	ratio     float64 // candidate's over the control's
	optOut    float64
	optRatio  float64
	speedUp   bool // the candidate's customers buy within a fifth of the window
	several   bool // several purchases each
	ramp      bool // enrolment grows over the days
	customers int
}

// simulate feeds one run of the world and returns the evidence, whose running
// maxima have looked after every single customer.
func simulate(t testing.TB, rng *rand.Rand, d *Definition, w world) *Evidence {
	a := NewAccumulator(d, nil, start.Add(200*day))
	times := make([]float64, w.customers)
	for i := range times {
		u := rng.Float64()
		if w.ramp {
			u = math.Sqrt(u)
		}
		times[i] = u
	}
	sort.Float64s(times)
	for i, u := range times {
		e := nextbest.Enrolment{Customer: fmt.Sprint(i), Arm: "control", Time: start.Add(time.Duration(u * float64(40*day))), Decisions: 1, First: make([]time.Time, 2), Total: make([]float64, 2)}
		season := .7 + .6*u // rates drift over the run
		buy, out, longest := w.rate*season, w.optOut*season, 13*day
		if rng.Float64() >= w.share {
			e.Arm = "candidate"
			buy, out = buy*w.ratio, out*w.optRatio
			if w.speedUp {
				longest = 3 * day
			}
		}
		if rng.Float64() < buy {
			e.First[0] = e.Time.Add(time.Duration(rng.Float64() * float64(longest)))
			for e.Total[0]++; w.several && rng.Float64() < .7; e.Total[0]++ {
			}
		}
		if rng.Float64() < out {
			e.First[1], e.Total[1] = e.Time.Add(time.Hour), 1
		}
		if err := a.Add(0, e); err != nil {
			t.Fatal(err)
		}
	}
	return a.Evidence()
}

func definition(t testing.TB, share float64) *Definition {
	return running(t, fmt.Sprintf(`{"placement":"p","salt":"sim","window":"14d","primary":{"reward":"purchase"},
		"guardrails":[{"reward":"opt_out","harm":"increase","margin":0.5}],"arms":[
		{"id":"control","policy":"rules@1","share":%v,"control":true},{"id":"candidate","policy":"lints@3","model":2,"share":%v}]}`, share, 1-share))
}

func TestSimulatedExperiments(t *testing.T) {
	n := 25
	if !testing.Short() {
		n = 120
	}
	type bounds struct{ least, most float64 }
	const alpha = .05
	never, rarely, surely := bounds{0, 0}, bounds{0, alpha}, bounds{.85, 1}
	any := bounds{0, 1}
	for _, c := range []struct {
		name                          string
		w                             world
		promoted, rolledBack, noWorse bounds
	}{
		{"A/A", world{share: .5, rate: .1, ratio: 1, optOut: .04, optRatio: 1, customers: 15000}, rarely, rarely, surely},
		{"A/A, control 10%", world{share: .1, rate: .1, ratio: 1, optOut: .04, optRatio: 1, customers: 15000}, rarely, rarely, any},
		{"A/A with everything that misleads", world{share: .1, rate: .1, ratio: 1, optOut: .04, optRatio: 1, speedUp: true, several: true, ramp: true, customers: 15000}, rarely, rarely, any},
		{"better", world{share: .5, rate: .1, ratio: 1.3, optOut: .04, optRatio: 1, ramp: true, several: true, customers: 15000}, surely, rarely, surely},
		{"harmful", world{share: .5, rate: .1, ratio: .7, optOut: .04, optRatio: 1, ramp: true, customers: 15000}, never, surely, any},
		{"harmful and faster", world{share: .5, rate: .1, ratio: .7, optOut: .04, optRatio: 1, speedUp: true, several: true, customers: 15000}, never, surely, any},
		{"better, but opt-outs triple", world{share: .5, rate: .1, ratio: 1.3, optOut: .04, optRatio: 3, customers: 15000}, surely, surely, never},
		{"opt-outs at the margin", world{share: .5, rate: .1, ratio: 1, optOut: .04, optRatio: 1.5, customers: 15000}, rarely, rarely, rarely},
	} {
		t.Run(c.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(11, uint64(len(c.name))))
			d := definition(t, c.w.share)
			var promoted, rolledBack, noWorse, ratioFailed int
			for range n {
				e := simulate(t, rng, d, c.w)
				arm := e.Arm("candidate")
				if arm.Lift.Superior.EverReached() {
					promoted++
				}
				if _, g := e.Harmed(); g != nil {
					rolledBack++
				}
				if arm.Guardrails[1].NonInferior.EverReached() {
					noWorse++
				}
				if e.SampleRatio.EverReached() {
					ratioFailed++
				}
			}
			check := func(what string, count int, b bounds) {
				rate := float64(count) / float64(n)
				t.Logf("%-14s %.3f", what, rate)
				slack := func(p float64) float64 { return 4 * math.Sqrt(p*(1-p)/float64(n)) }
				if rate > b.most+slack(b.most) || rate < b.least-slack(b.least) {
					t.Errorf("%s in %.3f of %d runs, want %.2f to %.2f", what, rate, n, b.least, b.most)
				}
			}
			check("superior", promoted, c.promoted)
			check("rolled back", rolledBack, c.rolledBack)
			check("non-inferior", noWorse, c.noWorse)
			check("sample ratio", ratioFailed, bounds{0, SampleRatioAlpha})
		})
	}
}
