package main

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"nextbest"
	"nextbest/internal/api"
)

// Clusters come from the request, or from the member of the actions' definitions
// that it names.
func TestClustersOf(t *testing.T) {
	var records []nextbest.Record
	for _, a := range []nextbest.Action{{ID: "a", Goal: "retain", Group: "letters"}, {ID: "b", Group: "letters"}, {ID: "c"}} {
		document, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, nextbest.Record{Kind: nextbest.KindAction, ID: a.ID, Document: document})
	}
	for _, c := range []struct {
		ask  api.Evaluation
		want map[string]string
	}{
		{api.Evaluation{}, nil},
		{api.Evaluation{Clusters: map[string]string{"a": "x"}}, map[string]string{"a": "x"}},
		{api.Evaluation{ClusterBy: "group"}, map[string]string{"a": "letters", "b": "letters"}},
		{api.Evaluation{ClusterBy: "goal"}, map[string]string{"a": "retain"}},
	} {
		if got, err := clustersOf(records, c.ask); err != nil || !maps.Equal(got, c.want) {
			t.Errorf("%+v: %v, %v, want %v", c.ask, got, err, c.want)
		}
	}
	if _, err := clustersOf(records[2:], api.Evaluation{ClusterBy: "goal"}); err == nil || !strings.Contains(err.Error(), "no action has a goal") {
		t.Errorf("no goals: %v", err)
	}
}
