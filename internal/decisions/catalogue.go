package decisions

import (
	"slices"
	"sort"
	"sync"
	"time"

	"nextbest"
	"nextbest/bandit"
	"nextbest/experiments"
	"nextbest/internal/actions"
)

// Blobs fetches a model's parameters by the hash of their content.
type Blobs func(hash string) ([]byte, error)

// Catalogue is every definition, old versions included, compiled into one
// value. It is immutable as seen from outside and safe for concurrent use.
//
// What decisions need is compiled when the catalogue is made. A placement that
// does not compile is broken alone: calls to it are answered with the reason,
// all others go on. Old versions are compiled when a replay first asks.
type Catalogue struct {
	Revision uint64 // of the newest record

	blobs    Blobs
	objects  map[objectKey]*object
	latest   map[nextbest.Kind]map[string]*object // without deleted ones
	versions map[objectKey][]*object              // by kind and id, ascending

	arms       map[armKey]*arm // policies that serve now, with their models
	placements map[string]*placement
	holdout    *experiments.Holdout
	pseudonyms *pseudonymizer
	pepper     string
	salts      map[string]string // name → value
	salt       string            // name of the newest

	window  time.Duration     // the longest that any action looks back
	groups  map[string]string // action → group
	names   map[string]string // one copy of every action, group and channel name
	reading bool              // some action's cap counts contacts by others
	broken  []nextbest.Problem
	away    error // why parameters could not be fetched, while it was made
}

type objectKey struct {
	kind    nextbest.Kind
	id      string
	version uint64
}

// object is one record with its compiled value. Records never change, so a
// later catalogue takes over the object.
type object struct {
	record nextbest.Record
	once   sync.Once
	value  any
	err    error
}

// compiled returns the record's value: *actions.Compiled, *nextbest.Objective,
// *bandit.Schema, *policySpec, *ModelDocument, *Current, *Placement,
// *experiments.Holdout, *experiments.Definition or *secret.
func (o *object) compiled() (any, error) {
	o.once.Do(func() { o.value, o.err = compileRecord(&o.record) })
	return o.value, o.err
}

// Compile compiles the registry's records, old versions included, in any
// order. Definitions that do not compile are listed by Broken. The error says
// that the records contradict each other, or, with the code Unavailable, that a
// model's parameters cannot be fetched now: go on with the catalogue there is
// and try again.
func Compile(records []nextbest.Record, blobs Blobs) (*Catalogue, error) {
	return (&Catalogue{}).Update(records, blobs)
}

// Update compiles the registry's records and takes over from c everything that
// did not change. c stays as it is.
func (c *Catalogue) Update(records []nextbest.Record, blobs Blobs) (*Catalogue, error) {
	next := &Catalogue{
		blobs:    blobs,
		objects:  make(map[objectKey]*object, len(records)),
		latest:   map[nextbest.Kind]map[string]*object{},
		versions: map[objectKey][]*object{},
	}
	newest := map[nextbest.Kind]map[string]*object{}
	for i := range records {
		r := &records[i]
		key := objectKey{r.Kind, r.ID, r.Version}
		if o, twice := next.objects[key]; twice {
			if o.record.Revision != r.Revision {
				return nil, nextbest.Errorf(nextbest.Internal, "registry: %s %s occurs at revisions %d and %d", r.Kind, r.Ref(), o.record.Revision, r.Revision)
			}
			continue
		}
		o := c.objects[key]
		if o == nil || o.record.Revision != r.Revision {
			o = &object{record: *r}
		}
		next.objects[key] = o
		next.Revision = max(next.Revision, r.Revision)
		byID := newest[r.Kind]
		if byID == nil {
			byID = map[string]*object{}
			newest[r.Kind] = byID
		}
		if old := byID[r.ID]; old == nil || old.record.Version < r.Version {
			byID[r.ID] = o
		}
		switch r.Kind {
		case nextbest.KindAction, nextbest.KindExperiment, nextbest.KindHoldout: // what replays look up by revision
			of := objectKey{kind: r.Kind, id: r.ID}
			next.versions[of] = append(next.versions[of], o)
		}
	}
	for kind, byID := range newest {
		next.latest[kind] = byID
		for id, o := range byID {
			if o.record.Deleted {
				delete(byID, id)
			}
		}
	}
	for _, versions := range next.versions {
		slices.SortFunc(versions, func(a, b *object) int { return int(a.record.Version) - int(b.record.Version) })
	}
	next.link(c)
	if next.away != nil {
		return nil, nextbest.Errorf(nextbest.Unavailable, "the definitions up to revision %d cannot be compiled now: %w", next.Revision, next.away)
	}
	return next, nil
}

