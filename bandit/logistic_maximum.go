package bandit

import (
	"math"

	"nextbest"
)

// logisticArm is a score low + height/(1 + e^−g) with g Gaussian, height > 0,
// that is still in the running at the current point of the integration.
type logisticArm struct {
	low, top float64 // the score lies between them; relative to the origin
	mean     float64 // of g
	scale    float64 // cells of the normal table per unit of g
	reach    float64 // panel width per distance from low and top: the smaller of sd and widestReach
	end      float64 // the score at mean + tail·sd: F is 1 from here on
	slot     int     // where its probability goes
	part     float64 // its share of the current panel
	ratio    [8]float64
}

// widestReach keeps panels away from the singularities at low and top.
const widestReach = 0.4

// logisticMaximum computes the probabilities with which each of several
// independent scores is the largest, as maximum does for Gaussian ones. It is
// scratch space: one caller at a time.
type logisticMaximum struct {
	arms   []logisticArm
	points []float64 // score of each arm that is a point mass, else NaN
	nodes  int       // evaluations of the last call
}

// probabilities sets p[a] to P(score a is the largest) for scores
// scale_a/(1 + e^−g_a) + offset_a, g_a ~ N(mean[a], sd[a]²) independent. With
//
//	F_a(y) = Φ((logit((y − offset_a)/scale_a) − mean_a)/sd_a)
//
// p_a = ∫ F_a′ Π_{b≠a} F_b = ∫ (F_a′/F_a) Π_b F_b by panels as in
// maximum.probabilities, each with its own error check. A negative scale is one
// of the other sign for −g and an offset that is lower by it; a scale of 0, a
// standard deviation of 0, and whatever lies within the resolution of its score
// is a point mass, and ties between these are split evenly. The absolute error is
// below 1e-9 (tests).
func (q *logisticMaximum) probabilities(p, mean, sd []float64, r *Request) error {
	q.nodes = 0
	q.arms, q.points = q.arms[:0], sized(q.points, len(p))
	origin := highestStart(mean, sd, r)
	lo, hi := math.Inf(-1), math.Inf(-1) // where the integration starts and ends
	top := math.Inf(-1)                  // largest point mass
	for a, m := range mean {
		p[a] = 0
		low, scale, mirror := r.upward(a)
		low, m = low-origin, mirror*m
		s := sd[a]
		score := func(g float64) float64 { return low + float64(scale*logistic(g)) }
		start, end := score(m-float64(tail*s)), score(m+float64(tail*s))
		if s <= leastDeviation || !(end > start) {
			q.points[a] = score(m)
			top = max(top, q.points[a])
			lo = max(lo, q.points[a])
			continue
		}
		q.points[a] = math.NaN()
		lo, hi = max(lo, start), max(hi, end)
		q.arms = append(q.arms, logisticArm{low: low, top: low + scale, mean: m, scale: tableScale / s, reach: min(s, widestReach), end: end, slot: a})
	}
	below := q.cdf(lo) // F(lo)
	if top == lo {
		tied := 0
		for _, v := range q.points {
			if v == top {
				tied++
			}
		}
		for a, v := range q.points {
			if v == top {
				p[a] = below / float64(tied)
			}
		}
	}
	q.integrate(p, lo, hi, below)
	var sum float64
	for _, v := range p {
		sum += v
	}
	if !(math.Abs(sum-1) <= 1e-6) {
		return nextbest.Errorf(nextbest.Internal, "logistic thompson sampling: the probabilities of %d actions sum to %.12g instead of 1; scores cannot be compared reliably, check the model's parameters", len(p), sum)
	}
	for a := range p {
		p[a] /= sum
	}
	return nil
}

// upward returns the lowest value of action i's score and how far it reaches
// above it; where it falls with the logit, mirror is −1 and the logit's sign is
// to be changed, else 1.
func (r *Request) upward(i int) (low, height, mirror float64) {
	scale, offset := r.arbitration(i)
	if scale < 0 {
		return offset + scale, -scale, -1
	}
	return offset, scale, 1
}

