package offline

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sort"
	"strings"

	"gonum.org/v1/gonum/stat/distuv"

	"nextbest/estimators"
)

// Codes of what a log file alone can lack.
const (
	missingMaxWeight   = "no_max_weight"
	missingRewardRange = "no_reward_range"
	missingColumn      = "no_column"
	missingEstimate    = "no_estimate"
	missingInterval    = "no_interval"
	missingFixedLogger = "adaptive_logger"
)

// fileJudge turns a tally into a report.
type fileJudge struct {
	r          *fileRun
	report     *FileReport
	t          *fileTally
	maxWeight  float64
	likelihood bool // empirical likelihood may be used
	betting    bool
}

var errNoMethod = errors.New("no such interval")

// mostActions bounds the actions that a report lists.
const mostActions = 200

func (r *fileRun) report(ctx context.Context, name string, asked []estimators.Choice) (*FileReport, error) {
	s, o := r.study, r.o
	rep := &FileReport{Version: Version, File: name, Rows: s.rows, Unit: "row", Columns: map[string]string{}, Level: o.Level, Seed: o.Seed,
		Refusals: []estimators.Refusal{}, Missing: []estimators.Refusal{}, Warnings: []string{}, Estimates: []FileEstimate{}}
	for field, c := range r.columns {
		rep.Columns[field] = c.name
	}
	rep.Log = r.summary()
	j := &fileJudge{r: r, report: rep}
	j.logger()
	j.choose()

	r.prepare(rep.Log.Logger, j.broken())
	able := r.able(asked, rep.Log.RewardMax, j.lacks)
	var totals []estimators.Accumulator
	for _, c := range able {
		totals = append(totals, c.New())
	}
	j.t = newFileTally(totals, rep.Log.MeanReward, rep.Log.RewardMin, rep.Log.RewardMax)
	if o.Distribution && !s.binary() {
		thresholds := thresholdsOf(s.rewardMin, s.rewardLeast, s.rewardMax)
		j.t.distribution, j.t.ran = newDistributionTally(thresholds), newDistributionTally(thresholds)
	}
	if err := r.tally(ctx, j.t); err != nil {
		return nil, err
	}
	if _, ok := r.columns[fieldCustomer]; ok {
		rep.Unit, rep.Customers = "customer", r.units
	}
	j.diagnose()
	j.refuse()
	for i := range able {
		j.estimate(&able[i], totals[i])
	}
	j.against()
	j.bounds()
	j.distributions()
	j.warn()
	rep.Verdict = rep.verdict()
	return rep, nil
}

func (j *fileJudge) lacks(code, message, cure string) {
	j.report.Missing = append(j.report.Missing, estimators.Refusal{Code: code, Message: message, Cure: cure})
}

func (r *fileRun) summary() FileSummary {
	s, o := r.study, r.o
	sum := FileSummary{Rewards: "binary", RewardMin: 0, RewardMax: 1, RewardRange: "binary", Conversions: s.matched, Listed: s.lists}
	if !s.binary() {
		// No reward at all is always possible.
		sum.Rewards, sum.RewardRange = "revenue", "sample"
		sum.RewardMin, sum.RewardMax = min(s.rewardMin, 0), max(s.rewardMax, 0)
	}
	if o.RewardMin != nil {
		sum.RewardMin = *o.RewardMin
	}
	if o.RewardMax != nil {
		sum.RewardMax = *o.RewardMax
	}
	if o.RewardMin != nil && o.RewardMax != nil {
		sum.RewardRange = "declared"
	}
	if e, err := s.rewards.Estimate(); err == nil {
		sum.MeanReward = e.Value
	}
	for k := range s.actions {
		if s.actions[k].rows > 0 {
			sum.Actions++
		}
	}
	sum.MaxWeight, _ = o.maxWeight()
	return sum
}

