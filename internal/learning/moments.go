package learning

import (
	"context"
	"encoding/json"
	"time"

	"nextbest"
	"nextbest/bandit"
)

// Moments fills the means and standard deviations that a feature schema leaves
// out with those of the decisions logged at a placement (id, or id@version) with
// from ≤ time < to, zero times being open. Rewards do not matter, so decisions
// count from the moment they are logged; rows set aside do not count. The
// document that is returned carries the numbers and says where they come from,
// so that they never change.
func (t *Trainer) Moments(ctx context.Context, definition []byte, placement string, from, to time.Time) ([]byte, error) {
	m, err := bandit.NewMoments(definition)
	if err != nil {
		return nil, err
	}
	p, err := t.placement(placementID(placement))
	if err != nil {
		return nil, err
	}
	objective, err := t.objective(p.Objective.String())
	if err != nil {
		return nil, err
	}
	now := t.now()
	if to.IsZero() || to.After(now) {
		to = now
	}
	source := bandit.Source{Placement: placement, From: from.UTC(), To: to.UTC(), Upto: t.opts.Position.Position()}
	if source.Upto == 0 {
		return nil, nextbest.Errorf(nextbest.Conflict, "nothing has been logged yet, so there are no moments to take")
	}
	q := nextbest.Query{Placement: placement, From: source.From, To: source.To, MatureAt: now.Add(objective.Window.Std()), // a decision of this moment is in
		Upto: source.Upto, Objective: objective, SkipSetAside: true, Contexts: true}
	rows := 0
	err = t.opts.Log.Rows(ctx, q, func(b *nextbest.Batch) error {
		for i := range b.N() {
			var logged struct {
				Context map[string]any `json:"context"`
			}
			if err := json.Unmarshal(b.Contexts[i], &logged); err != nil {
				return nextbest.Errorf(nextbest.Internal, "decision %s: its context is not JSON: %w", b.Decision[i], err)
			}
			m.Add(logged.Context, time.UnixMicro(b.Time[i]))
			rows++
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	if rows == 0 {
		return nil, nextbest.Errorf(nextbest.Conflict, "placement %s has no decision in this range to take moments from", placement)
	}
	return m.Definition(source)
}
