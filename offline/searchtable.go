package offline

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// WriteTable writes the search for a terminal: a line for each candidate, the
// best bound first, then why others were left out, the winner on the gate part
// and the verdict.
func (s *SearchReport) WriteTable(w io.Writer) error {
	var b strings.Builder
	for _, x := range []struct {
		name string
		*Part
	}{{"train", &s.Parts.Train}, {"select", &s.Parts.Select}, {"gate", &s.Parts.Gate}} {
		who := ""
		if x.Split != nil {
			who = fmt.Sprintf(", customers %s:%g:%g", x.Split.Salt, x.Split.From, x.Split.To)
		}
		fmt.Fprintf(&b, "%-6s  %s decisions, %s to %s%s\n", x.name, thousands(float64(x.Rows)), stamp(x.From), stamp(x.To), who)
	}
	fmt.Fprintf(&b, "%d candidates on select · δ/m = %s each · seed %d · %s\n", s.Tried, number(s.Each), s.Seed, s.Version)
	axis := emptySpan()
	for _, t := range s.Candidates {
		if t.Rank > 0 {
			axis.see(t.VsLogged.Low)
			axis.see(t.VsLogged.High)
		}
	}
	rows := [][]string{{"", "candidate", "value (DR)", fmt.Sprintf("against what ran [%.4g%%]", 100*(1-2*s.Each)), "", "ESS"}}
	order := slices.Clone(s.Candidates)
	slices.SortStableFunc(order, func(a, b Tried) int {
		if (a.Rank == 0) != (b.Rank == 0) {
			return b.Rank - a.Rank // those with a rank first
		}
		return a.Rank - b.Rank
	})
	for _, t := range order {
		row := []string{"", t.Name, "–", "", "", fmt.Sprintf("%.0f", t.ESS)}
		switch {
		case t.Rank > 0:
			row[0] = fmt.Sprint(t.Rank)
			row[3] = fmt.Sprintf("%s [%s, %s]", signed(t.VsLogged.Value), signed(t.VsLogged.Low), signed(t.VsLogged.High))
			row[4] = textAxis(axis).draw(t.VsLogged.Low, t.VsLogged.Value, t.VsLogged.High)
			if t.Value != nil {
				row[2] = number(t.Value.Value)
			}
		case t.Problem != "":
			row[3] = "FAILED"
		case len(t.Refusals) > 0:
			row[3] = "REFUSED: " + strings.ReplaceAll(t.Refusals[0].Code, "_", " ")
		default:
			row[3] = "no estimate"
		}
		rows = append(rows, row)
	}
	if f := s.Logged; f != nil {
		rows = append(rows, []string{"", "what ran", number(f.Value), "", "", ""})
	}
	if f := s.BestFixed; f != nil {
		rows = append(rows, []string{"", "best fixed", number(f.Value), "", "", ""})
	}
	writeColumns(&b, rows)
	said := map[string]bool{}
	once := func(line string) {
		if !said[line] {
			said[line] = true
			b.WriteString(line)
		}
	}
	for _, t := range s.Candidates {
		if t.Problem != "" {
			once(fmt.Sprintf("failed: %s.\n", t.Problem))
		}
		for _, f := range t.Refusals {
			once(fmt.Sprintf("refused: %s. Cure: %s.\n", f.Message, f.Cure))
		}
	}
	for _, n := range s.Warnings {
		once(fmt.Sprintf("note: %s.\n", n))
	}
	if x := s.Winner; x != nil {
		writeColumns(&b, [][]string{
			{"winner", x.Name},
			{"registered as", fmt.Sprintf("%s model %d", x.Policy, x.Model)},
			{"evidence", "evaluation " + x.Evaluation + ", on the gate part"},
			{"value (DR)", interval(x.Value)},
			{"against what ran", interval(x.VsLogged)},
			{"against the best fixed action", interval(x.VsBestFixed)},
			{"gate", x.Verdict},
		})
		if x.Experiment != "" {
			fmt.Fprintf(&b, "experiment %s is a draft of it against what is served; start it when you want it\n", x.Experiment)
		}
	}
	fmt.Fprintf(&b, "%s.\n", s.Verdict)
	_, err := io.WriteString(w, b.String())
	return err
}

// interval writes a figure with its interval.
func interval(f *Figure) string {
	if f == nil {
		return "–"
	}
	return fmt.Sprintf("%s [%s, %s]", number(f.Value), number(f.Low), number(f.High))
}
