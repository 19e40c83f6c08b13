package estimators

import "math"

// Weighing accumulates what the weights say about themselves, by customer.
type Weighing struct {
	gap       Ratio // Σ(w − s) per row
	rows      float64
	customers float64
	weight    float64 // ΣW_c
	squares   float64 // ΣW_c²
	support   float64
	max       float64 // largest weight of a row
	share     float64 // largest Σ|wr| of a customer
	shares    float64 // Σ|wr|
	shares2   float64 // Σ of a customer's Σ|wr| squared
	matched   float64 // Σ_c of the largest min(w, 1) among converting rows
}

// Add adds one customer.
func (d *Weighing) Add(c *Customer) {
	d.gap.Add(c.Weight-c.Support, c.Rows)
	d.sums(1, c)
}

// AddMany adds count customers that are alike.
func (d *Weighing) AddMany(count float64, c *Customer) {
	d.gap.AddMany(count, c.Weight-c.Support, c.Rows)
	d.sums(count, c)
}

func (d *Weighing) sums(count float64, c *Customer) {
	d.rows += count * c.Rows
	d.customers += count
	d.weight += count * c.Weight
	d.squares += count * c.Weight * c.Weight
	d.support += count * c.Support
	d.max = max(d.max, c.MaxWeight)
	d.share = max(d.share, c.AbsShare)
	d.shares += count * c.AbsShare
	d.shares2 += count * c.AbsShare * c.AbsShare
	d.matched += count * c.Conversion
}

// Merge adds o's customers.
func (d *Weighing) Merge(o *Weighing) {
	d.gap.Merge(&o.gap)
	d.rows += o.rows
	d.customers += o.customers
	d.weight += o.weight
	d.squares += o.squares
	d.support += o.support
	d.max = max(d.max, o.max)
	d.share = max(d.share, o.share)
	d.shares += o.shares
	d.shares2 += o.shares2
	d.matched += o.matched
}

// Diagnostics describes the weights of one candidate on one log.
type Diagnostics struct {
	Rows      int64 `json:"rows"`
	Customers int64 `json:"customers"`
	// ESS is (ΣW)²/ΣW² over customers: how many customers drawn under the
	// candidate itself would be worth as much (Kish 1965).
	ESS float64 `json:"ess"`
	// MatchedConversions counts converting customers at the rows the candidate
	// would have served, each with min(w, 1): a row that the candidate takes
	// rarely hardly counts.
	MatchedConversions float64 `json:"matched_conversions"`
	// EffectiveConversions is (Σ|wr|)²/Σ(wr)² over customers: how many equal
	// contributions would carry the estimate as evenly. Far fewer than those who
	// converted where weights or rewards have a heavy tail.
	EffectiveConversions float64 `json:"effective_conversions"`
	MaxWeight            float64 `json:"max_weight"`
	MeanWeight           float64 `json:"mean_weight"`
	// WeightZ is how many standard errors the mean weight lies from the
	// supported mass, which it must equal when the propensities are true. 0
	// where weights do not vary.
	WeightZ float64 `json:"weight_z"`
	// LargestShare is the largest customer's share of Σ|wr|.
	LargestShare float64 `json:"largest_share"`
	// OffSupport is U = M[Σ_a π 1{μ < τ}], the candidate's mass where the log
	// cannot answer.
	OffSupport float64 `json:"off_support"`
}

// Estimate returns the diagnostics; all are 0 without customers.
func (d *Weighing) Estimate() Diagnostics {
	if d.rows == 0 {
		return Diagnostics{}
	}
	g := Diagnostics{
		Rows: int64(d.rows), Customers: int64(d.customers),
		MatchedConversions: d.matched, MaxWeight: d.max,
		MeanWeight: d.weight / d.rows, OffSupport: max(0, 1-d.support/d.rows),
	}
	if g.OffSupport < 1e-12 {
		g.OffSupport = 0
	}
	if d.squares > 0 {
		g.ESS = d.weight * d.weight / d.squares
	}
	if d.shares > 0 {
		g.LargestShare = d.share / d.shares
		g.EffectiveConversions = d.shares * d.shares / d.shares2
	}
	if e, err := d.gap.Estimate(); err == nil && e.StdErr > 1e-12 {
		g.WeightZ = e.Value / e.StdErr
	}
	return g
}

// ESS is (Σw)²/Σw² over customers' summed weights; 0 when all are zero.
func ESS(by Customers, weight []float64) float64 {
	var s, ss float64
	by.each(len(weight), func(lo, hi int) {
		w := 0.0
		for _, x := range weight[lo:hi] {
			w += x
		}
		s += w
		ss += w * w
	})
	if ss == 0 {
		return 0
	}
	return s * s / ss
}

// Manski bounds a value when a mass offSupport of the candidate lies on actions
// that the log cannot speak for: their rewards may be anything in [rMin, rMax]
// (Manski 1990). supported is the interval of V_S = M[wr 1{μ ≥ τ}], from IPS,
// never from SNIPS or DR, which fill the gap in.
func Manski(supported Interval, offSupport, rMin, rMax float64) Interval {
	return Interval{
		Low:  math.Max(supported.Low+offSupport*rMin, rMin),
		High: math.Min(supported.High+offSupport*rMax, rMax),
	}
}
