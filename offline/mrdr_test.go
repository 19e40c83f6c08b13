package offline

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"nextbest"
	"nextbest/estimators"
)

// bent is a log with one feature whose rewards no linear model has right, and a
// logger that leans.
type bent struct {
	rng  *rand.Rand
	rows int
}

func (l bent) Rows(_ context.Context, _ nextbest.Query, f func(*nextbest.Batch) error) error {
	rng := *l.rng
	r := rand.New(rand.NewPCG(rng.Uint64(), 5))
	b := &nextbest.Batch{Actions: []string{"a0", "a1"}, Offsets: []int{0}, Width: 1}
	for i := range l.rows {
		x := r.Float64()
		p := []float64{0.9 - 0.85*x, 0.1 + 0.85*x}
		a := 0
		if r.Float64() < p[1] {
			a = 1
		}
		appendRow(b, i, fmt.Sprintf("c%07d", i), p, a, 0.05, r.Float64() < bentMean(x, a))
		b.X = append(b.X, float32(x))
	}
	return f(b)
}

func bentMean(x float64, a int) float64 { return 0.6*x*x + 0.4*float64(a)*(1-x)*(1-x) }

// MRDR is unbiased though its model is wrong, and its errors are no larger than
// those of DR.
func TestMRDRByReplication(t *testing.T) {
	reps := 250
	if testing.Short() {
		reps = 60
	}
	const truth = 0.6/3 + 0.4/3
	var bias, usual estimators.Ratio
	for rep := range reps {
		req := plainRequest(always{"one", 1})
		req.Estimators = []estimators.Choice{choice(t, "mrdr"), choice(t, "dr")}
		r := get(t, evaluated(t, bent{rand.New(rand.NewPCG(uint64(rep), 11)), 1500}, req), "one")
		e, d := shown(t, r, "mrdr"), shown(t, r, "dr")
		if e.Problem != "" {
			t.Fatal(e.Problem)
		}
		bias.Add(e.Value-truth, 1)
		usual.Add(d.Value-truth, 1)
	}
	e, _ := bias.Estimate()
	d, _ := usual.Estimate()
	t.Logf("MRDR bias %+.5f ± %.5f, DR %+.5f ± %.5f", e.Value, e.StdErr, d.Value, d.StdErr)
	if math.Abs(e.Value) > 4*e.StdErr || e.StdErr > d.StdErr*1.01 {
		t.Errorf("MRDR: bias %+.5f ± %.5f; DR ± %.5f", e.Value, e.StdErr, d.StdErr)
	}
}
