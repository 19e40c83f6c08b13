package offline

import (
	"context"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"nextbest"
)

// mixedArms gives half of a log's customers to an arm that explores much, and
// the others to one that explores little; propensities are the mixture's.
type mixedArms struct{ *Simulation }

func (m mixedArms) Rows(ctx context.Context, q nextbest.Query, f func(*nextbest.Batch) error) error {
	arms, explore := []string{"eager", "shy"}, []float64{0.3, 0.1}
	rng := rand.New(rand.NewPCG(m.Seed, 2))
	return m.Simulation.Rows(ctx, q, func(b *nextbest.Batch) error {
		for i := range b.N() {
			eligible, served := b.Row(i)
			kind := int(math.Round(float64(b.X[i*b.Width]) * float64(m.Types-1)))
			p := [2][]float64{make([]float64, len(eligible)), make([]float64, len(eligible))}
			for a := range arms {
				rule := m.Logger()
				rule.epsilon = explore[a]
				rule.fill(p[a], kind, m.eligible(kind))
			}
			arm := int(2 * nextbest.Uniform("arms", b.Customer[i]))
			copy(served, p[arm])
			u, chosen := rng.Float64(), 0
			for chosen < len(served)-1 && u >= served[chosen] {
				u -= served[chosen]
				chosen++
			}
			b.Chosen[i], b.Arm[i], b.Policies[i] = chosen, arms[arm], arms[arm]+"@1"
			b.Propensity[i] = (p[0][chosen] + p[1][chosen]) / 2
			b.Floor[i] = 0.2 / float64(len(eligible))
			b.Reward[i], b.Matched[i] = 0, rng.Float64() < m.mean(kind, int(eligible[chosen]))
			if b.Matched[i] {
				b.Reward[i] = 1
			}
		}
		return f(b)
	})
}

// Within an arm, actions were drawn with the arm's own probabilities: by the
// mixture's, weights average to 1.45 and 0.66 in this healthy log, and the eager
// arm's value comes out a seventh too high.
func TestSegmentsOfMixedArms(t *testing.T) {
	const replications = 40
	sum, squares, n := map[string]float64{}, map[string]float64{}, map[string]float64{}
	truth := 0.0
	for rep := range replications {
		s := conversions()
		s.Customers, s.Each, s.Seed = 6000, 1, uint64(rep+1)
		truth = s.Best().Value()
		req := request(s, s.Best())
		req.Segments = []string{"arm", "policy"}
		x := get(t, evaluated(t, mixedArms{s}, req), "best")
		if strings.Contains(strings.Join(x.Warnings, "\n"), "look at what was deployed") {
			t.Errorf("replication %d: a healthy log's deployment is accused: %q", rep, x.Warnings)
		}
		for _, g := range x.Segments {
			for _, r := range g.Refusals {
				if strings.Contains(r.Message, "average to") {
					t.Errorf("replication %d, %s: %s", rep, g.Value, r.Message)
				}
			}
			if g.DR != nil {
				sum[g.Value] += g.DR.Value
				squares[g.Value] += g.DR.Value * g.DR.Value
				n[g.Value]++
			}
		}
	}
	for _, g := range []string{"eager", "eager@1"} {
		mean := sum[g] / n[g]
		se := math.Sqrt((squares[g]/n[g] - mean*mean) / n[g])
		if n[g] < replications/2 || math.Abs(mean-truth) > 4*se {
			t.Errorf("%s: the mean of %v values is %.4f, the truth %.4f (standard error %.4f)", g, n[g], mean, truth, se)
		}
	}
}

// Where hardly anybody converts, a lift has no interval: a normal one covers .91
// and less.
func TestUpliftNeedsConversions(t *testing.T) {
	s := &Simulation{Types: 3, Actions: 5, Customers: 1500, Each: 1, Rate: 0.005, Epsilon: 0.5, Seed: 4}
	for _, u := range evaluated(t, s, request(s, s.Best())).Uplift {
		if u.Taken >= fewestTaken && u.Idle >= fewestTaken && (u.Lift != nil || !strings.Contains(u.Problem, "converted")) {
			t.Errorf("%+v", u)
		}
	}
}
