package offline

import (
	"fmt"
	"math"
	"strings"

	"nextbest"
	"nextbest/estimators"
)

// judge turns tallies into results.
type judge struct {
	req       *Request
	s         *study
	g         ranges
	report    *Report
	q         span // predictions
	maxWeight float64
	declared  bool // a largest weight
	general   []estimators.Refusal
	lacks     map[estimators.Column]string // why the log cannot give a column
	blocks    timeBlocks
	unweighed string            // why there is no AIPW by blocks of time
	ran       *estimators.Ratio // per list
}

func newJudge(req *Request, s *study, l *lane, g ranges, r *Report) *judge {
	j := &judge{req: req, s: s, g: g, report: r, q: l.predicted}
	if j.q.low > j.q.high {
		j.q = span{g.rewardMin, g.rewardMax}
	}
	j.maxWeight, j.declared = maxWeight(req, s)
	j.blocks, j.lacks, j.unweighed = s.ground.blocks, lacking(req, s, s.ground), unweighed(req, s, s.ground.blocks)
	if l.columns != nil {
		j.ran = &l.columns.ran
	}
	j.general = j.refusals()
	return j
}

// picked says which kind of interval this log allows, and why.
func (j *judge) picked() Picked {
	rewards := "binary rewards"
	if j.s.other > 0 {
		rewards = "rewards of several sizes"
	}
	switch {
	case j.req.Adaptive:
		return j.pickedAdaptive(rewards)
	case !j.declared:
		return Picked{methodBetting, "a fixed logger without a declared floor; " + rewards + ": empirical likelihood needs the largest possible weight, which is never taken from the sample"}
	}
	return Picked{methodLikelihood, fmt.Sprintf("a fixed logger with weights of at most %.4g by its declared floor; %s", j.maxWeight, rewards)}
}

// refusals are those that concern the log, whatever the candidate.
func (j *judge) refusals() (out []estimators.Refusal) {
	s := j.s
	add := func(code, cure, format string, args ...any) {
		out = append(out, estimators.Refusal{Code: code, Message: fmt.Sprintf(format, args...), Cure: cure})
	}
	if s.missing > 0 {
		add(estimators.RefusedPropensity,
			"import the probability with which each action was taken, or say how the rows were randomised; probabilities cannot be guessed afterwards",
			"%d of %d rows have no propensity", s.missing, s.rows)
	}
	if s.immature > 0 {
		add(estimators.RefusedImmature, fmt.Sprintf("end the range at least %s before now", j.req.Query.Objective.Window),
			"%d rows are younger than the objective's window of %s: their rewards are still coming", s.immature, j.req.Query.Objective.Window)
	}
	if j.report.Log.CalibrationFailed {
		c := j.report.Cells[0]
		add(estimators.RefusedCalibration, "find out what filtered or redrew actions after the probabilities were logged, and evaluate rows logged since",
			"%s was taken %.0f times where its logged probabilities (%.1f to %.1f) say %.0f (z %.1f)", c.Action, c.Taken, c.From, c.To, c.Expected, c.Z)
	}
	if j.report.Log.SampleRatio.Failed {
		out = append(out, j.report.Log.SampleRatio.refusal(&j.req.Query))
	}
	return out
}

// exploration refuses a log that never varied, and says what would have to be
// logged instead. Where arms of certain policies were mixed (a holdout beside
// rules, say), a policy that stays within the arms can be evaluated: its
// weights average to 1.
func (j *judge) exploration(d *estimators.Diagnostics) (estimators.Refusal, bool) {
	s := j.s
	if known := s.rows - s.missing; known == 0 || s.certain < known || s.alone < known && j.withinArms(d) {
		return estimators.Refusal{}, false
	}
	off := max(d.OffSupport, 1-d.MeanWeight)
	const ε = 0.05
	e := estimators.Exploration{Eligible: max(float64(s.eligible)/float64(s.rows), 2), Epsilon: ε}
	need := e.DecisionsNeeded(min(max(off, 0.1), 1), float64(s.matched)/float64(s.rows), j.req.Limits)
	cure := fmt.Sprintf("turn on exploration: ε ≥ %.2f uniform over the eligible actions for at least %s decisions", ε, thousands(roundUp(need)))
	if days := float64(s.last-s.first) / 86400e6; days >= 0.5 {
		perDay := float64(s.rows) / days
		unit := "days"
		if need <= perDay {
			unit = "day"
		}
		cure += fmt.Sprintf(" (about %.0f %s of this traffic)", math.Ceil(need/perDay), unit)
	}
	return estimators.Refusal{Code: estimators.RefusedDeterministic,
		Message: "every action was certain: rules alone made this log, so it holds nothing about any other choice", Cure: cure}, true
}

// withinArms reports whether the weights' mean is what full support gives.
func (j *judge) withinArms(d *estimators.Diagnostics) bool {
	return d.OffSupport <= j.req.Limits.OffSupport && math.Abs(d.WeightZ) <= j.req.Limits.WeightZ && math.Abs(d.MeanWeight-1) < 0.2
}

