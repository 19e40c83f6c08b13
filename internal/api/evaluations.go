package api

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"nextbest"
	"nextbest/estimators"
	"nextbest/offline"
)

// Evaluation asks what candidates would have earned on the log.
type Evaluation struct {
	Placement  string          `json:"placement" doc:"id or id@version"`
	Source     string          `json:"source,omitempty" doc:"live, or an import's name; absent: all"`
	From       time.Time       `json:"from,omitzero" doc:"decisions at or after"`
	To         time.Time       `json:"to,omitzero" doc:"decisions before"`
	MatureAt   time.Time       `json:"mature_at,omitzero" doc:"only decisions whose window had closed by then; absent: now"`
	Objective  string          `json:"objective,omitempty" doc:"id@version; absent: the placement's, unless reward is given"`
	Reward     string          `json:"reward,omitempty" doc:"one reward kind instead of an objective"`
	Split      *nextbest.Split `json:"split,omitempty" doc:"only these customers: leave out the ones a candidate was trained on"`
	Experiment string          `json:"experiment,omitempty"`
	RewardMin  *float64        `json:"reward_min,omitempty" doc:"least that one decision can be worth; absent: as seen in the log, which bounds nothing rarer"`
	RewardMax  *float64        `json:"reward_max,omitempty" doc:"most that one decision can be worth"`
	Candidates []CandidateRef  `json:"candidates" minItems:"1" maxItems:"20"`
	Baselines  []string        `json:"baselines,omitempty" maxItems:"40" doc:"fixed:<action>, always that action where it is eligible; logged, best_fixed and do-nothing are always shown"`
	Seed       uint64          `json:"seed,omitempty" doc:"of the cross-fitting folds"`
	Folds      int             `json:"folds,omitempty" minimum:"2" maximum:"20"`
	// What is shown beside the usual figures.
	Estimators  []string `json:"estimators,omitempty" maxItems:"40" doc:"beside IPS, SNIPS, DM and DR, with hyperparameters: dros:lambda=1, switch_dr:tau=slope"`
	RewardModel string   `json:"reward_model,omitempty" enum:"ridge,logistic" doc:"absent: ridge; logistic takes rewards of 0 and 1"`
	CrossFit    string   `json:"cross_fit,omitempty" enum:"customer,time" doc:"which rows predict a row: those of other customers, or those of earlier blocks of time; absent: time where the logger learned from the rows, customer otherwise"`
	// Clusters of actions, for the estimators mips and offcem.
	Clusters     map[string]string `json:"clusters,omitempty" doc:"cluster of each action; an action without one is a cluster of its own"`
	ClusterBy    string            `json:"cluster_by,omitempty" enum:"group,goal" doc:"instead of clusters: what the actions' definitions say"`
	Distribution bool              `json:"distribution,omitempty" doc:"of rewards of several sizes: quantiles, and the means of the worst and the best decisions"`
	Segments     []string          `json:"segments,omitempty" maxItems:"8" doc:"keys by whose values candidates are shown: policy, day, arm, context.<key>, customer.<key>"`
	Tree         bool              `json:"tree,omitempty" doc:"say for whom which action is best, by a tree of two questions"`
	Bootstrap    int               `json:"bootstrap,omitempty" minimum:"100" maximum:"10000" doc:"replicates of a Poisson bootstrap by customer; absent: none"`
}

// Verification asks whether logged decisions replay.
type Verification struct {
	Placement string    `json:"placement,omitempty" doc:"absent: all"`
	From      time.Time `json:"from,omitzero"`
	To        time.Time `json:"to,omitzero"`
}

// Verified says what a replay found.
type Verified struct {
	Checked   int64        `json:"checked"`
	Identical int64        `json:"identical"`
	Skipped   int64        `json:"skipped,omitempty" doc:"imported rows: nobody here drew them"`
	Different []Difference `json:"different" doc:"the first ones"`
}

// Difference is one logged decision that does not replay.
type Difference struct {
	DecisionID string `json:"decision_id"`
	Slot       uint8  `json:"slot"`
	What       string `json:"what"`
}

type jobOutput struct {
	Location string `header:"Location"`
	Body     Job
}

type jobsOutput struct {
	Body struct {
		Items []Job `json:"items"`
	}
}

