package estimators

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// LogThresholds returns points thresholds from low to high whose ratios are
// equal, after a 0 for what earned nothing: the grid of a CDF of revenue. It
// panics unless 0 < low < high and points ≥ 2.
func LogThresholds(low, high float64, points int) []float64 {
	if !(low > 0 && high > low && points >= 2) || math.IsInf(high, 1) {
		panic(fmt.Sprintf("estimators: %d thresholds from %v to %v", points, low, high))
	}
	t := make([]float64, points+1)
	for k := range points {
		t[k+1] = low * math.Pow(high/low, float64(k)/float64(points-1))
	}
	t[points] = high
	return t
}

// CDFRow is one row of a CDF.
type CDFRow struct {
	Weight, Reward float64
	// Survival and PolicySurvival hold a model's P(r > t_k | x, a) at every
	// threshold for the logged action and for the candidate, Σ_a π(a|x)P(r > t_k|x, a).
	// With them F is doubly robust; without (nil) it is weighted only.
	Survival, PolicySurvival []float64
}

// CDF accumulates the distribution of the reward under a candidate at fixed
// thresholds, F(t) = 1 − S(t):
//
//	IPS    S(t) = M[w 1{r > t}]
//	SNIPS  S(t) = Σw 1{r > t}/Σw
//	DR     S(t) = M[S_π(t) + w(1{r > t} − S(t|x, a))]
//
// (Huang, Leqi, Lipton and Azizzadenesheli 2021, arXiv 2104.08977, eq. 3 and 5;
// Chandak, Niekum, da Silva, Learned-Miller, Brunskill and Thomas 2021, arXiv
// 2104.12820), by customer. Memory is the thresholds'. Customers whose rewards are
// all at most the first threshold cost nothing, unless there is a model.
type CDF struct {
	thresholds []float64
	normalised bool
	n          float64 // customers
	d, dd      float64 // Σd, Σd²; d is Σw or the rows
	w, z       float64 // Σw, Σwr over customers
	ww, zz, wz float64
	wd, zd     float64
	modelled   bool
	at         []cdfSums
	rows       int
	bad        error
	scratch    []float64
}

// cdfSums of one threshold t over customers: x = Σw 1{r > t}, y = Σw(r − t)₊.
type cdfSums struct {
	x, xx, xd         float64
	y, yy, yd, yw, yz float64
}

// NewCDF returns an empty CDF at the given thresholds, which must ascend, and
// which it keeps. normalised divides by Σw rather than by the rows.
func NewCDF(thresholds []float64, normalised bool) *CDF {
	if len(thresholds) == 0 || !slices.IsSorted(thresholds) {
		panic("estimators: the thresholds of a CDF must ascend")
	}
	return &CDF{thresholds: thresholds, normalised: normalised, at: make([]cdfSums, len(thresholds)), scratch: make([]float64, 2*len(thresholds))}
}

// Thresholds returns them. The caller must not change them.
func (c *CDF) Thresholds() []float64 { return c.thresholds }

// Add adds one customer. Either all rows have a model or none.
func (c *CDF) Add(customer []CDFRow) {
	k := len(c.thresholds)
	x, y := c.scratch[:k], c.scratch[k:]
	clear(c.scratch)
	var d, w, z float64
	active := 0 // thresholds below it may be exceeded
	for i := range customer {
		r := &customer[i]
		if c.bad == nil {
			c.bad = c.check(r, c.rows+i)
		}
		if c.bad != nil {
			continue
		}
		w += r.Weight
		z += r.Weight * r.Reward
		above, _ := slices.BinarySearch(c.thresholds, r.Reward) // thresholds below the reward
		for j, t := range c.thresholds[:above] {
			x[j] += r.Weight
			y[j] += r.Weight * (r.Reward - t)
		}
		active = max(active, above)
		if r.Survival != nil {
			c.modelled = true
			active = k
			for j := range x {
				x[j] += r.PolicySurvival[j] - r.Weight*r.Survival[j]
			}
		}
	}
	c.rows += len(customer)
	if c.bad != nil {
		return
	}
	d = float64(len(customer))
	if c.normalised {
		d = w
	}
	c.n++
	c.d += d
	c.dd += d * d
	c.w += w
	c.z += z
	c.ww += w * w
	c.zz += z * z
	c.wz += w * z
	c.wd += w * d
	c.zd += z * d
	for j := range active {
		s := &c.at[j]
		s.x += x[j]
		s.xx += x[j] * x[j]
		s.xd += x[j] * d
		s.y += y[j]
		s.yy += y[j] * y[j]
		s.yd += y[j] * d
		s.yw += y[j] * w
		s.yz += y[j] * z
	}
}

