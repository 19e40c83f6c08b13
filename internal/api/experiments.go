package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"nextbest"
	"nextbest/experiments"
)

// Experiment is the document of an experiment. What starting, promoting and
// stopping set is refused in a PUT.
type Experiment struct {
	ID               string                `json:"id,omitempty"`
	Placement        string                `json:"placement" doc:"id, without a version"`
	Arms             []ExperimentArm       `json:"arms" minItems:"2"`
	Primary          ExperimentMetric      `json:"primary"`
	Guardrails       []ExperimentGuardrail `json:"guardrails,omitempty"`
	Alpha            float64               `json:"alpha,omitempty" doc:"level of the live test; 0.05"`
	RollbackAlpha    float64               `json:"rollback_alpha,omitempty" doc:"level of the automatic rollback; 0.05"`
	Window           nextbest.Duration     `json:"window" doc:"the objective's"`
	MinimumDuration  nextbest.Duration     `json:"minimum_duration,omitempty" doc:"14d"`
	PlannedCustomers int                   `json:"planned_customers,omitempty" minimum:"1" doc:"where the confidence sequences are tightest; 10000"`
	Ramp             *float64              `json:"ramp,omitempty" minimum:"0" maximum:"1" doc:"share of the placement's customers enrolled; 1"`
	SetAside         bool                  `json:"set_aside,omitempty" doc:"its rows are never trained on"`
	Salt             string                `json:"salt" minLength:"1" maxLength:"64" doc:"different for every experiment"`
	Evaluation       string                `json:"evaluation,omitempty" doc:"id of the evaluation that is the offline evidence"`
	Author           string                `json:"author,omitempty" doc:"key that created it; set by the server"`
	State            string                `json:"state,omitempty" enum:"draft,running,promoted,stopped,rolled_back"`
	Started          time.Time             `json:"started,omitzero"`
	Ended            time.Time             `json:"ended,omitzero"`
	Winner           string                `json:"winner,omitempty"`
	Promotion        json.RawMessage       `json:"promotion,omitempty"`
}

// ExperimentArm is one policy and model with a share of the customers.
type ExperimentArm struct {
	ID       string  `json:"id"`
	Policy   string  `json:"policy" doc:"id@version"`
	Model    uint64  `json:"model,omitempty"`
	Share    float64 `json:"share" exclusiveMinimum:"0" exclusiveMaximum:"1"`
	Control  bool    `json:"control,omitempty" doc:"exactly one arm is the control"`
	Learning string  `json:"learning,omitempty" enum:"frozen,online"`
}

// ExperimentMetric is what the live test compares.
type ExperimentMetric struct {
	Reward string  `json:"reward"`
	Kind   string  `json:"kind,omitempty" enum:"conversion,value"`
	Cap    float64 `json:"cap,omitempty" doc:"most that one customer counts for; kind value only. A customer whose rewards sum to less than 0 counts for 0: what harms so belongs in a guardrail"`
}

// ExperimentGuardrail is a metric that a candidate must not harm.
type ExperimentGuardrail struct {
	Reward string            `json:"reward"`
	Kind   string            `json:"kind,omitempty" enum:"conversion,value"`
	Harm   string            `json:"harm" enum:"increase,decrease"`
	Margin float64           `json:"margin" exclusiveMinimum:"0"`
	Cap    float64           `json:"cap,omitempty"`
	Window nextbest.Duration `json:"window,omitempty"`
}

// prepareExperiment validates with the experiments' own rules. The author is
// whoever created it, whatever the document says: whoever promotes must be
// somebody else.
func prepareExperiment(ctx context.Context, id string, e *Experiment, before *nextbest.Record) ([]byte, error) {
	if err := sameID(id, &e.ID); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	d, err := experiments.Parse(raw)
	if err != nil {
		return nil, err
	}
	d.Author = Who(ctx).Key
	var old *experiments.Definition
	if before != nil {
		if old, err = experiments.Parse(before.Document); err != nil {
			return nil, nextbest.Errorf(nextbest.Internal, "experiment %s does not decode: %w", id, err)
		}
		d.Author = old.Author
	}
	if err := experiments.CheckChange(old, d); err != nil {
		return nil, err
	}
	return d.Document(), nil
}

type startInput struct {
	ByID
	Precondition
	Body *struct {
		Reason string `json:"reason,omitempty" maxLength:"500"`
	}
}

type rampInput struct {
	ByID
	Precondition
	Body struct {
		Ramp   float64 `json:"ramp" exclusiveMinimum:"0" maximum:"1" doc:"share of the placement's customers; it may only grow"`
		Reason string  `json:"reason,omitempty" maxLength:"500"`
	}
}

type promoteInput struct {
	ByID
	Precondition
	Body struct {
		Arm        string `json:"arm" minLength:"1"`
		Model      uint64 `json:"model,omitempty" doc:"number of the model that is promoted; absent: the arm's"`
		Evaluation string `json:"evaluation,omitempty" doc:"id of the evaluation that is the offline evidence; absent: the one that the experiment names"`
		Reason     string `json:"reason" minLength:"1" maxLength:"500"`
	}
}

type reasonInput struct {
	ByID
	Precondition
	Body struct {
		Reason string `json:"reason" minLength:"1" maxLength:"500"`
	}
}

