package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"nextbest"
	"nextbest/internal/learning"
)

// Model is the document of a model.
type Model struct {
	Policy    string          `json:"policy" doc:"id@version"`
	Hash      string          `json:"hash" doc:"of the content"`
	Placement string          `json:"placement"`
	Objective string          `json:"objective"`
	Trained   json.RawMessage `json:"trained,omitempty" doc:"on what: from, to, mature_at, upto, split, rows; set_aside: rows of the range that were left out"`
	Base      uint64          `json:"base,omitempty" doc:"the model this one continues; 0: none"`
	Features  string          `json:"features,omitempty" doc:"id@version of the schema that its weights belong to"`
	Migrated  *ModelOrigin    `json:"migrated_from,omitempty" doc:"the model whose sums these are, under another schema"`
	Tuned     json.RawMessage `json:"tuned,omitempty" doc:"rows that chose its policy among others, in a search"`
	Current   bool            `json:"current,omitempty" doc:"the one that learning: online serves"`
	Paused    bool            `json:"paused,omitempty" doc:"current by a rollback: live learning waits until it is resumed"`
}

// ModelOrigin names a model of another policy version.
type ModelOrigin struct {
	Policy string `json:"policy" doc:"id@version"`
	Model  uint64 `json:"model" minimum:"1"`
}

// TrainingRequest asks for a model.
type TrainingRequest struct {
	Placement string          `json:"placement,omitempty" doc:"id or id@version whose log is learned from, of whatever policy; needed unless migrate is given"`
	Objective string          `json:"objective,omitempty" doc:"id@version; absent: the placement's"`
	From      time.Time       `json:"from,omitzero"`
	To        time.Time       `json:"to,omitzero"`
	MatureAt  time.Time       `json:"mature_at,omitzero" doc:"only decisions whose window had closed by then; absent: now"`
	Split     *nextbest.Split `json:"split,omitempty" doc:"only these customers, so that others stay for evaluation"`
	Source    string          `json:"source,omitempty" doc:"live, or the name of an import: only its rows; absent: all"`
	Base      uint64          `json:"base,omitempty" doc:"model of this policy version whose rows are learned first; of the same placement, only later rows are added"`
	Migrate   *ModelOrigin    `json:"migrate,omitempty" doc:"take over this model's sums under this version's schema, instead of learning rows; nothing else may be given then"`
}

// CurrentModel says which model of a policy version learning: online serves.
type CurrentModel struct {
	Model  uint64 `json:"model"`
	Paused bool   `json:"paused,omitempty" doc:"chosen by a rollback: live learning waits until it is resumed"`
}

// RebuildRequest asks for a model to be learned again.
type RebuildRequest struct {
	Model uint64 `json:"model,omitempty" doc:"number of the model; absent: the current one, or the newest where none is current"`
}

// Rebuild is what a rebuild's job was asked.
type Rebuild struct {
	Policy string `json:"policy"`
	Model  uint64 `json:"model,omitempty"`
}

// KindRebuild keeps what rebuilds found, beside the root's kinds.
const KindRebuild nextbest.Kind = "rebuilds"

// ByModel names one model of a policy version in a path.
type ByModel struct {
	ByVersion
	M uint64 `path:"m" minimum:"1" doc:"number of the model"`
}

