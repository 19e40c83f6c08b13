package api

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"nextbest"
)

// LoggedDecision is one slot of a decision as it was logged.
type LoggedDecision struct {
	DecisionID    string               `json:"decision_id" format:"uuid"`
	Slot          uint8                `json:"slot"`
	Time          time.Time            `json:"time"`
	Placement     string               `json:"placement"`
	Objective     string               `json:"objective"`
	Customer      string               `json:"customer" doc:"pseudonym"`
	Source        string               `json:"source"`
	Action        string               `json:"action"`
	Treatment     string               `json:"treatment,omitempty"`
	Channel       string               `json:"channel,omitempty"`
	Propensity    float64              `json:"propensity"`
	Mixture       float64              `json:"mixture_propensity" doc:"over every arm this customer might have been in"`
	Probabilities []LoggedProbability  `json:"probabilities"`
	Excluded      []nextbest.Exclusion `json:"excluded"`
	Policy        string               `json:"policy"`
	Model         uint64               `json:"model"`
	Features      string               `json:"features,omitempty"`
	X             []float32            `json:"x" doc:"the features exactly as scored"`
	Context       json.RawMessage      `json:"context,omitempty"`
	Experiment    string               `json:"experiment,omitempty"`
	Arm           string               `json:"arm,omitempty"`
	Arms          []LoggedArm          `json:"arms"`
	Floor         float64              `json:"floor"`
	SetAside      bool                 `json:"set_aside"`
	Salt          string               `json:"salt" doc:"name of the salt of the draw"`
	Catalogue     uint64               `json:"catalogue"`
	Numerics      string               `json:"numerics"`
}

// LoggedProbability is what one eligible action was given.
type LoggedProbability struct {
	Action      string   `json:"action"`
	Probability *float64 `json:"probability,omitempty" doc:"absent where an import gave the propensity alone"`
	Score       *float64 `json:"score,omitempty"`
}

// LoggedArm is one arm that the customer might have been in.
type LoggedArm struct {
	Arm         string  `json:"arm"`
	Share       float64 `json:"share"`
	Policy      string  `json:"policy"`
	Model       uint64  `json:"model"`
	Probability float64 `json:"probability" doc:"of the selected action under this arm"`
	Floor       float64 `json:"floor" doc:"least probability of any eligible action under this arm by declaration; 0: none"`
}

func logged(d *nextbest.Decision) LoggedDecision {
	out := LoggedDecision{DecisionID: d.ID.String(), Slot: d.Slot, Time: d.Time, Placement: d.Placement, Objective: d.Objective, Customer: d.Customer,
		Source: d.Source, Action: d.Action, Treatment: d.Treatment, Channel: d.Channel, Propensity: d.Propensity, Mixture: d.MixturePropensity(),
		Probabilities: make([]LoggedProbability, len(d.Eligible)), Excluded: slices.Clone(d.Excluded), Policy: d.Policy, Model: d.Model, Features: d.Features,
		X: slices.Clone(d.X), Experiment: d.Experiment, Arm: d.Arm, Arms: make([]LoggedArm, len(d.Arms)), Floor: d.Floor, SetAside: d.SetAside,
		Salt: d.Salt, Catalogue: d.Catalogue, Numerics: d.Numerics}
	for i, a := range d.Eligible {
		out.Probabilities[i].Action = a
		if i < len(d.Probabilities) && !math.IsNaN(d.Probabilities[i]) {
			out.Probabilities[i].Probability = &d.Probabilities[i]
		}
		if i < len(d.Scores) {
			out.Probabilities[i].Score = &d.Scores[i]
		}
	}
	for i, a := range d.Arms {
		out.Arms[i] = LoggedArm(a)
	}
	if out.Excluded == nil {
		out.Excluded = []nextbest.Exclusion{}
	}
	if out.X == nil {
		out.X = []float32{}
	}
	if json.Valid(d.Context) {
		out.Context = d.Context
	}
	return out
}

