package offline

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"

	"nextbest"
)

// A distribution of revenue holds the truth: the point at a threshold, a quantile
// and the mean of the best decisions, of a candidate and of what ran.
func TestDistribution(t *testing.T) {
	reps := 150
	if testing.Short() {
		reps = 40
	}
	// Of the decisions a share p earns exp(0.6 Z − 0.18), the others nothing.
	normal := distuv.UnitNormal
	top := func(p, share float64) float64 { return p / share * normal.CDF(0.6-normal.Quantile(1-share/p)) }
	quantile := func(p, q float64) float64 { return math.Exp(0.6*normal.Quantile(1-(1-q)/p) - 0.18) }
	// Fewer than are needed carry the candidate's best 5%.
	shares := map[string]float64{"best": 0.25, nameLogged: 0.05}
	in, n := map[string]float64{}, float64(reps)
	for rep := range reps {
		s := &Simulation{Types: 6, Actions: 5, Customers: 2500, Each: 2, Rate: 0.15, Epsilon: 0.4, Revenue: true, Seed: uint64(rep + 1)}
		req := request(s, s.Best())
		req.Distribution = true
		report := evaluated(t, s, req)
		for name, p := range map[string]float64{"best": s.Best().Value(), nameLogged: s.Logger().Value()} {
			d := get(t, report, name).Distribution
			if d == nil || d.Problem != "" {
				t.Fatalf("%s: %+v", name, d)
			}
			count := func(what string, held bool) {
				if held {
					in[name+" "+what]++
				}
			}
			k, _ := slices.BinarySearchFunc(d.Points, 1.0, func(p DistributionPoint, t float64) int { return int(math.Copysign(1, p.Threshold-t)) })
			at := d.Points[k]
			truth := 1 - p*(1-normal.CDF((math.Log(at.Threshold)+0.18)/0.6))
			count("point", at.Low <= truth && truth <= at.High)
			for _, q := range d.Quantiles {
				if q.P == 0.95 {
					v := quantile(p, q.P)
					count("quantile", q.Low != nil && *q.Low <= v && (q.High == nil || v <= *q.High))
				}
			}
			for _, x := range d.Tails {
				switch {
				case x.Tail == tailBest && x.Share == shares[name]:
					count("top", x.Low <= top(p, x.Share) && top(p, x.Share) <= x.High)
				case x.Tail == tailWorst && (x.Value != 0 || x.Low > x.High):
					t.Errorf("%s: the worst decisions earn %+v", name, x)
				}
			}
		}
	}
	for _, name := range []string{"best", nameLogged} {
		for _, what := range []string{"point", "quantile", "top"} {
			// Quantiles are rounded outwards to thresholds, so they cover more.
			if c := in[name+" "+what] / n; c < 0.95-0.0195-3*math.Sqrt(0.95*0.05/n) {
				t.Errorf("%s, %s: coverage %.3f", name, what, c)
			} else {
				t.Logf("%s, %s: coverage %.3f", name, what, c)
			}
		}
	}
}

