package api

import (
	"context"
	"encoding/json"

	"nextbest"
	"nextbest/bandit"
)

// Features is the document of a feature schema: how a context becomes numbers.
type Features struct {
	Features []Feature `json:"features"`
}

// Feature is one feature of a schema.
type Feature struct {
	Name    string   `json:"name"`
	Type    string   `json:"type" enum:"numeric,categorical,boolean"`
	Mean    *float64 `json:"mean,omitempty" doc:"numeric: subtracted"`
	SD      *float64 `json:"sd,omitempty" doc:"numeric: divided by"`
	Clip    *float64 `json:"clip,omitempty" doc:"numeric: largest standardised value"`
	Levels  []string `json:"levels,omitempty" doc:"categorical: the values that have a column"`
	Missing string   `json:"missing,omitempty" enum:"refuse,mean,zero,indicator" doc:"what a missing value means: the call is refused (default), the mean, zero or no level, or the mean and a column that says so"`
}

// prepareFeatures validates with the schema's own rules.
func prepareFeatures(_ context.Context, _ string, f *Features, _ *nextbest.Record) ([]byte, error) {
	raw, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	_, err = bandit.NewSchema(raw)
	return raw, err
}
