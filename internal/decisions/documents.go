package decisions

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"nextbest"
)

// Placement is where decisions are asked for: a place in a channel with its
// objective, the actions that may be taken there and the policy that serves it.
type Placement struct {
	Channels   []string     `json:"channels"` // in order of preference
	Objective  nextbest.Ref `json:"objective"`
	Actions    []string     `json:"actions"` // do-nothing is always among them
	Policy     nextbest.Ref `json:"policy"`  // with a version
	Model      uint64       `json:"model,omitempty"`
	Learning   string       `json:"learning,omitempty"`   // frozen (when absent) or online
	Impression string       `json:"impression,omitempty"` // reported (when absent) or assumed
	Slots      int          `json:"slots,omitempty"`      // of one answer: 1 (when absent) to MaxSlots
	Owner      string       `json:"owner,omitempty"`
}

// MaxSlots is how many slots a placement has at most.
const MaxSlots = 5

// How an arm or placement gets its model, and how contacts are confirmed.
const (
	Frozen   = "frozen"   // the model that the definition names
	Online   = "online"   // the newest model published for the policy
	Reported = "reported" // a contact happened when an impression says so
	Assumed  = "assumed"  // a contact happened when it was decided
)

// HoldoutID is the id of the only holdout there is.
const HoldoutID = "universal"

// ModelDocument is one model of a policy version: where its parameters are and
// what they were learned from.
type ModelDocument struct {
	Policy    nextbest.Ref `json:"policy"`
	Hash      string       `json:"hash"` // of the content, its name in the blob store
	Placement string       `json:"placement,omitempty"`
	Objective string       `json:"objective,omitempty"`
	Trained   Training     `json:"trained,omitzero"`
	Base      uint64       `json:"base,omitempty"`     // model that this one continued
	Features  string       `json:"features,omitempty"` // schema that the parameters belong to
	// MigratedFrom is the model whose sums these are, under another schema.
	MigratedFrom *struct {
		Policy nextbest.Ref `json:"policy"`
		Model  uint64       `json:"model"`
	} `json:"migrated_from,omitempty"`
	Tuned []Training `json:"tuned,omitempty"` // rows that chose the policy among others
}

// Training says which rows a model was learned from.
type Training struct {
	From     time.Time       `json:"from,omitzero"`
	To       time.Time       `json:"to,omitzero"`
	MatureAt time.Time       `json:"mature_at,omitzero"`
	Upto     uint64          `json:"upto,omitempty"`
	Split    *nextbest.Split `json:"split,omitempty"`
	Source   string          `json:"source,omitempty"`
	Rows     int64           `json:"rows,omitempty"`
	SetAside int64           `json:"set_aside,omitempty"` // left out: set aside for evaluation
}

// Current names the model that learning: online serves for a policy version.
type Current struct {
	Model  uint64 `json:"model"`
	Paused bool   `json:"paused,omitempty"` // somebody chose it, and trainers leave it there
}

type secret struct {
	Value string `json:"value"`
}

// ModelID returns the id under which a policy version's models and its current
// model are kept: policy.version, such as lints.3.
func ModelID(policy nextbest.Ref) string {
	return policy.ID + "." + strconv.FormatUint(policy.Version, 10)
}

// ParseModelID is the inverse of ModelID.
func ParseModelID(id string) (nextbest.Ref, error) {
	i := strings.LastIndexByte(id, '.')
	if i > 0 {
		if r, err := nextbest.ParseRef(id[:i] + "@" + id[i+1:]); err == nil {
			return r, nil
		}
	}
	return nextbest.Ref{}, nextbest.Errorf(nextbest.Invalid, "model id %q: write policy.version, such as lints.3", id)
}

// decodeStrict decodes exactly one JSON document and refuses fields that v does
// not have. The error is nextbest.Invalid and names the field where it can.
func decodeStrict(document []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(document))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, extra := d.Token(); extra != io.EOF {
			return nextbest.Errorf(nextbest.Invalid, "the document goes on after its end")
		}
		return nil
	}
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return nextbest.FieldErrorf(wrong.Field, "is a %s where a %s is needed", wrong.Value, kindName(wrong.Type.Kind().String()))
	}
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		name, _ := strconv.Unquote(field)
		return nextbest.FieldErrorf(name, "is not a field of this definition; check its spelling")
	}
	var e *nextbest.Error
	if errors.As(err, &e) {
		return e
	}
	return nextbest.Errorf(nextbest.Invalid, "the document is not valid JSON: %w", err)
}

func kindName(k string) string {
	switch k {
	case "struct", "map":
		return "JSON object"
	case "slice", "array":
		return "list"
	case "bool":
		return "boolean"
	case "string":
		return "text"
	case "uint64", "int":
		return "whole number"
	case "float64":
		return "number"
	}
	return k
}
