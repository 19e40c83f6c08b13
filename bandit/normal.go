package bandit

import "math"

// The standard normal distribution from a table. The line is cut into cells of
// width tableStep; around the centre t₀ of a cell, with δ = t − t₀ and the
// Hermite polynomials Heₙ,
//
//	Φ(t₀+δ) = Φ(t₀) + φ(t₀) Σ_{n=1..4} Heₙ₋₁(t₀) (−1)ⁿ⁻¹ δⁿ/n!
//
// and φ is the derivative of that polynomial. The remainder of Φ is at most
// δ⁵/120·max|He₄φ| and that of φ at most δ⁴/24·max|He₄φ|: with |δ| ≤ 2⁻⁸ and
// |He₄φ| ≤ 1.2 they are below 1e-14 and 1.2e-11 (a test proves both, and that
// neither function can become zero or negative).
const (
	tableRange = 8.0 // |t| < tableRange
	tableCells = 2048
	tableScale = tableCells / (2 * tableRange) // cells per unit of t
)

// normalCell holds the polynomials of one cell in powers of the distance from
// its centre, counted in cells: Φ = c0 + c1 δ + … + c4 δ⁴ and dΦ/dδ = c1 + d1 δ
// + d2 δ² + d3 δ³. It fills one cache line.
type normalCell struct {
	c0, c1, c2, c3, c4 float64
	d1, d2, d3         float64
}

// normals is filled once and only read afterwards.
var normals = func() *[tableCells]normalCell {
	var tab [tableCells]normalCell
	const h = 1 / tableScale
	for k := range tab {
		t := (float64(k)+0.5)*h - tableRange
		c := &tab[k]
		pdf := math.Exp(-t*t/2) / math.Sqrt(2*math.Pi)
		c.c0 = 0.5 * math.Erfc(-t/math.Sqrt2)
		c.c1 = pdf * h
		c.c2 = -pdf * t * h * h / 2
		c.c3 = pdf * (t*t - 1) * h * h * h / 6
		c.c4 = -pdf * (t*t*t - 3*t) * h * h * h * h / 24
		c.d1, c.d2, c.d3 = 2*c.c2, 3*c.c3, 4*c.c4
	}
	return &tab
}()

// normalCDF returns Φ at v = (t + tableRange)·tableScale, the place counted in
// cells. Beyond the table it is taken as Φ(−tableRange) = 6e-16 or as 1.
func normalCDF(v float64) float64 {
	g := int(v)
	if uint(g) >= tableCells || v < 0 {
		if v < 0 {
			return normals[0].c0
		}
		return 1
	}
	c := &normals[g]
	d := v - float64(g) - 0.5
	d2 := float64(d * d)
	return (c.c0 + float64(d*c.c1)) + float64(d2*((c.c2+float64(d*c.c3))+float64(d2*c.c4)))
}

// normalBoth returns Φ and dΦ/dv at v, as normalCDF does; φ = dΦ/dv·tableScale.
func normalBoth(v float64) (cdf, slope float64) {
	g := int(v)
	if uint(g) >= tableCells || v < 0 {
		if v < 0 {
			return normals[0].c0, 0
		}
		return 1, 0
	}
	c := &normals[g]
	d := v - float64(g) - 0.5
	d2 := float64(d * d)
	cdf = (c.c0 + float64(d*c.c1)) + float64(d2*((c.c2+float64(d*c.c3))+float64(d2*c.c4)))
	slope = (c.c1 + float64(d*c.d1)) + float64(d2*(c.d2+float64(d*c.d3)))
	return cdf, slope
}
