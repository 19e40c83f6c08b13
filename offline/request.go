package offline

import (
	"context"
	"math"
	"slices"
	"strconv"
	"time"

	"nextbest"
	"nextbest/estimators"
)

// Candidate is a policy to evaluate.
type Candidate interface {
	// Name names the policy and everything needed to find it again, such as
	// lints@3/model-814.
	Name() string
	// Distribution fills p with the candidate's probability of each action of
	// the row's logged eligible set, in its order. They sum to 1.
	Distribution(p []float64, b *nextbest.Batch, row int) error
}

// Unanswered is an error of Candidate.Distribution that says that the row lacks
// what the candidate decides by, such as a feature that its schema requires.
// Such rows are counted and bounded; any other error ends the evaluation.
type Unanswered interface {
	error
	Unanswered()
}

// Forker is a candidate of which copies may run at the same time: with it,
// rows are evaluated on two cores.
type Forker interface {
	Fork() Candidate
}

// ContextFree is a candidate that may say that it does not read Batch.Contexts
// where every row's X is in one of the given schemas (Batch.Features); where all
// say so, contexts are not read from the log, which is faster.
type ContextFree interface {
	ContextFree(features []string) bool
}

// Reader streams mature rows ordered by customer.
type Reader interface {
	Rows(ctx context.Context, q nextbest.Query, f func(*nextbest.Batch) error) error
}

// Period is a set of rows that a candidate was trained on: decisions of the
// split's customers (all when nil) with From ≤ time < To (zero: open).
type Period struct {
	Split *nextbest.Split `json:"split,omitempty"`
	From  time.Time       `json:"from,omitzero"`
	To    time.Time       `json:"to,omitzero"`
}

// Request asks for one evaluation.
type Request struct {
	// Query selects the rows. Run fixes MatureAt to now when it is zero; set
	// Upto too if the report is to be repeated on a log that grows.
	Query      nextbest.Query
	Candidates []Candidate
	Seed       uint64  // of the folds
	Folds      int     // of customers; 0: 5
	Level      float64 // of intervals; 0: 0.95
	Delta      float64 // the gate's one-sided error, shared by the candidates; 0: 0.05
	// Looks says beside Candidates which evaluation of each this is, from 1: the
	// k-th may only use its share of Delta (estimators.Spend). Nil: nobody will
	// choose among several, and all of Delta is this run's.
	Looks []int

	// Fixed are actions that are valued beside the candidates as what is always
	// done where it is eligible, else nothing: baselines named fixed:<action>.
	Fixed []string

	// Training and TrainedOn say which rows the candidates learned from or were
	// tuned on: a row among them refuses the conclusion.
	Training  []nextbest.Split
	TrainedOn []Period

	// Definitions is the revision of the definitions that the candidates were
	// made from; it is kept in the report, so that it can be repeated.
	Definitions uint64

	// Specified says how candidates that are not registered were made; it is kept
	// in the report, so that it can be repeated.
	Specified []Specified

	// MaxWeight is the largest weight that is possible by design; 0: the inverse
	// of the log's declared floor. It is never taken from the sample.
	MaxWeight float64
	// RewardMin and RewardMax bound a decision's reward. Where they are nil the
	// log's own range is used (0 and 1 for binary rewards), and the report says
	// so.
	RewardMin, RewardMax *float64
	// Adaptive declares that the logger learned from the rows themselves.
	// Empirical likelihood is not valid then; bounds by betting are.
	Adaptive bool
	// MinSupport is the propensity below which an action counts as never tried;
	// 0: 1e-6.
	MinSupport float64
	// RewardModel is ridge (also when empty) or logistic, which takes rewards of
	// 0 and 1 only; both have weights of their own for each action and are
	// cross-fitted.
	RewardModel string
	Ridge       float64 // of the reward model; 0: 1
	// CrossFit says which rows the reward model of a row was fitted to: customer,
	// those of the other folds' customers, or time, those of earlier blocks of
	// time. Empty: time where the logger is adaptive, customer otherwise.
	CrossFit string
	// Estimators are shown for every candidate beside IPS, SNIPS, DM and DR. Where
	// the log cannot give one, the report says why.
	Estimators []estimators.Choice
	// Clusters names the cluster of each action, for MIPS and OffCEM; an action
	// without one is a cluster of its own.
	Clusters map[string]string
	// ClusterBy says which member of the actions' definitions Clusters is of; empty:
	// the request's own. It is kept in the report.
	ClusterBy string
	// Distribution asks for the distribution of rewards under each candidate:
	// quantiles and the means of its tails.
	Distribution bool
	// Segments shows every candidate by the values of these keys as well: policy,
	// day, arm, context.<key> or customer.<key>.
	Segments []string
	// Tree asks for whom which action is best (see PolicyTree); Columns names the
	// features of a schema (id@version) for it, nil: x0, x1, ….
	Tree    bool
	Columns func(schema string) []string
	// Bootstrap is the number of replicates of a Poisson bootstrap by customer of
	// IPS, SNIPS and DR; 0: none.
	Bootstrap int
	Limits    estimators.Limits
	// Spool says where rows wait between passes. It changes no number.
	Spool Spool
}

// The reward models.
const (
	modelRidge    = "ridge"
	modelLogistic = "logistic"
)

