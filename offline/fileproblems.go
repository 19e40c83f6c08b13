package offline

import (
	"fmt"
	"strconv"
	"strings"

	"nextbest"
)

// shownRows is how many offending rows an error names.
const shownRows = 5

// rowProblems gathers what is wrong with single rows, by column and rule.
type rowProblems struct {
	line    int // of the row at hand, in the file; 0 where it has no lines
	columns map[string]fileColumn
	order   []rowRule
	found   map[rowRule]*rowFinding
}

type rowRule struct{ field, rule, cure string }

type rowFinding struct {
	count int64
	first []string
}

// add records that a row's value breaks a rule. row counts from 0.
func (p *rowProblems) add(rule rowRule, row int64, value string) {
	f := p.found[rule]
	if f == nil {
		if p.found == nil {
			p.found = map[rowRule]*rowFinding{}
		}
		f = &rowFinding{}
		p.found[rule] = f
		p.order = append(p.order, rule)
	}
	f.count++
	if len(f.first) < shownRows {
		where := fmt.Sprintf("row %d", row+1)
		if p.line > 0 {
			where += fmt.Sprintf(", line %d", p.line)
		}
		f.first = append(f.first, fmt.Sprintf("%s (%s)", where, value))
	}
}

// err returns nil, or one error that names every rule that was broken, the
// first rows that break it and how many there are. Rows count from 1,
// lines with the header's.
func (p *rowProblems) err(rows int64) error {
	var out nextbest.Problems
	for _, rule := range p.order {
		f := p.found[rule]
		field := rule.field
		if c, ok := p.columns[field]; ok && c.name != field {
			field = fmt.Sprintf("%s (column %s)", field, c.name)
		}
		more := ""
		if f.count > int64(len(f.first)) {
			more = ", …"
		}
		out = append(out, nextbest.Problem{Field: field, Cure: rule.cure,
			Message: fmt.Sprintf("%d of %d rows: %s: %s%s; rows count from 1", f.count, rows, rule.rule, strings.Join(f.first, ", "), more)})
	}
	return out.Err("the log file")
}

func floatText(v float64) string {
	if v != v {
		return "missing or not a number"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}
