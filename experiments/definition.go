package experiments

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"nextbest"
	"nextbest/estimators"
)

// State is where an experiment stands.
type State string

// The states. Draft may start; running may grow its ramp and end in one of
// the last three, which are final.
const (
	Draft      State = "draft"
	Running    State = "running"
	Promoted   State = "promoted"
	Stopped    State = "stopped"
	RolledBack State = "rolled_back"
)

// Metric kinds.
const (
	Conversion = "conversion" // whether a customer had the reward at all within the window
	Value      = "value"      // the sum of the reward's values within the window, capped
)

// HoldoutArm is the arm of customers in the universal holdout; no experiment
// may name an arm so.
const HoldoutArm = "holdout"

// Definition is the document of kind experiments.
type Definition struct {
	ID         string      `json:"id,omitempty"`
	Placement  string      `json:"placement"` // id, without a version
	Arms       []Arm       `json:"arms"`
	Primary    Metric      `json:"primary"`
	Guardrails []Guardrail `json:"guardrails,omitempty"`
	// Alpha is the level of the live test and of each guardrail's
	// non-inferiority; RollbackAlpha bounds the probability that a harmless
	// experiment is ever rolled back, over all guardrails and candidates.
	Alpha         float64 `json:"alpha"`
	RollbackAlpha float64 `json:"rollback_alpha"`
	// Window runs from a customer's first decision; it is the objective's.
	Window          nextbest.Duration `json:"window"`
	MinimumDuration nextbest.Duration `json:"minimum_duration"`
	// PlannedCustomers is how many customers of a pair of arms the asymptotic
	// confidence sequences are tightest for; any number keeps them valid.
	PlannedCustomers int     `json:"planned_customers"`
	Ramp             float64 `json:"ramp"` // share of the placement's customers enrolled
	SetAside         bool    `json:"set_aside,omitempty"`
	Salt             string  `json:"salt"`
	Evaluation       string  `json:"evaluation,omitempty"` // id of the offline evidence
	Author           string  `json:"author,omitempty"`

	State   State     `json:"state"`
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	Winner  string    `json:"winner,omitempty"`
	// Promotion is set from the moment a promotion was admitted; see
	// Service.Promote.
	Promotion *Promotion `json:"promotion,omitempty"`
}

// Arm is one policy and model with a share of the enrolled customers.
type Arm struct {
	ID       string       `json:"id"`
	Policy   nextbest.Ref `json:"policy"`
	Model    uint64       `json:"model"`
	Share    float64      `json:"share"`
	Control  bool         `json:"control,omitempty"`
	Learning string       `json:"learning"` // frozen or online
}

// Metric is what the live test compares.
type Metric struct {
	Reward string  `json:"reward"`
	Kind   string  `json:"kind"`
	Cap    float64 `json:"cap,omitempty"` // of one customer's value, registered in advance; kind value only
}

// Guardrail is a metric that a candidate must not harm.
type Guardrail struct {
	Reward string          `json:"reward"`
	Kind   string          `json:"kind"`
	Harm   estimators.Harm `json:"harm"`
	// Margin is the harm that would be tolerated: relative to the control's
	// rate for conversions (.1: ten percent), per customer in the reward's unit
	// for values.
	Margin float64 `json:"margin"`
	Cap    float64 `json:"cap,omitempty"` // kind value only: 0 ≤ Y ≤ cap
	// Window may be shorter than the experiment's, so that harm is seen sooner.
	Window nextbest.Duration `json:"window"`
}

// Parse decodes an experiment strictly, fills in defaults and validates it.
// The error names every field that is wrong.
func Parse(document []byte) (*Definition, error) {
	d := &Definition{Alpha: .05, RollbackAlpha: .05, PlannedCustomers: 10000, Ramp: 1, State: Draft,
		MinimumDuration: nextbest.Duration(14 * 24 * time.Hour)}
	if err := decodeStrict(document, d, "experiment"); err != nil {
		return nil, err
	}
	for i := range d.Arms {
		if d.Arms[i].Learning == "" {
			d.Arms[i].Learning = "frozen"
		}
	}
	if d.Primary.Kind == "" {
		d.Primary.Kind = Conversion
	}
	for i := range d.Guardrails {
		g := &d.Guardrails[i]
		if g.Kind == "" {
			g.Kind = Conversion
		}
		if g.Window == 0 {
			g.Window = d.Window
		}
	}
	return d, d.Validate()
}

// decodeStrict decodes one JSON value and refuses unknown fields and anything
// after the value.
func decodeStrict(document []byte, v any, what string) error {
	dec := json.NewDecoder(bytes.NewReader(document))
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	if err == nil {
		if _, more := dec.Token(); more != io.EOF {
			return nextbest.Errorf(nextbest.Invalid, "the %s must be one JSON object with nothing after it", what)
		}
		return nil
	}
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong) && wrong.Field != "":
		return nextbest.FieldErrorf(wrong.Field, "is a JSON %s, want %s", wrong.Value, wrong.Type)
	case strings.Contains(err.Error(), "unknown field"):
		_, field, _ := strings.Cut(err.Error(), "unknown field ")
		return nextbest.FieldErrorf(strings.Trim(field, `"`), "is not a field of the %s", what)
	case nextbest.CodeOf(err) != nextbest.Internal:
		return err
	}
	return nextbest.Errorf(nextbest.Invalid, "the %s is not valid JSON: %w", what, err)
}