// link compiles what decisions need now.
func (c *Catalogue) link(previous *Catalogue) {
	c.linkSecrets(previous)
	c.groups, c.names = map[string]string{nextbest.DoNothing: ""}, map[string]string{}
	for id, o := range c.latest[nextbest.KindAction] {
		v, err := o.compiled()
		if err != nil {
			c.breaks("actions/"+id, err)
			continue
		}
		a := v.(*actions.Compiled)
		c.window = max(c.window, a.Window())
		c.reading = c.reading || a.CountsOthers()
		c.groups[id] = a.Action.Group
		c.names[id], c.names[a.Action.Group] = id, a.Action.Group
		for _, t := range a.Action.Treatments {
			c.names[t.Channel] = t.Channel
		}
	}
	if o := c.latest[nextbest.KindHoldout][HoldoutID]; o != nil {
		if v, err := o.compiled(); err != nil {
			c.breaks("holdouts/"+HoldoutID, err)
		} else {
			c.holdout = v.(*experiments.Holdout)
		}
	}
	c.arms = map[armKey]*arm{}
	c.placements = map[string]*placement{}
	running := c.running()
	for id, o := range c.latest[nextbest.KindPlacement] {
		var problems nextbest.Problems
		p := c.buildPlacement(o, running[id], previous, &problems)
		if err := problems.Err("placement " + id); err != nil {
			p = &placement{err: nextbest.Errorf(nextbest.Unavailable, "placement %s cannot decide: %w", o.record.Ref(), err)}
			c.breaks("placements/"+id, err)
		}
		c.placements[id] = p
	}
	sort.Slice(c.broken, func(i, j int) bool { return c.broken[i].Field < c.broken[j].Field })
}

func (c *Catalogue) linkSecrets(previous *Catalogue) {
	c.salts = map[string]string{}
	for id, o := range c.latest[nextbest.KindSecret] {
		v, err := o.compiled()
		if err != nil {
			c.breaks("secrets/"+id, err)
			continue
		}
		value := v.(*secret).Value
		if id == SecretPepper {
			c.pepper = value
			c.pseudonyms = previous.pseudonyms
			if previous.pseudonyms == nil || previous.pepper != value {
				c.pseudonyms = newPseudonymizer(value)
			}
		} else if n := saltNumber(id); n > 0 {
			c.salts[id] = value
			if n > saltNumber(c.salt) {
				c.salt = id
			}
		}
	}
}

// running returns the running experiment of each placement.
func (c *Catalogue) running() map[string]*object {
	out := map[string]*object{}
	for id, o := range c.latest[nextbest.KindExperiment] {
		v, err := o.compiled()
		if err != nil {
			c.breaks("experiments/"+id, err)
			continue
		}
		d := v.(*experiments.Definition)
		if d.State != experiments.Running {
			continue
		}
		// Validate refuses a second one; should there be two, every replica
		// and every replay takes the same.
		if first := out[d.Placement]; first == nil || o.record.ID < first.record.ID {
			out[d.Placement] = o
		}
	}
	return out
}

func (c *Catalogue) breaks(field string, err error) {
	c.broken = append(c.broken, nextbest.Problem{Field: field, Message: err.Error()})
}

