package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"nextbest"
	"nextbest/bandit"
	"nextbest/internal/learning"
)

// CandidateRef says what is evaluated: a registered policy version and a model
// of it, or a specification of the request's own.
type CandidateRef struct {
	Policy string       `json:"policy,omitempty" doc:"id@version of a registered policy"`
	Model  uint64       `json:"model,omitempty" doc:"number of the model; absent: the policy learns nothing"`
	Name   string       `json:"name,omitempty" doc:"with spec: what the report calls it"`
	Spec   *Policy      `json:"spec,omitempty" doc:"instead of policy: a policy that is not registered"`
	Train  *TrainingSet `json:"train,omitempty" doc:"with a spec that learns: what it is trained on, other rows than are evaluated"`
}

// TrainingSet selects the rows of the evaluation's placement and source that a
// candidate is trained on, with the evaluation's own objective. Rows that are
// set aside are never learned from.
type TrainingSet struct {
	From  time.Time       `json:"from,omitzero" doc:"decisions at or after"`
	To    time.Time       `json:"to,omitzero" doc:"decisions before"`
	Split *nextbest.Split `json:"split,omitempty" doc:"only these customers"`
}

// taken are the names of what stands beside every candidate.
var taken = []string{"logged", "best_fixed", nextbest.DoNothing}

// FixedBaseline, followed by an action, is the baseline that always takes it
// where it is eligible, and else does nothing.
const FixedBaseline = "fixed:"

// checkBaselines refuses baselines that there are none of.
func (s *Server) checkBaselines(e *Evaluation, p *nextbest.Problems) {
	for i, name := range e.Baselines {
		field := fmt.Sprintf("baselines[%d]", i)
		action, fixed := strings.CutPrefix(name, FixedBaseline)
		switch {
		case slices.Index(e.Baselines, name) < i:
			p.Add(field, "%q is there twice", name)
		case !fixed && !slices.Contains(taken, name):
			p.Add(field, "%q: give %s, or %s and an action, such as %smens-email", name, strings.Join(taken, ", "), FixedBaseline, FixedBaseline)
		case fixed && action != nextbest.DoNothing:
			s.known(p, field, nextbest.KindAction, action)
		}
	}
}

// Document returns a policy's specification as it is kept: checked, and with the
// defaults of today, for good.
func (p Policy) Document() (bandit.Spec, []byte, error) {
	raw, err := json.Marshal(p)
	if err != nil {
		return bandit.Spec{}, nil, err
	}
	spec, err := bandit.ParseSpec(raw)
	if err != nil {
		return spec, nil, err
	}
	raw, err = json.Marshal(spec)
	return spec, raw, err
}

// checkCandidates refuses candidates that do not exist, do not fit or would be
// evaluated on rows that they are trained on.
func (s *Server) checkCandidates(ctx context.Context, e *Evaluation, p *nextbest.Problems) error {
	names := map[string]bool{}
	for i, c := range e.Candidates {
		field := fmt.Sprintf("candidates[%d]", i)
		if c.Spec == nil {
			before := len(*p)
			s.checkRegistered(p, field, c)
			same := func(o CandidateRef) bool { return o.Spec == nil && o.Policy == c.Policy && o.Model == c.Model }
			if slices.IndexFunc(e.Candidates, same) < i && len(*p) == before {
				p.Add(field+".policy", "%s is there twice", c.name())
			}
			continue
		}
		switch {
		case c.Policy != "" || c.Model != 0:
			p.Add(field+".spec", "give a policy or a spec, not both")
		case !nextbest.ValidID(c.Name):
			p.Add(field+".name", "%q: a spec needs a name of 1 to 63 lower-case letters, digits, hyphens and underscores", c.Name)
		case names[c.Name] || slices.Contains(taken, c.Name):
			p.Add(field+".name", "%q is taken; every candidate has a name of its own", c.Name)
		}
		names[c.Name] = true
		spec, err := s.checkSpec(ctx, p, field+".spec", c.Name, *c.Spec)
		if err != nil {
			return err
		}
		if spec != nil {
			checkTraining(p, field+".train", spec, c.Train, e)
		}
	}
	return nil
}