// The ways to cross-fit a reward model.
const (
	crossFitCustomer = "customer"
	crossFitTime     = "time"
)

// rowColumns are what an evaluation fills in of each row in any case.
var rowColumns = []estimators.Column{estimators.ColumnWeight, estimators.ColumnReward, estimators.ColumnModel, estimators.ColumnPropensity}

// Computes reports whether every evaluation can show the estimator, whatever
// else is asked for and whatever the logger was. The others need another pass
// over the log, clusters, lists, or a log of the right kind.
func Computes(c estimators.Choice) bool {
	return !slices.ContainsFunc(c.Columns, func(column estimators.Column) bool { return !slices.Contains(rowColumns, column) })
}

func (r *Request) prepare(now time.Time) error {
	var p nextbest.Problems
	if r.Query.MatureAt.IsZero() {
		r.Query.MatureAt = now.UTC().Truncate(time.Microsecond)
	}
	if len(r.Query.Objective.Terms) == 0 {
		p.Add("query.objective", "an evaluation needs an objective or a reward kind")
	}
	if r.Folds == 0 {
		r.Folds = 5
	}
	if r.Folds < 2 || r.Folds > 64 {
		p.Add("folds", "%d: give 2 to 64", r.Folds)
	}
	if r.Level == 0 {
		r.Level = 0.95
	}
	if !(r.Level > 0.5 && r.Level < 1) {
		p.Add("level", "%v: give a confidence between 0.5 and 1, such as 0.95", r.Level)
	}
	if r.Delta == 0 {
		r.Delta = 0.05
	}
	if !(r.Delta > 0 && r.Delta < 0.5) {
		p.Add("delta", "%v: give an error probability between 0 and 0.5", r.Delta)
	}
	if r.Looks != nil && (len(r.Looks) != len(r.Candidates) || slices.ContainsFunc(r.Looks, func(k int) bool { return k < 1 })) {
		p.Add("looks", "%v: give a number from 1 for each of %d candidates", r.Looks, len(r.Candidates))
	}
	if r.MaxWeight != 0 && !(r.MaxWeight >= 1 && !math.IsInf(r.MaxWeight, 1)) {
		p.Add("max_weight", "%v: a weight's upper bound is at least 1", r.MaxWeight)
	}
	if r.RewardMin != nil && r.RewardMax != nil && !(*r.RewardMin <= *r.RewardMax) {
		p.Add("reward_max", "%v is below reward_min %v", *r.RewardMax, *r.RewardMin)
	}
	if r.MinSupport == 0 {
		r.MinSupport = 1e-6
	}
	if !(r.MinSupport > 0 && r.MinSupport < 1) {
		p.Add("min_support", "%v: give a probability between 0 and 1", r.MinSupport)
	}
	if r.Ridge == 0 {
		r.Ridge = 1
	}
	switch r.RewardModel {
	case "":
		r.RewardModel = modelRidge
	case modelRidge, modelLogistic:
	default:
		p.Add("reward_model", "%q: give %s or %s", r.RewardModel, modelRidge, modelLogistic)
	}
	switch {
	case r.CrossFit == "" && r.Adaptive:
		r.CrossFit = crossFitTime
	case r.CrossFit == "":
		r.CrossFit = crossFitCustomer
	case r.CrossFit != crossFitCustomer && r.CrossFit != crossFitTime:
		p.Add("cross_fit", "%q: give %s or %s", r.CrossFit, crossFitCustomer, crossFitTime)
	}
	r.checkClusters(&p)
	for i, name := range r.Segments {
		if _, err := parseSegment(name); err != nil {
			p.Add("segments["+strconv.Itoa(i)+"]", "%v", err)
		}
	}
	if r.Bootstrap != 0 && !(r.Bootstrap >= 100 && r.Bootstrap <= 10000) {
		p.Add("bootstrap", "%d: give 100 to 10,000 replicates, such as %d", r.Bootstrap, estimators.Replicates)
	}
	if !(r.Ridge > 0) {
		p.Add("ridge", "%v: give a positive number", r.Ridge)
	}
	if r.Limits == (estimators.Limits{}) {
		r.Limits = estimators.DefaultLimits
	}
	names := map[string]bool{nameLogged: true, nameBestFixed: true, nextbest.DoNothing: true}
	for i, a := range r.Fixed {
		names[prefixFixed+a] = true
		if a == "" || slices.Index(r.Fixed, a) < i {
			p.Add("fixed["+strconv.Itoa(i)+"]", "%q: name each action once", a)
		}
	}
	for i, c := range r.Candidates {
		field := "candidates[" + strconv.Itoa(i) + "]"
		if c.Name() == "" {
			p.Add(field, "a candidate needs a name")
		} else if names[c.Name()] {
			p.Add(field, "the name %q is taken", c.Name())
		}
		names[c.Name()] = true
	}
	return p.Err("evaluation")
}

// folds maps customers to folds and lanes. A lane is one of two independent
// halves of the work, so that what is summed does not depend on how many cores
// there are or on how rows come in batches.
type folds struct {
	salt string
	n    int
}

const lanes = 2

func (f folds) of(customer string) (fold, lane uint8) {
	i := int(nextbest.Uniform(f.salt, customer) * float64(f.n*lanes))
	return uint8(i / lanes), uint8(i % lanes)
}
