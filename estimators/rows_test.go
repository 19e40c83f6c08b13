package estimators

import (
	"errors"
	"math"
	"testing"
)

func TestBadRowsAreNamed(t *testing.T) {
	nan := math.NaN()
	for name, f := range map[string]func() error{
		"zero propensity":     func() error { _, err := Weights([]float64{1, 1}, []float64{0.5, 0}); return err },
		"propensity above 1":  func() error { _, err := Weights([]float64{1, 1}, []float64{0.5, 1.5}); return err },
		"missing propensity":  func() error { _, err := Weights([]float64{1, 1}, []float64{0.5, nan}); return err },
		"probability above 1": func() error { _, err := Weights([]float64{1, 2}, []float64{0.5, 0.5}); return err },
		"negative weight":     func() error { _, err := IPS(nil, []float64{1, -1}, []float64{0, 0}); return err },
		"reward NaN":          func() error { _, err := SNIPS(nil, []float64{1, 1}, []float64{0, nan}); return err },
		"model Inf":           func() error { _, err := DM(nil, []float64{1, math.Inf(1)}); return err },
		"scattered customer":  func() error { _, err := GroupRows([]string{"b", "a", "b"}); return err },
	} {
		var re *RowError
		if err := f(); !errors.As(err, &re) {
			t.Errorf("%s: %v", name, err)
		} else if want := map[bool]int{true: 2, false: 1}[name == "scattered customer"]; re.Row != want {
			t.Errorf("%s: row %d, want %d", name, re.Row, want)
		}
	}
	if _, err := IPS(nil, nil, nil); !errors.Is(err, ErrEmpty) {
		t.Errorf("empty log: %v", err)
	}
	if _, err := SNIPS(nil, []float64{0, 0}, []float64{1, 1}); !errors.Is(err, ErrNoWeight) {
		t.Errorf("all weights zero: %v", err)
	}
	e, err := IPS(nil, []float64{1}, []float64{3})
	if err != nil || e.Value != 3 || !math.IsNaN(e.StdErr) {
		t.Errorf("one row: %+v, %v", e, err)
	}
}