func (s *Server) evaluationRoutes() {
	route(s, MayAnalyse, huma.Operation{OperationID: "start-evaluation", Method: http.MethodPost, Path: "/v1/evaluations", Tags: []string{"evaluations"},
		Summary: "Evaluate candidates on the log", DefaultStatus: http.StatusAccepted, Errors: []int{404},
		Description: "202 with a Location: GET it until state is done. The result is kept."},
		func(ctx context.Context, in *struct {
			Precondition
			Body Evaluation
		}) (*jobOutput, error) {
			if s.o.Evaluator == nil {
				return nil, missing("evaluation")
			}
			if err := s.checkEvaluation(ctx, &in.Body); err != nil {
				return nil, err
			}
			job, err := s.jobs.start(ctx, nextbest.KindEvaluation, in.Body, "", in.why(), func(ctx context.Context, progress Progress) (any, error) {
				return s.o.Evaluator.Evaluate(ctx, in.Body, progress)
			})
			return &jobOutput{Location: "/v1/evaluations/" + job.ID, Body: job}, err
		})
	route(s, MayAnalyse, huma.Operation{OperationID: "repeat-evaluation", Method: http.MethodPost, Path: "/v1/evaluations/{id}/repeat", Tags: []string{"evaluations"},
		Summary: "Run a finished evaluation again, exactly as it was", DefaultStatus: http.StatusAccepted, Errors: []int{404, 409},
		Description: "A new job, on the log, with the definitions and with the seed of then. Its result is the same bit for bit, or it fails with 409."},
		func(ctx context.Context, in *struct {
			Precondition
			ByID
		}) (*jobOutput, error) {
			if s.o.Evaluator == nil {
				return nil, missing("evaluation")
			}
			then, err := s.jobs.get(nextbest.KindEvaluation, in.ID)
			if err != nil {
				return nil, err
			}
			if then.State != Done {
				return nil, nextbest.Errorf(nextbest.Conflict, "only what is done can be repeated, and this is %s", then.State)
			}
			var ask Evaluation
			if err := json.Unmarshal(then.Request, &ask); err != nil {
				return nil, err
			}
			job, err := s.jobs.start(ctx, nextbest.KindEvaluation, then.Request, then.ID, in.why(), func(ctx context.Context, progress Progress) (any, error) {
				return s.o.Evaluator.Repeat(ctx, ask, then.Result, progress)
			})
			return &jobOutput{Location: "/v1/evaluations/" + job.ID, Body: job}, err
		})
	s.jobRoutes(nextbest.KindEvaluation, "evaluation", MayAnalyse)
}

func (s *Server) verificationRoutes() {
	route(s, MayAnalyse, huma.Operation{OperationID: "start-verification", Method: http.MethodPost, Path: "/v1/verifications", Tags: []string{"verifications"},
		Summary: "Replay logged decisions and compare", DefaultStatus: http.StatusAccepted, Errors: []int{404},
		Description: "202 with a Location: GET it until state is done. The result is kept."},
		func(ctx context.Context, in *struct {
			Precondition
			Body Verification
		}) (*jobOutput, error) {
			if s.o.Verifier == nil {
				return nil, missing("verification")
			}
			if err := s.checkRange(in.Body.Placement, in.Body.From, in.Body.To, in.Body.Placement == ""); err != nil {
				return nil, err
			}
			job, err := s.jobs.start(ctx, KindVerification, in.Body, "", in.why(), func(ctx context.Context, progress Progress) (any, error) {
				v, err := s.o.Verifier.Verify(ctx, in.Body, progress.rows)
				if v.Different == nil {
					v.Different = []Difference{}
				}
				return v, err
			})
			return &jobOutput{Location: "/v1/verifications/" + job.ID, Body: job}, err
		})
	s.jobRoutes(KindVerification, "verification", MayAnalyse)
}

// jobRoutes registers what every kind of job has: get, list, cancel, events.
func (s *Server) jobRoutes(kind nextbest.Kind, singular string, may Permission) {
	base, tags := "/v1/"+string(kind), []string{string(kind)}
	route(s, MayRead, huma.Operation{OperationID: "get-" + singular, Method: http.MethodGet, Path: base + "/{id}", Tags: tags, Summary: "Progress, then result", Errors: []int{404}},
		func(_ context.Context, in *ByID) (*jobOutput, error) {
			job, err := s.jobs.get(kind, in.ID)
			return &jobOutput{Body: job}, err
		})
	route(s, MayRead, huma.Operation{OperationID: "list-" + string(kind), Method: http.MethodGet, Path: base, Tags: tags, Summary: "List, newest first, without results"},
		func(context.Context, *struct{}) (*jobsOutput, error) {
			out := &jobsOutput{}
			out.Body.Items = s.jobs.list(kind)
			return out, nil
		})
	route(s, may, huma.Operation{OperationID: "cancel-" + singular, Method: http.MethodDelete, Path: base + "/{id}", Tags: tags, Summary: "Cancel",
		DefaultStatus: http.StatusAccepted, Errors: []int{404, 409}},
		func(ctx context.Context, in *ByID) (*jobOutput, error) {
			job, err := s.jobs.stop(ctx, kind, in.ID)
			return &jobOutput{Body: job}, err
		})
	route(s, MayRead, eventsOperation(s.api, huma.Operation{OperationID: singular + "-events", Method: http.MethodGet, Path: base + "/{id}/events", Tags: tags, Summary: "Progress as it happens", Errors: []int{404}}),
		func(ctx context.Context, in *ByID) (*huma.StreamResponse, error) {
			if _, err := s.jobs.get(kind, in.ID); err != nil {
				return nil, err
			}
			return &huma.StreamResponse{Body: func(c huma.Context) { s.jobs.watch(c.Context(), kind, in.ID, startEvents(c)) }}, nil
		})
}

