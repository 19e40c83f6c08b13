package bandit

import (
	"slices"
	"strconv"
	"time"

	"nextbest"
)

// Bias is the name of the first column, which is always 1.
const Bias = "bias"

// maxFeatureWidth is how many columns one hashed, embedded or crossed feature
// may have. Statistics grow with the square of a schema's width.
const maxFeatureWidth = 1024

// Schema says how a context becomes a vector. It is immutable and safe for
// concurrent use.
type Schema struct {
	features []feature
	names    []string
	timed    bool // some column depends on the decision's time
}

// NewSchema compiles a definition:
//
//	{"features":[
//	  {"name":"recency","type":"numeric","mean":5.8,"sd":3.5,"clip":5,"missing":"mean"},
//	  {"name":"newbie","type":"boolean"},
//	  {"name":"channel","type":"categorical","levels":["Web","Phone"],"missing":"indicator"},
//	  {"name":"zip","type":"categorical","hash":64},
//	  {"name":"last_login","type":"timestamp","parts":["hour","weekday"],"timezone":"Europe/Berlin","missing":"now"},
//	  {"name":"taste","type":"embedding","width":16,"missing":"zero"},
//	  {"type":"cross","of":["channel","newbie"]}]}
//
// A numeric feature is (value − mean)/sd, clipped to ±clip; mean and sd are 0
// and 1 unless given. A categorical one has a column per level and one for every
// other string, or columns by the hash of the string (see hashed). A timestamp
// has columns for parts of the calendar (see timestampParts), an embedding one
// for each number, a cross one for each product of its features' columns.
//
// missing is refuse unless given; default needs a "default". "renamed_from" is
// the feature's key before, read where the new one is absent. A member
// "moments" says which rows means and deviations were taken from; it has no
// effect. The first column is the bias. Unknown members are refused, every
// problem in one nextbest.Error.
func NewSchema(definition []byte) (*Schema, error) {
	var problems nextbest.Problems
	s := BiasAlone()
	given := false
	for _, m := range decodeObject(definition, "$", &problems) {
		switch m.name {
		case "features":
			given = true
			for i, raw := range decodeArray(m.raw, m.name, &problems) {
				s.declare(raw, "features["+strconv.Itoa(i)+"]", &problems)
			}
		case "moments":
			decodeSource(m.raw, m.name, &problems)
		default:
			problems.Add(m.name, "unknown field; a schema has features and moments")
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

// declare adds a feature. One that has problems may be laid out wrongly; the
// schema is not used then.
func (s *Schema) declare(raw []byte, path string, problems *nextbest.Problems) {
	f := decodeFeature(raw, path, s.features, problems)
	if f.name != "" && slices.ContainsFunc(s.features, func(g feature) bool { return g.name == f.name }) {
		problems.Add(path+".name", "%q is declared twice", f.name)
	}
	f.column = len(s.names)
	if f.kind == cross && !s.checkCrossWidth(&f, path, problems) {
		f.of = nil
	}
	if len(s.names) <= maxWidth { // more are refused in the end
		s.names = f.appendNames(s.names, s)
		f.values = len(s.names) - f.column
		if f.missing == missingIndicator {
			f.indicator = len(s.names)
			s.names = append(s.names, f.name+":missing")
		}
	}
	s.timed = s.timed || f.timed()
	f.checkDefault(path, problems)
	s.features = append(s.features, f)
}

func (s *Schema) checkNames(problems *nextbest.Problems) {
	if len(s.names) > maxWidth {
		problems.Add("features", "make %d columns or more; at most %d are possible", len(s.names), maxWidth)
	}
	seen := map[string]bool{}
	for _, name := range s.names {
		if seen[name] {
			problems.Add("features", "two columns would be called %q; rename a feature", name)
		}
		seen[name] = true
	}
	for i, f := range s.features {
		if f.previous != "" && slices.ContainsFunc(s.features, func(g feature) bool { return g.name == f.previous || g.previous == f.previous && g.name != f.name }) {
			problems.Add("features["+strconv.Itoa(i)+"].renamed_from", "%q is another feature's name", f.previous)
		}
	}
}

// Width returns the number of columns, the bias included.
func (s *Schema) Width() int { return len(s.names) }

// Names returns the columns' names: bias, recency, recency:missing, newbie,
// channel=Web, channel:other, zip#17, last_login:hour:sin, last_login:weekday=mon,
// last_login:age_days, taste[3], channel=Web×newbie.
func (s *Schema) Names() []string { return slices.Clone(s.names) }

// Timed reports whether a vector depends on the time of the decision.
func (s *Schema) Timed() bool { return s.timed }

// location loads a time zone from the system or, where it has none, from the
// copy in this program.
func location(name string) (*time.Location, bool) {
	if name == "" || name == "Local" {
		return nil, false // what the machine is set to must not matter
	}
	zone, err := time.LoadLocation(name)
	return zone, err == nil
}
