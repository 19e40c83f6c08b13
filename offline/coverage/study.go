// Package coverage measures how often every interval of package estimators holds
// a known truth, over sample sizes, tails of weights, base rates, clustered
// customers and revenue: the study of docs/coverage.md.
package coverage

import (
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"

	"gonum.org/v1/gonum/stat/distuv"

	"nextbest/estimators"
)

// Cell is one interval's record in one setting.
type Cell struct {
	Given    int     // logs on which it said something
	Covered  int     // of these
	Low      int     // truths below the interval
	High     int     // truths above it
	Width    float64 // mean
	Reported int     // logs that a report concludes from, where it said something without a warning
	Right    int     // of these
}

// Coverage is Covered/Given, NaN where it said nothing.
func (c Cell) Coverage() float64 { return float64(c.Covered) / float64(c.Given) }

// Result is one setting's.
type Result struct {
	Setting     Setting
	Truth       float64
	Conversions float64 // converting customers whose action the candidate shares, mean
	Effective   float64 // Diagnostics.EffectiveConversions, mean
	Refused     float64 // share of logs that a report refuses to conclude from
	Cells       []Cell
}

// Interval is one of the intervals of Result.Cells.
type Interval struct {
	Title   string
	Kind    string // of estimators.Intervals
	Default bool   // of a report
}

// intervals are in the order of Result.Cells.
var intervals = []Interval{
	{"EL value", "empirical_likelihood", true}, {"EL SNIPS", "empirical_likelihood", true},
	{"EL DR", "empirical_likelihood", true}, {"EL IPS", "empirical_likelihood", true},
	{"betting", "betting", false}, {"gate, one-sided", "betting", false}, {"asymptotic sequence", "asymptotic_sequence", false},
	{"bootstrap-t", "bootstrap_t", false}, {"Poisson bootstrap", "poisson_bootstrap", false}, {"empirical Bernstein", "empirical_bernstein", false},
	{"Clopper-Pearson", "clopper_pearson", false}, {"normal SNIPS", "normal", false}, {"normal IPS", "normal", false},
}

// Intervals returns the intervals, in the order of Result.Cells.
func Intervals() []Interval { return slices.Clone(intervals) }

