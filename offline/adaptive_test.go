package offline

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/uuid"

	"nextbest"
	"nextbest/estimators"
)

// learningLog is the log of a small Thompson sampler that learns from every row
// before it draws the next: three actions, rewards of 0 and 1, a floor under every
// probability. The sampler's probabilities are the shares of ten posterior draws
// that each action wins, which are part of the policy, so that they are exact.
type learningLog struct {
	mean  [][]float64 // reward by context and action
	each  int         // rows of a customer, spread over the whole log
	own   float64     // how far a customer's chances lie from the mean, either way
	trend float64     // chances rise by this share of the mean from beginning to end
	b     *nextbest.Batch
}

const (
	learningRows  = 2000
	learningFloor = 0.05
	learningDraws = 10
)

// play makes a new log.
func (l *learningLog) play(rng *rand.Rand) {
	type row struct {
		x, a      int
		e         [3]float64
		at        int
		converted bool
	}
	contexts := len(l.mean)
	n, s := make([][3]float64, contexts), make([][3]float64, contexts)
	customers := learningRows / l.each
	rows := make([][]row, customers)
	kind := make([]float64, customers)
	for c := range kind {
		kind[c] = 1 + l.own*float64(2*rng.IntN(2)-1)
	}
	for t := range learningRows {
		c := t % customers
		r := row{x: rng.IntN(contexts), at: t}
		for range learningDraws {
			best, at := math.Inf(-1), 0
			for a := range 3 {
				if v := (s[r.x][a]+0.5)/(n[r.x][a]+1) + 0.5*rng.NormFloat64()/math.Sqrt(n[r.x][a]+1); v > best {
					best, at = v, a
				}
			}
			r.e[at] += (1 - 3*learningFloor) / learningDraws
		}
		for a := range r.e {
			r.e[a] += learningFloor
		}
		u := rng.Float64()
		for r.a = 0; r.a < 2 && u >= r.e[r.a]; r.a++ {
			u -= r.e[r.a]
		}
		r.converted = rng.Float64() < kind[c]*l.mean[r.x][r.a]*(1+l.trend*(float64(t)/learningRows-0.5))
		n[r.x][r.a]++
		if r.converted {
			s[r.x][r.a]++
		}
		rows[c] = append(rows[c], r)
	}
	b := &nextbest.Batch{Actions: []string{nextbest.DoNothing, "offer-1", "offer-2"}, Width: 1, Offsets: []int{0}}
	for c := range rows {
		name := fmt.Sprintf("c%06d", c)
		for _, r := range rows[c] {
			var id uuid.UUID
			id[0], id[1], id[15] = byte(r.at>>8), byte(r.at), 1
			b.Decision, b.Customer = append(b.Decision, id), append(b.Customer, name)
			b.Time = append(b.Time, simulationStart.Add(time.Duration(r.at)*time.Minute).UnixMicro())
			b.Eligible, b.Probabilities = append(b.Eligible, 0, 1, 2), append(b.Probabilities, r.e[:]...)
			b.Offsets = append(b.Offsets, len(b.Eligible))
			b.Chosen, b.Propensity, b.Floor = append(b.Chosen, r.a), append(b.Propensity, r.e[r.a]), append(b.Floor, learningFloor)
			b.X = append(b.X, float32(r.x))
			b.Policies, b.Experiment, b.Arm = append(b.Policies, "ts@1"), append(b.Experiment, ""), append(b.Arm, "")
			reward := 0.0
			if r.converted {
				reward = 1
			}
			b.Reward, b.Matched = append(b.Reward, reward), append(b.Matched, r.converted)
		}
	}
	l.b = b
}

func (l *learningLog) Rows(_ context.Context, _ nextbest.Query, f func(*nextbest.Batch) error) error {
	return f(l.b)
}

// always takes one action for certain.
type always struct {
	name   string
	action uint32
}

func (a always) Name() string              { return a.name }
func (a always) Fork() Candidate           { return a }
func (a always) ContextFree([]string) bool { return true }

func (a always) Distribution(p []float64, b *nextbest.Batch, i int) error {
	eligible, _ := b.Row(i)
	for k, e := range eligible {
		p[k] = 0
		if e == a.action {
			p[k] = 1
		}
	}
	return nil
}

func learningRequest(candidates ...Candidate) Request {
	return Request{Query: nextbest.Query{Placement: "p", MatureAt: simulationStart.Add(10 * learningRows * time.Minute),
		Objective: nextbest.Objective{Terms: []nextbest.Term{{Reward: "purchase", Weight: 1}}, Window: nextbest.Duration(time.Hour)}},
		Candidates: candidates, Adaptive: true, Seed: 3}
}

