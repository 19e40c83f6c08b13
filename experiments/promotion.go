package experiments

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"nextbest"
)

// PromoteRequest names what is to be promoted, and by whom.
type PromoteRequest struct {
	Experiment string
	Arm        string
	// Model must be given for an arm that learns online: promotion names exactly
	// what was evaluated. 0 means the arm's model for a frozen arm.
	Model uint64
	// Evaluation overrides the experiment's, for evidence that came later.
	Evaluation string
	Actor      string
	Reason     string
}

// Gates judges a promotion without carrying it out.
func (s *Service) Gates(ctx context.Context, q PromoteRequest) ([]Gate, error) {
	d, r, err := s.Get(q.Experiment)
	if err != nil {
		return nil, err
	}
	return s.gates(ctx, d, r, &q)
}

func (s *Service) gates(ctx context.Context, d *Definition, r nextbest.Record, q *PromoteRequest) ([]Gate, error) {
	k := d.Arm(q.Arm)
	if k < 0 || d.Arms[k].Control {
		return nil, nextbest.FieldErrorf("arm", "%q is not a candidate arm of experiment %s", q.Arm, d.ID)
	}
	arm := d.Arms[k]
	switch {
	case q.Model == 0 && arm.Learning == "online":
		return nil, nextbest.FieldErrorf("model", "arm %s learns online: name the model that was evaluated", arm.ID)
	case q.Model == 0:
		q.Model = arm.Model
	case q.Model != arm.Model && arm.Learning != "online":
		return nil, nextbest.FieldErrorf("model", "arm %s is frozen at model %d, which is what was tested; %d was not", arm.ID, arm.Model, q.Model)
	}
	if q.Model > 0 && !s.hasModel(arm.Policy, q.Model) {
		return nil, nextbest.FieldErrorf("model", "policy %s has no model %d", arm.Policy, q.Model)
	}
	evidence, err := s.Evidence(ctx, d)
	if err != nil {
		return nil, err
	}
	now, serving, objective, err := s.placement(d.Placement)
	if err != nil {
		return nil, err
	}
	c := Case{Serving: serving.Policy.String(), Definition: d, Evidence: evidence, Objective: objective, Arm: q.Arm, Model: q.Model, Now: s.Clock(), Authors: s.authors(d, r), Approver: q.Actor}
	if control := d.Arms[d.Control()]; d.State == Running && !serving.same(pointer{control.Policy, control.Model, control.Learning}) {
		c.Replaced = fmt.Sprintf("%s model %d", serving.Policy, serving.Model)
	}
	if serving.Model != 0 {
		c.Since = s.since(now, serving)
	}
	if q.Evaluation == "" {
		q.Evaluation = d.Evaluation
	}
	if q.Evaluation == "" {
		c.Missing = "no evaluation is named"
		return Gates(c), nil
	}
	c.Offline, err = s.Evaluations.Evidence(ctx, q.Evaluation, arm.Policy, q.Model)
	if nextbest.CodeOf(err) == nextbest.NotFound {
		c.Missing, err = err.Error(), nil
	}
	return Gates(c), err
}

// since returns when a placement began to serve what it serves now.
func (s *Service) since(now nextbest.Record, serving pointer) time.Time {
	at := now.Time
	for n := now.Version; n > 1; n-- {
		v, ok := s.Definitions.Version(nextbest.KindPlacement, now.ID, n-1)
		if !ok || v.Deleted {
			break
		}
		if p, err := pointerOf(v); err != nil || !p.same(serving) {
			break
		}
		at = v.Time
	}
	return at
}

