package nextbest

import (
	"errors"
	"fmt"
	"strings"
)

// Code classifies an error once, so that the edges can map it to a status in
// one place.
type Code string

// The codes an Error may carry.
const (
	Invalid      Code = "invalid"      // the request is wrong; 422
	Unauthorized Code = "unauthorized" // no key, or an unknown one; 401
	Forbidden    Code = "forbidden"    // the key's role does not allow it; 403
	NotFound     Code = "not_found"    // the named thing does not exist; 404
	Conflict     Code = "conflict"     // the state does not allow it; 409
	Stale        Code = "stale"        // If-Match names an older revision; 412
	TooLarge     Code = "too_large"    // over a size limit; 413
	Unavailable  Code = "unavailable"  // an engine is away, try again; 503
	Internal     Code = "internal"     // our fault; 500
)

// Problem is one thing that is wrong with one field of a request.
type Problem struct {
	Field   string `json:"field"`          // path of the field, such as "arms[1].share"
	Message string `json:"message"`        // what is wrong and what the rule is
	Cure    string `json:"cure,omitempty"` // what to do about it
}

// Error says what was wrong, where, and what to do.
type Error struct {
	Code     Code
	Message  string
	Problems []Problem
	cause    error
}

// Error formats the code, the message and the problems.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	for _, p := range e.Problems {
		fmt.Fprintf(&b, "; %s: %s", p.Field, p.Message)
		if p.Cure != "" {
			fmt.Fprintf(&b, " (%s)", p.Cure)
		}
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Errorf returns an Error with a code and a formatted message; errors.Is and
// errors.As see through a cause wrapped with %w.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), cause: errors.Unwrap(err)}
}

// FieldErrorf returns an Invalid error about one field.
func FieldErrorf(field, format string, args ...any) *Error {
	return &Error{Code: Invalid, Message: "invalid request", Problems: []Problem{{Field: field, Message: fmt.Sprintf(format, args...)}}}
}

// CodeOf returns the code of err, Internal when it carries none and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Internal
}

// Problems gathers field problems while a definition is validated.
type Problems []Problem

// Add records one problem.
func (p *Problems) Add(field, format string, args ...any) {
	*p = append(*p, Problem{Field: field, Message: fmt.Sprintf(format, args...)})
}

// Err returns nil when nothing was recorded, or one Invalid error with all.
func (p Problems) Err(what string) error {
	if len(p) == 0 {
		return nil
	}
	return &Error{Code: Invalid, Message: what + " is invalid", Problems: p}
}
