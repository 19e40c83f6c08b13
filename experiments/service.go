package experiments

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"nextbest"
)

// Definitions reads the registry.
type Definitions interface {
	Get(kind nextbest.Kind, id string) (nextbest.Record, bool)
	Version(kind nextbest.Kind, id string, n uint64) (nextbest.Record, bool)
	List(kind nextbest.Kind) []nextbest.Record
}

// Changes writes the registry, by compare-and-set of the revision: a lost race
// is an error with code Stale. A successful Put is seen by the next read.
type Changes interface {
	Put(ctx context.Context, c nextbest.Change) (nextbest.Record, error)
}

// Log reads an experiment's customers in the order of enrolment.
type Log interface {
	Enrolments(ctx context.Context, q nextbest.EnrolmentQuery, f func(nextbest.Enrolment) error) error
}

// Evaluations reads what an evaluation says about one policy and model; an
// error with code NotFound means that it says nothing.
type Evaluations interface {
	Evidence(ctx context.Context, evaluation string, policy nextbest.Ref, model uint64) (*OfflineEvidence, error)
}

// Options are what a Service needs. All but Clock, Interval, Settle and Logger
// are required.
type Options struct {
	Definitions Definitions
	Changes     Changes
	Log         Log
	Evaluations Evaluations
	Clock       func() time.Time // time.Now when nil
	Interval    time.Duration    // between two looks of Watch; a minute when 0
	// Settle is how long after a customer's window rewards may still arrive and
	// reach the log; customers count only after it. 0: a tenth of the window, at
	// most a day; negative: nothing is waited for.
	Settle time.Duration
	Logger *slog.Logger // slog.Default when nil
}

// Service runs experiments. It holds no state of its own: replicas may run side
// by side, and each is safe for concurrent use.
type Service struct {
	Options
}

