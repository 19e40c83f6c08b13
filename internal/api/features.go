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
	Name        string   `json:"name,omitempty" doc:"key in the context; a cross is named by the features that it multiplies"`
	Type        string   `json:"type" enum:"numeric,categorical,boolean,timestamp,embedding,cross"`
	Mean        *float64 `json:"mean,omitempty" doc:"numeric and age_days: subtracted; boolean: the share of true"`
	SD          *float64 `json:"sd,omitempty" doc:"numeric and age_days: divided by"`
	Clip        *float64 `json:"clip,omitempty" doc:"numeric and age_days: largest standardised value; embedding: largest number"`
	Levels      []string `json:"levels,omitempty" doc:"categorical: the values that have a column"`
	Hash        *int     `json:"hash,omitempty" minimum:"2" maximum:"1024" doc:"categorical: number of columns by the hash of the value, instead of levels"`
	Parts       []string `json:"parts,omitempty" enum:"hour,weekday,day,month,age_days" doc:"timestamp: what has columns"`
	Timezone    string   `json:"timezone,omitempty" doc:"timestamp: of the IANA database; absent: UTC"`
	Encoding    string   `json:"encoding,omitempty" enum:"cyclic,one_hot" doc:"timestamp: sine and cosine (default), or a column for each hour, day or month"`
	Width       *int     `json:"width,omitempty" minimum:"1" maximum:"1024" doc:"embedding: how many numbers the vector has"`
	Of          []string `json:"of,omitempty" doc:"cross: the features, declared above, whose columns are multiplied"`
	Missing     string   `json:"missing,omitempty" enum:"refuse,mean,zero,default,indicator,now" doc:"what a missing value means: the call is refused (default), the mean, zero or no level, the default, the mean or no level and a column that says so, or the time of the decision"`
	Default     any      `json:"default,omitempty" doc:"stands in for a missing value where missing is default"`
	RenamedFrom string   `json:"renamed_from,omitempty" doc:"key before it was renamed, read where the new one is absent"`
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
