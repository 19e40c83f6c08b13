package learning

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"

	"nextbest"
	"nextbest/bandit"
)

// mostChanges is how many weights of an action a diff shows.
const mostChanges = 10

// Diff says what a model has learned since another of the same policy version.
type Diff struct {
	Policy    nextbest.Ref    `json:"policy"`
	From      uint64          `json:"from"`
	To        uint64          `json:"to"`
	RowsAdded int64           `json:"rows_added"` // by their records; negative where the second has fewer
	NoiseFrom float64         `json:"noise_from"` // residual σ
	NoiseTo   float64         `json:"noise_to"`
	Actions   []ActionChanges `json:"actions"` // largest change first
}

// ActionChanges are the largest changes of one action's weights.
type ActionChanges struct {
	Action   string         `json:"action"`
	RowsFrom float64        `json:"rows_from"` // 0: the first model does not know it
	RowsTo   float64        `json:"rows_to"`
	Weights  []WeightChange `json:"weights"` // the ten largest, largest first
}

// WeightChange is one weight in both models. Change is the difference in units of
// the first model's standard error: how far the second lies from what the first
// believed.
type WeightChange struct {
	Feature       string  `json:"feature"`
	From          float64 `json:"from"`
	To            float64 `json:"to"`
	StandardError float64 `json:"standard_error"`
	Change        float64 `json:"change"`
}

// Diff compares two models of a policy version by their weights.
func (t *Trainer) Diff(ctx context.Context, policy nextbest.Ref, from, to uint64) (Diff, error) {
	spec, schema, err := t.policy(policy)
	if err != nil {
		return Diff{}, err
	}
	if schema == nil {
		schema = bandit.BiasAlone()
	}
	before, x, err := t.parameters(ctx, policy, from)
	if err != nil {
		return Diff{}, err
	}
	after, y, err := t.parameters(ctx, policy, to)
	if err != nil {
		return Diff{}, err
	}
	d := Diff{Policy: policy, From: from, To: to, RowsAdded: after.Trained.Rows - before.Trained.Rows, NoiseFrom: x.Noise(), NoiseTo: y.Noise(), Actions: []ActionChanges{}}
	old, err := weightsByAction(x, spec, schema)
	if err != nil {
		return Diff{}, err
	}
	new, err := weightsByAction(y, spec, schema)
	if err != nil {
		return Diff{}, err
	}
	for _, action := range union(slices.Collect(maps.Keys(old)), slices.Collect(maps.Keys(new))) {
		d.Actions = append(d.Actions, changes(action, known(old, action, x, schema), known(new, action, y, schema)))
	}
	slices.SortStableFunc(d.Actions, func(a, b ActionChanges) int { return cmp.Compare(b.largest(), a.largest()) })
	return d, nil
}

func (a ActionChanges) largest() float64 { return math.Abs(a.Weights[0].Change) }

func weightsByAction(m *bandit.Model, spec bandit.Spec, schema *bandit.Schema) (map[string]bandit.ActionWeights, error) {
	all, err := m.Weights(spec, schema)
	if err != nil {
		return nil, err
	}
	weights := map[string]bandit.ActionWeights{}
	for _, w := range all {
		weights[w.Action] = w
	}
	return weights, nil
}

// known returns an action's weights; the prior's where the model has none: 0
// with standard error σ/√λ.
func known(weights map[string]bandit.ActionWeights, action string, m *bandit.Model, schema *bandit.Schema) bandit.ActionWeights {
	w, ok := weights[action]
	if !ok {
		for _, name := range schema.Names() {
			w.Weights = append(w.Weights, bandit.Weight{Feature: name, StandardError: m.Noise() / math.Sqrt(m.Precision())})
		}
	}
	return w
}

// changes compares one action's weights. A weight that was certain, which is one
// of a model without residual noise, changes by 0 or by the largest number there is.
func changes(action string, from, to bandit.ActionWeights) ActionChanges {
	c := ActionChanges{Action: action, RowsFrom: from.Rows, RowsTo: to.Rows}
	for i, w := range from.Weights {
		change := to.Weights[i].Weight - w.Weight
		if change != 0 {
			change = min(max(change/w.StandardError, -math.MaxFloat64), math.MaxFloat64)
		}
		c.Weights = append(c.Weights, WeightChange{Feature: w.Feature, From: w.Weight, To: to.Weights[i].Weight, StandardError: w.StandardError, Change: change})
	}
	slices.SortStableFunc(c.Weights, func(a, b WeightChange) int { return cmp.Compare(math.Abs(b.Change), math.Abs(a.Change)) })
	c.Weights = c.Weights[:min(len(c.Weights), mostChanges)]
	return c
}
