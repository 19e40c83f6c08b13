package estimators

import "gonum.org/v1/gonum/stat/distuv"

// Interval is a confidence interval.
type Interval struct {
	Low, High float64
}

// Normal returns the interval value ± z·se at a two-sided level such as .95.
// Off policy it misses nearly always on the high side while conversions are few
// (coverage .82 at nine of them), so good policies look bad: it is offered, but
// not the default.
func (e Estimate) Normal(level float64) Interval {
	z := distuv.UnitNormal.Quantile(0.5 + level/2)
	return Interval{Low: e.Value - z*e.StdErr, High: e.Value + z*e.StdErr}
}
