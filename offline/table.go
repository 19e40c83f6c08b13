package offline

import (
	"fmt"
	"io"
	"strings"
)

// writeShown writes the estimates that were asked for; as in the table, none
// where a conclusion is refused.
func (r *Report) writeShown(b *strings.Builder) {
	rows := [][]string{{"candidate", "estimator", fmt.Sprintf("value [%.0f%%]", 100*r.Level), "interval"}}
	for i := range r.Results {
		x := &r.Results[i]
		for _, e := range x.Estimates {
			row := []string{x.Name, e.Estimator, "–", e.Problem}
			if e.Problem == "" && !x.Refused() {
				row[2], row[3] = fmt.Sprintf("%s [%s, %s]", number(e.Value), number(e.Low), number(e.High)), strings.ReplaceAll(e.Method, "_", " ")
			}
			rows = append(rows, row)
		}
	}
	if len(rows) > 1 {
		writeColumns(b, rows)
	}
}

// WriteTable writes the report for a terminal: one line for each policy, then
// refusals with their cures, and warnings.
func (r *Report) WriteTable(w io.Writer) error {
	head := []string{"candidate", "IPS", "SNIPS", "DM", fmt.Sprintf("DR [%.0f%%]", 100*r.Level), "", "ESS", "verdict"}
	rows := [][]string{head}
	axis := r.axis()
	for i := range r.Results {
		x := &r.Results[i]
		short := x.Verdict
		if x.Refused() {
			var codes []string
			for _, f := range x.Refusals {
				codes = append(codes, strings.ReplaceAll(f.Code, "_", " "))
			}
			short = "REFUSED: " + strings.Join(codes, ", ")
			if x.Bounds != nil {
				short += fmt.Sprintf("; bounds [%s, %s]", number(x.Bounds.Low), number(x.Bounds.High))
			}
		}
		row := []string{x.Name, "–", "–", "–", "–", "", fmt.Sprintf("%.0f", x.Diagnostics.ESS), short}
		if !x.Refused() { // numbers without a conclusion stay in the JSON
			for k, f := range []*Figure{x.IPS, x.SNIPS, x.DM} {
				if f != nil {
					row[1+k] = number(f.Value)
				}
			}
			if x.DR != nil {
				row[4] = fmt.Sprintf("%s [%s, %s]", number(x.DR.Value), number(x.DR.Low), number(x.DR.High))
				row[5] = axis.draw(x.DR.Low, x.DR.Value, x.DR.High)
			}
		}
		rows = append(rows, row)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s rows · %s customers · %s converting rows · seed %d · %s\n",
		thousands(float64(r.Log.Rows)), thousands(float64(r.Log.Customers)), thousands(float64(r.Log.Conversions)), r.Seed, r.Version)
	writeColumns(&b, rows)
	r.writeShown(&b)
	said := map[string]bool{}
	for _, x := range r.Results {
		for _, f := range x.Refusals {
			line := fmt.Sprintf("refused: %s. Cure: %s.\n", f.Message, f.Cure)
			if !said[line] {
				said[line] = true
				b.WriteString(line)
			}
		}
		for _, f := range x.Warnings {
			fmt.Fprintf(&b, "note: %s: %s.\n", x.Name, f)
		}
	}
	for _, f := range r.Warnings {
		fmt.Fprintf(&b, "note: %s.\n", f)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// axis spans the intervals that conclusions are drawn from.
func (r *Report) axis() textAxis {
	s := emptySpan()
	for i := range r.Results {
		if x := &r.Results[i]; !x.Refused() && x.DR != nil {
			s.see(x.DR.Low)
			s.see(x.DR.High)
			s.see(x.DR.Value)
		}
	}
	return textAxis(s)
}
