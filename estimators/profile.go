package estimators

import "math"

// profile maximises an empirical log-likelihood over its two multipliers,
//
//	ℓ(v) = max_{β,τ} Σ_k c_k log(1 + β a_k + τ (y_k − v n_k))
//
// subject to positivity at the corners of the support, where the unseen part
// of the distribution may lie (Karampatziakis, Langford and Mineiro 2020, arXiv
// 1906.03323, §3): 1 + N(β a_j + τ(y_j − v n_j)) ≥ 0 for every corner j and N
// rows, N the most that one customer has. That N is the sample's: what is inferred
// is the mean of customers with such numbers of rows, as for Betting. The points'
// own positivity is the logarithm's.
type profile struct {
	count, a, y, n []float64 // a is nil when only the second moment is used
	corners        []corner
	rows           float64 // N

	β, τ float64   // the last solution, start of the next
	m    []float64 // scratch: y − v n
	cm   []float64
}

// corner is one extreme point of a row's moments.
type corner struct{ a, y, n float64 }

// barrier is the weight of the corners' logarithmic barrier: it moves ℓ by at
// most barrier × corners.
const barrier = 1e-9

func (p *profile) set(v float64) {
	if p.m == nil {
		p.m = make([]float64, len(p.y))
		p.cm = make([]float64, len(p.corners))
	}
	for k, y := range p.y {
		p.m[k] = y - v*p.n[k]
	}
	for j, c := range p.corners {
		p.cm[j] = p.rows * (c.y - v*c.n)
	}
}

// value returns the barrier objective, −Inf outside its domain.
func (p *profile) value(β, τ, μ float64) float64 {
	s := 0.0
	for j, c := range p.corners {
		d := 1 + β*p.rows*c.a + τ*p.cm[j]
		if !(d > 0) {
			return math.Inf(-1)
		}
		s += μ * math.Log(d)
	}
	for k, c := range p.count {
		d := τ * p.m[k]
		if p.a != nil {
			d += β * p.a[k]
		}
		if !(d > -1) {
			return math.Inf(-1)
		}
		s += c * math.Log1p(d)
	}
	return s
}

// derivatives returns gradient and negated Hessian at (β, τ).
func (p *profile) derivatives(β, τ, μ float64) (gβ, gτ, hββ, hβτ, hττ float64) {
	add := func(c, a, m, d float64) {
		q := 1 / d
		a *= q
		m *= q
		gβ += c * a
		gτ += c * m
		hββ += c * a * a
		hβτ += c * a * m
		hττ += c * m * m
	}
	for j, c := range p.corners {
		a := p.rows * c.a
		add(μ, a, p.cm[j], 1+β*a+τ*p.cm[j])
	}
	if p.a == nil {
		for k, c := range p.count {
			q := p.m[k] / (1 + τ*p.m[k])
			gτ += c * q
			hττ += c * q * q
		}
		return
	}
	for k, c := range p.count {
		add(c, p.a[k], p.m[k], 1+β*p.a[k]+τ*p.m[k])
	}
	return
}

// newton climbs from (p.β, p.τ) and reports whether it converged.
func (p *profile) newton(μ float64, free bool, steps int) bool {
	β, τ := p.β, p.τ
	f := p.value(β, τ, μ)
	for range steps {
		gβ, gτ, hββ, hβτ, hττ := p.derivatives(β, τ, μ)
		var dβ, dτ float64
		switch {
		case !free: // τ held at 0
			if hββ > 0 {
				dβ = gβ / hββ
			}
		case p.a == nil:
			if hττ > 0 {
				dτ = gτ / hττ
			}
		default:
			// A relative ridge keeps collinear moments solvable.
			hββ *= 1 + 1e-12
			hττ *= 1 + 1e-12
			if det := hββ*hττ - hβτ*hβτ; det > 1e-13*hββ*hττ {
				dβ = (hττ*gβ - hβτ*gτ) / det
				dτ = (hββ*gτ - hβτ*gβ) / det
			} else if hττ > 0 {
				dτ = gτ / hττ
			} else if hββ > 0 {
				dβ = gβ / hββ
			}
		}
		decrement := gβ*dβ + gτ*dτ
		if !(decrement > 1e-12) {
			p.β, p.τ = β, τ
			return true
		}
		step, moved := 1.0, false
		for range 60 {
			nβ, nτ := β+step*dβ, τ+step*dτ
			if nf := p.value(nβ, nτ, μ); nf >= f+1e-4*step*decrement || (nf >= f && decrement < 1e-8) {
				β, τ, f, moved = nβ, nτ, nf, true
				break
			}
			step /= 2
		}
		if !moved { // at the limit of the arithmetic
			p.β, p.τ = β, τ
			return decrement < 1e-6
		}
	}
	p.β, p.τ = β, τ
	return false
}

