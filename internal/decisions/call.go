package decisions

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/google/uuid"

	"nextbest"
)

// Call asks for one decision.
type Call struct {
	Placement string
	Customer  Customer
	Context   map[string]any // features of the moment, as encoding/json decodes them
	// Scores are predicted responses by action, of a model that lives elsewhere,
	// for policies that are external. They are logged, those of actions that are
	// not eligible included.
	Scores map[string]float64
	// Key makes the call idempotent: the same key with the same call gets the
	// first answer again. "" means no key.
	Key string
	// Relaxed asks for the answer before the record is durable ("durable":
	// false): faster, and lost with the process.
	Relaxed bool
}

// Customer is whom the decision is about.
type Customer struct {
	Type string // of the identifier; "" is DefaultType
	ID   string // never logged
	// Attributes is everything else that is known: consent, segments. Fields
	// that identify (id, type) are dropped.
	Attributes map[string]any
}

// Answer is what a call gets.
type Answer struct {
	DecisionID    uuid.UUID            `json:"decision_id"`
	Slot          uint8                `json:"slot"`
	Action        string               `json:"action"`
	Treatment     string               `json:"treatment,omitempty"`
	Channel       string               `json:"channel,omitempty"`
	Propensity    float64              `json:"propensity"`
	Probabilities []Probability        `json:"probabilities"`
	Excluded      []nextbest.Exclusion `json:"excluded"`
	Experiment    *Assigned            `json:"experiment,omitempty"`
	Policy        string               `json:"policy,omitempty"`
	Model         uint64               `json:"model,omitempty"`
	Placement     string               `json:"placement"`
	Time          time.Time            `json:"time"`
	// Durable says that the record was on disk before the answer left.
	Durable bool `json:"durable"`
	// Repeated says that the call's key had been answered before.
	Repeated bool `json:"repeated,omitempty"`
	// Slots are all decided slots, the first included, where the placement has
	// several; the fields above are those of the first. Do-nothing ends them.
	Slots []SlotAnswer `json:"slots,omitempty" doc:"every decided slot, where the placement has several; ends at do-nothing"`
}

// SlotAnswer is what one slot gets, given those before it.
type SlotAnswer struct {
	Slot          uint8                `json:"slot"`
	Action        string               `json:"action"`
	Treatment     string               `json:"treatment,omitempty"`
	Channel       string               `json:"channel,omitempty"`
	Propensity    float64              `json:"propensity" doc:"given the slots before"`
	Probabilities []Probability        `json:"probabilities" doc:"over the actions that were left"`
	Excluded      []nextbest.Exclusion `json:"excluded"`
}

// Probability is one eligible action's probability under the serving policy.
type Probability struct {
	Action      string  `json:"action"`
	Probability float64 `json:"probability"`
}

// Assigned is the experiment's arm, or the holdout, that the customer is in.
type Assigned struct {
	ID          string  `json:"id,omitempty"` // id@version; "" for the holdout
	Arm         string  `json:"arm"`
	Probability float64 `json:"probability"` // share of customers in this arm
}

// answer forms the answer from the records of the slots; they never differ.
func answer(rows []nextbest.Decision, several, durable, repeated bool) Answer {
	d := &rows[0]
	first := slotAnswer(d)
	a := Answer{
		DecisionID: d.ID, Slot: first.Slot, Action: first.Action, Treatment: first.Treatment, Channel: first.Channel,
		Propensity: first.Propensity, Probabilities: first.Probabilities, Excluded: first.Excluded, Policy: d.Policy, Model: d.Model,
		Placement: d.Placement, Time: d.Time, Durable: durable, Repeated: repeated,
	}
	if several || len(rows) > 1 {
		a.Slots = append(make([]SlotAnswer, 0, len(rows)), first)
		for i := range rows[1:] {
			a.Slots = append(a.Slots, slotAnswer(&rows[1+i]))
		}
	}
	if d.Arm != "" {
		a.Experiment = &Assigned{ID: d.Experiment, Arm: d.Arm}
		for _, k := range d.Arms {
			if k.Arm == d.Arm {
				a.Experiment.Probability = k.Share
			}
		}
	}
	return a
}

func slotAnswer(d *nextbest.Decision) SlotAnswer {
	s := SlotAnswer{Slot: d.Slot, Action: d.Action, Treatment: d.Treatment, Channel: d.Channel, Propensity: d.Propensity, Excluded: d.Excluded}
	s.Probabilities = make([]Probability, len(d.Eligible))
	for i, name := range d.Eligible {
		s.Probabilities[i] = Probability{name, d.Probabilities[i]}
	}
	if s.Excluded == nil {
		s.Excluded = []nextbest.Exclusion{}
	}
	return s
}

// bodyHash identifies a call for idempotency without its identifiers.
func bodyHash(call *Call, customer string, context []byte) string {
	h := sha256.New()
	for _, part := range []string{call.Placement, customer, string(context)} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	if call.Relaxed {
		h.Write([]byte{1})
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func checkKey(key string) error {
	if len(key) > 256 {
		return nextbest.FieldErrorf("Idempotency-Key", "has %d bytes; at most 256 are allowed", len(key))
	}
	return nil
}
