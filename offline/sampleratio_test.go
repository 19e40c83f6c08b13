package offline

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"nextbest"
	"nextbest/estimators"
)

// visit is one row of a customer.
type visit struct {
	customer, experiment, arm string
	shares                    *nextbest.ArmShares
}

// ratioOf is the check of rows in order of customers.
func ratioOf(q nextbest.Query, visits ...visit) SampleRatio {
	s := newSampleRatio(&q)
	b := &nextbest.Batch{}
	for i, v := range visits {
		b.Experiment, b.Arm, b.Shares = append(b.Experiment, v.experiment), append(b.Arm, v.arm), append(b.Shares, v.shares)
		if i == 0 || v.customer != visits[i-1].customer {
			s.open()
		}
		s.row(b, i)
	}
	return s.judge()
}

func counts(r SampleRatio) string {
	var out []string
	for _, x := range r.Splits {
		text := x.Experiment + ":"
		for _, a := range x.Arms {
			text += fmt.Sprintf(" %s %.3g %d/%.3g", a.Arm, a.Share, a.Observed, a.Expected)
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}

// Each customer counts once as held out or not, and once in each experiment, by
// its first row; shares are those of the arms that the query selects.
func TestSampleRatioCounts(t *testing.T) {
	three := &nextbest.ArmShares{Arms: []string{"holdout", "a", "b"}, Shares: []float64{0.2, 0.2, 0.6}}
	grown := &nextbest.ArmShares{Arms: []string{"holdout", "a", "b"}, Shares: []float64{0.5, 0.125, 0.375}}
	outside := &nextbest.ArmShares{Arms: []string{"holdout", ""}, Shares: []float64{0.2, 0.8}}
	visits := []visit{
		{"1", "e@1", "a", three}, {"1", "e@1", "a", three}, {"1", "", "holdout", grown},
		{"2", "", "holdout", three},
		{"3", "", "", outside}, {"3", "e@1", "b", grown}, {"3", "f@1", "a", three}, {"3", "f@1", "a", three},
		{"4", "e@1", "b", three}, {"4", "e@1", "b", grown}, {"4", "e@1", "b", three},
		{"5", "", "", nil}, {"5", "e@1", "b", three},
		{"6", "", "", nil},
	}
	for _, c := range []struct {
		query nextbest.Query
		want  string
	}{
		{nextbest.Query{}, ": holdout 0.2 1/1 not held out 0.8 4/4; e@1: a 0.25 1/1 b 0.75 3/3; f@1: a 0.25 1/0.25 b 0.75 0/0.75"},
		{nextbest.Query{SkipHeld: true}, "e@1: a 0.25 1/1 b 0.75 3/3; f@1: a 0.25 1/0.25 b 0.75 0/0.75"},
		{nextbest.Query{Arms: []string{"b"}}, ""},
		{nextbest.Query{Arms: []string{"holdout", "b"}}, ""},
		{nextbest.Query{Arms: []string{"holdout", "a", "b"}}, "e@1: a 0.25 1/1 b 0.75 3/3; f@1: a 0.25 1/0.25 b 0.75 0/0.75"},
	} {
		var rows []visit
		for _, v := range visits {
			s := newSampleRatio(&c.query)
			if s.selects(v.arm) {
				rows = append(rows, v)
			}
		}
		r := ratioOf(c.query, rows...)
		if got := counts(r); got != c.want || r.Checked != (c.want != "") || r.Failed {
			t.Errorf("%+v: %s, want %s", c.query, got, c.want)
		}
	}
	impossible := ratioOf(nextbest.Query{}, visit{"1", "e@1", "b", &nextbest.ArmShares{Arms: []string{"a", "b"}, Shares: []float64{1, 0}}})
	if !impossible.Failed || impossible.Splits[0].PValue != 0 {
		t.Errorf("a customer of an arm without a share: %+v", impossible)
	}
}

// multinomial draws how n customers fall to arms.
func multinomial(rng *rand.Rand, n int, shares, kept []float64) []int {
	out := make([]int, len(shares))
	for range n {
		u, k := rng.Float64(), 0
		for k < len(shares)-1 && u >= shares[k] {
			u -= shares[k]
			k++
		}
		if kept == nil || rng.Float64() < kept[k] {
			out[k]++
		}
	}
	return out
}

// Healthy logs are accused at most as often as the level says, though the same log
// is judged 20 times as it grows; an arm that lost 5% of its customers is found.
func TestSampleRatioFalseAlarmsAndPower(t *testing.T) {
	const logs, looks, step, level = 2000, 20, 150, 0.05
	rng := rand.New(rand.NewPCG(31, 1))
	settings := []struct {
		experiment string
		shares     []float64
	}{{"", []float64{0.05, 0.95}}, {"e@1", []float64{0.5, 0.5}}, {"f@1", []float64{0.1, 0.45, 0.45}}}
	alarms := 0
	for range logs {
		s, alarm := newSampleRatio(&nextbest.Query{}), false
		for range looks {
			for _, x := range settings {
				split := s.at(x.experiment, make([]string, len(x.shares)), x.shares)
				for k, n := range multinomial(rng, step, x.shares, nil) {
					split.counts[k] += n
				}
			}
			alarm = alarm || s.judge().Splits[0].PValue <= level
		}
		if alarm {
			alarms++
		}
	}
	t.Logf("false alarms at any of %d looks: %.4f at level %g", looks, float64(alarms)/logs, level)
	if float64(alarms)/logs > level {
		t.Errorf("%d of %d healthy logs are accused at level %g", alarms, logs, level)
	}
	found := 0
	const damaged = 100
	for range damaged {
		s := newSampleRatio(&nextbest.Query{})
		copy(s.at("e@1", []string{"a", "b"}, []float64{0.5, 0.5}).counts, multinomial(rng, 60000, []float64{0.5, 0.5}, []float64{0.95, 1}))
		if r := s.judge(); r.Failed {
			found++
		}
	}
	t.Logf("a loss of 5%% in one arm of 60,000 customers is found in %d of %d logs at level %g", found, damaged, alphaSampleRatio)
	if found < 90 {
		t.Errorf("a loss of 5%% in one arm is found in %d of %d logs", found, damaged)
	}
}

// A log that lost customers of its holdout is refused; a healthy one is not, and
// one without arms says that nothing was checked.
func TestRunChecksTheSampleRatio(t *testing.T) {
	s := conversions()
	s.Holdout, s.Each = 0.5, 2
	for _, lost := range []float64{0, 0.1} {
		s.Lost = lost
		report := evaluated(t, s, request(s, s.Best()))
		x, ratio := get(t, report, "best"), report.Log.SampleRatio
		refused := false
		for _, r := range x.Refusals {
			if r.Code == estimators.RefusedSampleRatio {
				refused = true
				if !strings.Contains(r.Message, "not held out 60") && !strings.Contains(r.Message, "not held out 59") || !strings.Contains(r.Cure, "lost") {
					t.Errorf("%+v", r)
				}
			}
		}
		if len(ratio.Splits) != 1 || ratio.Splits[0].Customers != int(report.Log.Customers) || math.Abs(ratio.Splits[0].Arms[0].Share-0.5) > 1e-15 {
			t.Errorf("%+v", ratio)
		}
		if bad := lost > 0; refused != bad || ratio.Failed != bad || x.Refused() != bad || x.Gate.Passed == bad {
			t.Errorf("lost %g: refusals %+v, ratio %+v", lost, x.Refusals, ratio)
		}
	}
	s.Holdout, s.Lost = 0, 0
	if r := evaluated(t, s, request(s, s.Best())).Log.SampleRatio; r.Checked || r.Failed {
		t.Errorf("a log without arms: %+v", r)
	}
}
