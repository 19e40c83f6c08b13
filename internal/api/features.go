package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"nextbest"
	"nextbest/bandit"
)

// Features is the document of a feature schema: how a context becomes numbers.
type Features struct {
	Features []Feature      `json:"features"`
	Moments  *bandit.Source `json:"moments,omitempty" doc:"which rows means and deviations were taken from; the server writes it"`
}

// FeaturesVersion asks for a version of a feature schema.
type FeaturesVersion struct {
	Features []Feature    `json:"features"`
	Moments  *MomentsFrom `json:"moments_from,omitempty" doc:"fills the mean and sd of features that give neither"`
}

// MomentsFrom selects the logged contexts that moments are taken from.
type MomentsFrom struct {
	Placement string    `json:"placement" doc:"id or id@version"`
	From      time.Time `json:"from,omitzero" doc:"of the decision; absent: the first"`
	To        time.Time `json:"to,omitzero" doc:"of the decision, not included; absent: now"`
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
	if f.Moments != nil {
		return nil, &nextbest.Error{Code: nextbest.Invalid, Message: "the features are invalid", Problems: []nextbest.Problem{{Field: "moments",
			Message: "is the server's to write", Cure: "leave it out, or POST to …/versions with moments_from"}}}
	}
	raw, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	_, err = bandit.NewSchema(raw)
	return raw, err
}

func (s *Server) featureRoutes() {
	route(s, MayModel, huma.Operation{OperationID: "post-features-version", Method: http.MethodPost, Path: "/v1/features/{id}/versions", Tags: []string{"features"},
		Summary: "Add a version of a feature schema, with moments from the log where asked", DefaultStatus: http.StatusCreated, Errors: []int{404, 409, 412},
		Description: "With moments_from, features that give neither mean nor sd get those of the logged contexts, once: the version keeps the numbers and where they come from."},
		func(ctx context.Context, in *putInput[FeaturesVersion]) (*storedOutput[Features], error) {
			return s.addFeatures(ctx, in)
		})
}

func (s *Server) addFeatures(ctx context.Context, in *putInput[FeaturesVersion]) (*storedOutput[Features], error) {
	revision, err := s.addition(nextbest.KindFeatures, in.ID, in.Precondition)
	if err != nil {
		return nil, err
	}
	raw, err := prepareFeatures(ctx, in.ID, &Features{Features: in.Body.Features}, nil)
	if err != nil {
		return nil, err
	}
	if from := in.Body.Moments; from != nil {
		if s.o.Trainer == nil {
			return nil, missing("training")
		}
		if err := s.checkRange(from.Placement, from.From, from.To, false); err != nil {
			return nil, err
		}
		if raw, err = s.o.Trainer.Moments(ctx, raw, *from); err != nil {
			return nil, err
		}
	}
	rec, err := s.write(ctx, nextbest.Change{Kind: nextbest.KindFeatures, ID: in.ID, Document: raw, Reason: in.why(), IfMatch: revision})
	if err != nil {
		return nil, err
	}
	return answer[Features](rec, http.StatusCreated, fmt.Sprintf("/v1/features/%s?version=%d", rec.ID, rec.Version))
}
