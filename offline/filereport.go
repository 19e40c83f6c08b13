package offline

import (
	"nextbest/estimators"
)

// FileReport is the evaluation of a log file.
type FileReport struct {
	Version   string            `json:"version"`
	File      string            `json:"file"`
	Rows      int64             `json:"rows"`
	Customers int64             `json:"customers"` // 0 where the file does not name them
	Unit      string            `json:"unit"`      // of every interval: customer or row
	Columns   map[string]string `json:"columns"`   // of the file, by field
	Level     float64           `json:"level"`
	Seed      uint64            `json:"seed"`
	Log       FileSummary       `json:"log"`
	Verdict   string            `json:"verdict"`
	Picked    Picked            `json:"picked"`
	Estimates []FileEstimate    `json:"estimates"`
	VsLogged  *FileEstimate     `json:"vs_logged,omitempty"` // M[(w − 1)r]
	Bounds    *FileEstimate     `json:"bounds,omitempty"`    // Manski's, where the log has no support for the candidate
	// Of rewards, where asked for: under the candidate, and as they were.
	Distribution       *Distribution   `json:"distribution,omitempty"`
	LoggedDistribution *Distribution   `json:"logged_distribution,omitempty"`
	Diagnostics        FileDiagnostics `json:"diagnostics"`
	// Refusals are the reasons for which no conclusion may be drawn from the
	// estimates, and Missing what could not be computed at all, each with its
	// cure.
	Refusals []estimators.Refusal `json:"refusals"`
	Missing  []estimators.Refusal `json:"missing"`
	Warnings []string             `json:"warnings"`
}

// Picked is the kind of interval that the log itself suggests.
type Picked struct {
	Interval string `json:"interval"` // empirical_likelihood, betting or normal
	Why      string `json:"why"`
}

// FileSummary says what was read.
type FileSummary struct {
	Rewards     string  `json:"rewards"` // binary or revenue
	RewardMin   float64 `json:"reward_min"`
	RewardMax   float64 `json:"reward_max"`
	RewardRange string  `json:"reward_range"` // declared, binary or sample
	MeanReward  float64 `json:"mean_reward"`
	Conversions int64   `json:"conversions"`          // rows with a reward other than 0
	Logger      string  `json:"logger"`               // fixed or adaptive
	LoggerWhy   string  `json:"logger_why"`           // declared, or what the propensities show
	MaxWeight   float64 `json:"max_weight,omitempty"` // declared; absent where nothing was
	Actions     int     `json:"actions"`              // that were taken
	Listed      int     `json:"listed_actions,omitempty"`
}

// FileEstimate is one estimator's answer. Value is absent where there is none,
// Low and High where no interval can be had.
type FileEstimate struct {
	Estimator   string         `json:"estimator"`
	Name        string         `json:"name"` // with its hyperparameter, as --estimator takes it
	Value       *float64       `json:"value"`
	StdErr      *float64       `json:"std_err,omitempty"`
	Low         *float64       `json:"low"`
	High        *float64       `json:"high"`
	Interval    string         `json:"interval,omitempty"`
	IntervalWhy string         `json:"interval_why,omitempty"` // where it is not the one that was picked
	Level       float64        `json:"level"`
	Parameters  map[string]any `json:"parameters,omitempty"`
	Formula     string         `json:"formula"`
	Source      string         `json:"source,omitempty"`
	Note        string         `json:"note,omitempty"` // when the estimator is right
}

// FileDiagnostics says what the weights and the propensities tell of
// themselves. Where the unit is the row, Customers counts rows.
type FileDiagnostics struct {
	estimators.Diagnostics
	LeastPropensity float64        `json:"least_propensity"`
	Drift           Drift          `json:"drift"`
	Weights         []WeightBin    `json:"weights"`
	Actions         []FileAction   `json:"actions"` // the most frequent first, at most 200
	Positions       []FilePosition `json:"positions,omitempty"`
}

// Drift is the action whose logged propensities follow the order of rows most.
type Drift struct {
	Action string  `json:"action,omitempty"`
	Z      float64 `json:"z"`
}

// FileAction compares logger and candidate where one action was taken.
type FileAction struct {
	Action          string  `json:"action"`
	Rows            int64   `json:"rows"`
	Conversions     int64   `json:"conversions"`
	Propensity      float64 `json:"propensity"` // mean over its rows
	LeastPropensity float64 `json:"least_propensity"`
	Evaluation      float64 `json:"evaluation_probability"` // mean over its rows
	// InverseMass is Σ1/μ over its rows by all rows: 1 on average where the
	// action could always be taken and propensities are true, less where it
	// could not always.
	InverseMass float64 `json:"inverse_mass"`
	// Z is how many standard errors InverseMass lies from 1; absent where
	// there are too few rows.
	Z *float64 `json:"z,omitempty"`
}

// FilePosition is one slot's part of the log.
type FilePosition struct {
	Position   int64    `json:"position"`
	Rows       int64    `json:"rows"`
	MeanWeight float64  `json:"mean_weight"`
	IPS        float64  `json:"ips"`
	StdErr     *float64 `json:"std_err,omitempty"` // by row
}

// Estimate returns an estimator's answer by name, such as dr or dros:lambda=10.
func (r *FileReport) Estimate(name string) (*FileEstimate, bool) {
	for i := range r.Estimates {
		if r.Estimates[i].Name == name {
			return &r.Estimates[i], true
		}
	}
	return nil, false
}

// Refused reports whether no conclusion may be drawn.
func (r *FileReport) Refused() bool { return len(r.Refusals) > 0 }