func (s *Server) modelRoutes(version string) {
	base, tags := version+"/models", []string{"models"}
	route(s, MayModel, huma.Operation{OperationID: "train-model", Method: http.MethodPost, Path: base, Tags: tags,
		Summary: "Train a model on the log", DefaultStatus: http.StatusCreated, Errors: []int{404, 409},
		Description: "Answers when the model is there; its version is the model's number. Closing the connection gives up."},
		func(ctx context.Context, in *struct {
			ByVersion
			Precondition
			Body TrainingRequest
		}) (*storedOutput[Model], error) {
			return s.train(ctx, in.policy(), in.Body, in.why())
		})
	route(s, MayRead, huma.Operation{OperationID: "list-models", Method: http.MethodGet, Path: base, Tags: tags, Summary: "Every model of a policy version", Errors: []int{404}},
		func(_ context.Context, in *ByVersion) (*listOutput[Model], error) {
			if _, err := s.record(nextbest.KindPolicy, in.ID, in.N); err != nil {
				return nil, err
			}
			out, err := answers[Model](s.o.Registry.History(nextbest.KindModel, learning.ID(in.policy())))
			if err != nil {
				return nil, err
			}
			for i := range out.Body.Items {
				s.markCurrent(in.policy(), &out.Body.Items[i])
			}
			return out, nil
		})
	route(s, MayRead, huma.Operation{OperationID: "get-model", Method: http.MethodGet, Path: base + "/{m}", Tags: tags, Summary: "What a model was trained on", Errors: []int{404}},
		func(_ context.Context, in *ByModel) (*storedOutput[Model], error) {
			rec, err := s.model(in.policy(), in.M)
			if err != nil {
				return nil, err
			}
			out, err := answer[Model](rec, http.StatusOK, "")
			if err == nil {
				s.markCurrent(in.policy(), &out.Body)
			}
			return out, err
		})
	route(s, MayRead, huma.Operation{OperationID: "get-model-weights", Method: http.MethodGet, Path: base + "/{m}/weights", Tags: tags, Summary: "What a model has learned", Errors: []int{404}},
		func(ctx context.Context, in *ByModel) (*struct{ Body any }, error) {
			rec, err := s.model(in.policy(), in.M)
			if err != nil {
				return nil, err
			}
			if s.o.Weights == nil {
				return nil, missing("the model store")
			}
			w, err := s.o.Weights.Weights(ctx, rec)
			return &struct{ Body any }{w}, err
		})
	route(s, MayRead, huma.Operation{OperationID: "diff-models", Method: http.MethodGet, Path: base + "/{m}/diff/{k}", Tags: tags, Summary: "What a model has learned since another", Errors: []int{404},
		Description: "Model k against model m: rows, noise, and of each action the ten weights that changed most, in units of m's standard error."},
		func(ctx context.Context, in *struct {
			ByModel
			K uint64 `path:"k" minimum:"1" doc:"number of the other model"`
		}) (*struct{ Body learning.Diff }, error) {
			if s.o.Models == nil {
				return nil, missing("the model store")
			}
			d, err := s.o.Models.Diff(ctx, in.policy(), in.M, in.K)
			return &struct{ Body learning.Diff }{d}, err
		})
	route(s, MayAnalyse, huma.Operation{OperationID: "start-rebuild", Method: http.MethodPost, Path: version + "/rebuild", Tags: tags, Summary: "Learn a model again from the log and compare", DefaultStatus: http.StatusAccepted, Errors: []int{404},
		Description: "202 with a Location: GET it until state is done. Nothing is published; the result is kept: the largest relative differences on A, b, n and Σr²."},
		func(ctx context.Context, in *struct {
			ByVersion
			Precondition
			Body *RebuildRequest
		}) (*jobOutput, error) {
			if s.o.Rebuilder == nil {
				return nil, missing("training")
			}
			ask := Rebuild{Policy: in.policy().String()}
			if in.Body != nil {
				ask.Model = in.Body.Model
			}
			if err := s.hasModel(in.policy(), ask.Model); err != nil {
				return nil, err
			}
			job, err := s.jobs.start(ctx, KindRebuild, ask, "", in.why(), func(ctx context.Context, progress Progress) (any, error) {
				return s.o.Rebuilder.Rebuild(ctx, in.policy(), ask.Model, progress.rows)
			})
			return &jobOutput{Location: "/v1/rebuilds/" + job.ID, Body: job}, err
		})
	s.jobRoutes(KindRebuild, "rebuild", MayAnalyse)
	route(s, MayStop, huma.Operation{OperationID: "rollback-model", Method: http.MethodPost, Path: version + "/rollback", Tags: tags, Summary: "Serve an earlier model again; live learning pauses", Errors: []int{404, 409, 412},
		Description: "For policies that learn online. Arms that name a model are rolled back at their placement."},
		func(ctx context.Context, in *struct {
			ByVersion
			Precondition
			Body struct {
				Model  uint64 `json:"model" minimum:"1" doc:"number of the model to serve"`
				Reason string `json:"reason" minLength:"1" maxLength:"500"`
			}
		}) (*storedOutput[CurrentModel], error) {
			if err := s.hasModel(in.policy(), in.Body.Model); err != nil {
				return nil, err
			}
			return s.moveModel(in.policy(), in.Precondition, func(ifMatch uint64) (nextbest.Record, error) {
				return s.o.Models.Rollback(ctx, in.policy(), in.Body.Model, ifMatch, Who(ctx).Key, in.Body.Reason)
			})
		})
	route(s, MayRun, huma.Operation{OperationID: "resume-learning", Method: http.MethodPost, Path: version + "/resume", Tags: tags, Summary: "Let a policy learn live again after a rollback", Errors: []int{404, 409, 412},
		Description: "The next pass of the trainer publishes what the log has taught in the meantime."},
		func(ctx context.Context, in *struct {
			ByVersion
			Precondition
			Body struct {
				Reason string `json:"reason" minLength:"1" maxLength:"500"`
			}
		}) (*storedOutput[CurrentModel], error) {
			return s.moveModel(in.policy(), in.Precondition, func(ifMatch uint64) (nextbest.Record, error) {
				return s.o.Models.Resume(ctx, in.policy(), ifMatch, Who(ctx).Key, in.Body.Reason)
			})
		})
}

