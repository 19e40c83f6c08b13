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
	t.Logf("%d cells at level %d, width %g", len(all.all), all.level, all.width())
	if len(all.all) > maxCells || all.level == 0 {
		t.Errorf("%d cells at level %d", len(all.all), all.level)
	}
	if merged.level != all.level || len(merged.all) != len(all.all) || merged.customers != 200000 || merged.maxRows != all.maxRows {
		t.Errorf("merged: %d cells at level %d; at once: %d at %d", len(merged.all), merged.level, len(all.all), all.level)
	}
	places := map[cellKey]cell{}
	var sums [3][]float64
	for _, c := range all.all {
		places[c.key] = c
		sums[0], sums[1], sums[2] = append(sums[0], c.n), append(sums[1], c.u), append(sums[2], c.y)
	}
	for _, m := range merged.all {
		if c, ok := places[m.key]; !ok || c.count != m.count {
			t.Fatalf("cell %v holds %g customers, at once %g", m.key, m.count, c.count)
		}
	}
	near(t, "Σn", sum(sums[0]), sum(n), 1e-12)
	near(t, "Σu", sum(sums[1]), sum(u), 1e-10)
	near(t, "Σy", sum(sums[2]), sum(y), 1e-12)
	// Every point lies within the width of its cell's mean.
	w := all.width()
	for _, p := range points {
		c := places[cellKey{bin(p.n, all.level), bin(p.u, all.level), bin(p.y, all.level)}]
		for _, d := range [][2]float64{{p.n, c.n}, {p.u, c.u}, {p.y, c.y}} {
			if m := d[1] / c.count; math.Abs(d[0]-m) > w*math.Abs(d[0])*(1+1e-9) {
				t.Fatalf("%g in a cell of mean %g and width %g", d[0], m, w)
			}
		}
	}
}

// The index finds every key at its place, and only those.
func TestCellIndex(t *testing.T) {
	rng := rand.New(rand.NewPCG(61, 2))
	var x cellIndex
	var all []cell
	places := map[cellKey]int32{}
	for range 100000 {
		k := cellKey{rng.Uint32N(30), rng.Uint32N(40), rng.Uint32N(30) << 12}
		want, known := places[k]
		place, ok := x.find(all, k)
		if ok != known || known && place != want || !known && int(place) != len(all) {
			t.Fatalf("key %v of %d: place %d, %v; want %d, %v", k, len(all), place, ok, want, known)
		}
		if !ok {
			places[k] = place
			all = append(all, cell{key: k})
		}
	}
	if len(all) < 20000 {
		t.Errorf("%d keys are too few to try the index", len(all))
	}
}
