package estimators

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Grid accumulates an estimator at many values of its hyperparameter in one
// pass, and what it takes to choose among them.
type Grid struct {
	values  []float64 // the least biased first
	totals  []*Total
	full    *Total  // the unbiased estimator
	bias    []Ratio // of full minus the value's
	rows    float64
	squares float64 // ΣW² over customers
	max     float64 // largest W of a customer
	chosen  int     // of the last Estimate
}

// NewGrid accumulates the named estimator of the catalogue at the given values,
// which come in the order of increasing bias (weights cut more, or shrunk more).
func NewGrid(name string, values []float64) (*Grid, error) {
	c, err := ParseChoice(name)
	if err != nil {
		return nil, err
	}
	if c.full == nil || len(values) == 0 {
		return nil, fmt.Errorf("estimator %s with %d values is no grid", name, len(values))
	}
	for _, v := range values {
		if !(v >= c.Parameter.Min && v <= c.Parameter.Max) {
			return nil, fmt.Errorf("estimator %s: %s=%v must be in [%v, %v]", name, c.Parameter.Name, v, c.Parameter.Min, c.Parameter.Max)
		}
	}
	return newGrid(&c.Definition, values), nil
}

func newGrid(d *Definition, values []float64) *Grid {
	g := &Grid{values: values, full: d.full(), bias: make([]Ratio, len(values))}
	for _, v := range values {
		t := d.build(v).(*Total)
		g.totals = append(g.totals, t)
		g.full.needs |= t.needs
	}
	return g
}

// Values returns the hyperparameter's values. The caller must not change them.
func (g *Grid) Values() []float64 { return g.values }

// Add adds one customer.
func (g *Grid) Add(customer []Row) {
	g.full.Add(customer)
	if g.full.bad != nil {
		return
	}
	var full, weight float64
	for i := range customer {
		x, _ := g.full.term(&customer[i])
		full += x
		weight += customer[i].Weight
	}
	n := float64(len(customer))
	g.rows += n
	g.squares += weight * weight
	g.max = max(g.max, weight)
	for k, t := range g.totals {
		x := 0.0
		for i := range customer {
			rx, _ := t.term(&customer[i])
			x += rx
		}
		t.ratio.Add(x, n)
		g.bias[k].Add(full-x, n)
	}
}

// Merge adds o's customers.
func (g *Grid) Merge(o Accumulator) {
	from := o.(*Grid)
	g.full.Merge(from.full)
	if len(g.totals) != len(from.totals) {
		panic("estimators: merged grids are of different values")
	}
	for k, t := range g.totals {
		t.Merge(from.totals[k])
		g.bias[k].Merge(&from.bias[k])
	}
	g.rows += from.rows
	g.squares += from.squares
	g.max = max(g.max, from.max)
}

// Estimates returns the estimate at every value.
func (g *Grid) Estimates() ([]Estimate, error) {
	if g.full.bad != nil {
		return nil, g.full.bad
	}
	out := make([]Estimate, len(g.totals))
	for k, t := range g.totals {
		var err error
		if out[k], err = t.Estimate(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// slopeDelta is the error probability of the widths that Estimate's SLOPE uses.
const slopeDelta = 0.1

// Estimate returns the estimate at the value that SLOPE chooses. Its standard
// error knows nothing of the choice.
func (g *Grid) Estimate() (Estimate, error) {
	es, err := g.Estimates()
	if err != nil {
		return Estimate{}, err
	}
	g.chosen = Slope(g.widths(es, slopeDelta))
	return es[g.chosen], nil
}

// Chosen returns the value that the last Estimate chose.
func (g *Grid) Chosen() float64 { return g.values[g.chosen] }

// widths returns the estimates and their one-sided Student widths at 1 − δ,
// infinite with one customer.
func (g *Grid) widths(es []Estimate, delta float64) (values, widths []float64) {
	for _, e := range es {
		w := math.Inf(1)
		if e.Customers > 1 {
			w = distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(e.Customers - 1)}.Quantile(1-delta) * e.StdErr
		}
		values, widths = append(values, e.Value), append(widths, w)
	}
	return values, widths
}

// LeastError returns the index of the value with the least bound on its mean
// squared error, variance plus the square of
//
//	|M[(w − ŵ)(r − q)]| + √(2 M[w²] ln(2/δ)/n) + 2 max(w) ln(2/δ)/(3n)
//
// (Su et al. 2020, arXiv 1907.09623, §5), for |r − q| ≤ scale; by customer.
func (g *Grid) LeastError(scale, delta float64) (int, error) {
	es, err := g.Estimates()
	if err != nil {
		return 0, err
	}
	l := math.Log(2 / delta)
	slack := scale * (math.Sqrt(2*g.squares*l) + 2*g.max*l/3) / g.rows
	best, least := 0, math.Inf(1)
	for k, e := range es {
		b, err := g.bias[k].Estimate()
		if err != nil {
			return 0, err
		}
		mse := math.Pow(math.Abs(b.Value)+slack, 2)
		if n := float64(e.Customers); n > 1 {
			mse += e.StdErr * e.StdErr * (n - 1) / n
		}
		if mse < least {
			best, least = k, mse
		}
	}
	return best, nil
}
