package learning

import (
	"context"
	"math"
	"slices"
	"time"

	"nextbest"
	"nextbest/bandit"
)

// Tolerance is how far a model may lie from one learned again from its record:
// sums taken in another order differ by rounding alone.
const Tolerance = 1e-9

// Rebuilt says how a model compares with one learned from zero, from the log,
// by its record.
type Rebuilt struct {
	Policy     nextbest.Ref `json:"policy"`
	Model      uint64       `json:"model"`
	Rows       int64        `json:"rows"`     // learned again
	Recorded   int64        `json:"recorded"` // rows that the record names
	Unusable   int64        `json:"unusable,omitempty"`
	Difference Difference   `json:"difference"`
	Same       bool         `json:"same"` // as many rows, and no difference above 1e-9
	Seconds    float64      `json:"seconds"`
}

// Difference is the largest difference of two models' sums over all actions,
// each relative to the largest number of that sum of that action in either. An
// action that only one of them has differs by 1.
type Difference struct {
	A       float64 `json:"a"`
	B       float64 `json:"b"` // Σ r x, and Σ r where the model keeps that apart
	N       float64 `json:"n"`
	Squares float64 `json:"squares"` // Σr²
}

// Max returns the largest of them.
func (d Difference) Max() float64 { return max(d.A, d.B, d.N, d.Squares) }

// Compare returns the difference of two models.
func Compare(x, y *bandit.Model) Difference {
	var d Difference
	for _, action := range union(x.Actions(), y.Actions()) {
		a, inX := x.Statistics(action)
		b, inY := y.Statistics(action)
		if !inX || !inY {
			return Difference{1, 1, 1, 1}
		}
		d.A = max(d.A, relative(slices.Concat(a.A...), slices.Concat(b.A...)))
		d.B = max(d.B, relative(a.B, b.B), relative([]float64{a.Amounts}, []float64{b.Amounts}))
		d.N = max(d.N, relative([]float64{a.N}, []float64{b.N}))
		d.Squares = max(d.Squares, relative([]float64{a.Squares}, []float64{b.Squares}), relative([]float64{a.AmountSquares}, []float64{b.AmountSquares}))
	}
	return d
}

// relative is the largest difference over the largest number, 1 for lengths that
// disagree.
func relative(x, y []float64) float64 {
	if len(x) != len(y) {
		return 1
	}
	var largest, difference float64
	for i := range x {
		largest = max(largest, math.Abs(x[i]), math.Abs(y[i]))
		difference = max(difference, math.Abs(x[i]-y[i]))
	}
	if difference == 0 {
		return 0
	}
	return difference / largest
}

// union returns the ids of both, sorted, each once.
func union(x, y []string) []string {
	all := slices.Concat(x, y)
	slices.Sort(all)
	return slices.Compact(all)
}

// Rebuild learns a published model again from the log, by its record alone, and
// compares. Number 0 is the current model, or the newest where none is current.
// Nothing is published. progress is told how many rows are learned.
func (t *Trainer) Rebuild(ctx context.Context, policy nextbest.Ref, number uint64, progress func(rows int64)) (Rebuilt, error) {
	start := time.Now()
	if number == 0 {
		var err error
		if number, err = t.newest(policy); err != nil {
			return Rebuilt{}, err
		}
	}
	m, published, err := t.parameters(ctx, policy, number)
	if err != nil {
		return Rebuilt{}, err
	}
	again, err := t.again(ctx, m, progress)
	if err != nil {
		return Rebuilt{}, err
	}
	r := Rebuilt{Policy: policy, Model: number, Rows: again.Rows, Recorded: m.Trained.Rows, Unusable: again.Unusable,
		Difference: Compare(published, again.Model), Seconds: time.Since(start).Seconds()}
	r.Same = r.Rows == r.Recorded && r.Difference.Max() <= Tolerance
	return r, nil
}

// newest returns the number of the current model, or of the newest one.
func (t *Trainer) newest(policy nextbest.Ref) (uint64, error) {
	if rec, ok := t.opts.Definitions.Get(nextbest.KindCurrent, ID(policy)); ok {
		c, err := parseCurrent(rec)
		return c.Model, err
	}
	rec, ok := t.opts.Definitions.Get(nextbest.KindModel, ID(policy))
	if !ok {
		return 0, nextbest.Errorf(nextbest.NotFound, "policy %s has no model", policy)
	}
	return rec.Version, nil
}

// parameters returns a published model with its parameters.
func (t *Trainer) parameters(ctx context.Context, policy nextbest.Ref, number uint64) (Model, *bandit.Model, error) {
	rec, ok := t.opts.Definitions.Version(nextbest.KindModel, ID(policy), number)
	if !ok || rec.Deleted {
		return Model{}, nil, nextbest.Errorf(nextbest.NotFound, "policy %s has no model %d", policy, number)
	}
	m, err := ParseModel(rec)
	if err != nil {
		return Model{}, nil, err
	}
	content, err := t.opts.Blobs.Blob(ctx, m.Hash)
	if err != nil {
		return Model{}, nil, nextbest.Errorf(nextbest.CodeOf(err), "parameters of model %d of policy %s: %w", number, policy, err)
	}
	parameters, err := bandit.UnmarshalModel(content)
	if err != nil {
		return Model{}, nil, nextbest.Errorf(nextbest.Internal, "parameters of model %d of policy %s: %w", number, policy, err)
	}
	return m, parameters, nil
}
