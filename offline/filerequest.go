package offline

import (
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"nextbest"
	"nextbest/estimators"
)

// FileOptions asks for the evaluation of a log file.
type FileOptions struct {
	// Map names the file's columns by field, such as propensity: pscore.
	Map map[string]string
	// Actions names the actions in the order of the file's lists, where the
	// file gives them by name.
	Actions []string
	// Estimators are asked for by name, with hyperparameters as in
	// switch-dr:tau=10; none: every one that the columns allow.
	Estimators []string
	// Floor is the least propensity that the logger could give any action, and
	// MaxWeight the largest possible weight; one of them gives
	// empirical-likelihood intervals. Neither is ever taken from the sample.
	Floor, MaxWeight float64
	// RewardMin and RewardMax bound a row's reward.
	RewardMin, RewardMax *float64
	// Logger is fixed, adaptive, or empty: then the log's own drift decides.
	Logger string
	// Clusters names the cluster of actions, for MIPS and OffCEM; an action without
	// one is a cluster of its own.
	Clusters map[string]string
	// Distribution asks for quantiles and tails of the rewards.
	Distribution bool
	Level        float64 // of intervals; 0: 0.95
	Seed         uint64
	Limits       estimators.Limits
}

// The loggers that a caller can declare.
const (
	loggerFixed    = "fixed"
	loggerAdaptive = "adaptive"
)

func (o *FileOptions) prepare() error {
	var p nextbest.Problems
	if o.Level == 0 {
		o.Level = 0.95
	}
	if !(o.Level > 0.5 && o.Level < 1) {
		p.Add("level", "%v: give a confidence between 0.5 and 1, such as 0.95", o.Level)
	}
	if o.Floor != 0 && !(o.Floor >= 1/beyondMeasure && o.Floor <= 1) {
		p.Add("floor", "%v: give the least propensity of any action, in (0, 1] and not below %g", o.Floor, 1/beyondMeasure)
	}
	if o.MaxWeight != 0 && !(o.MaxWeight >= 1 && o.MaxWeight <= beyondMeasure) {
		p.Add("max_weight", "%v: a weight's upper bound is at least 1 and at most %g", o.MaxWeight, float64(beyondMeasure))
	}
	if o.Floor != 0 && o.MaxWeight != 0 {
		p.Add("max_weight", "give either a floor or a largest weight")
	}
	for name, v := range map[string]*float64{"reward_min": o.RewardMin, "reward_max": o.RewardMax} {
		if v != nil && !(math.Abs(*v) <= beyondMeasure) {
			p.Add(name, "%v: give a number within ±%g", *v, float64(beyondMeasure))
		}
	}
	if o.RewardMin != nil && o.RewardMax != nil && !(*o.RewardMin < *o.RewardMax) {
		p.Add("reward_max", "%v is not above reward_min %v", *o.RewardMax, *o.RewardMin)
	}
	if o.Logger != "" && o.Logger != loggerFixed && o.Logger != loggerAdaptive {
		p.Add("logger", "%q: say %s or %s", o.Logger, loggerFixed, loggerAdaptive)
	}
	seen := map[string]bool{}
	for _, a := range o.Actions {
		if seen[a] {
			p.Add("actions", "%q is named twice", a)
		}
		seen[a] = true
	}
	for _, a := range slices.Sorted(maps.Keys(o.Clusters)) {
		if o.Clusters[a] == "" {
			p.Add("clusters."+a, "a cluster needs a name")
		}
	}
	if o.Limits == (estimators.Limits{}) {
		o.Limits = estimators.DefaultLimits
	}
	return p.Err("evaluation")
}

// maxWeight returns the largest weight that the caller declares possible.
func (o *FileOptions) maxWeight() (float64, bool) {
	switch {
	case o.MaxWeight > 0:
		return o.MaxWeight, true
	case o.Floor > 0:
		return 1 / o.Floor, true
	}
	return 0, false
}

// openLogFile opens a file by the end of its name.
func openLogFile(path string) (logFile, error) {
	switch name := strings.ToLower(filepath.Base(path)); {
	case strings.HasSuffix(name, ".parquet"), strings.HasSuffix(name, ".pq"):
		return openParquetLog(path)
	case strings.HasSuffix(name, ".csv"), strings.HasSuffix(name, ".csv.gz"):
		return openCSVLog(path)
	}
	return nil, nextbest.FieldErrorf("file", "%s: give a .parquet, .csv or .csv.gz file", filepath.Base(path))
}
