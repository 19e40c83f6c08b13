package bandit

import (
	"math"
	"sync"

	"nextbest"
)

// betaThompson is Thompson sampling for rewards between 0 and 1 without a
// context (Thompson 1933; Chapelle and Li 2011, algorithm 2): an action with n
// rows and a sum of rewards s has the belief Beta(successes + s, failures + n −
// s), and its probability is that of its draw, after arbitration, being the
// highest: by quadrature, not by drawing. The score is the belief's mean.
// Rewards between 0 and 1 count as that much of a success.
type betaThompson struct {
	*counts
	beliefs []betaBelief // by arm, and the prior last
	floor   float64
	pool    *sync.Pool
}

// betaBelief is about one action.
type betaBelief struct {
	mean  float64
	table *betaTable
}

func newBetaThompson(s Spec, p *posterior) (Policy, error) {
	t := betaThompson{counts: newCounts(p), floor: s.param("floor"), pool: &sync.Pool{New: func() any { return new(betaMaximum) }}}
	believe := func(n, sum float64) {
		a, b := s.param("successes")+sum, s.param("failures")+(n-sum)
		t.beliefs = append(t.beliefs, betaBelief{a / (a + b), newBetaTable(a, b)})
	}
	for i, n := range t.n {
		believe(n, min(max(t.sum[i], 0), n)) // rounding may have left it outside
	}
	believe(0, 0)
	return t, nil
}

// betaPosterior takes the counts from a model's sums. Rewards between 0 and 1
// have 0 ≤ Σr² ≤ Σr ≤ n; a learner of this algorithm refuses others one by one.
func betaPosterior(s Spec, m *Model) (*posterior, error) {
	for _, a := range m.arms {
		slack := 1e-9 * a.n
		if sum := a.b[0]; !(sum >= -slack && sum <= a.n+slack && a.squares <= sum+slack) {
			return nil, nextbest.Errorf(nextbest.Invalid, "beta_thompson needs rewards between 0 and 1, and those of %q have the sum %g and the sum of squares %g over %g rows: choose an objective whose values lie between 0 and 1, or another algorithm",
				a.action, sum, a.squares, a.n)
		}
	}
	return countsPosterior(s, m)
}

func (t betaThompson) Floor(k int) float64 { return t.floor / float64(k) }

func (t betaThompson) Distribution(p, scores []float64, r *Request) error {
	r.check(p, scores)
	q := t.pool.Get().(*betaMaximum)
	defer t.pool.Put(q)
	q.arms = q.arms[:0]
	for i, a := range r.Arms {
		belief := &t.beliefs[len(t.beliefs)-1]
		if a >= 0 {
			belief = &t.beliefs[a]
		}
		scale, offset := r.worth(i)
		scores[i] = float64(scale*belief.mean) + offset
		if s := math.Abs(scale) + math.Abs(offset); s-s != 0 {
			return overflows("beta_thompson", i)
		}
		q.arms = append(q.arms, betaArm{table: belief.table, scale: scale, offset: offset})
	}
	if err := q.probabilities(p); err != nil {
		return err
	}
	explore(p, t.floor)
	return nil
}

// betaArm is a score: scale·θ + offset, with θ from a table.
type betaArm struct {
	table         *betaTable
	scale, offset float64
	cdf, density  float64
}

// betaMaximum computes the probability of each score being the largest. It is
// scratch space: one caller at a time.
type betaMaximum struct {
	arms   []betaArm
	common bool // all have the same scale above 0 and the same offset
	before []float64
	part   []float64
}

// evaluate sets every arm's distribution function and density at y: a logit
// where all scores have one scale, else a score.
func (q *betaMaximum) evaluate(y float64) {
	for i := range q.arms {
		a := &q.arms[i]
		switch {
		case q.common:
			a.cdf, a.density = a.table.at(y)
		case a.scale == 0:
			a.cdf, a.density = 0, 0
			if y >= a.offset {
				a.cdf = 1
			}
		default:
			u := (y - a.offset) / a.scale
			switch {
			case u > 0 && u < 1:
				a.cdf, a.density = a.table.at(math.Log(u / (1 - u)))
				a.density /= float64(u * (1 - u) * math.Abs(a.scale))
			case u <= 0:
				a.cdf, a.density = 0, 0
			default:
				a.cdf, a.density = 1, 0
			}
			if a.scale < 0 {
				a.cdf = 1 - a.cdf
			}
		}
	}
}

// cdf returns the distribution function of the maximum at y.
func (q *betaMaximum) cdf(y float64) float64 {
	q.evaluate(y)
	f := 1.0
	for i := range q.arms {
		f = float64(f * q.arms[i].cdf)
	}
	return f
}

