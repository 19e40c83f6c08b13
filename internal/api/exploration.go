package api

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"nextbest"
	"nextbest/bandit"
	"nextbest/estimators"
)

const (
	explorationDays = 7 // of the log
	explorationRows = 10000
)

// Traffic is what a placement's log says about its decisions outside the
// universal holdout.
type Traffic struct {
	Decisions int64
	Eligible  float64 // mean number of eligible actions
	Rewarded  int64   // decisions with a reward
	First     time.Time
}

// TrafficLog counts a placement's traffic since a time; rewards within window.
type TrafficLog interface {
	Traffic(ctx context.Context, placement string, since time.Time, window time.Duration) (Traffic, error)
}

// Exploration predicts what a policy's log can say about other policies.
type Exploration struct {
	Policy         string       `json:"policy"`
	Placement      string       `json:"placement"`
	Epsilon        float64      `json:"epsilon" doc:"ε in μ = (1−ε)p + ε/K; what the policy promises at least"`
	Eligible       float64      `json:"eligible" doc:"K: mean number of eligible actions in the log, or the placement's actions"`
	Logged         bool         `json:"logged" doc:"whether there is a log of the last 7 days to go by"`
	DecisionsDaily float64      `json:"decisions_per_day,omitempty"`
	ConversionRate float64      `json:"conversion_rate,omitempty" doc:"share of the decisions with a reward"`
	Candidates     []Prediction `json:"candidates"`
	Warnings       []string     `json:"warnings"`
}

// Prediction is for a deterministic policy that disagrees with the logging one
// on a share of the decisions; null stands for never.
type Prediction struct {
	Disagreement  float64  `json:"disagreement"`
	ESS           float64  `json:"ess_per_10000" doc:"effective sample size of 10,000 decisions"`
	ESSDaily      *float64 `json:"ess_per_day,omitempty"`
	DaysToESS     *float64 `json:"days_to_ess_100,omitempty"`
	DaysToRewards *float64 `json:"days_to_20_conversions,omitempty"`
}

func (s *Server) explorationRoutes() {
	route(s, MayRead, huma.Operation{OperationID: "get-placement-exploration", Method: http.MethodGet, Path: "/v1/placements/{id}/exploration", Tags: []string{"placements"},
		Summary: "What a policy's log would be able to say about other policies", Errors: []int{404},
		Description: "Predicted before the policy goes live, from its floor and the traffic of the last 7 days: E[w²] = (1−δ)/p* + δK/ε for a deterministic policy that disagrees on a share δ. A policy that explores more than its floor does better."},
		func(ctx context.Context, in *struct {
			ByID
			Policy string `query:"policy" doc:"id@version; absent: the one that the placement serves"`
		}) (*struct{ Body *Exploration }, error) {
			rec, err := s.record(nextbest.KindPlacement, in.ID, 0)
			if err != nil {
				return nil, err
			}
			p, err := stored[Placement](rec)
			if err != nil {
				return nil, err
			}
			out, err := s.explore(ctx, in.ID, &p.Document, first(in.Policy, p.Document.Policy))
			return &struct{ Body *Exploration }{out}, err
		})
}

// explore predicts for one policy at a placement. A log that cannot be asked is
// a warning: definitions do not depend on ClickHouse.
func (s *Server) explore(ctx context.Context, id string, p *Placement, policy string) (*Exploration, error) {
	ref, err := nextbest.ParseRef(policy)
	if err != nil || ref.Version == 0 {
		return nil, nextbest.FieldErrorf("policy", "%q is not a policy version; write id@version", policy)
	}
	rec, err := s.record(nextbest.KindPolicy, ref.ID, ref.Version)
	if err != nil {
		return nil, err
	}
	spec, err := bandit.ParseSpec(rec.Document)
	if err != nil {
		return nil, err
	}
	known, err := bandit.New(spec, nil)
	if err != nil {
		return nil, err
	}
	out := &Exploration{Policy: policy, Placement: id, Epsilon: known.Floor(1), Eligible: float64(len(p.Actions)), Candidates: []Prediction{}, Warnings: []string{}}
	t, err := s.traffic(ctx, id, p)
	if err != nil {
		out.Warnings = append(out.Warnings, "the log cannot be asked now, so the figures are for every action eligible: "+err.Error())
	} else if t.Decisions > 0 {
		out.Logged, out.Eligible = true, t.Eligible
		days := min(max(s.now().Sub(t.First).Hours()/24, 1), explorationDays)
		out.DecisionsDaily = float64(t.Decisions) / days
		out.ConversionRate = float64(t.Rewarded) / float64(t.Decisions)
	}
	if out.Epsilon == 0 {
		out.Warnings = append(out.Warnings, fmt.Sprintf("%s promises no exploration floor: this log will be able to answer nothing about other policies; give it an epsilon or floor above 0", policy))
	}
	for _, δ := range []float64{0.1, 0.5, 1} {
		out.Candidates = append(out.Candidates, out.predict(δ))
	}
	return out, nil
}

func (s *Server) traffic(ctx context.Context, id string, p *Placement) (Traffic, error) {
	if s.o.Traffic == nil {
		return Traffic{}, nil
	}
	ref, err := nextbest.ParseRef(p.Objective)
	if err != nil {
		return Traffic{}, err
	}
	rec, err := s.record(nextbest.KindObjective, ref.ID, ref.Version)
	if err != nil {
		return Traffic{}, err
	}
	o, err := stored[nextbest.Objective](rec)
	if err != nil {
		return Traffic{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return s.o.Traffic.Traffic(ctx, id, s.now().Add(-explorationDays*24*time.Hour), o.Document.Window.Std())
}

func (e *Exploration) predict(δ float64) Prediction {
	logger := estimators.Exploration{Eligible: max(e.Eligible, 1), Epsilon: e.Epsilon}
	p := Prediction{Disagreement: δ, ESS: explorationRows * logger.PredictedESS(δ)}
	if e.DecisionsDaily == 0 {
		return p
	}
	daily := e.DecisionsDaily * logger.PredictedESS(δ)
	p.ESSDaily = &daily
	days := func(need float64) *float64 {
		if v := need / e.DecisionsDaily; !math.IsInf(v, 0) {
			return &v
		}
		return nil
	}
	p.DaysToESS = days(logger.DecisionsNeeded(δ, 0, estimators.Limits{ESS: estimators.DefaultLimits.ESS}))
	if e.ConversionRate > 0 {
		p.DaysToRewards = days(logger.DecisionsNeeded(δ, e.ConversionRate, estimators.Limits{Conversions: estimators.DefaultLimits.Conversions}))
	}
	return p
}
