package decisions

import (
	"context"
	"time"

	"nextbest"
)

// reservation is what a decision wrote into the contact history.
type reservation struct {
	customer string
	contacts []nextbest.Contact // of the slots; none: nothing is contacted
	revision uint64
	at       time.Time
}

// quickRecord is how soon after its reservation a record is certain to be older
// than any loss of the history: a history in a server's memory is lost with
// that server, and the connection to the next one takes longer than this.
const quickRecord = 200 * time.Millisecond

// keep makes sure that contacts whose record is durable now are in the contact
// history. Where the history was lost between the two, it was rebuilt from a
// log without the record: others may have been given the place under the cap.
// Then the contacts are put back, so that they count from now on, and the error is
// Unavailable: the action must not be taken.
func (p *Pipeline) keep(ctx context.Context, r reservation) error {
	if len(r.contacts) == 0 || p.o.HistoryKept == nil || time.Since(r.at) < quickRecord {
		return nil
	}
	kept, err := p.o.HistoryKept(ctx, r.revision)
	if kept && err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	put := p.change(ctx, p.o.Catalogue(), r.customer, func(contacts []nextbest.Contact) ([]nextbest.Contact, bool) {
		different := false
		for _, k := range r.contacts {
			if find(contacts, k.DecisionID, k.Slot) < 0 {
				contacts, different = append(contacts, k), true
			}
		}
		return contacts, different
	})
	if put != nil {
		p.o.Logger.Warn("a contact is missing in the contact history until it is rebuilt", "decision", r.contacts[0].DecisionID, "error", put)
	}
	if err != nil {
		return unavailable("the contact history", err)
	}
	return nextbest.Errorf(nextbest.Unavailable, "the contact history was lost while decision %x was recorded, so its place under a cap may have been given away; do not act on it, and ask again", r.contacts[0].DecisionID)
}
