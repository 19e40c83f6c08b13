package decisions

import (
	"fmt"
	"math"

	"nextbest"
	"nextbest/bandit"
	"nextbest/experiments"
	"nextbest/internal/actions"
	"nextbest/internal/rules"
)

// policySpec is a policy version with its compiled rules.
type policySpec struct {
	ref      nextbest.Ref
	name     string // id@version
	spec     bandit.Spec
	features nextbest.Ref // zero: no schema
	rules    []*rules.Rule
}

// compileRecord turns a record into its value, looking at nothing else. Kinds
// that this package does not know give nil.
func compileRecord(r *nextbest.Record) (any, error) {
	if r.Deleted {
		return nil, nextbest.Errorf(nextbest.NotFound, "%s %s is deleted", r.Kind, r.Ref())
	}
	switch r.Kind {
	case nextbest.KindAction:
		var a nextbest.Action
		if err := decodeStrict(r.Document, &a); err != nil {
			return nil, err
		}
		if err := sameID(a.ID, r.ID); err != nil {
			return nil, err
		}
		a.ID = r.ID
		return asAny(actions.Compile(a))
	case nextbest.KindObjective:
		return asAny(compileObjective(r))
	case nextbest.KindFeatures:
		return asAny(bandit.NewSchema(r.Document))
	case nextbest.KindPolicy:
		return asAny(compilePolicy(r))
	case nextbest.KindModel:
		return asAny(compileModel(r))
	case nextbest.KindCurrent:
		var v Current
		if _, err := ParseModelID(r.ID); err != nil {
			return nil, err
		}
		return asAny(&v, decodeStrict(r.Document, &v))
	case nextbest.KindPlacement:
		return asAny(compilePlacement(r))
	case nextbest.KindHoldout:
		if r.ID != HoldoutID {
			return nil, nextbest.FieldErrorf("id", "%q: the only holdout is %s", r.ID, HoldoutID)
		}
		return asAny(experiments.ParseHoldout(r.Document))
	case nextbest.KindExperiment:
		d, err := experiments.Parse(r.Document)
		if err != nil {
			return nil, err
		}
		if err := sameID(d.ID, r.ID); err != nil {
			return nil, err
		}
		d.ID = r.ID
		return d, nil
	case nextbest.KindSecret:
		var v secret
		if err := decodeStrict(r.Document, &v); err != nil {
			return nil, err
		}
		if v.Value == "" {
			return nil, nextbest.FieldErrorf("value", "is empty; a secret needs a value")
		}
		return &v, nil
	}
	return nil, nil
}

// asAny keeps a nil pointer from becoming a non-nil any.
func asAny[T any](v T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return v, nil
}

func sameID(inside, id string) error {
	if inside != "" && inside != id {
		return nextbest.FieldErrorf("id", "%q differs from the id in the address, %q; leave it out", inside, id)
	}
	return nil
}

func compileObjective(r *nextbest.Record) (*nextbest.Objective, error) {
	o := &nextbest.Objective{}
	if err := decodeStrict(r.Document, o); err != nil {
		return nil, err
	}
	if err := sameID(o.ID, r.ID); err != nil {
		return nil, err
	}
	o.ID = r.ID
	var p nextbest.Problems
	if len(o.Terms) == 0 {
		p.Add("terms", "at least one reward kind is needed, such as {\"reward\":\"purchase\",\"weight\":1}")
	}
	seen := map[string]bool{}
	for i, t := range o.Terms {
		at := fmt.Sprintf("terms[%d]", i)
		if t.Reward == "" {
			p.Add(at+".reward", "names no reward kind")
		}
		if seen[t.Reward] {
			p.Add(at+".reward", "%q occurs twice; add the weights", t.Reward)
		}
		seen[t.Reward] = true
		if math.IsNaN(t.Weight) || math.IsInf(t.Weight, 0) || t.Weight == 0 {
			p.Add(at+".weight", "%v must be a number other than 0", t.Weight)
		}
	}
	if o.Window <= 0 {
		p.Add("window", "an attribution window is needed, such as 14d")
	}
	switch o.Aggregation {
	case "":
		o.Aggregation = "sum"
	case "sum", "first", "last", "max":
	default:
		p.Add("aggregation", "%q must be sum, first, last or max", o.Aggregation)
	}
	if math.IsNaN(o.Default) || math.IsInf(o.Default, 0) {
		p.Add("default", "%v must be a finite number", o.Default)
	}
	return o, p.Err("objective " + r.ID)
}

