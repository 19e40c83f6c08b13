package offline

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"nextbest"
)

// The report of the largest search, with long names and every candidate left out
// for a reason, is far from what one record of the registry can hold (1 MiB).
func TestLargestSearchFitsARecord(t *testing.T) {
	l := newSearchLog(sameRates(6, 3, 0.4), 240, 5)
	req, _ := searchOf(l, nil)
	for i := range MostCombinations {
		c := Combination{Of: strings.Repeat("n", 63), Params: map[string]float64{"shared_ridge": float64(i) + 0.123456789, "floor": 0.123456789, "alpha": 0.123456789, "ridge": 0.123456789}}
		c.Name = fmt.Sprintf("%s alpha=0.123456789 floor=0.123456789 ridge=0.123456789 shared_ridge=%v", c.Of, c.Params["shared_ridge"])
		req.Combinations = append(req.Combinations, c)
	}
	report, err := Search(context.Background(), l, req, func(_ context.Context, c *Combination, q nextbest.Query) (Candidate, *Trained, error) {
		return takes{name: c.Name, take: []int{0, 1, 2, 0, 1, 2}}, &Trained{From: q.From, To: q.To, MatureAt: q.MatureAt, Rows: 1 << 40, Split: &nextbest.Split{Salt: strings.Repeat("s", 64), To: 0.5}}, nil
	}, nil)
	if err != nil || report.Outcome != AllRefused {
		t.Fatalf("%+v, %v", report, err)
	}
	raw, err := json.Marshal(report)
	if err != nil || len(raw) > 400<<10 {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
	t.Logf("%d bytes", len(raw))
}