// Study simulates replications logs of every setting, as multinomial counts of
// kinds of customers, and asks each interval at 95% for the candidate's value.
// The same seed gives the same result. progress may be nil.
func Study(settings []Setting, replications int, seed uint64, progress func(done, of int)) []Result {
	out := make([]Result, len(settings))
	var next, done int
	var mu sync.Mutex
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= len(settings) {
					return
				}
				out[i] = settings[i].run(replications, rand.New(rand.NewPCG(seed, uint64(i))))
				mu.Lock()
				done++
				if progress != nil {
					progress(done, len(settings))
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return out
}

func (s Setting) run(replications int, rng *rand.Rand) Result {
	cells := s.cells()
	groups, predicted := map[[2]float64]int{}, span{math.Inf(1), math.Inf(-1)}
	for i := range cells {
		k := [2]float64{cells[i].weight, cells[i].weighted}
		predicted.low, predicted.high = min(predicted.low, cells[i].q), max(predicted.high, cells[i].q)
		if _, ok := groups[k]; !ok {
			groups[k] = len(groups)
		}
		cells[i].group = groups[k]
	}
	r := Result{Setting: s, Cells: make([]Cell, len(intervals))}
	for _, c := range cells {
		r.Truth += c.p * c.weighted / c.rows
	}
	for range replications {
		log := newSimulated(s, r.Truth, rng.Uint64(), len(groups), predicted)
		rest, left := 1.0, s.Customers
		for i := range cells {
			c, n := &cells[i], left
			if i < len(cells)-1 {
				n = draw(rng, left, c.p/rest)
			}
			log.add(c, n)
			left -= n
			rest -= c.p
		}
		log.close()
		d := log.weigh.Estimate()
		refused := len(estimators.Judge(d, estimators.DefaultLimits)) > 0
		if refused {
			r.Refused += 1 / float64(replications)
		}
		r.Conversions += d.MatchedConversions / float64(replications)
		r.Effective += d.EffectiveConversions / float64(replications)
		for k, iv := range log.intervals(&d) {
			truth := r.Truth
			if k == gate {
				truth = 0 // of the difference
			}
			kind, _ := estimators.FindInterval(intervals[k].Kind)
			r.Cells[k].see(iv, truth, refused || kind.Warning(d) != "")
		}
	}
	for k := range r.Cells {
		r.Cells[k].Width /= float64(max(r.Cells[k].Given, 1))
	}
	return r
}

// draw is binomial.
func draw(rng *rand.Rand, n int, p float64) int {
	switch {
	case n == 0 || p <= 0:
		return 0
	case p >= 1:
		return n
	}
	return int(distuv.Binomial{N: float64(n), P: p, Src: rng}.Rand())
}

func (c *Cell) see(iv estimators.Interval, truth float64, unread bool) {
	if math.IsNaN(iv.Low) || math.IsNaN(iv.High) || math.IsInf(iv.Low, 0) && math.IsInf(iv.High, 0) {
		return
	}
	c.Given++
	const ε = 1e-12
	right := false
	switch {
	case truth < iv.Low-ε:
		c.Low++
	case truth > iv.High+ε:
		c.High++
	default:
		c.Covered++
		right = true
	}
	if !math.IsInf(iv.High, 1) {
		c.Width += iv.High - iv.Low
	}
	if !unread {
		c.Reported++
		if right {
			c.Right++
		}
	}
}

// gate is the gate's place among the intervals.
const gate = 5

// simulated holds one log's accumulators.
type simulated struct {
	setting Setting
	truth   float64
	groups  []group

	weigh      estimators.Weighing
	values     estimators.WeightLikelihood
	robust     estimators.Likelihood
	gap        estimators.Betting
	sequence   *estimators.BettingSequence
	bernstein  estimators.EmpiricalBernstein
	ips, snips estimators.Ratio
	poisson    *estimators.PoissonBootstrap
	bootT      *estimators.BootstrapT
	predicted  span
	maxReward  float64
	maxWeight  float64
}

// replicates of each bootstrap; the ends of so many are known to an
// eighth of a standard error.
const replicates = 300

// group counts the customers of alike cells.
type group struct {
	cell  *cell
	count int
}

// span is a closed range of predictions.
type span struct{ low, high float64 }

func newSimulated(s Setting, truth float64, seed uint64, groups int, predicted span) *simulated {
	w := tails[s.Tail][0]
	l := &simulated{setting: s, truth: truth, groups: make([]group, groups), predicted: predicted, maxReward: 1, maxWeight: w[len(w)-1]}
	if s.Revenue {
		l.maxReward = 64
	}
	l.sequence, _ = estimators.NewBettingSequence(0, l.maxReward)
	l.gap = estimators.Betting{Bound: l.maxReward, Scale: l.maxReward}
	l.bernstein = estimators.EmpiricalBernstein{High: l.maxWeight * l.maxReward}
	l.poisson = estimators.NewPoissonBootstrap(2, replicates, seed)
	l.bootT = estimators.NewBootstrapT(0, replicates, seed)
	return l
}

func (l *simulated) add(c *cell, n int) {
	if n == 0 {
		return
	}
	count := float64(n)
	customer := estimators.Customer{Rows: c.rows, Weight: c.weight, Support: c.rows, WeightedReward: c.weighted, Reward: c.rewards,
		MaxWeight: min(c.weight, l.maxWeight), AbsShare: c.weighted}
	if c.conversion {
		customer.Conversion = 1
	}
	l.weigh.AddMany(count, &customer)
	l.values.AddMany(count, c.rows, c.weight, c.weighted)
	l.robust.AddMany(count, c.rows, c.weight-c.rows, c.q*(c.rows-c.weight)+c.weighted)
	l.gap.AddMany(count, c.rows, c.weighted-c.rewards)
	l.sequence.AddMany(count, c.rows, c.weight, c.weighted)
	l.bernstein.AddMany(count, c.rows, c.weighted)
	l.ips.AddMany(count, c.weighted, c.rows)
	l.snips.AddMany(count, c.weighted, c.weight)
	l.groups[c.group].cell = c
	l.groups[c.group].count += n
}

// close resamples groups; customers without weight do not touch SNIPS.
func (l *simulated) close() {
	for id, g := range l.groups {
		if g.count > 0 && g.cell.weight > 0 {
			c := g.cell
			l.poisson.AddMany(uint64(id), g.count, []float64{c.weighted, c.weight}, c.conversion)
			l.bootT.AddMany(uint64(id), g.count, c.weighted, c.weight, c.conversion)
		}
	}
}

// intervals of one log in the order of intervals; NaN where one says
// nothing.
func (l *simulated) intervals(d *estimators.Diagnostics) []estimators.Interval {
	const level = 0.95
	none := estimators.Interval{Low: math.NaN(), High: math.NaN()}
	or := func(iv estimators.Interval, err error) estimators.Interval {
		if err != nil {
			return none
		}
		return iv
	}
	likelihood := func(_ float64, iv estimators.Interval, err error) estimators.Interval { return or(iv, err) }
	w, top := l.maxWeight, l.maxReward
	out := []estimators.Interval{
		likelihood(l.values.Value(w, 0, top, level)),
		likelihood(l.values.SNIPS(w, 0, top, level)),
		likelihood(l.robust.Interval(estimators.Support{UMax: w, Mean: 1, GMin: l.predicted.low, GMax: l.predicted.high, EMin: -l.predicted.high, EMax: top - l.predicted.low}, 0, top, level)),
		likelihood(l.values.IPS(w, 0, top, level)),
		or(l.sequence.Interval(1 - level)),
	}
	low, err := l.gap.Lower(1 - level)
	out = append(out, or(estimators.Interval{Low: low, High: math.Inf(1)}, err))
	ips, err := l.ips.Estimate()
	snips, err2 := l.snips.Estimate()
	_, bt, errT := l.bootT.Interval(0, top, level)
	_, pb, errP := l.poisson.Estimate(func(s []float64) float64 { return s[0] / s[1] }, level)
	sequence, normal, normalIPS, cp := none, none, none, none
	if err == nil {
		normalIPS = ips.Normal(level)
	}
	if err2 == nil {
		normal = snips.Normal(level)
		sequence = snips.Asymptotic(d.MatchedConversions, float64(l.setting.Customers), 1-level)
		if !l.setting.Revenue {
			cp = or(estimators.ClopperPearson(min(snips.Value, 1)*d.ESS, d.ESS, level))
		}
	}
	return append(out, sequence, or(bt, errT), or(pb, errP), or(l.bernstein.Interval(level)), cp, normal, normalIPS)
}