func compilePolicy(r *nextbest.Record) (*policySpec, error) {
	spec, err := bandit.ParseSpec(r.Document)
	if err != nil {
		return nil, err
	}
	s := &policySpec{ref: r.Ref(), name: r.Ref().String(), spec: spec}
	var p nextbest.Problems
	if spec.Features != "" {
		s.features, err = nextbest.ParseRef(spec.Features)
		switch {
		case err != nil:
			p.Add("features", "%v", err)
		case s.features.Version == 0:
			p.Add("features", "%q must name a version, such as %s@1, so that the policy never changes", spec.Features, spec.Features)
		}
	}
	for i, rule := range spec.Rules {
		compiled, err := rules.Compile(rule.When)
		actions.AddRuleProblems(&p, fmt.Sprintf("rules[%d].when", i), err)
		s.rules = append(s.rules, compiled)
	}
	return s, p.Err("policy " + r.ID)
}

func compileModel(r *nextbest.Record) (*ModelDocument, error) {
	m := &ModelDocument{}
	if err := decodeStrict(r.Document, m); err != nil {
		return nil, err
	}
	var p nextbest.Problems
	policy, err := ParseModelID(r.ID)
	if err != nil {
		p.Add("id", "%v", err)
	} else if m.Policy != policy {
		p.Add("policy", "%q differs from the id's, %s", m.Policy, policy)
	}
	if m.Hash == "" {
		p.Add("hash", "is missing: the name of the parameters in the blob store")
	}
	return m, p.Err("model " + r.ID)
}

func compilePlacement(r *nextbest.Record) (*Placement, error) {
	d := &Placement{}
	if err := decodeStrict(r.Document, d); err != nil {
		return nil, err
	}
	var p nextbest.Problems
	if len(d.Channels) == 0 {
		p.Add("channels", "at least one channel is needed, such as email")
	}
	for i, channel := range d.Channels {
		if !nextbest.ValidID(channel) {
			p.Add(fmt.Sprintf("channels[%d]", i), "%q must be lower-case letters, digits, hyphens and underscores", channel)
		}
	}
	if d.Objective.ID == "" {
		p.Add("objective", "is missing, such as value@1")
	} else if d.Objective.Version == 0 {
		p.Add("objective", "%q must name a version, such as %s@1", d.Objective, d.Objective)
	}
	if d.Policy.ID == "" {
		p.Add("policy", "is missing, such as rules@1")
	} else if d.Policy.Version == 0 {
		p.Add("policy", "%q must name a version, such as %s@1", d.Policy, d.Policy)
	}
	seen := map[string]bool{}
	for i, a := range d.Actions {
		if seen[a] {
			p.Add(fmt.Sprintf("actions[%d]", i), "%q occurs twice", a)
		}
		seen[a] = true
	}
	oneOf(&p, "learning", &d.Learning, Frozen, Online)
	oneOf(&p, "impression", &d.Impression, Reported, Assumed)
	if d.Slots == 0 {
		d.Slots = 1
	}
	if d.Slots < 1 || d.Slots > MaxSlots {
		p.Add("slots", "%d: a placement has 1 to %d slots", d.Slots, MaxSlots)
	}
	return d, p.Err("placement " + r.ID)
}

// oneOf checks a choice and fills in the first where none is made.
func oneOf(p *nextbest.Problems, field string, v *string, first, second string) {
	switch *v {
	case "":
		*v = first
	case first, second:
	default:
		p.Add(field, "%q must be %s or %s", *v, first, second)
	}
}
