package decisions

import (
	"context"
	"errors"

	"nextbest"
	"nextbest/bandit"
	"nextbest/internal/actions"
	"nextbest/internal/rules"
)

// armKey names a policy version with one of its models.
type armKey struct {
	policy nextbest.Ref
	model  uint64
}

// arm is a policy version with a model, ready to give distributions. It is
// immutable.
type arm struct {
	*policySpec
	model  uint64
	schema *bandit.Schema // nil: the policy sees no features
	policy bandit.Policy
}

// biasAlone is the schema of policies that learn without one.
var biasAlone = bandit.BiasAlone()

// arm returns a policy version with a model, taken over from a catalogue that
// had it. The errors name what does not exist or does not fit.
func (c *Catalogue) arm(key armKey, previous *Catalogue) (*arm, error) {
	if a := c.arms[key]; a != nil {
		return a, nil
	}
	if previous != nil {
		if a := previous.arms[key]; a != nil && c.objects[objectKey{nextbest.KindPolicy, key.policy.ID, key.policy.Version}] != nil {
			c.arms[key] = a
			return a, nil
		}
	}
	a, err := c.newArm(key)
	if err == nil {
		c.arms[key] = a
	}
	return a, err
}

// newArm builds an arm without keeping it.
func (c *Catalogue) newArm(key armKey) (*arm, error) {
	spec, err := get[*policySpec](c, nextbest.KindPolicy, key.policy)
	if err != nil {
		return nil, err
	}
	var m *bandit.Model
	if key.model != 0 {
		if m, err = c.parameters(spec, key.model); err != nil {
			return nil, err
		}
	}
	return c.bind(spec, key.model, m)
}

// bind joins a policy with its schema and a model; m nil means the untrained
// prior where the policy learns.
func (c *Catalogue) bind(spec *policySpec, n uint64, m *bandit.Model) (*arm, error) {
	a := &arm{policySpec: spec, model: n}
	var err error
	if spec.features.ID != "" {
		if a.schema, err = c.Schema(spec.features); err != nil {
			return nil, err
		}
	} else if spec.spec.Learns() {
		a.schema = biasAlone
	}
	if m != nil && m.Width() != a.schema.Width() {
		return nil, nextbest.Errorf(nextbest.Invalid, "model %d of policy %s has %d features, and its schema %s has %d; train a model with this schema", n, spec.name, m.Width(), orNone(spec.spec.Features), a.schema.Width())
	}
	a.policy, err = bandit.New(spec.spec, m)
	return a, err
}

// parameters loads a model's parameters from the blob store.
func (c *Catalogue) parameters(spec *policySpec, n uint64) (*bandit.Model, error) {
	if !spec.spec.Learns() {
		return nil, nextbest.Errorf(nextbest.Invalid, "policy %s is %s, which has no models; leave the model out", spec.name, spec.spec.Algorithm)
	}
	doc, err := c.Model(spec.ref, n)
	if err != nil {
		return nil, err
	}
	if doc.Features != "" && doc.Features != spec.spec.Features {
		return nil, nextbest.Errorf(nextbest.Invalid, "model %d of policy %s was learned with the features %s and the policy has %s; migrate it or train a model with this schema", n, spec.name, doc.Features, orNone(spec.spec.Features))
	}
	if c.blobs == nil {
		return nil, nextbest.Errorf(nextbest.Internal, "model %d of policy %s: the catalogue was made without a blob store", n, spec.name)
	}
	b, err := c.blobs(doc.Hash)
	if err != nil {
		code := nextbest.CodeOf(err)
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			code = nextbest.Unavailable
		}
		return nil, nextbest.Errorf(code, "parameters of model %d of policy %s: %w", n, spec.name, err)
	}
	m, err := bandit.UnmarshalModel(b)
	if err != nil {
		return nil, nextbest.Errorf(nextbest.Invalid, "parameters of model %d of policy %s: %w", n, spec.name, err)
	}
	return m, nil
}

func orNone(features string) string {
	if features == "" {
		return "none"
	}
	return features
}

// question is one eligible set put before arms. Its slices run over the
// eligible actions; the buffers may be used again.
type question struct {
	eligible []int     // indices into the list of actions that ids run over
	names    []string  // the actions' ids
	nothing  int       // position of do-nothing
	scale    []float64 // nil: 1
	offset   []float64 // nil: 0
	input    *rules.Input
	actions  []*actions.Compiled // the list that eligible points into; may hold nil in replays
	given    map[string]float64  // the call's scores by action

	arms    []int32
	scores  []float64
	request bandit.Request
}

// distribution writes the arm's distribution over the eligible actions into p
// and its scores into scores. ids[i] is action i's index in the policy.
func (a *arm) distribution(p, scores []float64, q *question, ids []int32, x []float32) error {
	q.arms = q.arms[:0]
	for _, i := range q.eligible {
		q.arms = append(q.arms, ids[i])
	}
	r := &q.request
	*r = bandit.Request{X: x, Arms: q.arms, Scale: q.scale, Offset: q.offset, Preferred: -1}
	if len(a.rules) > 0 {
		r.Preferred = a.preferred(q)
	}
	if a.spec.External() {
		if err := q.unscored(); err != nil {
			return err
		}
		q.scores = q.scores[:0]
		for _, name := range q.names {
			q.scores = append(q.scores, q.given[name])
		}
		r.Scores = q.scores
	}
	return a.policy.Distribution(p, scores, r)
}

// unscored returns an error that names the eligible actions to which the call
// gave no score, nil when there is none.
func (q *question) unscored() error {
	var p nextbest.Problems
	for _, name := range q.names {
		if _, ok := q.given[name]; !ok {
			p.Add("scores."+name, "is missing: an external policy decides here, and %s is eligible; send a score for every action of the placement, %s included", name, nextbest.DoNothing)
		}
	}
	return p.Err("call")
}

// preferred returns the position of the action of the first rule whose
// condition holds and whose action is eligible; do-nothing's where there is
// none. A condition that cannot be computed does not hold.
func (a *arm) preferred(q *question) int {
	for k, rule := range a.rules {
		for j, name := range q.names {
			if name != a.spec.Rules[k].Action {
				continue
			}
			q.input.Action = nil
			if act := q.actions[q.eligible[j]]; act != nil {
				q.input.Action = act.Variable()
			}
			if holds, err := rule.Eval(q.input); err == nil && holds {
				return j
			}
			break
		}
	}
	return q.nothing
}
