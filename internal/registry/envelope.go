package registry

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"nextbest"
)

// subjects of the registry's stream are definitions.<kind>.<id>.
const definitions = "nextbest.registry."

var (
	kindPattern = regexp.MustCompile(`^[a-z][a-z_]{0,31}$`)
	// An id is a definition's id, or policy.version for models and pointers.
	idPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}(\.[1-9][0-9]{0,18})?$`)
)

// subjectOf returns the subject of an object's records.
func subjectOf(kind nextbest.Kind, id string) string { return definitions + string(kind) + "." + id }

// parseSubject is the inverse of subjectOf.
func parseSubject(subject string) (nextbest.Kind, string, error) {
	rest, ok := strings.CutPrefix(subject, definitions)
	kind, id, has := strings.Cut(rest, ".")
	if !ok || !has || !kindPattern.MatchString(kind) || !idPattern.MatchString(id) {
		return "", "", fmt.Errorf("subject %q is not %s<kind>.<id>", subject, definitions)
	}
	return nextbest.Kind(kind), id, nil
}

// envelope is the body of one message of the stream.
type envelope struct {
	Nonce    string          `json:"nonce"` // tells a writer its own message from another's
	Version  uint64          `json:"version"`
	Actor    string          `json:"actor"`
	Reason   string          `json:"reason,omitempty"`
	Time     time.Time       `json:"time"`
	Previous string          `json:"previous,omitempty"` // hash of the object's previous message, hex
	Deleted  bool            `json:"deleted,omitempty"`
	Document json.RawMessage `json:"document,omitempty"`
}

// encode writes e as JSON; the document keeps its bytes.
func (e *envelope) encode() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// decodeEnvelope reads one message's body and checks everything that can be
// checked without the messages before it.
func decodeEnvelope(data []byte) (*envelope, error) {
	var e envelope
	if err := decodeStrict(data, &e); err != nil {
		return nil, err
	}
	switch {
	case e.Version == 0:
		return nil, errors.New("the version is missing")
	case e.Nonce == "" || e.Actor == "" || e.Time.IsZero():
		return nil, errors.New("nonce, actor and time must be there")
	case (e.Version == 1) != (e.Previous == ""):
		return nil, errors.New("the first record, and only it, has no previous hash")
	case e.Previous != "" && !isHash(e.Previous):
		return nil, errors.New("the previous hash is not 64 hexadecimal digits")
	case e.Deleted && len(e.Document) != 0:
		return nil, errors.New("a deleted record carries no document")
	case !e.Deleted && (len(e.Document) == 0 || e.Document[0] != '{'):
		return nil, errors.New("the document is not a JSON object")
	}
	return &e, nil
}

// decodeStrict decodes exactly one JSON value and refuses unknown fields.
func decodeStrict(data []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON value")
	}
	return nil
}

// hashOf is the hash by which the next record names this one:
// SHA-256(subject ‖ 0x00 ‖ body).
func hashOf(subject string, body []byte) string {
	h := sha256.New()
	h.Write([]byte(subject))
	h.Write([]byte{0})
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil))
}

func isHash(s string) bool {
	if len(s) != 2*sha256.Size {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
