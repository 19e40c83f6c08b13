package offline

import (
	"math"

	"nextbest"
	"nextbest/estimators"
)

// tally accumulates one policy (a candidate or a baseline) over one lane.
type tally struct {
	customer estimators.Customer // the current one

	ips    estimators.IPSTotal
	snips  estimators.SNIPSTotal
	dm     estimators.DMTotal
	dr     estimators.DRTotal
	weigh  estimators.Weighing
	values estimators.WeightLikelihood // for IPS, SNIPS and the value
	robust estimators.Likelihood       // for DR

	// Paired differences, DR against the logged rewards and against the best
	// fixed action's DR.
	overLogged, overFixed   estimators.Ratio
	fixedContrast           contrast
	likeLogged, likeFixed   estimators.Likelihood
	gapLow, gapHigh         estimators.Betting // of the value minus the logger's
	valueLow, valueHigh     estimators.Betting
	sensitivity             estimators.Sensitivity // candidates only
	drift                   *drift                 // candidates only
	weights                 weightHistogram
	days                    days
	unanswered              unanswered
	boundsToo, compareFixed bool
	isLogged                bool
	extras                  *extras            // candidates only; nil where nothing more is asked for
	segments                *segments          // candidates only
	adaptive                *adaptiveTally     // nil unless AIPW by blocks of time is
	distribution            *distributionTally // nil unless asked for
}

func newTally(g ranges) *tally {
	return &tally{
		values:    estimators.WeightLikelihood{Origin: g.origin, Least: g.rewardMin, Most: g.rewardMax},
		robust:    estimators.Likelihood{Origin: g.origin},
		gapLow:    estimators.Betting{Bound: g.scale, Scale: g.scale},
		gapHigh:   estimators.Betting{Bound: g.scale, Scale: g.scale},
		valueLow:  estimators.Betting{Scale: g.scale},
		valueHigh: estimators.Betting{Scale: g.scale},
		boundsToo: g.bounds, compareFixed: true,
	}
}

// add takes one row of a candidate, whose segments g has read. own is the row by
// the probabilities of the policy that served it, which are not the mixture's
// where arms were mixed; square is the mean of its weight's square by them, and
// largest the largest that was possible, NaN where they are unknown.
func (t *tally) add(row, own *estimators.Row, square, largest float64, b *nextbest.Batch, i int, g *segmenter) {
	t.take(row)
	t.sensitivity.Add(row.Weight, row.Reward)
	if t.extras != nil {
		t.extras.add(row)
	}
	if t.segments != nil {
		t.segments.add(g, row, own)
	}
	t.drift.add(b.Policies[i], b.Time[i], own.Weight, own.Support, square, largest)
	t.weights.add(row.Weight)
	t.days.add(b.Time[i], row)
}

// take takes one row of any policy.
func (t *tally) take(row *estimators.Row) {
	t.customer.Add(row)
	if t.adaptive != nil {
		t.adaptive.add(row)
	}
	if t.distribution != nil {
		t.distribution.rows = append(t.distribution.rows, estimators.CDFRow{Weight: row.Weight, Reward: row.Reward})
	}
}

// close ends the current customer; fixed is the best fixed action's sum of it,
// where one was chosen.
func (t *tally) close(fixed *estimators.Customer, chosen bool, g *ranges) {
	c := &t.customer
	t.ips.Add(c)
	t.snips.Add(c)
	t.dm.Add(c)
	t.dr.Add(c)
	t.weigh.Add(c)
	t.values.Add(c)
	n, dr := c.Rows, c.Model+c.Correction
	gap := c.Weight - c.Support
	t.robust.Add(n, gap, dr)
	if t.drift != nil {
		t.drift.close()
	}
	if t.extras != nil {
		t.extras.close(c)
	}
	if t.adaptive != nil {
		t.adaptive.close()
	}
	if t.distribution != nil {
		t.distribution.close()
	}
	if t.segments != nil {
		t.segments.close()
	}
	if !t.isLogged {
		t.overLogged.Add(dr-c.Reward, n)
		t.likeLogged.Add(n, gap, dr-c.Reward)
		// (w−1)(r−r_min), bounded below by minus the range.
		t.gapLow.Add(n, c.WeightedReward-c.Reward-g.rewardMin*(c.Weight-n))
	}
	if t.compareFixed && chosen {
		d := dr - (fixed.Model + fixed.Correction)
		t.overFixed.Add(d, n)
		t.fixedContrast.add(c.Weight-fixed.Weight, c.WeightedReward-fixed.WeightedReward)
		t.likeFixed.Add(n, gap-(fixed.Weight-fixed.Support), d)
	}
	if t.boundsToo {
		t.valueLow.Add(n, max(0, c.WeightedReward-g.rewardMin*c.Weight))
		t.valueHigh.Add(n, max(0, g.rewardMax*c.Weight-c.WeightedReward))
		if !t.isLogged {
			t.gapHigh.Add(n, g.rewardMax*(c.Weight-n)-(c.WeightedReward-c.Reward))
		}
	}
}

func (t *tally) merge(o *tally) {
	t.ips.Merge(&o.ips)
	t.snips.Merge(&o.snips)
	t.dm.Merge(&o.dm)
	t.dr.Merge(&o.dr)
	t.weigh.Merge(&o.weigh)
	t.values.Merge(&o.values)
	t.robust.Merge(&o.robust)
	t.overLogged.Merge(&o.overLogged)
	t.overFixed.Merge(&o.overFixed)
	t.fixedContrast.merge(&o.fixedContrast)
	t.likeLogged.Merge(&o.likeLogged)
	t.likeFixed.Merge(&o.likeFixed)
	t.gapLow.Merge(&o.gapLow)
	t.gapHigh.Merge(&o.gapHigh)
	t.valueLow.Merge(&o.valueLow)
	t.valueHigh.Merge(&o.valueHigh)
	t.sensitivity.Merge(&o.sensitivity)
	if t.drift != nil {
		t.drift.merge(o.drift)
	}
	t.weights.merge(&o.weights)
	t.days.merge(&o.days)
	if t.extras != nil {
		t.extras.merge(o.extras)
	}
	if t.adaptive != nil {
		t.adaptive.total.Merge(o.adaptive.total)
	}
	if t.distribution != nil {
		t.distribution.cdf.Merge(o.distribution.cdf)
	}
	t.unanswered.merge(&o.unanswered)
	if t.segments != nil {
		t.segments.merge(o.segments)
	}
}

// span is a closed range of numbers, empty until something is seen.
type span struct{ low, high float64 }

func emptySpan() span { return span{math.Inf(1), math.Inf(-1)} }

func (s *span) see(v float64) { s.low, s.high = min(s.low, v), max(s.high, v) }

func (s *span) merge(o span) { s.low, s.high = min(s.low, o.low), max(s.high, o.high) }
