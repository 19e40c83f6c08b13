package offline

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"nextbest"
	"nextbest/estimators"
)

func shown(t *testing.T, r *Result, name string) Shown {
	t.Helper()
	for _, s := range r.Estimates {
		if s.Estimator == name {
			return s
		}
	}
	t.Fatalf("no estimate %q of %s", name, r.Name)
	return Shown{}
}

// all asks for every estimator that needs more than the usual columns, and for
// what else there is beside them.
func all(t *testing.T, req Request) Request {
	for _, name := range []string{"mips", "offcem", "mrdr", "balanced", "adaptive_aipw", "cascade_dr", "position_ips"} {
		req.Estimators = append(req.Estimators, choice(t, name))
	}
	req.Clusters = map[string]string{"offer-01": "one"}
	req.Distribution = true
	return req
}

// With one action to a cluster, one logger and one slot, the estimators of
// clusters, loggers and lists are IPS and DR.
func TestColumnIdentities(t *testing.T) {
	s := conversions()
	s.Customers = 4000
	r := get(t, evaluated(t, s, all(t, request(s, s.Best().Explore(0.1)))), "best+0.1")
	for name, want := range map[string]float64{"mips": r.IPS.Value, "balanced": r.IPS.Value, "position_ips": r.IPS.Value, "offcem": r.DR.Value, "cascade_dr": r.DR.Value} {
		e := shown(t, r, name)
		if e.Problem != "" || math.Abs(e.Value-want) > 1e-12 || !(e.Low < e.Value && e.Value < e.High) {
			t.Errorf("%s: %+v, want %v", name, e, want)
		}
	}
	if e := shown(t, r, "cascade_dr"); e.Unit != unitList || math.Abs(e.Logged.Value-get(t, evaluated(t, s, request(s)), nameLogged).IPS.Value) > 1e-12 {
		t.Errorf("cascade_dr is of %q, beside %+v", e.Unit, e.Logged)
	}
	for _, name := range []string{"mrdr", "adaptive_aipw"} {
		if e := shown(t, r, name); e.Problem != "" || math.Abs(e.Value-r.DR.Value) > r.DR.High-r.DR.Low || e.Value == r.DR.Value {
			t.Errorf("%s: %+v, DR %+v", name, e, r.DR)
		}
	}
}

