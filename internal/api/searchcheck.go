package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"nextbest"
	"nextbest/experiments"
	"nextbest/internal/decisions"
	"nextbest/offline"
)

// checkSearch refuses what can be seen to fail before any row is read.
func (s *Server) checkSearch(ctx context.Context, q *Search) error {
	if err := s.checkRange(q.Placement, q.From, q.To, false); err != nil {
		return err
	}
	var p nextbest.Problems
	if q.Objective != "" {
		if ref, ok := s.known(&p, "objective", nextbest.KindObjective, q.Objective); ok && ref.Version == 0 {
			p.Add("objective", "must name a version, such as %s@1: the winner's model names it for good", ref.ID)
		}
	}
	checkParts(&p, q)
	if q.MatureAt.After(s.now()) {
		p.Add("mature_at", "is in the future: what has not happened cannot have matured")
	}
	if q.RewardMin != nil && q.RewardMax != nil && !(*q.RewardMin <= *q.RewardMax) {
		p.Add("reward_max", "%v is below reward_min %v", *q.RewardMax, *q.RewardMin)
	}
	if q.Policy != "" && !nextbest.ValidID(q.Policy) {
		p.Add("policy", "%q must be 1 to 63 lower-case letters, digits, hyphens and underscores", q.Policy)
	}
	if err := s.checkSpecs(ctx, &p, q.Specs); err != nil {
		return err
	}
	if q.Experiment != nil {
		if who := Who(ctx); !who.Role.May(MayDefine) {
			return forbidden(who, MayDefine)
		}
		s.checkDraft(&p, q)
	}
	return p.Err("the search")
}

// checkParts refuses borders and shares that overlap or leave a part empty.
func checkParts(p *nextbest.Problems, q *Search) {
	if q.Shares != nil {
		q.Shares.Check(p, "shares")
	}
	switch borders := !q.TrainTo.IsZero() || !q.SelectTo.IsZero(); {
	case !borders:
	case q.Salt != "":
		p.Add("salt", "parts are of customers (salt) or of times (train_to, select_to), not both")
	case q.Shares != nil:
		p.Add("shares", "parts are given by shares or by borders (train_to, select_to), not both")
	case q.TrainTo.IsZero():
		p.Add("train_to", "is missing: give both borders, or neither")
	case q.SelectTo.IsZero():
		p.Add("select_to", "is missing: give both borders, or neither")
	default:
		end := q.To
		if end.IsZero() {
			end = q.MatureAt
		}
		_, err := offline.PartsByTime(q.From, q.TrainTo, q.SelectTo, end, q.MatureAt)
		addProblems(p, err)
	}
}

// addProblems adds the problems of an error that lists some.
func addProblems(p *nextbest.Problems, err error) {
	var e *nextbest.Error
	if errors.As(err, &e) {
		*p = append(*p, e.Problems...)
	}
}

// checkSpecs refuses specifications that could not be registered, and grids that
// make no candidates, wrong ones or too many.
func (s *Server) checkSpecs(ctx context.Context, p *nextbest.Problems, specs []SearchSpec) error {
	before := len(*p)
	for i, c := range specs {
		if _, err := s.checkSpec(ctx, p, fmt.Sprintf("specs[%d].spec", i), c.Name, c.Spec); err != nil {
			return err
		}
	}
	if len(*p) == before {
		_, err := Combinations(specs)
		addProblems(p, err)
	}
	return nil
}

// Combinations lists the candidates of a search.
func Combinations(specs []SearchSpec) ([]offline.Combination, error) {
	in := make([]offline.SearchSpec, len(specs))
	for i, c := range specs {
		spec, _, err := c.Spec.Document()
		if err != nil {
			return nil, err
		}
		in[i] = offline.SearchSpec{Name: c.Name, Spec: spec, Grid: c.Grid}
	}
	return offline.Expand(in)
}

// checkDraft refuses an experiment that could not be written.
func (s *Server) checkDraft(p *nextbest.Problems, q *Search) {
	x := q.Experiment
	if !nextbest.ValidID(x.ID) {
		p.Add("experiment.id", "%q must be 1 to 63 lower-case letters, digits, hyphens and underscores", x.ID)
	} else if !s.free(x.ID) {
		p.Add("experiment.id", "%s exists already: give another id", x.ID)
	}
	if x.Reward != "" {
		if !s.kinds.known(x.Reward) {
			p.Add("experiment.reward", "%q is not a reward kind of any objective", x.Reward)
		}
		return
	}
	name := q.Objective
	if name == "" {
		ref, err := nextbest.ParseRef(q.Placement)
		if err != nil {
			return // said already
		}
		var d decisions.Placement
		if rec, err := s.record(nextbest.KindPlacement, ref.ID, ref.Version); err != nil || json.Unmarshal(rec.Document, &d) != nil {
			return
		}
		name = d.Objective.String()
	}
	ref, err := nextbest.ParseRef(name)
	if err != nil {
		return
	}
	var o nextbest.Objective
	if rec, err := s.record(nextbest.KindObjective, ref.ID, ref.Version); err != nil || json.Unmarshal(rec.Document, &o) != nil {
		return
	}
	if _, ok := PrimaryReward(&o); !ok {
		p.Add("experiment.reward", "is missing: objective %s is not one reward kind that counts as a gain, so say which of them the experiment's primary metric is", name)
	}
}

// PrimaryReward returns the reward kind of an objective that is a single one and
// counts as a gain.
func PrimaryReward(o *nextbest.Objective) (string, bool) {
	if len(o.Terms) != 1 || !(o.Terms[0].Weight > 0) {
		return "", false
	}
	return o.Terms[0].Reward, true
}

// free reports whether a search may write the experiment: it does not exist, or
// is the draft of a search that was interrupted before it could say so.
func (s *Server) free(id string) bool {
	rec, ok := s.o.Registry.Get(nextbest.KindExperiment, id)
	if !ok || rec.Deleted {
		return true
	}
	d, err := experiments.Parse(rec.Document)
	if err != nil || d.State != experiments.Draft || d.Evaluation == "" {
		return false
	}
	gate, err := s.jobs.get(nextbest.KindEvaluation, d.Evaluation)
	if err != nil || gate.Search == "" {
		return false
	}
	search, err := s.jobs.get(KindSearch, gate.Search)
	return err == nil && search.State.over() && search.State != Done
}
