package offline

import (
	"fmt"
	"math"
	"slices"

	"nextbest/estimators"
)

// Distribution is that of a decision's reward under a policy, by self-normalised
// weights (estimators.CDF has the formulas and papers).
type Distribution struct {
	Estimator string `json:"estimator"` // snips
	// Points are F at the thresholds, each with a pointwise interval.
	Points    []DistributionPoint `json:"points,omitempty"`
	Quantiles []Quantile          `json:"quantiles,omitempty"`
	// Tails are those that enough customers carry for a normal interval.
	Tails []Tail `json:"tails,omitempty"`
	Note  string `json:"note,omitempty"`
	// Problem says why there is none.
	Problem string `json:"problem,omitempty"`
}

// DistributionPoint is the probability of a reward of at most a threshold.
type DistributionPoint struct {
	Threshold float64 `json:"threshold"`
	F         float64 `json:"f"`
	Low       float64 `json:"low"`
	High      float64 `json:"high"`
}

// Quantile is the reward that a share P of the decisions do not exceed, to the
// next threshold above. An end of its interval is absent where it lies beyond the
// thresholds.
type Quantile struct {
	P     float64  `json:"p"`
	Value float64  `json:"value"`
	Low   *float64 `json:"low"`
	High  *float64 `json:"high"`
}

// Tail is the mean reward of the worst (cvar) or the best (top_mean) share of the
// decisions.
type Tail struct {
	Tail  string  `json:"tail"`
	Share float64 `json:"share"`
	Figure
}

// The tails.
const (
	tailWorst = "cvar"
	tailBest  = "top_mean"
)

// distributionPoints is the number of thresholds above 0, and below where rewards
// can be losses.
const distributionPoints = 96

var (
	quantilesShown = []float64{0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999}
	tailsShown     = []struct {
		tail  string
		share float64
	}{{tailWorst, 0.05}, {tailWorst, 0.25}, {tailBest, 0.25}, {tailBest, 0.05}, {tailBest, 0.01}}
)

// distributionThresholds returns the thresholds of a log's rewards, from the
// first pass; nil where no distribution is asked for or there is nothing to it.
func distributionThresholds(req *Request, s *study) []float64 {
	if !req.Distribution || s.rows == 0 || s.other == 0 {
		return nil
	}
	return thresholdsOf(s.rewardMin, s.rewardLeast, s.rewardMax)
}

// thresholdsOf are those of rewards from least to most, of which above is the
// least above 0.
func thresholdsOf(least, above, most float64) []float64 {
	const depth = 1e-6 // of the largest reward: what is less counts as the least threshold
	grid := func(least, most float64) []float64 {
		least = max(least, most*depth)
		if !(least < most) {
			least = most / 2
		}
		return estimators.LogThresholds(least, most, distributionPoints)
	}
	thresholds := []float64{0}
	if most > 0 {
		thresholds = grid(above, most)
	}
	if least < 0 {
		losses := grid(0, -least)[1:]
		for k := range losses {
			losses[k] = -losses[k]
		}
		slices.Reverse(losses)
		thresholds = append(losses, thresholds...)
	}
	return thresholds
}

// distributionTally is the distribution of one policy in one lane.
type distributionTally struct {
	cdf  *estimators.CDF
	rows []estimators.CDFRow // of the current customer
}

func newDistributionTally(thresholds []float64) *distributionTally {
	return &distributionTally{cdf: estimators.NewCDF(thresholds, true)}
}

func (d *distributionTally) close() {
	if len(d.rows) > 0 {
		d.cdf.Add(d.rows)
		d.rows = d.rows[:0]
	}
}

// distribution fills in the distribution of a result.
func (j *judge) distribution(r *Result, t *tally) {
	if !j.req.Distribution || r.Name == nameBestFixed {
		return
	}
	d := &Distribution{Estimator: "snips"}
	r.Distribution = d
	limits := j.req.Limits
	switch {
	case j.s.other == 0:
		d.Problem = "rewards are 0 and 1: their mean is all that there is to their distribution"
	case r.Refused():
		d.Problem = r.Refusals[0].Message
	case j.req.Adaptive && !t.isLogged:
		d.Problem = "the logger learned from these rows, and the intervals of a distribution are for fixed loggers"
	case r.Diagnostics.MatchedConversions < limits.Conversions:
		d.Problem = fmt.Sprintf("only %.1f customers converted where the candidate agrees with the log (at least %.0f needed)", r.Diagnostics.MatchedConversions, limits.Conversions)
	case r.Unanswered > 0:
		d.Problem = "the candidate cannot be asked about every row, and what those earn may be anything"
	case t.distribution == nil:
		d.Problem = "there are no rewards to it"
	default:
		if err := d.fill(t.distribution.cdf, j.req.Level, r.Diagnostics.ESS/limits.Conversions); err != nil {
			*d = Distribution{Estimator: d.Estimator, Problem: err.Error()}
			return
		}
		if k, ok := estimators.FindInterval(methodNormal); ok {
			d.Note = k.Warning(r.Diagnostics)
		}
	}
}

// fewestCarriers is how many equal contributions must carry a tail's mean. Those
// that a report needs of the whole are not enough, for a few large rewards are the
// tail: of Pareto's with exponent 1.5 to 2 its normal interval missed on a sixth of
// all logs.
const fewestCarriers = 50

// fill reads what is shown off a CDF; tails of a share below 1/most, or carried by
// too few, have no interval and are left out.
func (d *Distribution) fill(cdf *estimators.CDF, level, most float64) error {
	points, err := cdf.Points(level)
	if err != nil {
		return err
	}
	for _, p := range points {
		d.Points = append(d.Points, DistributionPoint{p.Threshold, p.F, p.Interval.Low, p.Interval.High})
	}
	for _, p := range quantilesShown {
		q := Quantile{P: p}
		var iv estimators.Interval
		if q.Value, iv, err = cdf.Quantile(p, level); err != nil {
			return err
		}
		if points[0].Threshold == 0 { // nobody earns less
			iv.Low = math.Max(iv.Low, 0)
		}
		q.Low, q.High = number64(iv.Low), number64(iv.High)
		d.Quantiles = append(d.Quantiles, q)
	}
	for _, x := range tailsShown {
		if x.share*most < 1 {
			continue
		}
		of := cdf.CVaR
		if x.tail == tailBest {
			of = cdf.TopMean
		}
		e, err := of(x.share)
		if err != nil {
			return err
		}
		carriers := cdf.Carriers(x.share, x.tail == tailBest)
		if carriers > 0 && carriers < fewestCarriers {
			continue
		}
		iv := e.Normal(level)
		if !finite(e.Value, iv.Low, iv.High) {
			continue
		}
		d.Tails = append(d.Tails, Tail{x.tail, x.share, Figure{e.Value, math.Min(iv.Low, e.Value), math.Max(iv.High, e.Value), methodNormal}})
	}
	return nil
}
