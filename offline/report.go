package offline

import (
	"fmt"
	"math"
	"sort"
	"strings"
	"time"

	"nextbest"
	"nextbest/estimators"
)

// Version names the method; it changes whenever the same request could give
// other numbers or words.
const Version = "offline/4"

// Report is the result of one run.
type Report struct {
	Version   string        `json:"version"`
	Query     QueryRecord   `json:"query"`
	Seed      uint64        `json:"seed"`
	Folds     int           `json:"folds"`
	FoldRule  string        `json:"fold_rule"`
	Blocks    string        `json:"blocks,omitempty"` // of time, where the reward model is cross-fitted by time
	Level     float64       `json:"level"`
	Delta     float64       `json:"delta"`
	Log       LogSummary    `json:"log"`
	Picked    Picked        `json:"picked"`
	BestFixed []string      `json:"best_fixed"` // chosen for each fold from the folds before it; "" where none could be
	Cells     []Calibration `json:"calibration"`
	Overlap   []ActionShare `json:"overlap"`
	Uplift    []Uplift      `json:"uplift"`         // of each action over doing nothing, by name; rows are those of the log, whatever ran
	Tree      *PolicyTree   `json:"tree,omitempty"` // for whom which action is best, where asked for
	Results   []Result      `json:"results"`        // candidates in the order asked for, then the baselines
	// Comparisons are the candidates' differences from one another, of every two.
	Comparisons []Comparison `json:"comparisons"`
	Warnings    []string     `json:"warnings"`
	// Assumption is what every number here takes for granted.
	Assumption string `json:"assumption"`
}

// QueryRecord is the query as it was run.
type QueryRecord struct {
	Placement    string             `json:"placement"`
	Source       string             `json:"source,omitempty"`
	From         time.Time          `json:"from,omitzero"`
	To           time.Time          `json:"to,omitzero"`
	MatureAt     time.Time          `json:"mature_at"`
	Upto         uint64             `json:"upto,omitempty"`
	Definitions  uint64             `json:"definitions,omitempty"` // revision that the candidates were made from
	Objective    nextbest.Objective `json:"objective"`
	Split        *nextbest.Split    `json:"split,omitempty"`
	Experiment   string             `json:"experiment,omitempty"`
	Arms         []string           `json:"arms,omitempty"`
	SkipHeld     bool               `json:"skip_held,omitempty"`
	SkipSetAside bool               `json:"skip_set_aside,omitempty"`
	Propensity   string             `json:"propensity"` // that weighs: own (of the serving arm) or mixture
	Training     []nextbest.Split   `json:"training,omitempty"`
	TrainedOn    []Period           `json:"trained_on,omitempty"`
	Specified    []Specified        `json:"specified,omitempty"` // candidates that are not registered
	RewardModel  string             `json:"reward_model"`
	Ridge        float64            `json:"ridge"`
	CrossFit     string             `json:"cross_fit"`            // customer or time
	Clusters     map[string]string  `json:"clusters,omitempty"`   // of actions, for MIPS and OffCEM
	ClusterBy    string             `json:"cluster_by,omitempty"` // member of the actions' definitions that they are from
	MinSupport   float64            `json:"min_support"`
}

// LogSummary says what was read.
type LogSummary struct {
	Rows               int64       `json:"rows"`
	Customers          int64       `json:"customers"`
	Conversions        int64       `json:"conversions"` // rows with a reward that counts
	First              time.Time   `json:"first,omitzero"`
	Last               time.Time   `json:"last,omitzero"`
	Actions            []string    `json:"actions"`
	Policies           []Share     `json:"policies"`
	Features           int         `json:"features"`
	Certain            int64       `json:"certain"` // rows whose arm gave its action probability 1
	Unknown            int64       `json:"unknown_probabilities"`
	MissingPropensity  int64       `json:"missing_propensity"`
	Immature           int64       `json:"immature"`
	Trained            int64       `json:"trained"`
	MeanReward         float64     `json:"mean_reward"`
	RewardMin          float64     `json:"reward_min"`
	RewardMax          float64     `json:"reward_max"`
	RewardRange        string      `json:"reward_range"`         // declared, binary or sample
	MaxWeight          float64     `json:"max_weight,omitempty"` // declared; absent when nothing was
	Adaptive           bool        `json:"adaptive"`
	SampleRatio        SampleRatio `json:"sample_ratio"`
	CalibrationFailed  bool        `json:"calibration_failed"`
	CalibrationChecked int         `json:"calibration_checked"`
	CalibrationLimit   float64     `json:"calibration_limit"` // |z| above which a cell fails
}

