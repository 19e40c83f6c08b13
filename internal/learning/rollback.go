package learning

import (
	"context"
	"encoding/json"

	"nextbest"
)

// Rollback makes an earlier model of a policy version current and pauses its live
// learning: a model is a function of the log, so a trainer that went on would
// soon publish what was just taken back. Resume ends the pause. The pointer
// moves by compare-and-set: of ifMatch, or of what is current now where that is
// 0. Errors: NotFound; Conflict where the policy version has no current model, or
// that one is current and paused already; Stale.
func (t *Trainer) Rollback(ctx context.Context, policy nextbest.Ref, model, ifMatch uint64, actor, reason string) (nextbest.Record, error) {
	// What decisions are to be made by is read and checked before it is pointed to.
	if _, _, err := t.parameters(ctx, policy, model); err != nil {
		return nextbest.Record{}, err
	}
	return t.move(ctx, policy, Current{Model: model, Paused: true}, ifMatch, actor, reason)
}

// Resume lets a policy version learn live again, from where the log is: the next
// pass publishes what was learned in the meantime.
func (t *Trainer) Resume(ctx context.Context, policy nextbest.Ref, ifMatch uint64, actor, reason string) (nextbest.Record, error) {
	rec, ok := t.opts.Definitions.Get(nextbest.KindCurrent, ID(policy))
	if !ok {
		return nextbest.Record{}, noCurrent(policy)
	}
	c, err := parseCurrent(rec)
	if err != nil {
		return nextbest.Record{}, err
	}
	return t.move(ctx, policy, Current{Model: c.Model}, ifMatch, actor, reason)
}

// move writes the current pointer for somebody.
func (t *Trainer) move(ctx context.Context, policy nextbest.Ref, to Current, ifMatch uint64, actor, reason string) (nextbest.Record, error) {
	rec, ok := t.opts.Definitions.Get(nextbest.KindCurrent, ID(policy))
	if !ok {
		return nextbest.Record{}, noCurrent(policy)
	}
	now, err := parseCurrent(rec)
	if err != nil {
		return nextbest.Record{}, err
	}
	if now == to {
		return nextbest.Record{}, nextbest.Errorf(nextbest.Conflict, "model %d of policy %s is current already, and %s", to.Model, policy, map[bool]string{true: "learning is paused", false: "learning is not paused"}[to.Paused])
	}
	if ifMatch == 0 {
		ifMatch = rec.Revision
	}
	document, err := json.Marshal(to)
	if err != nil {
		return nextbest.Record{}, err
	}
	return t.opts.Writer.Put(ctx, nextbest.Change{Kind: nextbest.KindCurrent, ID: ID(policy), Document: document, Actor: actor, Reason: reason, IfMatch: ifMatch})
}

func noCurrent(policy nextbest.Ref) error {
	return nextbest.Errorf(nextbest.Conflict, "policy %s has no current model: it does not learn online anywhere yet; placements and experiments that name a model are rolled back by themselves", policy)
}
