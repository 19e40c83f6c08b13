package bench

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"nextbest"
	"nextbest/bandit"
	"nextbest/estimators"
	"nextbest/offline"
)

// EvaluateOptions size the measurement of off-policy evaluation.
type EvaluateOptions struct {
	Rows      int
	Bootstrap int  // replicates
	Baseline  bool // run numpy too
	// CPU returns the processor time that this program and the engines beside it
	// have used.
	CPU func() (program, engine time.Duration)
}

// EvaluateResult says how fast a log is evaluated.
type EvaluateResult struct {
	Rows       int      `json:"rows"`
	Customers  int      `json:"customers"`
	Actions    int      `json:"actions"`
	Features   int      `json:"features"`
	Estimators []string `json:"estimators"`
	Bootstrap  int      `json:"bootstrap_replicates"`
	// From ClickHouse to report, both passes over the rows included.
	LinUCB EvaluateRun `json:"linucb"` // the candidate's distribution recomputed on every row
	Given  EvaluateRun `json:"given"`  // its probabilities known
	// Logistic is what a 3-fold cross-fitted logistic reward model adds to a run
	// with ridge.
	Logistic float64 `json:"logistic_model_seconds"`
	Baseline *Numpy  `json:"numpy,omitempty"`
	Ratio    float64 `json:"ratio,omitempty"` // numpy's seconds over ours, given probabilities
	Missing  string  `json:"numpy_missing,omitempty"`
}

// EvaluateRun is one evaluation.
type EvaluateRun struct {
	Seconds float64 `json:"seconds"`
	CPU     float64 `json:"cpu_seconds"`        // of this program
	Engine  float64 `json:"engine_cpu_seconds"` // of ClickHouse
	Memory  float64 `json:"memory_mb"`          // most that this program held beyond what it did before
}

const (
	evaluateActions  = 20
	evaluateFeatures = 32
	evaluateFloor    = 0.2 // ε of the logger
	evaluateEach     = 2   // decisions of a customer
)

// EvaluatePlacement is where the measured log lies.
const EvaluatePlacement = "bench-evaluate"

// Log takes decisions and rewards; they are durable when it returns.
type Log interface {
	Decisions(ctx context.Context, d []nextbest.Decision) (uint64, error)
	Rewards(ctx context.Context, r []nextbest.Reward) (uint64, error)
}

// Evaluate writes a log and measures its evaluation. visible waits until what was
// written can be read.
func Evaluate(ctx context.Context, log Log, reader offline.Reader, visible Visible, o EvaluateOptions, progress func(format string, args ...any)) (*EvaluateResult, error) {
	world := newEvaluateWorld()
	if err := world.write(ctx, log, o.Rows, progress); err != nil {
		return nil, err
	}
	progress("waiting for ClickHouse")
	if err := visible(ctx); err != nil {
		return nil, err
	}
	linucb, err := world.candidate()
	if err != nil {
		return nil, err
	}
	r := &EvaluateResult{Rows: o.Rows, Customers: (o.Rows + evaluateEach - 1) / evaluateEach, Actions: evaluateActions, Features: evaluateFeatures, Bootstrap: o.Bootstrap}
	request := offline.Request{Seed: 7, Folds: 3, Bootstrap: o.Bootstrap, Query: nextbest.Query{Placement: EvaluatePlacement, MatureAt: evaluateStart.AddDate(1, 0, 0),
		Objective: nextbest.Objective{Terms: []nextbest.Term{{Reward: "visit", Weight: 1}}, Window: nextbest.Duration(time.Hour)}}}
	for _, d := range estimators.Catalogue() {
		c, err := estimators.ParseChoice(d.Name)
		if err != nil {
			return nil, err
		}
		if offline.Computes(c) && d.Name != "replay" {
			request.Estimators = append(request.Estimators, c)
			r.Estimators = append(r.Estimators, d.Name)
		}
	}
	run := func(name string, candidate offline.Candidate, request offline.Request) (EvaluateRun, error) {
		progress("evaluating: %s", name)
		request.Candidates = []offline.Candidate{candidate}
		return measureRun(o.CPU, func() error {
			report, err := offline.Run(ctx, reader, request, nil)
			if err != nil {
				return err
			}
			if report.Log.Rows != int64(o.Rows) {
				return fmt.Errorf("%d of %d rows were evaluated", report.Log.Rows, o.Rows)
			}
			return whole(report)
		})
	}
	if r.LinUCB, err = run("LinUCB on every row", linucb, request); err != nil {
		return nil, err
	}
	if r.Given, err = run("given probabilities", given{}, request); err != nil {
		return nil, err
	}
	plain := request
	plain.Estimators, plain.Bootstrap = nil, 0
	ridge, err := run("ridge model", given{}, plain)
	if err != nil {
		return nil, err
	}
	plain.RewardModel = "logistic"
	logistic, err := run("logistic model", given{}, plain)
	if err != nil {
		return nil, err
	}
	r.Logistic = logistic.Seconds - ridge.Seconds
	if !o.Baseline {
		return r, nil
	}
	progress("numpy")
	if r.Baseline, err = runNumpy(ctx, o.Rows, o.Bootstrap, progress); err != nil {
		r.Missing = err.Error()
		return r, nil
	}
	r.Ratio = r.Baseline.Seconds / r.Given.Seconds
	return r, nil
}

