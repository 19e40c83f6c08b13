package estimators

import "fmt"

// Refusal is a reason for which no point conclusion is drawn.
type Refusal struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Cure    string `json:"cure"`
}

// The codes of refusals.
const (
	RefusedEmpty         = "empty_log"
	RefusedPropensity    = "missing_propensity"
	RefusedDeterministic = "no_exploration"
	RefusedOffSupport    = "off_support"
	RefusedESS           = "low_ess"
	RefusedConversions   = "few_conversions"
	RefusedShare         = "one_customer_dominates"
	RefusedCalibration   = "propensities_not_calibrated"
	RefusedSampleRatio   = "sample_ratio_mismatch"
	RefusedWeights       = "weights_do_not_average_to_one"
	RefusedImmature      = "not_mature"
	RefusedTraining      = "trained_on_these_rows"
	RefusedFloor         = "floor_broken"
	RefusedUnanswered    = "rows_unanswered"
)

// Limits are the thresholds of Judge.
type Limits struct {
	ESS         float64 // least effective sample size, customers
	Conversions float64 // least matched conversions, customers
	OffSupport  float64 // most candidate mass where the log has none
	Share       float64 // most that one customer may carry
	WeightZ     float64 // most standard errors of the mean weight
	Unit        string  // what the diagnostics count: row; empty: customer
}

// DefaultLimits are those every report uses.
var DefaultLimits = Limits{ESS: 100, Conversions: 20, OffSupport: 0.01, Share: 0.10, WeightZ: 5}

// Judge returns why these diagnostics allow no point conclusion; none is fine.
func Judge(d Diagnostics, l Limits) []Refusal {
	if d.Rows == 0 {
		return []Refusal{{RefusedEmpty, "the log has no mature row for this question", "widen the time range, or wait until decisions are older than the objective's window"}}
	}
	unit := "customer"
	if l.Unit != "" {
		unit = l.Unit
	}
	var out []Refusal
	if d.OffSupport > l.OffSupport {
		out = append(out, Refusal{RefusedOffSupport,
			fmt.Sprintf("%.1f%% of the candidate's decisions are actions that the log never tries there (limit %.0f%%): only bounds can be given", 100*d.OffSupport, 100*l.OffSupport),
			"log with an exploration floor on every eligible action, or restrict the candidate to what was tried"})
	}
	if d.ESS < l.ESS {
		cure := "log for longer, with more exploration, or evaluate a candidate nearer to what ran"
		if d.ESS > 0 {
			cure = fmt.Sprintf("about %.0f times as many %ss, more exploration, or a candidate nearer to what ran", l.ESS/d.ESS+0.5, unit)
		}
		out = append(out, Refusal{RefusedESS,
			fmt.Sprintf("the %d %ss are worth %.0f under this candidate (at least %.0f needed)", d.Customers, unit, d.ESS, l.ESS), cure})
	}
	if d.MatchedConversions < l.Conversions {
		cure := "log until enough " + unit + "s convert, or use a more frequent reward (a visit, a click)"
		if d.MatchedConversions >= 1 {
			cure = fmt.Sprintf("about %.1f times as many %ss, or a more frequent reward (a visit, a click)", l.Conversions/d.MatchedConversions, unit)
		}
		out = append(out, Refusal{RefusedConversions,
			fmt.Sprintf("only %.1f %ss converted where the candidate agrees with the log (at least %.0f needed)", d.MatchedConversions, unit, l.Conversions), cure})
	}
	if d.LargestShare > l.Share {
		out = append(out, Refusal{RefusedShare,
			fmt.Sprintf("one %s carries %.0f%% of the estimate (at most %.0f%%)", unit, 100*d.LargestShare, 100*l.Share),
			"log for longer, cap the reward in the objective, or explore more, so that no weight is this large"})
	}
	if d.WeightZ > l.WeightZ || d.WeightZ < -l.WeightZ {
		out = append(out, Refusal{RefusedWeights,
			fmt.Sprintf("the weights average to %.4f, %.1f standard errors from what true propensities give", d.MeanWeight, d.WeightZ),
			"the logged propensities are not the ones the actions were drawn with: check the logger or the import's propensity column"})
	}
	return out
}
