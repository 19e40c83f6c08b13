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
	f := packFactor(l, d)
	for i := range d {
		row := l[triangle(i):triangle(i+1)]
		f.c[i] = (b[i] - dot(row[:i], f.c[:i])) / row[i]
	}
	if e := f.explained(); math.IsInf(e, 0) || math.IsNaN(e) {
		return factor{}, false
	}
	f.theta = slices.Clone(f.c)
	f.solveTransposed(f.theta, d)
	for _, v := range f.theta {
		if v-v != 0 {
			return factor{}, false
		}
	}
	return f, true
}

// packFactor lays out a lower triangle, packed row after row; c is 0.
func packFactor(l []float64, d int) factor {
	f := newFactor(padded(d), 1)
	for i := range d {
		to := f.l[block(i&^3)+i&3:]
		for j, v := range l[triangle(i):triangle(i+1)] {
			to[4*j] = v
		}
	}
	for i := 0; i < d; i += 4 {
		f.invertCorner(i)
	}
	return f
}

// row copies the first i+1 entries of row i of L into to.
func (f *factor) row(to []float64, i int) {
	from := f.l[block(i&^3)+i&3:]
	for j := range i + 1 {
		to[j] = from[4*j]
	}
}

// solveTransposed turns x into L⁻ᵀx, column by column from the last; x is 0
// beyond d.
func (f *factor) solveTransposed(x []float64, d int) {
	for i := d - 1; i >= 0; i-- {
		row := f.l[block(i&^3)+i&3:]
		v := x[i] / row[4*i]
		x[i] = v
		for j := range i {
			x[j] -= float64(row[4*j] * v)
		}
	}
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
