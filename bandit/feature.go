package bandit

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"nextbest"
)

// feature is one declared feature and the columns it fills.
type feature struct {
	name     string
	previous string // key in contexts before it was renamed, "": none
	kind     featureKind
	missing  missingRule
	fallback any     // value where missing is default
	mean, sd float64 // of numbers and of a timestamp's age in days
	clip     float64 // numeric: in standard deviations, embedding: in units; +Inf: none

	levels []string       // categorical
	index  map[string]int // level → offset within the columns
	hash   int            // categorical: number of buckets, 0: not hashed
	seed   uint64         // of the hash

	parts  []string // timestamp
	zone   *time.Location
	oneHot bool

	length int   // embedding: numbers
	of     []int // cross: features

	column, values int // first column, and how many but for the indicator
	indicator      int // column that says the value is missing, 0: none
}

type featureKind string

const (
	numeric     featureKind = "numeric"
	boolean     featureKind = "boolean"
	categorical featureKind = "categorical"
	timestamp   featureKind = "timestamp"
	embedding   featureKind = "embedding"
	cross       featureKind = "cross"
)

// kindRules says what each type of feature may declare beside its name.
var kindRules = map[featureKind]struct {
	members []string
	missing []missingRule
}{
	numeric:     {[]string{"mean", "sd", "clip"}, []missingRule{missingRefuse, missingZero, missingIndicator, missingMean, missingDefault}},
	boolean:     {[]string{"mean"}, []missingRule{missingRefuse, missingZero, missingIndicator, missingMean, missingDefault}},
	categorical: {[]string{"levels", "hash"}, []missingRule{missingRefuse, missingZero, missingIndicator, missingDefault}},
	timestamp:   {[]string{"parts", "timezone", "encoding", "mean", "sd", "clip"}, []missingRule{missingRefuse, missingZero, missingIndicator, missingDefault, missingNow}},
	embedding:   {[]string{"width", "clip"}, []missingRule{missingRefuse, missingZero, missingIndicator, missingDefault}},
	cross:       {[]string{"of"}, []missingRule{missingRefuse}},
}

// specific lists the members that only some types have.
var specific = []string{"mean", "sd", "clip", "levels", "hash", "parts", "timezone", "encoding", "width", "of"}

// missingRule says what stands in for a value that is absent or null.
type missingRule string

const (
	missingRefuse    missingRule = "refuse"    // the call is refused
	missingMean      missingRule = "mean"      // the declared mean
	missingZero      missingRule = "zero"      // the number 0, false, or 0 in every column of other types
	missingDefault   missingRule = "default"   // the declared default
	missingIndicator missingRule = "indicator" // the mean, false or 0 in every column, and a column that says so
	missingNow       missingRule = "now"       // the time of the decision
)

// decodeFeature decodes one feature; above are those declared before it.
func decodeFeature(raw []byte, path string, above []feature, problems *nextbest.Problems) feature {
	f := feature{sd: 1, clip: math.Inf(1), missing: missingRefuse, zone: time.UTC}
	has := map[string]bool{}
	for _, m := range decodeObject(raw, path, problems) {
		at := join(path, m.name)
		has[m.name] = true
		switch m.name {
		case "name":
			f.name = decodeString(m.raw, at, problems)
		case "type":
			f.kind = featureKind(decodeString(m.raw, at, problems))
		case "missing":
			f.missing = missingRule(decodeString(m.raw, at, problems))
		case "default":
			if json.Unmarshal(m.raw, &f.fallback) != nil || f.fallback == nil {
				problems.Add(at, "must be a value of the feature's type, not %s", abbreviated(m.raw))
			}
		case "renamed_from":
			if f.previous = decodeString(m.raw, at, problems); f.previous == "" {
				problems.Add(at, "must be the name that the feature had; leave it out where there was none")
			}
		case "mean":
			f.mean = decodeNumber(m.raw, at, problems)
		case "sd":
			if f.sd = decodeNumber(m.raw, at, problems); !(f.sd > 0) {
				problems.Add(at, "must be above 0")
			}
		case "clip":
			if f.clip = decodeNumber(m.raw, at, problems); !(f.clip > 0) {
				problems.Add(at, "must be above 0; it counts standard deviations")
			}
		case "levels":
			f.levels = decodeNames(m.raw, at, problems)
		case "hash":
			f.hash = decodeCount(m.raw, at, 2, problems)
		case "parts":
			f.parts = decodeNames(m.raw, at, problems)
		case "timezone":
			name := decodeString(m.raw, at, problems)
			zone, ok := location(name)
			if !ok {
				problems.Add(at, "%q is not a time zone of the IANA database, such as Europe/Berlin or UTC", name)
				continue
			}
			f.zone = zone
		case "encoding":
			encoding := decodeString(m.raw, at, problems)
			if f.oneHot = encoding == "one_hot"; !f.oneHot && encoding != "cyclic" {
				problems.Add(at, "%q is not an encoding; it must be cyclic or one_hot", encoding)
			}
		case "width":
			f.length = decodeCount(m.raw, at, 1, problems)
		case "of":
			f.of = decodeCrossed(m.raw, at, above, problems)
		default:
			problems.Add(at, "unknown field; a feature has name, type, missing, default, renamed_from, %s", strings.Join(specific, ", "))
		}
	}
	if f.kind == cross && !has["name"] {
		f.name = crossName(f.of, above)
	}
	f.check(path, has, problems)
	return f
}

