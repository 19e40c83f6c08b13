package nextbest

import "github.com/google/uuid"

// Batch is a block of logged decisions joined with what followed, column by
// column. Row i's eligible set is Eligible[Offsets[i]:Offsets[i+1]] (indices
// into Actions), and Probabilities runs beside it.
//
// Rows come ordered by customer, so that consecutive rows of one customer can
// be summed with flat memory; a customer may span two batches.
type Batch struct {
	Actions []string // dictionary; a stream's batches share it, and later ones may extend it

	Decision []uuid.UUID
	Time     []int64 // microseconds since the Unix epoch
	Customer []string

	Offsets       []int     // N+1
	Eligible      []uint32  // indices into Actions
	Probabilities []float64 // of the serving policy
	Chosen        []int     // position of the logged action within the row's eligible set
	// Propensity is the probability of the logged action, NaN where it is
	// unknown: the mixture's over the selected arms, or with Query.Own the
	// serving arm's.
	Propensity []float64
	Floor      []float64 // declared least such propensity of an eligible action; 0: none

	Width    int       // features per row; 0 when rows carry none
	X        []float32 // N × Width, row after row
	Contexts [][]byte  // canonical JSON of context and customer; nil unless asked for

	Policies   []string // id@version that served
	Features   []string // id@version of the schema that X is in, "" where rows carry none
	Experiment []string
	Arm        []string
	// Shares are the arms that row i's customer might have been in, nil where none
	// ran or none were logged. Rows that have the same arms may share one value.
	// Readers that know of no arms leave it empty.
	Shares []*ArmShares

	Reward  []float64 // aggregated by the objective, or the default
	Matched []bool    // a reward that counts was seen
}

// ArmShares are the arms that a customer might have been in, each with the
// probability of it: the holdout's and those of an experiment, or "" outside.
type ArmShares struct {
	Arms   []string
	Shares []float64 // beside Arms
}

// N returns the number of rows.
func (b *Batch) N() int { return len(b.Decision) }

// Row returns row i's eligible actions and their logged probabilities.
func (b *Batch) Row(i int) (eligible []uint32, probabilities []float64) {
	lo, hi := b.Offsets[i], b.Offsets[i+1]
	return b.Eligible[lo:hi], b.Probabilities[lo:hi]
}