func (c *CDF) check(r *CDFRow, row int) error {
	if err := (needWeight | needReward).check(&Row{Weight: r.Weight, Reward: r.Reward}, row); err != nil {
		return err
	}
	if (r.Survival == nil) != (r.PolicySurvival == nil) || r.Survival == nil && c.modelled || r.Survival != nil && (c.normalised || c.n > 0 && !c.modelled) {
		return rowErrorf(row, "a reward distribution's model must be on all rows or on none, and not with self-normalised weights")
	}
	for _, s := range [2][]float64{r.Survival, r.PolicySurvival} {
		if s == nil {
			continue
		}
		sameLength(len(c.thresholds), len(s))
		for _, p := range s {
			if !(p >= 0 && p <= 1) {
				return rowErrorf(row, "modelled survival probability %v: it must be in [0, 1]", p)
			}
		}
	}
	return nil
}

// Merge adds o's customers; thresholds or kinds that differ panic.
func (c *CDF) Merge(o *CDF) {
	if !slices.Equal(c.thresholds, o.thresholds) || c.normalised != o.normalised {
		panic("estimators: merged distributions differ in thresholds or kind")
	}
	if c.bad == nil {
		c.bad = o.bad
	}
	if c.bad == nil && c.n > 0 && o.n > 0 && c.modelled != o.modelled {
		panic("estimators: merged distributions with a model and without")
	}
	c.modelled = c.modelled || o.modelled
	c.rows += o.rows
	for _, s := range [][2]*float64{{&c.n, &o.n}, {&c.d, &o.d}, {&c.dd, &o.dd}, {&c.w, &o.w}, {&c.z, &o.z}, {&c.ww, &o.ww}, {&c.zz, &o.zz}, {&c.wz, &o.wz}, {&c.wd, &o.wd}, {&c.zd, &o.zd}} {
		*s[0] += *s[1]
	}
	for j := range c.at {
		a, b := &c.at[j], &o.at[j]
		a.x += b.x
		a.xx += b.xx
		a.xd += b.xd
		a.y += b.y
		a.yy += b.yy
		a.yd += b.yd
		a.yw += b.yw
		a.yz += b.yz
	}
}

func (c *CDF) usable() error {
	switch {
	case c.bad != nil:
		return c.bad
	case c.n == 0:
		return ErrEmpty
	case c.d == 0 || c.w == 0:
		return ErrNoWeight
	}
	return nil
}

// CDFPoint is F at one threshold.
type CDFPoint struct {
	Threshold float64
	F         float64
	Interval  Interval
}

// Points returns F at the thresholds, made monotone within [0, 1], each with a
// pointwise interval by the score of the linearised ratio, {S : (ΣX − SΣD)² ≤
// z²·C/(C−1)·Σ(X − SD)²} (Fieller 1954): unlike value ± z·se it does not end at 0
// where few customers exceed a threshold.
func (c *CDF) Points(level float64) ([]CDFPoint, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	out := make([]CDFPoint, len(c.at))
	z := distuv.UnitNormal.Quantile(0.5 + level/2)
	least := 0.0
	for j := range c.at {
		s := &c.at[j]
		least = max(least, min(max(1-s.x/c.d, 0), 1))
		out[j] = CDFPoint{Threshold: c.thresholds[j], F: least, Interval: Interval{Low: 0, High: 1}}
		if c.n < 2 {
			continue
		}
		// a S² − 2b S + e ≤ 0, with a finite interval only where a > 0.
		g := z * z * c.n / (c.n - 1)
		a, b, e := c.d*c.d-g*c.dd, s.x*c.d-g*s.xd, s.x*s.x-g*s.xx
		if a <= 0 {
			continue
		}
		root := math.Sqrt(max(b*b-a*e, 0))
		if s.x == 0 && s.xx == 0 {
			// Nobody exceeds it, so the score is mute: all that can be said is by
			// the effective customers, exactly (Clopper and Pearson 1934).
			ess := c.d * c.d / c.dd
			cp, err := ClopperPearson(0, ess, level)
			if err != nil {
				return nil, err
			}
			out[j].Interval.Low = 1 - cp.High
			continue
		}
		out[j].Interval = Interval{Low: min(max(1-(b+root)/a, 0), 1), High: min(max(1-(b-root)/a, 0), 1)}
	}
	// F's bounds are monotone too: a bound holds to the right (low) or left (high).
	for j := 1; j < len(out); j++ {
		out[j].Interval.Low = max(out[j].Interval.Low, out[j-1].Interval.Low)
	}
	for j := len(out) - 2; j >= 0; j-- {
		out[j].Interval.High = min(out[j].Interval.High, out[j+1].Interval.High)
	}
	return out, nil
}

