package offline

import (
	"errors"
	"hash/fnv"
	"strings"

	"nextbest/estimators"
)

// Shown is an estimate that was asked for beside the usual ones.
type Shown struct {
	Estimator  string         `json:"estimator"` // with its hyperparameter, as asked
	Parameters map[string]any `json:"parameters,omitempty"`
	Figure
	// Unit is what the value is a value of, where that is not a decided row: list.
	// Logged is then what ran earned by the same unit.
	Unit   string  `json:"unit,omitempty"`
	Logged *Figure `json:"logged,omitempty"`
	// Note says what the estimate or its interval leaves out.
	Note    string `json:"note,omitempty"`
	Formula string `json:"formula"`
	Source  string `json:"source"`
	// Problem says why there is no value; Figure is then void.
	Problem string `json:"problem,omitempty"`
}

// extras accumulate what a request asks for beyond the usual figures of a
// candidate.
type extras struct {
	choices []estimators.Choice
	totals  []estimators.Accumulator
	rows    []estimators.Row // of the current customer
	mrdr    []estimators.Row // the same by MRDR's model, where asked for
	lists   listTally        // where asked for
	boot    *estimators.PoissonBootstrap
	id      uint64 // of the current customer
	sums    [4]float64

	clustered, seen float64 // mass on clusters that the log tries, over rows
	ofClusters      bool    // byCluster is gathered
	byCluster       estimators.Weighing
}

// The sums of the bootstrap, by place.
const (
	sumWeighted = iota // Σwr
	sumWeight          // Σw
	sumRows
	sumRobust // Σ(q_π + w(r−q))
)

// newExtras returns nil where nothing is asked for.
func newExtras(req *Request) *extras {
	if len(req.Estimators) == 0 && req.Bootstrap == 0 {
		return nil
	}
	e := &extras{choices: req.Estimators}
	for i := range e.choices {
		e.totals = append(e.totals, e.choices[i].New())
		e.ofClusters = e.ofClusters || reads(&e.choices[i], estimators.ColumnCluster)
	}
	if req.Bootstrap > 0 {
		e.boot = estimators.NewPoissonBootstrap(len(e.sums), req.Bootstrap, req.Seed)
	}
	return e
}

// open begins a customer.
func (e *extras) open(customer string) {
	if e.boot != nil {
		e.id = customerHash(customer)
	}
}

// customerHash is a customer's number for ever.
func customerHash(customer string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(customer))
	return h.Sum64()
}

func (e *extras) add(row *estimators.Row) {
	if len(e.totals) > 0 {
		e.rows = append(e.rows, *row)
	}
}

// close ends the current customer, whose sums are c.
func (e *extras) close(c *estimators.Customer) {
	lists := e.lists.take()
	e.weighClusters()
	for i, t := range e.totals {
		switch c := &e.choices[i]; {
		case reads(c, estimators.ColumnMRDR):
			t.Add(e.mrdr)
		case listed(c):
			t.Add(lists)
		default:
			t.Add(e.rows)
		}
	}
	e.rows, e.mrdr = e.rows[:0], e.mrdr[:0]
	if e.boot != nil {
		e.sums[sumWeighted], e.sums[sumWeight] = c.WeightedReward, c.Weight
		e.sums[sumRows], e.sums[sumRobust] = c.Rows, c.Model+c.Correction
		e.boot.Add(e.id, e.sums[:], c.Conversion > 0)
	}
}

func (e *extras) merge(o *extras) {
	for i, t := range e.totals {
		t.Merge(o.totals[i])
	}
	e.clustered += o.clustered
	e.seen += o.seen
	e.byCluster.Merge(&o.byCluster)
	e.lists.weigh.Merge(&o.lists.weigh)
	if e.boot != nil {
		e.boot.Merge(o.boot)
	}
}

