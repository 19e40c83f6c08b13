package bandit

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strconv"

	"nextbest"
)

// member is one member of a JSON object.
type member struct {
	name string
	raw  json.RawMessage
}

// decodeObject splits a JSON object into its members, in order. Repeated names
// and anything behind the object are problems.
func decodeObject(raw []byte, path string, problems *nextbest.Problems) []member {
	dec := json.NewDecoder(bytes.NewReader(raw))
	refuse := func(err error) []member {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			problems.Add(path, "the JSON ends too early")
		} else {
			problems.Add(path, "is not valid JSON: %v", err)
		}
		return nil
	}
	open, err := dec.Token()
	if err != nil {
		return refuse(err)
	}
	if open != json.Delim('{') {
		problems.Add(path, "must be a JSON object")
		return nil
	}
	var members []member
	seen := map[string]bool{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return refuse(err)
		}
		m := member{name: key.(string)} // the decoder lets nothing else be a key
		if err := dec.Decode(&m.raw); err != nil {
			return refuse(err)
		}
		if seen[m.name] {
			problems.Add(join(path, m.name), "is given twice")
		}
		seen[m.name] = true
		members = append(members, m)
	}
	if _, err := dec.Token(); err != nil {
		return refuse(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		problems.Add(path, "something follows the JSON object")
	}
	return members
}

// join appends a member's name to a path; the document itself has path "$".
func join(path, name string) string {
	if path == "$" {
		return name
	}
	return path + "." + name
}

// decodeNumber returns a finite number.
func decodeNumber(raw json.RawMessage, path string, problems *nextbest.Problems) float64 {
	v, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || len(raw) == 0 || raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') || math.IsInf(v, 0) {
		problems.Add(path, "must be a number that a float64 can hold, not %s", abbreviated(raw))
		return 0
	}
	return v
}

func decodeString(raw json.RawMessage, path string, problems *nextbest.Problems) string {
	var s string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		problems.Add(path, "must be a string, not %s", abbreviated(raw))
	}
	return s
}

func decodeArray(raw json.RawMessage, path string, problems *nextbest.Problems) []json.RawMessage {
	var list []json.RawMessage
	if len(raw) == 0 || raw[0] != '[' || json.Unmarshal(raw, &list) != nil {
		problems.Add(path, "must be an array, not %s", abbreviated(raw))
	}
	return list
}

func abbreviated(raw json.RawMessage) string {
	if len(raw) > 40 {
		return string(raw[:40]) + "…"
	}
	return string(raw)
}