// Broken lists the newest definitions that do not compile.
func (c *Catalogue) Broken() []nextbest.Problem { return slices.Clone(c.broken) }

// get returns the compiled value of one version, the newest for version 0.
func get[T any](c *Catalogue, kind nextbest.Kind, ref nextbest.Ref) (T, error) {
	var zero T
	o := c.latest[kind][ref.ID]
	if ref.Version != 0 {
		o = c.objects[objectKey{kind, ref.ID, ref.Version}]
	}
	if o == nil || o.record.Deleted {
		return zero, nextbest.Errorf(nextbest.NotFound, "%s %s does not exist", kind.Singular(), ref)
	}
	v, err := o.compiled()
	if err != nil {
		return zero, err
	}
	return v.(T), nil
}

// Schema returns a version of a feature schema, the newest for version 0.
func (c *Catalogue) Schema(ref nextbest.Ref) (*bandit.Schema, error) {
	return get[*bandit.Schema](c, nextbest.KindFeatures, ref)
}

// Objective returns a version of an objective, the newest for version 0.
func (c *Catalogue) Objective(ref nextbest.Ref) (*nextbest.Objective, error) {
	return get[*nextbest.Objective](c, nextbest.KindObjective, ref)
}

// Placement returns a version of a placement, the newest for version 0.
func (c *Catalogue) Placement(ref nextbest.Ref) (*Placement, error) {
	return get[*Placement](c, nextbest.KindPlacement, ref)
}

// Spec returns a policy version's specification, the newest for version 0.
func (c *Catalogue) Spec(ref nextbest.Ref) (bandit.Spec, error) {
	p, err := get[*policySpec](c, nextbest.KindPolicy, ref)
	if err != nil {
		return bandit.Spec{}, err
	}
	return p.spec, nil
}

// Model returns the document of a policy version's model.
func (c *Catalogue) Model(policy nextbest.Ref, n uint64) (*ModelDocument, error) {
	return get[*ModelDocument](c, nextbest.KindModel, nextbest.Ref{ID: ModelID(policy), Version: n})
}

// asOf returns the record that was in force at a revision, nil when there was
// none. It knows actions, experiments and holdouts.
func (c *Catalogue) asOf(kind nextbest.Kind, id string, revision uint64) *object {
	versions := c.versions[objectKey{kind: kind, id: id}]
	i := sort.Search(len(versions), func(i int) bool { return versions[i].record.Revision > revision }) - 1
	if i < 0 || versions[i].record.Deleted {
		return nil
	}
	return versions[i]
}

// action returns the action as it was defined at a revision, nil when it was
// not. Do-nothing always is.
func (c *Catalogue) action(id string, revision uint64) *actions.Compiled {
	if id == nextbest.DoNothing {
		return doNothing
	}
	o := c.asOf(nextbest.KindAction, id, revision)
	if o == nil {
		return nil
	}
	v, err := o.compiled()
	if err != nil {
		return nil
	}
	return v.(*actions.Compiled)
}

// assigners returns the holdout and the placement's running experiment (with
// its id@version) as they were at a revision.
func (c *Catalogue) assigners(placement string, revision uint64) (h *experiments.Holdout, d *experiments.Definition, name string) {
	if o := c.asOf(nextbest.KindHoldout, HoldoutID, revision); o != nil {
		if v, err := o.compiled(); err == nil {
			h = v.(*experiments.Holdout)
		}
	}
	for of := range c.versions {
		if of.kind != nextbest.KindExperiment {
			continue
		}
		o := c.asOf(of.kind, of.id, revision)
		if o == nil || name != "" && d.ID < of.id {
			continue
		}
		v, err := o.compiled()
		if e, ok := v.(*experiments.Definition); err == nil && ok && e.State == experiments.Running && e.Placement == placement {
			d, name = e, o.record.Ref().String()
		}
	}
	return h, d, name
}

var doNothing = actions.DoNothing()
