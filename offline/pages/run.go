package pages

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"

	"nextbest/offline"
)

// OfRun is the page of an evaluation on the platform's log.
func OfRun(r *offline.Report) (*Page, error) {
	numbers, err := numbersOf(r)
	if err != nil {
		return nil, err
	}
	p := &Page{Title: "Evaluation at " + r.Query.Placement, Numbers: numbers, State: "open"}
	l := &r.Log
	p.Facts = []Fact{
		{"rows", fmt.Sprint(l.Rows)}, {"customers (the unit of every interval)", fmt.Sprint(l.Customers)}, {"converting rows", fmt.Sprint(l.Conversions)},
		{"mean logged reward", short(l.MeanReward)}, {"rewards", fmt.Sprintf("%s (%s)", interval(l.RewardMin, l.RewardMax), l.RewardRange)},
		{"decisions", l.First.Format(time.DateTime) + " to " + l.Last.Format(time.DateTime)}, {"mature at", r.Query.MatureAt.Format(time.DateTime)},
		{"up to journal position", fmt.Sprint(r.Query.Upto)}, {"propensity", r.Query.Propensity}, {"sample ratio", sampleRatio(&l.SampleRatio)}, {"seed", fmt.Sprint(r.Seed)}, {"method", r.Version},
		{"intervals", strings.ReplaceAll(r.Picked.Interval, "_", " ") + ": " + r.Picked.Why},
	}
	if r.Blocks != "" {
		p.Facts = append(p.Facts, Fact{"reward model", r.Blocks})
	}
	p.Notes = append(slices.Clone(r.Warnings), r.Assumption)
	var states []string
	estimates := Table{Title: "Estimates", Head: []string{"policy", "IPS", "SNIPS", "DM", fmt.Sprintf("%s, %g%% interval", r.MainName(), 100*r.Level), "against what ran", "against the best fixed action", "gate", "ESS"}}
	var values, lifts []mark
	for i := range r.Results {
		x := &r.Results[i]
		if !x.Baseline {
			p.Verdicts = append(p.Verdicts, x.Name+": "+x.Verdict)
			if text := r.BothTrue(x); text != "" {
				p.Verdicts = append(p.Verdicts, x.Name+", gate: "+r.GateText(x)+" – "+text)
			}
			states = append(states, runState(x))
		}
		estimates.Rows = append(estimates.Rows, resultRow(r, x))
		for _, f := range x.Refusals {
			p.Refused = append(p.Refused, Reason{x.Name, f})
		}
		for _, n := range x.Warnings {
			p.Notes = append(p.Notes, x.Name+": "+n)
		}
		if m, ok := markOf(x, firstOf(x.Main(), x.IPS, x.Bounds)); ok {
			values = append(values, m)
		}
		if m, ok := markOf(x, x.VsLogged); ok {
			lifts = append(lifts, m)
		}
	}
	if text := r.BesideFixed(); text != "" {
		p.Verdicts = append(p.Verdicts, text)
	}
	p.State = stateOf(states)
	if len(values) > 0 {
		p.Charts = append(p.Charts, forest(values, l.MeanReward, "what ran", "value per decision", "Values with their intervals"))
	}
	if len(lifts) > 0 {
		p.Charts = append(p.Charts, forest(lifts, 0, "no difference", "value minus that of what ran", "Lift over what ran"))
	}
	p.Tables = append(p.Tables, estimates)
	p.comparisons(r)
	p.others(r)
	p.whom(r)
	var all []namedDistribution
	for i := range r.Results {
		all = append(all, namedDistribution{r.Results[i].Name, r.Results[i].Distribution})
	}
	p.distributions(all)
	if err := p.candidates(r); err != nil {
		return nil, err
	}
	if c, ok := calibrationChart(r.Cells, l.CalibrationLimit); ok {
		p.Charts = append(p.Charts, c)
	}
	p.arms(&l.SampleRatio)
	if r.MainName() != "DR" {
		p.Methods = append(p.Methods, Method{r.MainName(), "Σhφ/Σh, φ = q_π + w(r−q)", "Hadad et al. 2021, arXiv 1911.02768", "reward model and h from earlier blocks of time alone"})
	}
	p.Methods = append(append(slices.Clone(runMethods), p.Methods...), intervalMethods...)
	return p, nil
}

// sampleRatio says whether customers fell to the arms in the logged shares.
func sampleRatio(r *offline.SampleRatio) string {
	switch {
	case !r.Checked:
		return "not checked: no arms with shares"
	case r.Failed:
		return "failed"
	}
	return "as logged"
}

