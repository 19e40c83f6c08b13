package api

import (
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"

	"nextbest/internal/decisions"
)

// DecisionRequest describes the body of a decision call, which is read by hand.
type DecisionRequest struct {
	Placement string             `json:"placement" doc:"id of the placement"`
	Customer  CustomerInCall     `json:"customer"`
	Context   map[string]any     `json:"context,omitempty" doc:"features of the moment: numbers, texts, booleans; null is refused"`
	Scores    map[string]float64 `json:"scores,omitempty" doc:"predicted response of each action, by a model of yours, where an external policy decides: one for every eligible action, do-nothing included; others are logged and ignored"`
	Durable   *bool              `json:"durable,omitempty" doc:"false: answer before the record is on disk, and lose it with the process; default true"`
}

// CustomerInCall is whom a decision is about.
type CustomerInCall struct {
	_    struct{} `additionalProperties:"true"`
	ID   string   `json:"id" minLength:"1" maxLength:"512" doc:"the caller's identifier; only its pseudonym is logged"`
	Type string   `json:"type,omitempty" maxLength:"64" doc:"of the identifier"`
}

// RewardsRequest describes the body of a rewards call, which is read by hand.
type RewardsRequest struct {
	Rewards []RewardEvent `json:"rewards" minItems:"1"`
}

// RewardEvent is one thing that followed. It names a decision or a customer.
type RewardEvent struct {
	ID         string       `json:"id" minLength:"1" maxLength:"200" doc:"the caller's; the newest report of an id counts"`
	Kind       string       `json:"kind" doc:"named by an objective or an experiment"`
	Value      *float64     `json:"value,omitempty" doc:"needed unless withdrawn"`
	Time       time.Time    `json:"time"`
	DecisionID string       `json:"decision_id,omitempty" format:"uuid"`
	Slot       int          `json:"slot,omitempty" minimum:"1" maximum:"255" doc:"1 when absent"`
	Customer   *CustomerRef `json:"customer,omitempty"`
	Withdrawn  bool         `json:"withdrawn,omitempty" doc:"takes the reward back"`
}

// CustomerRef names a customer.
type CustomerRef struct {
	ID   string `json:"id" minLength:"1" maxLength:"512"`
	Type string `json:"type,omitempty" maxLength:"64"`
}

// ImpressionRequest describes the body of an impression, which is read by hand.
type ImpressionRequest struct {
	Slot   int       `json:"slot,omitempty" minimum:"1" maximum:"255" doc:"1 when absent"`
	Status string    `json:"status" enum:"shown,delivered,bounced,not_shown,overridden"`
	Action string    `json:"action,omitempty" doc:"overridden: what was done instead"`
	Time   time.Time `json:"time,omitzero" doc:"now when absent"`
}

// Accepted says that events are durable.
type Accepted struct {
	Accepted int    `json:"accepted" doc:"events taken"`
	Position uint64 `json:"position" doc:"in the journal; they are in the log once the sink has passed it"`
}

// describeHotRoutes registers by hand what plain gin serves.
func (s *Server) describeHotRoutes() {
	api := s.api.OpenAPI()
	schema := func(v any, hint string) *huma.Schema {
		return api.Components.Schemas.Schema(reflect.TypeOf(v), true, hint)
	}
	ndjson := &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Description: "one RewardEvent a line"}}
	api.AddOperation(s.byHand(MayDecide, &huma.Operation{OperationID: "post-decision", Method: http.MethodPost, Path: "/v1/decisions", Tags: []string{"decisions"}, Summary: "Decide",
		Description: "Durable before the answer leaves, unless durable is false. Answers 200 instead of 201 when the Idempotency-Key had been answered before.",
		Parameters:  []*huma.Param{{Name: "Idempotency-Key", In: "header", Description: "the same key with the same call gets the first answer again, for 25 hours; with another call 409", Schema: &huma.Schema{Type: huma.TypeString}}},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{jsonType: {Schema: schema(DecisionRequest{}, "")}}},
	}, map[int]*huma.Schema{200: schema(decisions.Answer{}, ""), 201: schema(decisions.Answer{}, "")}, 400, 401, 403, 404, 409, 413, 415, 422, 503))
	api.AddOperation(s.byHand(MayReport, &huma.Operation{OperationID: "post-impression", Method: http.MethodPost, Path: "/v1/decisions/{id}/impression", Tags: []string{"decisions"}, Summary: "Say what became of a decision",
		Parameters:  []*huma.Param{{Name: "id", In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString, Format: "uuid"}}},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{jsonType: {Schema: schema(ImpressionRequest{}, "")}}},
	}, map[int]*huma.Schema{202: schema(Accepted{}, "")}, 400, 401, 403, 404, 413, 415, 422, 503))
	api.AddOperation(s.byHand(MayReport, &huma.Operation{OperationID: "post-rewards", Method: http.MethodPost, Path: "/v1/rewards", Tags: []string{"rewards"}, Summary: "Report what followed",
		Description: "One request is one journal message: all of it is durable or none. A bad line refuses the whole request and is named.",
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{jsonType: {Schema: schema(RewardsRequest{}, "")}, ndjsonType: ndjson}},
	}, map[int]*huma.Schema{202: schema(Accepted{}, "")}, 400, 401, 403, 413, 415, 422, 503))
	none := []map[string][]string{}
	for path, summary := range map[string]string{"/healthz": "The process answers", "/readyz": "The process and what it depends on are ready", "/metrics": "Metrics for Prometheus"} {
		api.AddOperation(&huma.Operation{OperationID: "get-" + path[1:], Method: http.MethodGet, Path: path, Tags: []string{"health"}, Summary: summary, Security: none,
			Responses: map[string]*huma.Response{"200": {Description: "OK"}}})
	}
}

