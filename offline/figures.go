package offline

import (
	"fmt"
	"math"
	"slices"

	"nextbest/estimators"
)

// How an interval was made.
const (
	methodLikelihood = "empirical_likelihood"
	methodBetting    = "betting"
	methodNormal     = "normal"
)

// figures fills in the numbers of a result; where the log cannot give a point,
// bounds only.
func (j *judge) figures(r *Result, t *tally, boundsOnly bool) {
	if j.s.missing > 0 {
		return
	}
	if boundsOnly {
		r.Bounds = j.bounds(t)
		if t.extras != nil {
			r.Estimates = t.extras.figures(j, j.evidence(t), r, true)
		}
		return
	}
	e := j.evidence(t)
	level, g := j.req.Level, &j.g
	w := e.maxWeight

	r.IPS = e.figure(t.ips.Estimate())
	r.SNIPS = e.figure(t.snips.Estimate())
	r.DR = e.figure(t.dr.Estimate())
	r.DM = e.figure(t.dm.Estimate())
	if e.likelihood {
		e.improve(r.IPS, func() (float64, estimators.Interval, error) { return t.values.IPS(w, g.rewardMin, g.rewardMax, level) })
		e.improve(r.SNIPS, func() (float64, estimators.Interval, error) {
			return t.values.SNIPS(w, g.rewardMin, g.rewardMax, level)
		})
		if !t.isLogged {
			if v, iv, err := t.values.Value(w, g.rewardMin, g.rewardMax, level); err == nil && finite(v, iv.Low, iv.High) {
				r.Value = &Figure{v, iv.Low, iv.High, methodLikelihood}
			}
		}
		e.improve(r.DR, func() (float64, estimators.Interval, error) {
			s := estimators.Support{UMax: w, Mean: 1, GMin: j.q.low, GMax: j.q.high, EMin: g.rewardMin - j.q.high, EMax: g.rewardMax - j.q.low}
			if t.isLogged {
				return t.values.IPS(w, g.rewardMin, g.rewardMax, level)
			}
			return t.robust.Interval(s, g.rewardMin, g.rewardMax, level)
		})
	} else if j.g.bounds {
		low, err1 := t.valueLow.Lower((1 - level) / 2)
		high, err2 := t.valueHigh.Lower((1 - level) / 2)
		if err1 == nil && err2 == nil {
			for _, f := range []*Figure{r.IPS, r.SNIPS} {
				if f != nil {
					f.Low, f.High, f.Method = g.rewardMin+low, g.rewardMax-high, methodBetting
				}
			}
		}
	}
	if t.extras != nil {
		r.Estimates = t.extras.figures(j, e, r, false)
	}
	j.adaptive(r, t)
	if t.segments != nil {
		r.Segments = t.segments.figures(j, j.req.Segments, e)
	}
	j.differences(r, t, e)
}

// differences fills in the comparison with what ran, with the best fixed
// action, and the gate.
func (j *judge) differences(r *Result, t *tally, e evidence) {
	g, level := &j.g, j.req.Level
	width, spread, w := g.rewardMax-g.rewardMin, j.q.high-j.q.low, e.maxWeight
	residual := span{g.rewardMin - j.q.high, g.rewardMax - j.q.low}
	if !t.isLogged {
		r.VsLogged = e.figure(t.overLogged.Estimate())
		if e.likelihood {
			e.improve(r.VsLogged, func() (float64, estimators.Interval, error) {
				s := estimators.Support{UMin: -1, UMax: w - 1, GMin: -spread, GMax: spread, EMin: residual.low, EMax: residual.high}
				return t.likeLogged.Interval(s, -width, width, level)
			})
		} else if j.g.bounds && r.VsLogged != nil {
			low, err1 := t.gapLow.Lower((1 - level) / 2)
			high, err2 := t.gapHigh.Lower((1 - level) / 2)
			if err1 == nil && err2 == nil {
				r.VsLogged.Low, r.VsLogged.High, r.VsLogged.Method = low, -high, methodBetting
			}
		}
	}
	if t.compareFixed {
		r.VsBestFixed = e.figure(t.overFixed.Estimate())
		if e.likelihood && j.declared {
			e.improve(r.VsBestFixed, func() (float64, estimators.Interval, error) {
				s := estimators.Support{UMin: -j.maxWeight, UMax: w, GMin: -spread, GMax: spread, EMin: residual.low, EMax: residual.high}
				return t.likeFixed.Interval(s, -width, width, level)
			})
		}
		gap, err := t.overFixed.Estimate()
		_, rows := t.overFixed.Sums()
		if n, few := t.fixedContrast.few(j.req.Limits.Conversions, width, rows, gap.StdErr); err == nil && few && r.VsBestFixed != nil && r.VsBestFixed.Method == methodNormal {
			r.VsBestFixed = nil
			r.Warnings = append(r.Warnings, fmt.Sprintf("no difference to the best fixed action is shown: it rests on %.1f conversions on one side (at least %.0f needed)", n, j.req.Limits.Conversions))
		}
	} else if t.isLogged {
		return
	}
	if k := slices.IndexFunc(j.req.Candidates, func(c Candidate) bool { return c.Name() == r.Name }); k >= 0 {
		r.FlipsAt = flipsAt(t, r.VsLogged)
		delta, look := j.spent(k)/float64(len(j.req.Candidates)), 0
		if j.req.Looks != nil {
			look = j.req.Looks[k]
		}
		if low, err := t.gapLow.Lower(delta); err == nil && finite(low) {
			j.warnOfMostRows(r, t)
			declared := j.report.Log.RewardRange != "sample"
			r.Gate = &Gate{Lower: low, Delta: delta, Look: look, RewardMin: g.rewardMin, RewardMax: g.rewardMax, Declared: declared, Passed: declared && low > 0 && !r.Refused(), LogE: max(t.gapLow.LogWealth(0), -math.MaxFloat64)}
		}
	}
}

