package main

import (
	"encoding/json"

	"nextbest"
	"nextbest/internal/api"
)

// clustersOf returns the clusters of actions that an evaluation asks for: its
// own, or what the actions' definitions say. An action whose definition says
// nothing is a cluster of its own.
func clustersOf(actions []nextbest.Record, ask api.Evaluation) (map[string]string, error) {
	if ask.ClusterBy == "" {
		return ask.Clusters, nil
	}
	clusters := map[string]string{}
	for _, rec := range actions {
		var a nextbest.Action
		if err := json.Unmarshal(rec.Document, &a); err != nil {
			continue // deleted
		}
		cluster := a.Group
		if ask.ClusterBy == "goal" {
			cluster = a.Goal
		}
		if cluster != "" {
			clusters[rec.ID] = cluster
		}
	}
	if len(clusters) == 0 {
		return nil, nextbest.FieldErrorf("cluster_by", "no action has a %s: define it, or give clusters", ask.ClusterBy)
	}
	return clusters, nil
}