// NewService validates the options.
func NewService(o Options) (*Service, error) {
	if o.Definitions == nil || o.Changes == nil || o.Log == nil || o.Evaluations == nil {
		return nil, nextbest.Errorf(nextbest.Internal, "the experiments service needs definitions, changes, a log and evaluations")
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Interval <= 0 {
		o.Interval = time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return &Service{o}, nil
}

// Get returns an experiment and its record.
func (s *Service) Get(id string) (*Definition, nextbest.Record, error) {
	r, ok := s.Definitions.Get(nextbest.KindExperiment, id)
	if !ok || r.Deleted {
		return nil, r, nextbest.Errorf(nextbest.NotFound, "there is no experiment %q", id)
	}
	d, err := parseRecord(r)
	return d, r, err
}

func parseRecord(r nextbest.Record) (*Definition, error) {
	d, err := Parse(r.Document)
	if err != nil {
		return nil, nextbest.Errorf(nextbest.Internal, "experiment %s: %w", r.Ref(), err)
	}
	d.ID = r.ID
	return d, nil
}

// Save creates or changes a draft. The author is whoever created it, whatever
// the document says.
func (s *Service) Save(ctx context.Context, id string, document []byte, actor, reason string, ifMatch uint64) (nextbest.Record, error) {
	d, err := Parse(document)
	if err != nil {
		return nextbest.Record{}, err
	}
	if d.ID != "" && d.ID != id {
		return nextbest.Record{}, nextbest.FieldErrorf("id", "%q differs from the %q of the path", d.ID, id)
	}
	if !nextbest.ValidID(id) {
		return nextbest.Record{}, nextbest.FieldErrorf("id", "%q must be lower-case letters, digits, hyphens and underscores", id)
	}
	d.ID, d.Author = id, actor
	var old *Definition
	if r, ok := s.Definitions.Get(nextbest.KindExperiment, id); ok && !r.Deleted {
		if old, err = parseRecord(r); err != nil {
			return nextbest.Record{}, err
		}
		d.Author = old.Author
	}
	if err := CheckChange(old, d); err != nil {
		return nextbest.Record{}, err
	}
	if err := s.fits(d, false); err != nil {
		return nextbest.Record{}, err
	}
	return s.Changes.Put(ctx, nextbest.Change{Kind: nextbest.KindExperiment, ID: id, Document: d.Document(), Actor: actor, Reason: reason, IfMatch: ifMatch})
}

// pointer is what of a placement an experiment changes.
type pointer struct {
	Policy   nextbest.Ref `json:"policy"`
	Model    uint64       `json:"model"`
	Learning string       `json:"learning"`
}

func (p pointer) same(q pointer) bool {
	return p.Policy == q.Policy && p.Model == q.Model && (p.Learning == "online") == (q.Learning == "online")
}

// placement returns a placement's record, its pointer and its objective.
func (s *Service) placement(id string) (nextbest.Record, pointer, *nextbest.Objective, error) {
	var p pointer
	r, ok := s.Definitions.Get(nextbest.KindPlacement, id)
	if !ok || r.Deleted {
		return r, p, nil, nextbest.Errorf(nextbest.NotFound, "there is no placement %q", id)
	}
	var doc struct {
		Objective nextbest.Ref `json:"objective"`
	}
	if err := json.Unmarshal(r.Document, &doc); err != nil {
		return r, p, nil, nextbest.Errorf(nextbest.Internal, "placement %s: %w", r.Ref(), err)
	}
	p, err := pointerOf(r)
	if err != nil {
		return r, p, nil, err
	}
	o, ok := s.version(nextbest.KindObjective, doc.Objective)
	if !ok {
		return r, p, nil, nextbest.Errorf(nextbest.NotFound, "placement %s names objective %s, which does not exist", r.Ref(), doc.Objective)
	}
	objective := &nextbest.Objective{}
	if err := json.Unmarshal(o.Document, objective); err != nil {
		return r, p, nil, nextbest.Errorf(nextbest.Internal, "objective %s: %w", o.Ref(), err)
	}
	return r, p, objective, nil
}

func pointerOf(r nextbest.Record) (pointer, error) {
	var p pointer
	if err := json.Unmarshal(r.Document, &p); err != nil {
		return p, nextbest.Errorf(nextbest.Internal, "placement %s: %w", r.Ref(), err)
	}
	return p, nil
}

func (s *Service) version(kind nextbest.Kind, ref nextbest.Ref) (nextbest.Record, bool) {
	if ref.Version == 0 {
		return s.Definitions.Get(kind, ref.ID)
	}
	return s.Definitions.Version(kind, ref.ID, ref.Version)
}

// fits checks a definition against everything it names; starting also needs
// the control to be what the placement serves.
func (s *Service) fits(d *Definition, starting bool) error {
	var p nextbest.Problems
	_, serving, objective, err := s.placement(d.Placement)
	if nextbest.CodeOf(err) == nextbest.NotFound {
		return nextbest.FieldErrorf("placement", "%s", err)
	}
	if err != nil {
		return err
	}
	if err := d.CheckObjective(objective); err != nil {
		return err
	}
	for i, a := range d.Arms {
		at := fmt.Sprintf("arms[%d].", i)
		if _, ok := s.version(nextbest.KindPolicy, a.Policy); !ok {
			p.Add(at+"policy", "policy %s does not exist", a.Policy)
		} else if a.Model > 0 && !s.hasModel(a.Policy, a.Model) {
			p.Add(at+"model", "policy %s has no model %d", a.Policy, a.Model)
		}
		if starting && a.Control && !serving.same(pointer{a.Policy, a.Model, a.Learning}) {
			p.Add(at+"policy", "the control is %s model %d, but placement %s serves %s model %d: being better than the control would say nothing about what is served", a.Policy, a.Model, d.Placement, serving.Policy, serving.Model)
		}
	}
	return p.Err("the experiment " + d.ID)
}

func (s *Service) hasModel(policy nextbest.Ref, model uint64) bool {
	_, ok := s.Definitions.Version(nextbest.KindModel, fmt.Sprintf("%s.%d", policy.ID, policy.Version), model)
	return ok
}

// change applies a transition by compare-and-set and tries again when somebody
// else was faster: the transition then judges the new state.
func (s *Service) change(ctx context.Context, id, actor, reason string, f func(Definition) (Definition, error)) (nextbest.Record, error) {
	for try := 0; ; try++ {
		d, r, err := s.Get(id)
		if err != nil {
			return r, err
		}
		next, err := f(*d)
		if err != nil {
			return r, err
		}
		put, err := s.Changes.Put(ctx, nextbest.Change{Kind: nextbest.KindExperiment, ID: id, Document: next.Document(), Actor: actor, Reason: reason, IfMatch: r.Revision})
		if !lost(err) || try == maxTries {
			return put, err
		}
		if err := pause(ctx, try); err != nil {
			return r, err
		}
	}
}

const maxTries = 8

// lost reports whether a Put lost a race.
func lost(err error) bool { return nextbest.CodeOf(err) == nextbest.Stale }

// refused reports whether a Put was turned down for what it would write, so
// that it will not succeed later either.
func refused(err error) bool {
	switch nextbest.CodeOf(err) {
	case nextbest.Invalid, nextbest.Conflict, nextbest.NotFound, nextbest.Forbidden, nextbest.TooLarge:
		return true
	}
	return false
}

// pause waits for this replica to see what won a race.
func pause(ctx context.Context, try int) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(5 * time.Millisecond << try):
		return nil
	}
}

