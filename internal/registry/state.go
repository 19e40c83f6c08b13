package registry

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"nextbest"
)

// state is what the stream's messages amount to, up to one revision. It is a
// pure function of them; the Registry guards it with a lock.
type state struct {
	revision uint64 // of the last message applied
	objects  map[nextbest.Kind]map[string]*object
	records  []nextbest.Record // in stream order; only ever appended to
	head     [sha256.Size]byte // hash over the hashes of all records
	problems []string          // messages that fail their checks, left out
}

// object is one definition with all its records.
type object struct {
	last    uint64 // revision of the subject's last message, good or bad
	entries []entry
}

type entry struct {
	record nextbest.Record
	hash   string
	nonce  string
}

func newState() *state {
	return &state{objects: map[nextbest.Kind]map[string]*object{}}
}

// apply takes the message at a revision. A message that fails its checks is
// left out and recorded as a problem: the object stays as it was.
func (s *state) apply(revision uint64, subject string, body []byte) {
	if revision <= s.revision {
		return
	}
	if revision != s.revision+1 {
		s.problem(s.revision+1, subject, fmt.Errorf("%d messages are missing before revision %d", revision-s.revision-1, revision))
	}
	s.revision = revision
	kind, id, err := parseSubject(subject)
	if err != nil {
		s.problem(revision, subject, err)
		return
	}
	byID := s.objects[kind]
	if byID == nil {
		byID = map[string]*object{}
		s.objects[kind] = byID
	}
	o := byID[id]
	if o == nil {
		o = &object{}
		byID[id] = o
	}
	o.last = revision
	e, err := decodeEnvelope(body)
	if err != nil {
		s.problem(revision, subject, err)
		return
	}
	if want := uint64(len(o.entries)) + 1; e.Version != want {
		s.problem(revision, subject, fmt.Errorf("it says version %d where version %d is due", e.Version, want))
		return
	}
	if want := o.hash(); e.Previous != want {
		s.problem(revision, subject, fmt.Errorf("it names %q as the hash of the record before, which is %q", e.Previous, want))
		return
	}
	rec := nextbest.Record{
		Kind: kind, ID: id, Version: e.Version, Revision: revision,
		Document: e.Document, Deleted: e.Deleted,
		Actor: e.Actor, Reason: e.Reason, Time: e.Time.UTC(), Previous: e.Previous,
	}
	hash := hashOf(subject, body)
	o.entries = append(o.entries, entry{rec, hash, e.Nonce})
	s.records = append(s.records, rec)
	s.head = sha256.Sum256(append(s.head[:], hash...))
}

func (s *state) problem(revision uint64, subject string, err error) {
	s.problems = append(s.problems, fmt.Sprintf("revision %d, %s: %v", revision, subject, err))
}

func (s *state) headHash() string { return hex.EncodeToString(s.head[:]) }

// object returns the object, or an empty one that is not kept.
func (s *state) object(kind nextbest.Kind, id string) *object {
	if o := s.objects[kind][id]; o != nil {
		return o
	}
	return &object{}
}

// hash returns the hash of the last record, "" when there is none.
func (o *object) hash() string {
	if n := len(o.entries); n > 0 {
		return o.entries[n-1].hash
	}
	return ""
}

// latest returns the last record; false when there is none or it is deleted.
func (o *object) latest() (nextbest.Record, bool) {
	n := len(o.entries)
	if n == 0 || o.entries[n-1].record.Deleted {
		return nextbest.Record{}, false
	}
	return o.entries[n-1].record, true
}

// written returns the record that carries the nonce, newest first.
func (o *object) written(nonce string) (nextbest.Record, bool) {
	for i := len(o.entries) - 1; i >= 0; i-- {
		if o.entries[i].nonce == nonce {
			return o.entries[i].record, true
		}
	}
	return nextbest.Record{}, false
}

// list returns the kind's objects that exist, by id.
func (s *state) list(kind nextbest.Kind) []nextbest.Record {
	byID := s.objects[kind]
	out := make([]nextbest.Record, 0, len(byID))
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		if r, ok := byID[id].latest(); ok {
			out = append(out, r)
		}
	}
	return out
}
