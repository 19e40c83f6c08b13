package bandit

import (
	"encoding/json"
	"math"
	"testing"
	"time"
)

func TestMomentsFillWhatIsLeftOut(t *testing.T) {
	m, err := NewMoments([]byte(`{"features":[
		{"name":"recency","type":"numeric","clip":5 },
		{"name":"score","type":"numeric","mean":1,"sd":2},
		{"name":"newbie","type":"boolean"},
		{"name":"since","renamed_from":"start","type":"timestamp","parts":["hour","age_days"],"missing":"zero"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	base := 1e9 // far from 0, where naive sums lose every digit of the deviation
	for i := range 5 {
		c := map[string]any{"recency": base + float64(i), "score": 7.0}
		switch i {
		case 0, 1:
			c["start"] = noon.Add(-time.Duration(24*(i+1)) * time.Hour).Format(time.RFC3339)
		case 2:
			c["since"] = true
		}
		m.Add(c, noon)
	}
	m.Add(map[string]any{"recency": nil}, noon)
	m.Add(map[string]any{"recency": math.Inf(1)}, noon)
	document, err := m.Definition(Source{Placement: "mail", From: noon, To: noon.Add(time.Hour), Upto: 9})
	if err != nil {
		t.Fatal(err)
	}
	s := mustSchema(t, string(document))
	recency, score, since := s.features[0], s.features[1], s.features[3]
	if recency.mean != base+2 || recency.sd != math.Sqrt(2) || recency.clip != 5 {
		t.Errorf("recency %v ± %v, clip %v", recency.mean, recency.sd, recency.clip)
	}
	if score.mean != 1 || score.sd != 2 {
		t.Errorf("what is given stays: %v ± %v", score.mean, score.sd)
	}
	if since.mean != 1.5 || since.sd != 0.5 {
		t.Errorf("age %v ± %v", since.mean, since.sd)
	}
	var stored struct{ Moments Source }
	if err := json.Unmarshal(document, &stored); err != nil {
		t.Fatal(err)
	}
	if want := (Source{"mail", noon, noon.Add(time.Hour), 9, 7, 2}); stored.Moments != want {
		t.Errorf("source %+v, want %+v", stored.Moments, want)
	}
	if _, err := NewMoments(document); !hasProblem(err, "moments", "leave it out") {
		t.Errorf("moments of moments: %v", err)
	}
}

func TestMomentsRefuse(t *testing.T) {
	if _, err := NewMoments([]byte(`{"features":[{"name":"a","type":"numeric","mean":1},{"name":"b","type":"boolean"}]}`)); !hasProblem(err, "features", "none leaves") {
		t.Errorf("nothing to take: %v", err)
	}
	if _, err := NewMoments([]byte(`{"features":[{"name":"a","type":"number"}]}`)); !hasProblem(err, "features[0].type", "not a type") {
		t.Errorf("a wrong definition: %v", err)
	}
	m, err := NewMoments([]byte(`{"features":[{"name":"a","type":"numeric"},{"name":"b","type":"numeric"},{"name":"c","type":"numeric"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		m.Add(map[string]any{"a": 5, "b": "5", "c": math.MaxFloat64 * float64(1-2*(i%2))}, noon)
	}
	_, err = m.Definition(Source{})
	for field, text := range map[string]string{"features[0]": "a is 5 in all", "features[1]": "b has 0 values in these 3 rows", "features[2]": "too large"} {
		if !hasProblem(err, field, text) {
			t.Errorf("%v, want %s: %s", err, field, text)
		}
	}
}
