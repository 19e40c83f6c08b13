package api

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"

	"nextbest"
	"nextbest/internal/decisions"
)

// Placement is a place where decisions are asked for.
type Placement struct {
	Channels   []string `json:"channels" minItems:"1" doc:"channels that this placement may use"`
	Objective  string   `json:"objective" doc:"id@version of the objective; every arm of an experiment shares it"`
	Actions    []string `json:"actions" minItems:"1" doc:"ids of the actions, in the fixed order of the draw; do-nothing among them"`
	Policy     string   `json:"policy" doc:"id@version of the policy that serves customers outside experiments"`
	Model      uint64   `json:"model" required:"false" doc:"number of the model; 0: none, or the untrained prior, or (learning online) the newest"`
	Impression string   `json:"impression,omitempty" enum:"reported,assumed" doc:"whether contacts count when reported (default) or when decided"`
	Slots      int      `json:"slots,omitempty" minimum:"1" maximum:"5" doc:"decisions in one answer, drawn without replacement; 1 when absent"`
	Learning   string   `json:"learning,omitempty" enum:"frozen,online" doc:"frozen (default): the model named; online: the newest one"`
	Owner      string   `json:"owner,omitempty"`
}

// Holdout is the share of customers whom nothing is ever sent.
type Holdout struct {
	Share float64 `json:"share" minimum:"0" exclusiveMaximum:"1" doc:"share of all customers"`
	Salt  string  `json:"salt" minLength:"1" maxLength:"64" doc:"names the draw of the customers; a new salt draws others"`
}

// definitionRoutes registers the kinds that are written as whole documents.
func (s *Server) definitionRoutes() {
	definition(s, resource[nextbest.Action]{kind: nextbest.KindAction, singular: "action", may: MayDefine,
		prepare: func(_ context.Context, id string, a *nextbest.Action, _ *nextbest.Record) ([]byte, error) {
			return nil, sameID(id, &a.ID)
		}})
	definition(s, resource[nextbest.Objective]{kind: nextbest.KindObjective, singular: "objective", may: MayDefine,
		prepare: func(_ context.Context, id string, o *nextbest.Objective, _ *nextbest.Record) ([]byte, error) {
			if err := sameID(id, &o.ID); err != nil {
				return nil, err
			}
			return nil, checkObjective(o)
		}})
	definition(s, resource[Features]{kind: nextbest.KindFeatures, singular: "features", may: MayModel, prepare: prepareFeatures})
	definition(s, resource[Placement]{kind: nextbest.KindPlacement, singular: "placement", may: MayDefine, prepare: preparePlacement,
		explore: func(ctx context.Context, id string, p *Placement) *Exploration {
			e, err := s.explore(ctx, id, p, p.Policy)
			if err != nil { // the policy is not there yet, where nothing checked that it is
				return nil
			}
			return e
		}})
	definition(s, resource[Holdout]{kind: nextbest.KindHoldout, singular: "holdout", may: MayDefine,
		prepare: func(_ context.Context, id string, _ *Holdout, _ *nextbest.Record) ([]byte, error) {
			if id != decisions.HoldoutID {
				return nil, nextbest.FieldErrorf("id", "there is one holdout so far, %s", decisions.HoldoutID)
			}
			return nil, nil
		}})
	definition(s, resource[Experiment]{kind: nextbest.KindExperiment, singular: "experiment", may: MayDefine, prepare: prepareExperiment})
}

// sameID fills a document's own id from the path, and refuses another one.
func sameID(id string, own *string) error {
	if *own != "" && *own != id {
		return nextbest.FieldErrorf("id", "is %q, but the path says %q", *own, id)
	}
	*own = id
	return nil
}

// checkObjective refuses what cannot be an objective whatever else is defined.
func checkObjective(o *nextbest.Objective) error {
	var p nextbest.Problems
	if len(o.Terms) == 0 {
		p.Add("terms", "must name at least one reward kind with its weight")
	}
	seen := map[string]bool{}
	for i, term := range o.Terms {
		field := fmt.Sprintf("terms[%d].reward", i)
		if !validKind(term.Reward) {
			p.Add(field, "%q is not a reward kind: lower-case letters, digits, hyphens and underscores, at most 63", term.Reward)
		}
		if seen[term.Reward] {
			p.Add(field, "%q appears twice", term.Reward)
		}
		seen[term.Reward] = true
	}
	if o.Window <= 0 {
		p.Add("window", "must be longer than nothing, such as 14d")
	}
	switch o.Aggregation {
	case "", "sum", "first", "last", "max":
	default:
		p.Add("aggregation", "%q is not one of sum, first, last, max", o.Aggregation)
	}
	return p.Err("the objective")
}

// preparePlacement keeps the way to a new policy through promotion: whoever
// may only define cannot change what a placement serves by hand.
func preparePlacement(ctx context.Context, id string, p *Placement, before *nextbest.Record) ([]byte, error) {
	if _, err := nextbest.ParseRef(p.Policy); err != nil {
		return nil, nextbest.FieldErrorf("policy", "%v", err)
	}
	if _, err := nextbest.ParseRef(p.Objective); err != nil {
		return nil, nextbest.FieldErrorf("objective", "%v", err)
	}
	if before == nil {
		return nil, nil
	}
	var old Placement
	if err := json.Unmarshal(before.Document, &old); err != nil {
		return nil, err
	}
	who := Who(ctx)
	if (old.Policy != p.Policy || old.Model != p.Model || (old.Learning == "online") != (p.Learning == "online")) && !who.Role.May(MayPromote) {
		return nil, &nextbest.Error{Code: nextbest.Forbidden, Message: "changing what " + id + " serves needs the permission “promote”",
			Problems: []nextbest.Problem{{Field: "policy", Message: fmt.Sprintf("the placement serves %s, model %d, learning %s", old.Policy, old.Model, cmp.Or(old.Learning, "frozen")),
				Cure: "run an experiment and have it promoted, or use a key with the role " + list(matrix[MayPromote])}}}
	}
	return nil, nil
}
