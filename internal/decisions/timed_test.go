package decisions

import (
	"slices"
	"strings"
	"testing"
	"time"

	"nextbest"
)

// TestTimedFeaturesReplay decides with features that depend on the decision's
// time and on every other type, and replays the log bit for bit.
func TestTimedFeaturesReplay(t *testing.T) {
	d := shop(t, "uniform", 0)
	d.put(nextbest.KindFeatures, "bank", `{"features":[
		{"name":"since","type":"timestamp","parts":["age_days"],"mean":100,"sd":50,"clip":5},
		{"name":"clock","type":"timestamp","parts":["hour","weekday"],"timezone":"Europe/Berlin","missing":"now"},
		{"name":"zip","type":"categorical","hash":4},
		{"name":"taste","type":"embedding","width":2,"missing":"zero"},
		{"type":"cross","of":["since","zip"]}]}`)
	d.put(nextbest.KindPolicy, "bankers", `{"algorithm":"linear_thompson","features":"bank@1"}`)
	d.place("bankers", 0)
	w := newWorld(d.compile())
	p := w.pipeline(t)
	for i := range 20 {
		c := call("C")
		c.Context = map[string]any{"since": "2026-01-02T03:04:05+01:00", "zip": string(rune('a' + i%5))}
		if i%2 == 0 {
			c.Context["taste"] = []any{0.25, float64(i)}
		}
		if _, err := p.Decide(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		w.pass(7*time.Hour + 1234567*time.Microsecond)
	}
	if slices.Equal(w.rows[0].X[:6], w.rows[1].X[:6]) {
		t.Errorf("the time has no effect: %v", w.rows[0].X)
	}
	if v := verify(t, d.compile(), w.rows); v.Identical != 20 {
		t.Errorf("%+v", v)
	}
	moved := slices.Clone(w.rows)
	moved[3].Time = moved[3].Time.Add(time.Hour)
	if v := verify(t, d.compile(), moved); v.Identical != 19 || len(v.Differences) == 0 {
		t.Errorf("another time must give other features: %+v", v)
	}
}

// TestModelOfAnotherSchema: a model whose features are not its policy's is
// refused, in words that name both, even where the widths agree.
func TestModelOfAnotherSchema(t *testing.T) {
	d := shop(t, "uniform", 0)
	document := func(features string) []byte {
		return []byte(`{"policy":"lints@1","hash":"h1","features":"` + features + `"}`) // h1 is of retail@1
	}
	c := d.compile()
	if err := c.Validate(nextbest.Change{Kind: nextbest.KindModel, ID: "lints.1", Document: document("retail@1")}); err != nil {
		t.Errorf("its own schema: %v", err)
	}
	err := c.Validate(nextbest.Change{Kind: nextbest.KindModel, ID: "lints.1", Document: document("retail@2")})
	if err == nil || !strings.Contains(err.Error(), "retail@2 and the policy has retail@1") {
		t.Errorf("another schema: %v", err)
	}
}
