package bandit

import (
	"math"

	"nextbest"
)

// tail is the number of standard deviations beyond which an arm's distribution
// is taken as 0 or 1: Φ(−7.5) = 3.2e-14.
const tail = 7.5

// The mass of the maximum below and above which nothing is integrated. What is
// dropped changes no probability by more than this.
const negligible = 1e-11

// leastDeviation is the standard deviation up to which a score counts as a point
// mass: its inverse would overflow.
const leastDeviation = 1e-290

// panelTolerance bounds |Σ_a ∫ − ΔF| over one panel; a panel that misses it is
// done again at 0.7 of its width, but no narrower than narrowestPanel (in units
// of the narrowest standard deviation).
const (
	panelTolerance = 1e-11 // and 1e-13 for each arm: F is a product of table values
	narrowestPanel = 0.1
	widestPanel    = 2.5
)

// Gauss-Legendre nodes and weights on [−1, 1], 8 points (symmetric pairs).
var (
	legendreNodes = [8]float64{
		-0.96028985649753623, -0.79666647741362674, -0.52553240991632899, -0.18343464249564980,
		0.18343464249564980, 0.52553240991632899, 0.79666647741362674, 0.96028985649753623,
	}
	legendreWeights = [8]float64{
		0.10122853629037626, 0.22238103445337447, 0.31370664587788729, 0.36268378337836198,
		0.36268378337836198, 0.31370664587788729, 0.22238103445337447, 0.10122853629037626,
	}
)

// gaussianArm is one arm that is still in the running at the current point of
// the integration.
type gaussianArm struct {
	mean, sd float64 // the mean relative to the reference arm's
	scale    float64 // cells of the normal table per unit of y: tableScale/sd
	end      float64 // mean + tail·sd: Φ is 1 from here on
	slot     int     // where its probability goes
	part     float64 // its share of the current panel
	ratio    [8]float64
}

// maximum computes the probabilities with which each of several independent
// Gaussian scores is the largest. It is scratch space: one caller at a time.
type maximum struct {
	arms []gaussianArm
	// nodes counts the integrand's evaluations of the last call.
	nodes int
}

// probabilities sets p[a] to P(score a is the largest) for independent scores
// a ~ N(mean[a], sd[a]²), a standard deviation of 0 being a point mass; ties
// between point masses are split evenly. mean and sd are finite, sd ≥ 0;
// below 1e-290, where 1/sd would overflow, it counts as 0.
//
//	p_a = ∫ φ_a(y) Π_{b≠a} Φ_b(y) dy = ∫ (φ_a/Φ_a)(y) F(y) dy,  F = Π_b Φ_b
//
// by a composite Gauss-Legendre rule whose panels are as wide as the narrowest
// arm that has not expired (mean + 7.5 sd) allows. F is the distribution
// function of the maximum, so over each panel Σ_a p_a must equal ΔF: a panel
// that misses this by more than panelTolerance is done again, narrower. Division by Φ_a is
// safe because nothing is integrated where F, and with it every Φ_a, is
// negligible. The absolute error is below 5e-10 and the relative error below
// 1e-4 for p ≥ 1e-6 (tests). The result is normalised; the sum before that
// is off by less than 1e-9, or an error is returned.
func (q *maximum) probabilities(p, mean, sd []float64) error {
	// The reference is the arm whose lower end is highest. Working relative to
	// it keeps full precision where the integrand lives, however large the
	// common part of the means is.
	reference, best := 0, math.Inf(-1)
	for a, m := range mean {
		if low := m - float64(tail*sd[a]); low > best {
			best, reference = low, a
		}
	}
	origin := mean[reference]
	lo := math.Inf(-1)  // where the integration starts
	hi := math.Inf(-1)  // where it ends
	top := math.Inf(-1) // largest point mass
	for a, s := range sd {
		m := mean[a] - origin
		p[a] = 0
		if s > leastDeviation {
			lo = max(lo, m-float64(tail*s))
			hi = max(hi, m+float64(tail*s))
		} else {
			top = max(top, m)
			lo = max(lo, m)
		}
	}
	q.nodes = 0
	q.arms = q.arms[:0]
	for a, s := range sd {
		m := mean[a] - origin
		if end := m + float64(tail*s); s > leastDeviation && end > lo {
			q.arms = append(q.arms, gaussianArm{mean: m, sd: s, scale: tableScale / s, end: end, slot: a})
		}
	}
	below := q.cdf(lo) // F(lo)
	if top == lo {
		tied := 0
		for a, s := range sd {
			if s <= leastDeviation && mean[a]-origin == top {
				tied++
			}
		}
		for a, s := range sd {
			if s <= leastDeviation && mean[a]-origin == top {
				p[a] = below / float64(tied)
			}
		}
	}
	q.integrate(p, lo, hi, below)

	var sum float64
	for _, v := range p {
		sum += v
	}
	if !(math.Abs(sum-1) <= 1e-9) {
		return nextbest.Errorf(nextbest.Internal, "thompson sampling: the probabilities of %d actions sum to %.12g instead of 1; scores cannot be compared reliably, check the model's parameters", len(p), sum)
	}
	for a := range p {
		p[a] /= sum
	}
	return nil
}

