package main

import (
	"encoding/json"
	"strings"

	"nextbest"
	"nextbest/experiments"
	"nextbest/internal/decisions"
)

// history gives every record of an object.
type history interface {
	History(kind nextbest.Kind, id string) []nextbest.Record
}

// limited reports whether any action that a placement ever had was ever under a
// cap or a cool-down, or whether it ever had several slots, the earlier of which
// decide what is left for the later. Customers stay in their arms, so what is still allowed for
// one then depends on the arm that contacted them before: the shares are no
// longer the chances of the arms, given a row, and only the serving arm's own
// propensity is true (an eager and a shy arm under a cap: IPS by the mixture
// gave .095 where the truth was .114).
func limited(h history, placement string) bool {
	id, _, _ := strings.Cut(placement, "@")
	seen := make(map[string]bool)
	for _, rec := range h.History(nextbest.KindPlacement, id) {
		var p decisions.Placement
		if json.Unmarshal(rec.Document, &p) != nil {
			continue // deleted
		}
		if p.Slots > 1 {
			return true
		}
		for _, name := range p.Actions {
			if seen[name] {
				continue
			}
			seen[name] = true
			for _, rec := range h.History(nextbest.KindAction, name) {
				var a nextbest.Action
				if json.Unmarshal(rec.Document, &a) == nil && (len(a.Caps) > 0 || a.CoolDown > 0) {
					return true
				}
			}
		}
	}
	return false
}

// adaptive reports whether any policy that learned online ever served the
// placement: its log is then not one of fixed loggers.
func (e evaluator) adaptive(placement string) bool {
	id, _, _ := strings.Cut(placement, "@")
	for _, rec := range e.p.definitions.History(nextbest.KindPlacement, id) {
		var p struct {
			Learning string `json:"learning"`
		}
		if json.Unmarshal(rec.Document, &p) == nil && p.Learning == decisions.Online {
			return true
		}
	}
	for _, newest := range e.p.definitions.List(nextbest.KindExperiment) {
		for _, rec := range e.p.definitions.History(nextbest.KindExperiment, newest.ID) {
			d, err := experiments.Parse(rec.Document)
			if err != nil || d.Placement != id || d.Started.IsZero() {
				continue
			}
			for _, arm := range d.Arms {
				if arm.Learning == decisions.Online {
					return true
				}
			}
		}
	}
	return false
}
