package console

import (
	"time"

	"nextbest/estimators"
	"nextbest/experiments"
)

// Overview is everything the page shows.
type Overview struct {
	Time        time.Time    `json:"time"`
	Placements  []Placement  `json:"placements"`
	Experiments []Experiment `json:"experiments"`
	Health      Health       `json:"health"`
}

// Placement is what one placement did.
type Placement struct {
	ID          string     `json:"id"`
	Objective   string     `json:"objective"`
	From        time.Time  `json:"from"`
	Decisions   int64      `json:"decisions"`
	Customers   int64      `json:"customers"`
	Impressions int64      `json:"impressions"`
	Rewards     int64      `json:"rewards"`
	DoNothing   float64    `json:"do_nothing"` // share of decisions
	Treated     *Mean      `json:"treated"`    // value per customer outside the universal holdout
	Holdout     *Mean      `json:"holdout"`
	Lift        *Mean      `json:"lift"` // treated minus holdout
	Value       []Bucket   `json:"value"`
	Mix         []Mix      `json:"mix"`
	Exclusions  []Excluded `json:"exclusions"`
}

// Mean is a mean over customers with an interval that stays valid however
// often the page is looked at; the ends are null while there is too little.
type Mean struct {
	Customers int64    `json:"customers"`
	Value     float64  `json:"value"`
	Low       *float64 `json:"low"`
	High      *float64 `json:"high"`
}

// Bucket is the value per customer of the decisions in one stretch of time.
type Bucket struct {
	Time    time.Time `json:"time"`
	Treated *Mean     `json:"treated,omitempty"`
	Holdout *Mean     `json:"holdout,omitempty"`
}

// Mix counts the decisions of one stretch of time by action.
type Mix struct {
	Time    time.Time        `json:"time"`
	Actions map[string]int64 `json:"actions"`
}

// Excluded counts how often an action was left out for a reason.
type Excluded struct {
	Action string `json:"action"`
	Reason string `json:"reason"`
	Count  int64  `json:"count"`
}

// Experiment is one experiment with its evidence and gates by candidate.
type Experiment struct {
	ID        string                        `json:"id"`
	Placement string                        `json:"placement"`
	State     experiments.State             `json:"state"`
	Why       string                        `json:"why,omitempty"` // reason of the last change of state
	Evidence  *experiments.Evidence         `json:"evidence,omitempty"`
	Gates     map[string][]experiments.Gate `json:"gates,omitempty"`
	Problem   string                        `json:"problem,omitempty"`
}

// Health is the state of the machinery.
type Health struct {
	Dependencies []Dependency `json:"dependencies"`
	LagMessages  uint64       `json:"lag_messages"` // in the journal, not yet in ClickHouse
	DeadLetters  uint64       `json:"dead_letters"`
	Unmatched    int64        `json:"unmatched"`
	Verified     *Verified    `json:"verified"` // the newest verification
}

// Dependency is one thing the platform needs.
type Dependency struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
}

// Verified is what the newest replay of the log found.
type Verified struct {
	Time      time.Time `json:"time"`
	Checked   int64     `json:"checked"`
	Identical int64     `json:"identical"`
}

// Moments are the sums from which a mean over customers is made.
type Moments struct {
	Customers int64
	Mean, SD  float64
}

const (
	alpha   = 0.05
	planned = 10000 // customers at which the intervals are tightest
	least   = 100   // customers below which no interval is shown
)

// MeanOf returns the mean with its confidence sequence (Waudby-Smith et al.
// 2021, arXiv 2103.06476), nil for no customers.
func MeanOf(m Moments) *Mean {
	if m.Customers == 0 {
		return nil
	}
	mean := &Mean{Customers: m.Customers, Value: m.Mean}
	if m.Customers >= least {
		mean.around(estimators.AsymptoticRadius(int(m.Customers), m.SD, alpha, planned, false))
	}
	return mean
}

// LiftOf returns treated minus holdout per customer. Each side's confidence
// sequence is taken at half the level, so the difference's is valid by the
// union bound. Nil when a side has no customers.
func LiftOf(treated, holdout Moments) *Mean {
	if treated.Customers == 0 || holdout.Customers == 0 {
		return nil
	}
	lift := &Mean{Customers: treated.Customers + holdout.Customers, Value: treated.Mean - holdout.Mean}
	if min(treated.Customers, holdout.Customers) >= least {
		lift.around(estimators.AsymptoticRadius(int(treated.Customers), treated.SD, alpha/2, planned, false) +
			estimators.AsymptoticRadius(int(holdout.Customers), holdout.SD, alpha/2, planned, false))
	}
	return lift
}

func (m *Mean) around(radius float64) {
	low, high := m.Value-radius, m.Value+radius
	m.Low, m.High = &low, &high
}
