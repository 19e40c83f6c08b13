package decisions

import (
	"fmt"
	"slices"
	"strings"

	"nextbest"
	"nextbest/bandit"
	"nextbest/experiments"
	"nextbest/internal/actions"
)

// placement is everything that a decision at one place needs.
type placement struct {
	name      string // id@version
	objective string
	channels  []string
	actions   []*actions.Compiled // by id; do-nothing among them
	ids       []string
	nothing   int
	// scale and offset run over actions; affine says that they matter.
	scale, offset []float64
	affine        bool
	assumed       bool // contacts need no impression
	slots         uint8
	// tracked says that contacts are reserved: some action here has a cap or a
	// cool-down, or some action anywhere counts the contacts made here.
	tracked bool
	// policy serves customers outside the experiment.
	policy *served
	// external says that some arm decides by scores that come with the call.
	external bool
	trial    *trial // nil: no experiment is running
	schemas  []schemaUse
	shared   int   // index of the schema that rows of policies without one carry, -1: none
	err      error // why the placement cannot decide
}

// served is an arm at a placement.
type served struct {
	*arm
	ids  []int32 // policy's index of each of the placement's actions
	slot int     // index into the placement's schemas, -1: no features
}

// schemaUse is a schema that some arm at the placement needs.
type schemaUse struct {
	name   string // id@version, "" for the bias alone
	schema *bandit.Schema
}

// trial is the running experiment.
type trial struct {
	name       string // id@version
	definition *experiments.Definition
	arms       []*served // beside definition.Arms
}

// buildPlacement compiles a placement with its running experiment. What is
// wrong is recorded with the field of the placement or, as experiment.arms[1]…,
// of the experiment.
func (c *Catalogue) buildPlacement(o, experiment *object, previous *Catalogue, problems *nextbest.Problems) *placement {
	v, err := o.compiled()
	if err != nil {
		addError(problems, "", err)
		return nil
	}
	d := v.(*Placement)
	p := &placement{name: o.record.Ref().String(), objective: d.Objective.String(), channels: d.Channels, assumed: d.Impression == Assumed, slots: uint8(d.Slots), tracked: c.reading}
	if _, err := c.Objective(d.Objective); err != nil {
		addError(problems, "objective", err)
	}
	c.placeActions(p, d, problems)
	p.policy = c.serve(p, d.Policy, d.Model, d.Learning, "", previous, problems)
	if experiment != nil {
		p.trial = c.buildTrial(p, d, experiment, previous, problems)
	}
	p.shared = slices.IndexFunc(p.schemas, func(u schemaUse) bool { return u.name != "" })
	return p
}

// placeActions fills in the placement's actions in their fixed order, by id.
func (c *Catalogue) placeActions(p *placement, d *Placement, problems *nextbest.Problems) {
	ids := slices.Clone(d.Actions)
	if !slices.Contains(ids, nextbest.DoNothing) {
		ids = append(ids, nextbest.DoNothing)
	}
	slices.Sort(ids)
	for _, id := range ids {
		a := doNothing
		if id != nextbest.DoNothing {
			var err error
			if a, err = get[*actions.Compiled](c, nextbest.KindAction, nextbest.Ref{ID: id}); err != nil {
				addError(problems, fmt.Sprintf("actions[%d]", slices.Index(d.Actions, id)), err)
				continue
			}
		} else {
			p.nothing = len(p.actions)
		}
		p.actions = append(p.actions, a)
		p.ids = append(p.ids, id)
		p.scale = append(p.scale, a.Scale)
		p.offset = append(p.offset, a.Offset)
		p.affine = p.affine || a.Scale != 1 || a.Offset != 0
		p.tracked = p.tracked || a.Capped()
	}
}

