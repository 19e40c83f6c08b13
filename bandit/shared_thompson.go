package bandit

import (
	"math"

	"nextbest"
)

// sharedThompson is Thompson sampling for a linear model whose weights all
// actions share (Agrawal and Goyal 2013, arXiv 1209.3352, contexts z(x, a) = f_a
// ⊗ x), so that scores are correlated and their maximum has no formula. The
// policy is a fixed set of posterior draws: an action's probability is the share
// of draws in which its score is the highest, ties split, which is exact by
// definition. Draws come in pairs, mean ± deviation.
type sharedThompson struct {
	*linear
	draws *draws
	floor float64
}

// newSharedThompson returns linear_thompson's prior where nothing was learned.
func newSharedThompson(s Spec, beliefs *posterior) (Policy, error) {
	if beliefs == nil || beliefs.draws == nil {
		return newLinearThompson(s, beliefs)
	}
	return sharedThompson{newLinear(s, beliefs), beliefs.draws, s.param("floor")}, nil
}

func (t sharedThompson) Floor(k int) float64 { return t.floor / float64(k) }

func (t sharedThompson) Distribution(p, scores []float64, r *Request) error {
	r.check(p, scores)
	w := t.workspace()
	defer t.pool.Put(w)
	if err := t.score(w, r, false); err != nil {
		return err
	}
	copy(scores, w.mean)
	if !t.shares(p, w, r) {
		return nextbest.Errorf(nextbest.Invalid, "shared thompson sampling: a drawn score overflows; check the context and the actions' value and lever")
	}
	explore(p, t.floor)
	return nil
}

// shares sets p to each action's share of the draws. It reports false where a
// score is not finite.
func (t sharedThompson) shares(p []float64, w *workspace, r *Request) bool {
	n, k := len(r.Arms), t.draws.k
	w.features, w.drawn, w.y = sized(w.features, n*k), sized(w.drawn, 8*n), sized(w.y, 4*k)
	features, drawn := w.features, w.drawn
	for a, arm := range r.Arms {
		to := features[a*k : (a+1)*k]
		copy(to, t.draws.featuresOf(arm))
		if r.Scale != nil {
			for c := range to {
				to[c] = float64(r.Scale[a] * to[c])
			}
		}
	}
	clear(p)
	var overflow float64 // 0, or NaN
	for j := 0; j < t.draws.n; j += 4 {
		t.draws.at(w.y, w.x, j)
		best := [8]float64{math.Inf(-1), math.Inf(-1), math.Inf(-1), math.Inf(-1), math.Inf(-1), math.Inf(-1), math.Inf(-1), math.Inf(-1)}
		var winner [8]int
		tied := false
		for a, mean := range w.mean {
			var d [4]float64
			y := w.y
			for _, f := range features[a*k : (a+1)*k] {
				v := (*[4]float64)(y)
				d[0] += float64(f * v[0])
				d[1] += float64(f * v[1])
				d[2] += float64(f * v[2])
				d[3] += float64(f * v[3])
				y = y[4:]
			}
			overflow += float64(0 * ((d[0] + d[1]) + (d[2] + d[3])))
			s := (*[8]float64)(drawn[8*a:])
			for l, v := range d {
				s[2*l], s[2*l+1] = mean+v, mean-v
			}
			for l, v := range s {
				if v >= best[l] {
					tied = tied || v == best[l]
					best[l], winner[l] = v, a
				}
			}
		}
		if !tied {
			for _, a := range winner {
				p[a]++
			}
			continue
		}
		for l, top := range best {
			ties := 0
			for a := range p {
				if drawn[8*a+l] == top {
					ties++
				}
			}
			for a := range p {
				if drawn[8*a+l] == top {
					p[a] += 1 / float64(ties)
				}
			}
		}
	}
	for a := range p {
		p[a] /= float64(2 * t.draws.n)
	}
	return overflow == 0
}
