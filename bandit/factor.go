package bandit

import (
	"math"
	"slices"
)

// factor is the lower Cholesky factor L of A = ridge·I + Σ x xᵀ together with
// c = L⁻¹b, b = Σ r x. With y = L⁻¹x it gives the prediction xᵀA⁻¹b = cᵀy, its
// variance xᵀA⁻¹x = yᵀy and the explained part bᵀA⁻¹b = cᵀc, each in O(d²) and
// without an inverse.
//
// Four rows are stored side by side, column after column, so that one pass
// over memory feeds four independent sums: row i, column j lies at
// 8·B(B+1) + 4j + i mod 4 with B = i/4. Rows are padded to a multiple of four by
// those of the identity.
//
// The four-by-four triangles on the diagonal are kept inverted as well (as in a
// blocked triangular solve), which shortens the chain of operations that must
// wait for one another.
type factor struct {
	l       []float64
	corners []float64 // inverses of the diagonal triangles, 16 numbers each, column after column
	c       []float64
	// theta is A⁻¹b, padded, for predictions without a variance. Rotations do not
	// keep it: it is nil in a factor that is updated.
	theta []float64
}

// padded returns the number of rows held for d features.
func padded(d int) int { return (d + 3) &^ 3 }

// block returns where the four rows that begin with row i (a multiple of 4) are
// stored.
func block(i int) int { return i * (i + 4) / 2 }

// newFactor returns the factor of ridge·I, and c = 0, for n rows (a multiple of
// 4).
func newFactor(n int, ridge float64) factor {
	f := factor{l: make([]float64, block(n)), corners: make([]float64, 4*n), c: make([]float64, n)}
	root := math.Sqrt(ridge)
	for i := range n {
		f.l[block(i&^3)+4*i+i&3] = root
	}
	for i := 0; i < n; i += 4 {
		f.invertCorner(i)
	}
	return f
}

// clone returns a copy to be updated.
func (f *factor) clone() factor {
	return factor{l: slices.Clone(f.l), corners: slices.Clone(f.corners), c: slices.Clone(f.c)}
}

// invertCorner inverts the diagonal triangle of the block that begins with row
// i.
func (f *factor) invertCorner(i int) {
	d := (*[16]float64)(f.l[block(i)+4*i:])
	v := (*[16]float64)(f.corners[4*i:])
	v[0], v[5], v[10], v[15] = 1/d[0], 1/d[5], 1/d[10], 1/d[15]
	v[1] = -float64(float64(d[1]*v[0]) * v[5])
	v[6] = -float64(float64(d[6]*v[5]) * v[10])
	v[11] = -float64(float64(d[11]*v[10]) * v[15])
	v[2] = -float64((float64(d[2]*v[0]) + float64(d[6]*v[1])) * v[10])
	v[7] = -float64((float64(d[7]*v[5]) + float64(d[11]*v[6])) * v[15])
	v[3] = -float64((float64(d[3]*v[0]) + float64(d[7]*v[1]) + float64(d[11]*v[2])) * v[15])
}

// solve sets y = L⁻¹x by forward substitution and returns cᵀy and yᵀy. x and y
// have the padded length; x is 0 in the padding. The order of every sum is
// fixed by the dimension alone.
func (f *factor) solve(y, x []float64) (mean, variance float64) {
	n := len(f.c)
	x, y = x[:n], y[:n]
	l := f.l
	for i := 0; i+3 < n; i += 4 {
		rows := l[:4*i]
		l = l[4*i:]
		a := (*[4]float64)(x[i:])
		s0, s1, s2, s3 := a[0], a[1], a[2], a[3]
		for done := y[:i]; len(done) >= 4 && len(rows) >= 16; done, rows = done[4:], rows[16:] {
			r := (*[16]float64)(rows)
			v := (*[4]float64)(done)
			v0, v1, v2, v3 := v[0], v[1], v[2], v[3]
			s0 -= float64(r[0]*v0) + float64(r[4]*v1)
			s1 -= float64(r[1]*v0) + float64(r[5]*v1)
			s2 -= float64(r[2]*v0) + float64(r[6]*v1)
			s3 -= float64(r[3]*v0) + float64(r[7]*v1)
			s0 -= float64(r[8]*v2) + float64(r[12]*v3)
			s1 -= float64(r[9]*v2) + float64(r[13]*v3)
			s2 -= float64(r[10]*v2) + float64(r[14]*v3)
			s3 -= float64(r[11]*v2) + float64(r[15]*v3)
		}
		l = l[16:]
		d := (*[16]float64)(f.corners[4*i:])
		z := (*[4]float64)(y[i:])
		z[0] = float64(d[0] * s0)
		z[1] = float64(d[1]*s0) + float64(d[5]*s1)
		z[2] = float64(d[2]*s0) + float64(d[6]*s1) + float64(d[10]*s2)
		z[3] = (float64(d[3]*s0) + float64(d[7]*s1)) + (float64(d[11]*s2) + float64(d[15]*s3))
	}
	return dot(f.c, y), dot(y, y)
}

