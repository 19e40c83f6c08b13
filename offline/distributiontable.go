package offline

import (
	"fmt"
	"strings"
)

// writeDistributions writes the quantiles and tails that were asked for.
func (r *Report) writeDistributions(b *strings.Builder) {
	var rows [][]string
	for i := range r.Results {
		rows = append(rows, r.Results[i].Distribution.lines(r.Results[i].Name)...)
	}
	writeLines(b, "candidate", r.Level, rows)
}

// writeDistribution writes them for a file.
func (r *FileReport) writeDistribution(b *strings.Builder) {
	writeLines(b, "policy", r.Level, append(r.Distribution.lines("candidate"), r.LoggedDistribution.lines("what ran")...))
}

func writeLines(b *strings.Builder, who string, level float64, rows [][]string) {
	if len(rows) > 0 {
		writeColumns(b, append([][]string{{who, "reward of a decision", fmt.Sprintf("value [%.0f%%]", 100*level)}}, rows...))
	}
}

func (d *Distribution) lines(name string) (rows [][]string) {
	switch {
	case d == nil:
		return nil
	case d.Problem != "":
		return [][]string{{name, "no distribution", d.Problem}}
	}
	for _, q := range d.Quantiles {
		rows = append(rows, []string{name, q.Name(), q.String()})
	}
	for _, t := range d.Tails {
		rows = append(rows, []string{name, t.Name(), fmt.Sprintf("%s [%s, %s]", number(t.Value), number(t.Low), number(t.High))})
	}
	if d.Note != "" {
		rows = append(rows, []string{name, "note", d.Note})
	}
	return rows
}

// Name says in words which quantile it is.
func (q *Quantile) Name() string {
	if q.P == 0.5 {
		return "median"
	}
	return fmt.Sprintf("quantile %g", q.P)
}

// String writes the value with its interval; an end beyond the thresholds is open.
func (q *Quantile) String() string {
	low, high := "…", "…"
	if q.Low != nil {
		low = number(*q.Low)
	}
	if q.High != nil {
		high = number(*q.High)
	}
	return fmt.Sprintf("%s [%s, %s]", number(q.Value), low, high)
}

// Name says in words which tail it is.
func (t *Tail) Name() string {
	which := "best"
	if t.Tail == tailWorst {
		which = "worst"
	}
	return fmt.Sprintf("mean of the %s %g%%", which, 100*t.Share)
}