// flipsAt moves the difference to what ran as far as wrong propensities can move
// SNIPS, and keeps the interval's reach.
func flipsAt(t *tally, gap *Figure) *float64 {
	snips, err := t.snips.Estimate()
	if err != nil || gap == nil || gap.Low <= 0 && gap.High >= 0 {
		return nil
	}
	reach := gap.Value - gap.Low
	if gap.High < 0 {
		reach = gap.High - gap.Value
	}
	gamma, err := t.sensitivity.Flip(snips.Value-gap.Value, reach)
	if err != nil || !finite(gamma) {
		return nil
	}
	return &gamma
}

// bounds are Manski's, for a candidate that the log partly cannot speak for.
func (j *judge) bounds(t *tally) *Figure {
	g, level := &j.g, j.req.Level
	var b estimators.Interval
	e := j.evidence(t)
	if e.likelihood {
		iv, err := t.values.Manski(e.maxWeight, level)
		if err != nil {
			return nil
		}
		b = iv
	} else {
		// w(r − r_min) has the mean V_S − (1−U) r_min, so its lower bound plus r_min
		// is already Manski's; likewise from above.
		low, err1 := t.valueLow.Lower((1 - level) / 2)
		high, err2 := t.valueHigh.Lower((1 - level) / 2)
		if err1 != nil || err2 != nil {
			return nil
		}
		b = estimators.Interval{Low: g.rewardMin + low, High: g.rewardMax - high}
	}
	if !finite(b.Low, b.High) {
		return nil
	}
	return &Figure{Value: b.Low + (b.High-b.Low)/2, Low: b.Low, High: b.High, Method: "manski"}
}

// evidence says which intervals a tally may have.
type evidence struct {
	likelihood bool
	maxWeight  float64
	level      float64
	min, max   float64
}

func (j *judge) evidence(t *tally) evidence {
	e := evidence{likelihood: j.declared && !j.req.Adaptive, maxWeight: j.maxWeight, level: j.req.Level, min: j.g.rewardMin, max: j.g.rewardMax}
	if t.isLogged {
		e.likelihood, e.maxWeight = !j.req.Adaptive, 1
	}
	return e
}

// figure is an estimate with its normal interval, or with the whole range of
// rewards where one customer gives no spread; nil where there is no estimate.
func (e evidence) figure(x estimators.Estimate, err error) *Figure {
	if err != nil || !finite(x.Value) {
		return nil
	}
	iv := x.Normal(e.level)
	if !finite(iv.Low, iv.High) {
		iv = estimators.Interval{Low: min(e.min, x.Value), High: max(e.max, x.Value)}
	}
	return &Figure{x.Value, iv.Low, iv.High, methodNormal}
}

// improve replaces a normal interval by an empirical-likelihood one.
func (e evidence) improve(f *Figure, interval func() (float64, estimators.Interval, error)) {
	if f == nil {
		return
	}
	if _, iv, err := interval(); err == nil && finite(iv.Low, iv.High) {
		f.Low, f.High, f.Method = iv.Low, iv.High, methodLikelihood
	}
}
