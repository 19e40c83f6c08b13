package bandit

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"nextbest"
)

// Spec is an immutable policy version: everything about a policy that is not
// learned.
type Spec struct {
	Algorithm string             `json:"algorithm"`
	Params    map[string]float64 `json:"params,omitempty"`
	// Features is the schema of the context vector, id@version; "" for the bias
	// alone.
	Features string `json:"features,omitempty"`
	// Weights are the actions' shares, for the algorithm fixed. They are
	// renormalised over the eligible actions.
	Weights map[string]float64 `json:"weights,omitempty"`
	// ActionFeatures are numbers that describe each action, as many for each, for
	// algorithms that share weights among actions. An action that is not named has
	// zeros.
	ActionFeatures map[string][]float64 `json:"action_features,omitempty"`
	// Rules are tried in order, for the algorithm rules.
	Rules []Rule `json:"rules,omitempty"`
	// Forgetting lets old decisions go; nil: all count alike for ever.
	Forgetting *Forgetting `json:"forgetting,omitempty"`
}

// Rule selects an action where a CEL condition holds.
type Rule struct {
	When   string `json:"when"`
	Action string `json:"action"`
}

// parameter is one number of an algorithm, with its default and its bounds
// (both included). It is a multiple of step where that is not 0.
type parameter struct {
	name          string
	def, min, max float64
	step          float64
}

// algorithm is what the platform knows of one kind of policy.
type algorithm struct {
	params []parameter
	// learns says that the policy scores actions with a model.
	learns bool
	// external says that the scores come with the request.
	external bool
	// contextFree says that it sees the bias alone.
	contextFree bool
	// unitRewards says that it learns from rewards between 0 and 1 alone.
	unitRewards    bool
	actionFeatures actionFeatures
	kind           kind // of its models' sums; 0: kindRidge
	// derive makes the beliefs that decisions use from a model with rows; nil: one
	// ridge regression per action.
	derive func(Spec, *Model) (*posterior, error)
	build  func(Spec, *posterior) (Policy, error)
}

// param returns a parameter that complete has filled. Algorithms that take the
// sums of a model as they are have no ridge of their own: theirs is the default.
func (s Spec) param(name string) float64 {
	if v, ok := s.Params[name]; ok || name != ridge.name {
		return v
	}
	return ridge.def
}

// ContextFree reports whether the policy sees no context: its models have the
// bias alone.
func (s Spec) ContextFree() bool { return algorithms[s.Algorithm].contextFree }

// External reports whether the policy decides by scores that come with the
// request.
func (s Spec) External() bool { return algorithms[s.Algorithm].external }

// Learns reports whether the policy has a model and scores the actions. The
// scores of the others but external are all 0 and mean nothing.
func (s Spec) Learns() bool { return algorithms[s.Algorithm].learns }

// Algorithms returns the names of the algorithms, sorted.
func Algorithms() []string { return slices.Sorted(maps.Keys(algorithms)) }

// ParseSpec decodes a policy specification strictly: unknown and repeated
// members, parameters the algorithm does not have and numbers out of bounds are
// refused, all in one nextbest.Error that names each field. Parameters that are
// absent get their defaults.
func ParseSpec(document []byte) (Spec, error) {
	var problems nextbest.Problems
	var s Spec
	for _, m := range decodeObject(document, "$", &problems) {
		switch m.name {
		case "algorithm":
			s.Algorithm = decodeString(m.raw, m.name, &problems)
		case "params":
			s.Params = decodeNumbers(m, &problems)
		case "features":
			s.Features = decodeString(m.raw, m.name, &problems)
		case "weights":
			s.Weights = decodeNumbers(m, &problems)
		case "action_features":
			s.ActionFeatures = map[string][]float64{}
			for _, a := range decodeObject(m.raw, m.name, &problems) {
				at := join(m.name, a.name)
				s.ActionFeatures[a.name] = nil
				for i, raw := range decodeArray(a.raw, at, &problems) {
					s.ActionFeatures[a.name] = append(s.ActionFeatures[a.name], decodeNumber(raw, at+"["+strconv.Itoa(i)+"]", &problems))
				}
			}
		case "rules":
			for i, raw := range decodeArray(m.raw, m.name, &problems) {
				s.Rules = append(s.Rules, decodeRule(raw, "rules["+strconv.Itoa(i)+"]", &problems))
			}
		case "forgetting":
			s.Forgetting = decodeForgetting(m.raw, &problems)
		default:
			problems.Add(m.name, "unknown field; a policy has algorithm, params, features, action_features, weights, rules and forgetting")
		}
	}
	if err := problems.Err("policy"); err != nil {
		return Spec{}, err
	}
	return s.complete()
}

