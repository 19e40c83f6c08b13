package decisions

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"nextbest"
)

// Impressions records impressions; it returns when they are durable.
type Impressions interface {
	Impressions(ctx context.Context, impressions []nextbest.Impression) (position uint64, err error)
}

// A decision reaches the log within this time, or the log is behind. An
// impression of a younger decision that is not there yet is taken on trust and
// tried again.
const (
	logLag       = 5 * time.Minute
	retryEvery   = time.Second
	giveUpAfter  = time.Hour
	youngLook    = 500 * time.Millisecond // into the log, for a decision that may not be there yet
	oldLook      = 5 * time.Second
	futureAtMost = time.Minute
)

// Impression records what became of a decision and brings the contact history
// up to date: shown and delivered confirm the contact, bounced and not_shown
// release it, overridden makes it one of the action that was taken instead.
// Errors: nextbest.Invalid naming the field, NotFound for a decision that the
// log does not have, Unavailable when an engine is away.
func (p *Pipeline) Impression(ctx context.Context, i nextbest.Impression) error {
	_, err := p.Impressions(ctx, []nextbest.Impression{i})
	return err
}

// Impressions records several impressions, all or none, and returns their
// position in the journal. See Impression.
func (p *Pipeline) Impressions(ctx context.Context, list []nextbest.Impression) (position uint64, err error) {
	if p.o.Impressions == nil {
		return 0, nextbest.Errorf(nextbest.Internal, "this pipeline was made without a journal of impressions")
	}
	c := p.o.Catalogue()
	now := p.o.Clock().UTC()
	list = slices.Clone(list)
	found := make([]struct {
		made
		known bool
	}, len(list))
	for n := range list {
		i := &list[n]
		if i.Slot == 0 {
			i.Slot = 1
		}
		if i.Time.IsZero() {
			i.Time = now
		}
		i.Time = i.Time.UTC().Truncate(time.Microsecond)
		if err := checkImpression(c, i, now); err != nil {
			return 0, err
		}
		young, limit := now.Sub(MintedAt(i.DecisionID)) < logLag, oldLook
		if young {
			limit = youngLook // it can be taken on trust
		}
		found[n].made, found[n].known, err = p.lookUp(ctx, i.DecisionID, i.Slot, limit)
		if !found[n].known && err == nil && i.Slot > 1 {
			// All slots of a decision become known together.
			if _, first, _ := p.lookUp(ctx, i.DecisionID, 1, limit); first {
				return 0, nextbest.FieldErrorf("slot", "%d: decision %s has no such slot", i.Slot, i.DecisionID)
			}
		}
		if !found[n].known && !young {
			if err != nil {
				return 0, unavailable("the log", err)
			}
			return 0, &nextbest.Error{Code: nextbest.NotFound, Message: "no such decision",
				Problems: []nextbest.Problem{{Field: "decision_id", Message: fmt.Sprintf("decision %s, slot %d, is not in the log", i.DecisionID, i.Slot)}}}
		}
	}
	if position, err = p.o.Impressions.Impressions(ctx, list); err != nil {
		return 0, unavailable("the journal", err)
	}
	for n := range list {
		if found[n].known {
			if err = p.updateContact(ctx, &found[n].made, &list[n]); err == nil {
				continue
			}
			p.o.Logger.Warn("an impression is recorded, and the contact history comes later", "decision", list[n].DecisionID, "error", err)
		}
		p.postpone(list[n])
	}
	return position, nil
}

func checkImpression(c *Catalogue, i *nextbest.Impression, now time.Time) error {
	var p nextbest.Problems
	if i.DecisionID.Version() != 7 {
		p.Add("decision_id", "%s is not a decision's id", i.DecisionID)
	} else if MintedAt(i.DecisionID).After(now.Add(futureAtMost)) {
		p.Add("decision_id", "%s is of the future: no decision has it", i.DecisionID)
	} else if i.Time.Before(MintedAt(i.DecisionID).Add(-futureAtMost)) {
		p.Add("time", "%s is before the decision", i.Time.Format(time.RFC3339))
	}
	if i.Slot > MaxSlots {
		p.Add("slot", "%d: decisions have at most %d slots", i.Slot, MaxSlots)
	}
	if i.Time.After(now.Add(futureAtMost)) {
		p.Add("time", "%s is in the future", i.Time.Format(time.RFC3339))
	}
	switch _, exists := c.groups[i.Action]; {
	case !i.Status.Valid():
		p.Add("status", "%q must be shown, delivered, bounced, not_shown or overridden", i.Status)
	case i.Status == nextbest.Overridden && !exists:
		p.Add("action", "%q is not an action; overridden needs the action that was taken instead", i.Action)
	case i.Status != nextbest.Overridden && i.Action != "":
		p.Add("action", "only overridden names an action")
	}
	return p.Err("the impression")
}

// made is what an impression must know of its decision.
type made struct {
	id       uuid.UUID
	slot     uint8
	customer string
	action   string
	channel  string
	time     time.Time
	tracked  bool // contacts at its placement are in the history
}

