package offline

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/uuid"

	"nextbest"
	"nextbest/estimators"
)

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

// What carries a value per list are lists, whose weights are products of their
// slots': thousands of slots can be a few lists' worth.
func TestListsThatHardlyAgree(t *testing.T) {
	lists := []estimators.Row{
		{Slots: []estimators.Slot{{Weight: 2, Reward: 1}, {Weight: 3, Reward: 1}}},
		{Slots: []estimators.Slot{{Weight: 0.5}, {Weight: 0, Reward: 1}}},
	}
	if c := weightsOfLists(lists); c.Rows != 2 || c.Weight != 6 || c.AbsShare != 2+6 || c.Conversion != 1 || c.MaxWeight != 6 {
		t.Errorf("%+v", c)
	}
	e := &extras{}
	for range 400 {
		for range 19 { // lists that stop agreeing at the second slot
			e.lists.add(uuid.New(), estimators.Slot{Weight: 1, Reward: 1})
		}
		e.lists.take()
	}
	c, r, j := choice(t, "cascade_dr"), &Result{}, &judge{req: &Request{Limits: estimators.DefaultLimits}}
	if why := e.problem(j, &c, r); why != "" {
		t.Errorf("lists that agree: %s", why)
	}
	id := uuid.New()
	e.lists.add(id, estimators.Slot{Weight: 100})
	e.lists.add(id, estimators.Slot{Weight: 100, Reward: 1})
	e.lists.take()
	if why := e.problem(j, &c, r); !strings.Contains(why, "by its own weights") {
		t.Errorf("one list outweighs all others: %q", why)
	}
}