// decodeNames decodes an array of different strings.
func decodeNames(raw json.RawMessage, path string, problems *nextbest.Problems) []string {
	var names []string
	for i, l := range decodeArray(raw, path, problems) {
		name := decodeString(l, path+"["+strconv.Itoa(i)+"]", problems)
		if slices.Contains(names, name) {
			problems.Add(path, "%q is listed twice", name)
		}
		names = append(names, name)
	}
	return names
}

// decodeCount decodes a whole number of columns.
func decodeCount(raw json.RawMessage, path string, least int, problems *nextbest.Problems) int {
	n, err := strconv.Atoi(string(raw))
	if err != nil || n < least || n > maxFeatureWidth {
		problems.Add(path, "must be a whole number between %d and %d, not %s", least, maxFeatureWidth, abbreviated(raw))
		return least
	}
	return n
}

// check refuses what does not belong to the feature's type.
func (f *feature) check(path string, has map[string]bool, problems *nextbest.Problems) {
	rules, known := kindRules[f.kind]
	if !known {
		problems.Add(path+".type", "%q is not a type; it must be numeric, boolean, categorical, timestamp, embedding or cross", f.kind)
		f.kind = boolean // one column
	}
	if f.kind != cross && (f.name == "" || f.name == Bias) {
		problems.Add(path+".name", "must be a name other than %s", Bias)
	}
	if !known {
		return
	}
	for _, name := range specific {
		if has[name] && !slices.Contains(rules.members, name) {
			problems.Add(path+"."+name, "a %s feature has none", f.kind)
		}
	}
	allowed := slices.Clone(rules.missing)
	switch f.kind {
	case boolean:
		if !has["mean"] {
			allowed = slices.DeleteFunc(allowed, func(r missingRule) bool { return r == missingMean })
		} else if !(f.mean >= 0 && f.mean <= 1) {
			problems.Add(path+".mean", "the mean of a boolean is the share of true, between 0 and 1")
		}
	case categorical:
		f.checkCategorical(path, has, problems)
	case timestamp:
		f.checkTimestamp(path, has, problems)
	case embedding:
		if !has["width"] {
			problems.Add(path+".width", "is missing; it says how many numbers the vector has")
		}
	case cross:
		f.checkCross(path, has, problems)
	}
	if f.previous != "" && f.previous == f.name {
		problems.Add(path+".renamed_from", "%q is the feature's name", f.name)
	}
	if !slices.Contains(allowed, f.missing) {
		problems.Add(path+".missing", "%q is not a rule for a %s feature here; it must be one of %v", f.missing, f.kind, allowed)
	}
	if f.missing == missingDefault && !has["default"] {
		problems.Add(path+".default", "is missing; it is the value that stands in for a missing one")
	} else if f.missing != missingDefault && has["default"] {
		problems.Add(path+".default", "is used only with \"missing\":\"default\"")
	}
}

func (f *feature) checkCategorical(path string, has map[string]bool, problems *nextbest.Problems) {
	switch {
	case has["levels"] && has["hash"]:
		problems.Add(path+".hash", "a categorical feature has levels or a hash, not both")
	case has["hash"]:
		f.seed = hashSeed(f.name)
	case len(f.levels) == 0:
		problems.Add(path+".levels", "must list at least one level; for many values give \"hash\", the number of columns, instead")
	}
	f.index = make(map[string]int, len(f.levels))
	for i, level := range f.levels {
		f.index[level] = i
	}
}

// checkDefault looks at what stands in for a missing value, so that it cannot
// fail later.
func (f *feature) checkDefault(path string, problems *nextbest.Problems) {
	if stand := f.stand(); stand-stand != 0 {
		problems.Add(path+".missing", "zero is too large once standardised; give the feature a clip")
	}
	if f.missing != missingDefault || f.fallback == nil || len(*problems) > 0 {
		return
	}
	var found nextbest.Problems
	f.encode(make([]float32, f.values), f.fallback, 0, &found)
	for _, p := range found {
		problems.Add(path+".default", "%s", p.Message)
	}
}

// timed reports whether the feature's columns depend on the decision's time.
func (f *feature) timed() bool {
	return f.kind == timestamp && (f.missing == missingNow || slices.Contains(f.parts, ageDays))
}

// appendNames appends the names of the feature's columns but for the indicator.
func (f *feature) appendNames(names []string, s *Schema) []string {
	switch f.kind {
	case categorical:
		if f.hash > 0 {
			return appendNumbered(names, f.name+"#", "", f.hash)
		}
		for _, level := range f.levels {
			names = append(names, f.name+"="+level)
		}
		return append(names, f.name+":other")
	case timestamp:
		return f.appendPartNames(names)
	case embedding:
		return appendNumbered(names, f.name+"[", "]", f.length)
	case cross:
		return s.appendCrossNames(names, f.of)
	default:
		return append(names, f.name)
	}
}

func appendNumbered(names []string, before, after string, n int) []string {
	for i := range n {
		names = append(names, before+strconv.Itoa(i)+after)
	}
	return names
}