// whole refuses to time a report with anything missing.
func whole(report *offline.Report) error {
	for _, e := range report.Results[0].Estimates {
		if e.Problem != "" {
			return fmt.Errorf("%s: %s", e.Estimator, e.Problem)
		}
	}
	if f := report.Results[0].Refusals; len(f) > 0 {
		return fmt.Errorf("refused: %s", f[0].Message)
	}
	return nil
}

// measureRun times f and watches this program's memory.
func measureRun(used func() (program, engine time.Duration), f func() error) (EvaluateRun, error) {
	runtime.GC()
	debug.FreeOSMemory()
	before, _ := resident()
	program, engine := used()
	done, peak := make(chan struct{}), make(chan float64)
	go func() {
		most := before
		for {
			select {
			case <-done:
				peak <- most
				return
			case <-time.After(20 * time.Millisecond):
				if m, ok := resident(); ok {
					most = max(most, m)
				}
			}
		}
	}()
	start := time.Now()
	err := f()
	run := EvaluateRun{Seconds: time.Since(start).Seconds()}
	programAfter, engineAfter := used()
	run.CPU, run.Engine = (programAfter - program).Seconds(), (engineAfter - engine).Seconds()
	close(done)
	run.Memory = <-peak - before
	return run, err
}

// resident is this program's resident memory in MB, and whether it is known.
func resident() (float64, bool) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, false
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0, false
	}
	pages, err := strconv.ParseFloat(fields[1], 64)
	return pages * float64(os.Getpagesize()) / (1 << 20), err == nil
}

// evaluateStart is the time of the first decision.
var evaluateStart = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

// evaluateWorld is what the log is drawn from: a logger that prefers one action
// by features and explores uniformly, and visits that depend on both.
type evaluateWorld struct {
	actions []string
	logger  [evaluateActions][evaluateFeatures]float64
	visits  [evaluateActions][evaluateFeatures]float64
	rng     *rand.Rand
}

func newEvaluateWorld() *evaluateWorld {
	w := &evaluateWorld{rng: rand.New(rand.NewPCG(5, 9))}
	for a := range evaluateActions {
		name := fmt.Sprintf("offer-%02d", a)
		if a == 0 {
			name = nextbest.DoNothing
		}
		w.actions = append(w.actions, name)
		for k := range evaluateFeatures {
			w.logger[a][k], w.visits[a][k] = w.rng.NormFloat64(), w.rng.NormFloat64()/8
		}
	}
	return w
}

func (w *evaluateWorld) context() []float32 {
	x := make([]float32, evaluateFeatures)
	x[0] = 1
	for k := 1; k < evaluateFeatures; k++ {
		x[k] = float32(w.rng.NormFloat64())
	}
	return x
}

// rate is the probability of a visit, about a twentieth.
func (w *evaluateWorld) rate(a int, x []float32) float64 {
	s := -3.0
	for k, v := range x {
		s += w.visits[a][k] * float64(v)
	}
	return 1 / (1 + math.Exp(-s))
}

// distribution is the logger's.
func (w *evaluateWorld) distribution(x []float32) []float64 {
	best, most := 0, math.Inf(-1)
	for a := range w.actions {
		s := 0.0
		for k, v := range x {
			s += w.logger[a][k] * float64(v)
		}
		if s > most {
			best, most = a, s
		}
	}
	p := make([]float64, evaluateActions)
	for a := range p {
		p[a] = evaluateFloor / evaluateActions
	}
	p[best] += 1 - evaluateFloor
	return p
}

