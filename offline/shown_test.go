package offline

import (
	"math"
	"strings"
	"testing"

	"nextbest"
	"nextbest/estimators"
)

func choice(t *testing.T, text string) estimators.Choice {
	t.Helper()
	c, err := estimators.ParseChoice(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Estimators asked for agree with the usual ones at their limits, and the
// bootstrap with the others' intervals.
func TestShown(t *testing.T) {
	s := conversions()
	req := request(s, s.Best(), s.Best().Explore(0.2))
	for _, name := range []string{"ips", "clipped_ips:max=inf", "dros:lambda=inf", "switch_dr:tau=0", "sndr", "switch_dr:tau=slope"} {
		req.Estimators = append(req.Estimators, choice(t, name))
	}
	req.Bootstrap = 1000
	report := evaluated(t, s, req)
	for _, name := range []string{"best", "best+0.2"} {
		r := get(t, report, name)
		if len(r.Estimates) != 9 {
			t.Fatalf("%d estimates", len(r.Estimates))
		}
		for i, want := range []float64{r.IPS.Value, r.IPS.Value, r.DR.Value, r.DM.Value} {
			if got := r.Estimates[i]; math.Abs(got.Value-want) > 1e-12 || got.Problem != "" {
				t.Errorf("%s, %s: %v, want %v; %s", name, got.Estimator, got.Value, want, got.Problem)
			}
		}
		if n := r.Estimates[5].Note; !strings.Contains(n, "nothing of the choice of tau") {
			t.Errorf("SLOPE's note is %q", n)
		}
		if n := r.Estimates[1].Note; !strings.Contains(n, "nothing of the bias") {
			t.Errorf("the note of clipped IPS is %q", n)
		}
		for i, usual := range []*Figure{r.IPS, r.SNIPS, r.DR} {
			b := r.Estimates[6+i]
			if b.Method != methodBootstrap || math.Abs(b.Value-usual.Value) > 1e-12 {
				t.Errorf("%s: bootstrap of %s is %+v, the value %v", name, b.Estimator, b, usual.Value)
			}
			if ratio := (b.High - b.Low) / (usual.High - usual.Low); ratio < 0.8 || ratio > 1.25 {
				t.Errorf("%s, %s: the bootstrap's interval is %.2f times the usual one", name, b.Estimator, ratio)
			}
		}
	}
	again := evaluated(t, s, req)
	for i, e := range get(t, again, "best").Estimates {
		if f := get(t, report, "best").Estimates[i].Figure; f != e.Figure {
			t.Errorf("%s: %+v, then %+v", e.Estimator, f, e.Figure)
		}
	}
	req = request(s, s.Best())
	req.Estimators, req.Bootstrap = []estimators.Choice{choice(t, "mips")}, 7
	if _, err := Run(t.Context(), s, req, nil); nextbest.CodeOf(err) != nextbest.Invalid {
		t.Errorf("an estimator that needs clusters, and seven replicates: %v", err)
	}
}

// The report says which kind of interval the log allows, and uses it.
func TestPicked(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Simulation, *Request)
		want   string
		ips    string
		why    string
	}{
		"fixed, floored":        {func(*Simulation, *Request) {}, methodLikelihood, methodLikelihood, "fixed logger"},
		"no floor":              {func(s *Simulation, _ *Request) { s.Undeclared = true }, methodBetting, methodBetting, "declared floor"},
		"adaptive":              {func(_ *Simulation, r *Request) { r.Adaptive = true }, methodSequence, methodBetting, "10 blocks of time"},
		"adaptive, no floor":    {func(s *Simulation, r *Request) { r.Adaptive, s.Undeclared = true, true }, methodBetting, methodBetting, "needs a declared exploration floor"},
		"adaptive, by customer": {func(_ *Simulation, r *Request) { r.Adaptive, r.CrossFit = true, "customer" }, methodBetting, methodBetting, "cross_fit time"},
	} {
		s := conversions()
		req := request(s, s.Best())
		c.change(s, &req)
		report := evaluated(t, s, req)
		if ips := get(t, report, "best").IPS; report.Picked.Interval != c.want || !strings.Contains(report.Picked.Why, c.why) || ips.Method != c.ips {
			t.Errorf("%s: picked %+v, IPS by %s, want %s", name, report.Picked, ips.Method, c.want)
		}
	}
}