// checkRegistered refuses policy versions and models that do not exist.
func (s *Server) checkRegistered(p *nextbest.Problems, field string, c CandidateRef) {
	if c.Name != "" || c.Train != nil {
		p.Add(field+".spec", "is missing: name and train are for a candidate with a spec; a registered policy has its own name and models")
		return
	}
	ref, ok := s.known(p, field+".policy", nextbest.KindPolicy, c.Policy)
	if ok && ref.Version == 0 {
		p.Add(field+".policy", "must name a version, such as %s@1", ref.ID)
		return
	}
	if !ok {
		return
	}
	if c.Model != 0 {
		if _, ok := s.o.Registry.Version(nextbest.KindModel, learning.ID(ref), c.Model); !ok {
			p.Add(field+".model", "%s has no model %d", ref, c.Model)
		}
		return
	}
	s.checkUntrained(p, field+".model", ref)
}

// checkUntrained refuses a policy that learns without one of its models: it would
// be valued as the prior that it starts from.
func (s *Server) checkUntrained(p *nextbest.Problems, field string, ref nextbest.Ref) {
	rec, ok := s.o.Registry.Version(nextbest.KindPolicy, ref.ID, ref.Version)
	if !ok {
		return
	}
	spec, err := bandit.ParseSpec(rec.Document)
	if err != nil || !spec.Learns() {
		return
	}
	var have []string
	for _, m := range s.o.Registry.History(nextbest.KindModel, learning.ID(ref)) {
		if !m.Deleted {
			have = append(have, strconv.FormatUint(m.Version, 10))
		}
	}
	if len(have) == 0 {
		p.Add(field, "is missing: %s learns and has no model: train one first, on other rows than are evaluated", ref)
		return
	}
	last := have[len(have)-1]
	there := "there is " + last
	if n := len(have); n > 1 {
		there = "there are " + strings.Join(have[max(n-10, 0):], ", ")
		if n > 10 {
			there = fmt.Sprintf("there are %d, the newest %s", n, strings.Join(have[n-10:], ", "))
		}
	}
	p.Add(field, "is missing: %s learns: name a model, such as %s/%s; %s", ref, ref, last, there)
}

// name is what reports call the candidate.
func (c CandidateRef) name() string {
	switch {
	case c.Spec != nil:
		return c.Name
	case c.Model != 0:
		return fmt.Sprintf("%s/%d", c.Policy, c.Model)
	}
	return c.Policy
}

// checkSpec judges a specification as if it were registered; nil where it is
// wrong. The error is that of an engine.
func (s *Server) checkSpec(ctx context.Context, p *nextbest.Problems, field, name string, policy Policy) (*bandit.Spec, error) {
	spec, raw, err := policy.Document()
	if err == nil && s.o.Checker != nil && nextbest.ValidID(name) {
		err = s.o.Checker.Check(ctx, nextbest.Record{Kind: nextbest.KindPolicy, ID: name, Document: raw, Actor: Who(ctx).Key, Time: s.now().UTC()})
	}
	if err == nil {
		return &spec, nil
	}
	var invalid *nextbest.Error
	if !errors.As(err, &invalid) || invalid.Code != nextbest.Invalid {
		return nil, err
	}
	if len(invalid.Problems) == 0 {
		p.Add(field, "%s", invalid.Message)
	}
	for _, problem := range invalid.Problems {
		problem.Field = strings.TrimSuffix(field+"."+problem.Field, ".")
		*p = append(*p, problem)
	}
	return nil, nil
}

// checkTraining refuses training where nothing is learned, none where something
// is, and rows that are evaluated too.
func checkTraining(p *nextbest.Problems, field string, spec *bandit.Spec, t *TrainingSet, e *Evaluation) {
	switch {
	case spec.Learns() && t == nil:
		p.Add(field, "is missing: %s learns; say on which rows, such as {\"to\":…} with the evaluation's from there on", spec.Algorithm)
	case t == nil:
	case !spec.Learns():
		p.Add(field, "%s learns nothing; leave it out", spec.Algorithm)
	case !t.From.IsZero() && !t.To.IsZero() && !t.From.Before(t.To):
		p.Add(field+".to", "must be after from")
	case t.Split != nil && !validSplit(t.Split):
		p.Add(field+".split", "must have 0 ≤ from < to ≤ 1")
	case t.overlaps(e):
		p.Add(field, "these rows are evaluated too, and what was learned from them proves nothing; evaluate decisions from train.to on (from), or customers of another part of the same salt (split)")
	}
}

// overlaps reports whether a row could be both learned from and evaluated.
func (t TrainingSet) overlaps(e *Evaluation) bool {
	learned := learning.Range{Placement: e.Placement, Trained: learning.Trained{From: t.From, To: t.To, Split: t.Split}}
	return learned.Overlaps(nextbest.Query{Placement: e.Placement, From: e.From, To: e.To, Split: e.Split})
}

func validSplit(s *nextbest.Split) bool { return 0 <= s.From && s.From < s.To && s.To <= 1 }
