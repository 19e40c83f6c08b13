package bandit

import "math"

// dense is a square matrix, row after row. It serves the derivations that are
// made once per snapshot; decisions use factors.
type dense struct {
	d int
	v []float64
}

func newDense(d int) dense { return dense{d, make([]float64, d*d)} }

func (m dense) row(i int) []float64 { return m.v[i*m.d : (i+1)*m.d] }

// timesTransposed returns m·oᵀ.
func (m dense) timesTransposed(o dense) dense {
	p := newDense(m.d)
	for i := range m.d {
		row := p.row(i)
		for j := range row {
			row[j] = dot(m.row(i), o.row(j))
		}
	}
	return p
}

func (m dense) transposed() dense {
	t := newDense(m.d)
	for i := range m.d {
		for j, v := range m.row(i) {
			t.v[j*m.d+i] = v
		}
	}
	return t
}

// inverse returns L⁻¹ of a factor of d features.
func (f *factor) inverse(d int) dense {
	t := newDense(d) // column after column
	x, y := make([]float64, len(f.c)), make([]float64, len(f.c))
	for j := range d {
		x[j] = 1
		f.solve(y, x)
		x[j] = 0
		copy(t.row(j), y[:d])
	}
	return t.transposed()
}

// gram returns mᵀm: of L⁻¹ it is the covariance A⁻¹.
func (m dense) gram() dense {
	t := m.transposed()
	return t.timesTransposed(t)
}

// upperFactor returns the upper triangle U with m = U Uᵀ, and false where m is
// not positive definite in floating point.
func (m dense) upperFactor() (dense, bool) {
	u, n := newDense(m.d), m.d
	for j := n - 1; j >= 0; j-- {
		right := u.row(j)[j+1:]
		pivot := m.v[j*n+j] - dot(right, right)
		if !(pivot > 0) || math.IsInf(pivot, 1) {
			return dense{}, false
		}
		root := math.Sqrt(pivot)
		u.v[j*n+j] = root
		for i := range j {
			u.v[i*n+j] = (m.v[i*n+j] - dot(u.row(i)[j+1:], right)) / root
		}
	}
	return u, true
}
