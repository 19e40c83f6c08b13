package bench

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strconv"
	"time"

	"nextbest/bandit"
)

// DecideOptions size the measurement of distributions in process.
type DecideOptions struct {
	Actions, Features int           // of the main table
	ByActions         []int         // further numbers of actions
	ByFeatures        []int         // further numbers of features
	Span              time.Duration // of one measurement
}

// DecideResult says what one distribution costs in process, on one core.
type DecideResult struct {
	Processors int       `json:"processors"` // GOMAXPROCS
	Decisions  []Decided `json:"decisions"`
	Learning   Decided   `json:"learning"` // one row, the factor's rank-one update included
	// Growth with the number of actions at the main number of features, and the
	// other way round.
	ByActions  []Decided `json:"by_actions"`
	ByFeatures []Decided `json:"by_features"`
}

// Decided is one operation beside its baseline.
type Decided struct {
	Algorithm   string  `json:"algorithm"`
	Actions     int     `json:"actions"`
	Features    int     `json:"features"`
	Nanoseconds float64 `json:"ns_per_op"`
	Allocations float64 `json:"allocs_per_op"`
	// Target is the most that it should take, in nanoseconds; 0: none is set.
	Target float64 `json:"target_ns,omitempty"`
	// Gonum is the same done in a straightforward way with gonum, in
	// nanoseconds; 0: not measured. Ratio is Gonum ÷ Nanoseconds.
	Gonum float64 `json:"gonum_ns,omitempty"`
	Ratio float64 `json:"gonum_ratio,omitempty"`
}

// decided lists what is measured. A baseline of its own is in
// decide_baseline.go.
var decided = []struct {
	algorithm string
	target    float64
	widest    int // features up to which its growth is measured
}{
	{"linucb", 5000, 512},
	{"squarecb", 3000, 512},
	{"linear_thompson", 25000, 512},
	{"shared_thompson", 60000, 128},
	{"softmax", 0, 512},
	{"epsilon_greedy", 0, 512},
	{"ucb1", 0, 0},
}

const updateTarget = 4000

// Decide measures one distribution of each algorithm and one learned row on one
// core, as the shortest of many runs: on a shared machine that says most about
// the program and least about its neighbours.
func Decide(o DecideOptions, progress func(format string, args ...any)) (*DecideResult, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	r := &DecideResult{Processors: 1}
	measure := func(algorithm string, k, d int, baseline bool) (Decided, error) {
		progress("%s, %d actions, %d features", algorithm, k, d)
		s, err := newDecisionSite(algorithm, k, d)
		if err != nil {
			return Decided{}, err
		}
		out := Decided{Algorithm: algorithm, Actions: k, Features: d}
		if out.Nanoseconds, out.Allocations, err = shortest(o.Span, s.decide); err != nil {
			return Decided{}, fmt.Errorf("%s: %w", algorithm, err)
		}
		if baseline {
			f, err := s.baseline()
			if err != nil {
				return Decided{}, err
			}
			if out.Gonum, _, err = shortest(o.Span, f); err != nil {
				return Decided{}, err
			}
			out.Ratio = out.Gonum / out.Nanoseconds
		}
		return out, nil
	}
	for _, a := range decided {
		row, err := measure(a.algorithm, o.Actions, o.Features, true)
		if err != nil {
			return nil, err
		}
		row.Target = a.target
		r.Decisions = append(r.Decisions, row)
	}
	for _, a := range decided {
		for _, k := range o.ByActions {
			row, err := measure(a.algorithm, k, o.Features, false)
			if err != nil {
				return nil, err
			}
			r.ByActions = append(r.ByActions, row)
		}
		for _, d := range o.ByFeatures {
			if d > a.widest {
				continue
			}
			row, err := measure(a.algorithm, o.Actions, d, false)
			if err != nil {
				return nil, err
			}
			r.ByFeatures = append(r.ByFeatures, row)
		}
	}
	var err error
	r.Learning, err = learning(o)
	return r, err
}

