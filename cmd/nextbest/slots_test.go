package main

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"nextbest/offline"
)

// TestSlots fills a page of three slots through HTTP, with an impression and a
// reward for each slot, and looks at what ClickHouse has of them.
func TestSlots(t *testing.T) {
	r := start(t, own(t), quick)
	define(t, r)
	r.ready(t)
	must(t, r.owner, "PUT", "/v1/placements/page", obj{"channels": []string{"email"}, "objective": "orders@1",
		"actions": []string{"mens", "womens", "news"}, "policy": "rules@1", "slots": 3}, nil)
	var list struct {
		made
		Slots []struct {
			Slot          int
			Action        string
			Propensity    float64
			Probabilities []struct{ Probability float64 }
		}
	}
	for i := 0; len(list.Slots) < 3; i++ {
		if i == 100 {
			t.Fatal("100 pages and none with three slots")
		}
		must(t, r.channel, "POST", "/v1/decisions", call("page", fmt.Sprint("S-", i), 3, "men"), &list)
	}
	if list.Action != list.Slots[0].Action || list.Propensity != list.Slots[0].Propensity {
		t.Errorf("the first slot is not on top: %+v", list)
	}
	now := time.Now().UTC()
	var rewards []obj
	for i, s := range list.Slots {
		sum := 0.0
		for _, p := range s.Probabilities {
			sum += p.Probability
		}
		if s.Slot != i+1 || math.Abs(sum-1) > 1e-12 || len(s.Probabilities) != 4-i {
			t.Errorf("slot %d: %+v", i+1, s)
		}
		status := []string{"shown", "not_shown", "delivered"}[i]
		must(t, r.channel, "POST", "/v1/decisions/"+list.ID+"/impression", obj{"slot": i + 1, "status": status}, nil)
		rewards = append(rewards, obj{"id": fmt.Sprint("r-", i+1), "kind": "order", "value": i + 1, "time": now, "decision_id": list.ID, "slot": i + 1})
	}
	delete(rewards[0], "slot") // 1 when absent
	rewards = append(rewards, obj{"id": "r-4", "kind": "order", "value": 4, "time": now, "decision_id": list.ID, "slot": 4})
	must(t, r.channel, "POST", "/v1/rewards", obj{"rewards": rewards}, nil)
	r.settled(t)
	var got struct{ Rows [][]any }
	must(t, r.analyst, "POST", "/v1/sql", obj{"query": `SELECT toInt32(d.slot), toString(d.action), d.propensity, toString(i.status), a.value
FROM decisions AS d
INNER JOIN impressions AS i ON d.decision_id = i.decision_id AND d.slot = i.slot
INNER JOIN attributed_rewards(window = 60) AS a ON d.decision_id = a.decision_id AND d.slot = a.slot
WHERE d.decision_id = '` + list.ID + `' ORDER BY d.slot`}, &got)
	if len(got.Rows) != 3 {
		t.Fatalf("rows %v", got.Rows)
	}
	for i, row := range got.Rows {
		s := list.Slots[i]
		want := fmt.Sprint([]any{i + 1, s.Action, s.Propensity, []string{"shown", "not_shown", "delivered"}[i], i + 1})
		if fmt.Sprint(row) != want {
			t.Errorf("slot %d: %v, want %s", i+1, row, want)
		}
	}
	var unmatched struct{ Items []struct{ ID, Why string } }
	must(t, r.analyst, "GET", "/v1/rewards/unmatched", nil, &unmatched)
	if len(unmatched.Items) != 1 || unmatched.Items[0].ID != "r-4" || unmatched.Items[0].Why != "unknown_decision" {
		t.Errorf("unmatched %+v, want r-4", unmatched.Items)
	}
	// Each slot is a row to learn from.
	time.Sleep(1200 * time.Millisecond)
	var rows struct{ Rows [][]any }
	must(t, r.analyst, "POST", "/v1/sql", obj{"query": "SELECT toInt32(count()) FROM decisions WHERE placement_id = 'page'"}, &rows)
	var trained struct {
		Document struct {
			Trained struct{ Rows int64 }
		}
	}
	must(t, r.analyst, "POST", "/v1/policies/lints/versions/1/models", obj{"placement": "page"}, &trained)
	if n := trained.Document.Trained.Rows; fmt.Sprint(n) != fmt.Sprint(rows.Rows[0][0]) || n < 3 {
		t.Errorf("learned from %d of %v slots", n, rows.Rows)
	}
	// Lists are judged by their own weights, of which these customers have too few;
	// position by position they have no value.
	var report offline.Report
	if _, err := r.analyst.Await(t.Context(), "evaluations", obj{"placement": "page", "candidates": []obj{{"policy": "rules@1"}}, "estimators": []string{"cascade_dr", "position_ips", "balanced"}}, &report, func(int64) {}); err != nil {
		t.Fatal(err)
	}
	result, _ := report.Result("rules@1")
	for _, e := range result.Estimates {
		switch e.Estimator {
		case "cascade_dr":
			if !strings.Contains(e.Problem, "by its own weights the") {
				t.Errorf("the lists of so few customers: %+v", e)
			}
		case "position_ips":
			if !strings.Contains(e.Problem, "whatever stands above it") {
				t.Errorf("%+v", e)
			}
		case "balanced":
			if e.Problem != "" {
				t.Errorf("one arm: %+v", e)
			}
		}
	}
	if len(result.Estimates) != 3 {
		t.Errorf("%+v", result)
	}
	verified(t, r.analyst)
}
