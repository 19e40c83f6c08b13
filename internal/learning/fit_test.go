package learning

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"time"

	"nextbest"
	"nextbest/bandit"
)

// fit is a batch fit of one action: sums over rows taken one by one, without
// any code of the learner.
type fit struct {
	n, squares float64
	b          []float64
	gram       [][]float64
}

// batchFit sums the rows that a model's record names, each with the weight that
// its policy gives to its age at W.
func batchFit(t *testing.T, r *fakeRegistry, rows func(nextbest.Query) []fakeRow, m Model) map[string]*fit {
	t.Helper()
	record := func(kind nextbest.Kind, id string, n uint64) []byte {
		rec, ok := r.Version(kind, id, n)
		if !ok {
			t.Fatalf("no %s %s@%d", kind, id, n)
		}
		return rec.Document
	}
	spec, err := bandit.ParseSpec(record(nextbest.KindPolicy, m.Policy.ID, m.Policy.Version))
	if err != nil {
		t.Fatal(err)
	}
	ref, err := nextbest.ParseRef(m.Objective)
	if err != nil {
		t.Fatal(err)
	}
	var objective nextbest.Objective
	if err := json.Unmarshal(record(nextbest.KindObjective, ref.ID, ref.Version), &objective); err != nil {
		t.Fatal(err)
	}
	fits := map[string]*fit{}
	for _, row := range rows(nextbest.Query{Placement: m.Placement, From: m.Trained.From, To: m.Trained.To, MatureAt: m.Trained.MatureAt,
		Upto: m.Trained.Upto, Split: m.Trained.Split, Objective: objective}) {
		if row.d.SetAside {
			continue
		}
		x, err := encode(r, *row.d)
		if err != nil {
			t.Fatal(err)
		}
		weight := 1.0
		if h := spec.HalfLife(); h != 0 {
			weight = math.Pow(0.5, float64(m.Trained.MatureAt.Sub(row.d.Time))/float64(h))
		}
		fitOf(fits, row.d.Action, len(x)).add(x, row.reward, weight)
	}
	return fits
}

// encode gives a decision's features by the schema f@1.
func encode(r *fakeRegistry, d nextbest.Decision) ([]float32, error) {
	rec, _ := r.Version(nextbest.KindFeatures, "f", 1)
	schema, err := bandit.NewSchema(rec.Document)
	if err != nil {
		return nil, err
	}
	var logged struct{ Context map[string]any }
	if err := json.Unmarshal(d.Context, &logged); err != nil {
		return nil, err
	}
	x := make([]float32, schema.Width())
	return x, schema.Encode(x, logged.Context, d.Time)
}

func fitOf(fits map[string]*fit, action string, width int) *fit {
	f := fits[action]
	if f == nil {
		f = &fit{b: make([]float64, width), gram: make([][]float64, width)}
		for i := range f.gram {
			f.gram[i] = make([]float64, width)
		}
		fits[action] = f
	}
	return f
}

func (f *fit) add(x []float32, reward, weight float64) {
	f.n += weight
	f.squares += weight * reward * reward
	for i := range x {
		f.b[i] += weight * reward * float64(x[i])
		for j := range x {
			f.gram[i][j] += weight * float64(x[i]) * float64(x[j])
		}
	}
}

// assertFit compares a model with a batch fit, 1e-9 relative to the largest
// entry of each sum.
func assertFit(t *testing.T, m *bandit.Model, fits map[string]*fit) {
	t.Helper()
	if len(m.Actions()) != len(fits) {
		t.Fatalf("the model has %v, the fit %d actions", m.Actions(), len(fits))
	}
	for action, f := range fits {
		s, ok := m.Statistics(action)
		if !ok {
			t.Fatalf("the model does not know %s", action)
		}
		near := func(what string, got, want, size float64) {
			if !(math.Abs(got-want) <= 1e-9*size) {
				t.Fatalf("%s: %s is %v, the batch fit has %v", action, what, got, want)
			}
		}
		near("n", s.N, f.n, f.n)
		near("Σr²", s.Squares, f.squares, f.squares)
		var b, a float64
		for i := range f.b {
			b = max(b, math.Abs(f.b[i]))
			a = max(a, f.gram[i][i])
		}
		for i := range f.b {
			near(fmt.Sprintf("b[%d]", i), s.B[i], f.b[i], b)
			for j := range f.gram[i] {
				prior := 0.0
				if i == j {
					prior = m.Precision()
				}
				near(fmt.Sprintf("A[%d][%d]", i, j), s.A[i][j], f.gram[i][j]+prior, a+m.Precision())
			}
		}
	}
}

// TestForgettingGoesOn: without a new row, a model that fades is published
// again now and then, and a window that has left nothing is emptied.
func TestForgettingGoesOn(t *testing.T) {
	for memory, want := range map[string]uint64{"all": 1, "half-life": 3, "window": 2} {
		r, log, c := newPlatformOf(policies[memory]), &fakeLog{}, &clock{epoch.Add(2 * time.Minute)}
		log.add(decision(newRand(12), epoch, "c"))
		tr := newTrainer(t, r, touchedLog{log}, log, c)
		for _, after := range []time.Duration{0, time.Second, 12 * time.Second, 13 * time.Second, 200 * time.Second, 201 * time.Second} {
			c.t = epoch.Add(2*time.Minute + after)
			if err := tr.Pass(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if r.current() != want {
			t.Errorf("%s: %d models, want %d", memory, r.current(), want)
		}
		m, parameters := r.parameters(r.current())
		if memory == "window" && (m.Trained.Rows != 0 || len(parameters.Actions()) != 0) {
			t.Errorf("the window has passed and %d rows are remembered", m.Trained.Rows)
		}
		again, err := tr.Reproduce(t.Context(), lints, m.Number)
		if err != nil {
			t.Fatal(err)
		}
		assertSame(t, parameters, again.Model)
	}
}
