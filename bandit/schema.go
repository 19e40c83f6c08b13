package bandit

import (
	"math"
	"slices"
	"strconv"

	"nextbest"
)

// Bias is the name of the first column, which is always 1.
const Bias = "bias"

// Schema says how a context becomes a vector. It is immutable and safe for
// concurrent use.
type Schema struct {
	features []feature
	names    []string
}

// feature is one declared feature and the columns it fills.
type feature struct {
	name        string
	kind        featureKind
	missing     missingRule
	mean, sd    float64
	clip        float64        // in standard deviations; +Inf: none
	levels      map[string]int // level → offset within the columns
	column      int            // first column
	other       int            // column of unknown levels
	indicator   int            // column that says the value is missing
	whenMissing float32        // value of the first column then
}

type featureKind string

const (
	numeric     featureKind = "numeric"
	boolean     featureKind = "boolean"
	categorical featureKind = "categorical"
)

// missingRule says what stands in for a value that is absent or null.
type missingRule string

const (
	missingRefuse    missingRule = "refuse"    // the call is refused
	missingMean      missingRule = "mean"      // the declared mean
	missingZero      missingRule = "zero"      // the value 0 or false, or no level at all
	missingIndicator missingRule = "indicator" // the mean, false or no level, and a column that says so
)

// NewSchema compiles a definition:
//
//	{"features":[
//	  {"name":"recency","type":"numeric","mean":5.8,"sd":3.5,"clip":5,"missing":"mean"},
//	  {"name":"newbie","type":"boolean"},
//	  {"name":"channel","type":"categorical","levels":["Web","Phone"],"missing":"indicator"}]}
//
// A numeric feature is (value − mean)/sd, clipped to ±clip; mean and sd are 0
// and 1 unless given. A categorical one has a column per level and one for every
// other string. missing is refuse unless given. The first column is the bias.
// Unknown members are refused, every problem in one nextbest.Error.
func NewSchema(definition []byte) (*Schema, error) {
	var problems nextbest.Problems
	s := &Schema{names: []string{Bias}}
	given := false
	for _, m := range decodeObject(definition, "$", &problems) {
		if m.name != "features" {
			problems.Add(m.name, "unknown field; a schema has features")
			continue
		}
		given = true
		for i, raw := range decodeArray(m.raw, m.name, &problems) {
			path := "features[" + strconv.Itoa(i) + "]"
			f, levels := decodeFeature(raw, path, &problems)
			if slices.ContainsFunc(s.features, func(g feature) bool { return g.name == f.name }) {
				problems.Add(path+".name", "%q is declared twice", f.name)
			}
			s.add(f, levels)
		}
	}
	if !given && len(problems) == 0 {
		problems.Add("features", "is missing; an empty array is a schema of the bias alone")
	}
	if len(problems) == 0 {
		s.checkNames(&problems)
	}
	if err := problems.Err("schema"); err != nil {
		return nil, err
	}
	return s, nil
}

// BiasAlone returns the schema of policies that name no features: one column,
// always 1.
func BiasAlone() *Schema { return &Schema{names: []string{Bias}} }

// add lays out a feature's columns.
func (s *Schema) add(f feature, levels []string) {
	f.column = len(s.names)
	switch f.kind {
	case categorical:
		f.levels = make(map[string]int, len(levels))
		for i, level := range levels {
			f.levels[level] = i
			s.names = append(s.names, f.name+"="+level)
		}
		f.other = len(s.names)
		s.names = append(s.names, f.name+":other")
	default:
		s.names = append(s.names, f.name)
	}
	if f.missing == missingIndicator {
		f.indicator = len(s.names)
		s.names = append(s.names, f.name+":missing")
	}
	s.features = append(s.features, f)
}

func (s *Schema) checkNames(problems *nextbest.Problems) {
	if len(s.names) > maxWidth {
		problems.Add("features", "make %d columns; at most %d are possible", len(s.names), maxWidth)
	}
	seen := map[string]bool{}
	for _, name := range s.names {
		if seen[name] {
			problems.Add("features", "two columns would be called %q; rename a feature", name)
		}
		seen[name] = true
	}
}

// Width returns the number of columns, the bias included.
func (s *Schema) Width() int { return len(s.names) }

// Names returns the columns' names: bias, recency, recency:missing, newbie,
// channel=Web, channel:other.
func (s *Schema) Names() []string { return slices.Clone(s.names) }

// decodeFeature decodes one feature and its levels.
func decodeFeature(raw []byte, path string, problems *nextbest.Problems) (feature, []string) {
	f := feature{sd: 1, clip: math.Inf(1), missing: missingRefuse}
	var levels []string
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
			for i, l := range decodeArray(m.raw, at, problems) {
				level := decodeString(l, at+"["+strconv.Itoa(i)+"]", problems)
				if slices.Contains(levels, level) {
					problems.Add(at, "%q is listed twice", level)
				}
				levels = append(levels, level)
			}
		default:
			problems.Add(at, "unknown field; a feature has name, type, mean, sd, clip, levels and missing")
		}
	}
	f.check(path, has, len(levels), problems)
	return f, levels
}

// check refuses what does not belong to the feature's type.
func (f *feature) check(path string, has map[string]bool, levels int, problems *nextbest.Problems) {
	if f.name == "" || f.name == Bias {
		problems.Add(path+".name", "must be a name other than %s", Bias)
	}
	var allowed []string
	rules := []missingRule{missingRefuse, missingZero, missingIndicator}
	switch f.kind {
	case numeric:
		allowed = []string{"mean", "sd", "clip"}
		rules = append(rules, missingMean)
		if f.missing == missingZero {
			v := (0 - f.mean) / f.sd
			f.whenMissing = float32(min(max(v, -f.clip), f.clip))
		}
	case boolean:
		allowed = []string{"mean"}
		if has["mean"] {
			rules = append(rules, missingMean)
			if !(f.mean >= 0 && f.mean <= 1) {
				problems.Add(path+".mean", "the mean of a boolean is the share of true, between 0 and 1")
			}
		}
		if f.missing == missingMean {
			f.whenMissing = float32(f.mean)
		}
	case categorical:
		allowed = []string{"levels"}
		if levels == 0 {
			problems.Add(path+".levels", "must list at least one level")
		}
	default:
		problems.Add(path+".type", "%q is not a type; it must be numeric, boolean or categorical", f.kind)
		return
	}
	for _, name := range []string{"mean", "sd", "clip", "levels"} {
		if has[name] && !slices.Contains(allowed, name) {
			problems.Add(path+"."+name, "a %s feature has none", f.kind)
		}
	}
	if !slices.Contains(rules, f.missing) {
		problems.Add(path+".missing", "%q is not a rule for a %s feature here; it must be one of %v", f.missing, f.kind, rules)
	}
}