// logger says whether the log's logger was fixed.
func (j *fileJudge) logger() {
	r := j.r
	action, z, drifts := r.study.drifts()
	sum := &j.report.Log
	if action >= 0 {
		j.report.Diagnostics.Drift = Drift{Action: r.book.name(action), Z: z}
	}
	switch {
	case r.o.Logger != "":
		sum.Logger, sum.LoggerWhy = r.o.Logger, "declared"
	case drifts:
		sum.Logger = loggerAdaptive
		sum.LoggerWhy = fmt.Sprintf("the propensities of %s drift with the order of rows (z %.1f): the logger learned, or the file is sorted by context (then declare a fixed logger)", r.book.name(action), z)
	case z == 0:
		sum.Logger, sum.LoggerWhy = loggerFixed, "each action has one propensity"
	default:
		sum.Logger, sum.LoggerWhy = loggerFixed, fmt.Sprintf("propensities do not drift with the order of rows (largest z %.1f)", z)
	}
}

// choose picks the kind of interval and says why.
func (j *fileJudge) choose() {
	sum, picked := &j.report.Log, &j.report.Picked
	w, declared := j.r.o.maxWeight()
	adaptive, ranged := sum.Logger == loggerAdaptive, sum.RewardRange != "sample"
	if declared && j.broken() {
		declared = false
	}
	j.maxWeight, j.likelihood, j.betting = w, declared && ranged && !adaptive, ranged
	why := []string{sum.Logger + " logger (" + sum.LoggerWhy + ")", sum.Rewards + " rewards"}
	if _, slots := j.r.columns[fieldPosition]; slots {
		why = append(why, "rows of several slots, each weighted by its own propensity")
	}
	instead := "normal intervals, which are too narrow while conversions are few"
	switch {
	case j.likelihood:
		picked.Interval = methodLikelihood
		why = append(why, fmt.Sprintf("largest weight %.6g declared: empirical likelihood, the narrowest that keeps its level", w))
	case j.betting:
		picked.Interval = methodBetting
		instead = "betting intervals for IPS and SNIPS, which hold at any sample size and are wider, and normal ones for the rest"
		why = append(why, "betting holds without a largest weight and for a logger that learns")
	default:
		picked.Interval = methodNormal
		why = append(why, "without a declared range of rewards no bound holds: normal intervals are a guide only")
	}
	picked.Why = strings.Join(why, "; ")
	if _, ok := j.r.o.maxWeight(); !ok {
		j.lacks(missingMaxWeight, "empirical likelihood needs the largest possible weight, and neither a floor nor a largest weight is declared (the sample's own is no bound); shown instead: "+instead,
			"give --floor, the least probability that the logger could give any action by its design, or --max-weight")
	} else if adaptive {
		j.lacks(missingFixedLogger, "empirical likelihood holds for fixed loggers only; shown instead: "+instead,
			"if the logger did not learn from these rows, say --logger fixed")
	}
	if !ranged {
		j.lacks(missingRewardRange, fmt.Sprintf("rewards are neither 0 and 1 nor of a declared range (seen: %g to %g), so neither empirical likelihood nor betting can bound what a rarer reward would add; shown instead: %s", j.r.study.rewardMin, j.r.study.rewardMax, instead),
			"give --reward-min and --reward-max: the least and the most that a row can be worth")
	}
}

// broken reports whether the log contradicts the declared largest weight.
func (j *fileJudge) broken() bool {
	s, o := j.r.study, j.r.o
	const rounding = 1e-6
	if o.Floor > 0 {
		return s.minPropensity < o.Floor*(1-rounding)
	}
	return o.MaxWeight > 0 && s.weights.largest > o.MaxWeight*(1+rounding)
}

func (j *fileJudge) diagnose() {
	s, d := j.r.study, &j.report.Diagnostics
	d.Diagnostics = j.t.weigh.Estimate()
	d.LeastPropensity = s.minPropensity
	d.Weights = s.weights.counts()
	d.Actions = s.overlap(j.r.book.name)
	if len(d.Actions) > mostActions {
		d.Actions = d.Actions[:mostActions]
	}
	for k, p := range s.positions {
		f := FilePosition{Position: k, Rows: p.rows, MeanWeight: p.weight / float64(p.rows)}
		if e, err := p.value.Estimate(); err == nil {
			f.IPS = e.Value
			f.StdErr = number64(e.StdErr)
		}
		d.Positions = append(d.Positions, f)
	}
	sort.Slice(d.Positions, func(a, b int) bool { return d.Positions[a].Position < d.Positions[b].Position })
}

