package experiments

import (
	"fmt"
	"strings"
	"time"

	"nextbest"
)

// Promotion is the intention to make an arm the placement's policy, recorded
// with the experiment before the placement is changed. The placement's next
// version after PlacementVersion either carries it out or shows that somebody
// else was first, so that whoever finds the intention can finish it.
type Promotion struct {
	Arm      string       `json:"arm"`
	Policy   nextbest.Ref `json:"policy"`
	Model    uint64       `json:"model"`
	Learning string       `json:"learning"`
	// The placement's record that the gates were looked at with.
	PlacementVersion  uint64    `json:"placement_version"`
	PlacementRevision uint64    `json:"placement_revision"`
	Evaluation        string    `json:"evaluation,omitempty"` // the offline evidence
	Actor             string    `json:"actor"`
	Reason            string    `json:"reason,omitempty"`
	Time              time.Time `json:"time"`
}

// possible says what may be done in each state, for errors.
var possible = map[State]string{
	Draft:      "it can be changed and started",
	Running:    "its ramp can grow, and it can be promoted, stopped or rolled back",
	Promoted:   "it has ended: what it promoted is undone by rolling the placement back, and a new test is a new experiment",
	Stopped:    "it has ended: a new test is a new experiment",
	RolledBack: "it has ended: a new test is a new experiment",
}

func (d *Definition) conflict(what string) error {
	return nextbest.Errorf(nextbest.Conflict, "experiment %s is %s and cannot be %s: %s", d.ID, strings.ReplaceAll(string(d.State), "_", " "), what, possible[d.State])
}

// Start returns the running experiment.
func (d Definition) Start(now time.Time) (Definition, error) {
	if d.State != Draft {
		return d, d.conflict("started")
	}
	d.State, d.Started = Running, now.UTC()
	return d, nil
}

// Grow returns the experiment with a larger ramp. A smaller one would send
// enrolled customers back to another policy in the middle of their window.
func (d Definition) Grow(ramp float64) (Definition, error) {
	if d.State != Running {
		return d, d.conflict("ramped")
	}
	if d.Promotion != nil {
		return d, d.promoting()
	}
	if !(ramp >= d.Ramp && ramp <= 1) {
		return d, nextbest.FieldErrorf("ramp", "%v must be between the present %v and 1: enrolled customers stay enrolled; stop the experiment to take it back", ramp, d.Ramp)
	}
	d.Ramp = ramp
	return d, nil
}

// Intend returns the running experiment with a recorded intention to promote.
func (d Definition) Intend(p Promotion) (Definition, error) {
	if d.State != Running {
		return d, d.conflict("promoted")
	}
	if d.Promotion != nil {
		return d, d.promoting()
	}
	k := d.Arm(p.Arm)
	switch {
	case k < 0:
		return d, nextbest.FieldErrorf("arm", "%q is not an arm of experiment %s", p.Arm, d.ID)
	case d.Arms[k].Control:
		return d, nextbest.FieldErrorf("arm", "%q is the control: stop the experiment to keep it", p.Arm)
	}
	d.Promotion = &p
	return d, nil
}

func (d *Definition) promoting() error {
	return nextbest.Errorf(nextbest.Conflict, "experiment %s is being promoted to arm %s by %s: read it again in a moment", d.ID, d.Promotion.Arm, d.Promotion.Actor)
}

// Abandon returns the experiment without its intention to promote.
func (d Definition) Abandon() Definition {
	d.Promotion = nil
	return d
}

// Promote returns the promoted experiment, once the placement was changed.
func (d Definition) Promote(at time.Time) (Definition, error) {
	if d.State != Running {
		return d, d.conflict("promoted")
	}
	if d.Promotion == nil {
		return d, nextbest.Errorf(nextbest.Internal, "experiment %s is promoted without a recorded intention", d.ID)
	}
	d.State, d.Ended, d.Winner = Promoted, at.UTC(), d.Promotion.Arm
	return d, nil
}

// Stop returns the stopped experiment: everybody gets the placement's policy.
func (d Definition) Stop(at time.Time) (Definition, error) { return d.end(Stopped, "stopped", at) }

// RollBack returns the experiment rolled back: as stopped, because of harm.
func (d Definition) RollBack(at time.Time) (Definition, error) {
	return d.end(RolledBack, "rolled back", at)
}

func (d Definition) end(s State, verb string, at time.Time) (Definition, error) {
	if d.State != Running {
		return d, d.conflict(verb)
	}
	if d.Promotion != nil {
		return d, d.promoting()
	}
	d.State, d.Ended = s, at.UTC()
	return d, nil
}

// CheckChange checks a new document against the one it would replace. Only a
// draft may be changed, only by its fields: state, times, winner and promotion
// change by actions.
func CheckChange(old *Definition, d *Definition) error {
	var p nextbest.Problems
	refuse := func(field string, is bool) {
		if is {
			p.Add(field, "is set by starting, promoting, stopping and rolling back, not by hand")
		}
	}
	if old != nil && old.State != Draft {
		return old.conflict("changed")
	}
	refuse("state", d.State != Draft)
	refuse("started", !d.Started.IsZero())
	refuse("ended", !d.Ended.IsZero())
	refuse("winner", d.Winner != "")
	refuse("promotion", d.Promotion != nil)
	if old != nil && d.Placement != old.Placement {
		p.Add("placement", "is %q and cannot become %q: make another experiment", old.Placement, d.Placement)
	}
	return p.Err(fmt.Sprintf("the experiment %s", d.ID))
}