// roundUp keeps two leading digits, rounded up.
func roundUp(v float64) float64 {
	unit := math.Pow(10, max(math.Floor(math.Log10(max(v, 1)))-1, 0))
	return math.Ceil(v/unit) * unit
}

func thousands(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func (j *judge) result(name string, t *tally) Result {
	d := t.weigh.Estimate()
	r := Result{Name: name, Diagnostics: d, Refusals: []estimators.Refusal{}, Warnings: []string{}}
	if d.Rows == 0 && j.s.missing > 0 {
		r.Refusals = append(r.Refusals, j.general...)
		return r
	}
	if d.Rows == 0 {
		r.Refusals = estimators.Judge(d, j.req.Limits)
		if name == nameBestFixed && j.s.rows > 0 {
			r.Refusals[0].Message = fmt.Sprintf("no action was taken on %d rows, too few to choose the best one by", fewestRows)
			r.Refusals[0].Cure = "log for longer"
		}
		return r
	}
	if action, ok := strings.CutPrefix(name, prefixFixed); ok && j.report.missingAction(action) {
		r.Refusals = append(r.Refusals, estimators.Refusal{Code: estimators.RefusedOffSupport,
			Message: fmt.Sprintf("%s was never an eligible action here", action), Cure: "let the placement list it among its actions, and log with a chance of it"})
		return r
	}
	if name == nextbest.DoNothing && d.OffSupport == 1 && j.report.missingAction(name) {
		r.Refusals = append(r.Refusals, estimators.Refusal{Code: estimators.RefusedOffSupport,
			Message: "doing nothing was never an eligible action here", Cure: "let the placement list do-nothing among its actions"})
		return r
	}
	r.Refusals = append(r.Refusals, j.general...)
	certain, deterministic := j.exploration(&d)
	blank := 0.0 // share of rows that the candidate could not be asked about
	if t.isLogged {
		// What ran needs no propensities: only too few or unfinished rewards spoil it.
		r.Refusals = keep(append(r.Refusals, estimators.Judge(d, j.req.Limits)...), estimators.RefusedImmature, estimators.RefusedESS, estimators.RefusedConversions, estimators.RefusedShare)
	} else {
		if deterministic {
			r.Refusals = append([]estimators.Refusal{certain}, r.Refusals...)
		}
		if j.s.trained > 0 && j.isCandidate(name) {
			r.Refusals = append(r.Refusals, estimators.Refusal{Code: estimators.RefusedTraining,
				Message: fmt.Sprintf("%d of %d rows were used to train or tune the candidates", j.s.trained, j.s.rows),
				Cure:    "evaluate on other customers (a split) or later decisions than those trained on"})
		}
		blank = j.unanswered(&r, t)
		for _, x := range estimators.Judge(d, j.req.Limits) {
			switch {
			case x.Code == estimators.RefusedWeights && deterministic: // the same finding
			case x.Code == estimators.RefusedOffSupport && d.OffSupport-blank <= j.req.Limits.OffSupport: // likewise
			default:
				r.Refusals = append(r.Refusals, x)
			}
		}
		if j.declared && d.MaxWeight > j.maxWeight*(1+1e-6) {
			r.Refusals = append(r.Refusals, estimators.Refusal{Code: estimators.RefusedFloor,
				Message: fmt.Sprintf("a weight of %.4g is above the largest that is declared possible, %.4g", d.MaxWeight, j.maxWeight),
				Cure:    "correct the declared floor (or max_weight): some propensities lie below it"})
		}
		if z := math.Abs(d.WeightZ); z > 3 && z <= j.req.Limits.WeightZ {
			r.Warnings = append(r.Warnings, fmt.Sprintf("the weights average to %.4f, %.1f standard errors from 1", d.MeanWeight, d.WeightZ))
		}
	}
	if t.drift != nil {
		r.Warnings = append(r.Warnings, t.drift.warnings()...)
	}
	j.figures(&r, t, d.OffSupport > j.req.Limits.OffSupport || deterministic)
	j.widen(&r, blank)
	j.distribution(&r, t)
	for _, f := range []*Figure{r.Value, r.SNIPS, r.IPS, r.DR} {
		if f == nil {
			continue
		}
		if kind, ok := estimators.FindInterval(f.Method); ok && kind.Warning(d) != "" {
			r.Warnings = append(r.Warnings, kind.Warning(d))
			break
		}
	}
	return r
}

func keep(rs []estimators.Refusal, codes ...string) []estimators.Refusal {
	out := []estimators.Refusal{}
	for _, r := range rs {
		for _, c := range codes {
			if r.Code == c {
				out = append(out, r)
			}
		}
	}
	return out
}

func (j *judge) isCandidate(name string) bool {
	for _, c := range j.req.Candidates {
		if c.Name() == name {
			return true
		}
	}
	return false
}

// missingAction reports whether no row had the action.
func (r *Report) missingAction(name string) bool {
	for _, a := range r.Log.Actions {
		if a == name {
			return false
		}
	}
	return true
}