// write logs the decisions and what followed.
func (w *evaluateWorld) write(ctx context.Context, log Log, rows int, progress func(format string, args ...any)) error {
	const chunk = 2000
	var decisions []nextbest.Decision
	var rewards []nextbest.Reward
	flush := func() error {
		if _, err := log.Decisions(ctx, decisions); err != nil {
			return err
		}
		if len(rewards) > 0 {
			if _, err := log.Rewards(ctx, rewards); err != nil {
				return err
			}
		}
		decisions, rewards = decisions[:0], rewards[:0]
		return nil
	}
	for i := range rows {
		at := evaluateStart.Add(time.Duration(i) * time.Second)
		id, err := uuid.NewV7()
		if err != nil {
			return err
		}
		x := w.context()
		p := w.distribution(x)
		a := bandit.Draw(p, w.rng.Float64())
		decisions = append(decisions, nextbest.Decision{ID: id, Slot: 1, Time: at, Placement: EvaluatePlacement + "@1", Objective: "visits@1",
			Customer: fmt.Sprintf("c%08d", i/evaluateEach), Source: "live", Action: w.actions[a], Propensity: p[a], Eligible: w.actions, Probabilities: p,
			Policy: "logger@1", Features: "bench@1", X: x, Context: []byte("{}"), Floor: evaluateFloor / evaluateActions, Numerics: bandit.Numerics})
		if w.rng.Float64() < w.rate(a, x) {
			rewards = append(rewards, nextbest.Reward{ID: "r" + strconv.Itoa(i), Kind: "visit", Value: 1, Time: at.Add(time.Minute), DecisionID: id, Slot: 1})
		}
		if len(decisions) == chunk || i == rows-1 {
			if err := flush(); err != nil {
				return err
			}
			progress("writing the log: %d of %d rows", i+1, rows)
		}
	}
	return nil
}

// candidate is LinUCB with a model learned from other customers of the world.
func (w *evaluateWorld) candidate() (offline.Candidate, error) {
	spec, err := bandit.ParseSpec([]byte(`{"algorithm":"linucb","features":"bench@1","params":{"floor":0.02}}`))
	if err != nil {
		return nil, err
	}
	learner, err := bandit.NewLearner(spec, evaluateFeatures)
	if err != nil {
		return nil, err
	}
	for i := range 20_000 {
		x := w.context()
		a := i % evaluateActions
		visit := 0.0
		if w.rng.Float64() < w.rate(a, x) {
			visit = 1
		}
		if err := learner.Learn(w.actions[a], x, visit); err != nil {
			return nil, err
		}
	}
	policy, err := bandit.New(spec, learner.Model())
	if err != nil {
		return nil, err
	}
	return &recomputed{policy: policy}, nil
}

// recomputed asks a policy anew on every row.
type recomputed struct {
	policy bandit.Policy
	arms   []int32
	known  []int32 // the policy's index by the batch's
	scores []float64
}

func (*recomputed) Name() string              { return "linucb" }
func (*recomputed) ContextFree([]string) bool { return true }
func (r *recomputed) Fork() offline.Candidate { return &recomputed{policy: r.policy} }

// Distribution recomputes the policy's distribution.
func (r *recomputed) Distribution(p []float64, b *nextbest.Batch, row int) error {
	for len(r.known) < len(b.Actions) {
		r.known = append(r.known, r.policy.Arm(b.Actions[len(r.known)]))
	}
	eligible, _ := b.Row(row)
	r.arms, r.scores = r.arms[:0], append(r.scores[:0], p...)
	for _, e := range eligible {
		r.arms = append(r.arms, r.known[e])
	}
	return r.policy.Distribution(p, r.scores, &bandit.Request{X: b.X[row*b.Width : (row+1)*b.Width], Arms: r.arms, Preferred: -1})
}

// given is a candidate whose probabilities are known beforehand: half of the
// logger's, half of the action after the logger's.
type given struct{}

func (given) Name() string              { return "given" }
func (given) ContextFree([]string) bool { return true }
func (given) Fork() offline.Candidate   { return given{} }

// Distribution copies the probabilities.
func (given) Distribution(p []float64, b *nextbest.Batch, row int) error {
	_, logged := b.Row(row)
	for i, v := range logged {
		p[i] = (v + logged[(i+1)%len(logged)]) / 2
	}
	return nil
}
