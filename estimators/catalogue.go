package estimators

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Column is something that an estimator reads of each row.
type Column string

// The columns, by what they hold of a row.
const (
	ColumnWeight     Column = "weight"         // Row.Weight, π/μ
	ColumnReward     Column = "reward"         // Row.Reward
	ColumnModel      Column = "model"          // Row.Q and QPolicy, cross-fitted
	ColumnMRDR       Column = "mrdr_model"     // the same from MRDRFit, or a fit by MRDRWeights
	ColumnPropensity Column = "propensity"     // Row.Propensity
	ColumnCluster    Column = "cluster_weight" // Row.Cluster, from all actions' probabilities and their clusters
	ColumnMixture    Column = "mixture_weight" // Row.Mixture, from every logger's propensity
	ColumnStability  Column = "stability"      // Row.Stability, from the logger's past
	ColumnSlots      Column = "slots"          // Row.Slots with conditional weights and models
	ColumnMarginals  Column = "slot_marginals" // Row.Slots with marginal weights
)

// Parameter is an estimator's hyperparameter.
type Parameter struct {
	Name     string
	Meaning  string
	Default  float64 // NaN: estimated from the rows
	Min, Max float64
	// Grid holds the values among which SLOPE chooses, the least biased first;
	// nil where there is no such order.
	Grid []float64
	// PerReward says that the value acts on rewards as they are: the default and the
	// grid are for rewards up to 1, and are divided by the largest (Choice.For).
	PerReward bool
}

// Definition describes one estimator.
type Definition struct {
	Name      string
	Formula   string // in the package's notation
	Source    string // authors, year, arXiv id or journal
	Note      string // when it is right
	Columns   []Column
	Parameter *Parameter // nil without one

	build func(v float64) Accumulator
	full  func() *Total // the unbiased estimator that the hyperparameter departs from
}

// DefaultEstimators are what a report shows unless told otherwise.
var DefaultEstimators = []string{"ips", "snips", "dm", "dr"}

var inf = math.Inf(1)

// largeFirst and smallFirst are the usual grids of SLOPE.
var (
	largeFirst = []float64{inf, 10000, 1000, 300, 100, 30, 10, 5, 3, 2, 1}
	smallFirst = []float64{0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 1}
)

func plain(t func() *Total) func(float64) Accumulator {
	return func(float64) Accumulator { return t() }
}

func tuned(t func(float64) *Total) func(float64) Accumulator {
	return func(v float64) Accumulator { return t(v) }
}

var weighted = []Column{ColumnWeight, ColumnReward}
var modelled = []Column{ColumnWeight, ColumnReward, ColumnModel}

