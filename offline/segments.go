package offline

import (
	"encoding/json"
	"fmt"
	"math"
	"sort"
	"strings"

	"nextbest"
	"nextbest/estimators"
)

// mostSegments bounds the segments that one key makes; rows of later ones are
// counted together.
const mostSegments = 50

// otherSegment holds the rows beyond mostSegments, and missingSegment those
// without the value.
const (
	otherSegment   = "(other)"
	missingSegment = "(none)"
)

// Segment is a candidate's value among the rows with one value of a key.
type Segment struct {
	By        string  `json:"by"` // policy, day, context.channel, …
	Value     string  `json:"value"`
	Rows      int64   `json:"rows"`
	Customers int64   `json:"customers"`
	Logged    float64 `json:"logged"` // mean reward of what ran
	DR        *Figure `json:"dr,omitempty"`
	VsLogged  *Figure `json:"vs_logged,omitempty"`
	// Note says why VsLogged is absent, or that these normal intervals cover too
	// little.
	Note string `json:"note,omitempty"`
	// Unanswered counts the rows that lack what the candidate decides by, as in
	// Result; they widen the segment's intervals by their share of its rows.
	Unanswered int64 `json:"unanswered_rows,omitempty"`
	// Refusals are those of the segment alone; figures are absent then.
	Refusals []estimators.Refusal `json:"refusals"`
}

// segmentKey reads one value of a row.
type segmentKey struct {
	name string
	path []string // within the row's context document; nil: of the row itself
}

// parseSegment reads policy, day, arm, context.<key> or customer.<key>, keys
// nested by dots.
func parseSegment(name string) (segmentKey, error) {
	switch head, rest, nested := strings.Cut(name, "."); {
	case name == "policy", name == "day", name == "arm":
		return segmentKey{name: name}, nil
	case nested && (head == "context" || head == "customer") && rest != "" && !strings.Contains("."+rest+".", ".."):
		return segmentKey{name, strings.Split(name, ".")}, nil
	}
	return segmentKey{}, fmt.Errorf("%q: give policy, day, arm, context.<key> or customer.<key>", name)
}

// segmentsNowhere warns of keys that no row has.
func segmentsNowhere(results []Result) (out []string) {
	for i := range results {
		if len(results[i].Segments) == 0 {
			continue
		}
		found, keys := map[string]bool{}, []string{}
		for _, s := range results[i].Segments {
			if _, seen := found[s.By]; !seen {
				keys = append(keys, s.By)
			}
			found[s.By] = found[s.By] || s.Value != missingSegment
		}
		for _, k := range keys {
			if !found[k] {
				out = append(out, fmt.Sprintf("no row has %s: all of them are in its segment %s", k, missingSegment))
			}
		}
		return out
	}
	return nil
}

// CheckSegment says what is wrong with the name of a segment's key.
func CheckSegment(name string) error {
	_, err := parseSegment(name)
	return err
}

// segmenter finds the segments of a row. It belongs to one lane.
type segmenter struct {
	keys   []segmentKey
	values []string // of the current row, by key
}

func newSegmenter(names []string) *segmenter {
	s := &segmenter{values: make([]string, len(names))}
	for _, name := range names {
		k, err := parseSegment(name)
		if err != nil {
			panic(err) // Request.prepare has seen it
		}
		s.keys = append(s.keys, k)
	}
	return s
}

// nested reports whether any key is read from contexts.
func (s *segmenter) nested() bool {
	for _, k := range s.keys {
		if k.path != nil {
			return true
		}
	}
	return false
}

func (s *segmenter) read(b *nextbest.Batch, i int) error {
	if len(s.keys) == 0 {
		return nil
	}
	var document any
	if s.nested() && i < len(b.Contexts) && len(b.Contexts[i]) > 0 {
		if err := json.Unmarshal(b.Contexts[i], &document); err != nil {
			return rowErrorf(b, i, "its context is not JSON: %v", err)
		}
	}
	for n, k := range s.keys {
		switch {
		case k.name == "policy":
			s.values[n] = b.Policies[i]
		case k.name == "arm":
			s.values[n] = b.Arm[i]
		case k.name == "day":
			s.values[n] = dayName(floorDay(b.Time[i]))
		default:
			s.values[n] = lookUp(document, k.path)
		}
		if s.values[n] == "" {
			s.values[n] = missingSegment
		}
	}
	return nil
}

// lookUp returns a scalar of a JSON document as text.
func lookUp(document any, path []string) string {
	for _, p := range path {
		m, ok := document.(map[string]any)
		if !ok {
			return ""
		}
		document = m[p]
	}
	switch document.(type) {
	case string, bool, float64:
		return fmt.Sprint(document)
	}
	return ""
}

// serving reports whether the key tells apart who served a row. Given that, the
// action was drawn with the server's own probability, and not with the mixture's.
func (k segmentKey) serving() bool { return k.name == "policy" || k.name == "arm" }

