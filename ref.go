package nextbest

import (
	"regexp"
	"strconv"
	"strings"
)

// Ref names one version of a definition, written id@version. Version 0 means
// the newest and is written as the id alone.
type Ref struct {
	ID      string
	Version uint64
}

var idPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// ValidID reports whether id may name a definition: lower-case letters,
// digits, hyphens and underscores, 1 to 63 characters, first not a hyphen.
func ValidID(id string) bool { return idPattern.MatchString(id) }

// ParseRef parses "id" or "id@version".
func ParseRef(s string) (Ref, error) {
	id, version, has := strings.Cut(s, "@")
	if !ValidID(id) {
		return Ref{}, Errorf(Invalid, "reference %q: the id must match %s", s, idPattern)
	}
	if !has {
		return Ref{ID: id}, nil
	}
	n, err := strconv.ParseUint(version, 10, 63)
	if err != nil || n == 0 {
		return Ref{}, Errorf(Invalid, "reference %q: the version must be a positive whole number", s)
	}
	return Ref{ID: id, Version: n}, nil
}

// String returns id@version, or the id alone for version 0.
func (r Ref) String() string {
	if r.Version == 0 {
		return r.ID
	}
	return r.ID + "@" + strconv.FormatUint(r.Version, 10)
}

// MarshalText implements encoding.TextMarshaler.
func (r Ref) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Ref) UnmarshalText(b []byte) error {
	v, err := ParseRef(string(b))
	if err != nil {
		return err
	}
	*r = v
	return nil
}
