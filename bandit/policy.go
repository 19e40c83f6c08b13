package bandit

import (
	"fmt"

	"nextbest"
)

// Policy maps a context to a distribution over the eligible actions. It is an
// immutable snapshot, safe for concurrent use, and allocates nothing per call.
type Policy interface {
	// Distribution fills p and scores, which are as long as r.Arms, with the
	// probability and the score of each eligible action, the exploration floor
	// included. Scores are the index of linucb, the posterior mean of
	// linear_thompson and the prediction of epsilon_greedy or of the call (external), after arbitration,
	// and 0 for policies that do not score. An error says that the request does
	// not fit the model or cannot be scored in floating point; p is then void.
	Distribution(p, scores []float64, r *Request) error
	// Arm returns the index that a Request uses for an action, −1 for one that
	// the policy does not know.
	Arm(action string) int32
	// Floor returns the least probability that the policy gives any one of k
	// eligible actions by declaration, 0 when it promises none.
	Floor(k int) float64
}

// Request is one decision to be made. All slices that are not nil have one entry
// for each eligible action, in the order in which the draw will go.
type Request struct {
	X []float32 // encoded context; see Schema.Encode
	// Arms holds Policy.Arm of each eligible action. An action the model never
	// saw (−1) is scored by the prior: mean 0 and the prior's variance.
	Arms []int32
	// Scale and Offset arbitrate: the score of action i is Scale[i] × predicted
	// response + Offset[i], its variance Scale[i]² × the prediction's. Nil means
	// 1 and 0.
	Scale, Offset []float64
	// Preferred is, for rules, the position among the eligible actions of the
	// action that the first matching rule names; −1 when no rule matched.
	Preferred int
	// Scores holds the predicted response of each eligible action where the call
	// brought them, for external; nil elsewhere.
	Scores []float64
}

// check panics where lengths disagree, which is a mistake in the calling code.
func (r *Request) check(p, scores []float64) {
	k := len(r.Arms)
	if k == 0 || len(p) != k || len(scores) != k || r.Scale != nil && len(r.Scale) != k || r.Offset != nil && len(r.Offset) != k || r.Scores != nil && len(r.Scores) != k || r.Preferred >= k {
		panic(fmt.Sprintf("bandit: %d eligible actions with %d probabilities, %d scores, %d scales, %d offsets, %d given scores, preferred %d",
			k, len(p), len(scores), len(r.Scale), len(r.Offset), len(r.Scores), r.Preferred))
	}
}

