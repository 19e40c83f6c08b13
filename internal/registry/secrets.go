package registry

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"

	"nextbest"
)

// secretBytes is the entropy of a secret: 256 bits.
const secretBytes = 32

type secret struct {
	Value string `json:"value"`
}

// EnsureSecret returns the value of secrets/{id}, creating a random one (64
// hexadecimal digits) where there is none. Replicas that start together agree:
// whoever loses the race takes the winner's. A deleted secret is an error, for a
// new value would silently turn every pseudonym and draw into another.
func (r *Registry) EnsureSecret(ctx context.Context, id string) (string, error) {
	for {
		if rec, ok := r.Get(nextbest.KindSecret, id); ok {
			return decodeSecret(id, rec.Document)
		}
		if len(r.History(nextbest.KindSecret, id)) > 0 {
			return "", nextbest.Errorf(nextbest.Internal, "secret %s was deleted; write its old value again (GET is not offered: restore it from a backup)", id)
		}
		value := make([]byte, secretBytes)
		if _, err := rand.Read(value); err != nil {
			return "", nextbest.Errorf(nextbest.Internal, "secret %s: no random numbers: %w", id, err)
		}
		document, err := json.Marshal(secret{hex.EncodeToString(value)})
		if err != nil {
			return "", err
		}
		_, err = r.Put(ctx, nextbest.Change{Kind: nextbest.KindSecret, ID: id, Document: document, Actor: "system", Reason: "created at first use"})
		if err != nil && nextbest.CodeOf(err) != nextbest.Conflict {
			return "", err
		}
	}
}

func decodeSecret(id string, document []byte) (string, error) {
	var s secret
	if err := decodeStrict(document, &s); err != nil {
		return "", nextbest.Errorf(nextbest.Internal, "secret %s: %w", id, err)
	}
	if s.Value == "" {
		return "", nextbest.Errorf(nextbest.Internal, "secret %s: its value is empty", id)
	}
	return s.Value, nil
}
