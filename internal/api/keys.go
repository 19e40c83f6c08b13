package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"nextbest"
)

// keyDocument is what the registry keeps of an API key: never the key itself.
// The secret has 256 random bits, so one round of SHA-256 is enough.
type keyDocument struct {
	Role Role   `json:"role"`
	Hash string `json:"hash"` // SHA-256 of the secret, hex
	Name string `json:"name"`
}

// NewKey makes an API key and the change that registers it. The key,
// nb_<id>_<secret>, is shown once and cannot be found again.
func NewKey(role Role, name, actor, reason string) (key string, change nextbest.Change, err error) {
	if _, err := ParseRole(string(role)); err != nil {
		return "", nextbest.Change{}, err
	}
	if name == "" || len(name) > 100 {
		return "", nextbest.Change{}, nextbest.FieldErrorf("name", "must have 1 to 100 characters: say whose key it is")
	}
	id, secret := hex.EncodeToString(random(5)), hex.EncodeToString(random(32))
	sum := sha256.Sum256([]byte(secret))
	doc, err := json.Marshal(keyDocument{Role: role, Hash: hex.EncodeToString(sum[:]), Name: name})
	if err != nil {
		return "", nextbest.Change{}, err
	}
	return "nb_" + id + "_" + secret, nextbest.Change{Kind: nextbest.KindKey, ID: id, Document: doc, Actor: actor, Reason: reason}, nil
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return b
}

// Identity is who is calling: the key's id is the actor in the audit trail.
type Identity struct {
	Key  string
	Role Role
}

type identityKey struct{}

// Who returns the caller of a request.
func Who(ctx context.Context) Identity {
	id, _ := ctx.Value(identityKey{}).(Identity)
	return id
}

// authenticator knows the keys. A looked-up key stays decoded until its record
// changes, so that a revoked key stops at once.
type authenticator struct {
	definitions Definitions
	known       sync.Map // id → *knownKey
}

type knownKey struct {
	revision uint64
	hash     [sha256.Size]byte
	identity Identity
}

var errNoKey = &nextbest.Error{Code: nextbest.Unauthorized, Message: "an API key is needed",
	Problems: []nextbest.Problem{{Field: "Authorization", Message: "is missing", Cure: "send “Authorization: Bearer nb_…” or “X-API-Key: nb_…”; an admin makes keys with POST /v1/keys"}}}

var errBadKey = &nextbest.Error{Code: nextbest.Unauthorized, Message: "the API key is not valid",
	Problems: []nextbest.Problem{{Field: "Authorization", Message: "no such key, or it was revoked", Cure: "ask an admin for a new one"}}}

// identify returns who sent the request.
func (a *authenticator) identify(h http.Header) (Identity, error) {
	key := h.Get("X-Api-Key")
	if auth := h.Get("Authorization"); auth != "" {
		scheme, rest, _ := strings.Cut(auth, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return Identity{}, errNoKey
		}
		key = strings.TrimSpace(rest)
	}
	if key == "" {
		return Identity{}, errNoKey
	}
	rest, ours := strings.CutPrefix(key, "nb_")
	id, secret, both := strings.Cut(rest, "_")
	if !ours || !both || len(key) > 200 {
		return Identity{}, errBadKey
	}
	rec, ok := a.definitions.Get(nextbest.KindKey, id)
	if !ok || rec.Deleted {
		return Identity{}, errBadKey
	}
	k := a.load(id, rec)
	if k == nil {
		return Identity{}, errBadKey
	}
	sum := sha256.Sum256([]byte(secret))
	if subtle.ConstantTimeCompare(sum[:], k.hash[:]) != 1 {
		return Identity{}, errBadKey
	}
	return k.identity, nil
}

// load returns the decoded key, nil when its record cannot be one.
func (a *authenticator) load(id string, rec nextbest.Record) *knownKey {
	if v, ok := a.known.Load(id); ok && v.(*knownKey).revision == rec.Revision {
		return v.(*knownKey)
	}
	var doc keyDocument
	if json.Unmarshal(rec.Document, &doc) != nil {
		return nil
	}
	hash, err := hex.DecodeString(doc.Hash)
	if err != nil || len(hash) != sha256.Size || !slices.Contains(roles, doc.Role) {
		return nil
	}
	k := &knownKey{revision: rec.Revision, identity: Identity{Key: id, Role: doc.Role}}
	copy(k.hash[:], hash)
	a.known.Store(id, k)
	return k
}

// Key is what the API tells about a key.
type Key struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Role    Role      `json:"role" enum:"channel,analyst,owner,approver,admin"`
	Created time.Time `json:"created"`
	By      string    `json:"by" doc:"key that made it"`
}

func keyOf(rec nextbest.Record) Key {
	var doc keyDocument
	_ = json.Unmarshal(rec.Document, &doc) // what cannot be read shows without role and name
	return Key{ID: rec.ID, Name: doc.Name, Role: doc.Role, Created: rec.Time, By: rec.Actor}
}
