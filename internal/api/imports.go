package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"nextbest"
)

// Import is a log that somebody else kept, read and checked.
type Import struct {
	Name          string // becomes the rows' source
	Placement     string
	Randomisation string // how the rows were randomised, when the user says so
	Actor         string
	Reason        string
	Rows          []ImportRow
}

// ImportRow is one decision that somebody else logged.
type ImportRow struct {
	Line          int            // in the request, from 1
	ID            string         // the caller's, "" for none; the same id is the same decision
	Customer      string         // pseudonym
	Attributes    map[string]any // what else is known of the customer; never nil
	Time          time.Time
	Context       map[string]any
	Action        string
	Propensity    float64 // in (0, 1]
	Eligible      []string
	Probabilities []float64 // beside Eligible; nil where only the propensity is known
	Rewards       []ImportReward
}

// ImportReward is what followed an imported decision.
type ImportReward struct {
	ID    string // "" for none
	Kind  string
	Value float64
	Time  time.Time // the decision's when the row does not say
}

// Imported says what an import took.
type Imported struct {
	Name    string    `json:"name" doc:"the rows' source"`
	Rows    int       `json:"rows"`
	Rewards int       `json:"rewards"`
	From    time.Time `json:"from" doc:"first decision"`
	To      time.Time `json:"to" doc:"last decision"`
}

func (s *Server) importRoutes() {
	route(s, MayAnalyse, huma.Operation{OperationID: "import-log", Method: http.MethodPost, Path: "/v1/imports", Tags: []string{"imports"},
		Summary: "Import a log of decisions with their propensities", DefaultStatus: http.StatusCreated, Errors: []int{404, 409, 413, 415},
		Description: "NDJSON, one decision a line: {id?, customer:{id, …attributes}, time, context, action, propensity, eligible, probabilities?, rewards:[{kind, value, time?}]}. " +
			"All rows are taken or none: a refusal names the lines. The same row again changes nothing; a row whose id was imported with another content is refused with 409. A propensity outside (0, 1] is refused unless randomisation says how the rows were randomised.",
		MaxBodyBytes: s.o.Limits.ImportBody,
		RequestBody:  &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{ndjsonType: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}}},
		func(ctx context.Context, in *struct {
			Precondition
			Name          string `query:"name" required:"true" doc:"becomes the rows' source; the same name adds to it"`
			Placement     string `query:"placement" required:"true" doc:"where the rows belong"`
			Randomisation string `query:"randomisation" doc:"uniform: each eligible action alike; weights:a=0.5,b=0.5: by these weights among the eligible"`
		}) (*struct{ Body Imported }, error) {
			out, err := s.importLog(ctx, Import{Name: in.Name, Placement: in.Placement, Randomisation: in.Randomisation, Actor: Who(ctx).Key, Reason: in.why()})
			return &struct{ Body Imported }{out}, err
		})
}

func (s *Server) importLog(ctx context.Context, m Import) (Imported, error) {
	if s.o.Importer == nil {
		return Imported{}, missing("import")
	}
	var p nextbest.Problems
	if !nextbest.ValidID(m.Name) || m.Name == "live" {
		p.Add("name", "must be lower-case letters, digits, hyphens and underscores, and not live")
	}
	s.known(&p, "placement", nextbest.KindPlacement, m.Placement)
	random, err := parseRandomisation(m.Randomisation)
	if err != nil {
		p.Add("randomisation", "%v", err)
	}
	if err := p.Err("the import"); err != nil {
		return Imported{}, err
	}
	body, _ := ctx.Value(bodyKey{}).([]byte)
	parser := importParser{random: random, now: s.now().UTC(), kinds: &s.kinds, pseudonyms: s.o.Pseudonyms}
	if m.Rows, err = parser.rows(body); err != nil {
		return Imported{}, err
	}
	return s.o.Importer.Import(ctx, m)
}