func decodeNumbers(m member, problems *nextbest.Problems) map[string]float64 {
	numbers := map[string]float64{}
	for _, n := range decodeObject(m.raw, m.name, problems) {
		numbers[n.name] = decodeNumber(n.raw, join(m.name, n.name), problems)
	}
	return numbers
}

func decodeRule(raw []byte, path string, problems *nextbest.Problems) Rule {
	var r Rule
	for _, m := range decodeObject(raw, path, problems) {
		switch m.name {
		case "when":
			r.When = decodeString(m.raw, join(path, m.name), problems)
		case "action":
			r.Action = decodeString(m.raw, join(path, m.name), problems)
		default:
			problems.Add(join(path, m.name), "unknown field; a rule has when and action")
		}
	}
	return r
}

// complete validates the specification and returns a copy with every parameter
// filled.
func (s Spec) complete() (Spec, error) {
	var problems nextbest.Problems
	known, ok := algorithms[s.Algorithm]
	if !ok {
		problems.Add("algorithm", "%q is not an algorithm; it must be one of %s", s.Algorithm, strings.Join(Algorithms(), ", "))
		return Spec{}, problems.Err("policy")
	}
	params := map[string]float64{}
	for _, p := range known.params {
		v, given := s.Params[p.name]
		if !given {
			v = p.def
		} else if !(v >= p.min && v <= p.max) {
			problems.Add("params."+p.name, "is %g; it must lie between %g and %g", v, p.min, p.max)
		} else if p.step != 0 && math.Mod(v, p.step) != 0 {
			problems.Add("params."+p.name, "is %g; it must be a multiple of %g", v, p.step)
		}
		params[p.name] = v
	}
	for _, name := range slices.Sorted(maps.Keys(s.Params)) {
		if _, ok := params[name]; !ok {
			problems.Add("params."+name, "unknown parameter; %s has %s", s.Algorithm, parameterNames(known.params))
		}
	}
	s.Params = params
	if s.Features != "" {
		if known.contextFree {
			problems.Add("features", "%s sees no context; leave features out", s.Algorithm)
		}
		if ref, err := nextbest.ParseRef(s.Features); err != nil {
			problems.Add("features", "%v", err)
		} else if ref.Version == 0 {
			problems.Add("features", "%q must name a version, such as %s@1", s.Features, s.Features)
		}
	}
	s.checkWeights(&problems)
	s.checkRules(&problems)
	s.checkForgetting(&problems)
	s.checkActionFeatures(&problems)
	if err := problems.Err("policy"); err != nil {
		return Spec{}, err
	}
	return s, nil
}

func parameterNames(params []parameter) string {
	if len(params) == 0 {
		return "none"
	}
	names := make([]string, len(params))
	for i, p := range params {
		names[i] = p.name
	}
	return strings.Join(names, ", ")
}

func (s Spec) checkWeights(problems *nextbest.Problems) {
	if s.Algorithm != "fixed" {
		if len(s.Weights) > 0 {
			problems.Add("weights", "only the algorithm fixed has weights")
		}
		return
	}
	var sum float64
	for _, action := range slices.Sorted(maps.Keys(s.Weights)) {
		w := s.Weights[action]
		if !nextbest.ValidID(action) {
			problems.Add("weights."+action, "%q is not an action's id", action)
		}
		if !(w >= 0) || math.IsInf(w, 1) {
			problems.Add("weights."+action, "is %g; a weight must be 0 or more", w)
		}
		sum += w
	}
	if !(sum > 0) || math.IsInf(sum, 1) {
		problems.Add("weights", "must give at least one action a weight above 0, and have a finite sum")
	}
}

func (s Spec) checkRules(problems *nextbest.Problems) {
	if s.Algorithm != "rules" {
		if len(s.Rules) > 0 {
			problems.Add("rules", "only the algorithm rules has rules")
		}
		return
	}
	if len(s.Rules) == 0 {
		problems.Add("rules", "must hold at least one rule, such as {\"when\":\"true\",\"action\":\"do-nothing\"}")
	}
	for i, r := range s.Rules {
		path := "rules[" + strconv.Itoa(i) + "]"
		if strings.TrimSpace(r.When) == "" {
			problems.Add(path+".when", "must be a CEL condition; write true for always")
		}
		if !nextbest.ValidID(r.Action) {
			problems.Add(path+".action", "%q is not an action's id", r.Action)
		}
	}
}