// refuse finds the reasons against any conclusion.
func (j *fileJudge) refuse() {
	rep, s := j.report, j.r.study
	limits := j.r.o.Limits
	limits.Unit = rep.Unit
	certain := s.minPropensity >= certainPropensity
	if certain {
		rep.Refusals = append(rep.Refusals, j.exploration())
	}
	for _, x := range estimators.Judge(rep.Diagnostics.Diagnostics, limits) {
		if x.Code != estimators.RefusedWeights || !certain { // the same finding
			rep.Refusals = append(rep.Refusals, x)
		}
	}
	if j.broken() {
		message := fmt.Sprintf("a propensity of %.4g lies below the declared floor %.4g", s.minPropensity, j.r.o.Floor)
		if j.r.o.Floor == 0 {
			message = fmt.Sprintf("a weight of %.4g is above the largest that is declared possible, %.4g", s.weights.largest, j.r.o.MaxWeight)
		}
		rep.Refusals = append(rep.Refusals, estimators.Refusal{Code: estimators.RefusedFloor, Message: message, Cure: "correct --floor or --max-weight"})
	}
	if a, failed := j.calibration(); failed {
		rep.Refusals = append(rep.Refusals, estimators.Refusal{Code: estimators.RefusedCalibration,
			Message: fmt.Sprintf("%s was taken more often than its propensities say: its inverse propensities add up to %.3f of the rows, at most 1 is possible (z %.1f)", a.Action, a.InverseMass, *a.Z),
			Cure:    "find out what filtered or redrew actions after the propensities were logged"})
	}
}

// certainPropensity is the least that is certainty, but for the rounding of a
// float32.
const certainPropensity = 1 - 1e-6

// exploration is why a log that never varied answers nothing.
func (j *fileJudge) exploration() estimators.Refusal {
	s, d := j.r.study, &j.report.Diagnostics
	off := max(d.OffSupport, 1-d.MeanWeight)
	const ε = 0.05
	e := estimators.Exploration{Eligible: float64(max(s.lists, j.report.Log.Actions, 2)), Epsilon: ε}
	need := e.DecisionsNeeded(min(max(off, 0.1), 1), float64(s.matched)/float64(s.rows), j.r.o.Limits)
	return estimators.Refusal{Code: estimators.RefusedDeterministic,
		Message: "every action was certain (every propensity is 1), so the log holds nothing about any other choice",
		Cure:    fmt.Sprintf("turn on exploration in the logger: ε ≥ %.2f uniform over the eligible actions for at least %s decisions; if it did explore, log the probabilities with which it did", ε, thousands(roundUp(need)))}
}

// calibration returns the action that was taken most above its propensities,
// and whether that is more than chance. Less often is no failure: an action may
// not always have been possible.
func (j *fileJudge) calibration() (worst FileAction, failed bool) {
	all := j.r.study.overlap(j.r.book.name)
	for _, a := range all {
		if a.Z != nil && (worst.Z == nil || *a.Z > *worst.Z) {
			worst = a
		}
	}
	if worst.Z == nil {
		return worst, false
	}
	return worst, *worst.Z > distuv.UnitNormal.Quantile(1-alphaCalibration/float64(len(all)))
}

