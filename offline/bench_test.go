package offline

import (
	"context"
	"testing"

	"nextbest"
	"nextbest/estimators"
)

// recorded is a log held in memory, so that only Run is measured.
type recorded []*nextbest.Batch

func record(b *testing.B, s *Simulation) (out recorded) {
	b.Helper()
	err := s.Rows(context.Background(), nextbest.Query{}, func(x *nextbest.Batch) error {
		c := *x
		c.Decision = append(c.Decision[:0:0], c.Decision...)
		c.Time = append(c.Time[:0:0], c.Time...)
		c.Customer = append(c.Customer[:0:0], c.Customer...)
		c.Offsets = append(c.Offsets[:0:0], c.Offsets...)
		c.Eligible = append(c.Eligible[:0:0], c.Eligible...)
		c.Probabilities = append(c.Probabilities[:0:0], c.Probabilities...)
		c.Chosen = append(c.Chosen[:0:0], c.Chosen...)
		c.Propensity = append(c.Propensity[:0:0], c.Propensity...)
		c.Floor = append(c.Floor[:0:0], c.Floor...)
		c.X = append(c.X[:0:0], c.X...)
		c.Policies = append(c.Policies[:0:0], c.Policies...)
		c.Reward = append(c.Reward[:0:0], c.Reward...)
		c.Matched = append(c.Matched[:0:0], c.Matched...)
		out = append(out, &c)
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return out
}

func (r recorded) Rows(_ context.Context, _ nextbest.Query, f func(*nextbest.Batch) error) error {
	for _, b := range r {
		if err := f(b); err != nil {
			return err
		}
	}
	return nil
}

// scored stands for a candidate whose distribution is recomputed on each row
// from 32 features and 20 actions, as a linear bandit's is.
type scored struct {
	*SimulatedPolicy
	weights [20][35]float32
}

func (s *scored) Fork() Candidate { return s }

func (s *scored) Distribution(p []float64, b *nextbest.Batch, row int) error {
	x := b.X[row*b.Width : (row+1)*b.Width]
	eligible, _ := b.Row(row)
	best, at := float32(-1e30), 0
	for k, e := range eligible {
		var v float32
		for i, w := range s.weights[e][:len(x)] {
			v += w * x[i]
		}
		p[k] = 0.1 / float64(len(eligible))
		if v > best {
			best, at = v, k
		}
	}
	p[at] += 0.9
	return nil
}

func named(b *testing.B, text string) estimators.Choice {
	b.Helper()
	c, err := estimators.ParseChoice(text)
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// BenchmarkRun evaluates 100,000 rows of as many customers: as it is by default,
// and with what takes another pass or more of each row.
func BenchmarkRun(b *testing.B) {
	for _, c := range []struct {
		name    string
		revenue bool
		change  func(*Request)
	}{
		{"conversions", false, func(*Request) {}},
		{"revenue", true, func(*Request) {}},
		{"adaptive", false, func(r *Request) { r.Adaptive = true }},
		{"mrdr", false, func(r *Request) { r.Estimators = []estimators.Choice{named(b, "mrdr")} }},
		{"distribution", true, func(r *Request) { r.Distribution = true }},
		{"clusters", false, func(r *Request) {
			r.Estimators, r.Clusters = []estimators.Choice{named(b, "mips"), named(b, "offcem")}, map[string]string{"offer-01": "x", "offer-02": "x"}
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			change, revenue := c.change, c.revenue
			s := &Simulation{Types: 40, Actions: 20, Features: 29, Customers: 100000, Each: 1, Rate: 0.05, Epsilon: 0.2, Seed: 1, Revenue: revenue}
			log := record(b, s)
			best := s.Best()
			c := &scored{SimulatedPolicy: &best}
			for a := range c.weights {
				for i := range c.weights[a] {
					c.weights[a][i] = float32((a*7+i*13)%19) - 9
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				req := request(s, c)
				change(&req)
				if _, err := Run(context.Background(), log, req, nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*s.Customers*s.Each), "ns/row")
		})
	}
}
