package offline

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"nextbest"
)

// Simulation is a log with a known truth: a fixed logger that follows a rule
// and explores with Epsilon, customers of a few types, and rewards that are
// conversions or revenue. It is a Reader, and gives the same rows each time it
// is read.
type Simulation struct {
	Types     int // of customers, 2 or more
	Actions   int // do-nothing included, 3 or more
	Features  int // noise features beside the three that tell types apart
	Customers int
	Each      int     // decisions of each customer
	Rate      float64 // conversion rate of an ordinary action
	Revenue   bool    // a conversion is worth a skewed amount with mean 1
	Clustered bool    // half of the customers never convert, the others twice as often
	Epsilon   float64 // uniform exploration; 0: rules alone
	Holdout   float64 // share of customers for whom nothing is done
	Seed      uint64

	// What can be wrong with a log.
	Redraw     float64 // share of decisions changed to do-nothing after logging
	Unlogged   float64 // share of rows without a propensity
	Undeclared bool    // no floor is declared
	Lost       float64 // share of the holdout's customers that never reach the log
	Broken     bool    // on the second day the rule's action is drawn half as often as logged
}

// simulationStart is the time of the first simulated decision.
var simulationStart = time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)

// End returns the time after the last simulated decision: ten thousand a day.
func (s *Simulation) End() time.Time {
	return simulationStart.Add(time.Duration(s.Customers*s.Each) * 8640 * time.Millisecond)
}

func (s *Simulation) name(a int) string {
	if a == 0 {
		return nextbest.DoNothing
	}
	return fmt.Sprintf("offer-%02d", a)
}

// eligible returns a type's eligible actions: all but one offer.
func (s *Simulation) eligible(kind int) []int {
	out := make([]int, 0, s.Actions-1)
	for a := range s.Actions {
		if a == 0 || a != 1+(kind+1)%(s.Actions-1) || s.Actions == 3 {
			out = append(out, a)
		}
	}
	return out
}

// mean is the expected reward of an action for a type.
func (s *Simulation) mean(kind, a int) float64 {
	switch a {
	case 0:
		return s.Rate / 2
	case 1 + kind%(s.Actions-1):
		return 2 * s.Rate
	case 1:
		return 1.5 * s.Rate
	}
	return s.Rate
}

// Logger is the policy that wrote the log.
func (s *Simulation) Logger() SimulatedPolicy {
	return SimulatedPolicy{sim: s, name: "rule", epsilon: s.Epsilon, choose: func(kind int, eligible []int) int {
		return eligible[1+kind/2%(len(eligible)-1)]
	}}
}

// Best takes each type's best action: the best contextual policy.
func (s *Simulation) Best() SimulatedPolicy {
	return SimulatedPolicy{sim: s, name: "best", choose: func(kind int, eligible []int) int {
		best := 0
		for _, a := range eligible {
			if s.mean(kind, a) > s.mean(kind, best) {
				best = a
			}
		}
		return best
	}}
}

// Always takes one action where it is eligible, else nothing.
func (s *Simulation) Always(action int) SimulatedPolicy {
	return SimulatedPolicy{sim: s, name: "always-" + s.name(action), choose: func(_ int, eligible []int) int {
		for _, a := range eligible {
			if a == action {
				return a
			}
		}
		return 0
	}}
}

// SimulatedPolicy is a candidate whose true value is known.
type SimulatedPolicy struct {
	sim     *Simulation
	name    string
	epsilon float64
	choose  func(kind int, eligible []int) int
}

// Name returns the policy's name.
func (p SimulatedPolicy) Name() string { return p.name }

// Fork returns p: it holds no scratch.
func (p SimulatedPolicy) Fork() Candidate { return p }

// ContextFree reports that p reads features alone.
func (p SimulatedPolicy) ContextFree([]string) bool { return true }

// Explore returns p with uniform exploration over the eligible actions.
func (p SimulatedPolicy) Explore(epsilon float64) SimulatedPolicy {
	p.epsilon = epsilon
	p.name = fmt.Sprintf("%s+%g", p.name, epsilon)
	return p
}

// Distribution reads the customer's type off the first feature.
func (p SimulatedPolicy) Distribution(probabilities []float64, b *nextbest.Batch, row int) error {
	kind := int(math.Round(float64(b.X[row*b.Width]) * float64(p.sim.Types-1)))
	p.fill(probabilities, kind, p.sim.eligible(kind))
	return nil
}

func (p SimulatedPolicy) fill(probabilities []float64, kind int, eligible []int) {
	a := p.choose(kind, eligible)
	for k, e := range eligible {
		probabilities[k] = p.epsilon / float64(len(eligible))
		if e == a {
			probabilities[k] += 1 - p.epsilon
		}
	}
}

// Value is the policy's true value, by enumeration.
func (p SimulatedPolicy) Value() (v float64) {
	for kind := range p.sim.Types {
		eligible := p.sim.eligible(kind)
		probabilities := make([]float64, len(eligible))
		p.fill(probabilities, kind, eligible)
		for k, a := range eligible {
			v += probabilities[k] * p.sim.mean(kind, a) / float64(p.sim.Types)
		}
	}
	return v
}

