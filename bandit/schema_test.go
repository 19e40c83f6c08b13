package bandit

import (
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

const retail = `{"features":[
	{"name":"recency","type":"numeric","mean":5.8,"sd":3.5,"clip":2},
	{"name":"history","type":"numeric","mean":100,"sd":50,"missing":"indicator"},
	{"name":"visits","type":"numeric","mean":2,"sd":4,"missing":"zero"},
	{"name":"age","type":"numeric","mean":40,"sd":10,"missing":"mean"},
	{"name":"newbie","type":"boolean","mean":0.3,"missing":"mean"},
	{"name":"channel","type":"categorical","levels":["Web","Phone"],"missing":"indicator"}]}`

func mustSchema(tb testing.TB, definition string) *Schema {
	tb.Helper()
	s, err := NewSchema([]byte(definition))
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func TestSchemaEncodes(t *testing.T) {
	s := mustSchema(t, retail)
	names := []string{"bias", "recency", "history", "history:missing", "visits", "age", "newbie", "channel=Web", "channel=Phone", "channel:other", "channel:missing"}
	if !reflect.DeepEqual(s.Names(), names) || s.Width() != len(names) {
		t.Fatalf("names %q", s.Names())
	}
	for _, c := range []struct {
		context map[string]any
		want    []float32
	}{
		{
			map[string]any{"recency": 2.3, "history": 150.0, "visits": 6.0, "age": 50.0, "newbie": true, "channel": "Phone", "unnamed": []any{1}},
			[]float32{1, float32((2.3 - 5.8) / 3.5), 1, 0, 1, 1, 1, 0, 1, 0, 0},
		},
		{
			map[string]any{"recency": json.Number("1e6"), "channel": "Fax", "history": nil},
			[]float32{1, 2, 0, 1, -0.5, 0, 0.3, 0, 0, 1, 0},
		},
		{
			map[string]any{"recency": -1e300, "newbie": false, "age": int64(30)},
			[]float32{1, -2, 0, 1, -0.5, -1, 0, 0, 0, 0, 1},
		},
	} {
		got := make([]float32, s.Width())
		got[3] = 99 // what was there before must not matter
		if err := s.Encode(got, c.context, time.Time{}); err != nil {
			t.Errorf("%v: %v", c.context, err)
		} else if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v: %v, want %v", c.context, got, c.want)
		}
	}
}

func TestBiasAlone(t *testing.T) {
	for _, s := range []*Schema{BiasAlone(), mustSchema(t, `{"features":[]}`)} {
		x := []float32{9}
		if err := s.Encode(x, map[string]any{"recency": "ignored"}, time.Time{}); err != nil || x[0] != 1 || !reflect.DeepEqual(s.Names(), []string{Bias}) {
			t.Errorf("%v %v %v", x, s.Names(), err)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	s := mustSchema(t, retail)
	ok := map[string]any{"recency": 1.0, "channel": "Web"}
	for _, c := range []struct {
		key   string
		value any
		text  string
	}{
		{"recency", nil, "is missing"},
		{"recency", "3", "must be a number, not the string"},
		{"recency", true, "must be a number, not the boolean"},
		{"recency", math.NaN(), "finite"},
		{"recency", math.Inf(1), "finite"},
		{"recency", json.Number("1e999"), "finite"},
		{"recency", map[string]any{}, "not the object"},
		{"history", 1e300, "too large once standardised"},
		{"newbie", 1.0, "must be true or false, not the number"},
		{"newbie", "true", "must be true or false"},
		{"channel", 3.0, "must be a string, not the number"},
		{"channel", []any{"Web"}, "not the array"},
	} {
		context := map[string]any{}
		for k, v := range ok {
			context[k] = v
		}
		context[c.key] = c.value
		err := s.Encode(make([]float32, s.Width()), context, time.Time{})
		if !hasProblem(err, "context."+c.key, c.text) {
			t.Errorf("%s = %v: error %v, want %q", c.key, c.value, err, c.text)
		}
	}
	err := s.Encode(make([]float32, s.Width()), map[string]any{"recency": "x", "newbie": 1}, time.Time{})
	if !hasProblem(err, "context.recency", "number") || !hasProblem(err, "context.newbie", "true or false") {
		t.Errorf("both problems must be reported: %v", err)
	}
}

func TestNewSchemaRefuses(t *testing.T) {
	one := func(feature string) string { return `{"features":[` + feature + `]}` }
	for _, c := range []struct{ definition, field, text string }{
		{`{}`, "features", "is missing"},
		{`{"features":{}}`, "features", "array"},
		{`{"features":[],"version":1}`, "version", "unknown field"},
		{one(`{"name":"x","type":"vector"}`), "features[0].type", "numeric, boolean, categorical, timestamp, embedding or cross"},
		{one(`{"name":"x","type":"numeric","unit":"m"}`), "features[0].unit", "unknown field"},
		{one(`{"name":"","type":"numeric"}`), "features[0].name", "must be a name"},
		{one(`{"name":"bias","type":"numeric"}`), "features[0].name", "other than bias"},
		{one(`{"name":"x","type":"numeric","sd":0}`), "features[0].sd", "above 0"},
		{one(`{"name":"x","type":"numeric","clip":-1}`), "features[0].clip", "above 0"},
		{one(`{"name":"x","type":"numeric","mean":"1"}`), "features[0].mean", "number"},
		{one(`{"name":"x","type":"numeric","levels":["a"]}`), "features[0].levels", "has none"},
		{one(`{"name":"x","type":"numeric","missing":"drop"}`), "features[0].missing", "not a rule"},
		{one(`{"name":"x","type":"boolean","missing":"mean"}`), "features[0].missing", "not a rule"},
		{one(`{"name":"x","type":"boolean","mean":2}`), "features[0].mean", "between 0 and 1"},
		{one(`{"name":"x","type":"categorical"}`), "features[0].levels", "at least one"},
		{one(`{"name":"x","type":"categorical","levels":["a","a"]}`), "features[0].levels", "twice"},
		{one(`{"name":"x","type":"categorical","levels":["a"],"missing":"mean"}`), "features[0].missing", "not a rule"},
		{one(`{"name":"x","type":"numeric"},{"name":"x","type":"boolean"}`), "features[1].name", "twice"},
		{one(`{"name":"c","type":"categorical","levels":["a"]},{"name":"c=a","type":"boolean"}`), "features", `"c=a"`},
	} {
		if _, err := NewSchema([]byte(c.definition)); !hasProblem(err, c.field, c.text) {
			t.Errorf("%s: error %v, want a problem of %s with %q", c.definition, err, c.field, c.text)
		}
	}
	levels := manyLevels(maxWidth)
	if _, err := NewSchema([]byte(one(`{"name":"x","type":"categorical","levels":[` + levels + `]}`))); !hasProblem(err, "features", "at most") {
		t.Errorf("too many columns: %v", err)
	}
}

func manyLevels(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Quote("level-" + strconv.Itoa(i)))
	}
	return b.String()
}