// Whatever is asked for, the report is the same however rows come in batches and
// whether lanes run side by side, for fixed loggers and for those that learn.
func TestColumnsRepeat(t *testing.T) {
	s := conversions()
	s.Customers, s.Revenue = 1500, true
	for _, adapt := range []bool{false, true} {
		encode := func(size int, c Candidate) string {
			req := all(t, request(s, c))
			req.Adaptive, req.Query.BatchSize = adapt, size
			b, err := json.Marshal(evaluated(t, s, req))
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		want := encode(0, s.Best())
		if strings.Contains(want, "NaN") || !strings.Contains(want, `"cascade_dr"`) {
			t.Errorf("JSON: %s", want)
		}
		for _, size := range []int{1, 97} {
			if encode(size, s.Best()) != want {
				t.Errorf("adaptive %v: batches of %d give another report", adapt, size)
			}
		}
		if encode(100, unforked{s.Best()}) != want {
			t.Errorf("adaptive %v: one core gives another report than two", adapt)
		}
	}
}

// A logistic model is cross-fitted by time as a linear one is: what the first
// block of time is predicted as knows nothing of any reward.
func TestCrossFitByTime(t *testing.T) {
	s := conversions()
	s.Customers = 4000
	for _, kind := range []string{modelRidge, modelLogistic} {
		req := request(s, s.Best())
		req.CrossFit, req.RewardModel = crossFitTime, kind
		report := evaluated(t, s, req)
		r := get(t, report, "best")
		if v := s.Best().Value(); !(r.DR.Low < v && v < r.DR.High) || report.Query.CrossFit != crossFitTime || !strings.Contains(report.Blocks, "10 blocks of time") {
			t.Errorf("%s: DR %+v, truth %g, %q", kind, r.DR, v, report.Blocks)
		}
		if day := r.Days[0]; !(r.DM.Value < 0.97*r.DR.Value) { // a tenth of the rows is predicted as 0
			t.Errorf("%s: DM %v, DR %v, first day %+v", kind, r.DM, r.DR, day)
		}
	}
}

// clustered is a log of twelve actions in three clusters, whose rewards depend on
// the cluster alone.
type clustered struct {
	rng     *rand.Rand
	rows    int
	unknown bool // rows carry the propensity of the logged action alone
	silent  bool // the logger never takes the last cluster
}

var clusterMeans = [3]float64{0.1, 0.3, 0.5}

func (c clustered) Rows(_ context.Context, q nextbest.Query, f func(*nextbest.Batch) error) error {
	rng := *c.rng
	source := rand.NewPCG(rng.Uint64(), 5)
	r := rand.New(source)
	b := &nextbest.Batch{Offsets: []int{0}}
	for a := range 12 {
		b.Actions = append(b.Actions, fmt.Sprintf("a%02d", a))
	}
	p := make([]float64, 12)
	for a := range p {
		p[a] = []float64{0.16, 0.06, 0.03}[a%3]
		if c.silent && a%3 == 2 {
			p[a], p[a-1] = 0, p[a-1]+0.03
		}
	}
	for i := range c.rows {
		u, a := r.Float64(), 0
		for a < 11 && u >= p[a] {
			u -= p[a]
			a++
		}
		converted := r.Float64() < clusterMeans[a%3]
		appendRow(b, i, fmt.Sprintf("c%07d", i), p, a, 0.02, converted)
		if c.unknown {
			for k := range p {
				b.Probabilities[len(b.Probabilities)-1-k] = math.NaN()
			}
		}
	}
	return f(b)
}

// appendRow adds a row that has all actions of the batch, of a logger with
// probabilities p.
func appendRow(b *nextbest.Batch, i int, customer string, p []float64, chosen int, floor float64, converted bool) {
	var id uuid.UUID
	id[0], id[1], id[2], id[15] = byte(i>>16), byte(i>>8), byte(i), 1
	b.Decision, b.Customer = append(b.Decision, id), append(b.Customer, customer)
	b.Time = append(b.Time, simulationStart.Add(time.Duration(i)*time.Second).UnixMicro())
	for a := range p {
		b.Eligible = append(b.Eligible, uint32(a))
	}
	b.Probabilities = append(b.Probabilities, p...)
	b.Offsets = append(b.Offsets, len(b.Eligible))
	b.Chosen, b.Propensity, b.Floor = append(b.Chosen, chosen), append(b.Propensity, p[chosen]), append(b.Floor, floor)
	b.Policies, b.Experiment, b.Arm = append(b.Policies, "p@1"), append(b.Experiment, ""), append(b.Arm, "")
	reward := 0.0
	if converted {
		reward = 1
	}
	b.Reward, b.Matched = append(b.Reward, reward), append(b.Matched, converted)
}

// skewed takes the rarest action nine times in ten.
type skewed struct{}

func (skewed) Name() string { return "skewed" }

func (skewed) Distribution(p []float64, b *nextbest.Batch, i int) error {
	for a := range p {
		p[a] = 0.1 / 11
	}
	p[11] = 0.9
	return nil
}

func plainRequest(candidates ...Candidate) Request {
	return Request{Query: nextbest.Query{Placement: "p", MatureAt: simulationStart.Add(1000 * time.Hour),
		Objective: nextbest.Objective{Terms: []nextbest.Term{{Reward: "purchase", Weight: 1}}, Window: nextbest.Duration(time.Hour)}}, Candidates: candidates, Seed: 5}
}

func byThree() map[string]string {
	m := map[string]string{}
	for a := range 12 {
		m[fmt.Sprintf("a%02d", a)] = fmt.Sprint("cluster-", a%3)
	}
	return m
}

// Where actions act through their clusters alone, MIPS and OffCEM are unbiased,
// with a smaller variance than IPS.
func TestClustersByReplication(t *testing.T) {
	reps := 250
	if testing.Short() {
		reps = 60
	}
	truth := 0.0
	p := make([]float64, 12)
	_ = skewed{}.Distribution(p, nil, 0)
	for a, π := range p {
		truth += π * clusterMeans[a%3]
	}
	got := map[string]*estimators.Ratio{"ips": {}, "mips": {}, "offcem": {}}
	for rep := range reps {
		req := plainRequest(skewed{})
		req.Clusters = byThree()
		req.Estimators = []estimators.Choice{choice(t, "ips"), choice(t, "mips"), choice(t, "offcem")}
		r := get(t, evaluated(t, clustered{rng: rand.New(rand.NewPCG(uint64(rep), 3)), rows: 1500}, req), "skewed")
		for name, sum := range got {
			e := shown(t, r, name)
			if e.Problem != "" {
				t.Fatalf("%s: %s", name, e.Problem)
			}
			sum.Add(e.Value-truth, 1)
		}
	}
	sd := map[string]float64{}
	for name, sum := range got {
		e, _ := sum.Estimate()
		sd[name] = e.StdErr
		if math.Abs(e.Value) > 4*e.StdErr {
			t.Errorf("%s: bias %+.4f ± %.4f", name, e.Value, e.StdErr)
		}
	}
	t.Logf("standard errors of the mean: %v", sd)
	// OffCEM pays for what its model has to learn of actions in the same cluster.
	if !(sd["mips"] < 0.6*sd["ips"] && sd["offcem"] < 0.95*sd["ips"]) {
		t.Errorf("clusters do not help: %v", sd)
	}
}

// What a log cannot give is refused with the reason.
func TestColumnsRefused(t *testing.T) {
	log := func() clustered { return clustered{rng: rand.New(rand.NewPCG(8, 3)), rows: 3000} }
	for _, c := range []struct {
		name   string
		reader func() Reader
		change func(*Request)
		of     string
		want   string
	}{
		{"no probabilities", func() Reader { l := log(); l.unknown = true; return l }, nil, "mips", "3000 rows carry only the propensity"},
		{"no probabilities", func() Reader { l := log(); l.unknown = true; return l }, nil, "offcem", "3000 rows carry only the propensity"},
		{"clusters that are never tried", func() Reader { l := log(); l.silent = true; return l }, nil, "mips", "of clusters that the log never tries"},
		{"a logger that learned", func() Reader { return log() }, func(r *Request) { r.Adaptive = true }, "balanced", "the balanced weight is for fixed loggers"},
		{"no floor", func() Reader { s := conversions(); s.Customers, s.Undeclared = 3000, true; return s }, nil, "adaptive_aipw", "declared exploration floor"},
		{"arms and caps", func() Reader { s := conversions(); s.Customers = 3000; return armed{s} }, func(r *Request) { r.Query.Own = true }, "balanced", "the mixture of the arms is not the probability"},
		{"lists", func() Reader { s := conversions(); s.Customers = 3000; return slotted{s} }, nil, "position_ips", "whatever stands above it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			reader := c.reader()
			var req Request
			name := "skewed"
			if _, ok := reader.(clustered); ok {
				req = plainRequest(skewed{})
			} else {
				s := conversions()
				s.Customers = 3000
				req, name = request(s, s.Best()), "best"
			}
			req.Clusters, req.Estimators = byThree(), []estimators.Choice{choice(t, c.of)}
			if c.change != nil {
				c.change(&req)
			}
			if e := shown(t, get(t, evaluated(t, reader, req), name), c.of); !strings.Contains(e.Problem, c.want) || e.Figure != (Figure{}) {
				t.Errorf("%+v, want a problem with %q", e, c.want)
			}
		})
	}
	req := plainRequest(skewed{})
	req.Estimators = []estimators.Choice{choice(t, "offcem")}
	if _, err := Run(t.Context(), log(), req, nil); err == nil || !strings.Contains(err.Error(), "give clusters, or cluster_by") {
		t.Errorf("clusters without clusters: %v", err)
	}
	req.Clusters, req.CrossFit = map[string]string{"a00": "", "b": "x"}, "row"
	if _, err := Run(t.Context(), log(), req, nil); err == nil || !strings.Contains(err.Error(), "a cluster needs a name") || !strings.Contains(err.Error(), `"row"`) {
		t.Errorf("a cluster without a name, and a way to cross-fit that is none: %v", err)
	}
	req.Clusters, req.CrossFit = map[string]string{"a00": "x", "b": "x"}, ""
	if w := evaluated(t, log(), req).Warnings; !strings.Contains(strings.Join(w, "\n"), "clusters name actions that the log does not have: b") {
		t.Errorf("warnings %q", w)
	}
}

