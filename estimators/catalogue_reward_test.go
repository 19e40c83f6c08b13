package estimators

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Log-smoothing's default is per unit of the largest reward: its value follows the
// rewards' unit, and is near that of IPS where rewards are beyond 0 and 1.
func TestChoiceForRewards(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 2))
	const n, largest = 4000, 500.0
	rows := make([]Row, n)
	for i := range rows {
		w := 0.5
		if r.Float64() < 0.2 {
			w = 3
		}
		rows[i] = Row{Weight: w, Support: 1}
		if r.Float64() < 0.05 {
			rows[i].Reward = largest * r.Float64()
		}
	}
	value := func(name string, largest, unit float64) float64 {
		c, err := ParseChoice(name)
		if err != nil {
			t.Fatal(err)
		}
		total := c.For(largest).New()
		for _, row := range rows {
			row.Reward *= unit
			total.Add([]Row{row})
		}
		e, err := total.Estimate()
		if err != nil {
			t.Fatal(err)
		}
		return e.Value
	}
	ips, smooth := value("ips", largest, 1), value("log_smoothing", largest, 1)
	if !(smooth < ips && smooth > 0.97*ips) {
		t.Errorf("log-smoothing %v, IPS %v", smooth, ips)
	}
	if whole := value("log_smoothing", 1, 1); !(whole < 0.8*ips) {
		t.Errorf("λ = .01 of rewards up to %v has %v, IPS %v: the test shows nothing", largest, whole, ips)
	}
	for _, name := range []string{"log_smoothing", "log_smoothing:lambda=slope"} {
		if a, b := value(name, largest, 1), value(name, 100*largest, 100)/100; math.Abs(a/b-1) > 1e-12 {
			t.Errorf("%s: %v in whole units, %v in cents", name, a, b)
		}
	}
	for _, name := range []string{"log_smoothing:lambda=0.01", "log_smoothing:lambda=0", "dros", "dros:lambda=slope", "beta_ips", "ips"} {
		c, err := ParseChoice(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.For(largest); got.String() != c.String() || got.Parameter != c.Parameter {
			t.Errorf("%s becomes %s", c, got)
		}
	}
	c, _ := ParseChoice("log_smoothing")
	for _, none := range []float64{0, -1, math.Inf(1), math.NaN()} {
		if got := c.For(none); got.Value != 0.01 {
			t.Errorf("largest reward %v: λ = %v", none, got.Value)
		}
	}
	if got, err := ParseChoice(c.For(largest).String()); err != nil || got.Value != c.For(largest).Value {
		t.Errorf("%s is read as %v, %v", c.For(largest), got, err)
	}
}
