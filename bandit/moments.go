package bandit

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"nextbest"
)

// Source says which rows means and deviations were taken from: decisions of a
// placement with From ≤ time < To, as the log was at journal position Upto.
type Source struct {
	Placement string    `json:"placement"`
	From      time.Time `json:"from,omitzero"`
	To        time.Time `json:"to"`
	Upto      uint64    `json:"upto"`
	Rows      int64     `json:"rows"`
	// Unusable counts values that are not of their feature's type; they are left
	// out, as missing ones are.
	Unusable int64 `json:"unusable,omitempty"`
}

// decodeSource checks the member that holds a Source.
func decodeSource(raw json.RawMessage, path string, problems *nextbest.Problems) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&Source{}); err != nil {
		problems.Add(path, "does not say which rows moments came from: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
}

// Moments takes the means and standard deviations that a definition leaves out
// from contexts: those of numeric features, and of timestamps' ages, that give
// neither mean nor sd.
type Moments struct {
	schema  *Schema
	raw     []json.RawMessage // of each feature
	sums    []*welford        // of each feature, nil where nothing is asked
	rows    int64
	strange int64
}

// welford is the running mean and Σ(x − mean)² of Welford (1962, "Note on a
// method for calculating corrected sums of squares and products").
type welford struct{ n, mean, squares float64 }

func (w *welford) add(x float64) {
	w.n++
	d := x - w.mean
	w.mean += d / w.n
	w.squares += float64(d * (x - w.mean))
}

// NewMoments reads a definition (see NewSchema).
func NewMoments(definition []byte) (*Moments, error) {
	schema, err := NewSchema(definition)
	if err != nil {
		return nil, err
	}
	m := &Moments{schema: schema}
	var problems nextbest.Problems // NewSchema found none
	for _, top := range decodeObject(definition, "$", &problems) {
		if top.name != "features" {
			problems.Add(top.name, "is what moments are to be taken for; leave it out")
			continue
		}
		m.raw = decodeArray(top.raw, top.name, &problems)
	}
	asked := false
	for i, raw := range m.raw {
		var sum *welford
		if schema.features[i].standardised() {
			given := false
			for _, member := range decodeObject(raw, "", &problems) {
				given = given || member.name == "mean" || member.name == "sd"
			}
			if !given {
				sum, asked = &welford{}, true
			}
		}
		m.sums = append(m.sums, sum)
	}
	if !asked && len(problems) == 0 {
		problems.Add("features", "none leaves its mean and sd to the log; leave them out where the log is to give them")
	}
	return m, problems.Err("schema")
}

// standardised reports whether the feature has a mean and a standard deviation.
func (f *feature) standardised() bool {
	if f.kind == timestamp {
		for _, part := range f.parts {
			if part == ageDays {
				return true
			}
		}
	}
	return f.kind == numeric
}

// Add takes in the context of a decision made at a time.
func (m *Moments) Add(context map[string]any, at time.Time) {
	m.rows++
	for i, sum := range m.sums {
		f := &m.schema.features[i]
		v := any(nil)
		if sum != nil {
			v = f.value(context)
		}
		if v == nil {
			continue
		}
		x, ok := number(v)
		if f.kind == timestamp {
			micro, why := moment(v)
			x, ok = age(micro, at.UnixMicro()), why == ""
		}
		if !ok || x-x != 0 {
			m.strange++
			continue
		}
		sum.add(x)
	}
}

// Definition returns the definition with the moments in it and where they come
// from. The standard deviation is √(Σ(x − mean)²/n). It is Invalid, naming each
// feature, where one had fewer than two values or always the same.
func (m *Moments) Definition(from Source) ([]byte, error) {
	var problems nextbest.Problems
	var b bytes.Buffer
	b.WriteString(`{"features":[`)
	for i, raw := range m.raw {
		if i > 0 {
			b.WriteByte(',')
		}
		if m.sums[i] == nil {
			b.Write(raw)
			continue
		}
		w, path := m.sums[i], "features["+strconv.Itoa(i)+"]"
		sd := math.Sqrt(w.squares / w.n)
		switch {
		case w.n < 2:
			problems.Add(path, "%s has %g values in these %d rows; give mean and sd", m.schema.features[i].name, w.n, m.rows)
		case !(sd <= math.MaxFloat64):
			problems.Add(path, "%s has values too large to be summed; give mean and sd", m.schema.features[i].name)
		case sd == 0:
			problems.Add(path, "%s is %g in all of these rows and so tells nothing; leave it out, or give mean and sd", m.schema.features[i].name, w.mean)
		}
		b.Write(raw[:len(raw)-1])
		b.WriteString(`,"mean":` + strconv.FormatFloat(w.mean, 'g', -1, 64) + `,"sd":` + strconv.FormatFloat(sd, 'g', -1, 64) + `}`)
	}
	if err := problems.Err("schema"); err != nil {
		return nil, err
	}
	from.Rows, from.Unusable = m.rows, m.strange
	source, err := json.Marshal(from)
	if err != nil {
		return nil, nextbest.Errorf(nextbest.Invalid, "the source of moments: %w", err)
	}
	b.WriteString(`],"moments":`)
	b.Write(source)
	b.WriteByte('}')
	return b.Bytes(), nil
}
