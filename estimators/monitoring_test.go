package estimators

import (
	"math"
	"math/rand/v2"
	"sort"
	"testing"
)

// monitored is one simulated customer of an experiment, times in days.
type monitored struct {
	enrolled    float64
	share       float64 // of the control at enrolment
	candidate   bool
	conversions []float64 // after the enrolment, ascending
}

const monitoringWindow = 14.0

// monitor draws an experiment of 6,000 customers over 40 days without any
// effect on the conversion rate.
func monitor(rng *rand.Rand, w struct {
	share     func(day float64) float64
	rate      func(day float64) float64
	delay     [2]float64 // longest delay to the first conversion, control and candidate
	repeats   float64    // mean number of further conversions
	enrolment func(u float64) float64
}) []monitored {
	var customers []monitored
	for range 6000 {
		c := monitored{enrolled: w.enrolment(rng.Float64())}
		c.share = w.share(c.enrolled)
		c.candidate = rng.Float64() >= c.share
		longest := w.delay[0]
		if c.candidate {
			longest = w.delay[1]
		}
		if rng.Float64() < w.rate(c.enrolled) {
			at := longest * rng.Float64()
			for at < monitoringWindow {
				c.conversions = append(c.conversions, at)
				if rng.Float64() >= w.repeats/(1+w.repeats) {
					break
				}
				at += rng.Float64()
			}
		}
		customers = append(customers, c)
	}
	return customers
}

// The conditions that RatioTest states are needed: with no effect on
// conversion at all, feeding it otherwise promotes far more often than alpha,
// and feeding it as it asks does not.
func TestRatioTestNeedsWhatItAsksFor(t *testing.T) {
	const alpha = .05
	type world = struct {
		share     func(day float64) float64
		rate      func(day float64) float64
		delay     [2]float64
		repeats   float64
		enrolment func(u float64) float64
	}
	type event struct {
		at    float64
		c     *monitored
		order int // of the conversion within the customer
	}
	always := func(v float64) func(float64) float64 { return func(float64) float64 { return v } }
	evenly := func(u float64) float64 { return 40 * u }
	ramped := func(u float64) float64 { return 40 * math.Sqrt(u) } // ever more customers a day
	seasonal := func(day float64) float64 { return .03 + .05*day/40 }
	speedUp := [2]float64{14, 4}

	first := func(c *monitored, k int) (float64, bool) { return c.enrolled + monitoringWindow, k == 0 }
	atOnce := func(c *monitored, k int) (float64, bool) { return c.enrolled + c.conversions[k], k == 0 }
	every := func(c *monitored, k int) (float64, bool) { return c.enrolled + monitoringWindow, true }

	for _, c := range []struct {
		name   string
		w      world
		when   func(c *monitored, k int) (at float64, counts bool)
		share  float64 // that the test is told
		broken bool
	}{
		{"A/A", world{always(.5), always(.08), [2]float64{14, 14}, 0, evenly}, first, .5, false},
		{"speed-up", world{always(.5), always(.08), speedUp, 0, evenly}, first, .5, false},
		{"speed-up, several conversions each, ramp, season, control 10%", world{always(.1), seasonal, speedUp, 3, ramped}, first, .1, false},
		{"speed-up fed at conversion time", world{always(.5), always(.08), speedUp, 0, evenly}, atOnce, .5, true},
		{"every conversion counted", world{always(.5), always(.08), [2]float64{10, 10}, 6, evenly}, every, .5, true},
		{"average share over a ramp of the share", world{func(d float64) float64 { return .95 - .6*d/40 }, func(d float64) float64 { return .01 + .11*d/40 }, [2]float64{14, 14}, 0, evenly}, first, .65, true},
	} {
		rng := rand.New(rand.NewPCG(77, uint64(len(c.name))))
		n, promoted := reps(t, 60, 200), 0
		for range n {
			customers := monitor(rng, c.w)
			var events []event
			for i := range customers {
				for k := range customers[i].conversions {
					if at, counts := c.when(&customers[i], k); counts {
						events = append(events, event{at, &customers[i], k})
					}
				}
			}
			sort.Slice(events, func(a, b int) bool { return events[a].at < events[b].at })
			test := NewSuperiorityTest(c.share)
			for _, e := range events {
				test.Add(!e.c.candidate)
			}
			if test.MaxLogE() >= -math.Log(alpha) {
				promoted++
			}
		}
		rate := float64(promoted) / float64(n)
		t.Logf("%-62s %.3f", c.name, rate)
		if limit := alpha + slack(alpha, n); c.broken != (rate > limit) {
			t.Errorf("%s: promoted in %.3f of %d runs without an effect (limit %.3f), want more: %t", c.name, rate, n, limit, c.broken)
		}
	}
}
