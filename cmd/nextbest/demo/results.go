package demo

import (
	"fmt"

	"nextbest/experiments"
	"nextbest/offline"
)

// RetailerResult is what the story came to, as --json prints it.
type RetailerResult struct {
	Week       Week         `json:"week"`
	Evaluation string       `json:"evaluation"` // id
	Offline    []OfflineRow `json:"offline"`
	RulesOnly  []OfflineRow `json:"rules_only"` // the same candidates on a log without exploration
	Live       []LiveRow    `json:"live"`
	Promotions []Promotion  `json:"promotions"`
	Verify     Verified     `json:"verify"`
}

// Week is the traffic of the first week.
type Week struct {
	Decisions   int     `json:"decisions"`
	Impressions int     `json:"impressions"`
	Rewards     int     `json:"rewards"`
	DoNothing   float64 `json:"do_nothing"` // share of decisions
}

// Interval is an estimate with its 95% interval; the ends are null where the
// platform gives none.
type Interval struct {
	Value float64  `json:"value"`
	Low   *float64 `json:"low"`
	High  *float64 `json:"high"`
}

// String writes the estimate and its interval.
func (i Interval) String() string {
	if i.Low == nil || i.High == nil {
		return fmt.Sprintf("%.4f [too few]", i.Value)
	}
	return fmt.Sprintf("%.4f [%.4f, %.4f]", i.Value, *i.Low, *i.High)
}

// LiveRow is one arm of an experiment.
type LiveRow struct {
	Experiment string    `json:"experiment"`
	Arm        string    `json:"arm"`
	Customers  int       `json:"customers"`
	Live       Interval  `json:"live"`
	Promised   *Interval `json:"promised"`
	Truth      float64   `json:"truth"` // the simulator's, per decision
}

// Promotion is how one request for promotion ended.
type Promotion struct {
	Experiment string   `json:"experiment"`
	Policy     string   `json:"policy"`
	Status     string   `json:"status"` // promoted or refused
	Passed     int      `json:"passed"`
	Gates      int      `json:"gates"`
	Why        []string `json:"why"`
}

// Verified is what the replay found.
type Verified struct {
	Checked   int64 `json:"checked"`
	Identical int64 `json:"identical"`
}

// OfflineRow is one policy's evaluation on a log.
type OfflineRow struct {
	Name     string    `json:"name"`
	Value    *Interval `json:"value"` // doubly robust value per decision; null where the log cannot say
	ESS      float64   `json:"ess"`
	Verdict  string    `json:"verdict"`
	Refusals []string  `json:"refusals"`
}

func (r OfflineRow) estimate() string {
	if r.Value == nil {
		return "–"
	}
	return r.Value.String()
}

// offlineRows shortens a report to what the story tells.
func offlineRows(report *offline.Report) []OfflineRow {
	var rows []OfflineRow
	for _, r := range report.Results {
		row := OfflineRow{Name: r.Name, ESS: r.Diagnostics.ESS, Verdict: r.Verdict, Refusals: []string{}}
		if f := r.Main(); f != nil && !r.Refused() {
			row.Value = &Interval{Value: f.Value, Low: &f.Low, High: &f.High}
		}
		for _, f := range r.Refusals {
			row.Refusals = append(row.Refusals, f.Message+"; "+f.Cure)
		}
		rows = append(rows, row)
	}
	return rows
}

// liveRows puts an experiment's arms beside what was promised and what is true.
func liveRows(id string, e *experiments.Evidence, truths map[string]*truth) []LiveRow {
	var rows []LiveRow
	for _, a := range e.Arms {
		row := LiveRow{Experiment: id, Arm: a.Arm, Customers: a.Customers}
		if v := a.ValuePerDecision; v != nil {
			row.Live = Interval{Value: v.Value, Low: v.Low, High: v.High}
		}
		if a.Promised != nil {
			row.Promised = &Interval{Value: a.Promised.Value, Low: a.Promised.Low, High: a.Promised.High}
		}
		if t := truths[a.Arm]; t != nil {
			row.Truth = t.Orders / float64(t.Decisions)
		}
		rows = append(rows, row)
	}
	return rows
}
