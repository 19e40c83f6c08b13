package offline

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"nextbest"
	"nextbest/estimators"
)

// forgetful is a candidate that lacks something on a share of the rows, chosen
// by their ids.
type forgetful struct {
	Candidate
	share float64
	err   error
}

type lacks struct{ error }

func (lacks) Unanswered() {}

func (f forgetful) Distribution(p []float64, b *nextbest.Batch, row int) error {
	if nextbest.Uniform("forgetful", b.Decision[row].String()) < f.share {
		return f.err
	}
	return f.Candidate.Distribution(p, b, row)
}

func TestRunCountsUnansweredRows(t *testing.T) {
	s := conversions()
	full := get(t, evaluated(t, s, request(s, s.Best())), "best")
	for _, share := range []float64{0.005, 0.05} {
		x := get(t, evaluated(t, s, request(s, forgetful{s.Best(), share, lacks{errors.New("context.recency is missing")}})), "best")
		rows := float64(s.Customers * s.Each)
		if got, se := float64(x.Unanswered), math.Sqrt(rows*share*(1-share)); math.Abs(got-rows*share) > 4*se {
			t.Errorf("%g: %g rows are said to lack something, want about %g", share, got, rows*share)
		}
		u := float64(x.Unanswered) / rows
		if share > 0.01 {
			refused := slices.ContainsFunc(x.Refusals, func(r estimators.Refusal) bool {
				return r.Code == estimators.RefusedUnanswered && strings.Contains(r.Message, "context.recency is missing") && r.Cure != ""
			})
			if !refused || len(x.Refusals) != 1 || x.DR != nil || x.Bounds == nil || x.Gate != nil && x.Gate.Passed {
				t.Errorf("%g: refusals %+v, DR %v, bounds %v", share, x.Refusals, x.DR, x.Bounds)
				continue
			}
			if v := s.Best().Value(); !(x.Bounds.Low <= v && v <= x.Bounds.High) || x.Bounds.High-x.Bounds.Low < u {
				t.Errorf("%g: bounds %+v, truth %g", share, *x.Bounds, v)
			}
			continue
		}
		if x.Refused() || !strings.Contains(strings.Join(x.Warnings, "\n"), "cannot be asked about") {
			t.Errorf("%g: refusals %+v, warnings %q", share, x.Refusals, x.Warnings)
		}
		// Whatever the lacking rows earn, from nothing to 1 each, is inside.
		known := full.DR.Value
		if !(x.DR.Low <= known-u && known+u <= x.DR.High) || !(x.VsLogged.High-x.VsLogged.Low >= full.VsLogged.High-full.VsLogged.Low+u) {
			t.Errorf("%g: DR %+v against %+v with all rows, %g unanswered", share, *x.DR, *full.DR, u)
		}
		// The gate takes the least possible reward for them.
		if drop := full.Gate.Lower - x.Gate.Lower; drop < 0 {
			t.Errorf("%g: the gate rose from %g to %g", share, full.Gate.Lower, x.Gate.Lower)
		}
	}
	req := request(s, forgetful{s.Best(), 0.005, errors.New("broken")})
	if _, err := Run(t.Context(), s, req, nil); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("any other error must end the evaluation: %v", err)
	}
}

// Segments have room for their own unanswered rows, and are refused above the
// limit for what these are, however few the whole log has.
func TestSegmentsCountUnansweredRows(t *testing.T) {
	s := conversions()
	s.Each = 3 // four days
	ask := func(c Candidate) *Result {
		req := request(s, c)
		req.Segments = []string{"day", "policy"}
		return get(t, evaluated(t, s, req), "best")
	}
	full := ask(s.Best())
	missing := lacks{errors.New("context.recency is missing")}
	some := ask(forgetful{s.Best(), 0.005, missing})
	total := map[string]int64{}
	for i, x := range some.Segments {
		before := full.Segments[i]
		u := float64(x.Unanswered) / float64(x.Rows)
		total[x.By] += x.Unanswered
		if len(x.Refusals) > 0 || x.Value != before.Value {
			t.Fatalf("%s %s: %+v, before %s", x.By, x.Value, x.Refusals, before.Value)
		}
		if u == 0 || u > 0.01 {
			t.Errorf("%s %s: %d of %d rows unanswered", x.By, x.Value, x.Unanswered, x.Rows)
		}
		if !(x.DR.Low <= before.DR.Value-u && before.DR.Value+u <= x.DR.High) || !(x.VsLogged.High-x.VsLogged.Low >= before.VsLogged.High-before.VsLogged.Low+u) {
			t.Errorf("%s %s: DR %+v against %+v with all rows, %g unanswered", x.By, x.Value, *x.DR, *before.DR, u)
		}
	}
	if total["day"] != some.Unanswered || total["policy"] != some.Unanswered {
		t.Errorf("%v unanswered rows in the segments, %d in all", total, some.Unanswered)
	}
	// All of the lacking rows are on the first day.
	first := ask(until{s.Best(), simulationStart.UnixMicro() + 25*8640*1000, missing})
	for _, x := range first.Segments {
		refused := slices.ContainsFunc(x.Refusals, func(r estimators.Refusal) bool { return r.Code == estimators.RefusedUnanswered })
		if refused {
			t.Errorf("%s %s: 25 rows of %d are no reason to refuse: %+v", x.By, x.Value, x.Rows, x.Refusals)
		}
	}
	first = ask(until{s.Best(), simulationStart.UnixMicro() + 150*8640*1000, missing})
	for _, x := range first.Segments {
		want := x.By == "day" && x.Value == "2026-01-05"
		refused := len(x.Refusals) == 1 && x.Refusals[0].Code == estimators.RefusedUnanswered && x.DR == nil
		if refused != want || !want && len(x.Refusals) > 0 {
			t.Errorf("%s %s: %d of %d unanswered, refusals %+v", x.By, x.Value, x.Unanswered, x.Rows, x.Refusals)
		}
	}
}

// until lacks something on all rows before a time.
type until struct {
	Candidate
	before int64
	err    error
}

func (u until) Distribution(p []float64, b *nextbest.Batch, row int) error {
	if b.Time[row] < u.before {
		return u.err
	}
	return u.Candidate.Distribution(p, b, row)
}
