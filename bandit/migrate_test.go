package bandit

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"nextbest"
)

// history learns the same contexts under a schema.
func history(t *testing.T, s *Schema, contexts []map[string]any) *Model {
	t.Helper()
	l, err := NewLearner(mustSpec(t, `{"algorithm":"linucb"}`), s.Width())
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(4, 4))
	x := make([]float32, s.Width())
	for i, c := range contexts {
		if err := s.Encode(x, c, noon.Add(time.Duration(i)*6*time.Hour)); err != nil {
			t.Fatal(err)
		}
		if err := l.Learn(fmt.Sprint("a", rng.IntN(3)), x, rng.NormFloat64()); err != nil {
			t.Fatal(err)
		}
	}
	return l.Model()
}

// sameModel compares the sums, each relative to what its factors' squares allow
// (Cauchy and Schwarz).
func sameModel(t *testing.T, name string, got, want *Model, tolerance float64) {
	t.Helper()
	if fmt.Sprint(got.Actions()) != fmt.Sprint(want.Actions()) || got.Width() != want.Width() {
		t.Fatalf("%s: %v of %d and %v of %d", name, got.Actions(), got.Width(), want.Actions(), want.Width())
	}
	if got.Precision() != want.Precision() || math.Abs(got.Noise()-want.Noise()) > tolerance*want.Noise() {
		t.Errorf("%s: λ %v and %v, σ %v and %v", name, got.Precision(), want.Precision(), got.Noise(), want.Noise())
	}
	for _, action := range want.Actions() {
		g, _ := got.Statistics(action)
		w, _ := want.Statistics(action)
		if g.N != w.N || g.Squares != w.Squares {
			t.Errorf("%s: n %v and %v, Σr² %v and %v", name, g.N, w.N, g.Squares, w.Squares)
		}
		for i := range w.B {
			if math.Abs(g.B[i]-w.B[i]) > tolerance*math.Sqrt(w.A[i][i]*w.Squares) {
				t.Errorf("%s, %s: b[%d] is %v, want %v", name, action, i, g.B[i], w.B[i])
			}
			for j := range w.A {
				if math.Abs(g.A[i][j]-w.A[i][j]) > tolerance*math.Sqrt(w.A[i][i]*w.A[j][j]) {
					t.Errorf("%s, %s: A[%d][%d] is %v, want %v", name, action, i, j, g.A[i][j], w.A[i][j])
				}
			}
		}
	}
}

// quarters draws contexts whose numbers float32 holds exactly, so that the
// statistics under two schemas differ by float64 rounding alone.
func quarters(n int, exact bool) []map[string]any {
	rng := rand.New(rand.NewPCG(5, 5))
	contexts := make([]map[string]any, n)
	for i := range contexts {
		value := float64(rng.IntN(64)) / 4
		if !exact {
			value = 16 * rng.Float64()
		}
		c := map[string]any{"age": value, "newbie": rng.IntN(2) == 0, "channel": []string{"Web", "Phone", "Shop"}[rng.IntN(3)], "zip": fmt.Sprint(rng.IntN(50)),
			"login": noon.Add(-time.Duration(rng.IntN(64)) * 6 * time.Hour).Format(time.RFC3339), "taste": []any{float64(rng.IntN(4)), float64(rng.IntN(4))}}
		if rng.IntN(3) > 0 {
			c["income"] = float64(rng.IntN(32)) / 2
		}
		contexts[i] = c
	}
	return contexts
}

const bank = `{"name":"age","type":"numeric","mean":8,"sd":4},
	{"name":"income","type":"numeric","mean":4,"sd":2,"missing":"indicator"},
	{"name":"newbie","type":"boolean"},
	{"name":"channel","type":"categorical","levels":["Web","Phone","Shop"]},
	{"name":"zip","type":"categorical","hash":8},
	{"name":"login","type":"timestamp","parts":["hour","age_days","weekday"],"encoding":"one_hot","mean":4,"sd":2},
	{"name":"taste","type":"embedding","width":2},
	{"type":"cross","of":["channel","newbie"]},
	{"type":"cross","of":["age","newbie"]},
	{"type":"cross","of":["income","income"]}`

