package estimators

import (
	"math"
	"testing"
)

// Customers that are alike may be added at once.
func TestAddMany(t *testing.T) {
	groups := []struct{ count, n, w, wr float64 }{{300, 1, 0, 0}, {40, 2, 3, 0}, {25, 1, 4, 4}, {7, 3, 9, 6}}
	var one, many Ratio
	var a, b Weighing
	eb, ebMany := EmpiricalBernstein{High: 4}, EmpiricalBernstein{High: 4}
	boot, bootMany := NewBootstrapT(0.1, 4000, 1), NewBootstrapT(0.1, 4000, 1)
	id := uint64(0)
	for g, x := range groups {
		c := Customer{Rows: x.n, Weight: x.w, Support: x.n, WeightedReward: x.wr, AbsShare: x.wr, MaxWeight: 4, Conversion: min(x.wr, 1)}
		for range int(x.count) {
			one.Add(x.wr+1e6*x.n, x.n)
			a.Add(&c)
			eb.Add(x.n, x.wr)
			boot.Add(id, x.wr, x.n, x.wr > 0)
			id++
		}
		many.AddMany(x.count, x.wr+1e6*x.n, x.n)
		b.AddMany(x.count, &c)
		ebMany.AddMany(x.count, x.n, x.wr)
		bootMany.AddMany(uint64(g), int(x.count), x.wr, x.n, x.wr > 0)
	}
	e, _ := one.Estimate()
	f, _ := many.Estimate()
	near(t, "value", f.Value, e.Value, 1e-12)
	near(t, "se", f.StdErr, e.StdErr, 1e-9)
	da, db := a.Estimate(), b.Estimate()
	near(t, "ESS", db.ESS, da.ESS, 1e-12)
	near(t, "z", db.WeightZ, da.WeightZ, 1e-12)
	near(t, "matched", db.MatchedConversions, da.MatchedConversions, 1e-12)
	near(t, "share", db.LargestShare, da.LargestShare, 1e-12)
	iv, _ := eb.Interval(0.95)
	ivMany, _ := ebMany.Interval(0.95)
	near(t, "low", ivMany.Low, iv.Low, 1e-12)
	near(t, "high", ivMany.High, iv.High, 1e-12)
	// Other random numbers, the same law.
	_, bt, err := boot.Interval(0, 10, 0.95)
	if err != nil {
		t.Fatal(err)
	}
	_, btMany, err := bootMany.Interval(0, 10, 0.95)
	if err != nil {
		t.Fatal(err)
	}
	if d := 0.06 * (bt.High - bt.Low); math.Abs(bt.Low-btMany.Low) > d || math.Abs(bt.High-btMany.High) > d {
		t.Errorf("bootstrap-t %+v, of groups %+v", bt, btMany)
	}
}
