package api

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"nextbest"
)

// bodyError says what is wrong with one field of a body. The path is put
// together on the way out, so that reading a good body costs nothing.
type bodyError struct {
	field     string
	message   string
	cure      string
	malformed bool // not JSON at all: 400 instead of 422
}

// Error implements error.
func (e *bodyError) Error() string { return e.field + ": " + e.message }

// refuse returns an error about the field that is being read.
func refuse(format string, args ...any) *bodyError {
	return &bodyError{message: fmt.Sprintf(format, args...)}
}

// with returns e with a cure.
func (e *bodyError) with(cure string) *bodyError {
	e.cure = cure
	return e
}

// inField puts name before the path of err.
func inField(err error, name string) error {
	if err == nil {
		return nil
	}
	var e *bodyError
	if errors.As(err, &e) {
		switch {
		case e.field == "" || e.field[0] == '[':
			e.field = name + e.field
		default:
			e.field = name + "." + e.field
		}
	}
	return err
}

// inIndex puts [i] before the path of err.
func inIndex(err error, i int) error {
	var e *bodyError
	if errors.As(err, &e) {
		if e.field != "" && e.field[0] != '[' {
			e.field = "." + e.field
		}
		e.field = "[" + strconv.Itoa(i) + "]" + e.field
	}
	return err
}

// asError turns what a parser found into a platform error.
func asError(err error) error {
	var e *bodyError
	if !errors.As(err, &e) {
		return err
	}
	code := nextbest.Invalid
	if e.malformed {
		code = Malformed
	}
	field := e.field
	if field == "" {
		field = "body"
	}
	return &nextbest.Error{Code: code, Message: "the request body is invalid",
		Problems: []nextbest.Problem{{Field: field, Message: e.message, Cure: e.cure}}}
}

// syntax returns an error about the JSON itself.
func (s *scanner) syntax(message string) *bodyError {
	if s.pos >= len(s.data) {
		message = "the JSON document ends too early"
	}
	return &bodyError{malformed: true, message: fmt.Sprintf("%s, at byte %d", message, s.pos), cure: "send one complete JSON document"}
}

// expected says what should stand here and what does.
func (s *scanner) expected(what string) *bodyError {
	c := s.space()
	if s.pos >= len(s.data) {
		return s.syntax("")
	}
	rest := s.data[s.pos:]
	switch {
	case c == '"':
		return refuse("expected %s, found a string", what)
	case c == '{':
		return refuse("expected %s, found an object", what)
	case c == '[':
		return refuse("expected %s, found an array", what)
	case bytes.HasPrefix(rest, []byte("null")):
		return refuse("expected %s, found null", what).with("leave the field out when its value is not known")
	case bytes.HasPrefix(rest, []byte("true")), bytes.HasPrefix(rest, []byte("false")):
		return refuse("expected %s, found true or false", what)
	case '0' <= c && c <= '9', c == '-' && len(rest) > 1 && '0' <= rest[1] && rest[1] <= '9':
		return refuse("expected %s, found a number", what)
	}
	word := rest
	if i := bytes.IndexAny(rest, " \t\r\n,:]}"); i >= 0 {
		word = rest[:i]
	}
	switch string(bytes.ToLower(bytes.TrimLeft(word, "+-"))) {
	case "nan", "inf", "infinity":
		return &bodyError{malformed: true, message: fmt.Sprintf("expected %s, found %s, which JSON does not have", what, clip(word)),
			cure: "leave the field out when its value is not known"}
	}
	return s.syntax("expected " + what + ", found " + clip(word))
}

// clip quotes at most 32 bytes of b.
func clip(b []byte) string {
	if len(b) > 32 {
		return strconv.Quote(string(b[:32])) + "…"
	}
	return strconv.Quote(string(b))
}
