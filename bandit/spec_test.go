package bandit

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"nextbest"
)

func mustSpec(tb testing.TB, document string) Spec {
	tb.Helper()
	s, err := ParseSpec([]byte(document))
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// hasProblem reports whether err is an Invalid error about the field whose
// message contains text.
func hasProblem(err error, field, text string) bool {
	var e *nextbest.Error
	if !errors.As(err, &e) || e.Code != nextbest.Invalid {
		return false
	}
	for _, p := range e.Problems {
		if p.Field == field && strings.Contains(p.Message, text) {
			return true
		}
	}
	return false
}

func TestParseSpecFillsDefaults(t *testing.T) {
	for document, want := range map[string]map[string]float64{
		`{"algorithm":"uniform"}`: {},
		`{"algorithm":"linucb"}`:  {"alpha": 0.75, "levels": 0, "ridge": 0.25, "siblings": 0, "floor": 0.005},
		`{"algorithm":"linear_thompson","params":{"v":0.3},"features":"retail@1"}`:       {"v": 0.3, "ridge": 0.25, "siblings": 0, "floor": 0.005},
		`{"algorithm":"epsilon_greedy","params":{"epsilon":0}}`:                          {"epsilon": 0, "ridge": 0.25},
		`{"algorithm":"fixed","weights":{"a":0.5,"do-nothing":0.5}}`:                     {"floor": 0},
		`{"algorithm":"rules","rules":[{"when":"true","action":"a"}],"features":"r@12"}`: {"epsilon": 0},
	} {
		s := mustSpec(t, document)
		if !reflect.DeepEqual(s.Params, want) {
			t.Errorf("%s: params %v, want %v", document, s.Params, want)
		}
		raw, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if again := mustSpec(t, string(raw)); !reflect.DeepEqual(again, s) && len(s.Params) > 0 {
			t.Errorf("%s does not survive a round trip: %s", document, raw)
		}
	}
}

func TestParseSpecRefuses(t *testing.T) {
	for _, c := range []struct{ document, field, text string }{
		{``, "$", "too early"},
		{`{"algorithm":`, "$", "too early"},
		{`[]`, "$", "JSON object"},
		{`{"algorithm":"uniform"} {}`, "$", "follows"},
		{`{}`, "algorithm", "must be one of"},
		{`{"algorithm":"magic"}`, "algorithm", "must be one of beta_thompson"},
		{`{"algorithm":7}`, "algorithm", "must be a string"},
		{`{"Algorithm":"uniform"}`, "Algorithm", "unknown field"},
		{`{"algorithm":"uniform","algorithm":"fixed"}`, "algorithm", "given twice"},
		{`{"algorithm":"linucb","seed":1}`, "seed", "unknown field"},
		{`{"algorithm":"linucb","params":{"v":1}}`, "params.v", "linucb has alpha, levels, ridge, siblings, floor"},
		{`{"algorithm":"uniform","params":{"floor":1}}`, "params.floor", "has none"},
		{`{"algorithm":"linucb","params":{"alpha":-1}}`, "params.alpha", "between 0 and 1000"},
		{`{"algorithm":"linucb","params":{"floor":1.5}}`, "params.floor", "between 0 and 1"},
		{`{"algorithm":"linucb","params":{"alpha":1e999}}`, "params.alpha", "must be a number"},
		{`{"algorithm":"linucb","params":{"alpha":null}}`, "params.alpha", "must be a number"},
		{`{"algorithm":"linucb","params":{"alpha":"1"}}`, "params.alpha", "must be a number"},
		{`{"algorithm":"linucb","params":{"ridge":0}}`, "params.ridge", "between"},
		{`{"algorithm":"linucb","params":{"siblings":0.5}}`, "params.siblings", "multiple of 1"},
		{`{"algorithm":"linucb","action_features":{"a":[1]}}`, "action_features", "learns nothing"},
		{`{"algorithm":"shared_thompson"}`, "action_features", "give some"},
		{`{"algorithm":"shared_thompson","params":{"draws":100},"action_features":{"a":[1]}}`, "params.draws", "multiple of 8"},
		{`{"algorithm":"hybrid_linucb","action_features":{"a":[1],"b":[1,2]}}`, "action_features.b", "same features"},
		{`{"algorithm":"hybrid_linucb","action_features":{"a":[]}}`, "action_features.a", "0 numbers"},
		{`{"algorithm":"hybrid_linucb","action_features":{"a":[1e7]}}`, "action_features.a", "too large"},
		{`{"algorithm":"hybrid_linucb","action_features":{"A b":[1]}}`, "action_features.A b", "not an action"},
		{`{"algorithm":"logistic_thompson","forgetting":{"half_life":"30d"}}`, "forgetting.half_life", "window"},
		{`{"algorithm":"linucb","params":[1]}`, "params", "JSON object"},
		{`{"algorithm":"linucb","features":"retail"}`, "features", "retail@1"},
		{`{"algorithm":"linucb","features":"Retail@1"}`, "features", "must match"},
		{`{"algorithm":"linucb","weights":{"a":1}}`, "weights", "only the algorithm fixed"},
		{`{"algorithm":"linucb","rules":[{"when":"true","action":"a"}]}`, "rules", "only the algorithm rules"},
		{`{"algorithm":"fixed"}`, "weights", "at least one"},
		{`{"algorithm":"fixed","weights":{"a":0}}`, "weights", "at least one"},
		{`{"algorithm":"fixed","weights":{"a":1,"b":-1}}`, "weights.b", "0 or more"},
		{`{"algorithm":"fixed","weights":{"A b":1}}`, "weights.A b", "not an action's id"},
		{`{"algorithm":"fixed","weights":{"a":1e308,"b":1e308}}`, "weights", "finite sum"},
		{`{"algorithm":"rules"}`, "rules", "at least one rule"},
		{`{"algorithm":"rules","rules":[{"when":" ","action":"a"}]}`, "rules[0].when", "CEL"},
		{`{"algorithm":"rules","rules":[{"when":"true","action":"a"},{"when":"true","action":""}]}`, "rules[1].action", "not an action's id"},
		{`{"algorithm":"rules","rules":[{"when":"true","action":"a","then":"b"}]}`, "rules[0].then", "unknown field"},
		{`{"algorithm":"rules","rules":{"when":"true"}}`, "rules", "must be an array"},
	} {
		if _, err := ParseSpec([]byte(c.document)); !hasProblem(err, c.field, c.text) {
			t.Errorf("%s: error %v, want a problem of %s with %q", c.document, err, c.field, c.text)
		}
	}
}

func FuzzParseSpec(f *testing.F) {
	f.Add([]byte(`{"algorithm":"linear_thompson","params":{"v":0.3},"features":"retail@1"}`))
	f.Add([]byte(`{"algorithm":"fixed","weights":{"a":0.5,"do-nothing":0.5}}`))
	f.Add([]byte(`{"algorithm":"rules","rules":[{"when":"true","action":"a"}]}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		s, err := ParseSpec(document)
		if err != nil {
			return
		}
		if _, err := New(s, nil); err != nil {
			t.Errorf("%s was accepted and then refused: %v", document, err)
		}
	})
}
