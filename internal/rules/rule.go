package rules

import (
	"fmt"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
)

// Limits of one rule.
const (
	MaxLength = 4096   // bytes of source
	MaxNodes  = 512    // nodes of the checked expression
	MaxDepth  = 32     // nesting of the checked expression
	MaxCost   = 20_000 // CEL cost units of one evaluation; a field and a comparison cost about 3
)

// Input holds the values of a rule's variables. It may be used for any number
// of rules one after the other; one goroutine at a time. The maps are read,
// never changed, and hold what encoding/json decodes into an any.
type Input struct {
	Customer map[string]any
	Context  map[string]any
	Action   map[string]any

	now types.Timestamp
}

// SetNow sets the variable now, in UTC.
func (in *Input) SetNow(t time.Time) { in.now = types.Timestamp{Time: t.UTC()} }

// ResolveName implements cel.Activation.
func (in *Input) ResolveName(name string) (any, bool) {
	switch name {
	case "customer":
		return in.Customer, true
	case "context":
		return in.Context, true
	case "action":
		return in.Action, true
	case "now":
		return in.now, true
	}
	return nil, false
}

// Parent implements cel.Activation: there is none.
func (in *Input) Parent() cel.Activation { return nil }

// Rule is one compiled rule. It is immutable and safe for concurrent use.
type Rule struct {
	source  string
	program cel.Program
}

// Source returns the text that was compiled.
func (r *Rule) Source() string { return r.source }

// Eval returns the rule's value. The error, an *EvalError, says which part of
// the rule could not be computed: a field that is missing from the input, a
// comparison between types that do not compare, a cost above MaxCost, or a
// value that is not a boolean.
func (r *Rule) Eval(in *Input) (value bool, err error) {
	out, _, err := r.program.Eval(in)
	if err != nil {
		return false, evalError(err)
	}
	b, ok := out.(types.Bool)
	if !ok {
		return false, &EvalError{Message: fmt.Sprintf("the rule's value is a %s, not true or false", out.Type().TypeName())}
	}
	return bool(b), nil
}

// EvalError says why a rule has no value for an input.
type EvalError struct{ Message string }

// Error returns the message.
func (e *EvalError) Error() string { return e.Message }

func evalError(err error) *EvalError {
	m := err.Error()
	if key, ok := strings.CutPrefix(m, "no such key: "); ok {
		return &EvalError{Message: fmt.Sprintf("field %q is missing", key)}
	}
	if strings.Contains(m, "cost limit") {
		return &EvalError{Message: fmt.Sprintf("the rule costs more than %d units", MaxCost)}
	}
	return &EvalError{Message: m}
}