// predict returns θᵀx alone, in O(d) where θ is at hand. y is scratch space.
func (f *factor) predict(y, x []float64) float64 {
	if f.theta == nil {
		mean, _ := f.solve(y, x)
		return mean
	}
	return dot(f.theta, x)
}

// explained returns cᵀc = bᵀA⁻¹b.
func (f *factor) explained() float64 {
	var s float64
	for _, v := range f.c {
		s += float64(v * v)
	}
	return s
}

// update turns L into the factor of A + xxᵀ and c into that of b + r·x by Givens
// rotations (Gill, Golub, Murray and Saunders 1974, method C3): (L x) Q = (L' 0),
// (cᵀ r) Q = (c'ᵀ ρ). x has the padded length; rotations is scratch space of
// twice that.
func (f *factor) update(x []float64, reward float64, rotations []float64) {
	n := len(f.c)
	x, rotations = x[:n], rotations[:2*n]
	for i := 0; i+3 < n; i += 4 {
		at := block(i)
		rows := f.l[at : at+4*(i+4)]
		t0, t1, t2, t3 := x[i], x[i+1], x[i+2], x[i+3]
		done := rotations[:2*i]
		for ; len(done) >= 2; done = done[2:] {
			c, s := done[0], done[1]
			r := (*[4]float64)(rows)
			a0, a1, a2, a3 := r[0], r[1], r[2], r[3]
			r[0], t0 = float64(c*a0)+float64(s*t0), float64(c*t0)-float64(s*a0)
			r[1], t1 = float64(c*a1)+float64(s*t1), float64(c*t1)-float64(s*a1)
			r[2], t2 = float64(c*a2)+float64(s*t2), float64(c*t2)-float64(s*a2)
			r[3], t3 = float64(c*a3)+float64(s*t3), float64(c*t3)-float64(s*a3)
			rows = rows[4:]
		}
		d := (*[16]float64)(rows)
		t := [4]float64{t0, t1, t2, t3}
		for k := range 4 {
			a := d[5*k]
			norm := math.Sqrt(float64(a*a) + float64(t[k]*t[k]))
			c, s := a/norm, t[k]/norm
			rotations[2*(i+k)], rotations[2*(i+k)+1] = c, s
			d[5*k] = norm
			for j := k + 1; j < 4; j++ {
				a := d[4*k+j]
				d[4*k+j], t[j] = float64(c*a)+float64(s*t[j]), float64(c*t[j])-float64(s*a)
			}
			b := f.c[i+k]
			f.c[i+k], reward = float64(c*b)+float64(s*reward), float64(c*reward)-float64(s*b)
		}
		f.invertCorner(i)
	}
}

// downdate turns L into the factor of A − xxᵀ and c into that of b − r·x by
// hyperbolic rotations in mixed form (Bojanczyk, Brent, van Dooren and de Hoog
// 1987, "A note on downdating the Cholesky factorization"). It reports false,
// and leaves the factor spoilt, where a pivot shrinks so much that digits would
// be lost: the caller then factorises A anew.
func (f *factor) downdate(x []float64, reward float64, rotations []float64) bool {
	n := len(f.c)
	x, rotations = x[:n], rotations[:2*n]
	var t [4]float64
	for i := 0; i+3 < n; i += 4 {
		at := block(i)
		rows := f.l[at : at+4*(i+4)]
		copy(t[:], x[i:i+4])
		for j := range i {
			c, s := rotations[2*j], rotations[2*j+1]
			r := (*[4]float64)(rows)
			for k := range 4 {
				r[k] = (r[k] - float64(s*t[k])) / c
				t[k] = float64(c*t[k]) - float64(s*r[k])
			}
			rows = rows[4:]
		}
		d := (*[16]float64)(rows)
		for k := range 4 {
			a := d[5*k]
			s := t[k] / a
			cc := float64((1 - s) * (1 + s))
			if !(cc > 0.01) {
				return false
			}
			c := math.Sqrt(cc)
			rotations[2*(i+k)], rotations[2*(i+k)+1] = c, s
			d[5*k] = float64(a * c)
			for j := k + 1; j < 4; j++ {
				d[4*k+j] = (d[4*k+j] - float64(s*t[j])) / c
				t[j] = float64(c*t[j]) - float64(s*d[4*k+j])
			}
			f.c[i+k] = (f.c[i+k] - float64(s*reward)) / c
			reward = float64(c*reward) - float64(s*f.c[i+k])
		}
		f.invertCorner(i)
	}
	return true
}