// maximise returns ℓ(v); with free false τ stays 0.
func (p *profile) maximise(v float64, free bool) float64 {
	p.set(v)
	if !free {
		p.τ = 0
	}
	if p.a == nil {
		p.β = 0
	}
	for math.IsInf(p.value(p.β, p.τ, barrier), -1) {
		p.β, p.τ = p.β/2, p.τ/2
		if math.Abs(p.β)+math.Abs(p.τ) < 1e-300 {
			p.β, p.τ = 0, 0
			break
		}
	}
	if !p.newton(barrier, free, 12) {
		// The corners bind: follow the central path.
		p.β, p.τ = 0, 0
		for μ := 1.0; μ >= barrier; μ /= 10 {
			p.newton(μ, free, 40)
		}
	}
	// The barrier's own share is not part of the likelihood.
	s := 0.0
	for k, c := range p.count {
		d := p.τ * p.m[k]
		if p.a != nil {
			d += p.β * p.a[k]
		}
		s += c * math.Log1p(d)
	}
	return s
}

// centre returns the maximum-likelihood value and ℓ there. Mass that the
// likelihood puts on unseen corners stands at their middle.
func (p *profile) centre() (v, l float64) {
	p.β, p.τ = 0, 0
	if p.a != nil {
		l = p.maximise(0, false)
	}
	var sy, sn, seen, total float64
	for k, c := range p.count {
		total += c
		if p.a != nil {
			c /= 1 + p.β*p.a[k]
		}
		seen += c
		sy += c * p.y[k]
		sn += c * p.n[k]
	}
	if left := total - seen; left > 1e-7*total {
		var y, n, active float64
		for _, c := range p.corners {
			if 1+p.β*p.rows*c.a < 1e-5 {
				y, n, active = y+c.y, n+c.n, active+1
			}
		}
		if active > 0 {
			sy += left * p.rows * y / active
			sn += left * p.rows * n / active
		}
	}
	return sy / sn, l
}

// interval returns {v in [lo, hi] : 2(ℓ(v) − ℓ(centre)) ≤ limit}; ℓ here is
// minus the log likelihood ratio, least at the centre.
func (p *profile) interval(lo, hi, limit float64) (centre float64, iv Interval) {
	centre, base := p.centre()
	centre = min(max(centre, lo), hi)
	excess := func(v float64) float64 {
		return 2*(p.maximise(v, true)-base) - limit
	}
	// Walk outwards from the centre in steps of about an interval's half, so
	// that the likelihood is solved near its quadratic part and from a solution
	// nearby.
	stride := 2 * p.spread(centre)
	if !(stride > 0) {
		stride = (hi - lo) / 64
	}
	end := func(bound float64) float64 {
		p.β, p.τ = 0, 0
		inside := centre
		for step := stride; ; step *= 2 {
			outside := centre + math.Copysign(step, bound-centre)
			last := !(math.Abs(outside-centre) < math.Abs(bound-centre))
			if last {
				// At the bound itself the multiplier may be unbounded: stop just short.
				outside = bound + 1e-9*(centre-bound)
			}
			if outside == centre {
				return bound
			}
			if f := excess(outside); f > 0 {
				return crossing(excess, inside, outside, f, 1e-9*math.Abs(outside-centre))
			}
			if last {
				return bound
			}
			inside = outside
		}
	}
	return centre, Interval{Low: end(lo), High: end(hi)}
}

// spread is the standard error of the value at v by linearisation.
func (p *profile) spread(v float64) float64 {
	var ss, n float64
	for k, c := range p.count {
		m := p.y[k] - v*p.n[k]
		ss += c * m * m
		n += c * p.n[k]
	}
	return math.Sqrt(ss) / n
}

// crossing finds where f crosses zero between a, where it is not positive, and
// b, where it is fb > 0: the Illinois secant with bisections in between.
func crossing(f func(float64) float64, a, b, fb, tol float64) float64 {
	fa := f(a)
	if fa >= 0 {
		return a
	}
	side := 0
	for i := range 200 {
		if math.Abs(b-a) <= tol {
			break
		}
		x := (a*fb - b*fa) / (fb - fa)
		// The likelihood is steep near its bounds: bisect where the secant crawls.
		if i%4 == 3 || math.IsInf(fb, 0) || !(x > min(a, b) && x < max(a, b)) {
			x = a + (b-a)/2
		}
		fx := f(x)
		if math.Abs(fx) < 1e-8 {
			return x
		}
		if fx < 0 {
			a, fa = x, fx
			if side == -1 {
				fb /= 2
			}
			side = -1
		} else {
			b, fb = x, fx
			if side == 1 {
				fa /= 2
			}
			side = 1
		}
	}
	return a + (b-a)/2
}
