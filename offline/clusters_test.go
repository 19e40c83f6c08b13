package offline

import (
	"context"
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

// What an interval of clusters leaves out is said beside it.
func TestClustersSayWhatTheyLeaveOut(t *testing.T) {
	req := plainRequest(skewed{})
	req.Clusters, req.Estimators = byThree(), []estimators.Choice{choice(t, "mips"), choice(t, "offcem")}
	r := get(t, evaluated(t, clustered{rng: rand.New(rand.NewPCG(8, 3)), rows: 3000}, req), "skewed")
	for name, want := range map[string]string{"mips": "nothing of the bias", "offcem": "how uncertain f is"} {
		if e := shown(t, r, name); !strings.Contains(e.Note, want) {
			t.Errorf("%s: %+v", name, e)
		}
	}
}