// algorithms is the table of policies. Fields of a policy's specification,
// their defaults and bounds are declared here and nowhere else.
//
// One configuration is the default for every data set: the scale of exploration
// follows the residual noise that the model itself estimates.
var algorithms = map[string]algorithm{
	"uniform": {build: newUniform},
	"fixed": {
		params: []parameter{{name: "floor", def: 0, min: 0, max: 1}},
		build:  newFixed,
	},
	"rules": {
		params: []parameter{{name: "epsilon", def: 0, min: 0, max: 1}},
		build:  newRules,
	},
	"external": {
		params:   []parameter{{name: "epsilon", def: 0.05, min: 0, max: 1}, {name: "temperature", min: 0, max: 1e6}},
		external: true, build: newExternal,
	},
	"epsilon_greedy": {
		params: []parameter{{name: "epsilon", def: 0.05, min: 0, max: 1}, ridge},
		learns: true, build: newEpsilonGreedy,
	},
	"linucb": {
		params: []parameter{alpha, levelsOfAlpha, ridge, siblings, floor},
		learns: true, derive: siblingsPosterior, build: newLinUCB,
	},
	"linear_thompson": {
		params: []parameter{{name: "v", def: 0.5, min: 0, max: 1e3}, ridge, siblings, floor},
		learns: true, derive: siblingsPosterior, build: newLinearThompson,
	},
	"hurdle_thompson": {
		params: []parameter{{name: "v", def: 0.5, min: 0, max: 1e3}, ridge, floor},
		learns: true, kind: kindHurdle, derive: hurdlePosterior, build: newLinearThompson,
	},
	"logistic_thompson": {
		params: []parameter{{name: "v", def: 0.15, min: 0, max: 1e3}, ridge, floor},
		learns: true, kind: kindLogistic, build: newLogisticThompson,
	},
	"softmax": {
		params: []parameter{{name: "temperature", def: 0.1, min: 0, max: 1e6}, {name: "unit", min: 0, max: 1e9}, ridge, floor},
		learns: true, build: newSoftmax,
	},
	"squarecb": {
		params: []parameter{{name: "gamma", min: 0, max: 1e12}, {name: "gamma_scale", def: 30, min: 0, max: 1e6}, ridge, floor},
		learns: true, build: newSquareCB,
	},
	"ucb1": {
		params: []parameter{{name: "c", def: 1, min: 0, max: 1e3}, floor},
		learns: true, contextFree: true, derive: countsPosterior, build: newUCB1,
	},
	"beta_thompson": {
		params: []parameter{{name: "successes", def: 1, min: 1, max: 1e6}, {name: "failures", def: 1, min: 1, max: 1e6}, floor},
		learns: true, contextFree: true, unitRewards: true, derive: betaPosterior, build: newBetaThompson,
	},
	"hybrid_linucb": {
		params: []parameter{alpha, levelsOfAlpha, ridge, sharedRidge, floor},
		learns: true, actionFeatures: mayHaveActionFeatures, derive: hybridPosterior, build: newLinUCB,
	},
	"shared_thompson": {
		params: []parameter{{name: "v", def: 0.5, min: 0, max: 1e3}, {name: "draws", def: 256, min: 64, max: 1024, step: 8}, {name: "seed", max: 1 << 53, step: 1}, ridge, floor},
		learns: true, actionFeatures: needsActionFeatures, derive: sharedPosterior, build: newSharedThompson,
	},
}

var (
	alpha         = parameter{name: "alpha", def: 0.75, min: 0, max: 1e3}
	levelsOfAlpha = parameter{name: "levels", max: 1024, step: 1} // of RandUCB; 0: none
	// ridge is the prior precision of the weights in units of the mean squared
	// length of the contexts (see Model.Precision).
	ridge = parameter{name: "ridge", def: 0.25, min: 1e-6, max: 1e6}
	// sharedRidge is the same for the weights that all actions share, beside ones
	// of their own.
	sharedRidge = parameter{name: "shared_ridge", def: 0.25, min: 1e-6, max: 1e6}
	// siblings is 1 where an action's prior comes from the other actions.
	siblings = parameter{name: "siblings", def: 0, min: 0, max: 1, step: 1}
	floor    = parameter{name: "floor", def: 0.005, min: 0, max: 1}
)

// New returns the policy of a specification with the parameters of a model. A
// nil model is the untrained prior; algorithms that do not learn take no other.
func New(spec Spec, m *Model) (Policy, error) {
	spec, err := spec.complete()
	if err != nil {
		return nil, err
	}
	known := algorithms[spec.Algorithm]
	if !known.learns && m != nil {
		return nil, nextbest.Errorf(nextbest.Invalid, "policy %s has no parameters to learn: it takes no model", spec.Algorithm)
	}
	if m != nil {
		if err := spec.accepts(m); err != nil {
			return nil, err
		}
	}
	var beliefs *posterior
	if m != nil {
		if beliefs, err = spec.posterior(m); err != nil {
			return nil, err
		}
	}
	return known.build(spec, beliefs)
}

// explore mixes the uniform distribution into p: μ = (1−ε)p + ε/K.
func explore(p []float64, epsilon float64) {
	each := epsilon / float64(len(p))
	for i := range p {
		p[i] = float64((1-epsilon)*p[i]) + each
	}
}

// greedy gives the probability 1 to the highest score; equal ones share it.
func greedy(p, scores []float64) {
	best, ties := scores[0], 0
	for _, s := range scores {
		if s > best {
			best, ties = s, 0
		}
		if s == best {
			ties++
		}
	}
	for i, s := range scores {
		p[i] = 0
		if s == best {
			p[i] = 1 / float64(ties)
		}
	}
}