// segments accumulate one candidate by segment.
type segments struct {
	by   []map[string]*segmentTally // by key
	open []*segmentTally            // that the current customer has rows in
}

type segmentTally struct {
	customer estimators.Customer
	opened   bool
	lacking  int64 // rows that the candidate could not be asked about
	weigh    estimators.Weighing
	dr       estimators.DRTotal
	over     estimators.Ratio
	contrast contrast // to what ran
	logged   estimators.Ratio
}

func newSegments(keys int) *segments {
	s := &segments{by: make([]map[string]*segmentTally, keys)}
	for k := range s.by {
		s.by[k] = map[string]*segmentTally{}
	}
	return s
}

func (s *segments) at(key int, value string) *segmentTally {
	m := s.by[key]
	t := m[value]
	if t == nil {
		if len(m) >= mostSegments && value != otherSegment {
			return s.at(key, otherSegment)
		}
		t = &segmentTally{}
		m[value] = t
	}
	return t
}

// add takes a row with the values that g has read: by the probabilities of what
// served it (own) where the key says who that was.
func (s *segments) add(g *segmenter, row, own *estimators.Row) {
	for k, v := range g.values {
		t, row := s.at(k, v), row
		if g.keys[k].serving() {
			row = own
		}
		if !t.opened {
			t.opened = true
			s.open = append(s.open, t)
		}
		t.customer.Add(row)
	}
}

// lacks counts a row that was added as one that the candidate could not be asked
// about.
func (s *segments) lacks(g *segmenter) {
	if s == nil {
		return
	}
	for k, v := range g.values {
		s.at(k, v).lacking++
	}
}

// close ends the current customer.
func (s *segments) close() {
	for _, t := range s.open {
		c := &t.customer
		t.weigh.Add(c)
		t.dr.Add(c)
		t.over.Add(c.Model+c.Correction-c.Reward, c.Rows)
		t.contrast.add(c.Weight-c.Rows, c.WeightedReward-c.Reward)
		t.logged.Add(c.Reward, c.Rows)
		t.customer, t.opened = estimators.Customer{}, false
	}
	s.open = s.open[:0]
}

// merge adds another lane's. Which values come first, and so have a segment of
// their own, may differ between lanes; beyond twice mostSegments they are the
// others'.
func (s *segments) merge(o *segments) {
	for k, m := range o.by {
		for _, v := range sortedKeys(m) {
			from, to := m[v], s.by[k][v]
			if to == nil {
				s.by[k][v] = from
				continue
			}
			to.lacking += from.lacking
			to.weigh.Merge(&from.weigh)
			to.dr.Merge(&from.dr)
			to.over.Merge(&from.over)
			to.contrast.merge(&from.contrast)
			to.logged.Merge(&from.logged)
		}
	}
}

func sortedKeys(m map[string]*segmentTally) []string {
	out := make([]string, 0, len(m))
	for v := range m {
		out = append(out, v)
	}
	sort.Strings(out)
	return out
}

// figures returns the segments, by key, the largest first.
func (s *segments) figures(j *judge, keys []string, ev evidence) []Segment {
	out := []Segment{}
	for k, m := range s.by {
		from := len(out)
		for _, v := range sortedKeys(m) {
			t := m[v]
			d := t.weigh.Estimate()
			x := Segment{By: keys[k], Value: v, Rows: int64(d.Rows), Customers: int64(d.Customers), Unanswered: t.lacking, Refusals: j.segmentRefusals(t, &d)}
			if e, err := t.logged.Estimate(); err == nil && !math.IsNaN(e.Value) {
				x.Logged = e.Value
			}
			if len(x.Refusals) == 0 {
				x.DR = ev.figure(t.dr.Estimate())
				x.VsLogged, x.Note = t.beside(j, &d, ev)
				j.room(t.share(&d), x.DR, x.VsLogged)
			}
			out = append(out, x)
		}
		part := out[from:]
		sort.SliceStable(part, func(a, b int) bool { return part[a].Rows > part[b].Rows })
	}
	return out
}

// beside returns the difference to what ran, or says why there is none: a
// candidate that nearly does what ran has the segment's conversions and differs by
// a few. Otherwise it says whether normal intervals may be read.
func (t *segmentTally) beside(j *judge, d *estimators.Diagnostics, ev evidence) (*Figure, string) {
	gap, err := t.over.Estimate()
	_, rows := t.over.Sums()
	if n, few := t.contrast.few(j.req.Limits.Conversions, j.g.rewardMax-j.g.rewardMin, rows, gap.StdErr); err == nil && few {
		return nil, fmt.Sprintf("no difference is shown: it rests on %.1f conversions on one side (at least %.0f needed)", n, j.req.Limits.Conversions)
	}
	f := ev.figure(gap, err)
	if f == nil {
		return nil, ""
	}
	if kind, ok := estimators.FindInterval(f.Method); ok {
		return f, kind.Warning(*d)
	}
	return f, ""
}
