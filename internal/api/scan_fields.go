package api

import (
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"nextbest"
)

// text reads a string of 1 to limit bytes.
func (s *scanner) text(limit int) (string, error) {
	b, err := s.str()
	if err != nil {
		return "", err
	}
	if len(b) == 0 || len(b) > limit {
		return "", refuse("must have 1 to %d bytes, has %d", limit, len(b))
	}
	return string(b), nil
}

// maxAhead is how far a caller's clock may run before ours.
const maxAhead = 5 * time.Minute

// oldest is the earliest moment that the log's clock can hold.
var oldest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// time reads an RFC 3339 moment, refused when it lies in the future.
func (s *scanner) time(now time.Time) (time.Time, error) {
	b, err := s.str()
	if err != nil {
		return time.Time{}, err
	}
	var t time.Time
	if err := t.UnmarshalText(b); err != nil {
		return t, refuse("%s is not a time", clip(b)).with("write it as RFC 3339 says, such as 2026-11-23T14:05:00Z")
	}
	t = t.UTC()
	if t.After(now.Add(maxAhead)) {
		return t, refuse("%s lies in the future; here it is %s", clip(b), now.Format(time.RFC3339)).with("check the clock and the time zone")
	}
	if t.Before(oldest) {
		return t, refuse("%s lies before the year 2000", clip(b)).with("check the unit and the time zone")
	}
	return t, nil
}

// decisionID reads the id of a decision of ours: a UUIDv7 that has been
// minted already.
func (s *scanner) decisionID(now time.Time) (uuid.UUID, error) {
	b, err := s.str()
	if err != nil {
		return uuid.Nil, err
	}
	return parseDecisionID(b, now)
}

func parseDecisionID(b []byte, now time.Time) (uuid.UUID, error) {
	id, err := uuid.ParseBytes(b)
	if err != nil || len(b) != 36 {
		return uuid.Nil, refuse("%s is not a decision id", clip(b)).with("send the decision_id of the decision's answer as it is")
	}
	if id.Version() != 7 || id.Variant() != uuid.RFC4122 {
		return uuid.Nil, refuse("%s was not minted here: decision ids are version 7 UUIDs", id).with("send the decision_id of the decision's answer")
	}
	ms := int64(id[0])<<40 | int64(id[1])<<32 | int64(id[2])<<24 | int64(id[3])<<16 | int64(id[4])<<8 | int64(id[5])
	if time.UnixMilli(ms).After(now.Add(maxAhead)) {
		return uuid.Nil, refuse("%s names a decision of the future", id).with("send the decision_id of the decision's answer")
	}
	return id, nil
}

// slot reads the number of a slot.
func (s *scanner) slot() (uint8, error) {
	v, err := s.number()
	if err != nil {
		return 0, err
	}
	if v < 1 || v > 255 || v != float64(uint8(v)) {
		return 0, refuse("%v is not the number of a slot, which start at 1", v)
	}
	return uint8(v), nil
}

// customer reads {"id":…,"type":…} and returns the pseudonym.
func (s *scanner) customer(p Pseudonyms) (string, error) {
	return s.described(p, nil)
}

// described reads {"id":…,"type":…, …attributes} and returns the pseudonym; the
// attributes go into the map. A nil map refuses them.
func (s *scanner) described(p Pseudonyms, attributes map[string]any) (string, error) {
	kind, id, err := s.person(attributes)
	if err != nil {
		return "", err
	}
	pseudonym, err := p.Pseudonym(kind, id)
	return pseudonym, within(err, "customer.")
}

// person reads {"id":…,"type":…, …attributes}; a nil map refuses attributes.
func (s *scanner) person(attributes map[string]any) (kind, id string, err error) {
	if err := s.open('{'); err != nil {
		return "", "", err
	}
	for first := true; ; first = false {
		b, ok, err := s.name(first)
		if err != nil {
			return "", "", err
		}
		if !ok {
			break
		}
		switch string(b) {
		case "id":
			if id != "" {
				return "", "", inField(refuse("the name appears twice"), "id")
			}
			if id, err = s.text(512); err != nil {
				return "", "", inField(err, "id")
			}
		case "type":
			if kind != "" {
				return "", "", inField(refuse("the name appears twice"), "type")
			}
			if kind, err = s.text(64); err != nil {
				return "", "", inField(err, "type")
			}
		default:
			if attributes == nil {
				return "", "", inField(unknownField(), string(b))
			}
			name, before := s.intern(b), len(attributes)
			v, err := s.value(2)
			if err != nil {
				return "", "", inField(err, name)
			}
			attributes[name] = v
			if len(attributes) == before {
				return "", "", inField(refuse("the name appears twice"), name)
			}
		}
	}
	if id == "" {
		return "", "", inField(refuse("is missing"), "id")
	}
	return kind, id, nil
}

// within turns a domain's error about one field of ours into one that can say
// where that field stands.
func within(err error, prefix string) error {
	var e *nextbest.Error
	if !errors.As(err, &e) || e.Code != nextbest.Invalid || len(e.Problems) == 0 {
		return err
	}
	first := e.Problems[0]
	return inField(refuse("%s", first.Message).with(first.Cure), strings.TrimPrefix(first.Field, prefix))
}