// Losses have thresholds of their own, and a distribution that cannot be had says
// why.
func TestDistributionRefused(t *testing.T) {
	base := func() *Simulation {
		return &Simulation{Types: 6, Actions: 5, Customers: 3000, Each: 1, Rate: 0.15, Epsilon: 0.4, Revenue: true, Seed: 4}
	}
	for _, c := range []struct {
		name   string
		change func(*Simulation, *Request)
		want   string
	}{
		{"conversions", func(s *Simulation, _ *Request) { s.Revenue = false }, "rewards are 0 and 1"},
		{"few of them", func(s *Simulation, _ *Request) { s.Rate = 0.003 }, "converted"},
		{"a logger that learned", func(_ *Simulation, r *Request) { r.Adaptive = true }, "for fixed loggers"},
		{"nothing explored", func(s *Simulation, _ *Request) { s.Epsilon = 0 }, "rules alone"},
		{"losses", func(*Simulation, *Request) {}, ""},
	} {
		s := base()
		req := request(s, s.Best())
		req.Distribution = true
		c.change(s, &req)
		var reader Reader = s
		if c.name == "losses" {
			s.Customers *= 3
			reader = losing{s}
		}
		report := evaluated(t, reader, req)
		d := get(t, report, "best").Distribution
		if d == nil || (c.want == "") != (d.Problem == "") || !strings.Contains(d.Problem, c.want) || d.Problem != "" && d.Points != nil {
			t.Errorf("%s: %+v", c.name, d)
		}
		if get(t, report, nameBestFixed).Distribution != nil {
			t.Errorf("%s: the best fixed action has one, though it mixes actions", c.name)
		}
		if c.name == "losses" {
			last := math.Inf(-1)
			for _, p := range d.Points {
				if !(p.Threshold > last) || !(p.Low <= p.F && p.F <= p.High) {
					t.Fatalf("point %+v after %v", p, last)
				}
				last = p.Threshold
			}
			if d.Points[0].Threshold >= 0 || !(d.Tails[0].High < 0) {
				t.Errorf("the first point is %+v, the worst tail %+v", d.Points[0], d.Tails[0])
			}
		}
	}
	s := base()
	if get(t, evaluated(t, s, request(s, s.Best())), "best").Distribution != nil {
		t.Error("a distribution that nobody asked for")
	}
}

// losing takes a tenth of the decisions' reward away.
type losing struct{ *Simulation }

func (l losing) Rows(ctx context.Context, q nextbest.Query, f func(*nextbest.Batch) error) error {
	return l.Simulation.Rows(ctx, q, func(b *nextbest.Batch) error {
		for i := range b.N() {
			if i%10 == 0 {
				b.Reward[i], b.Matched[i] = -1-float64(i%7), true
			}
		}
		return f(b)
	})
}

// heavy is a log of one offer at a fifth of the decisions, worth Pareto's rewards
// of exponent 2 up to 1,000 to a tenth of the customers.
type heavy struct{ rng *rand.Rand }

func (h heavy) Rows(_ context.Context, _ nextbest.Query, f func(*nextbest.Batch) error) error {
	b := &nextbest.Batch{Actions: []string{nextbest.DoNothing, "offer"}, Offsets: []int{0}}
	rng := *h.rng
	r := rand.New(rand.NewPCG(rng.Uint64(), 1))
	for i := range 4000 {
		chosen := 0
		if r.Float64() < 0.2 {
			chosen = 1
		}
		appendRow(b, i, fmt.Sprintf("c%05d", i), []float64{0.8, 0.2}, chosen, 0.2, r.Float64() < 0.1)
		if b.Matched[i] {
			b.Reward[i] = min(math.Pow(1-r.Float64(), -0.5), 1000)
		}
	}
	return f(b)
}

// The mean of the best decisions of heavy-tailed rewards rests on a few of them,
// whatever the whole rests on: it has no normal interval, and few logs mislead.
func TestTailOfHeavyRewards(t *testing.T) {
	const reps = 150
	// The best quarter holds all rewards: P(reward) E[min(X, 1000)] / share.
	truth := 0.1 * (2 - 1.0/1000) / 0.25
	missed := map[float64]float64{}
	for rep := range reps {
		req := plainRequest(always{"offer", 1})
		least, most := 0.0, 1000.0
		req.RewardMin, req.RewardMax, req.Distribution = &least, &most, true
		d := get(t, evaluated(t, heavy{rand.New(rand.NewPCG(uint64(rep), 3))}, req), "offer").Distribution
		for _, x := range d.Tails {
			if x.Tail != tailBest {
				continue
			}
			want := truth
			if x.Share == 0.05 { // X beyond its median, √2
				want = 2 * (math.Sqrt2 - 1.0/1000*0.5)
			}
			if x.Share >= 0.05 && !(x.Low <= want && want <= x.High) {
				missed[x.Share] += 1.0 / reps
			}
		}
	}
	t.Logf("missed without a word: %v", missed)
	for share, m := range missed {
		if m > 0.05+3*math.Sqrt(0.05*0.95/reps) {
			t.Errorf("the mean of the best %v: %.3f of the logs have an interval that misses", share, m)
		}
	}
}
