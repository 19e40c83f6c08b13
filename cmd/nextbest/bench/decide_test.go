package bench

import (
	"testing"
	"time"
)

// TestDecideMeasuresEveryAlgorithm runs in small: every algorithm has a time and a
// baseline.
func TestDecideMeasuresEveryAlgorithm(t *testing.T) {
	r, err := Decide(DecideOptions{Actions: 3, Features: 4, ByActions: []int{2}, ByFeatures: []int{8}, Span: time.Millisecond}, func(string, ...any) {})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Decisions) != len(decided) || len(r.ByActions) != len(decided) {
		t.Errorf("%d and %d algorithms, want %d", len(r.Decisions), len(r.ByActions), len(decided))
	}
	for _, d := range append(r.Decisions, r.Learning) {
		if !(d.Nanoseconds > 0) || !(d.Gonum > 0) || !(d.Ratio > 0) {
			t.Errorf("%+v", d)
		}
	}
}