// migrations are changes whose effect on the sums is exact.
var migrations = map[string]string{
	"the same":                               bank,
	"nothing left":                           ``,
	"removed, reordered":                     `{"name":"zip","type":"categorical","hash":8},{"name":"newbie","type":"boolean"},{"name":"age","type":"numeric","mean":8,"sd":4}`,
	"renamed":                                `{"name":"years","renamed_from":"age","type":"numeric","mean":8,"sd":4},{"name":"fresh","renamed_from":"newbie","type":"boolean"},{"type":"cross","of":["fresh","years"]}`,
	"other moments":                          `{"name":"age","type":"numeric","mean":2,"sd":0.5},{"name":"newbie","type":"boolean"},{"type":"cross","of":["newbie","age"]}`,
	"other moments where values are missing": `{"name":"income","type":"numeric","mean":1,"sd":4,"missing":"indicator"},{"type":"cross","of":["income","income"]}`,
	"missing is zero":                        `{"name":"income","type":"numeric","mean":1,"sd":4,"missing":"zero"}`,
	"missing is another":                     `{"name":"income","type":"numeric","mean":1,"sd":4,"missing":"default","default":9}`,
	"missing is the mean":                    `{"name":"income","type":"numeric","mean":4,"sd":2,"missing":"mean"}`,
	"rules where nothing was missing": `{"name":"age","type":"numeric","mean":8,"sd":4,"missing":"indicator"},{"name":"channel","type":"categorical","levels":["Web","Phone","Shop"],"missing":"default","default":"Web"},
		{"name":"newbie","type":"boolean","missing":"indicator"}`,
	"fewer levels, reordered": `{"name":"channel","type":"categorical","levels":["Shop","Web"]},{"name":"newbie","type":"boolean"},{"type":"cross","of":["channel","newbie"]}`,
	"more levels":             `{"name":"channel","type":"categorical","levels":["Fax","Shop","Web","Phone"]}`,
	"levels to a hash":        `{"name":"channel","type":"categorical","hash":4}`,
	"a narrower hash":         `{"name":"zip","type":"categorical","hash":4}`,
	"one_hot to cyclic":       `{"name":"login","type":"timestamp","parts":["weekday","hour"]}`,
	"ages by other moments":   `{"name":"login","type":"timestamp","parts":["age_days"],"mean":2,"sd":8}`,
	"added":                   bank + `,{"name":"score","type":"numeric","mean":4,"sd":2,"missing":"zero"},{"name":"vip","type":"boolean","missing":"indicator"},{"name":"segment","type":"categorical","levels":["a"],"missing":"default","default":"a"},{"type":"cross","of":["segment","age"]},{"type":"cross","of":["score","channel"]}`,
}

func features(list string) string { return `{"features":[` + list + `]}` }

// TestMigratedEqualsRefit compares with learning the same rows under the new
// schema.
func TestMigratedEqualsRefit(t *testing.T) {
	from := mustSchema(t, features(bank))
	for name, list := range migrations {
		to := mustSchema(t, features(list))
		for _, c := range []struct {
			exact     bool
			tolerance float64
		}{{true, 1e-9}, {false, 1e-6}} { // float32 holds any number to 6e-8
			contexts := quarters(400, c.exact)
			got, err := Migrate(history(t, from, contexts), from, to)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				break
			}
			sameModel(t, name, got, history(t, to, contexts), c.tolerance)
		}
	}
}

// TestMigrateRefuses: what the sums do not hold is named, and why.
func TestMigrateRefuses(t *testing.T) {
	all := `{"name":"age","type":"numeric","mean":8,"sd":4,"clip":3},
		{"name":"income","type":"numeric","mean":4,"sd":2,"missing":"indicator"},
		{"name":"debt","type":"numeric","mean":4,"sd":2,"missing":"mean"},
		{"name":"newbie","type":"boolean"},
		{"name":"channel","type":"categorical","levels":["Web","Phone"]},
		{"name":"zip","type":"categorical","hash":8},
		{"name":"login","type":"timestamp","parts":["hour"]},
		{"name":"taste","type":"embedding","width":2,"clip":8}`
	from := mustSchema(t, features(all))
	m := history(t, from, quarters(100, true))
	for _, c := range []struct{ feature, text string }{
		{`{"name":"score","type":"numeric"}`, `is new, and with "missing":"refuse" its value in past rows is unknown`},
		{`{"name":"seen","type":"timestamp","parts":["hour"],"missing":"now"}`, "is new"},
		{`{"name":"seen","type":"timestamp","parts":["age_days"],"missing":"default","default":0}`, "is new"},
		{`{"name":"age","type":"boolean"}`, "was numeric and is boolean now"},
		{`{"name":"age","type":"numeric","mean":8,"sd":4}`, "clipped at -4"},
		{`{"name":"age","type":"numeric","mean":7,"sd":4,"clip":3}`, "clipped at -4 and is at -5"},
		{`{"name":"income","type":"numeric","mean":4,"sd":2}`, "was missing in past rows"},
		{`{"name":"debt","type":"numeric","mean":4,"sd":2,"missing":"zero"}`, "did not keep in which past rows"},
		{`{"name":"debt","type":"numeric","mean":5,"sd":2,"missing":"mean"}`, "did not keep in which past rows"},
		{`{"name":"debt","type":"numeric","mean":4,"sd":2,"missing":"indicator"}`, "did not keep in which past rows"},
		{`{"name":"debt","type":"numeric","mean":4,"sd":2}`, "did not keep in which past rows"},
		{`{"name":"channel","type":"categorical","levels":["Web","Phone","Shop"]}`, "new levels, and past rows hold unknown ones"},
		{`{"name":"channel","type":"categorical","hash":4}`, "past rows hold unknown ones"},
		{`{"name":"zip","type":"categorical","hash":3}`, "divides the old one"},
		{`{"name":"zip","type":"categorical","hash":16}`, "divides the old one"},
		{`{"name":"postcode","renamed_from":"zip","type":"categorical","hash":8}`, "under the same name"},
		{`{"name":"zip","type":"categorical","levels":["1"]}`, "divides the old one"},
		{`{"name":"login","type":"timestamp","parts":["hour"],"timezone":"Europe/Berlin"}`, "was in UTC and is in Europe/Berlin"},
		{`{"name":"login","type":"timestamp","parts":["hour","month"]}`, "new part month"},
		{`{"name":"login","type":"timestamp","parts":["hour"],"encoding":"one_hot"}`, "was cyclic"},
		{`{"name":"taste","type":"embedding","width":3,"clip":8}`, "had 2 numbers and has 3"},
		{`{"name":"taste","type":"embedding","width":2,"clip":9}`, "clipped at 8 and is at 9"},
	} {
		got, err := Migrate(m, from, mustSchema(t, features(c.feature)))
		if got != nil || !hasProblem(err, "features[0]", c.text) {
			t.Errorf("%s: %v, want %q", c.feature, err, c.text)
		}
	}
	_, err := Migrate(m, from, mustSchema(t, features(all+`,{"type":"cross","of":["channel","newbie"]},{"name":"score","type":"numeric"}`)))
	if !hasProblem(err, "features[8]", "product that the old schema did not have") || !hasProblem(err, "features[9]", "is new") {
		t.Errorf("a new cross and a new feature: %v", err)
	}
	if _, err := Migrate(m, BiasAlone(), from); err == nil || !strings.Contains(err.Error(), "1 columns and the model") {
		t.Errorf("another schema: %v", err)
	}
}

