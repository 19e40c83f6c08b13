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

// slotted makes every second row of a customer the later slot of the row before.
type slotted struct{ *Simulation }

func (s slotted) Rows(ctx context.Context, q nextbest.Query, f func(*nextbest.Batch) error) error {
	return s.Simulation.Rows(ctx, q, func(b *nextbest.Batch) error {
		for i := 1; i < b.N(); i += 2 {
			if b.Customer[i] == b.Customer[i-1] {
				b.Decision[i] = b.Decision[i-1]
			}
		}
		return f(b)
	})
}

// A report over several slots says what its values are of.
func TestReportOfSlots(t *testing.T) {
	s := conversions()
	s.Customers, s.Each = 300, 2
	for reader, want := range map[Reader]bool{s: false, slotted{s}: true} {
		report := evaluated(t, reader, request(s, s.Best()))
		if got := strings.Contains(strings.Join(report.Warnings, "\n"), "of 600 rows are later slots of a decision"); got != want {
			t.Errorf("%T: warnings %q", reader, report.Warnings)
		}
	}
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
