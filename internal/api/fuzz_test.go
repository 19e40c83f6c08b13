package api

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"

	"nextbest"
)

var fuzzKinds = func() *rewardKinds {
	k := &rewardKinds{definitions: &memory{all: []nextbest.Record{{Kind: nextbest.KindObjective, ID: "v", Version: 1, Revision: 1, Document: []byte(objectiveBody)}}}}
	k.known("purchase")
	return k
}()

// FuzzDecisionBody: what the scanner takes, encoding/json takes and reads the
// same; what encoding/json refuses, the scanner refuses.
func FuzzDecisionBody(f *testing.F) {
	for _, seed := range []string{decisionBody, string(largeCall()), `{"placement":"web","customer":{"id":"\ud83d\ude00"},"context":{"a":[1,-0.5e-3,true,{"b":"c"}]},"durable":false}`,
		`{"placement":"a","customer":{"id":"b"},"context":{"x":1e999}}`, `{"placement":"a","customer":{"id":"b"},"context":{"x":123456789012345678901234567890.5}}`, `[`, `{"a":null}`,
		`{"placement":"a","customer":{"id":"b"},"scores":{"x":1,"y":-2.5e-3}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		a := &asking{body: body, context: map[string]any{}, attributes: map[string]any{}, scores: map[string]float64{}}
		call, err := a.call()
		var want map[string]any
		bad := json.Unmarshal(body, &want)
		if err != nil {
			if p := problem(asError(err)); p.Status != 400 && p.Status != 422 || len(p.Problems) == 0 || p.Problems[0].Field == "" {
				t.Errorf("%v is not a refusal of the body", err)
			}
			return
		}
		if bad != nil {
			t.Fatalf("taken, but encoding/json says %v", bad)
		}
		if context, _ := want["context"].(map[string]any); len(context)+len(call.Context) > 0 && !reflect.DeepEqual(call.Context, context) {
			t.Errorf("context %v, want %v", call.Context, context)
		}
		scores, _ := want["scores"].(map[string]any)
		for name, v := range scores {
			if got, ok := call.Scores[name]; !ok || got != v {
				t.Errorf("score of %s %v, want %v", name, got, v)
			}
		}
		if len(scores) != len(call.Scores) {
			t.Errorf("scores %v, want %v", call.Scores, scores)
		}
		customer := want["customer"].(map[string]any)
		if call.Placement != want["placement"] || call.Customer.ID != customer["id"] {
			t.Errorf("%+v of %s", call, body)
		}
		delete(customer, "id")
		delete(customer, "type")
		if len(customer)+len(call.Customer.Attributes) > 0 && !reflect.DeepEqual(call.Customer.Attributes, customer) {
			t.Errorf("attributes %v, want %v", call.Customer.Attributes, customer)
		}
	})
}

// FuzzRewardLines: whatever is taken is complete and finite, one event for
// each line that holds something, and each line is JSON.
func FuzzRewardLines(f *testing.F) {
	f.Add([]byte(`{"id":"o-1","kind":"purchase","value":59.9,"time":"2026-11-23T10:00:00Z","decision_id":"` + someDecision + `","slot":2}` + "\n"))
	f.Add([]byte(`{"id":"o-2","kind":"opt_out","time":"2026-11-23T10:00:00Z","customer":{"id":"C","type":"t"},"withdrawn":true}` + "\r\n\n{}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		p := rewardParser{scan: &scanner{}, now: testNow, kinds: fuzzKinds, pseudonyms: &domain{}}
		if p.lines(body) != nil {
			return
		}
		lines := 0
		for line := range bytes.SplitSeq(body, []byte{'\n'}) {
			if len(bytes.TrimSpace(line)) > 0 {
				lines++
				if !json.Valid(line) {
					t.Errorf("line %q is not JSON", line)
				}
			}
		}
		if len(p.out) != lines {
			t.Errorf("%d events from %d lines", len(p.out), lines)
		}
		for _, r := range p.out {
			if r.ID == "" || !p.kinds.known(r.Kind) || math.IsNaN(r.Value) || math.IsInf(r.Value, 0) || r.Slot == 0 || r.Time.IsZero() || (r.Customer == "") == (r.DecisionID == [16]byte{}) {
				t.Errorf("%+v of %q", r, body)
			}
		}
	})
}

// FuzzImportLines: every row that is taken has a propensity in (0, 1] and
// probabilities that sum to one.
func FuzzImportLines(f *testing.F) {
	f.Add([]byte(`{"id":"r1","customer":{"id":"C"},"time":"2026-11-01T10:00:00Z","context":{"recency":3},"action":"mens","propensity":0.25,"eligible":["mens","do-nothing"],"probabilities":[0.25,0.75],"rewards":[{"kind":"purchase","value":20}]}`), "")
	f.Add([]byte(`{"customer":{"id":"C"},"time":"2026-11-01T10:00:00Z","context":{},"action":"a","propensity":7,"eligible":["a","b"]}`), "uniform")
	f.Add([]byte(`{"customer":{"id":"C"},"time":"2026-11-01T10:00:00Z","context":{},"action":"a","eligible":["a","b"]}`), "weights:a=1,b=1e300")
	f.Fuzz(func(t *testing.T, body []byte, how string) {
		random, err := parseRandomisation(how)
		if err != nil {
			return
		}
		p := importParser{random: random, now: testNow, kinds: fuzzKinds, pseudonyms: &domain{}}
		rows, err := p.rows(body)
		if err != nil {
			return
		}
		for _, r := range rows {
			if !(r.Propensity > 0 && r.Propensity <= 1) || r.Customer == "" || r.Time.IsZero() || r.Context == nil {
				t.Errorf("%+v of %q", r, body)
			}
			sum := 0.0
			for _, q := range r.Probabilities {
				sum += q
			}
			if r.Probabilities != nil && (math.Abs(sum-1) > 1e-6 || len(r.Probabilities) != len(r.Eligible)) {
				t.Errorf("%+v of %q", r, body)
			}
		}
	})
}

// FuzzImpression: what is taken is one of the five statuses, and JSON.
func FuzzImpression(f *testing.F) {
	f.Add([]byte(`{"slot":1,"status":"overridden","action":"mens","time":"2026-11-23T11:00:00Z"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		s := &scanner{}
		s.reset(body)
		i, err := s.impression(testNow)
		if err == nil && (!i.Status.Valid() || i.Slot == 0 || !json.Valid(body) || (i.Action != "") != (i.Status == nextbest.Overridden)) {
			t.Errorf("%+v of %q", i, body)
		}
	})
}

// FuzzKey: no header makes the authenticator panic or let anybody in.
func FuzzKey(f *testing.F) {
	key, change, err := NewKey(Admin, "n", "a", "")
	if err != nil {
		f.Fatal(err)
	}
	reg := &memory{}
	if _, err := reg.Put(f.Context(), change); err != nil {
		f.Fatal(err)
	}
	auth := &authenticator{definitions: reg}
	f.Add("Bearer " + key[:len(key)-1])
	f.Add("bearer nb_" + change.ID + "_")
	f.Fuzz(func(t *testing.T, header string) {
		id, err := auth.identify(map[string][]string{"Authorization": {header}})
		if err == nil && !strings.Contains(header, key) {
			t.Errorf("%q is %+v", header, id)
		}
	})
}