func (s *Server) experimentRoutes() {
	tags, base := []string{"experiments"}, "/v1/experiments/{id}"
	route(s, MayRun, huma.Operation{OperationID: "start-experiment", Method: http.MethodPost, Path: base + "/start", Tags: tags, Summary: "Start", Errors: []int{404, 409}},
		func(ctx context.Context, in *startInput) (*storedOutput[Experiment], error) {
			reason := in.why()
			if in.Body != nil && in.Body.Reason != "" {
				reason = in.Body.Reason
			}
			return apply[Experiment](ctx, s, nextbest.KindExperiment, Command{Verb: "start", ID: in.ID, Reason: reason})
		})
	route(s, MayRun, huma.Operation{OperationID: "ramp-experiment", Method: http.MethodPost, Path: base + "/ramp", Tags: tags, Summary: "Enrol a larger share", Errors: []int{404, 409}},
		func(ctx context.Context, in *rampInput) (*storedOutput[Experiment], error) {
			return apply[Experiment](ctx, s, nextbest.KindExperiment, Command{Verb: "ramp", ID: in.ID, Ramp: in.Body.Ramp, Reason: first(in.Body.Reason, in.why())})
		})
	route(s, MayPromote, huma.Operation{OperationID: "promote-experiment", Method: http.MethodPost, Path: base + "/promote", Tags: tags, Summary: "Make an arm the placement's policy", Errors: []int{404, 409},
		Description: "409 lists every gate with its number, what it needs and what would cure it. Whoever promotes must not be the author."},
		func(ctx context.Context, in *promoteInput) (*storedOutput[Experiment], error) {
			return apply[Experiment](ctx, s, nextbest.KindExperiment, Command{Verb: "promote", ID: in.ID, Arm: in.Body.Arm, Model: in.Body.Model, Evaluation: in.Body.Evaluation, Reason: in.Body.Reason})
		})
	route(s, MayStop, huma.Operation{OperationID: "stop-experiment", Method: http.MethodPost, Path: base + "/stop", Tags: tags, Summary: "Stop: everybody gets the placement's policy", Errors: []int{404, 409}},
		func(ctx context.Context, in *reasonInput) (*storedOutput[Experiment], error) {
			return apply[Experiment](ctx, s, nextbest.KindExperiment, Command{Verb: "stop", ID: in.ID, Reason: in.Body.Reason})
		})
	route(s, MayStop, huma.Operation{OperationID: "rollback-placement", Method: http.MethodPost, Path: "/v1/placements/{id}/rollback", Tags: []string{"placements"},
		Summary: "Undo the last step at a placement", Errors: []int{404, 409},
		Description: "While an experiment runs there, that is its start: it ends as rolled back, ended_experiment names it, and the placement's own policy, which the answer shows, serves everybody. Otherwise the placement goes back to the policy and model before the present ones."},
		func(ctx context.Context, in *reasonInput) (*rollbackOutput, error) { return s.rollBack(ctx, in) })
	route(s, MayRead, huma.Operation{OperationID: "get-experiment-gates", Method: http.MethodGet, Path: base + "/gates", Tags: tags, Summary: "Would a promotion pass now, and what is missing", Errors: []int{404}},
		func(ctx context.Context, in *struct {
			ByID
			Arm        string `query:"arm" doc:"absent: the only candidate"`
			Model      uint64 `query:"model"`
			Evaluation string `query:"evaluation" doc:"id of the evaluation that is the offline evidence; absent: the one that the experiment names"`
		}) (*struct{ Body any }, error) {
			if s.o.Evidence == nil {
				return nil, missing("the experiments' evidence")
			}
			if _, err := s.record(nextbest.KindExperiment, in.ID, 0); err != nil {
				return nil, err
			}
			v, err := s.o.Evidence.Gates(ctx, in.ID, in.Arm, in.Model, in.Evaluation)
			return &struct{ Body any }{v}, err
		})
	route(s, MayRead, huma.Operation{OperationID: "get-experiment-status", Method: http.MethodGet, Path: base + "/status", Tags: tags, Summary: "How the arms are doing", Errors: []int{404}},
		func(ctx context.Context, in *ByID) (*struct{ Body any }, error) {
			if s.o.Evidence == nil {
				return nil, missing("the experiments' evidence")
			}
			if _, err := s.record(nextbest.KindExperiment, in.ID, 0); err != nil {
				return nil, err
			}
			v, err := s.o.Evidence.Status(ctx, in.ID)
			return &struct{ Body any }{v}, err
		})
}

type rollbackOutput struct {
	ETag string `header:"ETag"`
	Body struct {
		Stored[Placement]
		Ended string `json:"ended_experiment,omitempty" doc:"the running experiment that this ended; the placement itself is as it was"`
	}
}

func (s *Server) rollBack(ctx context.Context, in *reasonInput) (*rollbackOutput, error) {
	if s.o.Lifecycle == nil {
		return nil, missing("changing placements")
	}
	if _, err := s.record(nextbest.KindPlacement, in.ID, 0); err != nil {
		return nil, err
	}
	rec, ended, err := s.o.Lifecycle.Undo(ctx, Command{ID: in.ID, Actor: Who(ctx).Key, Reason: in.Body.Reason})
	if err != nil {
		return nil, err
	}
	a, err := answer[Placement](rec, http.StatusOK, "")
	if err != nil {
		return nil, err
	}
	out := &rollbackOutput{ETag: a.ETag}
	out.Body.Stored, out.Body.Ended = a.Body, ended
	return out, nil
}

// apply asks the domain for one change of state.
func apply[T any](ctx context.Context, s *Server, kind nextbest.Kind, c Command) (*storedOutput[T], error) {
	if s.o.Lifecycle == nil {
		return nil, missing("changing experiments")
	}
	if _, err := s.record(kind, c.ID, 0); err != nil {
		return nil, err
	}
	c.Actor = Who(ctx).Key
	rec, err := s.o.Lifecycle.Apply(ctx, c)
	if err != nil {
		return nil, err
	}
	return answer[T](rec, http.StatusOK, "")
}

func first(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}
