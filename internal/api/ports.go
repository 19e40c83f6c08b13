package api

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"nextbest"
	"nextbest/internal/learning"
)

// Definitions answers what is defined now and was defined before.
type Definitions interface {
	Get(kind nextbest.Kind, id string) (nextbest.Record, bool)
	Version(kind nextbest.Kind, id string, n uint64) (nextbest.Record, bool)
	List(kind nextbest.Kind) []nextbest.Record // latest records, without deleted ones
}

// Trail answers who changed what.
type Trail interface {
	History(kind nextbest.Kind, id string) []nextbest.Record
	Snapshot() (revision uint64, all []nextbest.Record)
}

// Writer writes one record and returns once this replica has applied it.
type Writer interface {
	Put(ctx context.Context, change nextbest.Change) (nextbest.Record, error)
}

// Registry is where definitions live.
type Registry interface {
	Definitions
	Trail
	Writer
}

// Checker says what is wrong with a definition before it is written, seen
// against everything else that is defined. The record has no revision yet.
type Checker interface {
	Check(ctx context.Context, record nextbest.Record) error
}

// Outcomes takes what followed; it returns when everything is durable. One
// call of Rewards is all or nothing. Neither may keep the slice, which is used
// again.
type Outcomes interface {
	Impressions(ctx context.Context, impressions []nextbest.Impression) (position uint64, err error)
	Rewards(ctx context.Context, rewards []nextbest.Reward) (position uint64, err error)
}

// Pseudonyms turns a customer's identifier into the pseudonym of the log; kind
// "" is the default kind of identifier.
type Pseudonyms interface {
	Pseudonym(kind, id string) (string, error)
}

// Log reads single rows back.
type Log interface {
	// Decision returns the slots of one decision, none when it is not there.
	Decision(ctx context.Context, id uuid.UUID) ([]nextbest.Decision, error)
	Unmatched(ctx context.Context, q UnmatchedQuery) ([]UnmatchedReward, error)
	// SQL runs one SELECT on the documented views, read-only and within limits.
	SQL(ctx context.Context, query string) (SQLResult, error)
}

// SQLResult is what a statement gave.
type SQLResult struct {
	Columns []SQLColumn `json:"columns"`
	Rows    [][]any     `json:"rows" doc:"a value for each column; null where it is NULL or not finite"`
}

// SQLColumn is a column of a result.
type SQLColumn struct {
	Name string `json:"name"`
	Type string `json:"type" doc:"as ClickHouse writes it"`
}

// UnmatchedQuery selects rewards that belong to no decision.
type UnmatchedQuery struct {
	Kind     string
	From, To time.Time // From ≤ time < To; zero: open
	Limit    int
}

// UnmatchedReward is a reward that belongs to no decision, and why.
type UnmatchedReward struct {
	ID         string     `json:"id"`
	Kind       string     `json:"kind"`
	Value      float64    `json:"value"`
	Time       time.Time  `json:"time"`
	DecisionID *uuid.UUID `json:"decision_id,omitempty" format:"uuid"`
	Customer   string     `json:"customer,omitempty" doc:"pseudonym"`
	Why        string     `json:"why,omitempty"`
}

// Trainer learns from the log.
type Trainer interface {
	// Train makes a model; the record is the model's.
	Train(ctx context.Context, t Training) (nextbest.Record, error)
	// Migrate makes a model of one policy version out of another version's.
	Migrate(ctx context.Context, m Migration) (nextbest.Record, error)
	// Moments fills the means and deviations that a feature schema leaves out.
	Moments(ctx context.Context, definition []byte, from MomentsFrom) ([]byte, error)
}

// Rebuilder learns a published model again from the log and compares; number 0
// is the current one.
type Rebuilder interface {
	Rebuild(ctx context.Context, policy nextbest.Ref, number uint64, progress func(rows int64)) (learning.Rebuilt, error)
}

// Models compares models and chooses which one of a policy version is current.
// ifMatch 0 stands for the pointer as it is now.
type Models interface {
	Diff(ctx context.Context, policy nextbest.Ref, from, to uint64) (learning.Diff, error)
	Rollback(ctx context.Context, policy nextbest.Ref, model, ifMatch uint64, actor, reason string) (nextbest.Record, error)
	Resume(ctx context.Context, policy nextbest.Ref, ifMatch uint64, actor, reason string) (nextbest.Record, error)
}

// Training asks for one model of a policy version.
type Training struct {
	Policy    nextbest.Ref
	Placement string
	Objective string
	From, To  time.Time
	MatureAt  time.Time
	Split     *nextbest.Split
	Source    string // live, an import's name, or "" for all
	Base      uint64 // model to continue; 0: none
	Actor     string
	Reason    string
}

// Migration asks for a model of a policy version with the sums of another
// version's.
type Migration struct {
	Policy nextbest.Ref
	From   nextbest.Ref
	Model  uint64
	Actor  string
	Reason string
}

// Weights shows what a model has learned.
type Weights interface {
	Weights(ctx context.Context, model nextbest.Record) (any, error)
}

// Evaluator runs an off-policy evaluation; what it returns is kept as JSON.
type Evaluator interface {
	Evaluate(ctx context.Context, e Evaluation, progress Progress) (any, error)
	// Repeat runs a finished evaluation again, exactly as it was: e is what was
	// asked and result what came of it. A report that differs is an error.
	Repeat(ctx context.Context, e Evaluation, result json.RawMessage, progress Progress) (any, error)
}

// Verifier replays logged decisions.
type Verifier interface {
	Verify(ctx context.Context, v Verification, progress func(done int64)) (Verified, error)
}

// Importer takes rows that somebody else logged; it takes all of them or none.
type Importer interface {
	Import(ctx context.Context, m Import) (Imported, error)
}

// Lifecycle changes the state of experiments and placements.
type Lifecycle interface {
	Apply(ctx context.Context, command Command) (nextbest.Record, error)
	// Undo takes back the last step at a placement: it ends the experiment that
	// is running there, "" where none was, or takes the placement to what it
	// served before.
	Undo(ctx context.Context, command Command) (placement nextbest.Record, ended string, err error)
}

// Evidence answers how an experiment is doing.
type Evidence interface {
	// Gates judges a promotion; evaluation "" is the one that the experiment names.
	Gates(ctx context.Context, experiment, arm string, model uint64, evaluation string) (any, error)
	Status(ctx context.Context, experiment string) (any, error)
}

// Command asks for one change of state.
type Command struct {
	Verb  string // start, ramp, promote or stop
	ID    string // of the experiment, or of the placement for a rollback
	Arm   string
	Model uint64
	Ramp  float64
	// Evaluation is the offline evidence of a promotion; "": the one that the
	// experiment names.
	Evaluation string
	Actor      string // key's id: whoever promotes must not be the author
	Reason     string
}

// Console answers what the console shows.
type Console interface {
	Overview(ctx context.Context) (any, error)
}

// Readiness names what the server depends on and how it is.
type Readiness interface {
	Ready(ctx context.Context) []Dependency
}

// Dependency is one thing that has to work before this server is ready.
type Dependency struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
	// Optional dependencies may be away while calls are answered: the server is
	// ready, and degraded.
	Optional bool `json:"optional,omitempty"`
}
