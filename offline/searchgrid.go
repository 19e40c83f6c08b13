package offline

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"nextbest"
	"nextbest/bandit"
)

// MostCombinations bounds how many candidates one search may try. Each of them
// costs its share of the error probability: of 200, one must be better at a
// level of 1 − δ/200 to be chosen.
const MostCombinations = 200

// SearchSpec is one policy specification of a search with the values to try of
// some of its parameters.
type SearchSpec struct {
	Name string
	Spec bandit.Spec // every parameter given
	Grid map[string][]float64
}

// Combination is one candidate of a search: a specification with one value of
// each parameter of its grid.
type Combination struct {
	Name   string             // of the specification, with the grid's parameters: lints v=0.5 floor=0.02
	Of     string             // the specification's name
	Params map[string]float64 // those of the grid
	Spec   bandit.Spec
	// Document is the specification as a registered policy version would keep it.
	Document json.RawMessage
}

// Expand lists every combination of the grids, in the order of the
// specifications; of a grid's parameters, by name, the last varies fastest. The
// error names the field (specs[0].grid.alpha[1]) of everything that is wrong:
// parameters that the algorithm does not have, values out of bounds, empty or
// repeated ones, specifications that learn nothing, two combinations that are
// the same policy, more than MostCombinations.
func Expand(specs []SearchSpec) ([]Combination, error) {
	var p nextbest.Problems
	if len(specs) == 0 {
		p.Add("specs", "a search needs at least one policy specification")
	}
	total := 0
	for i, s := range specs {
		field := fmt.Sprintf("specs[%d]", i)
		if !nextbest.ValidID(s.Name) {
			p.Add(field+".name", "%q: a specification needs a name of 1 to 63 lower-case letters, digits, hyphens and underscores", s.Name)
		}
		if k := slices.IndexFunc(specs[:i], func(o SearchSpec) bool { return o.Name == s.Name }); k >= 0 {
			p.Add(field+".name", "%q is the name of specs[%d] too", s.Name, k)
		}
		if !s.Spec.Learns() {
			p.Add(field+".spec.algorithm", "%s learns nothing, so there is nothing to train: compare such policies with an evaluation", s.Spec.Algorithm)
			continue
		}
		n := 1
		for _, name := range slices.Sorted(maps.Keys(s.Grid)) {
			checkValues(&p, field+".grid."+name, s.Spec, name, s.Grid[name])
			n = min(n*max(len(s.Grid[name]), 1), MostCombinations+1)
		}
		total += n
	}
	if total > MostCombinations {
		p.Add("specs", "the grids make more than %d candidates: leave values out, for each candidate needs its share of the error probability", MostCombinations)
	}
	if err := p.Err("the search"); err != nil {
		return nil, err
	}
	var out []Combination
	same := map[string]string{}
	for i, s := range specs {
		names := slices.Sorted(maps.Keys(s.Grid))
		at := make([]int, len(names))
		for {
			c, err := s.combination(names, at)
			if err != nil {
				return nil, fmt.Errorf("specs[%d]: %w", i, err)
			}
			if other, ok := same[string(c.Document)]; ok {
				return nil, nextbest.FieldErrorf(fmt.Sprintf("specs[%d]", i), "%s is the same policy as %s: leave one of them out", c.Name, other)
			}
			same[string(c.Document)] = c.Name
			out = append(out, c)
			k := len(at) - 1
			for ; k >= 0; k-- {
				if at[k]++; at[k] < len(s.Grid[names[k]]) {
					break
				}
				at[k] = 0
			}
			if k < 0 {
				break
			}
		}
	}
	return out, nil
}

// checkValues refuses values of a parameter that the specification cannot have.
func checkValues(p *nextbest.Problems, field string, spec bandit.Spec, name string, values []float64) {
	if len(values) == 0 {
		p.Add(field, "is empty: give the values to try, or leave the parameter out")
	}
	for k, v := range values {
		at := field + "[" + strconv.Itoa(k) + "]"
		if slices.Contains(values[:k], v) {
			p.Add(at, "%g is given twice", v)
			continue
		}
		var invalid *nextbest.Error
		switch _, _, err := with(spec, map[string]float64{name: v}); {
		case err == nil:
		case !errors.As(err, &invalid) || len(invalid.Problems) == 0:
			p.Add(at, "%v", err)
		case strings.Contains(invalid.Problems[0].Message, "unknown parameter"):
			p.Add(field, "%s", invalid.Problems[0].Message)
			return
		default:
			p.Add(at, "%s", invalid.Problems[0].Message)
		}
	}
}

// with returns a specification with other values of some parameters, and its
// document.
func with(spec bandit.Spec, params map[string]float64) (bandit.Spec, json.RawMessage, error) {
	all := maps.Clone(spec.Params)
	if all == nil {
		all = map[string]float64{}
	}
	maps.Copy(all, params)
	spec.Params = all
	raw, err := json.Marshal(spec)
	if err != nil {
		return spec, nil, nextbest.Errorf(nextbest.Invalid, "%w", err) // NaN or infinite
	}
	if spec, err = bandit.ParseSpec(raw); err != nil {
		return spec, nil, err
	}
	raw, err = json.Marshal(spec)
	return spec, raw, err
}

// combination takes the value at[k] of each parameter names[k].
func (s SearchSpec) combination(names []string, at []int) (c Combination, err error) {
	c = Combination{Name: s.Name, Of: s.Name, Params: map[string]float64{}}
	for k, name := range names {
		v := s.Grid[name][at[k]]
		c.Params[name] = v
		c.Name += " " + name + "=" + strconv.FormatFloat(v, 'g', -1, 64)
	}
	c.Spec, c.Document, err = with(s.Spec, c.Params)
	return c, err
}