// model returns the record of one model.
func (s *Server) model(policy nextbest.Ref, number uint64) (nextbest.Record, error) {
	rec, ok := s.o.Registry.Version(nextbest.KindModel, learning.ID(policy), number)
	if !ok || rec.Deleted {
		return rec, nextbest.Errorf(nextbest.NotFound, "%s has no model %d", policy, number)
	}
	return rec, nil
}

// hasModel refuses policies and models that are not there; 0 stands for any.
func (s *Server) hasModel(policy nextbest.Ref, number uint64) error {
	if _, err := s.record(nextbest.KindPolicy, policy.ID, policy.Version); err != nil || number == 0 {
		return err
	}
	_, err := s.model(policy, number)
	return err
}

// markCurrent says whether a model is the one that learning: online serves.
func (s *Server) markCurrent(policy nextbest.Ref, models ...*Stored[Model]) {
	rec, ok := s.o.Registry.Get(nextbest.KindCurrent, learning.ID(policy))
	var c CurrentModel
	if !ok || json.Unmarshal(rec.Document, &c) != nil {
		return
	}
	for _, m := range models {
		if m.Version == c.Model {
			m.Document.Current, m.Document.Paused = true, c.Paused
		}
	}
}

// moveModel changes which model of a policy is current.
func (s *Server) moveModel(policy nextbest.Ref, p Precondition, move func(ifMatch uint64) (nextbest.Record, error)) (*storedOutput[CurrentModel], error) {
	if s.o.Models == nil {
		return nil, missing("the model store")
	}
	var ifMatch uint64
	if p.IfMatch != "" {
		rec, exists := s.o.Registry.Get(nextbest.KindCurrent, learning.ID(policy))
		var err error
		if ifMatch, err = p.revision(nextbest.KindCurrent, learning.ID(policy), rec, exists); err != nil {
			return nil, err
		}
	}
	rec, err := move(ifMatch)
	if err != nil {
		return nil, err
	}
	return answer[CurrentModel](rec, http.StatusOK, "")
}

// train makes a model of a policy version.
func (s *Server) train(ctx context.Context, policy nextbest.Ref, t TrainingRequest, reason string) (*storedOutput[Model], error) {
	if s.o.Trainer == nil {
		return nil, missing("training")
	}
	if _, err := s.record(nextbest.KindPolicy, policy.ID, policy.Version); err != nil {
		return nil, err
	}
	if t.Migrate != nil {
		return s.migrate(ctx, policy, t, reason)
	}
	if t.Placement == "" {
		return nil, nextbest.FieldErrorf("placement", "is missing; it says whose log is learned from")
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
		MatureAt: t.MatureAt, Split: t.Split, Source: t.Source, Base: t.Base, Actor: Who(ctx).Key, Reason: reason})
	if err != nil {
		return nil, err
	}
	return answer[Model](rec, http.StatusCreated, fmt.Sprintf("/v1/policies/%s/versions/%d/models/%d", policy.ID, policy.Version, rec.Version))
}

// migrate makes a model of a policy version out of another version's.
func (s *Server) migrate(ctx context.Context, policy nextbest.Ref, t TrainingRequest, reason string) (*storedOutput[Model], error) {
	var p nextbest.Problems
	if !reflect.DeepEqual(t, TrainingRequest{Migrate: t.Migrate}) {
		p.Add("migrate", "takes over what another model has learned; leave everything else out")
	}
	from, ok := s.known(&p, "migrate.policy", nextbest.KindPolicy, t.Migrate.Policy)
	if ok && from.Version == 0 {
		p.Add("migrate.policy", "must name a version, such as %s@1", from.ID)
	}
	if err := p.Err("the migration"); err != nil {
		return nil, err
	}
	rec, err := s.o.Trainer.Migrate(ctx, Migration{Policy: policy, From: from, Model: t.Migrate.Model, Actor: Who(ctx).Key, Reason: reason})
	if err != nil {
		return nil, err
	}
	return answer[Model](rec, http.StatusCreated, fmt.Sprintf("/v1/policies/%s/versions/%d/models/%d", policy.ID, policy.Version, rec.Version))
}