// Where the log never tries an action but its cluster, IPS has bounds and MIPS a
// value.
func TestClustersBridgeMissingActions(t *testing.T) {
	req := plainRequest(always{"last", 11})
	req.Clusters, req.Estimators = byThree(), []estimators.Choice{choice(t, "ips"), choice(t, "mips")}
	r := get(t, evaluated(t, missingAction{clustered{rng: rand.New(rand.NewPCG(8, 3)), rows: 6000}}, req), "last")
	if len(r.Estimates) != 1 || r.Bounds == nil || r.IPS != nil {
		t.Fatalf("%+v", r)
	}
	if e := shown(t, r, "mips"); e.Problem != "" || !(e.Low < 0.5 && 0.5 < e.High) {
		t.Errorf("%+v", e)
	}
}

// missingAction takes the ninth action where the log takes the last, and logs so.
type missingAction struct{ clustered }

func (m missingAction) Rows(ctx context.Context, q nextbest.Query, f func(*nextbest.Batch) error) error {
	return m.clustered.Rows(ctx, q, func(b *nextbest.Batch) error {
		for i := range b.N() {
			_, p := b.Row(i)
			p[8] += p[11]
			p[11], b.Floor[i] = 0, 0
			if b.Chosen[i] == 11 {
				b.Chosen[i] = 8
			}
			b.Propensity[i] = p[b.Chosen[i]]
		}
		return f(b)
	})
}

