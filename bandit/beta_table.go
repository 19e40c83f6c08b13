package bandit

import "math"

// betaTable is the distribution of the logit t = ln(θ/(1−θ)) of a Beta(a, b)
// variable θ, whose density there,
//
//	θᵃ(1−θ)ᵇ/B(a, b),
//
// is smooth and has exponential tails for all a, b > 0. The line is cut into
// panels of .3 standard deviations; in each, the density is the polynomial
// through its values at 8 Gauss-Legendre nodes, and Φ the integral of that
// polynomial, divided by the total of all panels: no Beta function is computed,
// whose logarithm would lose digits at many rows. The error is below 1e-11
// (tests).
type betaTable struct {
	mode   float64 // t of the largest density; places are counted from here
	start  float64 // of the first panel, from the mode
	width  float64 // of a panel
	panels []betaPanel
	end    float64 // of the last panel, from the mode
}

// betaPanel holds the distribution function in powers of v ∈ [−1, 1] within the
// panel.
type betaPanel [9]float64

// betaTail is the logarithm of the density, relative to the mode's, at which a
// tail is cut.
const betaTail = -44

// legendreIntegral[j] are the coefficients in v of ∫₋₁ᵛ ℓⱼ, ℓⱼ being the Lagrange
// polynomial of node j.
var legendreIntegral = func() (all [8]betaPanel) {
	for j, xj := range legendreNodes {
		p := [8]float64{1} // coefficients of ℓⱼ
		degree := 0
		for m, xm := range legendreNodes {
			if m == j {
				continue
			}
			var next [8]float64
			for i := range degree + 1 {
				if i+1 < 8 {
					next[i+1] += p[i] / (xj - xm)
				}
				next[i] -= p[i] * xm / (xj - xm)
			}
			p = next
			degree++
		}
		var at float64
		for i, c := range p {
			all[j][i+1] = c / float64(i+1)
			at += all[j][i+1] * float64(1-2*((i+1)&1))
		}
		all[j][0] = -at
	}
	return all
}()

func newBetaTable(a, b float64) *betaTable {
	t := &betaTable{mode: math.Log(a / b)}
	miss := b / (a + b) // 1 − θ at the mode
	// ln of the density at t = mode + δ, relative to the mode's.
	density := func(delta float64) float64 {
		return -float64((a+b)*math.Log1p(float64(miss*math.Expm1(-delta)))) - float64(b*delta)
	}
	t.width = 0.3 * math.Sqrt((a+b)/a/b)
	below, above := 1, 1
	for density(-float64(below)*t.width) > betaTail {
		below++
	}
	for density(float64(above)*t.width) > betaTail {
		above++
	}
	t.start, t.end = -float64(below)*t.width, float64(above)*t.width
	t.panels = make([]betaPanel, below+above)
	var total float64
	for i := range t.panels {
		p := &t.panels[i]
		centre := t.start + (float64(i)+0.5)*t.width
		for j, x := range legendreNodes {
			f := math.Exp(density(centre+float64(x*t.width/2))) * t.width / 2
			for c, v := range legendreIntegral[j] {
				p[c] += float64(f * v)
			}
		}
		var whole float64
		for _, v := range p {
			whole += v
		}
		p[0] += total
		total += whole
	}
	for i := range t.panels {
		for c := range t.panels[i] {
			t.panels[i][c] /= total
		}
	}
	return t
}

// at returns the distribution function and the density of t at a logit.
func (t *betaTable) at(logit float64) (cdf, density float64) {
	delta := logit - t.mode
	if !(delta > t.start) {
		return 0, 0
	}
	if !(delta < t.end) {
		return 1, 0
	}
	place := (delta - t.start) / t.width
	i := min(int(place), len(t.panels)-1)
	v := float64(2*(place-float64(i))) - 1
	p := &t.panels[i]
	cdf = p[8]
	for c := 7; c >= 0; c-- {
		density = float64(density*v) + cdf
		cdf = float64(cdf*v) + p[c]
	}
	return min(max(cdf, 0), 1), max(density, 0) * 2 / t.width
}
