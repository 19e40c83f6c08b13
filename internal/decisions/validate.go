package decisions

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"nextbest"
	"nextbest/experiments"
)

// Validate checks a change against everything else that is defined, before it
// is stored: the document itself, that what it names exists and fits, and that
// nothing that works now would stop working. The error is nextbest.Invalid and
// lists the fields, or Conflict where the state does not allow the change.
// Kinds that decisions do not use are not checked.
func (c *Catalogue) Validate(change nextbest.Change) error {
	if err := checkID(change.Kind, change.ID); err != nil {
		return err
	}
	record := nextbest.Record{Kind: change.Kind, ID: change.ID, Version: 1, Revision: c.Revision + 1, Document: change.Document, Deleted: change.Deleted}
	records := make([]nextbest.Record, 0, len(c.objects)+1)
	var last *object
	for key, o := range c.objects {
		records = append(records, o.record)
		if key.kind == change.Kind && key.id == change.ID && (last == nil || last.record.Version < key.version) {
			last = o
		}
	}
	if last != nil {
		record.Version = last.record.Version + 1
	}
	if change.Kind == nextbest.KindSecret && last != nil && (change.Deleted || !bytes.Equal(change.Document, last.record.Document)) {
		return nextbest.Errorf(nextbest.Conflict, "secret %s cannot be changed: pseudonyms and draws depend on it; add another salt instead", change.ID)
	}
	next, err := c.Update(append(records, record), c.blobs)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%s %s", change.Kind.Singular(), change.ID)
	if !change.Deleted {
		o := next.objects[objectKey{change.Kind, change.ID, record.Version}]
		if _, err := o.compiled(); err != nil {
			return err
		}
		var problems nextbest.Problems
		if err := next.fits(o, last, &problems); err != nil {
			return err
		}
		if err := problems.Err(what); err != nil {
			return err
		}
	} else if err := next.mayGo(change, last); err != nil {
		return err
	}
	var problems nextbest.Problems
	for _, b := range next.broken {
		worked := !slices.ContainsFunc(c.broken, func(o nextbest.Problem) bool { return o.Field == b.Field })
		if worked {
			b.Message = "would stop working: " + b.Message
			b.Cure = "change what uses it first"
			problems = append(problems, b)
		}
	}
	return problems.Err(what)
}

func checkID(kind nextbest.Kind, id string) error {
	switch kind {
	case nextbest.KindAction, nextbest.KindObjective, nextbest.KindFeatures, nextbest.KindPolicy, nextbest.KindPlacement, nextbest.KindExperiment:
		if !nextbest.ValidID(id) {
			return nextbest.FieldErrorf("id", "%q must be 1 to 63 lower-case letters, digits, hyphens and underscores, the first a letter or digit", id)
		}
	}
	return nil
}

// fits checks what a new record names against the rest.
func (c *Catalogue) fits(o, last *object, p *nextbest.Problems) error {
	switch v := o.value.(type) {
	case *policySpec:
		c.policyFits(v, p)
	case *ModelDocument:
		if _, err := c.Spec(v.Policy); err != nil {
			addError(p, "policy", err)
		} else if _, err := c.newArm(armKey{v.Policy, o.record.Version}); nextbest.CodeOf(err) == nextbest.Unavailable {
			return err
		} else if err != nil {
			addError(p, "hash", err)
		}
	case *Current:
		policy, err := ParseModelID(o.record.ID)
		if err != nil {
			return err
		}
		if _, err := c.Model(policy, v.Model); err != nil {
			addError(p, "model", err)
		}
	case *Placement:
		c.buildPlacement(o, c.running()[o.record.ID], c, p)
	case *experiments.Definition:
		return c.experimentFits(v, o, last, p)
	}
	return nil
}

