package bandit

import (
	"encoding/json"

	"nextbest"
)

// decodeSource checks the member that says which rows moments were taken from.
func decodeSource(raw json.RawMessage, path string, problems *nextbest.Problems) {
	for _, m := range decodeObject(raw, path, problems) {
		at := join(path, m.name)
		switch m.name {
		case "placement", "from", "to":
			decodeString(m.raw, at, problems)
		case "upto", "rows":
			decodeNumber(m.raw, at, problems)
		default:
			problems.Add(at, "unknown field; moments come from placement, from, to, upto and rows")
		}
	}
}
