package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/gin-gonic/gin"

	"nextbest"
)

const (
	jsonType   = "application/json"
	ndjsonType = "application/x-ndjson"
)

// config is huma's: JSON only, no links added to answers, unknown query
// parameters refused. The document is served by us.
func (s *Server) config() huma.Config {
	c := huma.DefaultConfig("nextbest", s.o.Version)
	c.Info.Description = "Decides the next best action for one customer at one moment, logs it with its exact probability, and evaluates and promotes policies on that log."
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "", "", ""
	c.CreateHooks = nil
	c.RejectUnknownQueryParameters = true
	c.Components.Schemas = newSchemas()
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer": {Type: "http", Scheme: "bearer", Description: "an API key, nb_<id>_<secret>"},
		"header": {Type: "apiKey", In: "header", Name: "X-API-Key"},
	}
	c.Security = []map[string][]string{{"bearer": {}}, {"header": {}}}
	return c
}

// newSchemas names types from several packages apart and describes the root
// types that are written as text.
func newSchemas() huma.Registry {
	r := huma.NewMapRegistry("#/components/schemas/", func(t reflect.Type, hint string) string {
		name := huma.DefaultSchemaNamer(t, hint)
		if t == reflect.TypeFor[nextbest.Problem]() {
			return "FieldProblem"
		}
		return name
	})
	r.RegisterTypeAlias(reflect.TypeFor[nextbest.Duration](), reflect.TypeFor[durationText]())
	return r
}

// durationText describes nextbest.Duration.
type durationText string

// Schema implements huma.SchemaProvider.
func (durationText) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Pattern: `^([0-9]+(\.[0-9]+)?d|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+|0)$`,
		Description: "a number and a unit, such as 14d, 36h or 90s", Examples: []any{"14d"}}
}

// may puts the permission that an operation needs beside it.
const metaMay = "may"

// route registers one operation: f decodes nothing and encodes nothing, it
// makes one call.
func route[I, O any](s *Server, may Permission, op huma.Operation, f func(ctx context.Context, in *I) (*O, error)) {
	op.Metadata = map[string]any{metaMay: may}
	op.Description = strings.TrimSpace(op.Description + "\n\nPermission: " + string(may) + " (" + list(matrix[may]) + ").")
	if op.MaxBodyBytes == 0 {
		op.MaxBodyBytes = s.o.Limits.DefinitionBody
	}
	op.MaxBodyBytes++ // guard refuses first; huma counts a body of exactly its limit as too large
	op.BodyReadTimeout = -1
	op.Errors = slices.Compact(append(op.Errors, http.StatusUnauthorized, http.StatusForbidden))
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := f(ctx, in)
		if err != nil {
			p := problem(err)
			if p.Status >= 500 {
				s.failed(ctx, err, "operation", op.OperationID)
			}
			if p.Status == http.StatusServiceUnavailable {
				return nil, huma.ErrorWithHeaders(p, http.Header{"Retry-After": {"1"}})
			}
			return nil, p
		}
		return out, nil
	})
}

// guard lets a request through to huma when its key may make it and its body
// is strict JSON of the right type within the limit.
func (s *Server) guard(ctx huma.Context, next func(huma.Context)) {
	c, op := humagin.Unwrap(ctx), ctx.Operation()
	may, _ := op.Metadata[metaMay].(Permission)
	id, err := s.allow(c, may)
	if err != nil {
		s.fail(c, err)
		return
	}
	if op.RequestBody != nil {
		types := make([]string, 0, 1)
		for t := range op.RequestBody.Content {
			types = append(types, t)
		}
		body, err := s.readBody(c, nil, op.MaxBodyBytes-1, types...)
		if err == nil && types[0] == jsonType && (len(body) > 0 || op.RequestBody.Required) {
			var sc scanner
			sc.reset(body)
			if _, err = sc.value(0); err == nil {
				err = sc.end()
			}
			err = asError(err)
		}
		if err != nil {
			s.fail(c, err)
			return
		}
		if types[0] != jsonType {
			next(huma.WithValue(huma.WithValue(ctx, identityKey{}, id), bodyKey{}, body))
			return
		}
		c.Request.Body = io.NopCloser(bytes.NewReader(body))
	}
	next(huma.WithValue(ctx, identityKey{}, id))
}

// bodyKey is where a body that is not JSON waits for its handler.
type bodyKey struct{}

// allow returns who is calling if the key has the permission.
func (s *Server) allow(c *gin.Context, may Permission) (Identity, error) {
	id, err := s.identifyRequest(c.Request)
	if err != nil {
		return id, err
	}
	if !id.Role.May(may) {
		return id, forbidden(id, may)
	}
	return id, nil
}

// readBody appends the body to buf. It refuses a body of another type (a
// missing type counts as the first) and one over the limit.
func (s *Server) readBody(c *gin.Context, buf []byte, limit int64, types ...string) ([]byte, error) {
	if t := c.Request.Header.Get("Content-Type"); t != "" && mediaType(t) != types[0] && !slices.Contains(types, mediaType(t)) {
		return buf, &nextbest.Error{Code: UnsupportedMedia, Message: "the body's type is " + clip([]byte(t)),
			Problems: []nextbest.Problem{{Field: "Content-Type", Message: "this route takes " + strings.Join(types, " or "), Cure: "send -H 'Content-Type: " + types[0] + "'"}}}
	}
	if e := c.Request.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return buf, &nextbest.Error{Code: UnsupportedMedia, Message: "the body's encoding is " + clip([]byte(e)),
			Problems: []nextbest.Problem{{Field: "Content-Encoding", Message: "bodies are taken uncompressed", Cure: "send the body as it is"}}}
	}
	if c.Request.ContentLength > limit {
		return buf, tooLarge(limit)
	}
	r := io.LimitedReader{R: c.Request.Body, N: limit + 1}
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return buf, &nextbest.Error{Code: Malformed, Message: "the request body did not arrive whole"}
		}
	}
	if int64(len(buf)) > limit {
		return buf, tooLarge(limit)
	}
	return buf, nil
}

func tooLarge(limit int64) error {
	return &nextbest.Error{Code: nextbest.TooLarge, Message: "the request body is too large",
		Problems: []nextbest.Problem{{Field: "body", Message: "this route takes at most " + size(limit), Cure: "send less at once"}}}
}

func mediaType(t string) string {
	if i := strings.IndexByte(t, ';'); i >= 0 {
		t = t[:i]
	}
	return strings.ToLower(strings.TrimSpace(t))
}

// size writes a number of bytes for people.
func size(n int64) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return strconv.FormatInt(n>>20, 10) + " MiB"
	case n >= 1<<10 && n%(1<<10) == 0:
		return strconv.FormatInt(n>>10, 10) + " KiB"
	}
	return strconv.FormatInt(n, 10) + " bytes"
}