// arms adds how customers fell to the arms.
func (p *Page) arms(r *offline.SampleRatio) {
	t := Table{Title: "Customers by arm", Note: "Each customer counts once, by its first row.", Head: []string{"experiment", "arm", "share", "expected", "observed", "p"}}
	for _, x := range r.Splits {
		in := x.Experiment
		if in == "" {
			in = "–"
		}
		for _, a := range x.Arms {
			t.Rows = append(t.Rows, []string{in, a.Arm, short(a.Share), fmt.Sprintf("%.0f", a.Expected), fmt.Sprint(a.Observed), short(x.PValue)})
		}
	}
	p.table(t)
}

// comparisons adds how every two candidates compare.
func (p *Page) comparisons(r *offline.Report) {
	t := Table{Title: "Candidates compared", Note: "The difference of the two on the same customers, each interval for its pair alone.",
		Head: []string{"candidate", "other", fmt.Sprintf("difference, %g%% interval", 100*r.Level), "method"}}
	var marks []mark
	for _, c := range r.Comparisons {
		d := c.Difference
		if d == nil {
			t.Rows = append(t.Rows, []string{c.Candidate, c.Other, "–", c.Problem})
			continue
		}
		t.Rows = append(t.Rows, []string{c.Candidate, c.Other, short(d.Value) + " " + interval(d.Low, d.High), strings.ReplaceAll(d.Method, "_", " ")})
		marks = append(marks, mark{name: c.Candidate + " − " + c.Other, value: d.Value, low: d.Low, high: d.High, point: true})
	}
	p.table(t)
	if n := len(marks); n > 0 && n <= mostMarks {
		p.Charts = append(p.Charts, forest(marks, 0, "no difference", "value minus that of the other", "Candidates compared"))
	}
}

// others adds the estimators that were asked for beside the usual ones.
func (p *Page) others(r *offline.Report) {
	t := Table{Title: "Other estimators", Head: []string{"policy", "estimator", "value", fmt.Sprintf("%g%% interval", 100*r.Level), "method", "what that leaves out"}}
	named := map[string]bool{}
	for i := range r.Results {
		x := &r.Results[i]
		for _, s := range x.Estimates {
			row := []string{x.Name, s.Estimator, short(s.Value), interval(s.Low, s.High), strings.ReplaceAll(s.Method, "_", " "), s.Note}
			if s.Unit != "" {
				row[1] += ", per " + s.Unit
			}
			if s.Logged != nil {
				row[4] += "; what ran: " + short(s.Logged.Value) + " " + interval(s.Logged.Low, s.Logged.High)
			}
			if s.Problem != "" {
				row = []string{x.Name, s.Estimator, "–", "–", s.Problem, ""}
			}
			t.Rows = append(t.Rows, row)
			if !named[s.Estimator] {
				named[s.Estimator] = true
				p.Methods = append(p.Methods, Method{Name: s.Estimator, Formula: s.Formula, Source: s.Source})
			}
		}
	}
	p.table(t)
}

// candidates adds the charts of each candidate.
func (p *Page) candidates(r *offline.Report) error {
	for i := range r.Results {
		x := &r.Results[i]
		if x.Baseline {
			continue
		}
		if c, ok, err := valueOverTime(x); err != nil {
			return err
		} else if ok {
			p.Charts = append(p.Charts, c)
		}
		if c, ok := weightChart(" of "+x.Name, x.Weights, x.Diagnostics.ESS, x.Diagnostics.Customers, "customer"); ok {
			p.Charts = append(p.Charts, c)
		}
		var pairs []pair
		for _, a := range r.Overlap {
			if i < len(a.Candidates) {
				pairs = append(pairs, pair{a.Action, a.Logged, a.Candidates[i]})
			}
		}
		slices.SortStableFunc(pairs, func(a, b pair) int { return int(math.Copysign(1, b.logged-a.logged)) })
		if len(pairs) > 0 {
			p.Charts = append(p.Charts, overlapChart("Overlap by action: "+x.Name, "what ran", x.Name, pairs))
		}
	}
	return nil
}

