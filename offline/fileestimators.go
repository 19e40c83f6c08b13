package offline

import (
	"fmt"
	"math"
	"strings"

	"nextbest"
	"nextbest/estimators"
)

// parseEstimators reads estimators with their hyperparameters; none: nil.
func parseEstimators(names []string) ([]estimators.Choice, error) {
	var p nextbest.Problems
	var out []estimators.Choice
	for _, name := range names {
		c, err := estimators.ParseChoice(name)
		if err != nil {
			p.Add("estimator", "%v", err)
			continue
		}
		out = append(out, c)
	}
	return out, p.Err("evaluation")
}

// able returns the estimators that the file's columns allow: the usual ones and,
// beside them, those asked for, or all that there are. lacks is told of each that
// was asked for in vain; largest is the largest reward.
func (r *fileRun) able(asked []estimators.Choice, largest float64, lacks func(code, message, cure string)) (out []estimators.Choice) {
	names := estimators.DefaultEstimators
	if len(asked) == 0 {
		names = nil
		for _, d := range estimators.Catalogue() {
			names = append(names, d.Name)
		}
	}
	if code, message, cure := r.unclustered("--cluster"); code != "" && len(r.o.Clusters) > 0 {
		lacks(code, message, cure)
	}
	has := map[string]bool{}
	for _, name := range names {
		c, err := estimators.ParseChoice(name)
		c = c.For(largest)
		if code, _, _ := r.unable(&c); err == nil && code == "" {
			out, has[c.String()] = append(out, c), true
		}
	}
	for _, c := range asked {
		c = c.For(largest)
		if has[c.String()] {
			continue
		}
		has[c.String()] = true
		if code, message, cure := r.unable(&c); code != "" {
			lacks(code, message, cure)
			continue
		}
		out = append(out, c)
	}
	if !r.modelled() {
		lacks(missingColumn, "DM, DR and their relatives need "+fieldPredictions+" and "+fieldEvaluations, cureModel)
	}
	return out
}

const cureModel = "add a reward model's predictions and the candidate's probabilities, both of all actions, as lists"

// unable says why an estimator cannot be had from the file; all are empty
// where it can.
func (r *fileRun) unable(c *estimators.Choice) (code, message, cure string) {
	s := r.study
	for _, column := range c.Columns {
		switch column {
		case estimators.ColumnWeight, estimators.ColumnReward:
		case estimators.ColumnPropensity:
		case estimators.ColumnCluster:
			if code, message, cure := r.unclustered(c.Name); code != "" {
				return code, message, cure
			}
		case estimators.ColumnStability:
			if r.stability == nil {
				return missingEstimate, c.Name + " is for logs of a logger that learned, with a floor or a largest weight declared", "declare them with --logger adaptive and --floor, or use dr or ips"
			}
		case estimators.ColumnModel:
			if !r.modelled() && c.Name != "adaptive_aipw" { // which takes 0 for a model
				return missingColumn, fmt.Sprintf("%s needs %s and %s", c.Name, fieldPredictions, fieldEvaluations), cureModel
			}
		default:
			return missingColumn, fmt.Sprintf("%s needs %s, which a log file does not carry", c.Name, strings.ReplaceAll(string(column), "_", " ")), "import the log and evaluate it on the platform"
		}
	}
	switch c.Name {
	case "log_smoothing":
		if s.negative > 0 {
			return missingEstimate, fmt.Sprintf("log_smoothing needs rewards that are not negative, and %d are", s.negative), "use an estimator without that condition, such as dros"
		}
	case "replay":
		if !s.certain || s.minPropensity < s.maxPropensity*(1-1e-9) || s.maxPropensity > 1 {
			return missingEstimate, "replay needs uniform logging over equally many actions and a candidate that is certain", "use snips, which needs neither"
		}
	}
	return "", "", ""
}

func (r *fileRun) modelled() bool {
	_, q := r.columns[fieldPredictions]
	_, π := r.columns[fieldEvaluations]
	return q && π
}

// parametersOf returns an estimator's hyperparameter as it was used; infinity
// is text, for JSON has no number for it.
func parametersOf(c *estimators.Choice, total estimators.Accumulator) map[string]any {
	if c.Parameter == nil {
		return nil
	}
	out := map[string]any{}
	v := c.Value
	switch t := total.(type) {
	case *estimators.Grid:
		v = t.Chosen()
		out["chosen_by"] = "slope"
	case *estimators.BetaIPSTotal:
		v = t.Beta()
		out["chosen_by"] = "least variance"
	}
	switch {
	case math.IsInf(v, 1):
		out[c.Parameter.Name] = "inf"
	case finite(v):
		out[c.Parameter.Name] = v
	}
	return out
}
