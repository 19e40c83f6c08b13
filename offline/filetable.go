package offline

import (
	"fmt"
	"io"
	"strings"
)

// verdict is the report in one sentence.
func (r *FileReport) verdict() string {
	if r.Refused() {
		var why []string
		for _, x := range r.Refusals {
			why = append(why, x.Message)
		}
		v := "No conclusion: " + strings.Join(why, "; ")
		if r.Bounds != nil {
			v += fmt.Sprintf("; all that can be said is a value between %s and %s", number(*r.Bounds.Low), number(*r.Bounds.High))
		}
		return v + "."
	}
	var best *FileEstimate
	for _, name := range []string{"dr", "ips", "snips"} {
		if e, ok := r.Estimate(name); ok && e.Low != nil && e.Interval == r.Picked.Interval {
			best = e
			break
		}
	}
	if best == nil {
		for i := range r.Estimates {
			if r.Estimates[i].Low != nil {
				return fmt.Sprintf("No conclusion: none of DR, IPS and SNIPS has an interval of the kind that this log allows (%s); those shown are of other estimators or kinds.", strings.ReplaceAll(r.Picked.Interval, "_", " "))
			}
		}
		return "No conclusion: no interval could be had."
	}
	v := fmt.Sprintf("The candidate would have earned %s [%s, %s] per row by %s, where what ran earned %s",
		number(*best.Value), number(*best.Low), number(*best.High), strings.ToUpper(best.Estimator), number(r.Log.MeanReward))
	if d := r.VsLogged; d != nil && d.Low != nil {
		v += "; by the difference of " + strings.ToUpper(d.Estimator) + ", " + against(&Figure{Value: *d.Value, Low: *d.Low, High: *d.High}, "what ran")
	}
	if r.Picked.Interval == methodNormal {
		v += "; by normal intervals, a guide only"
	}
	return v + "."
}

// WriteTable writes the report for a terminal.
func (r *FileReport) WriteTable(w io.Writer) error {
	var b strings.Builder
	unit := "every row its own unit"
	if r.Unit == "customer" {
		unit = thousands(float64(r.Customers)) + " customers"
	}
	fmt.Fprintf(&b, "%s: %s rows · %s · %s converting rows · mean reward %s\n", r.File, thousands(float64(r.Rows)), unit, thousands(float64(r.Log.Conversions)), number(r.Log.MeanReward))
	fmt.Fprintf(&b, "%s\n\n", r.Verdict)
	axis := r.axis()
	rows := [][]string{{"estimator", "value", fmt.Sprintf("%.0f%% interval", 100*r.Level), "", "method"}}
	for i := range r.Estimates {
		e := &r.Estimates[i]
		row := []string{e.Name, "–", "–", "", ""}
		if e.Value != nil {
			row[1] = number(*e.Value)
		}
		if e.Low != nil {
			row[2], row[4] = fmt.Sprintf("[%s, %s]", number(*e.Low), number(*e.High)), strings.ReplaceAll(e.Interval, "_", " ")
			row[3] = axis.draw(*e.Low, *e.Value, *e.High)
		}
		rows = append(rows, row)
	}
	writeColumns(&b, rows)
	r.writeDistribution(&b)
	d := &r.Diagnostics
	fmt.Fprintf(&b, "\nESS %.0f of %s · largest weight %s · mean weight %.4f (z %.1f) · largest share %.1f%% · matched conversions %.1f\n",
		d.ESS, thousands(float64(d.Customers)), number(d.MaxWeight), d.MeanWeight, d.WeightZ, 100*d.LargestShare, d.MatchedConversions)
	fmt.Fprintf(&b, "interval: %s, for: %s\n", strings.ReplaceAll(r.Picked.Interval, "_", " "), r.Picked.Why)
	for i := range r.Estimates {
		switch e := &r.Estimates[i]; {
		case e.Low == nil, e.Note == "", e.Name == "ips", e.Name == "snips", e.Name == "dr":
		default:
			fmt.Fprintf(&b, "note: %s: %s.\n", e.Name, e.Note)
		}
	}
	for _, x := range r.Refusals {
		fmt.Fprintf(&b, "refused: %s. Cure: %s.\n", x.Message, x.Cure)
	}
	for _, x := range r.Missing {
		fmt.Fprintf(&b, "missing: %s. Cure: %s.\n", x.Message, x.Cure)
	}
	for _, x := range r.Warnings {
		fmt.Fprintf(&b, "note: %s.\n", x)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// axis spans all intervals.
func (r *FileReport) axis() textAxis {
	s := emptySpan()
	for i := range r.Estimates {
		if e := &r.Estimates[i]; e.Low != nil {
			s.see(*e.Low)
			s.see(*e.High)
			s.see(*e.Value)
		}
	}
	return textAxis(s)
}
