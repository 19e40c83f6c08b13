package bandit

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"testing"
)

// Specifications share their training exactly when they learn the same model:
// each parameter of each algorithm is moved, and nothing that a model depends on
// may be left out of the text, nor anything that it does not depend on be in it.
func TestTraining(t *testing.T) {
	learn := func(spec Spec) (string, []byte) {
		t.Helper()
		width := 3
		if spec.ContextFree() {
			width = 1
		}
		l, err := NewLearner(spec, width)
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(1, 1))
		for range 60 {
			reward := 0.0
			if rng.Float64() < 0.4 {
				reward = 1
			}
			if err := l.Learn(actionID(rng.IntN(3)), randomX(rng, width), reward); err != nil {
				t.Fatal(err)
			}
		}
		m := l.Model()
		raw, err := m.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := New(spec, m); err != nil {
			t.Fatal(err)
		}
		return spec.Training(), raw
	}
	shared, apart := 0, 0
	for name, known := range algorithms {
		base := Spec{Algorithm: name}
		if known.actionFeatures == needsActionFeatures {
			base.ActionFeatures = map[string][]float64{actionID(0): {1}, actionID(1): {2}}
		}
		switch name {
		case "rules":
			base.Rules = []Rule{{When: "true", Action: "a"}}
		case "fixed":
			base.Weights = map[string]float64{"a": 1}
		}
		base, err := base.complete()
		if err != nil {
			t.Fatal(name, err)
		}
		if !base.Learns() {
			if base.Training() != "" {
				t.Errorf("%s learns nothing and has the training %q", name, base.Training())
			}
			continue
		}
		key, model := learn(base)
		for _, p := range known.params {
			moved := base
			moved.Params = maps.Clone(base.Params)
			if moved.Params[p.name] = min(p.max, p.def+max(p.step, 0.1)); p.name == "draws" {
				moved.Params[p.name] = 64
			}
			k, m := learn(moved)
			if (k == key) != bytes.Equal(m, model) {
				t.Errorf("%s, %s from %g to %g: same training %t, same model %t", name, p.name, p.def, moved.Params[p.name], k == key, bytes.Equal(m, model))
			}
			if k == key {
				shared++
			} else {
				apart++
			}
		}
		for _, f := range []*Forgetting{{HalfLife: 1e9 * 86400}, {Window: 1e9 * 86400}} {
			if other := base; !known.contextFree {
				other.Forgetting = f
				if other.Training() == key {
					t.Errorf("%s: forgetting changes nothing", name)
				}
			}
		}
	}
	if shared < 15 || apart < 5 {
		t.Errorf("%d moves shared the training and %d did not", shared, apart)
	}
}