// Promote makes a candidate the placement's policy if every gate is passed; a
// RefusedError carries the gates otherwise.
//
// Three records are written, each by compare-and-set. The first adds the
// intention to the running experiment: of two promotions at once one loses
// here. The second is the placement's next version, which is the promotion.
// The third ends the experiment. After a crash between two of them, finish
// carries on from what the records say, from any replica and any number of
// times, since the second write can only ever happen against the placement's
// revision in the intention.
func (s *Service) Promote(ctx context.Context, q PromoteRequest) (placement nextbest.Record, err error) {
	if _, err := s.finish(ctx, q.Experiment); err != nil {
		return placement, err
	}
	d, r, err := s.Get(q.Experiment)
	if err != nil {
		return placement, err
	}
	if d.State != Running {
		return placement, d.conflict("promoted")
	}
	before, _, _, err := s.placement(d.Placement)
	if err != nil {
		return placement, err
	}
	gates, err := s.gates(ctx, d, r, &q)
	if err != nil {
		return placement, err
	}
	if !Passed(gates) {
		return placement, refuse(d, gates)
	}
	next, err := d.Intend(Promotion{
		Arm: q.Arm, Policy: d.Arms[d.Arm(q.Arm)].Policy, Model: q.Model, Learning: "frozen",
		PlacementVersion: before.Version, PlacementRevision: before.Revision,
		Evaluation: q.Evaluation, Actor: q.Actor, Reason: q.Reason, Time: s.Clock().UTC(),
	})
	if err != nil {
		return placement, err
	}
	_, err = s.Changes.Put(ctx, nextbest.Change{Kind: nextbest.KindExperiment, ID: d.ID, Document: next.Document(), Actor: q.Actor, Reason: q.Reason, IfMatch: r.Revision})
	if lost(err) {
		return placement, nextbest.Errorf(nextbest.Conflict, "experiment %s changed while its gates were judged: look at it again", d.ID)
	}
	if err != nil {
		return placement, err
	}
	if placement, err = s.finish(ctx, d.ID); err != nil || placement.Version > 0 {
		return placement, err
	}
	// Another replica finished it first: the records say how.
	if d, _, err = s.Get(d.ID); err != nil {
		return placement, err
	}
	placement, ok := s.Definitions.Version(nextbest.KindPlacement, d.Placement, before.Version+1)
	if !ok || d.State != Promoted || d.Promotion.PlacementRevision != before.Revision {
		return placement, nextbest.Errorf(nextbest.Conflict, "experiment %s was not promoted: placement %s was changed meanwhile", d.ID, d.Placement)
	}
	return placement, nil
}

// finish carries a recorded intention to promote to its end, and returns the
// placement's promoting record. Without an intention it does nothing. The error
// has code Conflict when the placement was changed by somebody else meanwhile;
// the intention is then gone and the experiment goes on.
func (s *Service) finish(ctx context.Context, id string) (flip nextbest.Record, err error) {
	for try := 0; ; try++ {
		d, r, err := s.Get(id)
		if err != nil || d.State != Running || d.Promotion == nil {
			return flip, err
		}
		var failed error // why the intention cannot be carried out any more
		flip, err = s.carryOut(ctx, d)
		switch {
		case refused(err):
			failed = err
		case err != nil && !lost(err):
			return flip, err // the outcome is open: Watch or the next call carries on
		case err == nil:
			failed = d.Promotion.refutedBy(flip)
		}
		if !lost(err) {
			err = s.settle(ctx, d, r, flip, failed)
			if err == nil && failed != nil {
				return flip, nextbest.Errorf(nextbest.Conflict, "experiment %s was not promoted: %w; it is still running", d.ID, failed)
			}
		}
		if !lost(err) || try == maxTries {
			return flip, err
		}
		flip = nextbest.Record{} // what it means is for the records to say
		if err := pause(ctx, try); err != nil {
			return flip, err
		}
	}
}

// carryOut returns the placement's version after the one in the intention,
// writing it if there is none yet.
func (s *Service) carryOut(ctx context.Context, d *Definition) (nextbest.Record, error) {
	p := d.Promotion
	if r, done := s.Definitions.Version(nextbest.KindPlacement, d.Placement, p.PlacementVersion+1); done {
		return r, nil
	}
	return s.flip(ctx, d.Placement, p.PlacementVersion, p.PlacementRevision, p.pointer(), p.Actor, d.promotionReason())
}

func (p *Promotion) pointer() pointer { return pointer{p.Policy, p.Model, p.Learning} }

// refutedBy returns nil if the record carries the intention out.
func (p *Promotion) refutedBy(r nextbest.Record) error {
	got, err := pointerOf(r)
	if err == nil && (r.Deleted || !got.same(p.pointer())) {
		err = nextbest.Errorf(nextbest.Conflict, "placement %s was changed by %s meanwhile", r.Ref(), r.Actor)
	}
	return err
}

func (d *Definition) promotionReason() string {
	return fmt.Sprintf("promotion of arm %s of experiment %s: %s", d.Promotion.Arm, d.ID, d.Promotion.Reason)
}

// settle writes what became of an intention: the end of the experiment, or the
// experiment without it.
func (s *Service) settle(ctx context.Context, d *Definition, r, flip nextbest.Record, failed error) error {
	c := nextbest.Change{Kind: nextbest.KindExperiment, ID: d.ID, Actor: d.Promotion.Actor, Reason: d.promotionReason(), IfMatch: r.Revision}
	if failed != nil {
		next := d.Abandon()
		c.Document, c.Reason = next.Document(), "not promoted: "+failed.Error()
	} else {
		at := flip.Time
		if at.IsZero() {
			at = s.Clock()
		}
		next, err := d.Promote(at)
		if err != nil {
			return err
		}
		c.Document = next.Document()
	}
	_, err := s.Changes.Put(ctx, c)
	return err
}