// highestStart returns the lowest value of the score that starts highest.
// Working relative to it keeps the digits of the place where the integrand lives,
// however far below the other scores lie.
func highestStart(mean, sd []float64, r *Request) float64 {
	origin, best := 0.0, math.Inf(-1)
	for a, m := range mean {
		low, height, mirror := r.upward(a)
		if start := low + float64(height*logistic(float64(mirror*m)-float64(tail*sd[a]))); start > best {
			best, origin = start, low
		}
	}
	return origin
}

// integrate adds the arms' probabilities over [lo, hi] to p. below is F(lo).
func (q *logisticMaximum) integrate(p []float64, lo, hi, below float64) {
	width := 1.25 // of a panel, in units of the narrowest arm's local scale
	tolerance := panelTolerance + 1e-13*float64(len(q.arms))
	for y := lo; y < hi && 1-below > negligible; {
		n, narrowest, room := 0, math.Inf(1), math.Inf(1)
		for i := range q.arms {
			if a := q.arms[i]; a.end > y {
				q.arms[n] = a
				n++
				span := a.top - a.low
				narrowest = min(narrowest, a.reach*max((y-a.low)/span, math.SmallestNonzeroFloat64)*(a.top-y))
				room = min(room, 0.6*(a.top-y))
			}
		}
		q.arms = q.arms[:n]
		for {
			h := min(float64(width*narrowest), room)
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
				width = 0.7 * width
				continue
			}
			if miss > tolerance { // scores are narrow for the resolution of y
				q.jump(y, end, above-below)
			}
			for i := range q.arms {
				p[q.arms[i].slot] += q.arms[i].part
			}
			y, below = end, above
			if miss < tolerance/64 {
				width = min(1.2*width, widestPanel)
			}
			break
		}
	}
}

// place returns where a score lies in the normal table, and the derivative of
// that place.
func (a *logisticArm) place(y float64) (v, slope float64) {
	left, right := y-a.low, a.top-y
	switch {
	case !(left > 0):
		return -1, 0
	case !(right > 0):
		return tableCells, 0
	}
	return float64((math.Log(left/right)-a.mean)*a.scale) + tableRange*tableScale, a.scale * (1/left + 1/right)
}

// cdf returns F(y) = Π_b F_b(y) over the arms in the running, or 0 as soon as it
// is negligible.
func (q *logisticMaximum) cdf(y float64) float64 {
	f := 1.0
	for i := range q.arms {
		if a := &q.arms[i]; y < a.end {
			v, _ := a.place(y)
			f *= normalCDF(v)
			if f < negligible/1e3 {
				return 0
			}
		}
	}
	return f
}

// jump leaves in each arm's part what F gains over [y0, y1], in proportion to
// what the logarithm of the arm's own distribution function gains: exact where
// these grow in step, since F′ = F Σ_a (log F_a)′.
func (q *logisticMaximum) jump(y0, y1, gain float64) {
	var sum float64
	for i := range q.arms {
		a := &q.arms[i]
		before, _ := a.place(y0)
		after, _ := a.place(y1)
		a.part = max(math.Log(normalCDF(after)/normalCDF(before)), 0)
		sum += a.part
	}
	for i := range q.arms {
		q.arms[i].part *= gain / sum
	}
}

// panel integrates over [y0, y1] with 8 nodes, leaves each arm's share in its
// part, and returns their sum.
func (q *logisticMaximum) panel(y0, y1 float64) float64 {
	half := 0.5 * (y1 - y0)
	centre := y0 + half
	var f [8]float64
	for k, w := range legendreWeights {
		f[k] = w * half
	}
	for i := range q.arms {
		a := &q.arms[i]
		for k := range f {
			v, derivative := a.place(centre + float64(half*legendreNodes[k]))
			cdf, slope := normalBoth(v)
			f[k] *= cdf
			a.ratio[k] = slope * derivative / cdf
		}
	}
	q.nodes += 8
	var sum float64
	for i := range q.arms {
		var s float64
		for k, r := range q.arms[i].ratio {
			s += float64(f[k] * r)
		}
		q.arms[i].part = s
		sum += s
	}
	return sum
}