// valueOverTime draws the value as the log grew.
func valueOverTime(x *offline.Result) (Chart, bool, error) {
	if len(x.Days) < 2 {
		return Chart{}, false, nil
	}
	all := []series{{name: x.Name + ", DR"}, {name: "what ran"}, {name: x.Name + ", IPS"}}
	for _, d := range x.Days {
		at, err := time.Parse(time.DateOnly, d.Day)
		if err != nil {
			return Chart{}, false, err
		}
		for k, v := range []float64{d.DR, d.Logged, d.IPS} {
			all[k].points = append(all[k].points, plotter.XY{X: float64(at.Unix()), Y: v})
		}
	}
	p := newPlot("", "mean so far")
	p.X.Tick.Marker = plot.TimeTicks{Format: time.DateOnly}
	last := x.Days[len(x.Days)-1]
	c, err := lines(all, p, 720, 260, "Cumulative value over time: "+x.Name,
		fmt.Sprintf("Mean reward of all decisions up to each day, from %s to %s: at the end DR %s, IPS %s, what ran %s.", x.Days[0].Day, last.Day, short(last.DR), short(last.IPS), short(last.Logged)))
	return c, err == nil, err
}

// whole is a figure with its interval and how that was made.
func whole(f *offline.Figure) string {
	if f == nil {
		return "–"
	}
	return short(f.Value) + " " + interval(f.Low, f.High) + " " + strings.ReplaceAll(f.Method, "_", " ")
}

func firstOf(figures ...*offline.Figure) *offline.Figure {
	for _, f := range figures {
		if f != nil {
			return f
		}
	}
	return nil
}

func markOf(x *offline.Result, f *offline.Figure) (mark, bool) {
	if f == nil {
		return mark{}, false
	}
	return mark{name: x.Name, value: f.Value, low: f.Low, high: f.High, point: f.Method != "manski", refused: x.Refused()}, true
}

func resultRow(r *offline.Report, x *offline.Result) []string {
	value := func(f *offline.Figure) string {
		if f == nil {
			return "–"
		}
		return short(f.Value)
	}
	gate := "–"
	if x.Gate != nil {
		gate = r.GateText(x)
		if len(r.Comparisons) > 0 && x.Gate.Discovered {
			gate += "; named by e-BH"
		}
	}
	dr := whole(x.Main())
	if x.Bounds != nil {
		dr = "between " + interval(x.Bounds.Low, x.Bounds.High)
	}
	return []string{r.Label(x), value(x.IPS), value(x.SNIPS), value(x.DM), dr, whole(x.VsLogged), whole(x.VsBestFixed), gate, short(x.Diagnostics.ESS)}
}

// runState is good where a candidate is better than what ran, and not shown to be
// worse than the best fixed action, which is easier to have.
func runState(x *offline.Result) string {
	switch {
	case x.Refused():
		return "refused"
	case x.VsLogged == nil:
		return "open"
	case x.VsLogged.Low > 0 && x.VsBestFixed != nil && x.VsBestFixed.High < 0:
		return "open"
	case x.VsLogged.Low > 0:
		return "good"
	case x.VsLogged.High < 0:
		return "bad"
	}
	return "open"
}

// stateOf is the state of several candidates: good where any is, else that of all
// where they agree.
func stateOf(states []string) string {
	switch {
	case slices.Contains(states, "good"):
		return "good"
	case len(states) > 0 && !slices.ContainsFunc(states, func(s string) bool { return s != states[0] }):
		return states[0]
	}
	return "open"
}

var runMethods = []Method{
	{"IPS", "M[wr]", "Horvitz & Thompson 1952", "unbiased under full support"},
	{"SNIPS", "Σwr/Σw", "Swaminathan & Joachims 2015", "consistent; bounded by the rewards"},
	{"DM", "M[q_π]", "direct method", "as biased as the model is wrong"},
	{"DR", "M[q_π + w(r−q)]", "Dudík et al. 2011, arXiv 1103.4601", "right when propensities or model are"},
	{"gate", "bet on (w−1)r − v", "Waudby-Smith et al. 2022, arXiv 2210.10768", "a one-sided bound on the gain over what ran"},
	{"e-BH", "the k largest with e ≥ m/(kδ)", "Wang & Ramdas 2022, arXiv 2009.02824", "at most δ of the candidates it names are expected not to be better than what ran"},
	{"bounds", "[lower(V_S) + U r_min, upper(V_S) + U r_max]", "Manski 1990", "whatever the actions that were never tried are worth"},
	{"sample ratio", "mean_c B(cθ+n)/B(cθ) Π θ^−n", "Lindon & Malek 2022, arXiv 2011.03567", "a customer counts once, by its first row"},
	{"calibration", "Σ(1{a}−μ)/√Σμ(1−μ)", "normal, Bonferroni over the cells", "cells with Σμ ≥ 25"},
}