// serve binds a policy version and a model to the placement.
func (c *Catalogue) serve(p *placement, policy nextbest.Ref, model uint64, learning, field string, previous *Catalogue, problems *nextbest.Problems) *served {
	spec, err := get[*policySpec](c, nextbest.KindPolicy, policy)
	if err != nil {
		addError(problems, field+"policy", err)
		return nil
	}
	if learning == Online {
		if !spec.spec.Learns() {
			problems.Add(field+"learning", "policy %s is %s and does not learn; write frozen", spec.name, spec.spec.Algorithm)
			return nil
		}
		current, err := get[*Current](c, nextbest.KindCurrent, nextbest.Ref{ID: ModelID(policy)})
		if err == nil {
			model = current.Model
		} else if nextbest.CodeOf(err) != nextbest.NotFound {
			addError(problems, field+"learning", err)
			return nil
		}
	}
	a, err := c.arm(armKey{policy, model}, previous)
	if err != nil {
		if nextbest.CodeOf(err) == nextbest.Unavailable {
			c.away = err
		}
		at := field + "policy"
		if model != 0 {
			at = field + "model"
		}
		addError(problems, at, err)
		return nil
	}
	p.external = p.external || a.spec.External()
	s := &served{arm: a, slot: -1, ids: make([]int32, len(p.ids))}
	for i, id := range p.ids {
		s.ids[i] = a.policy.Arm(id)
	}
	if a.schema != nil {
		name := a.spec.Features
		s.slot = slices.IndexFunc(p.schemas, func(u schemaUse) bool { return u.name == name })
		if s.slot < 0 {
			s.slot = len(p.schemas)
			p.schemas = append(p.schemas, schemaUse{name, a.schema})
		}
	}
	return s
}

func (c *Catalogue) buildTrial(p *placement, d *Placement, o *object, previous *Catalogue, problems *nextbest.Problems) *trial {
	v, err := o.compiled()
	if err != nil {
		addError(problems, "experiment", err)
		return nil
	}
	def := v.(*experiments.Definition)
	t := &trial{name: o.record.Ref().String(), definition: def}
	if objective, err := c.Objective(d.Objective); err == nil {
		if err := def.CheckObjective(objective); err != nil {
			addError(problems, "experiment", err)
		}
	}
	for i, a := range def.Arms {
		t.arms = append(t.arms, c.serve(p, a.Policy, a.Model, a.Learning, fmt.Sprintf("experiment.arms[%d].", i), previous, problems))
	}
	return t
}

// addError records an error under a field: its problems where it lists any,
// with the field in front, else its message.
func addError(problems *nextbest.Problems, field string, err error) {
	e, ok := err.(*nextbest.Error)
	if !ok || len(e.Problems) == 0 {
		if field == "" {
			field = "document"
		}
		problems.Add(strings.TrimSuffix(field, "."), "%v", err)
		return
	}
	for _, q := range e.Problems {
		if field != "" {
			q.Field = strings.TrimSuffix(field, ".") + "." + q.Field
		}
		*problems = append(*problems, q)
	}
}

// placement returns the newest placement of an id, or the one of an exact
// version if that is the newest.
func (c *Catalogue) placement(name string) (*placement, error) {
	if p := c.placements[name]; p != nil {
		return p, p.err
	}
	if ref, err := nextbest.ParseRef(name); err == nil && ref.Version != 0 {
		if p := c.placements[ref.ID]; p != nil {
			if p.err != nil || p.name == name {
				return p, p.err
			}
			return nil, noPlacement("placement %s does not serve; %s does", name, p.name)
		}
	}
	known := make([]string, 0, len(c.placements))
	for id := range c.placements {
		known = append(known, id)
	}
	slices.Sort(known)
	if len(known) > 10 {
		known = append(known[:10], "…")
	}
	return nil, noPlacement("placement %q does not exist; the placements are: %s", name, strings.Join(known, ", "))
}

// noPlacement is NotFound that names the field.
func noPlacement(format string, args ...any) error {
	message := fmt.Sprintf(format, args...)
	return &nextbest.Error{Code: nextbest.NotFound, Message: "no such placement", Problems: []nextbest.Problem{{Field: "placement", Message: message}}}
}
