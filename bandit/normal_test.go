package bandit

import (
	"math"
	"testing"
)

// TestNormalTableErrorBound proves the bounds stated at the table: the
// remainders of the Taylor polynomials are monotone in |δ|, so the ends of the
// cells are the worst places; points between are checked as well.
func TestNormalTableErrorBound(t *testing.T) {
	const (
		cdfBound  = 1e-14   // δ⁵/120·1.2 with δ = 2⁻⁸, and rounding
		pdfBound  = 1.2e-11 // δ⁴/24·1.2
		tailBound = 1e-6    // relative, where the values are small
	)
	var worstCDF, worstPDF float64
	for k := range tableCells {
		for _, within := range []float64{0, 1e-9, 0.25, 0.5, 0.75, 1 - 1e-9} {
			v := float64(k) + within
			x := v/tableScale - tableRange
			cdf, slope := normalBoth(v)
			pdf := slope * tableScale
			wantCDF, wantPDF := 0.5*math.Erfc(-x/math.Sqrt2), math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
			worstCDF, worstPDF = max(worstCDF, math.Abs(cdf-wantCDF)), max(worstPDF, math.Abs(pdf-wantPDF))
			if !(cdf > 0 && cdf <= 1 && pdf > 0) {
				t.Fatalf("t=%g: Φ=%g φ=%g", x, cdf, pdf)
			}
			if math.Abs(cdf/wantCDF-1) > tailBound || math.Abs(pdf/wantPDF-1) > tailBound {
				t.Fatalf("t=%g: Φ=%g, exactly %g; φ=%g, exactly %g", x, cdf, wantCDF, pdf, wantPDF)
			}
			if normalCDF(v) != cdf {
				t.Fatalf("t=%g: normalCDF and normalBoth differ", x)
			}
		}
	}
	t.Logf("largest error of Φ %.2g, of φ %.2g", worstCDF, worstPDF)
	if worstCDF > cdfBound || worstPDF > pdfBound {
		t.Errorf("errors %g and %g exceed the bounds %g and %g", worstCDF, worstPDF, cdfBound, pdfBound)
	}
	// The bound of He₄φ used above, on a grid ten times finer than its features.
	for x := -10.0; x <= 10; x += 1e-3 {
		if h := math.Abs((x*x*x*x - 6*x*x + 3) * math.Exp(-x*x/2) / math.Sqrt(2*math.Pi)); h > 1.2 {
			t.Fatalf("|He₄φ|(%g) = %g > 1.2", x, h)
		}
	}
	if got := normalCDF(-1); !(got > 0 && got < 1e-14) {
		t.Errorf("below the table Φ = %g", got)
	}
	if got := normalCDF(tableCells); got != 1 {
		t.Errorf("above the table Φ = %g", got)
	}
}