var catalogue = []Definition{
	{Name: "ips", Formula: "M[wr]", Source: "Horvitz & Thompson 1952", Note: "unbiased under full support",
		Columns: weighted, build: plain(NewIPS)},
	{Name: "clipped_ips", Formula: "M[min(w, c) r]", Source: "Bottou et al. 2013, JMLR 14", Note: "biased downwards for rewards ≥ 0",
		Columns: weighted, build: tuned(NewClippedIPS), full: NewIPS,
		Parameter: &Parameter{Name: "max", Meaning: "largest weight c", Default: 10, Max: inf, Grid: largeFirst}},
	{Name: "snips", Formula: "Σwr/Σw", Source: "Swaminathan & Joachims 2015", Note: "consistent; bounded by the rewards",
		Columns: weighted, build: plain(NewSNIPS)},
	{Name: "dm", Formula: "M[q_π]", Source: "direct method", Note: "as biased as the model is wrong",
		Columns: []Column{ColumnModel}, build: plain(NewDM)},
	{Name: "dr", Formula: "M[q_π + w(r−q)]", Source: "Dudík et al. 2011, 1103.4601", Note: "right when propensities or model are",
		Columns: modelled, build: plain(NewDR)},
	{Name: "clipped_dr", Formula: "M[q_π + min(w, c)(r−q)]", Source: "Su et al. 2020, 1907.09623", Note: "pessimistic shrinkage",
		Columns: modelled, build: tuned(NewClippedDR), full: NewDR,
		Parameter: &Parameter{Name: "max", Meaning: "largest weight c; 0 is DM, inf is DR", Default: 10, Max: inf, Grid: largeFirst}},
	{Name: "sndr", Formula: "M[q_π] + Σw(r−q)/Σw", Source: "Thomas & Brunskill 2016, 1604.00923", Note: "consistent; mild where weights vary",
		Columns: modelled, build: func(float64) Accumulator { return new(SNDRTotal) }},
	{Name: "switch_dr", Formula: "M[q_π + w·1{w ≤ τ}(r−q)]", Source: "Wang et al. 2017, 1612.01205", Note: "the model where weights exceed τ",
		Columns: modelled, build: tuned(NewSwitchDR), full: NewDR,
		Parameter: &Parameter{Name: "tau", Meaning: "largest weight τ that is trusted; 0 is DM, inf is DR", Default: 10, Max: inf, Grid: largeFirst}},
	{Name: "dros", Formula: "M[q_π + λw/(w²+λ)(r−q)]", Source: "Su et al. 2020, 1907.09623", Note: "optimistic shrinkage",
		Columns: modelled, build: tuned(NewDRos), full: NewDR,
		Parameter: &Parameter{Name: "lambda", Meaning: "λ: weights above √λ shrink; 0 is DM, inf is DR", Default: 100, Max: inf, Grid: largeFirst}},
	{Name: "mrdr", Formula: "M[q_π + w(r−q)], q of least variance", Source: "Farajtabar et al. 2018, 1802.03493", Note: "DR with a model fitted for it",
		Columns: []Column{ColumnWeight, ColumnReward, ColumnMRDR}, build: plain(NewDR)},
	{Name: "subgaussian_ips", Formula: "M[w/(1−λ+λw) r]", Source: "Metelli et al. 2021, NeurIPS 34", Note: "harmonic shrinkage",
		Columns: weighted, build: tuned(NewSubGaussianIPS), full: NewIPS,
		Parameter: &Parameter{Name: "lambda", Meaning: "λ in [0, 1]; 0 is IPS", Default: 0.01, Max: 1, Grid: smallFirst}},
	{Name: "subgaussian_dr", Formula: "M[q_π + w/(1−λ+λw)(r−q)]", Source: "Metelli et al. 2021, NeurIPS 34", Note: "harmonic shrinkage",
		Columns: modelled, build: tuned(NewSubGaussianDR), full: NewDR,
		Parameter: &Parameter{Name: "lambda", Meaning: "λ in [0, 1]; 0 is DR", Default: 0.01, Max: 1, Grid: smallFirst}},
	{Name: "mips", Formula: "M[w(x,e) r], w(x,e) = E_μ[w|x,e]", Source: "Saito & Joachims 2022, 2202.06317", Note: "unbiased where actions act through e alone",
		Columns: []Column{ColumnCluster, ColumnReward}, build: plain(NewMIPS)},
	{Name: "offcem", Formula: "M[w(x,c(a))(r−f) + f_π]", Source: "Saito et al. 2023, 2305.08062", Note: "unbiased where f has the differences within clusters",
		Columns: []Column{ColumnCluster, ColumnReward, ColumnModel}, build: plain(NewOffCEM)},
	{Name: "beta_ips", Formula: "M[w(r−β)] + β, β* = E[(w²−w)r]/E[w²−w]", Source: "Gupta et al. 2024, 2405.05736", Note: "IPS with the best baseline",
		Columns: weighted, build: func(v float64) Accumulator {
			if math.IsNaN(v) {
				return new(BetaIPSTotal)
			}
			return NewFixedBetaIPS(v)
		},
		Parameter: &Parameter{Name: "beta", Meaning: "baseline β; estimated unless given", Default: math.NaN(), Min: -math.MaxFloat64, Max: math.MaxFloat64}},
	{Name: "log_smoothing", Formula: "M[log(1+λwr)]/λ", Source: "Sakhi et al. 2024, 2405.14335", Note: "rewards ≥ 0; biased downwards",
		Columns: weighted, build: tuned(NewLogSmoothing), full: NewIPS,
		Parameter: &Parameter{Name: "lambda", Meaning: "λ, per unit of the reward; 0 is IPS", Default: 0.01, Max: math.MaxFloat64, Grid: smallFirst, PerReward: true}},
	{Name: "balanced", Formula: "M[π/(Σ_k s_k μ_k) r]", Source: "Agarwal et al. 2017, 1703.06180", Note: "several fixed loggers",
		Columns: []Column{ColumnMixture, ColumnReward}, build: plain(NewBalanced)},
	{Name: "adaptive_aipw", Formula: "Σhφ/Σh, φ = q_π + w(r−q)", Source: "Hadad et al. 2021, 1911.02768", Note: "logs of a policy that learned from them, rewards that do not drift",
		Columns: []Column{ColumnWeight, ColumnReward, ColumnModel, ColumnStability}, build: plain(NewAdaptiveAIPW)},
	{Name: "replay", Formula: "Σ1{π agrees}r/Σ1{π agrees}", Source: "Li et al. 2011, 1003.5956", Note: "uniform logging, a candidate that is certain",
		Columns: []Column{ColumnWeight, ColumnPropensity, ColumnReward}, build: func(float64) Accumulator { return NewReplay() }},
	{Name: "position_ips", Formula: "M[Σ_l π_l/μ_l r_l]", Source: "Li et al. 2018, 1804.10488", Note: "lists whose slots act alone; value per list",
		Columns: []Column{ColumnMarginals}, build: plain(NewPositionIPS)},
	{Name: "cascade_dr", Formula: "M[Σ_l w_1:l(r_l−Q_l) + w_1:l−1 Q_l,π]", Source: "Kiyohara et al. 2022, 2202.01562", Note: "lists that are read from the top; value per list",
		Columns: []Column{ColumnSlots}, build: plain(NewCascadeDR)},
}

