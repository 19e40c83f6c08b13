package decisions

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strconv"
	"strings"
	"sync"

	"nextbest"
)

// Names of the secrets that decisions need. Salts of the draw are named
// s1, s2, …; the highest number is used for new decisions, the others remain
// for the replay of older ones.
const (
	SecretPepper    = "pepper"
	SecretFirstSalt = "s1"
)

// DefaultType is the type of a customer's identifier when the call names none.
const DefaultType = "customer"

// saltNumber returns the number of a salt's name, 0 when it is not one.
func saltNumber(id string) uint64 {
	digits, ok := strings.CutPrefix(id, "s")
	if !ok {
		return 0
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || strconv.FormatUint(n, 10) != digits {
		return 0
	}
	return n
}

// pseudonymizer maps identifiers to pseudonyms under one pepper.
type pseudonymizer struct{ pool sync.Pool }

func newPseudonymizer(pepper string) *pseudonymizer {
	z := &pseudonymizer{}
	z.pool.New = func() any {
		return &mac{hash: hmac.New(sha256.New, []byte(pepper))}
	}
	return z
}

type mac struct {
	hash hash.Hash
	in   []byte
	sum  [sha256.Size]byte
}

// pseudonym returns the first 128 bits of HMAC-SHA256(pepper, type:id) as 32
// hexadecimal digits.
func (z *pseudonymizer) pseudonym(kind, id string) string {
	m := z.pool.Get().(*mac)
	defer z.pool.Put(m)
	if kind == "" {
		kind = DefaultType
	}
	m.in = append(m.in[:0], kind...)
	m.in = append(m.in, ':')
	m.in = append(m.in, id...)
	m.hash.Reset()
	m.hash.Write(m.in)
	m.hash.Sum(m.sum[:0])
	var out [32]byte
	hex.Encode(out[:], m.sum[:16])
	return string(out[:])
}

// Pseudonym returns the pseudonym of a customer's identifier; kind "" is
// DefaultType. The error is nextbest.Unavailable when there is no pepper yet.
func (c *Catalogue) Pseudonym(kind, id string) (string, error) {
	if c.pseudonyms == nil {
		return "", nextbest.Errorf(nextbest.Unavailable, "secret %q is not defined, so customers cannot be identified; start the server once to create it", SecretPepper)
	}
	if err := checkIdentifier(kind, id); err != nil {
		return "", err
	}
	return c.pseudonyms.pseudonym(kind, id), nil
}

func checkIdentifier(kind, id string) error {
	switch {
	case id == "":
		return nextbest.FieldErrorf("customer.id", "is missing; the caller's identifier of the customer is needed")
	case len(id) > 512:
		return nextbest.FieldErrorf("customer.id", "has %d bytes; at most 512 are allowed", len(id))
	case strings.ContainsRune(kind, ':') || len(kind) > 64:
		return nextbest.FieldErrorf("customer.type", "%q must have at most 64 bytes and no colon", kind)
	}
	return nil
}
