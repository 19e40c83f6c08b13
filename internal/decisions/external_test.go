package decisions

import (
	"slices"
	"strings"
	"testing"

	"nextbest"
)

// TestExternalScores decides by a call's scores: value and cost count, the scores
// are in the log, and what is missing is named before anything is recorded.
func TestExternalScores(t *testing.T) {
	d := shop(t, "uniform", 0)
	d.put(nextbest.KindPolicy, "own", `{"algorithm":"external","params":{"epsilon":0.1}}`)
	d.place("own", 0)
	w := newWorld(d.compile())
	p := w.pipeline(t)
	c := call("C-1")
	c.Scores = map[string]float64{"do-nothing": 0, "mens": 0.5, "womens": 0.3, "sale": 0.1, "elsewhere": 9}
	c.Key = "k"
	if _, err := p.Decide(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	r := w.rows[0]
	// womens is worth 2: 0.6; mens costs 0.02: 0.48.
	if want := []string{"do-nothing", "mens", "sale", "womens"}; !slices.Equal(r.Eligible, want) {
		t.Fatalf("eligible %v, want %v", r.Eligible, want)
	}
	each := 0.1 / 4
	if want := []float64{each, each, each, 0.9 + each}; !slices.Equal(r.Probabilities, want) || r.Floor != each {
		t.Errorf("probabilities %v and floor %v, want %v and %v", r.Probabilities, r.Floor, want, each)
	}
	if want := []float64{0, 0.5 - 0.02, 0.1, 0.6}; !slices.Equal(r.Scores, want) {
		t.Errorf("scores %v, want %v", r.Scores, want)
	}
	if want := `"scores":{"do-nothing":0,"elsewhere":9,"mens":0.5,"sale":0.1,"womens":0.3}`; !strings.Contains(string(r.Context), want) {
		t.Errorf("context %s, want %s in it", r.Context, want)
	}
	c.Scores["mens"] = 0.4
	if _, err := p.Decide(t.Context(), c); nextbest.CodeOf(err) != nextbest.Conflict {
		t.Errorf("the same key with other scores: %v", err)
	}
	delete(c.Scores, "mens")
	c.Key = ""
	if _, err := p.Decide(t.Context(), c); nextbest.CodeOf(err) != nextbest.Invalid || !slices.Equal(fields(err), []string{"scores.mens"}) {
		t.Errorf("mens without a score: %v", err)
	}
	c.Scores = nil
	if _, err := p.Decide(t.Context(), c); nextbest.CodeOf(err) != nextbest.Invalid || len(fields(err)) != 4 {
		t.Errorf("no scores: %v", err)
	}
	if len(w.rows) != 1 {
		t.Errorf("%d rows, want 1", len(w.rows))
	}
	if v := verify(t, d.compile(), w.rows); v.Identical != 1 {
		t.Errorf("replayed otherwise: %+v", v.Differences)
	}
	changed := []nextbest.Decision{w.rows[0]}
	changed[0].Context = []byte(strings.Replace(string(r.Context), `"mens":0.5`, `"mens":0.9`, 1))
	if v := verify(t, d.compile(), changed); v.Identical != 0 {
		t.Error("another score replayed identically")
	}
	// A row without scores is one that the candidate cannot answer.
	k, err := w.catalogue.Candidate(nextbest.Ref{ID: "own", Version: 1}, 0)
	if err != nil {
		t.Fatal(err)
	}
	changed[0].Context = []byte(`{"context":{},"customer":{}}`)
	err = k.Distribution(make([]float64, 4), batch(changed), 0)
	if _, ok := err.(interface{ Unanswered() }); !ok {
		t.Errorf("a row without scores: %v", err)
	}
}
