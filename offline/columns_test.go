package offline

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"nextbest/estimators"
)

func shown(t *testing.T, r *Result, name string) Shown {
	t.Helper()
	for _, s := range r.Estimates {
		if s.Estimator == name {
			return s
		}
	}
	t.Fatalf("no estimate %q of %s", name, r.Name)
	return Shown{}
}

// all asks for every estimator that needs more than the usual columns, and for
// what else there is beside them.
func all(t *testing.T, req Request) Request {
	for _, name := range []string{"mips", "offcem", "mrdr", "balanced", "adaptive_aipw", "cascade_dr", "position_ips"} {
		req.Estimators = append(req.Estimators, choice(t, name))
	}
	req.Clusters = map[string]string{"offer-01": "one"}
	req.Distribution = true
	return req
}

// With one action to a cluster, one logger and one slot, the estimators of
// clusters, loggers and lists are IPS and DR.
func TestColumnIdentities(t *testing.T) {
	s := conversions()
	s.Customers = 4000
	r := get(t, evaluated(t, s, all(t, request(s, s.Best().Explore(0.1)))), "best+0.1")
	for name, want := range map[string]float64{"mips": r.IPS.Value, "balanced": r.IPS.Value, "position_ips": r.IPS.Value, "offcem": r.DR.Value, "cascade_dr": r.DR.Value} {
		e := shown(t, r, name)
		if e.Problem != "" || math.Abs(e.Value-want) > 1e-12 || !(e.Low < e.Value && e.Value < e.High) {
			t.Errorf("%s: %+v, want %v", name, e, want)
		}
	}
	if e := shown(t, r, "cascade_dr"); e.Unit != unitList || math.Abs(e.Logged.Value-get(t, evaluated(t, s, request(s)), nameLogged).IPS.Value) > 1e-12 {
		t.Errorf("cascade_dr is of %q, beside %+v", e.Unit, e.Logged)
	}
	for _, name := range []string{"mrdr", "adaptive_aipw"} {
		if e := shown(t, r, name); e.Problem != "" || math.Abs(e.Value-r.DR.Value) > r.DR.High-r.DR.Low || e.Value == r.DR.Value {
			t.Errorf("%s: %+v, DR %+v", name, e, r.DR)
		}
	}
}

// Whatever is asked for, the report is the same however rows come in batches and
// whether lanes run side by side, for fixed loggers and for those that learn.
func TestColumnsRepeat(t *testing.T) {
	s := conversions()
	s.Customers, s.Revenue = 1500, true
	for _, adapt := range []bool{false, true} {
		encode := func(size int, c Candidate) string {
			req := all(t, request(s, c))
			req.Adaptive, req.Query.BatchSize = adapt, size
			b, err := json.Marshal(evaluated(t, s, req))
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		want := encode(0, s.Best())
		if strings.Contains(want, "NaN") || !strings.Contains(want, `"cascade_dr"`) {
			t.Errorf("JSON: %s", want)
		}
		for _, size := range []int{1, 97} {
			if encode(size, s.Best()) != want {
				t.Errorf("adaptive %v: batches of %d give another report", adapt, size)
			}
		}
		if encode(100, unforked{s.Best()}) != want {
			t.Errorf("adaptive %v: one core gives another report than two", adapt)
		}
	}
}

// A logistic model is cross-fitted by time as a linear one is: what the first
// block of time is predicted as knows nothing of any reward.
func TestCrossFitByTime(t *testing.T) {
	s := conversions()
	s.Customers = 4000
	for _, kind := range []string{modelRidge, modelLogistic} {
		req := request(s, s.Best())
		req.CrossFit, req.RewardModel = crossFitTime, kind
		report := evaluated(t, s, req)
		r := get(t, report, "best")
		if v := s.Best().Value(); !(r.DR.Low < v && v < r.DR.High) || report.Query.CrossFit != crossFitTime || !strings.Contains(report.Blocks, "10 blocks of time") {
			t.Errorf("%s: DR %+v, truth %g, %q", kind, r.DR, v, report.Blocks)
		}
		if day := r.Days[0]; !(r.DM.Value < 0.97*r.DR.Value) { // a tenth of the rows is predicted as 0
			t.Errorf("%s: DM %v, DR %v, first day %+v", kind, r.DM, r.DR, day)
		}
	}
}

// What a log cannot give is refused with the reason.
func TestColumnsRefused(t *testing.T) {
	log := func() clustered { return clustered{rng: rand.New(rand.NewPCG(8, 3)), rows: 3000} }
	for _, c := range []struct {
		name   string
		reader func() Reader
		change func(*Request)
		of     string
		want   string
	}{
		{"no probabilities", func() Reader { l := log(); l.unknown = true; return l }, nil, "mips", "3000 rows carry only the propensity"},
		{"no probabilities", func() Reader { l := log(); l.unknown = true; return l }, nil, "offcem", "3000 rows carry only the propensity"},
		{"clusters that are never tried", func() Reader { l := log(); l.silent = true; return l }, nil, "mips", "of clusters that the log never tries"},
		{"a logger that learned", func() Reader { return log() }, func(r *Request) { r.Adaptive = true }, "balanced", "the balanced weight is for fixed loggers"},
		{"no floor", func() Reader { s := conversions(); s.Customers, s.Undeclared = 3000, true; return s }, nil, "adaptive_aipw", "declared exploration floor"},
		{"arms and caps", func() Reader { s := conversions(); s.Customers = 3000; return armed{s} }, func(r *Request) { r.Query.Own = true }, "balanced", "the mixture of the arms is not the probability"},
		{"lists", func() Reader { s := conversions(); s.Customers = 3000; return slotted{s} }, nil, "position_ips", "whatever stands above it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			reader := c.reader()
			var req Request
			name := "skewed"
			if _, ok := reader.(clustered); ok {
				req = plainRequest(skewed{})
			} else {
				s := conversions()
				s.Customers = 3000
				req, name = request(s, s.Best()), "best"
			}
			req.Clusters, req.Estimators = byThree(), []estimators.Choice{choice(t, c.of)}
			if c.change != nil {
				c.change(&req)
			}
			if e := shown(t, get(t, evaluated(t, reader, req), name), c.of); !strings.Contains(e.Problem, c.want) || e.Figure != (Figure{}) {
				t.Errorf("%+v, want a problem with %q", e, c.want)
			}
		})
	}
	req := plainRequest(skewed{})
	req.Estimators = []estimators.Choice{choice(t, "offcem")}
	if _, err := Run(t.Context(), log(), req, nil); err == nil || !strings.Contains(err.Error(), "give clusters, or cluster_by") {
		t.Errorf("clusters without clusters: %v", err)
	}
	req.Clusters, req.CrossFit = map[string]string{"a00": "", "b": "x"}, "row"
	if _, err := Run(t.Context(), log(), req, nil); err == nil || !strings.Contains(err.Error(), "a cluster needs a name") || !strings.Contains(err.Error(), `"row"`) {
		t.Errorf("a cluster without a name, and a way to cross-fit that is none: %v", err)
	}
	req.Clusters, req.CrossFit = map[string]string{"a00": "x", "b": "x"}, ""
	if w := evaluated(t, log(), req).Warnings; !strings.Contains(strings.Join(w, "\n"), "clusters name actions that the log does not have: b") {
		t.Errorf("warnings %q", w)
	}
}