// figures returns what was asked for; where the candidate's actions lack support,
// what may be said by their clusters alone.
func (e *extras) figures(j *judge, ev evidence, r *Result, boundsOnly bool) []Shown {
	var out []Shown
	for i := range e.choices {
		c := &e.choices[i]
		if boundsOnly && c.Name != "mips" {
			continue
		}
		s := Shown{Estimator: c.String(), Formula: c.Formula, Source: c.Source}
		x, err := e.totals[i].Estimate()
		f := ev.figure(x, err)
		if c.Name == "adaptive_aipw" && err == nil {
			if f = j.sequence(x, err, &r.Diagnostics); f == nil {
				err = errFewMatched
			}
		}
		switch problem := e.problem(j, c, r); {
		case problem != "":
			s.Problem = problem
		case f == nil:
			s.Problem = problemOf(err)
		default:
			s.Figure, s.Parameters, s.Note = *f, parametersOf(c, e.totals[i]), noteOf(c)
			if kind, ok := estimators.FindInterval(f.Method); ok && reads(c, estimators.ColumnReward) || ok && listed(c) {
				if why := kind.Warning(e.weighs(c, r)); why != "" {
					s.Note += "; " + why
				}
			}
			if j.req.Adaptive && f.Method == methodNormal {
				s.Note += "; the logger learned from these rows: a normal interval is only a guide"
			}
		}
		if listed(c) && s.Problem == "" {
			s.Unit, s.Logged = unitList, ev.figure(j.ran.Estimate())
		}
		out = append(out, s)
	}
	if e.boot == nil || boundsOnly {
		return out
	}
	for _, b := range []struct {
		name  string
		value func(s []float64) float64
	}{
		{"ips", func(s []float64) float64 { return s[sumWeighted] / s[sumRows] }},
		{"snips", func(s []float64) float64 { return s[sumWeighted] / s[sumWeight] }},
		{"dr", func(s []float64) float64 { return s[sumRobust] / s[sumRows] }},
	} {
		s := Shown{Estimator: b.name, Parameters: map[string]any{"replicates": j.req.Bootstrap}}
		if c, err := estimators.ParseChoice(b.name); err == nil {
			s.Formula = c.Formula
		}
		s.Source = "Chamandy et al. 2012; customers count Poisson(1) times"
		x, iv, err := e.boot.Estimate(b.value, ev.level)
		if err == nil && finite(x.Value, iv.Low, iv.High) {
			s.Figure = Figure{x.Value, iv.Low, iv.High, methodBootstrap}
		} else {
			s.Problem = problemOf(err)
		}
		out = append(out, s)
	}
	return out
}

// noteOf says what an interval around an estimator does not cover: its bias.
func noteOf(c *estimators.Choice) string {
	note := c.Note
	switch {
	case c.Slope:
		note += "; the interval knows nothing of the choice of " + c.Parameter.Name + ", nor of the bias that it trades for variance"
	case reads(c, estimators.ColumnCluster) && reads(c, estimators.ColumnModel):
		note += "; the interval knows nothing of how uncertain f is, which alone tells apart the actions of a cluster: it covers .6 to .8 where these differ"
	case reads(c, estimators.ColumnCluster):
		note += "; the interval knows nothing of the bias where the actions of a cluster differ, and may then hardly ever cover"
	case c.Parameter != nil && c.Parameter.Grid != nil, c.Name == "dm":
		note += "; the interval is that of the biased value, and knows nothing of the bias"
	}
	if p := c.Parameter; p != nil && p.PerReward {
		note += "; " + p.Name + " acts on rewards as they are: unless given, it is divided by the largest"
	}
	return note
}

const methodBootstrap = "poisson_bootstrap"

// leavesOut reports whether the note says what the interval leaves out; others say
// when the estimate is right, as the catalogue does.
func (s *Shown) leavesOut() bool { return strings.Contains(s.Note, "interval") }

// problemOf says why there is no estimate. Rows of the log have no numbers: what
// is wrong with one is said without.
func problemOf(err error) string {
	if err == nil {
		return "it is not a finite number on this log"
	}
	if row, ok := errors.AsType[*estimators.RowError](err); ok {
		return "on one decision: " + row.Problem
	}
	return err.Error()
}