// lists is a log of lists of two slots, drawn without repeats from three actions:
// a cascade, whose second reward depends on both actions.
type lists struct {
	rng  *rand.Rand
	rows int
}

var (
	listFirst = [3]float64{0.1, 0.4, 0.2}
	listLog   = [3]float64{0.5, 0.3, 0.2}
	listWants = [3]float64{0.1, 0.3, 0.6}
)

func listSecond(a, b int) float64 { return 0.05 + 0.2*float64(a) + 0.1*float64(b) }

func (l lists) Rows(_ context.Context, _ nextbest.Query, f func(*nextbest.Batch) error) error {
	rng := *l.rng
	r := rand.New(rand.NewPCG(rng.Uint64(), 5))
	b := &nextbest.Batch{Actions: []string{"a0", "a1", "a2"}, Offsets: []int{0}}
	for i := range l.rows {
		first := -1
		for slot := range 2 {
			p, total := [3]float64{}, 0.0
			for a, v := range listLog {
				if a != first {
					p[a] = v
					total += v
				}
			}
			u, chosen, place := r.Float64()*total, 0, 0
			var left []float64
			var names []uint32
			for a, v := range p {
				if a == first {
					continue
				}
				if v /= total; u >= 0 {
					chosen, place = a, len(left)
				}
				u -= p[a]
				left, names = append(left, v), append(names, uint32(a))
			}
			mean := listFirst[chosen]
			if slot == 1 {
				mean = listSecond(first, chosen)
			}
			appendRow(b, i, fmt.Sprintf("c%07d", i/2), left, place, 0.2, r.Float64() < mean)
			copy(b.Eligible[len(b.Eligible)-len(names):], names)
			first = chosen
		}
	}
	return f(b)
}

// wants draws a list by weights of its own.
type wants struct{}

func (wants) Name() string { return "wants" }

func (wants) Distribution(p []float64, b *nextbest.Batch, i int) error {
	eligible, _ := b.Row(i)
	total := 0.0
	for _, a := range eligible {
		total += listWants[a]
	}
	for k, a := range eligible {
		p[k] = listWants[a] / total
	}
	return nil
}