// Validate checks everything that needs nothing but the definition.
func (d *Definition) Validate() error {
	var p nextbest.Problems
	if !nextbest.ValidID(d.Placement) {
		p.Add("placement", "%q must be a placement's id, without a version", d.Placement)
	}
	d.validateArms(&p)
	d.validateMetrics(&p)
	fraction := func(field string, v float64) {
		if !(v > 0 && v <= .2) {
			p.Add(field, "%v must be above 0 and at most 0.2", v)
		}
	}
	fraction("alpha", d.Alpha)
	fraction("rollback_alpha", d.RollbackAlpha)
	if d.Window <= 0 {
		p.Add("window", "must be a positive span, the objective's, such as 14d")
	}
	if d.MinimumDuration <= 0 {
		p.Add("minimum_duration", "must be a positive span, such as 14d: two full weeks")
	}
	if d.PlannedCustomers < 1 {
		p.Add("planned_customers", "%d must be at least 1", d.PlannedCustomers)
	}
	if !(d.Ramp >= 0 && d.Ramp <= 1) {
		p.Add("ramp", "%v must be a share between 0 and 1", d.Ramp)
	}
	if d.Salt == "" || len(d.Salt) > 64 {
		p.Add("salt", "must be 1 to 64 bytes, different for every experiment, or two would enrol the same customers")
	}
	switch d.State {
	case Draft, Running, Promoted, Stopped, RolledBack:
	default:
		p.Add("state", "%q must be draft, running, promoted, stopped or rolled_back", d.State)
	}
	return p.Err("the experiment")
}

func (d *Definition) validateArms(p *nextbest.Problems) {
	var sum float64
	controls := 0
	seen := map[string]bool{}
	for i, a := range d.Arms {
		at := fmt.Sprintf("arms[%d].", i)
		switch {
		case !nextbest.ValidID(a.ID):
			p.Add(at+"id", "%q must be lower-case letters, digits, hyphens and underscores", a.ID)
		case a.ID == HoldoutArm:
			p.Add(at+"id", "%q is the universal holdout's name", a.ID)
		case seen[a.ID]:
			p.Add(at+"id", "%q occurs twice", a.ID)
		}
		seen[a.ID] = true
		if a.Policy.Version == 0 {
			p.Add(at+"policy", "%q must name a version, such as rules@1", a.Policy)
		}
		if !(a.Share > 0 && a.Share < 1) {
			p.Add(at+"share", "%v must be above 0 and below 1", a.Share)
		}
		if a.Learning != "frozen" && a.Learning != "online" {
			p.Add(at+"learning", "%q must be frozen or online", a.Learning)
		}
		sum += a.Share
		if a.Control {
			controls++
		}
	}
	if len(d.Arms) < 2 {
		p.Add("arms", "%d given: an experiment needs a control and at least one candidate", len(d.Arms))
	} else if math.Abs(sum-1) > 1e-9 {
		p.Add("arms", "shares sum to %v, they must sum to 1", sum)
	}
	if controls != 1 {
		p.Add("arms", "%d arms are the control, exactly one must be", controls)
	}
}

func (d *Definition) validateMetrics(p *nextbest.Problems) {
	kind := func(at, reward, kind string, cap float64) {
		if reward == "" {
			p.Add(at+"reward", "must name a reward kind")
		}
		switch kind {
		case Conversion:
			if cap != 0 {
				p.Add(at+"cap", "only values have a cap, a conversion counts once")
			}
		case Value:
			if !(cap > 0) || math.IsInf(cap, 1) {
				p.Add(at+"cap", "%v must be positive: the most that one customer may count for, registered in advance", cap)
			}
		default:
			p.Add(at+"kind", "%q must be conversion or value", kind)
		}
	}
	kind("primary.", d.Primary.Reward, d.Primary.Kind, d.Primary.Cap)
	for i, g := range d.Guardrails {
		at := fmt.Sprintf("guardrails[%d].", i)
		kind(at, g.Reward, g.Kind, g.Cap)
		if g.Harm != estimators.HarmIncrease && g.Harm != estimators.HarmDecrease {
			p.Add(at+"harm", "%q must be increase (more is worse) or decrease (less is worse)", g.Harm)
		}
		switch limit := 1.0; {
		case !(g.Margin > 0):
			p.Add(at+"margin", "%v must be positive: without a margin nothing can be shown to be as good", g.Margin)
		case g.Kind == Value && g.Margin >= g.Cap:
			p.Add(at+"margin", "%v must be below the cap of %v", g.Margin, g.Cap)
		case g.Kind == Conversion && g.Harm == estimators.HarmDecrease && g.Margin >= limit:
			p.Add(at+"margin", "%v must be below 1: it is relative to the control's rate", g.Margin)
		case g.Kind == Conversion && g.Margin > 100:
			p.Add(at+"margin", "%v is relative to the control's rate and must be at most 100", g.Margin)
		}
		if g.Window <= 0 || g.Window > d.Window {
			p.Add(at+"window", "%v must be positive and at most the experiment's %v", g.Window, d.Window)
		}
	}
}

// CheckObjective checks the definition against its placement's objective.
func (d *Definition) CheckObjective(o *nextbest.Objective) error {
	var p nextbest.Problems
	if d.Window != o.Window {
		p.Add("window", "%v differs from the objective's %v: offline and live would measure different things", d.Window, o.Window)
	}
	return p.Err("the experiment")
}

// Document returns the definition as it is stored.
func (d *Definition) Document() []byte {
	b, err := json.Marshal(d)
	if err != nil {
		panic("experiments: " + err.Error()) // every field is plain data
	}
	return b
}

// Control returns the index of the control arm.
func (d *Definition) Control() int {
	for i, a := range d.Arms {
		if a.Control {
			return i
		}
	}
	return -1
}

// Arm returns the index of the arm with the given id, -1 when there is none.
func (d *Definition) Arm(id string) int {
	for i, a := range d.Arms {
		if a.ID == id {
			return i
		}
	}
	return -1
}
