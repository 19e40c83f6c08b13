package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"nextbest/internal/api"
)

// TestImportsKeepTheirRows sends rows of an import again: the same ones change
// nothing, others under their ids are refused, whole, with the lines named.
func TestImportsKeepTheirRows(t *testing.T) {
	r := start(t, own(t), quick)
	define(t, r)
	imports := "/v1/imports?name=old&placement=shop"
	row := func(id int, rest string) string {
		return fmt.Sprintf(`{"id":"r-%d","customer":{"id":"C-%d","consent":{"email":true},"segment":"new"},"time":"2026-01-05T10:00:00Z","context":{"recency":3,"taste":"men"},"action":"mens","eligible":["do-nothing","mens"],%s}`, id, id, rest)
	}
	first := []string{row(1, `"propensity":0.5`), row(2, `"propensity":0.25,"rewards":[{"kind":"order","value":1}]`)}
	var taken api.Imported
	must(t, r.analyst, "POST", imports, lines(first...), &taken, ndjson)
	if taken.Rows != 2 || taken.Rewards != 1 {
		t.Fatalf("took %+v", taken)
	}
	must(t, r.analyst, "POST", imports, lines(first...), nil, ndjson)

	for name, other := range map[string]string{
		"propensity": row(1, `"propensity":0.4`),
		"reward":     strings.Replace(first[1], `"value":1`, `"value":2`, 1),
		"time":       strings.Replace(first[0], "10:00", "11:00", 1),
		"customer":   strings.Replace(first[0], "C-1", "C-9", 1),
		"attribute":  strings.Replace(first[0], `"new"`, `"old"`, 1),
		"context":    strings.Replace(first[0], `"recency":3`, `"recency":4`, 1),
	} {
		p := refused(t, r.analyst, http.StatusConflict, "POST", imports, lines(row(3, `"propensity":0.5`), other), ndjson)
		if len(p.Problems) != 1 || p.Problems[0].Field != "line 2.id" || p.Problems[0].Cure == "" {
			t.Errorf("another %s: %v", name, p.Problems)
		}
	}
	r.settled(t)
	var n, propensities uint64
	for _, id := range []string{"r-1", "r-2", "r-3"} {
		key := importedID("old", id, taken.From)
		var row struct {
			Items []struct {
				Propensity float64
				Context    struct{ Customer obj }
			}
		}
		if _, err := r.analyst.Call(t.Context(), "GET", "/v1/decisions/"+key.String(), nil, &row); err == nil {
			n += uint64(len(row.Items))
			if row.Items[0].Propensity == 0.5 && id == "r-1" {
				propensities++
			}
			if c := row.Items[0].Context.Customer; c["segment"] != "new" || c["id"] != nil {
				t.Errorf("%s: customer in the log %v", id, c)
			}
		}
	}
	if n != 2 || propensities != 1 {
		t.Errorf("%d rows in the log, want the first two as they were", n)
	}
	must(t, r.analyst, "POST", imports, lines(row(3, `"propensity":0.5`)), &taken, ndjson)
	if taken.Rows != 1 {
		t.Errorf("the row beside the refused ones: %+v", taken)
	}
	var job finished
	must(t, r.analyst, "POST", "/v1/evaluations", obj{"placement": "shop", "source": "nope", "candidates": []obj{{"name": "evenly", "spec": obj{"algorithm": "uniform"}}}}, &job)
	eventually(t, "the evaluation ends", func() error {
		must(t, r.analyst, "GET", "/v1/evaluations/"+job.ID, nil, &job)
		if job.State == "queued" || job.State == "running" {
			return errors.New(job.State)
		}
		return nil
	})
	if said := string(job.Problem); job.State != "failed" || !strings.Contains(said, "there is no import nope; there are old, and live") || !strings.Contains(said, `"source"`) {
		t.Errorf("%s: %s", job.State, said)
	}
}