// flip points a placement to another policy and model, if it is still at the
// given revision; nothing else of the document changes.
func (s *Service) flip(ctx context.Context, id string, version, revision uint64, to pointer, actor, reason string) (nextbest.Record, error) {
	r, ok := s.Definitions.Version(nextbest.KindPlacement, id, version)
	if !ok {
		return r, nextbest.Errorf(nextbest.Invalid, "placement %s has no version %d", id, version)
	}
	document := map[string]json.RawMessage{}
	if err := json.Unmarshal(r.Document, &document); err != nil {
		return r, nextbest.Errorf(nextbest.Internal, "placement %s: %w", r.Ref(), err)
	}
	if to.Learning == "" {
		to.Learning = "frozen"
	}
	for field, v := range map[string]any{"policy": to.Policy, "model": to.Model, "learning": to.Learning} {
		b, err := json.Marshal(v)
		if err != nil {
			return r, nextbest.Errorf(nextbest.Internal, "placement %s: %w", r.Ref(), err)
		}
		document[field] = b
	}
	b, err := json.Marshal(document)
	if err != nil {
		return r, nextbest.Errorf(nextbest.Internal, "placement %s: %w", r.Ref(), err)
	}
	return s.Changes.Put(ctx, nextbest.Change{Kind: nextbest.KindPlacement, ID: id, Document: b, Actor: actor, Reason: reason, IfMatch: revision})
}

// RollbackResult says what a rollback undid.
type RollbackResult struct {
	Placement  string       `json:"placement"`
	Experiment string       `json:"experiment,omitempty"` // the running experiment that was ended
	Policy     nextbest.Ref `json:"policy"`               // what everybody gets now
	Model      uint64       `json:"model"`
	Version    uint64       `json:"version"` // of the placement
}

// Rollback undoes the last step at a placement. While an experiment runs, that
// is its start: it ends as rolled back and everybody gets the placement's
// policy. Otherwise the placement goes back to the policy and model before the
// present ones; rolling back again goes further back, never forth.
func (s *Service) Rollback(ctx context.Context, placement, actor, reason string) (*RollbackResult, error) {
	ended := ""
	for _, d := range s.running(placement, "") {
		if _, err := s.finish(ctx, d.ID); err != nil && nextbest.CodeOf(err) != nextbest.Conflict {
			return nil, err
		}
		_, err := s.change(ctx, d.ID, actor, reason, func(d Definition) (Definition, error) { return d.RollBack(s.Clock()) })
		if err == nil {
			ended = d.ID
		} else if now, _, _ := s.Get(d.ID); now == nil || now.State == Running {
			return nil, err
		}
	}
	r, serving, _, err := s.placement(placement)
	if err != nil {
		return nil, err
	}
	if ended == "" {
		to, ok := s.before(r)
		if !ok {
			return nil, nextbest.Errorf(nextbest.Conflict, "placement %s serves %s model %d and nothing came before it: set another policy instead", placement, serving.Policy, serving.Model)
		}
		put, err := s.flip(ctx, placement, r.Version, r.Revision, to, actor, "rollback: "+reason)
		if lost(err) {
			return nil, nextbest.Errorf(nextbest.Conflict, "placement %s was changed meanwhile: look at it again", placement)
		}
		if err != nil {
			return nil, err
		}
		r, serving = put, to
	}
	return &RollbackResult{Placement: placement, Experiment: ended, Policy: serving.Policy, Model: serving.Model, Version: r.Version}, nil
}

// before returns what a placement served before its present pointer. Going
// back to the one below takes the top off the stack, so that two rollbacks go
// two steps back instead of undoing each other.
func (s *Service) before(r nextbest.Record) (pointer, bool) {
	var stack []pointer
	for n := uint64(1); n <= r.Version; n++ {
		v, ok := s.Definitions.Version(nextbest.KindPlacement, r.ID, n)
		if !ok || v.Deleted {
			continue
		}
		p, err := pointerOf(v)
		top := len(stack) - 1
		switch {
		case err != nil || top >= 0 && stack[top].same(p):
		case top >= 1 && stack[top-1].same(p):
			stack = stack[:top]
		default:
			stack = append(stack, p)
		}
	}
	if len(stack) < 2 {
		return pointer{}, false
	}
	return stack[len(stack)-2], true
}