// estimate adds one estimator's answer.
func (j *fileJudge) estimate(c *estimators.Choice, total estimators.Accumulator) {
	f := FileEstimate{Estimator: c.Name, Name: c.String(), Level: j.r.o.Level, Formula: c.Formula, Source: c.Source, Note: noteOf(c)}
	x, err := total.Estimate()
	if off := 1 - j.r.clustered/max(j.r.weighed, 1); reads(c, estimators.ColumnCluster) && off > j.r.o.Limits.OffSupport {
		err = fmt.Errorf("%.1f%% of the candidate's decisions are of clusters that the logger never takes (limit %.0f%%)", 100*off, 100*j.r.o.Limits.OffSupport)
	}
	switch {
	case err != nil:
		j.lacks(missingEstimate, c.String()+": "+err.Error(), "evaluate a candidate that takes some of the logged actions, on a log that this estimator is meant for")
	case !finite(x.Value):
		j.lacks(missingEstimate, c.String()+" is not a finite number on this log", "check the rewards and predictions for values beyond all measure")
	default:
		f.Value, f.StdErr, f.Parameters = &x.Value, number64(x.StdErr), parametersOf(c, total)
		j.interval(&f, x)
	}
	j.report.Estimates = append(j.report.Estimates, f)
}

// interval gives an estimate the interval that was picked, or the one that its
// estimator has.
func (j *fileJudge) interval(f *FileEstimate, x estimators.Estimate) {
	t, sum, level := j.t, &j.report.Log, j.r.o.Level
	if f.Estimator == "adaptive_aipw" {
		j.sequence(f, x)
		return
	}
	lo, hi, w := sum.RewardMin, sum.RewardMax, j.maxWeight
	if j.likelihood {
		var iv estimators.Interval
		err := errNoMethod
		switch f.Estimator {
		case "ips":
			_, iv, err = t.values.IPS(w, lo, hi, level)
		case "snips":
			_, iv, err = t.values.SNIPS(w, lo, hi, level)
		case "dr":
			q := j.r.study.predicted
			_, iv, err = t.robust.Interval(estimators.Support{UMax: w, Mean: 1, GMin: q.low, GMax: q.high, EMin: lo - q.high, EMax: hi - q.low}, min(lo, q.low), max(hi, q.high), level)
		}
		if f.set(iv, err, methodLikelihood) {
			return
		}
	} else if j.betting && (f.Estimator == "ips" || f.Estimator == "snips") {
		low, err1 := t.low.Lower((1 - level) / 2)
		high, err2 := t.high.Lower((1 - level) / 2)
		if err1 == nil && f.set(estimators.Interval{Low: lo + low, High: hi - high}, err2, methodBetting) {
			return
		}
	}
	if !(x.StdErr > 0) {
		why := "what it averages does not vary: an interval would be a point"
		if x.Customers < 2 {
			why = "there is only one " + j.report.Unit
		}
		j.lacks(missingInterval, fmt.Sprintf("%s has no interval: %s", f.Name, why), "log for longer")
		return
	}
	f.set(x.Normal(level), nil, methodNormal)
	if j.report.Picked.Interval != methodNormal {
		f.IntervalWhy = "no " + strings.ReplaceAll(j.report.Picked.Interval, "_", " ") + " interval for this estimator; too narrow while conversions are few"
		if f.Estimator == "dm" {
			f.IntervalWhy = "it knows nothing of the reward model's error"
		}
	}
}

// set takes an interval that is one.
func (f *FileEstimate) set(iv estimators.Interval, err error, method string) bool {
	if err != nil || !finite(iv.Low, iv.High) || iv.Low > iv.High {
		return false
	}
	f.Low, f.High, f.Interval = &iv.Low, &iv.High, method
	return true
}

// against compares the candidate with what ran.
func (j *fileJudge) against() {
	t, sum, level := j.t, &j.report.Log, j.r.o.Level
	x, err := t.over.Estimate()
	if err != nil || !finite(x.Value) {
		return
	}
	f := &FileEstimate{Estimator: "ips", Name: "ips", Value: &x.Value, StdErr: number64(x.StdErr), Level: level, Formula: "M[(w − 1)r]", Source: "Horvitz and Thompson 1952"}
	width := sum.RewardMax - sum.RewardMin
	switch {
	case j.likelihood:
		_, iv, err := t.gap.Interval(estimators.Support{UMin: -1, UMax: j.maxWeight - 1, EMin: sum.RewardMin, EMax: sum.RewardMax}, -width, width, level)
		f.set(iv, err, methodLikelihood)
	case j.betting:
		low, err1 := t.gapLow.Lower((1 - level) / 2)
		high, err2 := t.gapHigh.Lower((1 - level) / 2)
		if err1 == nil {
			f.set(estimators.Interval{Low: low, High: -high}, err2, methodBetting)
		}
	}
	if f.Low == nil && x.StdErr > 0 {
		f.set(x.Normal(level), nil, methodNormal)
	}
	j.report.VsLogged = f
}

