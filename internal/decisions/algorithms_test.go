package decisions

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"nextbest"
	"nextbest/bandit"
)

// TestEveryAlgorithmReplays decides with every algorithm, arbitration included,
// verifies the rows, and puts the policy before them as a candidate.
func TestEveryAlgorithmReplays(t *testing.T) {
	documents := map[string]map[string]any{
		"fixed":           {"weights": map[string]any{"mens": 1, "do-nothing": 2}},
		"rules":           {"rules": []any{map[string]any{"when": "context.recency < 3", "action": "mens"}}},
		"shared_thompson": {"action_features": map[string]any{"mens": []any{1, 0}, "womens": []any{0, 1}}},
		"linucb":          {"params": map[string]any{"levels": 8}},
	}
	for _, algorithm := range bandit.Algorithms() {
		document := map[string]any{"algorithm": algorithm}
		for k, v := range documents[algorithm] {
			document[k] = v
		}
		spec := bandit.Spec{Algorithm: algorithm}
		if !spec.ContextFree() {
			document["features"] = "retail@1"
		}
		b, err := json.Marshal(document)
		if err != nil {
			t.Fatal(err)
		}
		d := shop(t, "uniform", 0)
		d.put(nextbest.KindPolicy, "tried", string(b))
		models := []uint64{0}
		if spec.Learns() {
			d.model(nextbest.Ref{ID: "tried", Version: 1}, []string{"do-nothing", "mens", "womens"}, 8)
			models = append(models, 1)
		}
		for _, model := range models {
			d.place("tried", model)
			w := newWorld(d.compile())
			p := w.pipeline(t)
			for i := range 12 {
				c := call(fmt.Sprint("C-", i%5))
				c.Context["recency"] = float64(i) / 2
				c.Scores = map[string]float64{"do-nothing": 0, "mens": float64(i) / 7, "womens": 0.3, "sale": 0.1, "vip": -1, "elsewhere": 5}
				if _, err := p.Decide(t.Context(), c); err != nil {
					t.Fatalf("%s, model %d: %v", algorithm, model, err)
				}
			}
			if v := verify(t, d.compile(), w.rows); v.Identical != 12 {
				t.Errorf("%s, model %d: %d of 12 replayed identically: %+v", algorithm, model, v.Identical, v.Differences)
			}
			k, err := w.catalogue.Candidate(nextbest.Ref{ID: "tried", Version: 1}, model)
			if err != nil {
				t.Fatal(err)
			}
			rows := batch(w.rows)
			for i := range rows.N() {
				_, logged := rows.Row(i)
				got := make([]float64, len(logged))
				if err := k.Distribution(got, rows, i); err != nil || !slices.Equal(got, logged) {
					t.Fatalf("%s, model %d, row %d: the candidate says %v (%v), logged %v", algorithm, model, i, got, err, logged)
				}
			}
		}
	}
}