// On the log of a policy that learned from it, an action's mean reward is biased
// downwards and its normal interval covers too little: a run of bad luck makes the
// logger leave the action before the luck can turn. AIPW, from earlier
// blocks of time alone, is right, with customers of one row and of several, and
// where the logger looks at contexts.
func TestAdaptiveLogs(t *testing.T) {
	null := [][]float64{{0.3, 0.3, 0.3}}
	for _, c := range []struct {
		name  string
		log   learningLog
		reps  int
		truth float64
		naive bool // the mean of the candidate's rows is an estimate of its value
	}{
		{"no action is better", learningLog{mean: null, each: 1}, 2000, 0.3, true},
		{"customers of four rows", learningLog{mean: null, each: 4, own: 0.5}, 2000, 0.3, true},
		{"contexts", learningLog{mean: [][]float64{{0.1, 0.5, 0.2}, {0.3, 0.2, 0.5}}, each: 2, own: 0.3}, 1000, 0.35, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			reps := c.reps
			if testing.Short() {
				reps = 200
			}
			rng := rand.New(rand.NewPCG(uint64(c.log.each), 17))
			var bias, naive estimators.Ratio
			var in, naiveIn, lone float64
			for range reps {
				c.log.play(rng)
				r := get(t, evaluated(t, &c.log, learningRequest(always{"one", 1})), "one")
				if r.Value == nil || r.Value.Method != methodSequence {
					lone++
					continue
				}
				bias.Add(r.Value.Value-c.truth, 1)
				if r.Value.Low <= c.truth && c.truth <= r.Value.High {
					in++
				}
				mean, iv := meanOf(c.log.b, 1)
				naive.Add(mean-c.truth, 1)
				if iv.Low <= c.truth && c.truth <= iv.High {
					naiveIn++
				}
			}
			n := float64(reps) - lone
			b, _ := bias.Estimate()
			m, _ := naive.Estimate()
			t.Logf("%v logs: AIPW bias %+.4f ± %.4f, coverage %.4f; the mean %+.4f ± %.4f, %.4f; %v without a value", n, b.Value, b.StdErr, in/n, m.Value, m.StdErr, naiveIn/n, lone)
			if lone > 0.2*n {
				t.Errorf("%v of %d logs have no value", lone, reps)
			}
			if math.Abs(b.Value) > 4*b.StdErr || in/n < 0.93 {
				t.Errorf("AIPW: bias %+.4f ± %.4f, coverage %.4f", b.Value, b.StdErr, in/n)
			}
			if c.naive && !testing.Short() && (m.Value > -4*m.StdErr || naiveIn/n > 0.94) {
				t.Errorf("the mean: bias %+.4f ± %.4f, coverage %.4f: the warning is not shown", m.Value, m.StdErr, naiveIn/n)
			}
		})
	}
}

// meanOf is the mean reward of the rows that took an action, with its normal
// interval by row.
func meanOf(b *nextbest.Batch, action uint32) (float64, estimators.Interval) {
	var r estimators.Ratio
	for i := range b.N() {
		if eligible, _ := b.Row(i); eligible[b.Chosen[i]] == action {
			r.Add(b.Reward[i], 1)
		}
	}
	e, _ := r.Estimate()
	return e.Value, e.Normal(0.95)
}

// Where rewards drift, the value of a learner's log is still that of its rows:
// weights that follow what the logger explored would lean to the time in which it
// agreed with the candidate, here the last, when rewards are highest.
func TestAdaptiveLogsThatDrift(t *testing.T) {
	reps := 300
	if testing.Short() {
		reps = 80
	}
	l := learningLog{mean: [][]float64{{0.1, 0.5, 0.1}}, each: 1, trend: 1.6}
	rng := rand.New(rand.NewPCG(4, 17))
	var bias estimators.Ratio
	in, n := 0.0, 0.0
	for range reps {
		l.play(rng)
		r := get(t, evaluated(t, &l, learningRequest(always{"one", 1})), "one")
		if r.Value == nil {
			continue
		}
		n++
		bias.Add(r.Value.Value-0.5, 1)
		if r.Value.Low <= 0.5 && 0.5 <= r.Value.High {
			in++
		}
	}
	b, _ := bias.Estimate()
	t.Logf("%v logs: bias %+.4f ± %.4f, coverage %.4f", n, b.Value, b.StdErr, in/n)
	if n < 0.9*float64(reps) || math.Abs(b.Value) > 4*b.StdErr || in/n < 0.93 {
		t.Errorf("%v of %d logs: bias %+.4f ± %.4f, coverage %.4f", n, reps, b.Value, b.StdErr, in/n)
	}
}
