package estimators

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// ClopperPearson is the interval of a probability from successes in trials
// (Clopper and Pearson 1934), which need not be whole numbers. Successes outside
// [0, trials] or trials that are not positive are an error, ErrEmpty.
//
// On self-normalised conversion rates it is used with the effective sample size
// for trials and value·ESS for successes. That is not exact: weights are no
// counts, and coverage was .447 at worst. It is offered because people ask for it.
func ClopperPearson(successes, trials, level float64) (Interval, error) {
	if !(trials > 0) || math.IsInf(trials, 1) || !(successes >= 0) || successes > trials*(1+1e-12) {
		return Interval{}, ErrEmpty
	}
	successes = min(successes, trials)
	iv := Interval{Low: 0, High: 1}
	tail := (1 - level) / 2
	if successes > 0 {
		iv.Low = distuv.Beta{Alpha: successes, Beta: trials - successes + 1}.Quantile(tail)
	}
	if successes < trials {
		iv.High = distuv.Beta{Alpha: successes + 1, Beta: trials - successes}.Quantile(1 - tail)
	}
	return iv, nil
}