// logRoutes registers what is read back from the log.
func (s *Server) logRoutes() {
	route(s, MayReadLog, huma.Operation{OperationID: "get-decision", Method: http.MethodGet, Path: "/v1/decisions/{id}", Tags: []string{"decisions"},
		Summary: "One decision as it was logged, slot by slot", Errors: []int{404}, Description: "A decision can be read a second or two after its answer."},
		func(ctx context.Context, in *struct {
			ID string `path:"id" format:"uuid"`
		}) (*struct {
			Body struct {
				Items []LoggedDecision `json:"items"`
			}
		}, error) {
			if s.o.Log == nil {
				return nil, missing("the log")
			}
			id, err := uuid.Parse(in.ID)
			if err != nil {
				return nil, nextbest.FieldErrorf("id", "%v", err)
			}
			rows, err := s.o.Log.Decision(ctx, id)
			if err != nil {
				return nil, err
			}
			if len(rows) == 0 {
				return nil, &nextbest.Error{Code: nextbest.NotFound, Message: "there is no decision " + in.ID + " in the log",
					Problems: []nextbest.Problem{{Field: "id", Message: "is not known", Cure: "if it was made just now, ask again in two seconds"}}}
			}
			out := &struct {
				Body struct {
					Items []LoggedDecision `json:"items"`
				}
			}{}
			for i := range rows {
				out.Body.Items = append(out.Body.Items, logged(&rows[i]))
			}
			return out, nil
		})
	route(s, MayReadLog, huma.Operation{OperationID: "list-unmatched-rewards", Method: http.MethodGet, Path: "/v1/rewards/unmatched", Tags: []string{"rewards"},
		Summary: "Rewards that belong to no decision, newest first"},
		func(ctx context.Context, in *struct {
			Kind  string    `query:"kind"`
			From  time.Time `query:"from"`
			To    time.Time `query:"to"`
			Limit int       `query:"limit" minimum:"1" maximum:"1000" default:"100"`
		}) (*struct {
			Body struct {
				Items []UnmatchedReward `json:"items"`
			}
		}, error) {
			if s.o.Log == nil {
				return nil, missing("the log")
			}
			items, err := s.o.Log.Unmatched(ctx, UnmatchedQuery{Kind: in.Kind, From: in.From, To: in.To, Limit: in.Limit})
			out := &struct {
				Body struct {
					Items []UnmatchedReward `json:"items"`
				}
			}{}
			out.Body.Items = append([]UnmatchedReward{}, items...)
			return out, err
		})
	route(s, MayReadLog, huma.Operation{OperationID: "post-sql", Method: http.MethodPost, Path: "/v1/sql", Tags: []string{"log"},
		Summary:     "One SELECT on the log's documented views",
		Description: "Read-only: 30 seconds, 512 MiB of memory and 10,000 rows at most. docs/schema.md describes the views; DESCRIBE of one is taken too."},
		func(ctx context.Context, in *struct {
			Body struct {
				Query string `json:"query" minLength:"1" maxLength:"65536"`
			}
		}) (*struct{ Body SQLResult }, error) {
			if s.o.Log == nil {
				return nil, missing("the log")
			}
			out, err := s.o.Log.SQL(ctx, in.Body.Query)
			return &struct{ Body SQLResult }{out}, err
		})
	route(s, MayRead, huma.Operation{OperationID: "get-overview", Method: http.MethodGet, Path: "/v1/overview", Tags: []string{"console"}, Summary: "What the console shows"},
		func(ctx context.Context, _ *struct{}) (*struct{ Body any }, error) {
			if s.o.Console == nil {
				return nil, missing("the overview")
			}
			v, err := s.o.Console.Overview(ctx)
			return &struct{ Body any }{v}, err
		})
}

// AuditEntry is one change: who, what, why, when.
type AuditEntry struct {
	Revision uint64          `json:"revision"`
	Kind     nextbest.Kind   `json:"kind"`
	ID       string          `json:"id"`
	Version  uint64          `json:"version"`
	Actor    string          `json:"actor"`
	Reason   string          `json:"reason,omitempty"`
	Time     time.Time       `json:"time"`
	Deleted  bool            `json:"deleted,omitempty"`
	Previous string          `json:"previous,omitempty" doc:"hash of the record before"`
	Document json.RawMessage `json:"document,omitempty" doc:"when asked for with documents=true; never of keys and secrets"`
}