// checkEvaluation refuses what can be seen to fail before any row is read.
func (s *Server) checkEvaluation(ctx context.Context, e *Evaluation) error {
	if err := s.checkRange(e.Placement, e.From, e.To, false); err != nil {
		return err
	}
	var p nextbest.Problems
	if e.Reward != "" && e.Objective != "" {
		p.Add("reward", "give a reward or an objective, not both")
	}
	if e.Objective != "" {
		s.known(&p, "objective", nextbest.KindObjective, e.Objective)
	}
	if e.Reward != "" && !s.kinds.known(e.Reward) {
		p.Add("reward", "%q is not a reward kind of any objective", e.Reward)
	}
	if e.Split != nil && !validSplit(e.Split) {
		p.Add("split", "must have 0 ≤ from < to ≤ 1")
	}
	if e.RewardMin != nil && e.RewardMax != nil && !(*e.RewardMin <= *e.RewardMax) {
		p.Add("reward_max", "%v is below reward_min %v", *e.RewardMax, *e.RewardMin)
	}
	s.checkBaselines(e, &p)
	checkShown(e, &p)
	if err := s.checkCandidates(ctx, e, &p); err != nil {
		return err
	}
	return p.Err("the evaluation")
}

// checkShown refuses estimators that do not exist, and clusters that say nothing.
func checkShown(e *Evaluation, p *nextbest.Problems) {
	if len(e.Clusters) > 0 && e.ClusterBy != "" {
		p.Add("cluster_by", "give clusters or cluster_by, not both")
	}
	for _, a := range slices.Sorted(maps.Keys(e.Clusters)) {
		if a == "" || e.Clusters[a] == "" {
			p.Add("clusters."+a, "an action and its cluster need names")
		}
	}
	for i, name := range e.Segments {
		field := fmt.Sprintf("segments[%d]", i)
		if err := offline.CheckSegment(name); err != nil {
			p.Add(field, "%v", err)
		} else if slices.Index(e.Segments, name) < i {
			p.Add(field, "%q is there twice", name)
		}
	}
	for i, name := range e.Estimators {
		field := fmt.Sprintf("estimators[%d]", i)
		c, err := estimators.ParseChoice(name)
		switch {
		case err != nil:
			p.Add(field, "%v", err)
		case slices.Contains(c.Columns, estimators.ColumnCluster) && len(e.Clusters) == 0 && e.ClusterBy == "":
			p.Add(field, "%s weighs clusters of actions: give clusters or cluster_by", c.Name)
		}
	}
}

// known refuses a reference to something that is not defined.
func (s *Server) known(p *nextbest.Problems, field string, kind nextbest.Kind, text string) (nextbest.Ref, bool) {
	ref, err := nextbest.ParseRef(text)
	if err != nil {
		p.Add(field, "%v", err)
		return ref, false
	}
	if _, err := s.record(kind, ref.ID, ref.Version); err != nil {
		p.Add(field, "there is no %s in %s", ref, kind)
		return ref, false
	}
	return ref, true
}

// checkRange refuses unknown placements and times the wrong way round.
func (s *Server) checkRange(placement string, from, to time.Time, all bool) error {
	var p nextbest.Problems
	if !all {
		s.known(&p, "placement", nextbest.KindPlacement, placement)
	}
	if !from.IsZero() && !to.IsZero() && !from.Before(to) {
		p.Add("to", "must be after from")
	}
	return p.Err("the request")
}

func sortNewest(jobs []Job) {
	slices.SortFunc(jobs, func(a, b Job) int { return b.Created.Compare(a.Created) })
}
