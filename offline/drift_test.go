package offline

import (
	"math"
	"math/rand/v2"
	"testing"
)

// driftDays is a log of days on which a policy takes a candidate's action with the
// probability μ, or with wrong instead on the last day; unknown logs only what it took.
type driftDays struct {
	μ, wrong  float64
	customers int // a day
	each      int // decisions of each, of the same probabilities
	days      int
	unknown   bool
}

func (l driftDays) warned(rng *rand.Rand) bool {
	d := &drift{}
	square, largest := 1/l.μ, 1/l.μ
	if l.unknown {
		square, largest = math.NaN(), math.NaN()
	}
	for day := range l.days {
		chance := l.μ
		if l.wrong > 0 && day == l.days-1 {
			chance = l.wrong
		}
		for range l.customers {
			for range l.each {
				w := 0.0
				if rng.Float64() < chance {
					w = 1 / l.μ
				}
				d.add("rule@1", int64(day)*86400e6, w, 1, square, largest)
			}
			d.close()
		}
	}
	return len(d.warnings()) > 0
}

// A healthy day is accused no oftener than the level says, whether the candidate is
// what nearly always ran, so that what tells is the few decisions it would have
// taken otherwise, or what seldom ran; a day on which the action was drawn with
// another probability is found.
func TestDriftLevelAndPower(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	const logs = 300
	for _, l := range []driftDays{
		{μ: 0.9, customers: 100, each: 1, days: 20},
		{μ: 0.95, customers: 100, each: 5, days: 20},
		{μ: 0.05, customers: 1100, each: 1, days: 20},
		{μ: 0.3, customers: 25, each: 40, days: 10},
		{μ: 0.9, customers: 100, each: 1, days: 20, unknown: true},
		{μ: 0.9, customers: 700, each: 1, days: 20, unknown: true},
		{μ: 0.05, customers: 1200, each: 1, days: 20, unknown: true},
	} {
		alarms := 0
		for range logs {
			if l.warned(rng) {
				alarms++
			}
		}
		if p := alphaCalibration; float64(alarms) > p*logs+4*math.Sqrt(p*(1-p)*logs) {
			t.Errorf("%+v: %d of %d healthy logs are accused", l, alarms, logs)
		}
	}
	for _, l := range []driftDays{
		{μ: 0.9, wrong: 0.8, customers: 1000, each: 1, days: 10},
		{μ: 0.05, wrong: 0.1, customers: 2000, each: 1, days: 10},
		{μ: 0.05, wrong: 0.02, customers: 4000, each: 1, days: 10},
		{μ: 0.5, wrong: 0.25, customers: 100, each: 5, days: 10},
		{μ: 0.9, wrong: 0.8, customers: 1500, each: 1, days: 10, unknown: true},
	} {
		found := 0
		for range 20 {
			if l.warned(rng) {
				found++
			}
		}
		if found < 18 {
			t.Errorf("%+v: found in %d of 20 logs", l, found)
		}
	}
}
