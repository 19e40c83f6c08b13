package offline

import (
	"fmt"
	"strings"
)

// writeDistributions writes the quantiles and tails that were asked for.
func (r *Report) writeDistributions(b *strings.Builder) {
	rows := [][]string{{"candidate", "reward of a decision", fmt.Sprintf("value [%.0f%%]", 100*r.Level)}}
	for i := range r.Results {
		x := &r.Results[i]
		d := x.Distribution
		if d == nil {
			continue
		}
		if d.Problem != "" {
			rows = append(rows, []string{x.Name, "no distribution", d.Problem})
			continue
		}
		for _, q := range d.Quantiles {
			rows = append(rows, []string{x.Name, q.Name(), q.String()})
		}
		for _, t := range d.Tails {
			rows = append(rows, []string{x.Name, t.Name(), fmt.Sprintf("%s [%s, %s]", number(t.Value), number(t.Low), number(t.High))})
		}
		if d.Note != "" {
			rows = append(rows, []string{x.Name, "note", d.Note})
		}
	}
	if len(rows) > 1 {
		writeColumns(b, rows)
	}
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
