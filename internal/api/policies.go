package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"nextbest"
)

// Policy is the document of a policy version.
type Policy struct {
	Algorithm      string               `json:"algorithm" enum:"uniform,fixed,rules,external,epsilon_greedy,softmax,squarecb,ucb1,beta_thompson,linucb,linear_thompson,hybrid_linucb,shared_thompson,hurdle_thompson,logistic_thompson"`
	Params         map[string]float64   `json:"params,omitempty" doc:"the algorithm's parameters; absent ones take their defaults"`
	Features       string               `json:"features,omitempty" doc:"id@version of the feature schema"`
	Weights        map[string]float64   `json:"weights,omitempty" doc:"fixed: weight of each action"`
	ActionFeatures map[string][]float64 `json:"action_features,omitempty" doc:"hybrid_linucb, shared_thompson: numbers that describe each action, as many for each; an action that is not named has zeros"`
	Rules          []PolicyRule         `json:"rules,omitempty" doc:"rules: the first that holds and whose action is eligible wins"`
	Forgetting     *PolicyForgetting    `json:"forgetting,omitempty" doc:"policies that learn: half_life or window; absent: every decision counts alike for ever"`
}

// PolicyForgetting is how a policy that learns lets go of old decisions.
type PolicyForgetting struct {
	HalfLife string `json:"half_life,omitempty" example:"30d" doc:"a decision's weight halves each time this passes"`
	Window   string `json:"window,omitempty" example:"90d" doc:"only decisions of the last so long, in steps of 1/64 of it"`
}

// PolicyRule is one rule of a rules policy.
type PolicyRule struct {
	When   string `json:"when" doc:"CEL over customer, context and now; empty: always"`
	Action string `json:"action"`
}

// ByVersion names one version of a policy in a path.
type ByVersion struct {
	ByID
	N uint64 `path:"n" minimum:"1" doc:"version"`
}

// policy returns the version as a reference.
func (v ByVersion) policy() nextbest.Ref { return nextbest.Ref{ID: v.ID, Version: v.N} }

func (s *Server) policyRoutes() {
	tags := []string{"policies"}
	const base = "/v1/policies"
	route(s, MayModel, huma.Operation{OperationID: "post-policy-version", Method: http.MethodPost, Path: base + "/{id}/versions", Tags: tags,
		Summary: "Add a version of a policy; versions never change", DefaultStatus: http.StatusCreated, Errors: []int{409, 412}},
		func(ctx context.Context, in *putInput[Policy]) (*storedOutput[Policy], error) {
			return s.addPolicy(ctx, in)
		})
	route(s, MayRead, huma.Operation{OperationID: "list-policies", Method: http.MethodGet, Path: base, Tags: tags, Summary: "List policies, newest version each"},
		func(context.Context, *struct{}) (*listOutput[Policy], error) {
			return answers[Policy](s.o.Registry.List(nextbest.KindPolicy))
		})
	route(s, MayRead, huma.Operation{OperationID: "list-policy-versions", Method: http.MethodGet, Path: base + "/{id}/versions", Tags: tags, Summary: "Every version of a policy", Errors: []int{404}},
		func(_ context.Context, in *ByID) (*listOutput[Policy], error) {
			records := s.o.Registry.History(nextbest.KindPolicy, in.ID)
			if len(records) == 0 {
				return nil, notFound(nextbest.KindPolicy, in.ID)
			}
			return answers[Policy](records)
		})
	route(s, MayRead, huma.Operation{OperationID: "get-policy-version", Method: http.MethodGet, Path: base + "/{id}/versions/{n}", Tags: tags, Summary: "One version of a policy", Errors: []int{404}},
		func(_ context.Context, in *ByVersion) (*storedOutput[Policy], error) {
			rec, err := s.record(nextbest.KindPolicy, in.ID, in.N)
			if err != nil {
				return nil, err
			}
			return answer[Policy](rec, http.StatusOK, "")
		})
	s.modelRoutes(base + "/{id}/versions/{n}")
}

func (s *Server) addPolicy(ctx context.Context, in *putInput[Policy]) (*storedOutput[Policy], error) {
	revision, err := s.addition(nextbest.KindPolicy, in.ID, in.Precondition)
	if err != nil {
		return nil, err
	}
	_, raw, err := in.Body.Document()
	if err != nil {
		return nil, err
	}
	rec, err := s.write(ctx, nextbest.Change{Kind: nextbest.KindPolicy, ID: in.ID, Document: raw, Reason: in.why(), IfMatch: revision})
	if err != nil {
		return nil, err
	}
	return answer[Policy](rec, http.StatusCreated, fmt.Sprintf("/v1/policies/%s/versions/%d", rec.ID, rec.Version))
}
