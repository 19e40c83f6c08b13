package bandit

import (
	"encoding/json"
	"strconv"
	"strings"

	"nextbest"
)

// times joins the names of columns that are multiplied.
const times = "×"

// decodeCrossed decodes the features of a cross, which must be declared above
// it.
func decodeCrossed(raw json.RawMessage, path string, above []feature, problems *nextbest.Problems) []int {
	var of []int
	seen := map[string]bool{}
	for i, r := range decodeArray(raw, path, problems) {
		name := decodeString(r, path+"["+strconv.Itoa(i)+"]", problems)
		at := -1
		for j := range above {
			if above[j].name == name {
				at = j
			}
		}
		switch {
		case at < 0:
			problems.Add(path, "%q is not a feature that is declared above the cross", name)
			continue
		case seen[name] && above[at].kind != numeric:
			problems.Add(path, "%q is listed twice, which says something new for a numeric feature only", name)
		}
		seen[name] = true
		of = append(of, at)
	}
	return of
}

func crossName(of []int, above []feature) string {
	names := make([]string, len(of))
	for i, j := range of {
		names[i] = above[j].name
	}
	return strings.Join(names, times)
}

// checkCross refuses crosses of less than two features.
func (f *feature) checkCross(path string, has map[string]bool, problems *nextbest.Problems) {
	for _, name := range []string{"name", "missing", "default", "renamed_from"} {
		if has[name] {
			problems.Add(path+"."+name, "a cross has none; it follows the features that it multiplies")
		}
	}
	if !has["of"] || len(f.of) < 2 && len(*problems) == 0 {
		problems.Add(path+".of", "must name at least two features that are declared above the cross")
	}
}

// checkCrossWidth refuses crosses that are too wide.
func (s *Schema) checkCrossWidth(f *feature, path string, problems *nextbest.Problems) bool {
	width := 1
	for _, j := range f.of {
		if width *= s.features[j].width(); width > maxFeatureWidth {
			problems.Add(path+".of", "%s would make more than %d columns; cross features with fewer levels, or hash them", f.name, maxFeatureWidth)
			return false
		}
	}
	return true
}

// appendCrossNames appends a name for every product of one column from each
// feature, the last feature's columns running fastest.
func (s *Schema) appendCrossNames(names []string, of []int) []string {
	products := []string{""}
	for i, j := range of {
		g := &s.features[j]
		next := make([]string, 0, len(products)*g.width())
		for _, p := range products {
			for _, name := range s.names[g.column : g.column+g.width()] {
				if i > 0 {
					name = p + times + name
				}
				next = append(next, name)
			}
		}
		products = next
	}
	return append(names, products...)
}

// encodeCross multiplies columns that are encoded already.
func (s *Schema) encodeCross(dst []float32, f *feature, problems *nextbest.Problems) {
	out := dst[f.column : f.column+f.values]
	out[0] = 1
	n := 1
	for _, j := range f.of {
		g := &s.features[j]
		columns := dst[g.column : g.column+g.width()]
		for i := n - 1; i >= 0; i-- { // in place, from the back
			v := out[i]
			row := out[i*len(columns):][:len(columns)]
			for k := len(columns) - 1; k >= 0; k-- {
				product := float32(v * columns[k])
				if product == 0 {
					product = 0 // not −0
				}
				row[k] = product
			}
		}
		n *= len(columns)
	}
	for i, v := range out {
		if v-v != 0 {
			problems.Add("context."+f.name, "%s is too large; give the numeric features that are multiplied a clip", s.names[f.column+i])
			return
		}
	}
}
