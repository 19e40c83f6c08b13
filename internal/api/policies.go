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

// Policy is the document of a policy version.
type Policy struct {
	Algorithm      string               `json:"algorithm" enum:"uniform,fixed,rules,epsilon_greedy,linucb,linear_thompson,hybrid_linucb,shared_thompson"`
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

// Model is the document of a model.
type Model struct {
	Policy    string          `json:"policy" doc:"id@version"`
	Hash      string          `json:"hash" doc:"of the content"`
	Placement string          `json:"placement"`
	Objective string          `json:"objective"`
	Trained   json.RawMessage `json:"trained,omitempty" doc:"on what: from, to, mature_at, upto, split, rows"`
	Base      uint64          `json:"base,omitempty" doc:"the model this one continues; 0: none"`
}

// TrainingRequest asks for a model.
type TrainingRequest struct {
	Placement string          `json:"placement" doc:"id or id@version whose log is learned from"`
	Objective string          `json:"objective,omitempty" doc:"id@version; absent: the placement's"`
	From      time.Time       `json:"from,omitzero"`
	To        time.Time       `json:"to,omitzero"`
	MatureAt  time.Time       `json:"mature_at,omitzero" doc:"only decisions whose window had closed by then; absent: now"`
	Split     *nextbest.Split `json:"split,omitempty" doc:"only these customers, so that others stay for evaluation"`
}

// ByVersion names one version of a policy in a path.
type ByVersion struct {
	ByID
	N uint64 `path:"n" minimum:"1" doc:"version"`
}

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
	s.modelRoutes(base+"/{id}/versions/{n}/models", []string{"models"})
}

func (s *Server) addPolicy(ctx context.Context, in *putInput[Policy]) (*storedOutput[Policy], error) {
	revision := nextbest.AnyRevision
	existing, exists := s.o.Registry.Get(nextbest.KindPolicy, in.ID)
	if in.IfMatch != "" || in.IfNoneMatch != "" {
		var err error
		if revision, err = in.revision(nextbest.KindPolicy, in.ID, existing, exists && !existing.Deleted); err != nil {
			return nil, err
		}
	}
	raw, err := json.Marshal(in.Body)
	if err != nil {
		return nil, err
	}
	spec, err := bandit.ParseSpec(raw)
	if err != nil {
		return nil, err
	}
	if raw, err = json.Marshal(spec); err != nil { // with the defaults of today, for good
		return nil, err
	}
	rec, err := s.write(ctx, nextbest.Change{Kind: nextbest.KindPolicy, ID: in.ID, Document: raw, Reason: in.why(), IfMatch: revision})
	if err != nil {
		return nil, err
	}
	return answer[Policy](rec, http.StatusCreated, fmt.Sprintf("/v1/policies/%s/versions/%d", rec.ID, rec.Version))
}

func (s *Server) modelRoutes(base string, tags []string) {
	route(s, MayModel, huma.Operation{OperationID: "train-model", Method: http.MethodPost, Path: base, Tags: tags,
		Summary: "Train a model on the log", DefaultStatus: http.StatusCreated, Errors: []int{404, 409},
		Description: "Answers when the model is there; its version is the model's number. Closing the connection gives up."},
		func(ctx context.Context, in *struct {
			ByVersion
			Precondition
			Body TrainingRequest
		}) (*storedOutput[Model], error) {
			return s.train(ctx, nextbest.Ref{ID: in.ID, Version: in.N}, in.Body, in.why())
		})
	route(s, MayRead, huma.Operation{OperationID: "list-models", Method: http.MethodGet, Path: base, Tags: tags, Summary: "Every model of a policy version", Errors: []int{404}},
		func(_ context.Context, in *ByVersion) (*listOutput[Model], error) {
			if _, err := s.record(nextbest.KindPolicy, in.ID, in.N); err != nil {
				return nil, err
			}
			return answers[Model](s.o.Registry.History(nextbest.KindModel, modelsID(nextbest.Ref{ID: in.ID, Version: in.N})))
		})
	type modelInput struct {
		ByVersion
		M uint64 `path:"m" minimum:"1" doc:"number of the model"`
	}
	find := func(in *modelInput) (nextbest.Record, error) {
		rec, ok := s.o.Registry.Version(nextbest.KindModel, modelsID(nextbest.Ref{ID: in.ID, Version: in.N}), in.M)
		if !ok || rec.Deleted {
			return rec, nextbest.Errorf(nextbest.NotFound, "%s@%d has no model %d", in.ID, in.N, in.M)
		}
		return rec, nil
	}
	route(s, MayRead, huma.Operation{OperationID: "get-model", Method: http.MethodGet, Path: base + "/{m}", Tags: tags, Summary: "What a model was trained on", Errors: []int{404}},
		func(_ context.Context, in *modelInput) (*storedOutput[Model], error) {
			rec, err := find(in)
			if err != nil {
				return nil, err
			}
			return answer[Model](rec, http.StatusOK, "")
		})
	route(s, MayRead, huma.Operation{OperationID: "get-model-weights", Method: http.MethodGet, Path: base + "/{m}/weights", Tags: tags, Summary: "What a model has learned", Errors: []int{404}},
		func(ctx context.Context, in *modelInput) (*struct{ Body any }, error) {
			rec, err := find(in)
			if err != nil {
				return nil, err
			}
			if s.o.Weights == nil {
				return nil, missing("the model store")
			}
			w, err := s.o.Weights.Weights(ctx, rec)
			return &struct{ Body any }{w}, err
		})
}

// train makes a model of a policy version.
func (s *Server) train(ctx context.Context, policy nextbest.Ref, t TrainingRequest, reason string) (*storedOutput[Model], error) {
	if s.o.Trainer == nil {
		return nil, missing("training")
	}
	if _, err := s.record(nextbest.KindPolicy, policy.ID, policy.Version); err != nil {
		return nil, err
	}
	if err := s.checkRange(t.Placement, t.From, t.To, false); err != nil {
		return nil, err
	}
	var p nextbest.Problems
	if t.Objective != "" {
		s.known(&p, "objective", nextbest.KindObjective, t.Objective)
	}
	if sp := t.Split; sp != nil && !(0 <= sp.From && sp.From < sp.To && sp.To <= 1) {
		p.Add("split", "must have 0 ≤ from < to ≤ 1")
	}
	if err := p.Err("the training"); err != nil {
		return nil, err
	}
	rec, err := s.o.Trainer.Train(ctx, Training{Policy: policy, Placement: t.Placement, Objective: t.Objective, From: t.From, To: t.To,
		MatureAt: t.MatureAt, Split: t.Split, Actor: Who(ctx).Key, Reason: reason})
	if err != nil {
		return nil, err
	}
	return answer[Model](rec, http.StatusCreated, fmt.Sprintf("/v1/policies/%s/versions/%d/models/%d", policy.ID, policy.Version, rec.Version))
}
