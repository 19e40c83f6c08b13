package offline

import (
	"bytes"
	"context"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"nextbest"
)

// Where types differ and the features tell them apart, the tree gains over the
// best action; the log of rules alone has no tree worth the name.
func TestPolicyTree(t *testing.T) {
	s := conversions()
	s.Types = 3
	req := request(s, s.Best())
	req.Tree = true
	report := evaluated(t, s, req)
	tree := report.Tree
	if tree == nil || tree.Problem != "" || len(tree.Leaves) < 2 {
		t.Fatalf("%+v", tree)
	}
	if tree.Gain.Low <= 0 {
		t.Errorf("the gain is %+v", tree.Gain)
	}
	if best := s.Best().Value(); tree.Value.Low > best || tree.Value.High < 0.7*best {
		t.Errorf("the value is %+v, the best policy's %.4f", tree.Value, best)
	}
	rows := 0
	for _, l := range tree.Leaves {
		rows += l.Rows
	}
	if rows != tree.Valued || tree.Grown+tree.Valued != s.Customers*s.Each {
		t.Errorf("%d rows in leaves, %d and %d of %d", rows, tree.Grown, tree.Valued, s.Customers*s.Each)
	}
	var table bytes.Buffer
	if err := report.WriteTable(&table); err != nil || !strings.Contains(table.String(), "best action") {
		t.Errorf("%v\n%s", err, table.String())
	}
	again := evaluated(t, s, req)
	if *again.Tree.Gain != *tree.Gain {
		t.Errorf("%+v, then %+v", tree.Gain, again.Tree.Gain)
	}
}

// Where all customers are alike, the tree's gain is what growing on noise earns:
// nothing, and its interval says more than nothing no oftener than it may.
func TestPolicyTreeOfNoise(t *testing.T) {
	const replications = 200
	wrong, sum, squares := 0, 0.0, 0.0
	n := 0
	for rep := range replications {
		s := &Simulation{Types: 2, Actions: 3, Features: 4, Customers: 2000, Each: 1, Rate: 0.2, Epsilon: 1, Seed: uint64(1000 + rep)}
		req := request(s, s.Always(1))
		req.Tree = true
		tree := evaluated(t, alike{s}, req).Tree
		if tree.Gain == nil {
			continue
		}
		n++
		sum += tree.Gain.Value
		squares += tree.Gain.Value * tree.Gain.Value
		if tree.Gain.Low > 0 {
			wrong++
		}
	}
	if n < replications/2 {
		t.Fatalf("%d trees", n)
	}
	mean := sum / float64(n)
	se := math.Sqrt((squares/float64(n) - mean*mean) / float64(n))
	if mean > 4*se {
		t.Errorf("the mean gain is %.5f, %.1f standard errors above 0", mean, mean/se)
	}
	p := 0.025
	if share := float64(wrong) / float64(n); share > p+4*math.Sqrt(p*(1-p)/float64(n)) {
		t.Errorf("%.3f of the intervals lie above 0", share)
	}
}

// alike hides from the features what tells customers apart.
type alike struct{ *Simulation }

func (a alike) Rows(ctx context.Context, q nextbest.Query, f func(*nextbest.Batch) error) error {
	rng := rand.New(rand.NewPCG(a.Seed, 1))
	return a.Simulation.Rows(ctx, q, func(b *nextbest.Batch) error {
		for i := range b.N() {
			for k := range 3 {
				b.X[i*b.Width+k] = float32(rng.NormFloat64())
			}
		}
		return f(b)
	})
}