// bounds are Manski's, where part of the candidate lies on actions that the log
// never took, or the log never varied.
func (j *fileJudge) bounds() {
	d, sum := &j.report.Diagnostics, &j.report.Log
	if d.OffSupport <= j.r.o.Limits.OffSupport && j.r.study.minPropensity < certainPropensity || !j.betting {
		return
	}
	level := j.r.o.Level
	low, err1 := j.t.low.Lower((1 - level) / 2)
	high, err2 := j.t.high.Lower((1 - level) / 2)
	if err1 != nil || err2 != nil {
		return
	}
	f := &FileEstimate{Estimator: "bounds", Name: "bounds", Level: level, Formula: "[lower(V_S) + U r_min, upper(V_S) + U r_max]", Source: "Manski 1990"}
	// w(r − r_min) has the mean V_S − (1−U) r_min, so its lower bound plus r_min
	// is already Manski's; likewise from above.
	if f.set(estimators.Interval{Low: sum.RewardMin + low, High: sum.RewardMax - high}, nil, "manski") {
		j.report.Bounds = f
	}
}

// rangeWords say where a range of rewards is from.
var rangeWords = map[string]string{"declared": "declared", "binary": "they are 0 and 1", "sample": "as seen"}

func (j *fileJudge) warn() {
	rep, s := j.report, j.r.study
	add := func(format string, args ...any) { rep.Warnings = append(rep.Warnings, fmt.Sprintf(format, args...)) }
	if rep.Unit == "row" {
		add("the file names no customers, so every row counts as independent: where a customer has several rows, intervals are too narrow (give the column with --map customer=COLUMN)")
	}
	if len(s.positions) > 1 && rep.Unit == "row" {
		add("rows of %d positions: the slots of one list were chosen and answered together, and count as independent here", len(s.positions))
	}
	if s.negative > 0 && j.r.o.RewardMin == nil {
		add("%d rewards are negative: estimators that need gains, and bounds, want --reward-min", s.negative)
	}
	if z := math.Abs(rep.Diagnostics.WeightZ); z > 3 && z <= j.r.o.Limits.WeightZ {
		add("the weights average to %.4f, %.1f standard errors from 1", rep.Diagnostics.MeanWeight, z)
	}
	if _, all := j.r.columns[fieldEvaluations]; !all {
		add("the file has the candidate's probability of the logged action only: what it would do where the log never went cannot be seen, except by the weights' mean")
	}
	width := rep.Log.RewardMax - rep.Log.RewardMin
	if q := s.predicted; q.low < rep.Log.RewardMin-1e-6*width || q.high > rep.Log.RewardMax+1e-6*width { // but for rounding
		add("predictions lie outside the range of rewards: %s to %s, where rewards lie in %s to %s (%s): check the reward model, and that its predictions are of this reward",
			number(q.low), number(q.high), number(rep.Log.RewardMin), number(rep.Log.RewardMax), rangeWords[rep.Log.RewardRange])
	}
	if len(j.r.unknown) > 0 {
		add("%s", clusterNote(j.r.unknown))
	}
	for _, a := range rep.Diagnostics.Actions {
		if s.minPropensity >= certainPropensity {
			break // nothing was drawn that could be judged
		}
		if a.Z != nil && *a.Z < -5 {
			add("%s was taken less often than its propensities say (its inverse propensities add up to %.3f of the rows): right where it could not always be taken, wrong propensities otherwise", a.Action, a.InverseMass)
			break
		}
	}
}

func number64(v float64) *float64 {
	if !finite(v) {
		return nil
	}
	return &v
}