// byHand completes an operation that huma does not serve.
func (s *Server) byHand(may Permission, op *huma.Operation, bodies map[int]*huma.Schema, errs ...int) *huma.Operation {
	op.Description = strings.TrimSpace(op.Description + "\n\nPermission: " + string(may) + " (" + list(matrix[may]) + ").")
	op.Responses = map[string]*huma.Response{}
	for status, body := range bodies {
		op.Responses[strconv.Itoa(status)] = &huma.Response{Description: http.StatusText(status), Content: map[string]*huma.MediaType{jsonType: {Schema: body}}}
	}
	failure := s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "")
	for _, status := range errs {
		op.Responses[strconv.Itoa(status)] = &huma.Response{Description: http.StatusText(status), Content: map[string]*huma.MediaType{"application/problem+json": {Schema: failure}}}
	}
	return op
}

// document serves the OpenAPI description, made once.
type document struct {
	json, yaml, page []byte
}

func newDocument(api *huma.OpenAPI) (*document, error) {
	j, err := json.Marshal(api)
	if err != nil {
		return nil, fmt.Errorf("api: the OpenAPI document: %w", err)
	}
	y, err := api.YAML()
	if err != nil {
		return nil, fmt.Errorf("api: the OpenAPI document: %w", err)
	}
	return &document{json: j, yaml: y, page: page(api)}, nil
}

func (d *document) routes(e *gin.Engine) {
	serve := func(path, contentType string, body []byte) {
		e.GET(path, func(c *gin.Context) { c.Data(http.StatusOK, contentType, body) })
	}
	serve("/openapi.json", "application/openapi+json", d.json)
	serve("/openapi.yaml", "application/openapi+yaml", d.yaml)
	e.GET("/docs", func(c *gin.Context) {
		c.Header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		c.Data(http.StatusOK, "text/html; charset=utf-8", d.page)
	})
}

// page lists every operation, without a script and without the internet.
func page(api *huma.OpenAPI) []byte {
	type row struct{ Method, Path, Summary, Description string }
	var rows []row
	for path, item := range api.Paths {
		for method, op := range map[string]*huma.Operation{"GET": item.Get, "PUT": item.Put, "POST": item.Post, "DELETE": item.Delete} {
			if op != nil {
				rows = append(rows, row{method, path, op.Summary, op.Description})
			}
		}
	}
	slices.SortFunc(rows, func(a, b row) int { return strings.Compare(a.Path+" "+a.Method, b.Path+" "+b.Method) })
	var b strings.Builder
	if err := pageTemplate.Execute(&b, map[string]any{"Title": api.Info.Title, "Version": api.Info.Version, "Rows": rows}); err != nil {
		return []byte("see /openapi.json")
	}
	return []byte(b.String())
}

var pageTemplate = template.Must(template.New("docs").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{{.Title}} API</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
code{font:13px ui-monospace,monospace}
table{border-collapse:collapse;width:100%}td{border-top:1px solid #e3e6ea;padding:.5rem .75rem .5rem 0;vertical-align:top}
td:first-child{font-weight:600;width:4.5rem}small{color:#59636e;white-space:pre-line}
@media(prefers-color-scheme:dark){body{color:#e6e8eb;background:#14171a}td{border-color:#2b3036}small{color:#9aa4af}}
</style></head><body>
<h1>{{.Title}} API</h1><p>Version {{.Version}}. The whole description: <a href="/openapi.json">openapi.json</a>, <a href="/openapi.yaml">openapi.yaml</a>.</p>
<table>{{range .Rows}}<tr><td>{{.Method}}</td><td><code>{{.Path}}</code><br>{{.Summary}}<br><small>{{.Description}}</small></td></tr>{{end}}</table>
</body></html>
`))
