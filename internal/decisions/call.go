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

// answer forms the answer from the record; the two never differ.
func answer(d *nextbest.Decision, durable, repeated bool) Answer {
	a := Answer{
		DecisionID: d.ID, Slot: d.Slot, Action: d.Action, Treatment: d.Treatment, Channel: d.Channel,
		Propensity: d.Propensity, Excluded: d.Excluded, Policy: d.Policy, Model: d.Model,
		Placement: d.Placement, Time: d.Time, Durable: durable, Repeated: repeated,
	}
	a.Probabilities = make([]Probability, len(d.Eligible))
	for i, name := range d.Eligible {
		a.Probabilities[i] = Probability{name, d.Probabilities[i]}
	}
	if a.Excluded == nil {
		a.Excluded = []nextbest.Exclusion{}
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
