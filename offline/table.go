package offline

import (
	"fmt"
	"io"
	"slices"
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
				if e.Unit != "" {
					row[2] += " per " + e.Unit
				}
				if e.Logged != nil {
					row[3] += "; what ran " + number(e.Logged.Value)
				}
			}
			rows = append(rows, row)
		}
	}
	if len(rows) > 1 {
		writeColumns(b, rows)
	}
	for i, e := range r.shown() {
		if e.leavesOut() && slices.IndexFunc(r.shown(), func(o Shown) bool { return o.Estimator == e.Estimator }) == i {
			fmt.Fprintf(b, "note: %s: %s.\n", e.Estimator, e.Note)
		}
	}
}

// shown are the estimates that were asked for, of every candidate.
func (r *Report) shown() (out []Shown) {
	for i := range r.Results {
		out = append(out, r.Results[i].Estimates...)
	}
	return out
}

// writeSegments writes the segments that were asked for.
func (r *Report) writeSegments(b *strings.Builder) {
	rows := [][]string{{"candidate", "segment", "rows", "what ran", fmt.Sprintf("DR [%.0f%%]", 100*r.Level), "against what ran"}}
	for i := range r.Results {
		x := &r.Results[i]
		for _, s := range x.Segments {
			row := []string{x.Name, s.By + " = " + s.Value, thousands(float64(s.Rows)), number(s.Logged), "–", ""}
			switch {
			case len(s.Refusals) > 0:
				row[5] = "REFUSED: " + strings.ReplaceAll(s.Refusals[0].Code, "_", " ")
			case x.Refused() || s.DR == nil:
			case s.VsLogged == nil:
				row[4], row[5] = fmt.Sprintf("%s [%s, %s]", number(s.DR.Value), number(s.DR.Low), number(s.DR.High)), s.Note
			default:
				row[4] = fmt.Sprintf("%s [%s, %s]", number(s.DR.Value), number(s.DR.Low), number(s.DR.High))
				row[5] = fmt.Sprintf("%s [%s, %s]", signed(s.VsLogged.Value), signed(s.VsLogged.Low), signed(s.VsLogged.High))
			}
			rows = append(rows, row)
		}
	}
	if len(rows) > 1 {
		writeColumns(b, rows)
	}
}

// writeTree writes the tree that was asked for, and what each action adds.
func (r *Report) writeTree(b *strings.Builder) {
	t := r.Tree
	switch {
	case t == nil:
		return
	case t.Problem != "":
		fmt.Fprintf(b, "no tree: %s\n", t.Problem)
		return
	}
	rows := [][]string{{"for whom", "best action", "rows", "value", "over nothing"}}
	for _, l := range t.Leaves {
		when := strings.Join(l.When, " and ")
		if when == "" {
			when = "everybody"
		}
		row := []string{when, l.Action, thousands(float64(l.Rows)), "–", "–"}
		if l.Value != nil {
			row[3] = fmt.Sprintf("%s [%s, %s]", number(l.Value.Value), number(l.Value.Low), number(l.Value.High))
		}
		if l.Gain != nil {
			row[4] = fmt.Sprintf("%s [%s, %s]", signed(l.Gain.Value), signed(l.Gain.Low), signed(l.Gain.High))
		}
		rows = append(rows, row)
	}
	writeColumns(b, rows)
	if t.Gain != nil {
		fmt.Fprintf(b, "the tree over always %s: %s [%s, %s] on %s rows that it was not grown on\n", t.BestAction, signed(t.Gain.Value), signed(t.Gain.Low), signed(t.Gain.High), thousands(float64(t.Valued)))
	}
}

// WriteTable writes the report for a terminal: one line for each policy, then
// refusals with their cures, and warnings.
func (r *Report) WriteTable(w io.Writer) error {
	head := []string{"candidate", "IPS", "SNIPS", "DM", fmt.Sprintf("%s [%.0f%%]", r.MainName(), 100*r.Level), "", "ESS", "verdict"}
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
		row := []string{r.Label(x), "–", "–", "–", "–", "", fmt.Sprintf("%.0f", x.Diagnostics.ESS), short}
		if !x.Refused() { // numbers without a conclusion stay in the JSON
			for k, f := range []*Figure{x.IPS, x.SNIPS, x.DM} {
				if f != nil {
					row[1+k] = number(f.Value)
				}
			}
			if f := x.Main(); f != nil {
				row[4] = fmt.Sprintf("%s [%s, %s]", number(f.Value), number(f.Low), number(f.High))
				row[5] = axis.draw(f.Low, f.Value, f.High)
			}
		}
		rows = append(rows, row)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s rows · %s customers · %s converting rows · seed %d · %s\n",
		thousands(float64(r.Log.Rows)), thousands(float64(r.Log.Customers)), thousands(float64(r.Log.Conversions)), r.Seed, r.Version)
	writeColumns(&b, rows)
	r.writeGates(&b)
	r.writeComparisons(&b)
	r.writeShown(&b)
	r.writeDistributions(&b)
	r.writeSegments(&b)
	r.writeTree(&b)
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
		if x := &r.Results[i]; !x.Refused() && x.Main() != nil {
			s.see(x.Main().Low)
			s.see(x.Main().High)
			s.see(x.Main().Value)
		}
	}
	return textAxis(s)
}
