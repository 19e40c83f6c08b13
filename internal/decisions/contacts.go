package decisions

import (
	"context"
	"encoding/binary"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"nextbest"
	"nextbest/internal/actions"
)

// Contacts keeps each customer's contact history as one value that changes
// only by compare-and-set.
type Contacts interface {
	// Get returns the value and its revision, nil and 0 where there is none.
	Get(ctx context.Context, customer string) (value []byte, revision uint64, err error)
	// CompareAndSet writes the value if the revision is still the one given (0:
	// if there is none). ok false means that it is not, and nothing changed.
	CompareAndSet(ctx context.Context, customer string, value []byte, revision uint64) (next uint64, ok bool, err error)
}

// A contact history is stored as a format byte and, for each contact: decision
// id (16), slot (1), status (1: reserved, 2: contacted), time and expiry
// (microseconds since 1970, 8 each, big-endian), then action, group and
// channel, each with its length in one byte (ids have at most 63).
const (
	contactFormat = 1
	contactHead   = 16 + 1 + 1 + 8 + 8
)

// appendContacts appends the stored form of a history to dst.
func appendContacts(dst []byte, contacts []nextbest.Contact) []byte {
	dst = append(dst, contactFormat)
	for i := range contacts {
		k := &contacts[i]
		status := byte(1)
		if k.Status == nextbest.Contacted {
			status = 2
		}
		dst = append(dst, k.DecisionID[:]...)
		dst = append(dst, k.Slot, status)
		dst = binary.BigEndian.AppendUint64(dst, uint64(k.Time.UnixMicro()))
		dst = binary.BigEndian.AppendUint64(dst, uint64(k.Expires.UnixMicro()))
		for _, s := range [...]string{k.Action, k.Group, k.Channel} {
			s = s[:min(len(s), 255)]
			dst = append(dst, byte(len(s)))
			dst = append(dst, s...)
		}
	}
	return dst
}

// readContacts appends a stored history to dst. Names that the catalogue knows
// are not copied.
func readContacts(dst []nextbest.Contact, value []byte, names map[string]string) ([]nextbest.Contact, error) {
	if len(value) == 0 {
		return dst, nil
	}
	broken := func() ([]nextbest.Contact, error) {
		return nil, nextbest.Errorf(nextbest.Internal, "contact history of %d bytes, format %d, cannot be read; a newer version may have written it", len(value), value[0])
	}
	if value[0] != contactFormat {
		return broken()
	}
	for b := value[1:]; len(b) > 0; {
		if len(b) < contactHead || b[17] != 1 && b[17] != 2 {
			return broken()
		}
		k := nextbest.Contact{Slot: b[16], Status: nextbest.Reserved}
		copy(k.DecisionID[:], b)
		if b[17] == 2 {
			k.Status = nextbest.Contacted
		}
		k.Time = time.UnixMicro(int64(binary.BigEndian.Uint64(b[18:]))).UTC()
		k.Expires = time.UnixMicro(int64(binary.BigEndian.Uint64(b[26:]))).UTC()
		b = b[contactHead:]
		for _, s := range [...]*string{&k.Action, &k.Group, &k.Channel} {
			if len(b) == 0 || len(b) < 1+int(b[0]) {
				return broken()
			}
			raw := b[1 : 1+int(b[0])]
			known, ok := names[string(raw)]
			if !ok {
				known = string(raw)
			}
			*s, b = known, b[1+len(raw):]
		}
		dst = append(dst, k)
	}
	return dst, nil
}

// trim drops what no cap can count any more.
func trim(contacts []nextbest.Contact, now time.Time, window time.Duration) []nextbest.Contact {
	since := now.Add(-window)
	kept := contacts[:0]
	for i := range contacts {
		if contacts[i].Time.After(since) && actions.Counts(&contacts[i], now) {
			kept = append(kept, contacts[i])
		}
	}
	return kept
}

// turns makes the decisions of one customer in this process wait for each
// other, so that only other replicas cause conflicts.
type turns struct {
	seed  maphash.Seed
	locks [1024]sync.Mutex
}

func (t *turns) of(customer string) *sync.Mutex {
	return &t.locks[maphash.String(t.seed, customer)%uint64(len(t.locks))]
}

// MergeHistories joins two stored histories of one customer: what is in both
// is taken from current.
func MergeHistories(current, loaded []byte) ([]byte, error) {
	contacts, err := readContacts(nil, current, nil)
	if err != nil {
		return nil, err
	}
	more, err := readContacts(nil, loaded, nil)
	if err != nil {
		return nil, err
	}
	for i := range more {
		if find(contacts, more[i].DecisionID, more[i].Slot) < 0 {
			contacts = append(contacts, more[i])
		}
	}
	slices.SortStableFunc(contacts, func(a, b nextbest.Contact) int { return a.Time.Compare(b.Time) })
	return appendContacts(nil, contacts), nil
}

func find(contacts []nextbest.Contact, id [16]byte, slot uint8) int {
	return slices.IndexFunc(contacts, func(k nextbest.Contact) bool { return k.DecisionID == id && k.Slot == slot })
}

// LoggedContacts reads contacts back from the log.
type LoggedContacts interface {
	Contacts(ctx context.Context, since time.Time, each func(customer string, c nextbest.Contact) error) error
}

// LoadHistories puts back the contact history that the log knows, for as far
// back as any action looks: load is called with stored histories to be joined
// by MergeHistories, for one customer perhaps several times. Reservations
// expire after the given time.
func LoadHistories(ctx context.Context, c *Catalogue, log LoggedContacts, now time.Time, reservation time.Duration, load func(ctx context.Context, customer string, value []byte) error) error {
	const most = 50_000 // contacts held in memory
	held := map[string][]nextbest.Contact{}
	n := 0
	flush := func() error {
		for customer, contacts := range held {
			if err := load(ctx, customer, appendContacts(nil, contacts)); err != nil {
				return err
			}
		}
		clear(held)
		n = 0
		return nil
	}
	err := log.Contacts(ctx, now.Add(-c.window), func(customer string, k nextbest.Contact) error {
		k.Group = c.groups[k.Action]
		if k.Status == nextbest.Reserved && k.Expires.IsZero() {
			k.Expires = k.Time.Add(reservation)
		}
		held[customer] = append(held[customer], k)
		if n++; n >= most {
			return flush()
		}
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}
