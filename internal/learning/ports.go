package learning

import (
	"context"
	"time"

	"nextbest"
)

// Log gives the mature rows of the log, ordered by customer. Rows must not
// depend on events after Query.Upto, nor on time passing.
type Log interface {
	Rows(ctx context.Context, q nextbest.Query, batch func(*nextbest.Batch) error) error
}

// Touched is what a Log may offer so that a live trainer can tell late events
// from new rows. It reports whether any event at a journal position in
// (after, q.Upto] changes the rows that q selects: a reward that came late, was
// corrected or withdrawn, or a decision that was imported. True is always safe.
// Without it every pass that sees new events starts from zero.
type Touched interface {
	Touched(ctx context.Context, q nextbest.Query, after uint64) (bool, error)
}

// SetAside is what a Log may offer so that whoever trains is told how many rows
// of the range were left out because they are set aside for evaluation.
type SetAside interface {
	SetAside(ctx context.Context, q nextbest.Query) (rows int64, err error)
}

// Position tells up to which journal position P the log is complete.
type Position interface {
	Position() uint64
}

// Definitions answers what is defined. Get and List leave deleted objects out.
type Definitions interface {
	Get(kind nextbest.Kind, id string) (nextbest.Record, bool)
	Version(kind nextbest.Kind, id string, n uint64) (nextbest.Record, bool)
	List(kind nextbest.Kind) []nextbest.Record
}

// Writer writes one record by compare-and-set and returns once it can be read.
type Writer interface {
	Put(ctx context.Context, c nextbest.Change) (nextbest.Record, error)
}

// Blobs keeps models by the hash of their content.
type Blobs interface {
	PutBlob(ctx context.Context, content []byte) (hash string, err error)
	Blob(ctx context.Context, hash string) ([]byte, error)
}

// Lease keeps replicas from doing the same work. It only saves work: a trainer
// that wrongly believes it holds one publishes nothing wrong.
type Lease interface {
	Hold(ctx context.Context, name string, span time.Duration) (bool, error)
}
