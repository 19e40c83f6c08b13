package estimators

import (
	"fmt"
	"math"
	"slices"
)

// IntervalKind describes one way to make an interval, and when it may be read.
type IntervalKind struct {
	Name   string
	Source string
	Needs  string // what must be declared
	Holds  string // for which logs and when
	// Refused is the number of matched conversions below which it is not given.
	Refused float64
	// Warned is the number of effective conversions below which it comes with a
	// warning: below it coverage of a nominal .95 fell under .92 in simulations.
	// +Inf is always.
	Warned float64
}

var intervals = []IntervalKind{
	{Name: "empirical_likelihood", Source: "Karampatziakis et al. 2020, 1906.03323", Needs: "largest weight, reward range", Holds: "fixed loggers, from 20 conversions", Refused: 20},
	{Name: "betting", Source: "Waudby-Smith et al. 2022, 2210.10768", Needs: "reward range", Holds: "any logger, any sample size, any stopping time"},
	{Name: "asymptotic_sequence", Source: "Waudby-Smith et al. 2024, 2103.06476", Holds: "any stopping time after 25 conversions", Refused: BurnIn, Warned: 50},
	{Name: "bootstrap_t", Source: "Efron 1981; Hall 1988", Holds: "fixed loggers", Refused: BootstrapTConversions, Warned: 100},
	{Name: "poisson_bootstrap", Source: "Chamandy et al. 2012", Holds: "fixed loggers", Refused: BootstrapConversions, Warned: 100},
	{Name: "empirical_bernstein", Source: "Maurer & Pontil 2009, 0907.3740", Needs: "largest weight, reward range", Holds: "fixed loggers, any sample size"},
	{Name: "clopper_pearson", Source: "Clopper & Pearson 1934, on the effective sample size", Needs: "conversions", Holds: "not exact anywhere", Warned: math.Inf(1)},
	{Name: "normal", Source: "linearised standard error", Holds: "fixed loggers, many conversions", Warned: 100},
}

// Intervals lists the kinds; the first is a report's default.
func Intervals() []IntervalKind { return slices.Clone(intervals) }

// FindInterval returns the named kind and whether there is one.
func FindInterval(name string) (IntervalKind, bool) {
	for _, k := range intervals {
		if k.Name == name {
			return k, true
		}
	}
	return IntervalKind{}, false
}

// Warning says why this kind of interval may cover too little on a log with such
// diagnostics; empty where it may be read.
func (k IntervalKind) Warning(d Diagnostics) string {
	switch {
	case math.IsInf(k.Warned, 1):
		return fmt.Sprintf("a %s interval is not exact: its coverage may lie far below what it says", k.Name)
	case d.EffectiveConversions < k.Warned:
		return fmt.Sprintf("the estimate is carried by as much as %.0f equal conversions: a %s interval covers too little below %.0f, and usually misses good policies", d.EffectiveConversions, k.Name, k.Warned)
	}
	return ""
}