// auditRoutes registers the audit trail.
func (s *Server) auditRoutes() {
	route(s, MayRead, huma.Operation{OperationID: "get-audit", Method: http.MethodGet, Path: "/v1/audit", Tags: []string{"audit"}, Summary: "Who changed what, newest first"},
		func(_ context.Context, in *struct {
			Kind      string    `query:"kind"`
			ID        string    `query:"id"`
			Actor     string    `query:"actor"`
			From      time.Time `query:"from"`
			To        time.Time `query:"to"`
			Before    uint64    `query:"before" doc:"only revisions below: the next page"`
			Limit     int       `query:"limit" minimum:"1" maximum:"1000" default:"100"`
			Documents bool      `query:"documents"`
		}) (*struct {
			Body struct {
				Revision uint64       `json:"revision" doc:"the newest there is"`
				Items    []AuditEntry `json:"items"`
			}
		}, error) {
			revision, all := s.o.Registry.Snapshot()
			slices.SortFunc(all, func(a, b nextbest.Record) int { return int(int64(b.Revision) - int64(a.Revision)) })
			out := &struct {
				Body struct {
					Revision uint64       `json:"revision" doc:"the newest there is"`
					Items    []AuditEntry `json:"items"`
				}
			}{}
			out.Body.Revision, out.Body.Items = revision, []AuditEntry{}
			for _, r := range all {
				if in.Kind != "" && string(r.Kind) != in.Kind || in.ID != "" && r.ID != in.ID || in.Actor != "" && !strings.EqualFold(r.Actor, in.Actor) ||
					!in.From.IsZero() && r.Time.Before(in.From) || !in.To.IsZero() && !r.Time.Before(in.To) || in.Before != 0 && r.Revision >= in.Before {
					continue
				}
				e := AuditEntry{Revision: r.Revision, Kind: r.Kind, ID: r.ID, Version: r.Version, Actor: r.Actor, Reason: r.Reason, Time: r.Time, Deleted: r.Deleted, Previous: r.Previous}
				if in.Documents && r.Kind != nextbest.KindKey && r.Kind != nextbest.KindSecret {
					e.Document = r.Document
				}
				if out.Body.Items = append(out.Body.Items, e); len(out.Body.Items) == in.Limit {
					break
				}
			}
			return out, nil
		})
}

// KeyRequest asks for a new key.
type KeyRequest struct {
	Role Role   `json:"role" enum:"channel,analyst,owner,approver,admin"`
	Name string `json:"name" minLength:"1" maxLength:"100" doc:"whose key it is"`
}

// KeyCreated shows a key, once.
type KeyCreated struct {
	Key
	Secret string `json:"key" doc:"the key itself: shown now and never again"`
}

// keyRoutes registers the keys. A key's hash never leaves the registry.
func (s *Server) keyRoutes() {
	tags := []string{"keys"}
	route(s, MayKeys, huma.Operation{OperationID: "post-key", Method: http.MethodPost, Path: "/v1/keys", Tags: tags, Summary: "Make an API key; it is shown once", DefaultStatus: http.StatusCreated},
		func(ctx context.Context, in *struct {
			Precondition
			Body KeyRequest
		}) (*struct {
			CacheControl string `header:"Cache-Control"`
			Body         KeyCreated
		}, error) {
			key, change, err := NewKey(in.Body.Role, in.Body.Name, Who(ctx).Key, in.why())
			if err != nil {
				return nil, err
			}
			rec, err := s.o.Registry.Put(ctx, change)
			if err != nil {
				return nil, err
			}
			return &struct {
				CacheControl string `header:"Cache-Control"`
				Body         KeyCreated
			}{"no-store", KeyCreated{keyOf(rec), key}}, nil
		})
	route(s, MayKeys, huma.Operation{OperationID: "list-keys", Method: http.MethodGet, Path: "/v1/keys", Tags: tags, Summary: "List keys"},
		func(context.Context, *struct{}) (*struct {
			Body struct {
				Items []Key `json:"items"`
			}
		}, error) {
			out := &struct {
				Body struct {
					Items []Key `json:"items"`
				}
			}{}
			out.Body.Items = []Key{}
			for _, rec := range s.o.Registry.List(nextbest.KindKey) {
				out.Body.Items = append(out.Body.Items, keyOf(rec))
			}
			return out, nil
		})
	route(s, MayKeys, huma.Operation{OperationID: "get-key", Method: http.MethodGet, Path: "/v1/keys/{id}", Tags: tags, Summary: "One key, without its secret", Errors: []int{404}},
		func(_ context.Context, in *ByID) (*struct{ Body Key }, error) {
			rec, err := s.record(nextbest.KindKey, in.ID, 0)
			return &struct{ Body Key }{keyOf(rec)}, err
		})
	route(s, MayKeys, huma.Operation{OperationID: "delete-key", Method: http.MethodDelete, Path: "/v1/keys/{id}", Tags: tags, Summary: "Revoke a key, at once", DefaultStatus: http.StatusNoContent, Errors: []int{404, 409}},
		func(ctx context.Context, in *struct {
			ByID
			Precondition
		}) (*struct{}, error) {
			rec, err := s.record(nextbest.KindKey, in.ID, 0)
			if err != nil {
				return nil, err
			}
			if in.ID == Who(ctx).Key {
				return nil, nextbest.Errorf(nextbest.Conflict, "a key cannot revoke itself; use another admin key")
			}
			_, err = s.o.Registry.Put(ctx, nextbest.Change{Kind: nextbest.KindKey, ID: in.ID, Deleted: true, Actor: Who(ctx).Key, Reason: in.why(), IfMatch: rec.Revision})
			return nil, err
		})
}