// Start starts a draft. One experiment runs at a placement at a time; of two
// that are started at once, the later one goes back to draft.
func (s *Service) Start(ctx context.Context, id, actor, reason string) (nextbest.Record, error) {
	d, _, err := s.Get(id)
	if err != nil {
		return nextbest.Record{}, err
	}
	if _, err := d.Start(s.Clock()); err != nil {
		return nextbest.Record{}, err
	}
	if err := s.fits(d, true); err != nil {
		return nextbest.Record{}, err
	}
	if other := s.running(d.Placement, id); len(other) > 0 {
		return nextbest.Record{}, occupied(id, d.Placement, other[0].ID)
	}
	put, err := s.change(ctx, id, actor, reason, func(d Definition) (Definition, error) { return d.Start(s.Clock()) })
	if err != nil {
		return put, err
	}
	if first := s.firstRunning(d.Placement); first != "" && first != id {
		if _, err := s.withdraw(ctx, id, first); err != nil {
			return put, err
		}
		return put, occupied(id, d.Placement, first)
	}
	return put, nil
}

func occupied(id, placement, other string) error {
	return nextbest.Errorf(nextbest.Conflict, "experiment %s cannot start: %s is running at placement %s; stop it first", id, other, placement)
}

func (s *Service) withdraw(ctx context.Context, id, first string) (nextbest.Record, error) {
	return s.change(ctx, id, Watcher, "experiment "+first+" started first at the same placement", func(d Definition) (Definition, error) {
		if d.State != Running {
			return d, d.conflict("put back")
		}
		d.State, d.Started = Draft, time.Time{}
		return d, nil
	})
}

// running returns the experiments that run at a placement, except one.
func (s *Service) running(placement, except string) []*Definition {
	var out []*Definition
	for _, r := range s.Definitions.List(nextbest.KindExperiment) {
		if r.Deleted || r.ID == except {
			continue
		}
		if d, err := parseRecord(r); err == nil && d.State == Running && d.Placement == placement {
			out = append(out, d)
		}
	}
	return out
}

// firstRunning returns the experiment at a placement that started first in the
// registry's order, "" when none runs.
func (s *Service) firstRunning(placement string) (id string) {
	least := nextbest.AnyRevision
	for _, d := range s.running(placement, "") {
		if r := s.startRevision(d.ID); r < least {
			least, id = r, d.ID
		}
	}
	return id
}

// startRevision returns the revision at which a running experiment started:
// the oldest of its newest run of running versions.
func (s *Service) startRevision(id string) uint64 {
	r, ok := s.Definitions.Get(nextbest.KindExperiment, id)
	revision := r.Revision
	for n := r.Version; ok && n > 1; n-- {
		v, found := s.Definitions.Version(nextbest.KindExperiment, id, n-1)
		if d, err := parseRecord(v); !found || err != nil || d.State != Running {
			break
		}
		revision = v.Revision
	}
	return revision
}

// Ramp enrols a larger share of the placement's customers.
func (s *Service) Ramp(ctx context.Context, id string, ramp float64, actor, reason string) (nextbest.Record, error) {
	return s.change(ctx, id, actor, reason, func(d Definition) (Definition, error) { return d.Grow(ramp) })
}

// Stop ends an experiment: everybody gets the placement's policy.
func (s *Service) Stop(ctx context.Context, id, actor, reason string) (nextbest.Record, error) {
	if _, err := s.finish(ctx, id); err != nil {
		return nextbest.Record{}, err
	}
	return s.change(ctx, id, actor, reason, func(d Definition) (Definition, error) { return d.Stop(s.Clock()) })
}

// mostSettle is the longest that rewards are waited for by default.
const mostSettle = 24 * time.Hour

// waits returns how long after a customer's window the experiment waits for
// rewards. Were one arm's rewards reported later than the other's and not
// waited for, an experiment without any effect would be rolled back in .19 of
// runs instead of .05.
func (s *Service) waits(d *Definition) time.Duration {
	if s.Settle != 0 {
		return max(s.Settle, 0)
	}
	return min(mostSettle, d.Window.Std()/10)
}

// Evidence reads the log and returns what it says about an experiment now.
func (s *Service) Evidence(ctx context.Context, d *Definition) (*Evidence, error) {
	_, _, objective, err := s.placement(d.Placement)
	if err != nil {
		return nil, err
	}
	a := NewAccumulator(d, objective, s.Clock().Add(-s.waits(d)))
	if !d.Started.IsZero() {
		for i, q := range a.Queries() {
			if err := s.Log.Enrolments(ctx, q, func(e nextbest.Enrolment) error { return a.Add(i, e) }); err != nil {
				return nil, fmt.Errorf("enrolments of experiment %s: %w", d.ID, err)
			}
		}
	}
	return a.Evidence(), nil
}

// authors returns everybody who wrote the draft, the declared author first.
func (s *Service) authors(d *Definition, r nextbest.Record) []string {
	var out []string
	add := func(a string) {
		if a != "" && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	add(d.Author)
	for n := uint64(1); n <= r.Version; n++ {
		v, ok := s.Definitions.Version(nextbest.KindExperiment, r.ID, n)
		if !ok || v.Deleted {
			continue
		}
		if old, err := parseRecord(v); err == nil && old.State == Draft && v.Actor != Watcher {
			add(v.Actor)
		}
	}
	return out
}