// learning measures one row: the sums and the factor's rank-one update.
func learning(o DecideOptions) (Decided, error) {
	out := Decided{Algorithm: "learn", Actions: 1, Features: o.Features, Target: updateTarget}
	spec, err := bandit.ParseSpec([]byte(`{"algorithm":"linucb"}`))
	if err != nil {
		return out, err
	}
	l, err := bandit.NewLearner(spec, o.Features)
	if err != nil {
		return out, err
	}
	if _, err := l.Live(); err != nil {
		return out, err
	}
	x := randomContext(rand.New(rand.NewPCG(3, 3)), o.Features)
	// The row must not change the prior precision once the clock runs.
	if out.Nanoseconds, out.Allocations, err = shortest(o.Span, func() error { return l.Learn("a", x, 1) }); err != nil {
		return out, err
	}
	if out.Gonum, _, err = shortest(o.Span, rankOne(x)); err != nil {
		return out, err
	}
	out.Ratio = out.Gonum / out.Nanoseconds
	return out, nil
}

// decisionSite is a trained policy with a request put before it.
type decisionSite struct {
	spec      bandit.Spec
	model     *bandit.Model
	policy    bandit.Policy
	request   bandit.Request
	ids       []string
	p, scores []float64
}

// newDecisionSite trains k actions on 2d+20 rows each whose rewards depend on
// the context.
func newDecisionSite(algorithm string, k, d int) (*decisionSite, error) {
	ids := make([]string, k)
	for a := range ids {
		ids[a] = "action-" + strconv.Itoa(a)
	}
	spec, err := specification(algorithm, ids)
	if err != nil {
		return nil, err
	}
	if spec.ContextFree() {
		d = 1
	}
	l, err := bandit.NewLearner(spec, d)
	if err != nil {
		return nil, err
	}
	s := &decisionSite{spec: spec, ids: ids, p: make([]float64, k), scores: make([]float64, k)}
	rng := rand.New(rand.NewPCG(1, uint64(k)))
	for a := range k {
		for range 2*d + 20 {
			x := randomContext(rng, d)
			reward := 0.0
			if rng.Float64() < 0.2+0.1*math.Tanh(float64(x[min(1, d-1)])*float64(a)/float64(k)) {
				reward = 1
			}
			if err := l.Learn(s.ids[a], x, reward); err != nil {
				return nil, err
			}
		}
	}
	s.model = l.Model()
	if s.policy, err = bandit.New(spec, s.model); err != nil {
		return nil, err
	}
	s.request = bandit.Request{X: randomContext(rng, d), Preferred: -1}
	for _, id := range s.ids {
		s.request.Arms = append(s.request.Arms, s.policy.Arm(id))
	}
	return s, nil
}

// specification returns an algorithm with its defaults; one that shares weights
// gets three features for each action.
func specification(algorithm string, ids []string) (bandit.Spec, error) {
	document := map[string]any{"algorithm": algorithm}
	if algorithm == "shared_thompson" {
		rng, features := rand.New(rand.NewPCG(4, 4)), map[string][]float64{}
		for _, id := range ids {
			features[id] = []float64{rng.NormFloat64(), rng.NormFloat64(), rng.NormFloat64()}
		}
		document["action_features"] = features
	}
	b, err := json.Marshal(document)
	if err != nil {
		return bandit.Spec{}, err
	}
	return bandit.ParseSpec(b)
}

func (s *decisionSite) decide() error { return s.policy.Distribution(s.p, s.scores, &s.request) }

// randomContext returns d features, the first of them the bias.
func randomContext(rng *rand.Rand, d int) []float32 {
	x := make([]float32, d)
	for j := range x {
		x[j] = float32(rng.NormFloat64())
	}
	x[0] = 1
	return x
}

// shortest calls f for about span, in runs of some 50 µs, and returns the time
// of one call in the shortest run, in nanoseconds, and allocations per call.
func shortest(span time.Duration, f func() error) (ns, allocations float64, err error) {
	for range 3 {
		if err := f(); err != nil {
			return 0, 0, err
		}
	}
	start := time.Now()
	if err := f(); err != nil {
		return 0, 0, err
	}
	calls := int(max(50*time.Microsecond/max(time.Since(start), 1), 1))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	least, made := time.Duration(math.MaxInt64), 0
	for begin := time.Now(); time.Since(begin) < span || made == 0; made += calls {
		start := time.Now()
		for range calls {
			if err := f(); err != nil {
				return 0, 0, err
			}
		}
		least = min(least, time.Since(start))
	}
	runtime.ReadMemStats(&after)
	// Whatever the runtime allocates beside is far below one in a thousand calls.
	return float64(least) / float64(calls), math.Round(1e3*float64(after.Mallocs-before.Mallocs)/float64(made)) / 1e3, nil
}
