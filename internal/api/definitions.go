package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"nextbest"
)

// Stored is one version of a definition as the API shows it.
type Stored[T any] struct {
	ID       string    `json:"id"`
	Version  uint64    `json:"version" doc:"counts this definition's changes; id@version names it for good"`
	Ref      string    `json:"ref" doc:"id@version"`
	Revision uint64    `json:"revision" doc:"the ETag: send it as If-Match with the next change"`
	Actor    string    `json:"actor" doc:"id of the key that wrote it"`
	Reason   string    `json:"reason,omitempty"`
	Time     time.Time `json:"time"`
	Deleted  bool      `json:"deleted,omitempty"`
	Document T         `json:"document"`
	// Exploration is in the answers to writes that may put a policy live.
	Exploration *Exploration `json:"exploration,omitempty" doc:"what the log of the policy will be able to say about others; see GET /v1/placements/{id}/exploration"`
}

// stored decodes a record for the API.
func stored[T any](rec nextbest.Record) (Stored[T], error) {
	out := Stored[T]{ID: rec.ID, Version: rec.Version, Ref: rec.Ref().String(), Revision: rec.Revision,
		Actor: rec.Actor, Reason: rec.Reason, Time: rec.Time, Deleted: rec.Deleted}
	if len(rec.Document) == 0 {
		return out, nil
	}
	if err := json.Unmarshal(rec.Document, &out.Document); err != nil {
		return out, nextbest.Errorf(nextbest.Internal, "%s %s does not decode: %w", rec.Kind, rec.Ref(), err)
	}
	return out, nil
}

// Precondition is how a change says what it was made from, and why.
type Precondition struct {
	IfMatch     string `header:"If-Match" doc:"ETag of the version that was read; needed to change what exists"`
	IfNoneMatch string `header:"If-None-Match" doc:"* for: create only"`
	XReason     string `header:"X-Reason" maxLength:"500" doc:"why, for the audit trail"`
	Reason      string `query:"reason" maxLength:"500" doc:"why, for callers that cannot set a header"`
}

func (p Precondition) why() string {
	if p.XReason != "" {
		return p.XReason
	}
	return p.Reason
}

// revision returns the IfMatch of the change: what the object must be now.
func (p Precondition) revision(kind nextbest.Kind, id string, existing nextbest.Record, exists bool) (uint64, error) {
	current := `"` + strconv.FormatUint(existing.Revision, 10) + `"`
	switch {
	case p.IfNoneMatch != "" && p.IfNoneMatch != "*":
		return 0, nextbest.FieldErrorf("If-None-Match", "only * is understood: create, but do not change")
	case p.IfNoneMatch == "*" && exists:
		return 0, stale(kind, id, "exists already, at revision "+current, "leave If-None-Match out and send If-Match: "+current+" to change it")
	case p.IfMatch == "" && exists:
		return 0, &nextbest.Error{Code: PreconditionRequired, Message: string(kind) + "/" + id + " exists: say which revision the change was made from",
			Problems: []nextbest.Problem{{Field: "If-Match", Message: "is missing", Cure: "GET it, then send its ETag, now " + current + ", as If-Match"}}}
	case p.IfMatch == "":
		return 0, nil
	case !exists:
		return 0, stale(kind, id, "does not exist", "leave If-Match out to create it")
	case p.IfMatch == "*":
		return existing.Revision, nil
	}
	n, err := strconv.ParseUint(strings.Trim(strings.TrimPrefix(p.IfMatch, "W/"), `"`), 10, 64)
	if err != nil {
		return 0, nextbest.FieldErrorf("If-Match", "%s is not an ETag of ours, which look like %s", clip([]byte(p.IfMatch)), current)
	}
	if n < existing.Revision { // a higher one may come from a replica that is ahead; the registry decides
		return 0, stale(kind, id, "is at revision "+current+", not "+p.IfMatch, "GET it again, look at what changed, and send the new ETag")
	}
	return n, nil
}

func stale(kind nextbest.Kind, id, message, cure string) error {
	return &nextbest.Error{Code: nextbest.Stale, Message: string(kind) + "/" + id + " " + message,
		Problems: []nextbest.Problem{{Field: "If-Match", Message: message, Cure: cure}}}
}

// ByID names a definition in a path. (huma fills embedded structs only when
// they are exported.)
type ByID struct {
	ID string `path:"id" pattern:"^[a-z0-9][a-z0-9_-]{0,62}$" patternDescription:"lower-case letters, digits, hyphens and underscores, at most 63"`
}

type putInput[T any] struct {
	ByID
	Precondition
	Body T
}

type storedOutput[T any] struct {
	Status   int
	ETag     string `header:"ETag"`
	Location string `header:"Location"`
	Body     Stored[T]
}

type listOutput[T any] struct {
	Body struct {
		Items []Stored[T] `json:"items"`
	}
}

func answer[T any](rec nextbest.Record, status int, location string) (*storedOutput[T], error) {
	body, err := stored[T](rec)
	if err != nil {
		return nil, err
	}
	return &storedOutput[T]{Status: status, ETag: `"` + strconv.FormatUint(rec.Revision, 10) + `"`, Location: location, Body: body}, nil
}

func answers[T any](records []nextbest.Record) (*listOutput[T], error) {
	out := &listOutput[T]{}
	out.Body.Items = make([]Stored[T], 0, len(records))
	for _, rec := range records {
		item, err := stored[T](rec)
		if err != nil {
			return nil, err
		}
		out.Body.Items = append(out.Body.Items, item)
	}
	return out, nil
}