// ErrThresholds is returned where a quantile lies above the last threshold.
var ErrThresholds = errors.New("the quantile lies above the last threshold: use higher thresholds")

// Quantile returns the least threshold with F(t) ≥ p and the interval of the
// thresholds whose pointwise interval holds p (Woodruff 1952), rounded outwards
// to thresholds; its High is +Inf where it lies above the last one.
func (c *CDF) Quantile(p, level float64) (float64, Interval, error) {
	points, err := c.Points(level)
	if err != nil {
		return 0, Interval{}, err
	}
	iv, q := Interval{Low: math.Inf(-1), High: math.Inf(1)}, math.NaN()
	for j := len(points) - 1; j >= 0; j-- {
		if points[j].F >= p {
			q = points[j].Threshold
		}
		if points[j].Interval.Low >= p {
			iv.High = points[j].Threshold
		}
	}
	for _, x := range points {
		if x.Interval.High < p {
			iv.Low = x.Threshold // the quantile lies above it
		}
	}
	if math.IsNaN(q) {
		return 0, iv, ErrThresholds
	}
	return q, iv, nil
}

// ErrNoTail is returned where a tail's mean is asked of a modelled distribution.
var ErrNoTail = errors.New("means of tails come from a weighted distribution, not from a doubly robust one")

// CVaR returns the conditional value at risk, the mean reward of the worst share
// alpha of decisions,
//
//	max_t t − E[(t − r)₊]/alpha
//
// over the thresholds (Rockafellar and Uryasev 2000, eq. 4, for rewards). Its
// standard error is that of the linearised ratio at the best t, by customer; use
// Estimate.Normal for an interval.
func (c *CDF) CVaR(alpha float64) (Estimate, error) {
	e, _, err := c.tail(alpha, false)
	return e, err
}

// TopMean returns the mean reward of the best share alpha of decisions,
// min_t t + E[(r − t)₊]/alpha over the thresholds, likewise.
func (c *CDF) TopMean(alpha float64) (Estimate, error) {
	e, _, err := c.tail(alpha, true)
	return e, err
}

// Carriers returns how many equal contributions would carry a tail's mean as
// evenly, (Σu)²/Σu² (Kish 1965) over customers of u = Σw(r − t)₊ or Σw(t − r)₊ at
// the best t; 0 where all are 0 or there is no tail.
func (c *CDF) Carriers(alpha float64, top bool) float64 {
	_, n, err := c.tail(alpha, top)
	if err != nil {
		return 0
	}
	return n
}

func (c *CDF) tail(alpha float64, top bool) (best Estimate, carriers float64, err error) {
	within("share", alpha, 0, 1)
	if err := c.usable(); err != nil {
		return Estimate{}, 0, err
	}
	if c.modelled {
		return Estimate{}, 0, ErrNoTail
	}
	best = Estimate{Value: math.Inf(-1), StdErr: math.NaN(), Customers: int64(c.n)}
	if top {
		best.Value = math.Inf(1)
	}
	for j, t := range c.thresholds {
		s := &c.at[j]
		u, uu, ud := s.y, s.yy, s.yd
		if !top { // Σw(t − r)₊ = tΣw − Σwr + Σw(r − t)₊
			u = t*c.w - c.z + s.y
			uu = t*t*c.ww + c.zz + s.yy - 2*t*c.wz + 2*t*s.yw - 2*s.yz
			ud = t*c.wd - c.zd + s.yd
		}
		mean := u / c.d
		v := t - mean/alpha
		if top {
			v = t + mean/alpha
		}
		if top && !(v < best.Value) || !top && !(v > best.Value) {
			continue
		}
		best.Value, carriers = v, 0
		if u > 1e-9*(math.Abs(c.z)+math.Abs(t)*c.w) && uu > 0 { // not what rounding leaves of nothing
			carriers = u * u / uu
		}
		if c.n > 1 {
			ss := uu - 2*mean*ud + mean*mean*c.dd
			best.StdErr = math.Sqrt(max(ss, 0)*c.n/(c.n-1)) / math.Abs(c.d) / alpha
		}
	}
	return best, carriers, nil
}
