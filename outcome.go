package nextbest

import (
	"time"

	"github.com/google/uuid"
)

// Impression says what really happened with a decision.
type Impression struct {
	DecisionID uuid.UUID
	Slot       uint8
	Status     ImpressionStatus
	Action     string // what was done instead, for overridden
	Time       time.Time
}

// ImpressionStatus is what became of a decision.
type ImpressionStatus string

// The statuses of an impression.
const (
	Shown      ImpressionStatus = "shown"
	Delivered  ImpressionStatus = "delivered"
	Bounced    ImpressionStatus = "bounced"
	NotShown   ImpressionStatus = "not_shown"
	Overridden ImpressionStatus = "overridden"
)

// Valid reports whether s is one of the five statuses.
func (s ImpressionStatus) Valid() bool {
	switch s {
	case Shown, Delivered, Bounced, NotShown, Overridden:
		return true
	}
	return false
}

// Reward is something that followed: a visit, a purchase, an opt-out. It names
// a decision, or a customer when nobody knows the decision.
type Reward struct {
	ID         string // the caller's; the newest report of an id counts
	Kind       string
	Value      float64
	Time       time.Time
	DecisionID uuid.UUID // zero when the customer is named
	Slot       uint8     // 1 unless the caller says otherwise
	Customer   string    // pseudonym, or "" when the decision is named
	Withdrawn  bool      // true takes the reward back
}
