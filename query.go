package nextbest

import "time"

// Query selects mature logged rows, one for each decided slot, whatever was
// shown.
type Query struct {
	Placement string    // id for every version, or id@version
	Source    string    // live, an import's name, or "" for all
	From, To  time.Time // of the decision, From ≤ t < To; zero: open
	// MatureAt is W: only rows with time + window ≤ W count, and only rewards
	// with time < decision + window. Zero: now.
	MatureAt time.Time
	// Upto is P: only events at journal positions ≤ P count. 0: all.
	Upto      uint64
	Objective Objective // a single reward kind is an objective of one term
	Split     *Split    // nil: every customer

	Experiment string // id or id@version, "" for all
	Arms       []string
	// SkipHeld leaves out customers while they are in the universal holdout. An
	// arm that is left out, by SkipHeld, Experiment or Arms, also leaves the
	// mixture: Batch.Propensity and Batch.Floor are then those of the arms that
	// are selected.
	SkipHeld bool
	// Own makes Batch.Propensity and Batch.Floor those of the arm that served,
	// whichever arms are selected. Customers stay in their arms, so where caps
	// or cool-downs act, who may still be contacted depends on the arm that
	// contacted them before: given the row, the shares are no longer the chances
	// of having been in each arm, and the mixture is not the probability with
	// which the action was taken. The serving arm's own is exactly that, whatever
	// its earlier decisions led to. Weights by it vary more.
	Own bool
	// SkipSetAside leaves out rows set aside for evaluation.
	SkipSetAside bool
	Contexts     bool // fill Batch.Contexts
	// Schema, with Contexts, leaves the contexts of rows empty whose X is in this
	// schema (id@version) already.
	Schema    string
	BatchSize int // rows in a batch; 0: 8192
}

// Split selects the customers with From ≤ Uniform(Salt, customer) < To.
type Split struct {
	Salt string  `json:"salt"`
	From float64 `json:"from"`
	To   float64 `json:"to"`
}

// Contains reports whether the split holds the customer.
func (s *Split) Contains(customer string) bool {
	if s == nil {
		return true
	}
	u := Uniform(s.Salt, customer)
	return s.From <= u && u < s.To
}

// EnrolmentQuery selects the customers of one experiment.
type EnrolmentQuery struct {
	Experiment string    // id: every version of the definition
	Rewards    []string  // kinds to join, in this order
	Window     Duration  // after the enrolment
	MatureAt   time.Time // only customers with enrolment + Window ≤ MatureAt; zero: now
}

// Enrolment is one customer of an experiment with what followed within the
// window after the first decision, whatever was shown. First and Total run
// beside EnrolmentQuery.Rewards.
type Enrolment struct {
	Customer  string
	Arm       string
	Time      time.Time   // first decision in the experiment
	Decisions int         // within the window
	First     []time.Time // first reward of the kind, zero when none
	Total     []float64   // sum of the kind's values
}

// Contact is one entry of a customer's contact history.
type Contact struct {
	DecisionID [16]byte
	Slot       uint8
	Action     string
	Group      string
	Channel    string
	Time       time.Time
	Status     ContactStatus
	Expires    time.Time // when a reservation that nobody confirmed stops counting
}

// ContactStatus says whether a contact is only reserved or happened.
type ContactStatus string

// The statuses of a contact.
const (
	Reserved  ContactStatus = "reserved"
	Contacted ContactStatus = "contacted"
)
