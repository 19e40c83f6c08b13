package offline

import (
	"context"
	"strings"
	"testing"

	"nextbest"
)

// armed gives the customers of a log to two arms in turn.
type armed struct{ *Simulation }

func (a armed) Rows(ctx context.Context, q nextbest.Query, f func(*nextbest.Batch) error) error {
	return a.Simulation.Rows(ctx, q, func(b *nextbest.Batch) error {
		for i, c := range b.Customer {
			b.Arm[i] = []string{"eager", "shy"}[c[len(c)-1]%2]
		}
		return f(b)
	})
}

// A report says which propensity weighs, and why where it makes a difference.
func TestReportNamesThePropensity(t *testing.T) {
	s := conversions()
	s.Customers = 300
	for _, c := range []struct {
		reader Reader
		own    bool
		kind   string
		warned bool
	}{{s, false, "mixture", false}, {s, true, "own", false}, {armed{s}, false, "mixture", false}, {armed{s}, true, "own", true}} {
		req := request(s, s.Best())
		req.Query.Own = c.own
		report := evaluated(t, c.reader, req)
		warned := strings.Contains(strings.Join(report.Warnings, "\n"), "2 arms ran and weights use the serving arm's own propensity")
		if report.Query.Propensity != c.kind || warned != c.warned {
			t.Errorf("own %v, %T: propensity %q, warnings %q", c.own, c.reader, report.Query.Propensity, report.Warnings)
		}
	}
}
