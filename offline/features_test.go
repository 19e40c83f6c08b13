package offline

import (
	"context"
	"math"
	"strings"
	"testing"

	"nextbest"
)

// flat is uniform over the eligible actions and looks at nothing.
type flat struct{}

func (flat) Name() string { return "flat" }

func (flat) Distribution(p []float64, _ *nextbest.Batch, _ int) error {
	for i := range p {
		p[i] = 1 / float64(len(p))
	}
	return nil
}

// bare takes the features from a reader's first batches, as where a policy
// without features served before one with them.
type bare struct {
	Reader
	batches int
}

func (b bare) Rows(ctx context.Context, q nextbest.Query, f func(*nextbest.Batch) error) error {
	n := 0
	return b.Reader.Rows(ctx, q, func(batch *nextbest.Batch) error {
		if n++; n <= b.batches {
			stripped := *batch
			stripped.Width, stripped.X = 0, nil
			return f(&stripped)
		}
		return f(batch)
	})
}

func TestRunMixesRowsWithAndWithoutFeatures(t *testing.T) {
	s := conversions()
	req := request(s, flat{})
	req.Query.BatchSize = 1000
	full := get(t, evaluated(t, s, req), "flat")
	report := evaluated(t, bare{s, 3}, req)
	mixed := get(t, report, "flat")
	if mixed.IPS.Value != full.IPS.Value || mixed.SNIPS.Value != full.SNIPS.Value {
		t.Errorf("IPS %v and SNIPS %v with features, %v and %v with some missing", full.IPS.Value, full.SNIPS.Value, mixed.IPS.Value, mixed.SNIPS.Value)
	}
	if math.Abs(mixed.DR.Value-full.DR.Value) > (full.DR.High-full.DR.Low)/4 || mixed.DR.Value == full.DR.Value {
		t.Errorf("DR %v with features, %v with some missing: want about the same", full.DR.Value, mixed.DR.Value)
	}
	if !strings.Contains(strings.Join(report.Warnings, "\n"), "carry other features than the rest, or none") {
		t.Errorf("warnings %q", report.Warnings)
	}
	empty := evaluated(t, bare{s, math.MaxInt}, req)
	if said := strings.Join(empty.Warnings, "\n"); !strings.Contains(said, "no row carries features") || strings.Contains(strings.Join(report.Warnings, "\n"), "no row carries features") {
		t.Errorf("without any features: %q; with some: %q", empty.Warnings, report.Warnings)
	}
	none := get(t, empty, "flat")
	if none.IPS.Value != full.IPS.Value || none.DR == nil {
		t.Errorf("without any features: IPS %v, DR %v", none.IPS.Value, none.DR)
	}
}

// Widening must count what was added before as rows without features.
func TestWidenKeepsTheMeans(t *testing.T) {
	rows := [][]float64{{1, 0, 0, 2}, {1, 0, 0, 5}, {1, 3, 1, 4}}
	want, got := newModelStatistics(2, 2), newModelStatistics(2, 0)
	for i, z := range rows {
		want.at(1, 1).add(z)
		if i < 2 {
			got.at(1, 1).add([]float64{1, z[3]})
		}
	}
	got.widen(2)
	got.at(1, 1).add(rows[2])
	for i, v := range want.at(1, 1) {
		if got.at(1, 1)[i] != v {
			t.Fatalf("moment %d is %v, want %v", i, got.at(1, 1)[i], v)
		}
	}
}