func (c *Catalogue) policyFits(v *policySpec, p *nextbest.Problems) {
	if v.features.ID != "" {
		if _, err := c.Schema(v.features); err != nil {
			addError(p, "features", err)
			return
		}
	}
	for i, r := range v.spec.Rules {
		if _, ok := c.groups[r.Action]; !ok {
			p.Add(fmt.Sprintf("rules[%d].action", i), "%q is not an action", r.Action)
		}
	}
	names := make([]string, 0, len(v.spec.Weights))
	for name := range v.spec.Weights {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if _, ok := c.groups[name]; !ok {
			p.Add("weights."+name, "%q is not an action", name)
		}
	}
	if len(*p) == 0 {
		if _, err := c.bind(v, 0, nil); err != nil {
			addError(p, "algorithm", err)
		}
	}
}

func (c *Catalogue) experimentFits(v *experiments.Definition, o, last *object, p *nextbest.Problems) error {
	at := c.latest[nextbest.KindPlacement][v.Placement]
	if at == nil {
		p.Add("placement", "%q is not a placement", v.Placement)
		return nil
	}
	var found nextbest.Problems
	c.buildPlacement(at, o, c, &found)
	for _, q := range found {
		if q.Field == "experiment" || strings.HasPrefix(q.Field, "experiment.") {
			q.Field = strings.TrimPrefix(strings.TrimPrefix(q.Field, "experiment"), ".")
			*p = append(*p, q)
		}
	}
	if v.State != experiments.Running {
		return nil
	}
	for id, other := range c.latest[nextbest.KindExperiment] {
		d, ok := other.value.(*experiments.Definition)
		if ok && id != o.record.ID && d.State == experiments.Running && d.Placement == v.Placement {
			return nextbest.Errorf(nextbest.Conflict, "experiment %s is running at placement %s already; stop it or wait until it has ended", id, v.Placement)
		}
	}
	if last == nil || last.record.Deleted {
		return nil
	}
	before, err := last.compiled()
	if old, ok := before.(*experiments.Definition); err == nil && ok && old.State == experiments.Running {
		stillAssigns(old, v, p)
	}
	return nil
}

// stillAssigns checks that a running experiment keeps every customer where
// they are.
func stillAssigns(old, v *experiments.Definition, p *nextbest.Problems) {
	if v.Ramp < old.Ramp {
		p.Add("ramp", "%v is below the present %v: enrolled customers would change policy in the middle of their window; stop the experiment instead", v.Ramp, old.Ramp)
	}
	if v.Salt != old.Salt {
		p.Add("salt", "cannot change while the experiment is running: every customer would be assigned again")
	}
	if v.Placement != old.Placement {
		p.Add("placement", "cannot change while the experiment is running")
	}
	same := slices.EqualFunc(old.Arms, v.Arms, func(a, b experiments.Arm) bool {
		return a.ID == b.ID && a.Share == b.Share && a.Policy == b.Policy && a.Control == b.Control &&
			a.Learning == b.Learning && (a.Model == b.Model || a.Learning == Online)
	})
	if !same {
		p.Add("arms", "ids, shares, policies, frozen models and learning cannot change while the experiment is running: its test assumes they are constant")
	}
}

// mayGo refuses deletions that would leave something without its base.
func (c *Catalogue) mayGo(change nextbest.Change, last *object) error {
	switch change.Kind {
	case nextbest.KindPlacement:
		if o := c.running()[change.ID]; o != nil {
			return nextbest.Errorf(nextbest.Conflict, "experiment %s is running at placement %s; stop it first", o.record.ID, change.ID)
		}
	case nextbest.KindExperiment:
		if last == nil || last.record.Deleted {
			return nil
		}
		v, err := last.compiled()
		if d, ok := v.(*experiments.Definition); err == nil && ok && d.State == experiments.Running {
			return nextbest.Errorf(nextbest.Conflict, "experiment %s is running; stop it before it is deleted", change.ID)
		}
	case nextbest.KindModel:
		return nextbest.Errorf(nextbest.Conflict, "models are kept while a logged decision may name them")
	}
	return nil
}
