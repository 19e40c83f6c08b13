package offline

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// clusterFile writes a log of four actions in two clusters with the probabilities
// of all of them, whose rewards are revenue where asked for.
func clusterFile(t *testing.T, rows int, revenue bool, change func(i int, logger, candidate []float64)) string {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, 9))
	var b strings.Builder
	b.WriteString("reward,action,propensity,evaluation_probabilities,logger_probabilities,customer\n")
	for i := range rows {
		logger, candidate := []float64{0.4, 0.3, 0.2, 0.1}, []float64{0.1, 0.1, 0.2, 0.6}
		if change != nil {
			change(i, logger, candidate)
		}
		u, a := rng.Float64(), 0
		for a < 3 && u >= logger[a] {
			u -= logger[a]
			a++
		}
		reward := 0.0
		if rng.Float64() < 0.1+0.2*float64(a/2) {
			reward = 1
			if revenue {
				reward = math.Exp(rng.NormFloat64() / 2)
			}
		}
		list := func(p []float64) string { return strings.ReplaceAll(fmt.Sprint(p), " ", ",") }
		fmt.Fprintf(&b, "%v,%d,%v,%q,%q,c%06d\n", reward, a, logger[a], list(candidate), list(logger), i/2)
	}
	path := filepath.Join(t.TempDir(), "log.csv")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A file with all probabilities of logger and candidate gives MIPS where clusters