// resource says how one kind of definition is written.
type resource[T any] struct {
	kind     nextbest.Kind
	singular string
	may      Permission
	// prepare fills what the path or the server decides, and refuses what is
	// not the caller's to write. before is nil for a new definition. It may
	// return the bytes to store; nil stands for the document's own.
	prepare func(ctx context.Context, id string, document *T, before *nextbest.Record) (raw []byte, err error)
	// explore predicts what the log will be able to say once this is live; nil
	// where the definition serves nothing.
	explore func(ctx context.Context, id string, document *T) *Exploration
}

// definition registers the routes of one kind: put, get, version, list,
// history.
func definition[T any](s *Server, r resource[T]) {
	base, tag := "/v1/"+string(r.kind), []string{string(r.kind)}
	route(s, r.may, huma.Operation{OperationID: "put-" + r.singular, Method: http.MethodPut, Path: base + "/{id}", Tags: tag,
		Summary: "Create or change " + r.singular, DefaultStatus: http.StatusOK, Errors: []int{409, 412, 428},
		Responses: map[string]*huma.Response{"201": {Description: "Created; the same body as 200"}}},
		func(ctx context.Context, in *putInput[T]) (*storedOutput[T], error) {
			return put(ctx, s, r, in.ID, in.Precondition, in.Body)
		})
	route(s, MayRead, huma.Operation{OperationID: "get-" + r.singular, Method: http.MethodGet, Path: base + "/{id}", Tags: tag, Summary: "Read " + r.singular, Errors: []int{404}},
		func(_ context.Context, in *struct {
			ByID
			Version uint64 `query:"version" doc:"0 or absent: the newest"`
		}) (*storedOutput[T], error) {
			rec, err := s.record(r.kind, in.ID, in.Version)
			if err != nil {
				return nil, err
			}
			return answer[T](rec, http.StatusOK, "")
		})
	route(s, MayRead, huma.Operation{OperationID: "list-" + string(r.kind), Method: http.MethodGet, Path: base, Tags: tag, Summary: "List " + string(r.kind)},
		func(context.Context, *struct{}) (*listOutput[T], error) {
			return answers[T](s.o.Registry.List(r.kind))
		})
	route(s, MayRead, huma.Operation{OperationID: "history-" + r.singular, Method: http.MethodGet, Path: base + "/{id}/history", Tags: tag, Summary: "Every version of " + r.singular, Errors: []int{404}},
		func(_ context.Context, in *ByID) (*listOutput[T], error) {
			records := s.o.Registry.History(r.kind, in.ID)
			if len(records) == 0 {
				return nil, notFound(r.kind, in.ID)
			}
			return answers[T](records)
		})
}

// put writes one definition.
func put[T any](ctx context.Context, s *Server, r resource[T], id string, p Precondition, document T) (*storedOutput[T], error) {
	existing, exists := s.o.Registry.Get(r.kind, id)
	exists = exists && !existing.Deleted
	revision, err := p.revision(r.kind, id, existing, exists)
	if err != nil {
		return nil, err
	}
	var before *nextbest.Record
	if exists {
		before = &existing
	}
	raw, err := r.prepare(ctx, id, &document, before)
	if err != nil {
		return nil, err
	}
	if raw == nil {
		if raw, err = json.Marshal(document); err != nil {
			return nil, err
		}
	}
	rec, err := s.write(ctx, nextbest.Change{Kind: r.kind, ID: id, Document: raw, Reason: p.why(), IfMatch: revision})
	if err != nil {
		return nil, err
	}
	status := http.StatusOK
	if !exists {
		status = http.StatusCreated
	}
	out, err := answer[T](rec, status, "/v1/"+string(r.kind)+"/"+id)
	if err == nil && r.explore != nil {
		out.Body.Exploration = r.explore(ctx, id, &document)
	}
	return out, err
}

// addition returns the IfMatch of a new version, which replaces nothing: it
// needs no precondition, and keeps to one that is given.
func (s *Server) addition(kind nextbest.Kind, id string, p Precondition) (uint64, error) {
	if p.IfMatch == "" && p.IfNoneMatch == "" {
		return nextbest.AnyRevision, nil
	}
	existing, exists := s.o.Registry.Get(kind, id)
	return p.revision(kind, id, existing, exists && !existing.Deleted)
}

// write checks a change against everything else that is defined and writes it.
func (s *Server) write(ctx context.Context, change nextbest.Change) (nextbest.Record, error) {
	change.Actor = Who(ctx).Key
	var compact bytes.Buffer
	if err := json.Compact(&compact, change.Document); err != nil {
		return nextbest.Record{}, err
	}
	change.Document = compact.Bytes()
	if s.o.Checker != nil {
		rec := nextbest.Record{Kind: change.Kind, ID: change.ID, Document: change.Document, Actor: change.Actor, Reason: change.Reason, Time: s.now().UTC()}
		if err := s.o.Checker.Check(ctx, rec); err != nil {
			return nextbest.Record{}, err
		}
	}
	return s.o.Registry.Put(ctx, change)
}

// record returns one version of a definition; 0 is the newest.
func (s *Server) record(kind nextbest.Kind, id string, version uint64) (nextbest.Record, error) {
	rec, ok := s.o.Registry.Get(kind, id)
	if version != 0 {
		rec, ok = s.o.Registry.Version(kind, id, version)
	}
	if !ok || rec.Deleted {
		if version != 0 {
			id += "@" + strconv.FormatUint(version, 10)
		}
		return nextbest.Record{}, notFound(kind, id)
	}
	return rec, nil
}

func notFound(kind nextbest.Kind, id string) error {
	return &nextbest.Error{Code: nextbest.NotFound, Message: "there is no " + string(kind) + "/" + id,
		Problems: []nextbest.Problem{{Field: "id", Message: "is not known", Cure: "GET /v1/" + string(kind) + " lists what there is"}}}
}
