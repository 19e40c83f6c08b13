package offline

import (
	"slices"
	"strings"

	"nextbest"
	"nextbest/estimators"
)

// fileEstimator is an estimator of a log file with its hyperparameters.
type fileEstimator struct {
	name, formula, source string
	parameters            map[string]float64
	model                 bool // needs predicted rewards
	new                   func() fileTotal
}

// customerTotal adapts an accumulator of customers' sums.
type customerTotal[T interface {
	Add(*estimators.Customer)
	Estimate() (estimators.Estimate, error)
}] struct{ total T }

func (c customerTotal[T]) add(rows []estimators.Row) {
	var sum estimators.Customer
	for i := range rows {
		sum.Add(&rows[i])
	}
	c.total.Add(&sum)
}

func (c customerTotal[T]) estimate() (estimators.Estimate, error) { return c.total.Estimate() }

var fileEstimators = []fileEstimator{
	{name: "ips", formula: "M[wr]", source: "Horvitz and Thompson 1952", new: func() fileTotal { return customerTotal[*estimators.IPSTotal]{&estimators.IPSTotal{}} }},
	{name: "snips", formula: "Σwr/Σw", source: "Swaminathan and Joachims 2015", new: func() fileTotal { return customerTotal[*estimators.SNIPSTotal]{&estimators.SNIPSTotal{}} }},
	{name: "dm", formula: "M[q_π]", source: "", model: true, new: func() fileTotal { return customerTotal[*estimators.DMTotal]{&estimators.DMTotal{}} }},
	{name: "dr", formula: "M[q_π + w(r − q)]", source: "Dudík, Langford and Li 2011, arXiv 1103.4601", model: true, new: func() fileTotal { return customerTotal[*estimators.DRTotal]{&estimators.DRTotal{}} }},
}

// parseEstimators reads names, all where there are none.
func parseEstimators(names []string) ([]fileEstimator, error) {
	if len(names) == 0 {
		return fileEstimators, nil
	}
	var p nextbest.Problems
	var out []fileEstimator
	for _, name := range names {
		i := slices.IndexFunc(fileEstimators, func(e fileEstimator) bool { return e.name == strings.ToLower(name) })
		if i < 0 {
			p.Add("estimator", "there is no estimator %q", name)
			continue
		}
		out = append(out, fileEstimators[i])
	}
	return out, p.Err("evaluation")
}
