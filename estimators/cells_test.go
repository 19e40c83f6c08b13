package estimators

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Far more distinct points than cells: memory stays flat, sums stay exact, and
// neither the order nor the split of the customers changes the cells.
func TestCellsStayFlatInAnyOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(61, 1))
	type point struct{ n, u, y float64 }
	points := make([]point, 200000)
	var n, u, y []float64
	for i := range points {
		p := point{float64(1 + rng.IntN(300)), 40 * rng.NormFloat64(), math.Exp(3 * rng.NormFloat64())}
		points[i] = p
		n, u, y = append(n, p.n), append(u, p.u), append(y, p.y)
	}
	var all cells
	for _, p := range points {
		all.add(1, p.n, p.u, p.y)
	}
	parts := make([]cells, 3)
	for _, i := range rng.Perm(len(points)) {
		p := points[i]
		parts[min(i%7, 2)].add(1, p.n, p.u, p.y)
	}
	merged := parts[2]
	merged.merge(&parts[0])
	merged.merge(&parts[1])
	t.Logf("%d cells at level %d, width %g", len(all.key), all.level, all.width())
	if len(all.key) > maxCells || all.level == 0 {
		t.Errorf("%d cells at level %d", len(all.key), all.level)
	}
	if merged.level != all.level || len(merged.key) != len(all.key) || merged.customers != 200000 || merged.maxRows != all.maxRows {
		t.Errorf("merged: %d cells at level %d; at once: %d at %d", len(merged.key), merged.level, len(all.key), all.level)
	}
	for k, at := range merged.index {
		i, ok := all.index[k]
		if !ok || all.count[i] != merged.count[at] {
			t.Fatalf("cell %v holds %g customers, at once %g", k, merged.count[at], all.count[i])
		}
	}
	near(t, "Σn", sum(all.n), sum(n), 1e-12)
	near(t, "Σu", sum(all.u), sum(u), 1e-10)
	near(t, "Σy", sum(all.y), sum(y), 1e-12)
	// Every point lies within the width of its cell's mean.
	w := all.width()
	for _, p := range points {
		i := all.index[cellKey{bin(p.n, all.level), bin(p.u, all.level), bin(p.y, all.level)}]
		for _, d := range [][2]float64{{p.n, all.n[i]}, {p.u, all.u[i]}, {p.y, all.y[i]}} {
			if m := d[1] / all.count[i]; math.Abs(d[0]-m) > w*math.Abs(d[0])*(1+1e-9) {
				t.Fatalf("%g in a cell of mean %g and width %g", d[0], m, w)
			}
		}
	}
}
