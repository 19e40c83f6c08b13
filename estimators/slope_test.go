package estimators

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestSlopeRules(t *testing.T) {
	// Intervals [0,4], [.5,2.5], [2.4,3.4], [5,5.4]: the third still meets all, the fourth not.
	if k := Slope([]float64{2, 1.5, 2.9, 5.2}, []float64{1, 0.5, 0.25, 0.1}); k != 2 {
		t.Errorf("SLOPE chooses %d", k)
	}
	// Pairs meet, yet not all three at once: 1 and 2 do, 3 misses the first.
	if k := Slope([]float64{0, 1.5, 2.9}, []float64{0.5, 0.5, 0.5}); k != 1 {
		t.Errorf("SLOPE chooses %d", k)
	}
	if k := Slope([]float64{3}, []float64{math.Inf(1)}); k != 0 {
		t.Errorf("SLOPE of one chooses %d", k)
	}
	// By width: .2 apart is within .05 + 1.449·1, then 9 is not.
	if k := SlopeByWidth([]float64{9, 0, 0.2}, []float64{0.01, 1, 0.05}); k != 2 {
		t.Errorf("SLOPE by width chooses %d", k)
	}
}

// Few heavy weights: a clipped estimate is far better than IPS, and SLOPE finds
// most of the gain; where clipping only biases, it keeps away.
func TestSlopeHelps(t *testing.T) {
	rng := rand.New(rand.NewPCG(17, 1))
	rmse := func(dependent bool) (ips, slope, clipped float64) {
		const truth, reps = 0.5, 300
		for range reps {
			grid, err := NewGrid("clipped_ips", []float64{math.Inf(1), 300, 100, 30, 10, 3, 1})
			if err != nil {
				t.Fatal(err)
			}
			one, full := NewClippedIPS(1), NewIPS()
			for range 1000 {
				w := 0.9
				r := 0.5
				if rng.Float64() < 0.0005 {
					w = 200.9
				}
				if dependent { // the weights say nothing of the reward's size, but cutting them biases
					w = 2 * rng.Float64()
					r = 0.375 * w // E[wr] = .375·4/3
				}
				row := []Row{{Weight: w, Reward: r}}
				grid.Add(row)
				one.Add(row)
				full.Add(row)
			}
			a, err := full.Estimate()
			if err != nil {
				t.Fatal(err)
			}
			b, err := grid.Estimate()
			if err != nil {
				t.Fatal(err)
			}
			c, _ := one.Estimate()
			ips += (a.Value - truth) * (a.Value - truth) / reps
			slope += (b.Value - truth) * (b.Value - truth) / reps
			clipped += (c.Value - truth) * (c.Value - truth) / reps
		}
		return math.Sqrt(ips), math.Sqrt(slope), math.Sqrt(clipped)
	}
	ips, slope, _ := rmse(false)
	t.Logf("heavy weights: root mean squared error IPS %.4f, SLOPE %.4f", ips, slope)
	if slope > 0.8*ips {
		t.Errorf("SLOPE's error %.4f, IPS %.4f", slope, ips)
	}
	ips, slope, clipped := rmse(true)
	t.Logf("light weights: IPS %.4f, SLOPE %.4f, clipped at 1 %.4f", ips, slope, clipped)
	if slope > 3*ips || clipped < 5*ips {
		t.Errorf("SLOPE's error %.4f, IPS %.4f, clipped at 1 %.4f", slope, ips, clipped)
	}
}

// A grid's estimates are those of single accumulators.
func TestGridEqualsSingles(t *testing.T) {
	customers := sampleRows(5, 300, false)
	for _, d := range Catalogue() {
		if d.Parameter == nil || d.Parameter.Grid == nil {
			continue
		}
		g, err := NewGrid(d.Name, d.Parameter.Grid)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range customers {
			g.Add(c)
		}
		es, err := g.Estimates()
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range g.Values() {
			one := d.build(v)
			for _, c := range customers {
				one.Add(c)
			}
			e, _ := one.Estimate()
			near(t, d.Name, es[k].Value, e.Value, 1e-12)
			near(t, d.Name+" se", es[k].StdErr, e.StdErr, 1e-12)
		}
		if _, err := g.Estimate(); err != nil || math.IsNaN(g.Chosen()) {
			t.Errorf("%s: chosen %v, %v", d.Name, g.Chosen(), err)
		}
	}
	for _, c := range []struct {
		name   string
		values []float64
	}{{"dr", []float64{1}}, {"dros", nil}, {"dros", []float64{-1}}, {"doubly", []float64{1}}} {
		if _, err := NewGrid(c.name, c.values); err == nil {
			t.Errorf("a grid of %s at %v", c.name, c.values)
		}
	}
}
