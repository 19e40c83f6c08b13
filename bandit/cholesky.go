package bandit

import (
	"math"
	"slices"
)

// triangle returns the number of entries of a packed lower triangle of d rows;
// row i begins at triangle(i).
func triangle(d int) int { return d * (d + 1) / 2 }

// dot returns Σ aᵢbᵢ with four running sums, in an order fixed by the length.
func dot(a, b []float64) float64 {
	var s0, s1, s2, s3 float64
	for len(a) >= 4 && len(b) >= 4 {
		p, q := (*[4]float64)(a), (*[4]float64)(b)
		s0 += float64(p[0] * q[0])
		s1 += float64(p[1] * q[1])
		s2 += float64(p[2] * q[2])
		s3 += float64(p[3] * q[3])
		a, b = a[4:], b[4:]
	}
	for i := range min(len(a), len(b)) {
		s0 += float64(a[i] * b[i])
	}
	return (s0 + s1) + (s2 + s3)
}

// factorise computes the factor of A = gram + ridge·I and c = L⁻¹b. gram is a
// packed lower triangle, row after row. It reports false where A is not
// positive definite in floating point or something overflows.
func factorise(gram, b []float64, ridge float64) (factor, bool) {
	d := len(b)
	l := slices.Clone(gram)
	for i := range d {
		row := l[triangle(i):triangle(i+1)]
		row[i] += ridge
		for j := range i {
			other := l[triangle(j):triangle(j+1)]
			row[j] = (row[j] - dot(row[:j], other[:j])) / other[j]
		}
		pivot := row[i] - dot(row[:i], row[:i])
		if !(pivot > 0) || math.IsInf(pivot, 1) {
			return factor{}, false
		}
		row[i] = math.Sqrt(pivot)
	}
	f := newFactor(padded(d), 1)
	for i := range d {
		row := l[triangle(i):triangle(i+1)]
		to := f.l[block(i&^3)+i&3:]
		for j, v := range row {
			to[4*j] = v
		}
		f.c[i] = (b[i] - dot(row[:i], f.c[:i])) / row[i]
	}
	for i := 0; i < d; i += 4 {
		f.invertCorner(i)
	}
	if e := f.explained(); math.IsInf(e, 0) || math.IsNaN(e) {
		return factor{}, false
	}
	// θ = L⁻ᵀc, column by column from the last.
	f.theta = slices.Clone(f.c)
	for i := d - 1; i >= 0; i-- {
		row := l[triangle(i):triangle(i+1)]
		v := f.theta[i] / row[i]
		f.theta[i] = v
		if v-v != 0 {
			return factor{}, false
		}
		for j, r := range row[:i] {
			f.theta[j] -= float64(r * v)
		}
	}
	return f, true
}

// inverseDiagonal returns the first d entries of the diagonal of A⁻¹. It takes
// O(d³) and is for people to read, not for deciding.
func (f *factor) inverseDiagonal(d int) []float64 {
	diagonal := make([]float64, d)
	x, y := make([]float64, len(f.c)), make([]float64, len(f.c))
	for j := range d {
		x[j] = 1
		_, diagonal[j] = f.solve(y, x)
		x[j] = 0
	}
	return diagonal
}
