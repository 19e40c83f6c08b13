package offline

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"nextbest"
	"nextbest/bandit"
)

func specOf(t *testing.T, document string) bandit.Spec {
	t.Helper()
	s, err := bandit.ParseSpec([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestExpand(t *testing.T) {
	ucb, thompson := specOf(t, `{"algorithm":"linucb","params":{"ridge":2}}`), specOf(t, `{"algorithm":"linear_thompson"}`)
	all, err := Expand([]SearchSpec{
		{Name: "ucb", Spec: ucb, Grid: map[string][]float64{"floor": {0.02, 0.05}, "alpha": {0.25, 0.5, 1}}},
		{Name: "ts", Spec: thompson},
	})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range all {
		names = append(names, c.Name)
		again, err := bandit.ParseSpec(c.Document)
		if err != nil || again.Params["floor"] != c.Spec.Params["floor"] || c.Of == "ucb" && (again.Params["ridge"] != 2 || again.Params["alpha"] != c.Params["alpha"]) {
			t.Errorf("%s: %s, %v", c.Name, c.Document, err)
		}
	}
	want := "ucb alpha=0.25 floor=0.02|ucb alpha=0.25 floor=0.05|ucb alpha=0.5 floor=0.02|ucb alpha=0.5 floor=0.05|ucb alpha=1 floor=0.02|ucb alpha=1 floor=0.05|ts"
	if got := strings.Join(names, "|"); got != want {
		t.Errorf("%s", got)
	}
	if ucb.Params["alpha"] != 0.75 {
		t.Error("the specification that was given has changed")
	}
}

func TestExpandRefuses(t *testing.T) {
	ucb := specOf(t, `{"algorithm":"linucb"}`)
	grid := func(g map[string][]float64) []SearchSpec { return []SearchSpec{{Name: "ucb", Spec: ucb, Grid: g}} }
	var many []float64
	for i := range 15 {
		many = append(many, float64(i+1)/100)
	}
	for field, specs := range map[string][]SearchSpec{
		"specs":                   nil,
		"specs ":                  grid(map[string][]float64{"alpha": many, "floor": many}),
		"specs  ":                 grid(map[string][]float64{"alpha": many, "floor": many, "ridge": many, "levels": {0, 8, 16, 32}}),
		"specs[0].grid.beta":      grid(map[string][]float64{"beta": {1, 2}}),
		"specs[0].grid.alpha":     grid(map[string][]float64{"alpha": {}}),
		"specs[0].grid.alpha[1]":  grid(map[string][]float64{"alpha": {0.5, -1}}),
		"specs[0].grid.alpha[2]":  grid(map[string][]float64{"alpha": {0.5, 1, 0.5}}),
		"specs[0].grid.floor[0]":  grid(map[string][]float64{"floor": {math.NaN()}}),
		"specs[0].grid.levels[0]": grid(map[string][]float64{"levels": {2.5}}),
		"specs[0].name":           {{Name: "A b", Spec: ucb}},
		"specs[1].name":           {{Name: "a", Spec: ucb}, {Name: "a", Spec: specOf(t, `{"algorithm":"ucb1"}`)}},
		"specs[1]":                {{Name: "a", Spec: ucb}, {Name: "b", Spec: ucb, Grid: map[string][]float64{"alpha": {1, 0.75}}}},
		"specs[0].spec.algorithm": {{Name: "a", Spec: specOf(t, `{"algorithm":"uniform"}`)}},
	} {
		_, err := Expand(specs)
		var e *nextbest.Error
		if !errors.As(err, &e) || e.Code != nextbest.Invalid || len(e.Problems) != 1 || e.Problems[0].Field != strings.TrimSpace(field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	if all, err := Expand(grid(map[string][]float64{"alpha": many[:10], "floor": append([]float64{0.5, 0.6, 0.7, 0.8, 0.9}, many...)})); err != nil || len(all) != MostCombinations {
		t.Errorf("%d combinations, %v", len(all), err)
	}
}

func TestPartsByTime(t *testing.T) {
	day := func(d int) time.Time { return time.Date(2026, 11, d, 0, 0, 0, 0, time.UTC) }
	p, err := PartsByTime(day(1), day(10), day(15), day(20), day(18))
	if err != nil {
		t.Fatal(err)
	}
	if !p.Train.MatureAt.Equal(day(10)) || !p.Select.From.Equal(day(10)) || !p.Select.MatureAt.Equal(day(15)) || !p.Gate.From.Equal(day(15)) || !p.Gate.To.Equal(day(20)) || !p.Gate.MatureAt.Equal(day(18)) {
		t.Errorf("%+v", p)
	}
	q := p.Select.Of(nextbest.Query{Placement: "shop", Upto: 3})
	if q.Placement != "shop" || q.Upto != 3 || !q.From.Equal(day(10)) || !q.To.Equal(day(15)) || !q.MatureAt.Equal(day(15)) || q.Split != nil {
		t.Errorf("%+v", q)
	}
	for field, borders := range map[string][4]int{"train_to": {10, 10, 15, 20}, "select_to": {1, 10, 10, 20}, "select_to ": {1, 10, 20, 20}, "select_to  ": {1, 10, 25, 20}} {
		_, err := PartsByTime(day(borders[0]), day(borders[1]), day(borders[2]), day(borders[3]), day(28))
		var e *nextbest.Error
		if !errors.As(err, &e) || len(e.Problems) != 1 || e.Problems[0].Field != strings.TrimSpace(field) {
			t.Errorf("%v: %v", borders, err)
		}
	}
	if err := p.Check(nextbest.Duration(24 * time.Hour)); err == nil || !strings.Contains(err.Error(), "parts.train") || !strings.Contains(err.Error(), "longer than the window of 1d") {
		t.Errorf("parts without rows: %v", err)
	}
	trainTo, selectTo := BordersOf(day(1), day(21), DefaultShares)
	if !trainTo.Equal(day(11)) || !selectTo.Equal(day(16)) {
		t.Errorf("%s, %s", trainTo, selectTo)
	}
}

func TestPartsByCustomers(t *testing.T) {
	p := PartsByCustomers("s", Shares{Train: 0.6, Select: 0.3}, time.Time{}, simulationStart, simulationStart)
	held := [3]int{}
	for i := range 1000 {
		customer, in := string(rune('a'+i%26))+strings.Repeat("x", i), 0
		for k, part := range []*Part{&p.Train, &p.Select, &p.Gate} {
			if part.Split.Contains(customer) {
				held[k]++
				in++
			}
		}
		if in != 1 {
			t.Fatalf("%q is in %d parts", customer, in)
		}
	}
	for k, want := range []int{600, 300, 100} { // ± 4 standard deviations
		if math.Abs(float64(held[k]-want)) > 4*math.Sqrt(float64(want*(1000-want))/1000) {
			t.Errorf("%v", held)
		}
	}
	for field, s := range map[string]Shares{"x.train": {0, 0.5}, "x.select": {0.5, 0}, "x.select ": {0.5, 0.5}, "x.train ": {math.NaN(), 0.5}} {
		var problems nextbest.Problems
		s.Check(&problems, "x")
		if len(problems) != 1 || problems[0].Field != strings.TrimSpace(field) {
			t.Errorf("%+v: %v", s, problems)
		}
	}
	var problems nextbest.Problems
	if DefaultShares.Check(&problems, "x"); len(problems) != 0 {
		t.Errorf("%v", problems)
	}
}
