package bandit

import (
	"maps"
	"math"
	"slices"

	"nextbest"
)

// actionFeatures says whether an algorithm's model sees what is declared of the
// actions.
type actionFeatures int

const (
	noActionFeatures actionFeatures = iota
	mayHaveActionFeatures
	needsActionFeatures
)

// What a snapshot takes the cube of is bounded.
const (
	// maxShared bounds the weights that actions share: features of the context
	// times features of an action, the leading 1 included.
	maxShared = 512
	// maxHybrid bounds the features of the context where actions have weights of
	// their own as well.
	maxHybrid = 256
)

func (s Spec) checkActionFeatures(problems *nextbest.Problems) {
	use := algorithms[s.Algorithm].actionFeatures
	if use == noActionFeatures {
		if len(s.ActionFeatures) > 0 {
			problems.Add("action_features", "%s learns nothing from features of actions", s.Algorithm)
		}
		return
	}
	if use == needsActionFeatures && len(s.ActionFeatures) == 0 {
		problems.Add("action_features", "%s tells actions apart by their features alone; give some, such as {\"mens-email\":[1,0.5]}", s.Algorithm)
	}
	width := -1
	for _, action := range slices.Sorted(maps.Keys(s.ActionFeatures)) {
		at, features := join("action_features", action), s.ActionFeatures[action]
		if !nextbest.ValidID(action) {
			problems.Add(at, "%q is not an action's id", action)
		}
		if width < 0 {
			width = len(features)
		}
		switch {
		case len(features) == 0 || len(features) >= maxShared:
			problems.Add(at, "has %d numbers; between 1 and %d are possible", len(features), maxShared-1)
		case len(features) != width:
			problems.Add(at, "has %d numbers and another action %d; every action needs the same features", len(features), width)
		}
		for _, v := range features {
			if !(math.Abs(v) <= maxActionFeature) {
				problems.Add(at, "%g is too large; a feature lies within ±%g", v, float64(maxActionFeature))
			}
		}
	}
}

// maxActionFeature bounds |f| so that no product of sums overflows.
const maxActionFeature = 1e6

// actionWidth returns the number of features of an action, the leading 1
// included.
func (s Spec) actionWidth() int {
	for _, f := range s.ActionFeatures {
		return 1 + len(f)
	}
	return 1
}

// featuresOf returns f_a: 1 and what is declared of the action, zeros where
// nothing is.
func (s Spec) featuresOf(action string) []float64 {
	f := make([]float64, s.actionWidth())
	f[0] = 1
	copy(f[1:], s.ActionFeatures[action])
	return f
}

// checkWidth refuses contexts of a width that an algorithm with shared weights
// cannot learn from.
func (s Spec) checkWidth(width int) error {
	if s.ContextFree() && width != 1 {
		return nextbest.FieldErrorf("features", "%s sees no context, and these rows have %d features; it needs the bias alone", s.Algorithm, width)
	}
	if algorithms[s.Algorithm].actionFeatures != noActionFeatures && width*s.actionWidth() > maxShared {
		return nextbest.FieldErrorf("action_features", "%d features of the context times %d of an action (the leading 1 included) make %d shared weights; at most %d are possible",
			width, s.actionWidth(), width*s.actionWidth(), maxShared)
	}
	_, hybrid := s.Params[sharedRidge.name]
	if (hybrid || s.Params[siblings.name] == 1) && width > maxHybrid {
		return nextbest.FieldErrorf("features", "make %d columns; %s with weights that actions have in common takes at most %d", width, s.Algorithm, maxHybrid)
	}
	return nil
}
