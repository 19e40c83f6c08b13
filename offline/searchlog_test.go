package offline

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"nextbest"
)

// searchLog is a log in memory, one decision a minute and a customer each, that
// is read as a query says. Customers are of several types, actions drawn evenly,
// and a reward follows with the probability rate[type][action].
type searchLog struct {
	rate     [][]float64
	customer []string
	kind     []int
	chosen   []int
	reward   []float64
	reads    []nextbest.Query
}

const searchWindow = 10 * time.Minute

func newSearchLog(rate [][]float64, rows int, seed uint64) *searchLog {
	l := &searchLog{rate: rate}
	rng := rand.New(rand.NewPCG(seed, 27))
	for i := range rows {
		kind := rng.IntN(len(rate))
		a := rng.IntN(len(rate[kind]))
		l.customer = append(l.customer, fmt.Sprintf("c%06d", i))
		l.kind, l.chosen = append(l.kind, kind), append(l.chosen, a)
		reward := 0.0
		if rng.Float64() < rate[kind][a] {
			reward = 1
		}
		l.reward = append(l.reward, reward)
	}
	return l
}

func (l *searchLog) at(i int) time.Time { return simulationStart.Add(time.Duration(i) * time.Minute) }

// Rows honours the query's range, maturity and split.
func (l *searchLog) Rows(_ context.Context, q nextbest.Query, f func(*nextbest.Batch) error) error {
	l.reads = append(l.reads, q)
	k := len(l.rate[0])
	b := &nextbest.Batch{Width: 1, Offsets: []int{0}}
	for a := range k {
		b.Actions = append(b.Actions, searchAction(a))
	}
	for i, customer := range l.customer {
		at := l.at(i)
		if at.Before(q.From) || !q.To.IsZero() && !at.Before(q.To) || at.Add(q.Objective.Window.Std()).After(q.MatureAt) || !q.Split.Contains(customer) {
			continue
		}
		for a := range k {
			b.Eligible, b.Probabilities = append(b.Eligible, uint32(a)), append(b.Probabilities, 1/float64(k))
		}
		b.Decision, b.Time, b.Customer = append(b.Decision, uuid.UUID{8: byte(i >> 16), 9: byte(i >> 8), 10: byte(i)}), append(b.Time, at.UnixMicro()), append(b.Customer, customer)
		b.Offsets, b.Chosen = append(b.Offsets, len(b.Eligible)), append(b.Chosen, l.chosen[i])
		b.Propensity, b.Floor = append(b.Propensity, 1/float64(k)), append(b.Floor, 1/float64(k))
		b.X, b.Policies, b.Features = append(b.X, float32(l.kind[i])), append(b.Policies, "even@1"), append(b.Features, "kind@1")
		b.Experiment, b.Arm = append(b.Experiment, ""), append(b.Arm, "")
		b.Reward, b.Matched = append(b.Reward, l.reward[i]), append(b.Matched, l.reward[i] > 0)
	}
	if b.N() == 0 {
		return nil
	}
	return f(b)
}

func searchAction(a int) string {
	if a == 0 {
		return nextbest.DoNothing
	}
	return fmt.Sprintf("offer-%d", a)
}

// takes is a candidate that takes one action for each type of customer.
type takes struct {
	name string
	take []int
}

func (c takes) Name() string              { return c.name }
func (c takes) Fork() Candidate           { return c }
func (c takes) ContextFree([]string) bool { return true }
func (c takes) value(rate [][]float64) (v float64) {
	for kind, a := range c.take {
		v += rate[kind][a] / float64(len(rate))
	}
	return v
}

func (c takes) Distribution(p []float64, b *nextbest.Batch, i int) error {
	clear(p)
	p[c.take[int(b.X[i])]] = 1
	return nil
}

// sameRates has nothing to find: whatever is done, all earn the same.
func sameRates(kinds, actions int, rate float64) [][]float64 {
	out := make([][]float64, kinds)
	for k := range out {
		for range actions {
			out[k] = append(out[k], rate)
		}
	}
	return out
}

// randomTables are candidates that differ as much as they can.
func randomTables(n, kinds, actions int, seed uint64) (out []takes) {
	rng := rand.New(rand.NewPCG(seed, 30))
	for i := range n {
		t := takes{name: fmt.Sprintf("t%02d", i)}
		for range kinds {
			t.take = append(t.take, rng.IntN(actions))
		}
		out = append(out, t)
	}
	return out
}

// searchOf asks for a search among tables on thirds of the log.
func searchOf(l *searchLog, tables []takes) (SearchRequest, Make) {
	n := len(l.customer)
	parts, err := PartsByTime(l.at(0), l.at(n/3), l.at(2*n/3), l.at(n), l.at(n).Add(searchWindow))
	if err != nil {
		panic(err)
	}
	parts.Train.Rows, parts.Select.Rows, parts.Gate.Rows = 1, 1, 1
	req := SearchRequest{Parts: parts}
	req.Query = nextbest.Query{Placement: "shop", Upto: 7, Objective: nextbest.Objective{Terms: []nextbest.Term{{Reward: "order", Weight: 1}}, Window: nextbest.Duration(searchWindow)}}
	req.Seed = 7
	byName := map[string]takes{}
	for _, t := range tables {
		byName[t.name] = t
		req.Combinations = append(req.Combinations, Combination{Name: t.name, Of: t.name})
	}
	return req, func(_ context.Context, c *Combination, _ nextbest.Query) (Candidate, *Trained, error) {
		return byName[c.Name], nil, nil
	}
}

// gateOf judges a search's winner on the gate part as an evaluation does.
func gateOf(l *searchLog, req SearchRequest, winner takes, look int) (*Report, error) {
	r := req.Request
	r.Query = req.Parts.Gate.Of(req.Query)
	r.TrainedOn = []Period{req.Parts.Train.Period(), req.Parts.Select.Period()}
	winner.name = "won@1/1"
	r.Candidates, r.Looks = []Candidate{winner}, []int{look}
	return Run(context.Background(), l, r, nil)
}