// betaTolerance bounds |Σ_a ∫ − ΔF| over one panel.
const betaTolerance = 2e-13

// probabilities sets p to P(score a is the largest) by 8 Gauss-Legendre nodes on
// panels that are halved until the arms' shares add up to what the distribution
// function F of the maximum gains, see maximum.probabilities. Scores that are
// certain (scale 0) are point masses; ties between them are split.
func (q *betaMaximum) probabilities(p []float64) error {
	q.common = q.arms[0].scale > 0
	for _, a := range q.arms {
		q.common = q.common && a.scale == q.arms[0].scale && a.offset == q.arms[0].offset
	}
	clear(p)
	lo, hi, top := math.Inf(-1), math.Inf(-1), math.Inf(-1)
	for _, a := range q.arms {
		if a.scale == 0 {
			top = max(top, a.offset)
			lo, hi = max(lo, a.offset), max(hi, a.offset)
			continue
		}
		l, h := a.table.mode+a.table.start, a.table.mode+a.table.end
		if !q.common {
			l, h = a.offset+float64(a.scale*logistic(l)), a.offset+float64(a.scale*logistic(h))
			if a.scale < 0 {
				l, h = h, l
			}
			// The score may be narrower than the resolution of its place.
			l, h = math.Nextafter(l, math.Inf(-1)), math.Nextafter(h, math.Inf(1))
		}
		lo, hi = max(lo, l), max(hi, h)
	}
	below := q.cdf(lo)
	if top == lo {
		tied := 0.0
		for _, a := range q.arms {
			if a.scale == 0 && a.offset == top {
				tied++
			}
		}
		for i, a := range q.arms {
			if a.scale == 0 && a.offset == top {
				p[i] = below / tied
			}
		}
	}
	if hi > lo {
		q.integrate(p, lo, hi, below, q.cdf(hi), 0)
	}
	var sum float64
	for _, v := range p {
		sum += v
	}
	if !(math.Abs(sum-1) <= 1e-6) {
		return nextbest.Errorf(nextbest.Internal, "beta_thompson: the probabilities of %d actions sum to %.12g instead of 1; the actions' values, levers and costs are too far apart to be compared", len(p), sum)
	}
	for i := range p {
		p[i] /= sum
	}
	return nil
}

// integrate adds the arms' shares over [lo, hi], over which F goes from below to
// above.
func (q *betaMaximum) integrate(p []float64, lo, hi, below, above float64, depth int) {
	if !(above-below > betaTolerance/64) {
		return
	}
	miss := math.Abs(q.panel(lo, hi) - (above - below))
	middle := lo + (hi-lo)/2
	if miss > betaTolerance && (depth == 64 || middle <= lo || middle >= hi) {
		q.jump(lo, hi, above-below)
		miss = 0
	}
	if miss <= betaTolerance {
		for i, v := range q.part {
			p[i] += v
		}
		return
	}
	f := q.cdf(middle)
	q.integrate(p, lo, middle, below, f, depth+1)
	q.integrate(p, middle, hi, f, above, depth+1)
}

// jump leaves in part what F gains over [lo, hi], which is too narrow to be cut:
// each arm gets it in proportion to what its own distribution function gains.
func (q *betaMaximum) jump(lo, hi, gain float64) {
	q.evaluate(lo)
	for i := range q.arms {
		q.part[i] = -q.arms[i].cdf
	}
	q.evaluate(hi)
	var sum float64
	for i := range q.arms {
		q.part[i] = max(q.part[i]+q.arms[i].cdf, 0)
		sum += q.part[i]
	}
	for i := range q.part {
		q.part[i] *= gain / sum
	}
}

// panel integrates over [lo, hi], leaves each arm's share in part, and returns
// their sum.
func (q *betaMaximum) panel(lo, hi float64) float64 {
	k := len(q.arms)
	q.before, q.part = sized(q.before, k), sized(q.part, k)
	clear(q.part)
	half := (hi - lo) / 2
	var sum float64
	for j, x := range legendreNodes {
		q.evaluate(lo + half + float64(half*x))
		f := 1.0
		for i := range q.arms {
			q.before[i] = f
			f = float64(f * q.arms[i].cdf)
		}
		f = float64(legendreWeights[j] * half)
		for i := k - 1; i >= 0; i-- {
			v := float64(q.arms[i].density * float64(q.before[i]*f))
			q.part[i] += v
			sum += v
			f = float64(f * q.arms[i].cdf)
		}
	}
	return sum
}
