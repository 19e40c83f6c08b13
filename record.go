package nextbest

import (
	"strings"
	"time"
)

// Record is one version of one definition in the registry. Records are never
// changed: the ordered stream of them is the audit trail.
type Record struct {
	Kind     Kind
	ID       string
	Version  uint64 // 1 for the first record of (kind, id), then 2, 3 …
	Revision uint64 // position in the registry, grows over all kinds; the ETag
	Document []byte // JSON, decoded by the domain that owns the kind
	Deleted  bool
	Actor    string // who
	Reason   string // why, in the actor's words
	Time     time.Time
	Previous string // hash of (kind, id)'s previous record, hex
}

// Ref returns the record's id@version.
func (r Record) Ref() Ref { return Ref{ID: r.ID, Version: r.Version} }

// Kind is a kind of definition.
type Kind string

// The kinds of definitions in the registry.
const (
	KindAction     Kind = "actions"
	KindObjective  Kind = "objectives"
	KindFeatures   Kind = "features"
	KindPolicy     Kind = "policies" // a record's version is the policy version
	KindModel      Kind = "models"   // id is policy.version, such as lints.3; the record's version is the model's number
	KindCurrent    Kind = "current"  // id is policy.version; names the model that learning: online serves
	KindPlacement  Kind = "placements"
	KindExperiment Kind = "experiments"
	KindHoldout    Kind = "holdouts" // universal
	KindEvaluation Kind = "evaluations"
	KindKey        Kind = "keys"    // API keys, hashed
	KindSecret     Kind = "secrets" // salts and the pepper; never served
)

// Singular returns the kind as one thing is called: action, policy.
func (k Kind) Singular() string {
	switch s := string(k); {
	case strings.HasSuffix(s, "ies"):
		return strings.TrimSuffix(s, "ies") + "y"
	case strings.HasSuffix(s, "ches"):
		return strings.TrimSuffix(s, "es")
	case k == KindFeatures:
		return s
	default:
		return strings.TrimSuffix(s, "s")
	}
}

// Change asks for one new record.
type Change struct {
	Kind     Kind
	ID       string
	Document []byte
	Deleted  bool
	Actor    string
	Reason   string
	// IfMatch is the revision the object must have now: 0 means it must not
	// exist, AnyRevision means that it does not matter.
	IfMatch uint64
}

// AnyRevision is the IfMatch of a change that does not look at the revision.
const AnyRevision = ^uint64(0)
