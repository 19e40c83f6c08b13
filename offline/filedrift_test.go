package offline

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// driftLog is a simulated file of a logger that prefers an action by the
// customer's context.
type driftLog struct {
	customers, each int
	heavy           bool    // numbers of rows by a power law with this mean
	mixed           bool    // rows of customers come in any order
	drift           float64 // that the logger's first weight moves by, over the file
	jitter          float64 // of contexts within a customer
}

const driftActions = 4

// study returns the first pass over the file, whose rows have nothing but actions
// and propensities.
func (l driftLog) study(rng *rand.Rand) *fileStudy {
	type row struct {
		group   int
		context float64
	}
	var rows []row
	for c := range l.customers {
		n, context := l.each, rng.NormFloat64()
		if l.heavy {
			n = int(math.Ceil(float64(l.each) / 3 * math.Pow(rng.Float64(), -1/1.5))) // mean near each
		}
		group := driftGroup(fmt.Sprint(c), 0)
		for range n {
			rows = append(rows, row{group, context + l.jitter*rng.NormFloat64()})
		}
	}
	if l.mixed {
		rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	}
	s := newFileStudy()
	var μ [driftActions]float64
	for i, r := range rows {
		sum := 0.0
		for a := range μ {
			w := 0.8 * r.context * (float64(a) - 1.5)
			if a == 0 {
				w += l.drift * float64(i) / float64(len(rows))
			}
			μ[a] = math.Exp(w)
			sum += μ[a]
		}
		a, u := 0, rng.Float64()*sum
		for a < driftActions-1 && u >= μ[a] {
			u -= μ[a]
			a++
		}
		s.action(a, μ[a]/sum, 0, r.group, int64(i), false)
	}
	return s
}

// byRow is the trend's z as if rows were independent, which it was once.
func byRow(t *trend) float64 {
	var m driftSums
	for k := range t.groups {
		m = m.plus(&t.groups[k], 1)
	}
	sxx, sxy, syy := m.xx-m.x*m.x/m.n, m.xy-m.x*m.y/m.n, m.yy-m.y*m.y/m.n
	r := sxy / math.Sqrt(sxx*syy)
	return r * math.Sqrt((m.n-2)/(1-r*r))
}

// A logger that stands still is taken for one that learns at the rate that the
// test declares, however many rows a customer has; one that learns is found.
func TestDriftIsJudgedByCustomer(t *testing.T) {
	const replications = 800 // of 5,000, at most 18 were false alarms
	for _, l := range []driftLog{
		{customers: 1000, each: 1},
		{customers: 200, each: 5}, {customers: 200, each: 10}, {customers: 200, each: 40},
		{customers: 200, each: 10, mixed: true}, {customers: 200, each: 10, jitter: 0.5},
		{customers: 200, each: 10, heavy: true}, {customers: 200, each: 10, heavy: true, mixed: true},
		{customers: 30, each: 40},
	} {
		rng := rand.New(rand.NewPCG(41, uint64(l.each)))
		alarms, five, naive, tests := 0, 0, 0, 0
		for range replications {
			s := l.study(rng)
			if _, _, yes := s.drifts(); yes {
				alarms++
			}
			for k := range s.actions {
				if z, ok := s.actions[k].trend.z(); ok {
					tests++
					if math.Abs(z) > 1.959964 {
						five++
					}
					if math.Abs(byRow(&s.actions[k].trend)) > 1.959964 {
						naive++
					}
				}
			}
		}
		rate := float64(five) / float64(tests)
		t.Logf("%+v: alarms %.4f at level %g; of single actions at .05: %.3f by customer, %.3f by row", l, float64(alarms)/replications, alphaDrift, rate, float64(naive)/float64(tests))
		if alarms > 8 { // 1 or 2 are expected
			t.Errorf("%+v: %d of %d fixed loggers seem to learn", l, alarms, replications)
		}
		if rate > 0.05+4*math.Sqrt(0.05*0.95/replications) { // a file's actions go together
			t.Errorf("%+v: %.3f of healthy actions drift at level .05", l, rate)
		}
	}
	for _, l := range []driftLog{
		{customers: 2000, each: 1, drift: 1.5}, {customers: 1000, each: 10, mixed: true, drift: 1.5}, {customers: 1000, each: 10, drift: 1.5},
	} {
		rng := rand.New(rand.NewPCG(42, uint64(l.each)))
		found := 0
		for range 100 {
			if _, _, yes := l.study(rng).drifts(); yes {
				found++
			}
		}
		t.Logf("%+v: found in %d of 100", l, found)
		if found < 90 {
			t.Errorf("%+v: a logger that learns is found in %d of 100 files", l, found)
		}
	}
}