// lookUp asks the log no longer than the limit: a log that hangs must not keep
// callers waiting.
func (p *Pipeline) lookUp(ctx context.Context, id uuid.UUID, slot uint8, limit time.Duration) (made, bool, error) {
	if m, ok := p.recent.get(slotKey{id, slot}); ok {
		return m, true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	d, ok, err := p.o.Log.ByID(ctx, id, slot)
	if err != nil || !ok {
		return made{}, false, err
	}
	r, _ := nextbest.ParseRef(d.Placement)
	pl := p.o.Catalogue().placements[r.ID]
	return madeOf(&d, pl != nil && pl.tracked), true, nil
}

func madeOf(d *nextbest.Decision, tracked bool) made {
	return made{id: d.ID, slot: d.Slot, customer: d.Customer, action: d.Action, channel: d.Channel, time: d.Time, tracked: tracked}
}

// updateContact applies an impression to the customer's contact history.
func (p *Pipeline) updateContact(ctx context.Context, m *made, i *nextbest.Impression) error {
	if !m.tracked {
		return nil
	}
	c := p.o.Catalogue()
	return p.change(ctx, c, m.customer, func(contacts []nextbest.Contact) ([]nextbest.Contact, bool) {
		at := find(contacts, m.id, m.slot)
		k := nextbest.Contact{DecisionID: m.id, Slot: m.slot, Action: m.action, Group: c.groups[m.action], Channel: m.channel, Time: m.time, Status: nextbest.Contacted}
		happened := i.Status == nextbest.Shown || i.Status == nextbest.Delivered
		if i.Status == nextbest.Overridden {
			k.Action, k.Group = i.Action, c.groups[i.Action]
			happened = true
		}
		happened = happened && k.Action != nextbest.DoNothing
		switch {
		case happened && at >= 0:
			contacts[at] = k
		case happened:
			contacts = append(contacts, k)
		case at >= 0:
			contacts = slices.Delete(contacts, at, at+1)
		default:
			return contacts, false
		}
		return contacts, true
	})
}

// release takes back the reservations of a decision that is not given out.
func (p *Pipeline) release(ctx context.Context, d *nextbest.Decision) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	err := p.change(ctx, p.o.Catalogue(), d.Customer, func(contacts []nextbest.Contact) ([]nextbest.Contact, bool) {
		left := slices.DeleteFunc(contacts, func(k nextbest.Contact) bool { return k.DecisionID == d.ID })
		return left, len(left) < len(contacts)
	})
	if err != nil {
		p.o.Logger.Warn("the reservation of an unused decision stays until it expires", "decision", d.ID, "error", err)
	}
}

// change applies f to a customer's history by compare-and-set, unless f says
// that nothing changed.
func (p *Pipeline) change(ctx context.Context, c *Catalogue, customer string, f func([]nextbest.Contact) (changed []nextbest.Contact, different bool)) error {
	turn := p.turns.of(customer)
	turn.Lock()
	defer turn.Unlock()
	for range p.o.Tries {
		value, revision, err := p.o.Contacts.Get(ctx, customer)
		if err != nil {
			return unavailable("the contact history", err)
		}
		contacts, err := readContacts(nil, value, c.names)
		if err != nil {
			return err
		}
		contacts, different := f(contacts)
		if !different {
			return nil
		}
		contacts = trim(contacts, p.o.Clock().UTC(), c.window)
		if _, ok, err := p.o.Contacts.CompareAndSet(ctx, customer, appendContacts(nil, contacts), revision); err != nil {
			return unavailable("the contact history", err)
		} else if ok {
			return nil
		}
		p.conflicts.Add(1)
	}
	return nextbest.Errorf(nextbest.Unavailable, "the customer's contact history changed %d times meanwhile; try again", p.o.Tries)
}

// pendingImpression waits until its decision is in the log.
type pendingImpression struct {
	impression nextbest.Impression
	since      time.Time
}

// postpone keeps an impression that is recorded for the contact history.
func (p *Pipeline) postpone(i nextbest.Impression) {
	select {
	case p.pending <- pendingImpression{i, p.o.Clock()}:
	default:
		p.o.Logger.Warn("an impression is recorded, and missing from the contact history: too many wait", "decision", i.DecisionID)
	}
}

// Run applies impressions that came before their decision was in the log. It
// blocks until ctx ends. What is pending then is found again when the contact
// history is rebuilt from the log.
func (p *Pipeline) Run(ctx context.Context) error {
	tick := time.NewTicker(retryEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for range len(p.pending) {
			p.retry(ctx, <-p.pending)
		}
	}
}

func (p *Pipeline) retry(ctx context.Context, w pendingImpression) {
	m, known, err := p.lookUp(ctx, w.impression.DecisionID, w.impression.Slot, oldLook)
	if known {
		err = p.updateContact(ctx, &m, &w.impression)
	}
	if known && err == nil {
		return
	}
	if p.o.Clock().Sub(w.since) > giveUpAfter {
		p.o.Logger.Warn("an impression's decision never reached the log", "decision", w.impression.DecisionID, "error", err)
		return
	}
	select {
	case p.pending <- w:
	default:
		p.o.Logger.Warn("an impression was dropped from the contact history: too many wait", "decision", w.impression.DecisionID)
	}
}

// slotKey names one slot of a decision.
type slotKey struct {
	id   uuid.UUID
	slot uint8
}

// recent remembers the slots of the newest decisions, in a ring.
type recent struct {
	sync.Mutex
	ring []made
	next int
	at   map[slotKey]int
}

func newRecent(most int) *recent {
	return &recent{ring: make([]made, most), at: make(map[slotKey]int)}
}

func (r *recent) put(d *nextbest.Decision, tracked bool) {
	r.Lock()
	defer r.Unlock()
	if old := r.ring[r.next]; old.id != (uuid.UUID{}) {
		delete(r.at, slotKey{old.id, old.slot})
	}
	r.ring[r.next] = madeOf(d, tracked)
	r.at[slotKey{d.ID, d.Slot}] = r.next
	r.next = (r.next + 1) % len(r.ring)
}

func (r *recent) get(key slotKey) (made, bool) {
	r.Lock()
	defer r.Unlock()
	i, ok := r.at[key]
	if !ok {
		return made{}, false
	}
	return r.ring[i], true
}