// shares are the arms that every customer might have been in, nil without a
// holdout.
func (s *Simulation) shares() *nextbest.ArmShares {
	if s.Holdout == 0 {
		return nil
	}
	return &nextbest.ArmShares{Arms: []string{holdoutArm, ""}, Shares: []float64{s.Holdout, 1 - s.Holdout}}
}

// Rows streams the simulated log; of the query only the batch size counts.
func (s *Simulation) Rows(ctx context.Context, q nextbest.Query, f func(*nextbest.Batch) error) error {
	size := q.BatchSize
	if size == 0 {
		size = 8192
	}
	rng := rand.New(rand.NewPCG(s.Seed, 0x6e657874))
	b := &nextbest.Batch{Width: 3 + s.Features, Offsets: []int{0}}
	for a := range s.Actions {
		b.Actions = append(b.Actions, s.name(a))
	}
	logger := s.Logger()
	eligible := make([][]int, s.Types)
	served := make([][]float64, s.Types)
	for kind := range s.Types {
		eligible[kind] = s.eligible(kind)
		served[kind] = make([]float64, len(eligible[kind]))
		logger.fill(served[kind], kind, eligible[kind])
	}
	flush := func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f(b); err != nil {
			return err
		}
		*b = nextbest.Batch{Actions: b.Actions, Width: b.Width, Decision: b.Decision[:0], Time: b.Time[:0], Customer: b.Customer[:0],
			Offsets: b.Offsets[:1], Eligible: b.Eligible[:0], Probabilities: b.Probabilities[:0], Chosen: b.Chosen[:0],
			Propensity: b.Propensity[:0], Floor: b.Floor[:0], X: b.X[:0], Policies: b.Policies[:0], Experiment: b.Experiment[:0],
			Arm: b.Arm[:0], Shares: b.Shares[:0], Reward: b.Reward[:0], Matched: b.Matched[:0]}
		return nil
	}
	n := 0
	for c := range s.Customers {
		customer := fmt.Sprintf("c%08d", c)
		kind := rng.IntN(s.Types)
		liking := 1.0
		if s.Clustered {
			liking = float64(2 * rng.IntN(2))
		}
		held := s.Holdout > 0 && rng.Float64() < s.Holdout
		if held && s.Lost > 0 && rng.Float64() < s.Lost {
			continue
		}
		for range s.Each {
			s.row(b, rng, n, customer, kind, liking, eligible[kind], served[kind], held)
			n++
			if b.N() == size {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}
	if b.N() > 0 {
		return flush()
	}
	return nil
}

func (s *Simulation) row(b *nextbest.Batch, rng *rand.Rand, n int, customer string, kind int, liking float64, eligible []int, rule []float64, held bool) {
	served := rule
	if held {
		served = make([]float64, len(rule))
		served[0] = 1
	}
	u, chosen := rng.Float64(), len(served)-1
	for k, p := range served {
		if u -= p; u < 0 {
			chosen = k
			break
		}
	}
	if s.Broken && n/10000 == 1 && served[chosen] > 0.5 && rng.Float64() < 0.5 {
		chosen = (chosen + 1) % len(served)
	}
	mixture := func(k int) float64 {
		p := (1 - s.Holdout) * rule[k]
		if k == 0 {
			p += s.Holdout
		}
		return p
	}
	propensity := mixture(chosen)
	if s.Redraw > 0 && rng.Float64() < s.Redraw {
		chosen = 0
		propensity = mixture(0)
	}
	if s.Unlogged > 0 && rng.Float64() < s.Unlogged {
		propensity = math.NaN()
	}
	reward, matched := 0.0, rng.Float64() < liking*s.mean(kind, eligible[chosen])
	if matched {
		reward = 1
		if s.Revenue {
			reward = math.Exp(0.6*rng.NormFloat64() - 0.18)
		}
	}
	floor := (1 - s.Holdout) * s.Epsilon / float64(len(eligible))
	if s.Undeclared {
		floor = 0
	}
	at := simulationStart.Add(time.Duration(n) * 8640 * time.Millisecond)
	var id uuid.UUID
	for k := range 8 {
		id[k] = byte(uint64(n) >> (56 - 8*k))
	}
	b.Decision = append(b.Decision, id)
	b.Time = append(b.Time, at.UnixMicro())
	b.Customer = append(b.Customer, customer)
	for k, a := range eligible {
		b.Eligible = append(b.Eligible, uint32(a))
		b.Probabilities = append(b.Probabilities, served[k])
	}
	b.Offsets = append(b.Offsets, len(b.Eligible))
	b.Chosen = append(b.Chosen, chosen)
	b.Propensity = append(b.Propensity, propensity)
	b.Floor = append(b.Floor, floor)
	scaled := float64(kind) / float64(s.Types-1)
	b.X = append(b.X, float32(scaled), float32(math.Sin(float64(kind))), float32(kind%2))
	for range s.Features {
		b.X = append(b.X, float32(rng.NormFloat64()))
	}
	b.Policies = append(b.Policies, "rule@1")
	b.Experiment = append(b.Experiment, "")
	arm := ""
	if held {
		arm = holdoutArm
	}
	b.Arm, b.Shares = append(b.Arm, arm), append(b.Shares, s.shares())
	b.Reward = append(b.Reward, reward)
	b.Matched = append(b.Matched, matched)
}
