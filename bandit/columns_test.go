package bandit

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

// everything has every type of feature and every rule for missing values.
const everything = `{"features":[
	{"name":"age","type":"numeric","mean":40,"sd":10,"clip":3,"missing":"default","default":50},
	{"name":"income","type":"numeric","mean":1000,"sd":500,"missing":"indicator"},
	{"name":"newbie","type":"boolean","missing":"default","default":true},
	{"name":"channel","type":"categorical","levels":["Web","Phone"],"missing":"zero"},
	{"name":"zip","type":"categorical","hash":8,"missing":"default","default":"10115"},
	{"name":"login","type":"timestamp","parts":["hour","weekday","age_days"],"timezone":"Europe/Berlin","mean":30,"sd":10,"clip":5,"missing":"indicator"},
	{"name":"clock","type":"timestamp","parts":["month","day"],"encoding":"one_hot","missing":"now"},
	{"name":"taste","type":"embedding","width":3,"clip":2,"missing":"default","default":[1,0,-1]},
	{"type":"cross","of":["channel","newbie"]},
	{"type":"cross","of":["age","age"]},
	{"type":"cross","of":["income","channel×newbie"]}]}`

// noon is 13:30 in Berlin, a Thursday.
var noon = time.Date(2026, 1, 1, 12, 30, 0, 0, time.UTC)

// columns returns the columns that are not 0, by name.
func columns(t *testing.T, s *Schema, context map[string]any, at time.Time) map[string]float32 {
	t.Helper()
	x := make([]float32, s.Width())
	for i := range x {
		x[i] = 99 // what was there before must not matter
	}
	if err := s.Encode(x, context, at); err != nil {
		t.Fatal(err)
	}
	out := map[string]float32{}
	for i, v := range x {
		if v != 0 {
			out[s.names[i]] = v
		}
	}
	return out
}

func TestEveryTypeEncodes(t *testing.T) {
	s := mustSchema(t, everything)
	sin := func(i, n float64) float32 { return float32(math.Sin(2 * math.Pi * i / n)) }
	cos := func(i, n float64) float32 { return float32(math.Cos(2 * math.Pi * i / n)) }
	zip := func(v string) string { return "zip#" + strconv.Itoa(bucket(hashSeed("zip"), v, 8)) }
	for _, c := range []struct {
		name    string
		context map[string]any
		want    map[string]float32
	}{
		{
			"nothing is given", map[string]any{},
			map[string]float32{
				"bias": 1, "age": 1, "income:missing": 1, "newbie": 1, zip("10115"): 1, "login:missing": 1, "clock:month=1": 1, "clock:day=1": 1,
				"taste[0]": 1, "taste[2]": -1, "age×age": 1,
			},
		},
		{
			"everything is given",
			map[string]any{
				"age": 20.0, "income": 2000.0, "newbie": true, "channel": "Fax", "zip": "80331", "login": "2025-12-02T13:30:00+01:00", "clock": 1767225599.0, // a second before 2026
				"taste": []any{0.5, json.Number("-7"), 1.0},
			},
			map[string]float32{
				"bias": 1, "age": -2, "income": 2, "newbie": 1, "channel:other": 1, zip("80331"): 1,
				"login:hour:sin": sin(13, 24), "login:hour:cos": cos(13, 24), "login:weekday:sin": sin(1, 7), "login:weekday:cos": cos(1, 7),
				"clock:month=12": 1, "clock:day=31": 1, "taste[0]": 0.5, "taste[1]": -2, "taste[2]": 1,
				"channel:other×newbie": 1, "age×age": 4, "income×channel:other×newbie": 2,
			},
		},
		{
			"in summer", map[string]any{"login": "2026-07-05T21:59:59.9Z", "newbie": false, "channel": "Web", "age": 40.0},
			map[string]float32{
				"bias": 1, "income:missing": 1, "channel=Web": 1, zip("10115"): 1,
				"login:hour:sin": sin(23, 24), "login:hour:cos": cos(23, 24), "login:weekday:sin": sin(6, 7), "login:weekday:cos": cos(6, 7), "login:age_days": -5,
				"clock:month=1": 1, "clock:day=1": 1, "taste[0]": 1, "taste[2]": -1,
			},
		},
	} {
		if got := columns(t, s, c.context, noon); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\n got %v\nwant %v", c.name, got, c.want)
		}
	}
	if err := s.Encode(make([]float32, s.Width()), nil, time.Time{}); err == nil || !strings.Contains(err.Error(), "time of the decision") {
		t.Errorf("without a time: %v", err)
	}
	if !s.Timed() || mustSchema(t, retail).Timed() {
		t.Error("only features that look at the decision's time make a schema timed")
	}
}