// Share is a policy version's rows.
type Share struct {
	Policy string `json:"policy"`
	Rows   int64  `json:"rows"`
}

// Calibration is one judged cell of the propensity check.
type Calibration struct {
	Action   string  `json:"action"`
	From     float64 `json:"from"` // of the logged probability
	To       float64 `json:"to"`
	Taken    float64 `json:"taken"`
	Expected float64 `json:"expected"`
	Z        float64 `json:"z"` // ±1e9 where a certain action was not taken
	Failed   bool    `json:"failed"`
}

// Figure is a value with its interval and how that was made.
type Figure struct {
	Value  float64 `json:"value"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	Method string  `json:"method"` // empirical_likelihood, betting, asymptotic_sequence, normal, manski
}

// Gate is what a promotion reads: a one-sided lower bound by betting of the
// candidate's value minus that of what ran.
type Gate struct {
	Lower     float64 `json:"lower"`
	Delta     float64 `json:"delta"`          // after sharing among the candidates and looks
	Look      int     `json:"look,omitempty"` // which evaluation of this candidate it was; absent: not counted
	RewardMin float64 `json:"reward_min"`
	RewardMax float64 `json:"reward_max"`
	// Declared is false when the reward range was the sample's own: the bound
	// then says nothing about larger rewards than were seen.
	Declared bool `json:"declared"`
	Passed   bool `json:"passed"` // lower > 0, declared, and nothing was refused
	// LogE is the logarithm of the e-value against "no better than what ran", and
	// Discovered whether e-BH over all candidates rejects that at the report's
	// Delta, which bounds the share of false ones among all that are named; Passed
	// bounds the chance of a single one.
	LogE       float64 `json:"log_e"`
	Discovered bool    `json:"discovered"`
}

// Result is one policy's evaluation.
type Result struct {
	Name     string `json:"name"`
	Baseline bool   `json:"baseline"`
	// Values are absent where the log cannot give them, whatever the reason
	// given in Refusals.
	IPS   *Figure `json:"ips,omitempty"`
	SNIPS *Figure `json:"snips,omitempty"`
	DM    *Figure `json:"dm,omitempty"`
	DR    *Figure `json:"dr,omitempty"`
	// Value is by maximum empirical likelihood, or where the logger learned from
	// the rows by AIPW with models of earlier rows (method asymptotic_sequence).
	Value        *Figure       `json:"value,omitempty"`
	Estimates    []Shown       `json:"estimates,omitempty"` // asked for beside these
	Segments     []Segment     `json:"segments,omitempty"`
	Distribution *Distribution `json:"distribution,omitempty"` // where asked for
	Bounds       *Figure       `json:"bounds,omitempty"`
	VsLogged     *Figure       `json:"vs_logged,omitempty"`
	VsBestFixed  *Figure       `json:"vs_best_fixed,omitempty"`
	Gate         *Gate         `json:"gate,omitempty"`
	// FlipsAt is the least Γ at which the verdict against what ran falls, were the
	// true propensities within μ·[1/Γ, Γ]: near 1 it hangs on their being exact.
	// Absent without such a verdict, or where no Γ turns it.
	FlipsAt     *float64               `json:"flips_at,omitempty"`
	Diagnostics estimators.Diagnostics `json:"diagnostics"`
	// Unanswered counts the rows that lack what the candidate decides by. Up to
	// the limit for mass off support they widen every interval by what they might
	// have earned; beyond it there are bounds only.
	Unanswered int64                `json:"unanswered_rows,omitempty"`
	Refusals   []estimators.Refusal `json:"refusals"`
	Warnings   []string             `json:"warnings"`
	Verdict    string               `json:"verdict"`
	// Of candidates: how the weights lie, and the value as the log grew.
	Weights []WeightBin `json:"weights,omitempty"`
	Days    []Day       `json:"days,omitempty"`
}

// Refused reports whether no conclusion may be drawn.
func (r *Result) Refused() bool { return len(r.Refusals) > 0 }

// Result returns a policy's result by name.
func (r *Report) Result(name string) (*Result, bool) {
	for i := range r.Results {
		if r.Results[i].Name == name {
			return &r.Results[i], true
		}
	}
	return nil, false
}

// Record returns the query as a report keeps it, without what the log says.
func (r *Request) Record() QueryRecord {
	q := &r.Query
	return QueryRecord{Placement: q.Placement, Source: q.Source, From: q.From, To: q.To, MatureAt: q.MatureAt, Upto: q.Upto, Definitions: r.Definitions,
		Objective: q.Objective, Split: q.Split, Experiment: q.Experiment, Arms: q.Arms, SkipHeld: q.SkipHeld, SkipSetAside: q.SkipSetAside, Propensity: propensity(q),
		Training: r.Training, TrainedOn: r.TrainedOn, Specified: r.Specified, RewardModel: r.RewardModel, Ridge: r.Ridge, CrossFit: r.CrossFit, ClusterBy: r.ClusterBy, MinSupport: r.MinSupport}
}

func newReport(req *Request, s *study, l *lane, g ranges, names []string, chosenFixed []int32) *Report {
	r := &Report{
		Version: Version, Seed: req.Seed, Folds: req.Folds, Level: req.Level, Delta: req.Delta,
		FoldRule:   folds{salt: fmt.Sprintf("offline/folds/%d", req.Seed), n: req.Folds}.String(),
		Query:      req.Record(),
		Assumption: "one step: every row keeps the history, caps and budgets that were logged; a candidate would have changed them",
		Warnings:   []string{},
	}
	r.Query.Clusters = clustersShown(req, names)
	if s.ground.rows != nil {
		r.Blocks = s.ground.blocks.String()
	}
	s.flushPolicy()
	r.Log = LogSummary{Rows: s.rows, Customers: s.customers, Conversions: s.matched, Actions: append([]string{}, names...), Policies: []Share{},
		Features: s.model.width, Certain: s.certain, Unknown: s.unknown, MissingPropensity: s.missing, Immature: s.immature,
		Trained: s.trained, RewardMin: g.rewardMin, RewardMax: g.rewardMax, RewardRange: rangeKind(req, s), Adaptive: req.Adaptive}
	if s.rows > 0 {
		r.Log.First, r.Log.Last = time.UnixMicro(s.first).UTC(), time.UnixMicro(s.last).UTC()
	}
	if e, err := s.rewardSum.Estimate(); err == nil {
		r.Log.MeanReward = e.Value
	}
	for p, n := range s.policies {
		r.Log.Policies = append(r.Log.Policies, Share{p, n})
	}
	sort.Slice(r.Log.Policies, func(i, j int) bool { return r.Log.Policies[i].Policy < r.Log.Policies[j].Policy })
	for _, a := range chosenFixed {
		name := ""
		if a >= 0 {
			name = names[a]
		}
		r.BestFixed = append(r.BestFixed, name)
	}
	r.calibrate(s, names)
	r.Log.SampleRatio = s.ratio.judge()
	r.Overlap = l.overlap.shares(names)
	r.warn(req, s)

	j := newJudge(req, s, l, g, r)
	r.Picked = j.picked()
	r.Uplift = l.uplift.figures(names, j.evidence(l.tallies[0]), req.Limits.Conversions, j.general)
	if l.tree != nil {
		r.Tree = j.tree(l, names)
	}
	for i, c := range req.Candidates {
		x := j.result(c.Name(), l.tallies[i])
		x.Weights, x.Days = l.tallies[i].weights.counts(), l.tallies[i].days.cumulative()
		r.Results = append(r.Results, x)
	}
	n := len(req.Candidates)
	shares := make([]float64, n)
	for i := range shares {
		shares[i] = float64(r.Results[i].Unanswered) / float64(max(r.Results[i].Diagnostics.Rows, 1))
	}
	r.Comparisons = j.comparisons(l, r.Results, shares)
	j.discover(r.Results)
	fixed := j.result(nameBestFixed, l.fixed)
	base := []Result{j.result(nameLogged, l.logged), fixed, j.result(nextbest.DoNothing, l.idle)}
	r.Results = append(r.Results, base...)
	for i, a := range req.Fixed {
		r.Results = append(r.Results, j.result(prefixFixed+a, l.tallies[n+3+i]))
	}
	best := "best fixed"
	if names := r.FixedNames(); names != "" {
		best += " (" + names + ")"
	}
	for i := range r.Results {
		r.Results[i].Baseline = i >= n
		r.Results[i].Verdict = verdict(&r.Results[i], &fixed, best)
	}
	if text := r.fixedShare(&fixed); text != "" {
		r.Warnings = append(r.Warnings, text)
	}
	r.Warnings = append(r.Warnings, segmentsNowhere(r.Results)...)
	return r
}

// The propensities that may weigh a report's rows.
const (
	PropensityOwn     = "own"     // of the arm that served
	PropensityMixture = "mixture" // of all arms
)

// propensity names the propensity that a query asks for.
func propensity(q *nextbest.Query) string {
	if q.Own {
		return PropensityOwn
	}
	return PropensityMixture
}

// rangeKind says where the rewards' range comes from. Rewards of 0 and 1 alone
// are taken for a conversion only where the objective is a single kind that
// counts as a gain: of several terms, the rare one may not have occurred yet.
func rangeKind(req *Request, s *study) string {
	terms := req.Query.Objective.Terms
	switch {
	case req.RewardMin != nil && req.RewardMax != nil:
		return "declared"
	case s.rows > 0 && s.other == 0 && len(terms) == 1 && terms[0].Weight > 0:
		return "binary"
	}
	return "sample"
}

// alphaCalibration is the false-alarm rate of the propensity check, over all
// of its cells.
const alphaCalibration = 0.001

func (r *Report) calibrate(s *study, names []string) {
	cells, failed := s.calib.Judge(alphaCalibration)
	r.Log.CalibrationFailed, r.Log.CalibrationChecked = failed, len(cells)
	r.Log.CalibrationLimit = estimators.CalibrationLimit(alphaCalibration, len(cells))
	r.Cells = make([]Calibration, len(cells))
	for i, c := range cells {
		r.Cells[i] = Calibration{Action: names[c.Action], From: float64(c.Decile) / 10, To: float64(c.Decile+1) / 10,
			Taken: c.Taken, Expected: c.Expected, Z: min(max(c.Z, -1e9), 1e9), Failed: c.Failed}
	}
}

func (r *Report) warn(req *Request, s *study) {
	add := func(format string, args ...any) { r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...)) }
	if r.Log.RewardRange == "sample" && s.rows > 0 {
		add("rewards were taken to lie between %g and %g, as seen: declare reward_min and reward_max, or cap the reward; a rarer, larger one is not covered", r.Log.RewardMin, r.Log.RewardMax)
	}
	if w, ok := maxWeight(req, s); ok {
		r.Log.MaxWeight = w
	} else if s.rows > 0 {
		add("no exploration floor is declared for %d of %d rows, so the largest possible weight is unknown and empirical likelihood is not used: intervals by betting (wider) and, for DR and the best fixed action, normal (too narrow at few conversions)", s.unfloored, s.rows)
	}
	if s.later > 0 {
		add("%d of %d rows are later slots of a decision: a value is per slot decision, weighted by the slot's propensity given the slots before it, and those slots are as they were logged, not as the candidate would have filled them", s.later, s.rows)
	}
	if n := len(s.arms); req.Query.Own && n > 1 {
		add("%d arms ran and weights use the serving arm's own propensity, not the arms' mixture: where caps or cool-downs act, what may be done for a customer depends on the arm that served before, and the mixture is wrong; weights vary more for it", n)
	}
	if n := len(s.arms); n > 1 && !r.Log.SampleRatio.Checked {
		add("rows name %d arms and carry no shares of them: whether customers fell to the arms as declared was not checked", n)
	}
	if req.Adaptive {
		add("the logger learned from these rows: %s; the gate and the intervals of IPS, SNIPS and of the difference to what ran are by betting, and DR's normal interval is only a guide", valuesOf(unweighed(req, s, s.ground.blocks)))
	}
	if _, _, unknown := clusterNumbers(req.Clusters, r.Log.Actions); len(unknown) > 0 && req.ClusterBy == "" {
		r.Warnings = append(r.Warnings, clusterNote(unknown))
	}
	if s.bare > 0 && s.model.width > 0 {
		add("%d of %d rows carry other features than the rest, or none: on them the reward model knows only the action, so DM is cruder and DR less precise", s.bare, s.rows)
	}
	if s.rows > 0 && s.model.width == 0 {
		add("no row carries features, so the reward model knows only the action: DM and DR are IPS with a constant per action, and estimators that lean on the model (dros, switch_dr, clipped_dr) look surer than they are: log with a policy that has a feature schema, or evaluate a log file with predictions of a model of yours")
	}
	if s.unknown > 0 {
		add("%d rows carry only the propensity of the logged action: support and calibration were not checked on them", s.unknown)
	}
	if n := len(req.Candidates); n > 1 {
		add("%d candidates were compared: their gates share δ = %g (%s), intervals are for each (and each two) on their own", n, req.Delta, gateErrors(req))
	}
	chosen := map[string]bool{}
	for _, b := range r.BestFixed {
		if b != "" {
			chosen[b] = true
		}
	}
	if len(chosen) > 1 {
		add("the best fixed action differs between folds (%s): its row mixes them", strings.Join(r.BestFixed[1:], ", "))
	}
}

func finite(vs ...float64) bool {
	for _, v := range vs {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return false
		}
	}
	return true
}
