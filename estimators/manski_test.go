package estimators

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Manski's bounds cover a value that lies at their very end: which customers lack
// support is random too, and what they may earn is added to what the others did.
func TestManskiBoundsCoverTheirEnds(t *testing.T) {
	const replications, customers, level = 400, 300, 0.95
	for _, c := range []struct {
		name            string
		short           float64 // share of customers without support
		each            float64
		supported, rest float64 // rewards
	}{
		{"a tenth", 0.1, 1, -1, 5},
		{"half", 0.5, 1, -1, 5},
		{"half, many rows", 0.5, 20, -1, 5},
		{"half, at the lower end", 0.5, 1, 4, -1},
	} {
		rng := rand.New(rand.NewPCG(3, uint64(c.each)))
		missed, moved := 0, 0
		value := (1-c.short)*c.supported + c.short*c.rest
		for range replications {
			l := WeightLikelihood{Origin: 0.2, Least: -1, Most: 5}
			short, total := 0.0, 0.0
			for range customers {
				x := Customer{Rows: c.each}
				if rng.Float64() < c.short {
					short++
				} else {
					x.Support = c.each
					for range int(c.each) {
						if rng.Float64() < 0.5 { // the logger's chance of what the candidate does
							x.Weight += 2
							x.WeightedReward += 2 * c.supported
						}
					}
				}
				total += x.WeightedReward / c.each
				l.Add(&x)
			}
			iv, err := l.Manski(2, level)
			if err != nil || !(iv.Low <= iv.High) {
				t.Fatal(iv, err)
			}
			low, high := math.Max((total-short)/customers, -1), math.Min((total+5*short)/customers, 5)
			if iv.Low > low+1e-6 || iv.High < high-1e-6 {
				t.Fatalf("%s: %+v does not hold the sample's own bounds %v and %v", c.name, iv, low, high)
			}
			if value < iv.Low-1e-9 || value > iv.High+1e-9 {
				missed++
			}
			if iv.High-iv.Low > (high-low)+1.5 {
				moved++
			}
		}
		// Only one end can be missed: .025 nominal, .04 by what empirical likelihood
		// promises (.92 to .997), and four standard errors of the simulation.
		t.Logf("%s: missed in %.4f of %d logs", c.name, float64(missed)/replications, replications)
		if limit := 0.04 + 4*math.Sqrt(0.025*0.975/replications); float64(missed)/replications > limit {
			t.Errorf("%s: missed in %.4f of %d logs", c.name, float64(missed)/replications, replications)
		}
		if moved > 0 {
			t.Errorf("%s: %d intervals say nothing", c.name, moved)
		}
	}
}

// Bounds do not depend on when support ran out, nor on how customers were merged,
// and are those of the value where it never did.
func TestManskiBoundsMerge(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	var customers []Customer
	for i := range 400 {
		x := Customer{Rows: 2, Support: 2}
		if i >= 200 && i%3 == 0 {
			x.Support = 0.5
		}
		if rng.Float64() < 0.5 {
			x.Weight = 3
			x.WeightedReward = 3 * float64(rng.IntN(3))
		}
		customers = append(customers, x)
	}
	of := func(parts ...[]Customer) Interval {
		var all WeightLikelihood
		for k, p := range parts {
			l := WeightLikelihood{Origin: 0.4, Least: 0, Most: 2}
			for i := range p {
				l.Add(&p[i])
			}
			if k == 0 {
				all = l
			} else {
				all.Merge(&l)
			}
		}
		iv, err := all.Manski(6, 0.95)
		if err != nil {
			t.Fatal(err)
		}
		return iv
	}
	want := of(customers)
	for _, parts := range [][][]Customer{
		{customers[:200], customers[200:]}, {customers[200:], customers[:200]}, {customers[:100], customers[100:150], customers[150:300], customers[300:]},
	} {
		if got := of(parts...); math.Abs(got.Low-want.Low) > 1e-9 || math.Abs(got.High-want.High) > 1e-9 {
			t.Errorf("%+v, all at once %+v", got, want)
		}
	}
	l := WeightLikelihood{Origin: 0.4, Least: 0, Most: 2}
	for i := range 200 {
		l.Add(&customers[i])
	}
	got, err := l.Manski(6, 0.95)
	if err != nil {
		t.Fatal(err)
	}
	if _, iv, err := l.IPS(6, 0, 2, 0.95); err != nil || math.Abs(got.Low-max(iv.Low, 0)) > 1e-12 || math.Abs(got.High-min(iv.High, 2)) > 1e-12 {
		t.Errorf("%+v, with full support %+v (%v)", got, iv, err)
	}
	if _, err := l.Manski(0, 0.95); err == nil {
		t.Error("no largest weight, and bounds")
	}
}
