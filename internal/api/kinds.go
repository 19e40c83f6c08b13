package api

import (
	"encoding/json"
	"sync/atomic"

	"nextbest"
)

// atomicSet is a set of names that is replaced as a whole.
type atomicSet struct {
	p atomic.Pointer[map[string]struct{}]
}

func (s *atomicSet) store(m map[string]struct{}) { s.p.Store(&m) }

func (s *atomicSet) has(name string) bool {
	m := s.p.Load()
	if m == nil {
		return false
	}
	_, ok := (*m)[name]
	return ok
}

// validKind reports whether s may name a reward kind.
func validKind(s string) bool { return nextbest.ValidID(s) }

// rewardKinds knows the reward kinds that objectives and experiments name. A
// kind that is not known is looked for again, so that a new objective counts
// at once.
type rewardKinds struct {
	definitions Definitions
	set         atomicSet
}

// known reports whether any definition names the kind.
func (k *rewardKinds) known(kind string) bool {
	if k.set.has(kind) {
		return true
	}
	found := map[string]struct{}{}
	for _, rec := range k.definitions.List(nextbest.KindObjective) {
		var o struct {
			Terms []struct {
				Reward string `json:"reward"`
			} `json:"terms"`
		}
		if json.Unmarshal(rec.Document, &o) == nil {
			for _, t := range o.Terms {
				found[t.Reward] = struct{}{}
			}
		}
	}
	for _, rec := range k.definitions.List(nextbest.KindExperiment) {
		var e struct {
			Primary struct {
				Reward string `json:"reward"`
			} `json:"primary"`
			Guardrails []struct {
				Reward string `json:"reward"`
			} `json:"guardrails"`
		}
		if json.Unmarshal(rec.Document, &e) == nil {
			found[e.Primary.Reward] = struct{}{}
			for _, g := range e.Guardrails {
				found[g.Reward] = struct{}{}
			}
		}
	}
	k.set.store(found)
	return k.set.has(kind)
}