func TestTimestampOneHotWeekday(t *testing.T) {
	s := mustSchema(t, `{"features":[{"name":"at","type":"timestamp","parts":["weekday"],"encoding":"one_hot"}]}`)
	for i, name := range []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"} {
		day := time.Date(2026, 11, 23+i, 23, 59, 59, 0, time.UTC)
		want := map[string]float32{Bias: 1, "at:weekday=" + name: 1}
		if got := columns(t, s, map[string]any{"at": day.Format(time.RFC3339)}, time.Time{}); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestRenamedFeatureReadsItsFormerKey(t *testing.T) {
	s := mustSchema(t, `{"features":[{"name":"tenure","renamed_from":"age","type":"numeric"}]}`)
	if got := columns(t, s, map[string]any{"age": 3}, time.Time{})["tenure"]; got != 3 {
		t.Errorf("by the former key: %v", got)
	}
	if got := columns(t, s, map[string]any{"age": 3, "tenure": 4}, time.Time{})["tenure"]; got != 4 {
		t.Errorf("the new key goes first: %v", got)
	}
}

// TestHashVectors compares with testdata/hash.json, which was computed by
// another implementation of XXH64, and with two published values.
func TestHashVectors(t *testing.T) {
	for text, want := range map[string]uint64{"": 0xEF46DB3751D8E999, "abc": 0x44BC2CF5AD770999} {
		if got := hashSeed(text); got != want {
			t.Errorf("XXH64(%q) = %x, want %x", text, got, want)
		}
	}
	b, err := os.ReadFile("testdata/hash.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Feature, Value, Seed string
		Hash, Column         int
	}
	if err := json.Unmarshal(b, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) < 5 {
		t.Fatalf("%d vectors", len(vectors))
	}
	for _, v := range vectors {
		if seed := fmt.Sprintf("%016x", hashSeed(v.Feature)); seed != v.Seed {
			t.Errorf("seed of %q: %s, want %s", v.Feature, seed, v.Seed)
		}
		s := mustSchema(t, fmt.Sprintf(`{"features":[{"name":%q,"type":"categorical","hash":%d}]}`, v.Feature, v.Hash))
		want := map[string]float32{Bias: 1, fmt.Sprintf("%s#%d", v.Feature, v.Column): 1}
		if got := columns(t, s, map[string]any{v.Feature: v.Value}, time.Time{}); !reflect.DeepEqual(got, want) {
			t.Errorf("%+v: %v", v, got)
		}
	}
}

func TestEncodeRefusesByType(t *testing.T) {
	s := mustSchema(t, everything)
	for _, c := range []struct {
		key   string
		value any
		field string
		text  string
	}{
		{"zip", 10115.0, "context.zip", "must be a string"},
		{"login", true, "context.login", "RFC 3339 string or a number of seconds"},
		{"login", "yesterday", "context.login", "RFC 3339"},
		{"login", "2026-02-30T00:00:00Z", "context.login", "RFC 3339"},
		{"login", 1767225599000.0, "context.login", "seconds, not milliseconds"},
		{"login", math.NaN(), "context.login", "seconds"},
		{"login", "0000-01-01T00:00:00Z", "context.login", "years 1 to 9999"},
		{"taste", 1.0, "context.taste", "an array of 3 numbers, not the number"},
		{"taste", []any{1.0, 2.0}, "context.taste", "not of 2"},
		{"taste", []any{1.0, "2", 3.0}, "context.taste[1]", "float32"},
		{"taste", []any{1.0, 2.0, math.NaN()}, "context.taste[2]", "float32"},
	} {
		err := s.Encode(make([]float32, s.Width()), map[string]any{c.key: c.value}, noon)
		if !hasProblem(err, c.field, c.text) {
			t.Errorf("%s = %v: %v, want %q", c.key, c.value, err, c.text)
		}
	}
	wide := mustSchema(t, `{"features":[{"name":"a","type":"numeric"},{"name":"e","type":"embedding","width":1},{"type":"cross","of":["a","a"]}]}`)
	if err := wide.Encode(make([]float32, wide.Width()), map[string]any{"a": 1e30, "e": []float64{1}}, noon); !hasProblem(err, "context.a×a", "too large") {
		t.Errorf("a product that overflows: %v", err)
	}
	if err := wide.Encode(make([]float32, wide.Width()), map[string]any{"a": 1.0, "e": []float64{1e300}}, noon); !hasProblem(err, "context.e[0]", "float32") {
		t.Errorf("an embedding that overflows: %v", err)
	}
}

func TestNewSchemaRefusesByType(t *testing.T) {
	one := func(feature string) string { return `{"features":[` + feature + `]}` }
	const a = `{"name":"a","type":"numeric"},{"name":"c","type":"categorical","hash":64},`
	for _, c := range []struct{ definition, field, text string }{
		{one(`{"name":"x","type":"categorical","hash":64,"levels":["a"]}`), "features[0].hash", "not both"},
		{one(`{"name":"x","type":"categorical","hash":1}`), "features[0].hash", "between 2 and 1024"},
		{one(`{"name":"x","type":"categorical","hash":64.5}`), "features[0].hash", "whole number"},
		{one(`{"name":"x","type":"categorical","hash":9000000000000000000000}`), "features[0].hash", "whole number"},
		{one(`{"name":"x","type":"numeric","hash":64}`), "features[0].hash", "has none"},
		{one(`{"name":"x","type":"timestamp"}`), "features[0].parts", "at least one"},
		{one(`{"name":"x","type":"timestamp","parts":["hour","second"]}`), "features[0].parts[1]", "not a part"},
		{one(`{"name":"x","type":"timestamp","parts":["hour","hour"]}`), "features[0].parts", "twice"},
		{one(`{"name":"x","type":"timestamp","parts":["hour"],"timezone":"Europe/Atlantis"}`), "features[0].timezone", "not a time zone"},
		{one(`{"name":"x","type":"timestamp","parts":["hour"],"timezone":"Local"}`), "features[0].timezone", "not a time zone"},
		{one(`{"name":"x","type":"timestamp","parts":["hour"],"timezone":"../etc/passwd"}`), "features[0].timezone", "not a time zone"},
		{one(`{"name":"x","type":"timestamp","parts":["hour"],"encoding":"spiral"}`), "features[0].encoding", "cyclic or one_hot"},
		{one(`{"name":"x","type":"timestamp","parts":["hour"],"mean":3}`), "features[0].mean", "age_days"},
		{one(`{"name":"x","type":"timestamp","parts":["hour"],"missing":"mean"}`), "features[0].missing", "not a rule"},
		{one(`{"name":"x","type":"embedding"}`), "features[0].width", "is missing"},
		{one(`{"name":"x","type":"embedding","width":1025}`), "features[0].width", "between 1 and 1024"},
		{one(`{"name":"x","type":"embedding","width":2,"missing":"default","default":[1]}`), "features[0].default", "array of 2"},
		{one(`{"name":"x","type":"numeric","missing":"default"}`), "features[0].default", "is missing"},
		{one(`{"name":"x","type":"numeric","default":1}`), "features[0].default", "used only"},
		{one(`{"name":"x","type":"numeric","missing":"default","default":null}`), "features[0].default", "not null"},
		{one(`{"name":"x","type":"boolean","missing":"default","default":"yes"}`), "features[0].default", "true or false"},
		{one(`{"name":"x","type":"numeric","mean":1e300,"sd":1e-300,"missing":"zero"}`), "features[0].missing", "too large"},
		{one(`{"name":"x","type":"numeric","renamed_from":"x"}`), "features[0].renamed_from", "the feature's name"},
		{one(`{"name":"x","type":"numeric","renamed_from":"y"},{"name":"y","type":"numeric"}`), "features[0].renamed_from", "another feature's name"},
		{one(a + `{"type":"cross","of":["a"]}`), "features[2].of", "at least two"},
		{one(a + `{"type":"cross"}`), "features[2].of", "at least two"},
		{one(a + `{"type":"cross","of":["a","z"]}`), "features[2].of", `"z" is not a feature`},
		{one(`{"type":"cross","of":["a","b"]},` + a[:len(a)-1]), "features[0].of", "declared above"},
		{one(a + `{"type":"cross","of":["c","c"]}`), "features[2].of", "twice"},
		{one(a + `{"type":"cross","of":["a","c"]},{"type":"cross","of":["a","c"]}`), "features[3].name", "twice"},
		{one(a + `{"type":"cross","of":["a","c"],"missing":"zero"}`), "features[2].missing", "a cross has none"},
		{one(a + `{"name":"ac","type":"cross","of":["a","c"]}`), "features[2].name", "a cross has none"},
		{one(a + `{"name":"d","type":"categorical","hash":64},{"type":"cross","of":["c","d"]}`), "features[3].of", "more than 1024 columns"},
		{one(strings.TrimSuffix(strings.Repeat(`{"name":"x","type":"embedding","width":1024},`, 5), ",")), "features[4].name", "twice"},
		{`{"features":[],"moments":{"placement":"p","rows":"many"}}`, "moments", "rows"},
		{`{"features":[],"moments":{"when":"now"}}`, "moments", "unknown"},
	} {
		if _, err := NewSchema([]byte(c.definition)); !hasProblem(err, c.field, c.text) {
			t.Errorf("%s: error %v, want a problem of %s with %q", c.definition, err, c.field, c.text)
		}
	}
	_, err := NewSchema([]byte(one(`{"name":"t","type":"timestamp","parts":["eon"],"timezone":"X"},{"name":"c","type":"categorical"},{"name":"c","type":"embedding","width":0}`)))
	for _, field := range []string{"features[0].parts[0]", "features[0].timezone", "features[1].levels", "features[2].width", "features[2].name"} {
		if !hasProblem(err, field, "") {
			t.Errorf("%s is not in %v", field, err)
		}
	}
}

// TestParseTimeAgreesWithTheLibrary also covers what the fuzz test starts from.
func TestParseTimeAgreesWithTheLibrary(t *testing.T) {
	for _, s := range times3339 {
		checkTime(t, s)
	}
}

var times3339 = []string{
	"2026-11-23T14:05:00Z", "2026-11-23T14:05:00+01:00", "2026-11-23T14:05:00-23:59", "2026-11-23T14:05:00.123456789Z", "2026-11-23T14:05:00.5+05:30",
	"1969-12-31T23:59:59.9999999Z", "2024-02-29T00:00:00Z", "2023-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-11-23T24:00:00Z", "2026-11-23T23:59:60Z",
	"2026-11-23 14:05:00Z", "2026-11-23t14:05:00z", "2026-11-23T14:05:00", "2026-11-23T14:05:00.Z", "2026-11-23T14:05:00,5Z", "2026-11-23T14:05:00+24:00", "2026-11-23T14:05:00+0100", "2026-11-23T14:05:00Zx", "", "2026-00-10T00:00:00Z", "2026-01-00T00:00:00Z",
}

// checkTime compares with UnmarshalText. That takes more, such as a comma before
// the fraction; what it takes must be read as it is usually written.
func checkTime(t *testing.T, s string) {
	t.Helper()
	var want time.Time
	err := want.UnmarshalText([]byte(s))
	if got, ok := parseTime(s); ok && (err != nil || got != want.UnixMicro()) {
		t.Errorf("%q: %d; the library says %d, %v", s, got, want.UnixMicro(), err)
	}
	if err != nil || want.Year() < 0 || want.Year() > 9999 {
		return
	}
	if _, ahead := want.Zone(); ahead <= -24*3600 || ahead >= 24*3600 {
		return
	}
	usual := want.Format(time.RFC3339Nano)
	if got, ok := parseTime(usual); !ok || got != want.UnixMicro() {
		t.Errorf("%q: %d, %v; the library says %d", usual, got, ok, want.UnixMicro())
	}
}

func FuzzParseTime(f *testing.F) {
	for _, s := range times3339 {
		f.Add(s)
	}
	f.Fuzz(checkTime)
}

func TestEncodingAllocatesNothing(t *testing.T) {
	given := map[string]any{
		"age": 20.0, "income": json.Number("2000.5"), "newbie": true, "channel": "Fax", "zip": strings.Repeat("8", 500), "login": "2045-07-02T13:30:00.25+01:00", "clock": 1767225599.5,
		"taste": []any{0.5, json.Number("-7"), 1.0},
	}
	for name, context := range map[string]map[string]any{"given": given, "missing": nil} {
		s := mustSchema(t, everything)
		x := make([]float32, s.Width())
		if n := testing.AllocsPerRun(200, func() {
			if err := s.Encode(x, context, noon); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// FuzzEncode checks that any definition that is accepted encodes any context to
// finite numbers, or says what is wrong; the same twice, without allocating.
func FuzzEncode(f *testing.F) {
	for _, definition := range []string{retail, everything, `{"features":[]}`, `{"features":[{"name":"a","type":"numeric","mean":1e300,"sd":1e-300}]}`} {
		f.Add(definition, `{"age":1,"income":2000,"newbie":true,"channel":"Web","zip":"1","login":"2026-11-23T14:05:00Z","clock":5,"taste":[1,2,3]}`, int64(1_800_000_000_000_000))
		f.Add(definition, `{"recency":1e999,"login":-1e18,"taste":[],"channel":null}`, int64(-1))
	}
	f.Fuzz(func(t *testing.T, definition, body string, at int64) {
		s, err := NewSchema([]byte(definition))
		if err != nil {
			return
		}
		if s.Width() != len(s.Names()) || s.Width() > maxWidth {
			t.Fatalf("width %d, %d names", s.Width(), len(s.Names()))
		}
		d := json.NewDecoder(strings.NewReader(body))
		d.UseNumber()
		var context map[string]any
		if d.Decode(&context) != nil {
			return
		}
		now := time.UnixMicro(at)
		x := make([]float32, s.Width())
		if s.Encode(x, context, now) != nil {
			return
		}
		for i, v := range x {
			if v-v != 0 {
				t.Fatalf("%s is %v", s.names[i], v)
			}
		}
		again := make([]float32, s.Width())
		n := testing.AllocsPerRun(1, func() {
			if err := s.Encode(again, context, now); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("%v allocations", n)
		}
		if !reflect.DeepEqual(x, again) {
			t.Errorf("%v and then %v", x, again)
		}
	})
}
