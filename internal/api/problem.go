package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"

	"nextbest"
	"nextbest/experiments"
)

// Codes that only HTTP knows, beside those of package nextbest.
const (
	Malformed            nextbest.Code = "malformed"              // not JSON; 400
	MethodNotAllowed     nextbest.Code = "method_not_allowed"     // 405
	UnsupportedMedia     nextbest.Code = "unsupported_media_type" // 415
	PreconditionRequired nextbest.Code = "precondition_required"  // an update without If-Match; 428
)

// statuses is the one place where a code becomes a status.
var statuses = map[nextbest.Code]int{
	nextbest.Invalid:      http.StatusUnprocessableEntity,
	nextbest.Unauthorized: http.StatusUnauthorized,
	nextbest.Forbidden:    http.StatusForbidden,
	nextbest.NotFound:     http.StatusNotFound,
	nextbest.Conflict:     http.StatusConflict,
	nextbest.Stale:        http.StatusPreconditionFailed,
	nextbest.TooLarge:     http.StatusRequestEntityTooLarge,
	nextbest.Unavailable:  http.StatusServiceUnavailable,
	nextbest.Internal:     http.StatusInternalServerError,
	Malformed:             http.StatusBadRequest,
	MethodNotAllowed:      http.StatusMethodNotAllowed,
	UnsupportedMedia:      http.StatusUnsupportedMediaType,
	PreconditionRequired:  http.StatusPreconditionRequired,
}

func init() {
	// huma keeps these for the whole program: our problem document, names that
	// must be spelled exactly, and lists that are never null.
	huma.NewError = newProblem
	huma.ValidateStrictCasing = true
	huma.DefaultArrayNullable = false
}

// Problem is the body of every error answer: problem details of RFC 9457 with
// a code and the list of fields.
type Problem struct {
	_        struct{}           `additionalProperties:"true"`
	Type     string             `json:"type" doc:"always about:blank: the code says more"`
	Title    string             `json:"title" doc:"the status in words"`
	Status   int                `json:"status"`
	Code     nextbest.Code      `json:"code" doc:"machine-readable cause"`
	Detail   string             `json:"detail" doc:"what was wrong"`
	Problems []nextbest.Problem `json:"problems,omitempty" doc:"every field that is wrong, with the cure"`
	// Extensions are members of their own, such as the gates of a refused
	// promotion.
	Extensions map[string]any `json:"-"`
}

// Error implements error.
func (p *Problem) Error() string { return p.Detail }

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// MarshalJSON writes the extensions beside the members of RFC 9457.
func (p *Problem) MarshalJSON() ([]byte, error) {
	type plain Problem
	b, err := json.Marshal((*plain)(p))
	if err != nil || len(p.Extensions) == 0 {
		return b, err
	}
	more, err := json.Marshal(p.Extensions)
	if err != nil {
		return nil, err
	}
	return append(append(b[:len(b)-1], ','), more[1:]...), nil
}

// problem returns what the caller may know about err. The cause of an
// internal error stays with us.
func problem(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	var refused *experiments.RefusedError
	var e *nextbest.Error
	if !errors.As(err, &e) {
		e = &nextbest.Error{Code: nextbest.Internal}
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			e = &nextbest.Error{Code: nextbest.Unavailable, Message: "the request was given up before it was answered"}
		}
	}
	status, known := statuses[e.Code]
	if !known || status == http.StatusInternalServerError {
		return &Problem{Type: "about:blank", Title: http.StatusText(http.StatusInternalServerError), Status: http.StatusInternalServerError,
			Code: nextbest.Internal, Detail: "something went wrong on our side; the server's log says what"}
	}
	p = &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: e.Code, Detail: e.Message, Problems: e.Problems}
	if errors.As(err, &refused) {
		p.Extensions = map[string]any{"gates": refused.Gates}
	}
	return p
}

// newProblem is huma's error constructor: it turns what huma's validation
// found into our problems.
func newProblem(status int, message string, errs ...error) huma.StatusError {
	p := &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: message}
	for code, s := range statuses {
		if s == status {
			p.Code = code
		}
	}
	if status == 0 || p.Code == "" {
		p.Code = nextbest.Invalid
	}
	if status >= 500 {
		return problem(errors.New(message))
	}
	for _, err := range errs {
		var d huma.ErrorDetailer
		if errors.As(err, &d) {
			p.Problems = append(p.Problems, fieldProblem(d.ErrorDetail()))
		}
	}
	return p
}

// fieldProblem rewrites huma's detail about a location to our words.
func fieldProblem(d *huma.ErrorDetail) nextbest.Problem {
	field := d.Location
	for _, where := range []string{"body.", "body", "path.", "query.", "header."} {
		if rest, ok := strings.CutPrefix(field, where); ok {
			field = rest
			break
		}
	}
	message, cure := d.Message, ""
	switch {
	case message == "unexpected property":
		message, cure = "no such field", "take it out, or look for a spelling mistake"
	case strings.HasPrefix(message, "expected required property "):
		name := strings.TrimSuffix(strings.TrimPrefix(message, "expected required property "), " to be present")
		message = "is missing"
		if field != "" {
			field += "."
		}
		field += name
	case message == "unknown query parameter":
		message, cure = "no such query parameter", "take it out, or look for a spelling mistake"
	}
	if field == "" {
		field = "body"
	}
	return nextbest.Problem{Field: field, Message: message, Cure: cure}
}

// failed logs a request that failed here. A caller that went away is no
// failure of ours: it is told at debug only.
func (s *Server) failed(ctx context.Context, err error, where ...any) {
	level := slog.LevelError
	if errors.Is(ctx.Err(), context.Canceled) {
		level = slog.LevelDebug
	}
	s.log.Log(ctx, level, "request failed", append(where, "error", err)...)
}

// fail answers with a problem document.
func (s *Server) fail(c *gin.Context, err error) {
	p := problem(err)
	if p.Status >= 500 {
		s.failed(c.Request.Context(), err, "method", c.Request.Method, "route", c.FullPath())
	}
	h := c.Writer.Header()
	switch p.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="nextbest"`)
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
	}
	b, err := json.Marshal(p)
	if err != nil {
		b = []byte(`{"status":500,"code":"internal"}`)
	}
	h.Set("Content-Type", "application/problem+json")
	c.Writer.WriteHeader(p.Status)
	c.Writer.Write(b)
	c.Abort()
}