// integrate adds the arms' probabilities over [lo, hi] to p. below is F(lo).
func (q *maximum) integrate(p []float64, lo, hi, below float64) {
	width := 1.75              // of a panel, in units of the narrowest standard deviation
	switch n := len(q.arms); { // the more arms, the steeper F
	case n > 100:
		width = 0.9
	case n > 10:
		width = 1.1
	case n > 3:
		width = 1.4
	}
	tolerance := panelTolerance + 1e-13*float64(len(q.arms))
	for y := lo; y < hi && 1-below > negligible; {
		// Drop what has expired and find the narrowest of the rest.
		n, narrowest := 0, math.Inf(1)
		for i := range q.arms {
			if q.arms[i].end > y {
				if n != i {
					q.arms[n] = q.arms[i]
				}
				narrowest = min(narrowest, q.arms[n].sd)
				n++
			}
		}
		q.arms = q.arms[:n]
		for {
			h := float64(width * narrowest)
			end := y + h
			if hi-end < float64(0.25*h) {
				end = hi
			}
			if end <= y { // the panel is below the resolution of y
				end = math.Nextafter(y, math.Inf(1))
			}
			above := q.cdf(end)
			if above < negligible {
				y, below = end, above
				break
			}
			miss := math.Abs(q.panel(y, end) - (above - below))
			if miss > tolerance && width > narrowestPanel {
				width = float64(0.7 * width)
				continue
			}
			for i := range q.arms {
				p[q.arms[i].slot] += q.arms[i].part
			}
			y, below = end, above
			// The error of the rule grows with the 17th power of the width.
			if miss < tolerance/64 {
				width = min(float64(1.2*width), widestPanel)
			}
			break
		}
	}
}

// cdf returns F(y) = Π_b Φ_b(y) over the arms in the running, or 0 as soon as
// it is negligible.
func (q *maximum) cdf(y float64) float64 {
	f := 1.0
	for i := range q.arms {
		a := &q.arms[i]
		if y < a.end {
			f = float64(f * normalCDF(float64((y-a.mean)*a.scale)+tableRange*tableScale))
			if f < negligible/1e3 {
				return 0
			}
		}
	}
	return f
}

// panel integrates over [y0, y1] with 8 nodes, leaves each arm's share in its
// part, and returns their sum.
func (q *maximum) panel(y0, y1 float64) float64 {
	half := 0.5 * (y1 - y0)
	centre := y0 + half
	var f [8]float64
	for k, w := range legendreWeights {
		f[k] = float64(w * half)
	}
	for i := range q.arms {
		a := &q.arms[i]
		v, step := float64((centre-a.mean)*a.scale)+tableRange*tableScale, float64(half*a.scale)
		for k := range f {
			cdf, slope := normalBoth(v + float64(step*legendreNodes[k]))
			f[k] = float64(f[k] * cdf)
			a.ratio[k] = float64(slope*a.scale) / cdf
		}
	}
	q.nodes += 8
	var sum float64
	for i := range q.arms {
		r := &q.arms[i].ratio
		var s, t float64
		for k := 0; k < 8; k += 2 {
			s += float64(f[k] * r[k])
			t += float64(f[k+1] * r[k+1])
		}
		q.arms[i].part = s + t
		sum += s + t
	}
	return sum
}
