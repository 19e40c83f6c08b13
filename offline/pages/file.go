package pages

import (
	"fmt"
	"math"
	"strings"

	"nextbest/offline"
)

// OfFile is the page of a log file's report.
func OfFile(r *offline.FileReport) (*Page, error) {
	numbers, err := numbersOf(r)
	if err != nil {
		return nil, err
	}
	p := &Page{Title: "Evaluation of " + r.File, Verdict: r.Verdict, State: fileState(r), Numbers: numbers, Notes: r.Warnings}
	units := r.Customers
	if r.Unit == "row" {
		units = r.Rows
	}
	d := &r.Diagnostics
	p.Facts = []Fact{
		{"rows", fmt.Sprint(r.Rows)}, {"unit of every interval", fmt.Sprintf("%s (%d)", r.Unit, units)},
		{"converting rows", fmt.Sprint(r.Log.Conversions)}, {"mean logged reward", short(r.Log.MeanReward)},
		{"rewards", fmt.Sprintf("%s, %s (%s)", r.Log.Rewards, interval(r.Log.RewardMin, r.Log.RewardMax), r.Log.RewardRange)},
		{"logger", r.Log.Logger}, {"effective sample size", short(d.ESS)}, {"largest weight", short(d.MaxWeight)},
		{"mean weight", fmt.Sprintf("%.4f (z %.2f)", d.MeanWeight, d.WeightZ)}, {"largest share of the estimate", percent(d.LargestShare)},
		{"matched conversions", short(d.MatchedConversions)}, {"interval", strings.ReplaceAll(r.Picked.Interval, "_", " ")},
	}
	for _, x := range r.Refusals {
		p.Refused = append(p.Refused, Reason{"", x})
	}
	for _, x := range r.Missing {
		p.Missing = append(p.Missing, Reason{"", x})
	}
	p.Notes = append([]string{"Interval picked for: " + r.Picked.Why}, p.Notes...)

	var marks []mark
	estimates := Table{Title: "Estimates", Head: []string{"estimator", "value", "standard error", fmt.Sprintf("%g%% interval", 100*r.Level), "method", "what that leaves out"}}
	for i := range r.Estimates {
		e := &r.Estimates[i]
		row := []string{e.Name, "–", "–", "–", "–", e.Note}
		if e.Value != nil {
			row[1] = short(*e.Value)
		}
		if e.StdErr != nil {
			row[2] = short(*e.StdErr)
		}
		if e.Low != nil {
			marks = append(marks, mark{name: e.Name, value: *e.Value, low: *e.Low, high: *e.High, point: true, refused: r.Refused()})
			row[3], row[4] = interval(*e.Low, *e.High), strings.ReplaceAll(e.Interval, "_", " ")
			if e.IntervalWhy != "" {
				row[4] += ": " + e.IntervalWhy
			}
		}
		estimates.Rows = append(estimates.Rows, row)
		p.Methods = append(p.Methods, Method{e.Name, e.Formula, e.Source, e.Note})
	}
	if b := r.Bounds; b != nil && b.Low != nil {
		marks = append(marks, mark{name: "bounds", low: *b.Low, high: *b.High})
		p.Methods = append(p.Methods, Method{"bounds", b.Formula, b.Source, "whatever the actions that were never tried are worth"})
	}
	p.Methods = append(p.Methods, intervalMethods...)
	if len(marks) > 0 {
		p.Charts = append(p.Charts, forest(marks, r.Log.MeanReward, "what ran", "value per row", "Estimates with their intervals"))
	}
	if c, ok := weightChart("", d.Weights, d.ESS, units, r.Unit); ok {
		p.Charts = append(p.Charts, c)
	}
	p.Tables = append(p.Tables, estimates)
	p.distributions([]namedDistribution{{"the candidate", r.Distribution}, {"what ran", r.LoggedDistribution}})
	p.actions(r)
	p.positions(r)
	return p, nil
}

func fileState(r *offline.FileReport) string {
	d := r.VsLogged
	switch {
	case r.Refused() || r.Picked.Interval == "normal":
		return "refused"
	case d == nil || d.Low == nil:
		return "open"
	case *d.Low > 0:
		return "good"
	case *d.High < 0:
		return "bad"
	}
	return "open"
}

// actions compares logger and candidate by action.
func (p *Page) actions(r *offline.FileReport) {
	t := Table{Title: "Overlap and calibration by action", Head: []string{"action", "rows", "conversions", "propensity", "least", "candidate", "Σ1/μ by rows", "z"},
		Note: "Propensity and candidate are means over the rows that took the action. Σ1/μ by rows is 1 on average where the action could always be taken and propensities are true, less where it could not always be."}
	var pairs []pair
	for _, a := range r.Diagnostics.Actions {
		z := "–"
		if a.Z != nil {
			z = fmt.Sprintf("%.2f", *a.Z)
		}
		t.Rows = append(t.Rows, []string{a.Action, fmt.Sprint(a.Rows), fmt.Sprint(a.Conversions), short(a.Propensity), short(a.LeastPropensity), short(a.Evaluation), fmt.Sprintf("%.3f", a.InverseMass), z})
		pairs = append(pairs, pair{a.Action, a.Propensity, a.Evaluation})
	}
	if len(pairs) > 0 {
		p.Charts = append(p.Charts, overlapChart("Overlap by action", "the logger", "the candidate", pairs))
		p.Tables = append(p.Tables, t)
	}
}

// positions draws the value of each slot.
func (p *Page) positions(r *offline.FileReport) {
	if len(r.Diagnostics.Positions) < 2 {
		return
	}
	t := Table{Title: "By position", Head: []string{"position", "rows", "mean weight", "IPS", "standard error by row"}}
	var marks []mark
	for _, s := range r.Diagnostics.Positions {
		se, row := "–", []string{fmt.Sprint(s.Position), fmt.Sprint(s.Rows), short(s.MeanWeight), short(s.IPS)}
		if s.StdErr != nil {
			se = short(*s.StdErr)
			marks = append(marks, mark{name: "position " + row[0], value: s.IPS, low: s.IPS - 2**s.StdErr, high: s.IPS + 2**s.StdErr, point: true, refused: true})
		}
		t.Rows = append(t.Rows, append(row, se))
	}
	if len(marks) > 0 {
		p.Charts = append(p.Charts, forest(marks, math.NaN(), "", "IPS per row, with two standard errors", "By position"))
	}
	p.Tables = append(p.Tables, t)
}

// intervalMethods say where the intervals are from.
var intervalMethods = []Method{
	{"empirical likelihood", "{v : 2Δℓ(v) ≤ χ²₁}, ℓ = max Σ log(1 + λ₁(w−1) + λ₂(wr−v))", "Karampatziakis et al. 2020, arXiv 1906.03323", "fixed loggers, a declared largest weight"},
	{"betting", "Σ log(1+λwr) − n log(1+λv) ≥ ln(1/δ)", "Waudby-Smith et al. 2022, arXiv 2210.10768", "any logger, any sample size, a declared range of rewards"},
	{"normal", "value ± z·se", "Cochran 1977, eq. 6.13", "many conversions only: too narrow while they are few"},
	{"effective sample size", "(Σw)²/Σw²", "Kish 1965", ""},
}
