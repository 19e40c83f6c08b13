package experiments

import (
	"context"
	"errors"
	"fmt"
	"time"

	"nextbest"
)

// Watcher is the actor of what Watch does by itself.
const Watcher = "guardrails"

// Watch looks at the running experiments now and at every interval until ctx
// ends, and logs what goes wrong; it returns nil. Several replicas may watch.
func (s *Service) Watch(ctx context.Context) error {
	ticker := time.NewTicker(s.Interval)
	defer ticker.Stop()
	for {
		if err := s.Check(ctx); err != nil && ctx.Err() == nil {
			s.Logger.Error("watching experiments", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Check looks once at every running experiment: it finishes a promotion that a
// crash left half-done, puts back an experiment that started at an occupied
// placement, and rolls back one whose candidate harms a watched metric.
func (s *Service) Check(ctx context.Context) error {
	var failed []error
	for _, r := range s.Definitions.List(nextbest.KindExperiment) {
		if r.Deleted {
			continue
		}
		d, err := parseRecord(r)
		if err == nil && d.State == Running {
			err = s.check(ctx, d)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("experiment %s: %w", r.ID, err))
		}
	}
	return errors.Join(failed...)
}

func (s *Service) check(ctx context.Context, d *Definition) error {
	if d.Promotion != nil {
		_, err := s.finish(ctx, d.ID)
		return err
	}
	if first := s.firstRunning(d.Placement); first != d.ID && first != "" {
		_, err := s.withdraw(ctx, d.ID, first)
		return err
	}
	evidence, err := s.Evidence(ctx, d)
	if err != nil {
		return err
	}
	arm, g := evidence.Harmed()
	if g == nil {
		return nil
	}
	reason := fmt.Sprintf("arm %s harms %s: %.4g against %.4g under control, margin %.3g, evidence %.4g of %.4g",
		arm, g.Reward, g.Candidate, g.Control, g.Margin, g.Rollback.Largest, g.Rollback.Needs)
	_, err = s.change(ctx, d.ID, Watcher, reason, func(d Definition) (Definition, error) { return d.RollBack(s.Clock()) })
	if nextbest.CodeOf(err) == nextbest.Conflict {
		return nil // ended or being promoted by somebody else meanwhile
	}
	if err == nil {
		s.Logger.Warn("experiment rolled back", "experiment", d.ID, "reason", reason)
	}
	return err
}

// Status is an experiment as the console and the API show it.
type Status struct {
	ID         string      `json:"id"`
	State      State       `json:"state"`
	Version    uint64      `json:"version"`
	Placement  string      `json:"placement"`
	Ramp       float64     `json:"ramp"`
	Started    time.Time   `json:"started,omitzero"`
	Ended      time.Time   `json:"ended,omitzero"`
	Winner     string      `json:"winner,omitempty"`
	Serving    bool        `json:"serving"` // the placement serves the winner now
	Evaluation string      `json:"evaluation,omitempty"`
	Reason     string      `json:"reason,omitempty"` // of the last change, with its actor
	Actor      string      `json:"actor,omitempty"`
	Evidence   *Evidence   `json:"evidence"`
	Definition *Definition `json:"definition"`
}

// Status reads the log and returns where an experiment stands, with what the
// evaluation promised beside what is seen.
func (s *Service) Status(ctx context.Context, id string) (*Status, error) {
	d, r, err := s.Get(id)
	if err != nil {
		return nil, err
	}
	e, err := s.Evidence(ctx, d)
	if err != nil {
		return nil, err
	}
	st := &Status{
		ID: id, State: d.State, Version: r.Version, Placement: d.Placement, Ramp: d.Ramp, Started: d.Started, Ended: d.Ended,
		Winner: d.Winner, Evaluation: d.Evaluation, Reason: r.Reason, Actor: r.Actor, Evidence: e, Definition: d,
	}
	if d.State == Promoted && d.Promotion != nil {
		_, serving, _, err := s.placement(d.Placement)
		st.Serving = err == nil && serving.same(d.Promotion.pointer())
	}
	if d.Evaluation == "" {
		return st, nil
	}
	for i, a := range d.Arms {
		model := a.Model
		if d.Promotion != nil && d.Promotion.Arm == a.ID {
			model = d.Promotion.Model
		}
		o, err := s.Evaluations.Evidence(ctx, d.Evaluation, a.Policy, model)
		if nextbest.CodeOf(err) == nextbest.NotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		e.Arms[i].Promised = interval(o.Value, o.Low, o.High)
	}
	return st, nil
}
