package api

import (
	"slices"
	"strings"

	"nextbest"
)

// Role is what an API key is for.
type Role string

// The roles.
const (
	Channel  Role = "channel"  // decides and reports: the systems that talk to customers
	Analyst  Role = "analyst"  // writes policies, trains, imports and evaluates
	Owner    Role = "owner"    // writes definitions and runs experiments
	Approver Role = "approver" // promotes; the second person
	Admin    Role = "admin"    // everything, and the keys
)

// Permission is one thing that a key may be allowed to do.
type Permission string

// The permissions, as docs/api.md explains them.
const (
	MayDecide  Permission = "decide"         // POST decisions
	MayReport  Permission = "report"         // impressions and rewards
	MayRead    Permission = "read"           // definitions, results, audit trail, console
	MayReadLog Permission = "read log"       // single decisions, unmatched rewards, SQL
	MayModel   Permission = "model"          // features, policies, models
	MayAnalyse Permission = "analyse"        // evaluations, verifications, imports
	MayDefine  Permission = "define"         // actions, objectives, placements, experiments, holdouts
	MayRun     Permission = "run experiment" // start, ramp
	MayStop    Permission = "stop"           // stop, rollback
	MayPromote Permission = "promote"        // promote, and change a placement's policy by hand
	MayKeys    Permission = "keys"           // create, list and revoke keys
)

// matrix is the one table of who may do what. docs/api.md repeats it, and a
// test compares the two.
var matrix = map[Permission][]Role{
	MayDecide:  {Channel, Owner, Admin},
	MayReport:  {Channel, Owner, Admin},
	MayRead:    {Analyst, Owner, Approver, Admin},
	MayReadLog: {Analyst, Owner, Approver, Admin},
	MayModel:   {Analyst, Owner, Admin},
	MayAnalyse: {Analyst, Owner, Approver, Admin},
	MayDefine:  {Owner, Admin},
	MayRun:     {Owner, Admin},
	MayStop:    {Owner, Approver, Admin},
	MayPromote: {Approver, Admin},
	MayKeys:    {Admin},
}

// roles lists every role.
var roles = []Role{Channel, Analyst, Owner, Approver, Admin}

// ParseRole returns the role with the name.
func ParseRole(name string) (Role, error) {
	if slices.Contains(roles, Role(name)) {
		return Role(name), nil
	}
	return "", nextbest.FieldErrorf("role", "%q is not a role; it is one of %s", name, list(roles))
}

// May reports whether the role has the permission.
func (r Role) May(p Permission) bool { return slices.Contains(matrix[p], r) }

// forbidden says which roles would do.
func forbidden(id Identity, p Permission) error {
	return &nextbest.Error{Code: nextbest.Forbidden, Message: "this needs the permission “" + string(p) + "”, which the key's role does not give",
		Problems: []nextbest.Problem{{Field: "Authorization", Message: "key " + id.Key + " has the role " + string(id.Role),
			Cure: "use a key with the role " + list(matrix[p])}}}
}

func list(rs []Role) string {
	words := make([]string, len(rs))
	for i, r := range rs {
		words[i] = string(r)
	}
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
