package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"nextbest"
	"nextbest/offline"
)

// Search asks for the best of several policies on the log: each is trained on one
// part of it, all are compared with what ran on a second, and the winner is
// registered and evaluated on a third that nothing has touched.
type Search struct {
	Placement string `json:"placement" doc:"id or id@version"`
	Source    string `json:"source,omitempty" doc:"live, or an import's name; absent: all"`
	Objective string `json:"objective,omitempty" doc:"id@version; absent: the placement's"`
	// The parts.
	From     time.Time       `json:"from,omitzero" doc:"decisions at or after; absent: from the first"`
	TrainTo  time.Time       `json:"train_to,omitzero" doc:"where the train part ends and the select part begins; absent: by shares"`
	SelectTo time.Time       `json:"select_to,omitzero" doc:"where the select part ends and the gate part begins"`
	To       time.Time       `json:"to,omitzero" doc:"decisions before; absent: mature_at"`
	MatureAt time.Time       `json:"mature_at,omitzero" doc:"only decisions whose window had closed by then; absent: now"`
	Shares   *offline.Shares `json:"shares,omitempty" doc:"of the time between the first and the last decision, or of the customers (salt); absent: 0.5 and 0.25, so that the gate part has 0.25"`
	Salt     string          `json:"salt,omitempty" maxLength:"64" doc:"parts of customers instead of times; use one salt at a placement, or parts mix"`
	// What is tried.
	Specs       []SearchSpec `json:"specs" minItems:"1" maxItems:"20"`
	RewardMin   *float64     `json:"reward_min,omitempty" doc:"least that one decision can be worth; absent: as seen in the log, which bounds nothing rarer"`
	RewardMax   *float64     `json:"reward_max,omitempty" doc:"most that one decision can be worth"`
	RewardModel string       `json:"reward_model,omitempty" enum:"ridge,logistic" doc:"absent: ridge; logistic takes rewards of 0 and 1"`
	Seed        uint64       `json:"seed,omitempty" doc:"of the cross-fitting folds"`
	Folds       int          `json:"folds,omitempty" minimum:"2" maximum:"20"`
	// What is done with the winner.
	Policy     string            `json:"policy,omitempty" doc:"id of the policy that the winner becomes a version of; absent: the specification's name"`
	Anyway     bool              `json:"anyway,omitempty" doc:"register the best bound even where it cannot be told from what ran on the select part; the gate then decides"`
	Experiment *SearchExperiment `json:"experiment,omitempty" doc:"where the gate is passed: write a draft experiment, which nobody starts"`
}

// SearchSpec is one specification with the values to try of its parameters.
type SearchSpec struct {
	Name string               `json:"name" doc:"what the report calls it"`
	Spec Policy               `json:"spec"`
	Grid map[string][]float64 `json:"grid,omitempty" doc:"values to try of each parameter; all combinations are tried"`
}

// SearchExperiment is the draft of an experiment: the winner against the policy
// that the placement serves, half of the customers each.
type SearchExperiment struct {
	ID     string `json:"id" doc:"of an experiment that does not exist yet"`
	Reward string `json:"reward,omitempty" doc:"reward kind of the primary metric, a conversion; absent: the objective's, where it has one"`
}

// Searcher runs a search; what it returns is kept as JSON.
type Searcher interface {
	Search(ctx context.Context, s Search, run SearchRun) (any, error)
}

// SearchRun is what a search needs of the job that it runs in.
type SearchRun struct {
	ID, By, Reason string
	Progress       Progress
	// Fix is called before anything is registered: from then on the search cannot be
	// cancelled. An error says that it was cancelled before.
	Fix func() error
	// Evaluate runs one evaluation as a job of its own and returns its id and result;
	// a finished one with exactly the same request is taken as it is, so that the
	// rows of the gate are not looked at again.
	Evaluate func(ctx context.Context, e Evaluation, progress func(done int64)) (id string, result json.RawMessage, err error)
}

func (s *Server) searchRoutes() {
	route(s, MayModel, huma.Operation{OperationID: "start-search", Method: http.MethodPost, Path: "/v1/searches", Tags: []string{"searches"},
		Summary: "Search over hyperparameters on the log", DefaultStatus: http.StatusAccepted, Errors: []int{404},
		Description: "202 with a Location: GET it until state is done. The winner is registered as a policy version with its model and an evaluation on the gate part; nothing is served by it. One that was interrupted is finished by posting its request again."},
		func(ctx context.Context, in *struct {
			Precondition
			Body Search
		}) (*jobOutput, error) {
			if s.o.Searcher == nil || s.o.Evaluator == nil {
				return nil, missing("searching")
			}
			if in.Body.MatureAt.IsZero() {
				in.Body.MatureAt = s.now().UTC().Truncate(time.Microsecond) // so that the request says all
			}
			if err := s.checkSearch(ctx, &in.Body); err != nil {
				return nil, err
			}
			job, err := s.jobs.start(ctx, KindSearch, in.Body, "", in.why(), func(ctx context.Context, progress Progress) (any, error) {
				return s.o.Searcher.Search(ctx, in.Body, s.searchRun(ctx, progress, in.why()))
			})
			return &jobOutput{Location: "/v1/searches/" + job.ID, Body: job}, err
		})
	s.jobRoutes(KindSearch, "search", MayModel)
}

// searchRun is the run of the job whose work has the context.
func (s *Server) searchRun(ctx context.Context, progress Progress, reason string) SearchRun {
	t := ctx.Value(taskKey{}).(*task)
	return SearchRun{ID: t.job.ID, By: t.job.By, Reason: reason,
		Progress: progress,
		Fix:      func() error { return fix(ctx) },
		Evaluate: func(ctx context.Context, e Evaluation, read func(int64)) (string, json.RawMessage, error) {
			leave, err := s.jobs.enter(ctx, e)
			if err != nil {
				return "", nil, err
			}
			defer leave()
			job, ok, err := s.jobs.kept(nextbest.KindEvaluation, e)
			if err == nil && !ok {
				job, err = s.jobs.within(ctx, nextbest.KindEvaluation, e, "the gate of search "+t.job.ID, func(ctx context.Context, progress Progress) (any, error) {
					return s.o.Evaluator.Evaluate(ctx, e, func(done, total int64) {
						progress(done, total)
						read(done)
					})
				})
			}
			return job.ID, job.Result, err
		}}
}