// Catalogue lists every estimator of a policy's value.
func Catalogue() []Definition { return slices.Clone(catalogue) }

// Choice is an estimator with its hyperparameter.
type Choice struct {
	Definition
	Value float64 // of the parameter; NaN where it is estimated or there is none
	Slope bool    // SLOPE chooses the value among Parameter.Grid

	given bool // the value was
}

// ParseChoice reads an estimator's name with, optionally, its hyperparameter:
// "dr", "dros:lambda=1", "switch_dr:tau=inf", "clipped_ips:max=slope". The error
// says what would be right.
func ParseChoice(s string) (Choice, error) {
	name, rest, given := strings.Cut(strings.TrimSpace(s), ":")
	name = strings.ReplaceAll(strings.ToLower(name), "-", "_")
	at := slices.IndexFunc(catalogue, func(d Definition) bool { return d.Name == name })
	if at < 0 {
		var names []string
		for _, d := range catalogue {
			names = append(names, d.Name)
		}
		return Choice{}, fmt.Errorf("estimator %q is not one of %s", name, strings.Join(names, ", "))
	}
	c := Choice{Definition: catalogue[at], Value: math.NaN()}
	p := c.Parameter
	if p != nil {
		c.Value = p.Default
	}
	if !given {
		return c, nil
	}
	if p == nil {
		return Choice{}, fmt.Errorf("estimator %s has no parameter, %q was given", name, rest)
	}
	key, value, ok := strings.Cut(rest, "=")
	if !ok || strings.TrimSpace(key) != p.Name {
		return Choice{}, fmt.Errorf("estimator %s has the parameter %s (%s), not %q: write %s:%s=%v", name, p.Name, p.Meaning, rest, name, p.Name, p.example())
	}
	value = strings.TrimSpace(value)
	if value == "slope" {
		if p.Grid == nil {
			return Choice{}, fmt.Errorf("estimator %s: SLOPE cannot choose %s, which has no order of bias", name, p.Name)
		}
		c.Slope, c.Value = true, math.NaN()
		return c, nil
	}
	v, err := strconv.ParseFloat(value, 64)
	if err != nil || math.IsNaN(v) || v < p.Min || v > p.Max {
		return Choice{}, fmt.Errorf("estimator %s: %s=%s must be a number in [%v, %v]", name, p.Name, value, p.Min, p.Max)
	}
	c.Value, c.given = v, true
	return c, nil
}

// For returns the choice for rewards of at most largest: a hyperparameter that acts
// on rewards as they are (PerReward) has its default, or its grid, divided by that.
// A value that was given stays, and so does all where no reward is above 0.
func (c Choice) For(largest float64) Choice {
	if c.Parameter == nil || !c.Parameter.PerReward || c.given || !(largest > 0) || math.IsInf(largest, 1) {
		return c
	}
	p := *c.Parameter
	p.Default /= largest
	p.Grid = slices.Clone(p.Grid)
	for i := range p.Grid {
		p.Grid[i] /= largest
	}
	c.Parameter = &p
	if !c.Slope {
		c.Value = p.Default
	}
	return c
}

func (p *Parameter) example() float64 {
	if math.IsNaN(p.Default) {
		return 0.5
	}
	return p.Default
}

// String is what ParseChoice reads.
func (c Choice) String() string {
	switch {
	case c.Slope:
		return c.Name + ":" + c.Parameter.Name + "=slope"
	case c.Parameter == nil || math.IsNaN(c.Value):
		return c.Name
	}
	v := strconv.FormatFloat(c.Value, 'g', -1, 64)
	return c.Name + ":" + c.Parameter.Name + "=" + strings.ToLower(strings.TrimPrefix(v, "+"))
}

// New returns an empty accumulator of it.
func (c Choice) New() Accumulator {
	if c.Slope {
		return newGrid(&c.Definition, c.Parameter.Grid)
	}
	return c.build(c.Value)
}