// are named: with an action to a cluster it is IPS.
func TestFileClusters(t *testing.T) {
	path := clusterFile(t, 8000, false, nil)
	truth := 0.2*0.1 + 0.8*0.3
	for name, clusters := range map[string]map[string]string{"alone": {"0": "x"}, "two": {"0": "x", "1": "x", "2": "y", "3": "y"}} {
		r, err := EvaluateFile(t.Context(), path, FileOptions{Floor: 0.1, Clusters: clusters}, nil)
		if err != nil {
			t.Fatal(err)
		}
		mips, ok := r.Estimate("mips")
		ips, _ := r.Estimate("ips")
		switch {
		case !ok || mips.Value == nil:
			t.Errorf("%s: no MIPS: %v", name, r.Missing)
		case name == "alone" && math.Abs(*mips.Value-*ips.Value) > 1e-12:
			t.Errorf("an action to a cluster: MIPS %v, IPS %v", *mips.Value, *ips.Value)
		case name == "two" && (math.Abs(*mips.Value-truth) > 4**mips.StdErr || !(*mips.StdErr < 0.8**ips.StdErr)):
			t.Errorf("MIPS %v ± %v, truth %v, IPS ± %v", *mips.Value, *mips.StdErr, truth, *ips.StdErr)
		}
	}
	// A candidate that wants a cluster that the logger never takes.
	path = clusterFile(t, 3000, false, func(_ int, logger, _ []float64) { copy(logger, []float64{0.5, 0.5, 0, 0}) })
	r, err := EvaluateFile(t.Context(), path, FileOptions{Clusters: map[string]string{"2": "y", "3": "y"}, Estimators: []string{"mips"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if m := fmt.Sprint(r.Missing); !strings.Contains(m, "80.0% of the candidate's decisions are of clusters that the logger never takes") {
		t.Errorf("missing: %s", m)
	}
	if r, err = EvaluateFile(t.Context(), path, FileOptions{Estimators: []string{"mips"}}, nil); err != nil || !strings.Contains(fmt.Sprint(r.Missing), "--cluster") {
		t.Errorf("without clusters: %v, %v", err, r.Missing)
	}
	if _, err = EvaluateFile(t.Context(), path, FileOptions{Clusters: map[string]string{"2": ""}}, nil); err == nil || !strings.Contains(err.Error(), "clusters.2") {
		t.Errorf("a cluster without a name: %v", err)
	}
	for want, change := range map[string]func(i int, logger, _ []float64){
		"must sum to 1": func(i int, logger, _ []float64) {
			if i == 7 {
				logger[3] = 0.2
			}
		},
		"must be in [0, 1]": func(i int, logger, _ []float64) {
			if i == 7 {
				logger[3], logger[0] = -0.1, 0.6
			}
		},
	} {
		if _, err := EvaluateFile(t.Context(), clusterFile(t, 20, false, change), FileOptions{}, nil); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "logger_probabilities") {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// A file whose logger learned gives weighted AIPW with a confidence sequence where
// a floor is declared.
func TestFileAdaptive(t *testing.T) {
	path := clusterFile(t, 9000, false, func(i int, logger, _ []float64) {
		f := 0.3 * float64(i) / 9000 // the first action's share moves to the last
		logger[0], logger[3] = logger[0]-f, logger[3]+f
	})
	for _, floor := range []float64{0.1, 0} {
		r, err := EvaluateFile(t.Context(), path, FileOptions{Floor: floor, Logger: loggerAdaptive, RewardMin: new(float64), RewardMax: ptr(1.0)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		e, ok := r.Estimate("adaptive_aipw")
		if ok != (floor > 0) {
			t.Fatalf("floor %v: %+v", floor, e)
		}
		if truth := 0.2*0.1 + 0.8*0.3; ok && (e.Interval != methodSequence || !(*e.Low < truth && truth < *e.High) || !strings.Contains(e.Note, "order of time; without predictions q is 0")) {
			t.Errorf("%+v", e)
		}
	}
	r, err := EvaluateFile(t.Context(), path, FileOptions{Floor: 0.1, Logger: loggerFixed, Estimators: []string{"adaptive_aipw"}}, nil)
	if _, has := r.Estimate("adaptive_aipw"); err != nil || has || !strings.Contains(fmt.Sprint(r.Missing), "logger that learned") {
		t.Errorf("a fixed logger: %v %+v", err, r.Missing)
	}
}

// The pieces keep their sums however long the file is, and blocks are of about as
// many rows.
func TestPieceSums(t *testing.T) {
	for _, n := range []int{1, 9, 255, 256, 257, 5000, 100_000} {
		var p pieceSums
		for i := range n {
			p.add(float64(i))
		}
		b := p.blocks()
		var sum, rows float64
		for k := range b.sum[0] {
			sum += b.sum[0][k]
			rows += b.rows[0][k]
			if n >= 5000 && math.Abs(b.rows[0][k]/float64(n)-0.1) > 0.01 {
				t.Errorf("%d rows: block %d has %v", n, k, b.rows[0][k])
			}
		}
		if rows != float64(n) || sum != float64(n*(n-1)/2) || p.block(0) != 0 || p.block(int64(n-1)) >= blocksOfTime {
			t.Errorf("%d rows: sum %v of %v rows, the last in block %d", n, sum, rows, p.block(int64(n-1)))
		}
	}
}

// Revenue has quantiles under the candidate and as it was, conversions have not.
func TestFileDistribution(t *testing.T) {
	o := FileOptions{Floor: 0.1, RewardMin: new(float64), RewardMax: ptr(50.0), Distribution: true}
	r, err := EvaluateFile(t.Context(), clusterFile(t, 8000, true, nil), o, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range map[string]*Distribution{"candidate": r.Distribution, "logged": r.LoggedDistribution} {
		if d == nil || d.Problem != "" || len(d.Points) < 50 {
			t.Fatalf("%s: %+v", name, d)
		}
		// A share p earns e^(Z/2): the quantile .9 is e^(z/2) with P(Z > z) = .1/p.
		p := map[string]float64{"candidate": 0.26, "logged": 0.16}[name]
		for _, q := range d.Quantiles {
			if z := map[string]float64{"candidate": 0.2933, "logged": -0.3186}[name]; q.P == 0.9 && !(*q.Low <= math.Exp(z/2) && math.Exp(z/2) <= *q.High) {
				t.Errorf("%s, a share of %v earns: %s", name, p, q.String())
			}
		}
	}
	var b strings.Builder
	if err := r.WriteTable(&b); err != nil || !strings.Contains(b.String(), "what ran   quantile 0.9") {
		t.Errorf("table: %v\n%s", err, b.String())
	}
	if r, err = EvaluateFile(t.Context(), clusterFile(t, 2000, false, nil), o, nil); err != nil || !strings.Contains(r.Distribution.Problem, "0 and 1") {
		t.Errorf("conversions: %v", err)
	}
}