// The value of lists under a cascade is per list, and right; row by row it is
// that of other lists, whose earlier slots are as they were logged.
func TestListsByReplication(t *testing.T) {
	reps := 250
	if testing.Short() {
		reps = 60
	}
	truth, ran := 0.0, 0.0
	for a := range 3 {
		for b := range 3 {
			if a != b {
				truth += listWants[a] * listWants[b] / (1 - listWants[a]) * (listFirst[a] + listSecond(a, b))
				ran += listLog[a] * listLog[b] / (1 - listLog[a]) * (listFirst[a] + listSecond(a, b))
			}
		}
	}
	var bias, logged, byRow estimators.Ratio
	in := 0.0
	for rep := range reps {
		req := plainRequest(wants{})
		req.Query.Own = true
		req.Estimators = []estimators.Choice{choice(t, "cascade_dr")}
		r := get(t, evaluated(t, lists{rand.New(rand.NewPCG(uint64(rep), 9)), 1000}, req), "wants")
		e := shown(t, r, "cascade_dr")
		if e.Problem != "" || e.Unit != unitList {
			t.Fatalf("%+v", e)
		}
		bias.Add(e.Value-truth, 1)
		logged.Add(e.Logged.Value-ran, 1)
		byRow.Add(2*r.DR.Value-truth, 1)
		if e.Low <= truth && truth <= e.High {
			in++
		}
	}
	for name, sum := range map[string]*estimators.Ratio{"cascade_dr": &bias, "what ran": &logged} {
		if e, _ := sum.Estimate(); math.Abs(e.Value) > 4*e.StdErr {
			t.Errorf("%s: bias %+.4f ± %.4f", name, e.Value, e.StdErr)
		}
	}
	e, _ := bias.Estimate()
	w, _ := byRow.Estimate()
	n := float64(reps)
	t.Logf("bias %+.4f ± %.4f, coverage %.3f; twice DR by row %+.4f ± %.4f", e.Value, e.StdErr, in/n, w.Value, w.StdErr)
	if math.Abs(in/n-0.95) > 0.0195+3*math.Sqrt(0.95*0.05/n) {
		t.Errorf("coverage %.3f", in/n)
	}
	if math.Abs(w.Value) < 8*w.StdErr {
		t.Errorf("twice DR by row is off by %+.4f ± %.4f only", w.Value, w.StdErr)
	}
}

// bent is a log with one feature whose rewards no linear model has right, and a
// logger that leans.
type bent struct {
	rng  *rand.Rand
	rows int
}

func (l bent) Rows(_ context.Context, _ nextbest.Query, f func(*nextbest.Batch) error) error {
	rng := *l.rng
	r := rand.New(rand.NewPCG(rng.Uint64(), 5))
	b := &nextbest.Batch{Actions: []string{"a0", "a1"}, Offsets: []int{0}, Width: 1}
	for i := range l.rows {
		x := r.Float64()
		p := []float64{0.9 - 0.85*x, 0.1 + 0.85*x}
		a := 0
		if r.Float64() < p[1] {
			a = 1
		}
		appendRow(b, i, fmt.Sprintf("c%07d", i), p, a, 0.05, r.Float64() < bentMean(x, a))
		b.X = append(b.X, float32(x))
	}
	return f(b)
}

func bentMean(x float64, a int) float64 { return 0.6*x*x + 0.4*float64(a)*(1-x)*(1-x) }

// MRDR is unbiased though its model is wrong, and its errors are no larger than
// those of DR.
func TestMRDRByReplication(t *testing.T) {
	reps := 250
	if testing.Short() {
		reps = 60
	}
	const truth = 0.6/3 + 0.4/3
	var bias, usual estimators.Ratio
	for rep := range reps {
		req := plainRequest(always{"one", 1})
		req.Estimators = []estimators.Choice{choice(t, "mrdr"), choice(t, "dr")}
		r := get(t, evaluated(t, bent{rand.New(rand.NewPCG(uint64(rep), 11)), 1500}, req), "one")
		e, d := shown(t, r, "mrdr"), shown(t, r, "dr")
		if e.Problem != "" {
			t.Fatal(e.Problem)
		}
		bias.Add(e.Value-truth, 1)
		usual.Add(d.Value-truth, 1)
	}
	e, _ := bias.Estimate()
	d, _ := usual.Estimate()
	t.Logf("MRDR bias %+.5f ± %.5f, DR %+.5f ± %.5f", e.Value, e.StdErr, d.Value, d.StdErr)
	if math.Abs(e.Value) > 4*e.StdErr || e.StdErr > d.StdErr*1.01 {
		t.Errorf("MRDR: bias %+.5f ± %.5f; DR ± %.5f", e.Value, e.StdErr, d.StdErr)
	}
}