// TestMigrateWhereNothingWasMissing: what never happened needs no record.
func TestMigrateWhereNothingWasMissing(t *testing.T) {
	contexts := quarters(200, true)
	for _, c := range contexts {
		c["income"] = 3.0
	}
	from := mustSchema(t, features(`{"name":"income","type":"numeric","mean":4,"sd":2,"missing":"indicator"}`))
	to := mustSchema(t, features(`{"name":"income","type":"numeric","mean":2,"sd":4}`))
	got, err := Migrate(history(t, from, contexts), from, to)
	if err != nil {
		t.Fatal(err)
	}
	sameModel(t, "refuse", got, history(t, to, contexts), 1e-9)
}

// FuzzMigrate: whatever two schemas, a model is migrated to one that decides by
// the new width, or refused; to its own schema it comes out as it went in.
func FuzzMigrate(f *testing.F) {
	for _, list := range migrations {
		f.Add(features(bank), features(list))
	}
	f.Add(everything, everything)
	f.Add(retail, everything)
	f.Fuzz(func(t *testing.T, a, b string) {
		from, err := NewSchema([]byte(a))
		if err != nil || from.Width() > 64 {
			return
		}
		to, err := NewSchema([]byte(b))
		if err != nil || to.Width() > 64 {
			return
		}
		l, err := NewLearner(Spec{Algorithm: "linucb"}, from.Width())
		if err != nil {
			t.Fatal(err)
		}
		x := make([]float32, from.Width())
		for i, c := range quarters(20, false) {
			if from.Encode(x, c, noon) == nil {
				if err := l.Learn("a", x, float64(i%3)); err != nil {
					t.Fatal(err)
				}
			}
		}
		m := l.Model()
		same, err := Migrate(m, from, from)
		if err != nil && nextbest.CodeOf(err) != nextbest.Invalid { // a product of numbers too large for Σ is Internal
			return
		}
		if err == nil {
			before, _ := m.MarshalBinary()
			after, _ := same.MarshalBinary()
			if !bytes.Equal(before, after) {
				t.Error("a model changes under its own schema")
			}
		}
		if got, err := Migrate(m, from, to); err == nil && got.Width() != to.Width() {
			t.Errorf("width %d, want %d", got.Width(), to.Width())
		}
	})
}

// TestWeightsByName: every kind of column has a name that says what it is.
func TestWeightsByName(t *testing.T) {
	s := mustSchema(t, features(bank))
	weights, err := history(t, s, quarters(50, true)).Weights(mustSpec(t, `{"algorithm":"linucb"}`), s)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, w := range weights[0].Weights {
		names[w.Feature] = w.StandardError > 0
	}
	for _, name := range []string{Bias, "age", "income:missing", "newbie", "channel=Web", "channel:other", "zip#7", "login:hour=13", "login:age_days", "login:weekday=sun", "taste[1]", "channel=Web×newbie", "income:missing×income:missing"} {
		if !names[name] {
			t.Errorf("%s has no weight with a standard error", name)
		}
	}
	if len(weights) != 3 || len(weights[0].Weights) != s.Width() {
		t.Errorf("%d actions, %d weights", len(weights), len(weights[0].Weights))
	}
}
