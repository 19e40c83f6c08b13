package bandit

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"

	"nextbest"
)

// Migrate returns the model that the same rows would have given under another
// schema: each of its columns is a linear form in the old ones, x' = T x, so
// Σ r x' = T Σ r x and Σ x'x'ᵀ = T (Σ x xᵀ) Tᵀ, while n and Σr² stay. The result
// differs from learning the rows again by what float32 rounds in x alone.
//
// Features may be reordered, removed, renamed (renamed_from), standardised by
// other moments where the clip stays at the same values, and given fewer levels
// or a hash width that divides the old one. Where the model saw no unknown level
// and no missing value, levels and rules for missing values may be added. A new
// feature counts as missing in every row learned so far, which is right where no
// past context carried it.
//
// Where the sums do not hold what is needed, the error names each feature of to
// (Invalid): learn the rows again from the log instead.
func Migrate(m *Model, from, to *Schema) (*Model, error) {
	if m.width != from.Width() {
		return nil, nextbest.Errorf(nextbest.Invalid, "the schema has %d columns and the model %d: it is not the schema the model was learned with", from.Width(), m.width)
	}
	if m.kind == kindLogistic {
		return nil, nextbest.Errorf(nextbest.Invalid, "a logistic model depends on the order of its rows and cannot be carried over: train a model of this version from the log instead")
	}
	g := newMigration(m, from, to)
	for i := range to.features {
		if why := g.feature(&to.features[i]); why != "" {
			g.problems = append(g.problems, nextbest.Problem{Field: "features[" + strconv.Itoa(i) + "]", Message: fmt.Sprintf("%s %s", to.features[i].name, why),
				Cure: "train a model of this version from the log instead"})
		}
	}
	if err := g.problems.Err("the migration of the model"); err != nil {
		return nil, err
	}
	out := &Model{kind: m.kind, width: to.Width(), ridge: m.ridge, halfLife: m.halfLife, at: m.at}
	for _, a := range m.arms {
		out.arms = append(out.arms, g.transform(a))
	}
	if action, ok := out.derive(); !ok {
		return nil, nextbest.Errorf(nextbest.Internal, "the migrated statistics of %q are not positive definite", action)
	}
	return out, nil
}

// form is a linear form in the old columns: column → coefficient.
type form map[int]float64

// migration finds the form of every new column.
type migration struct {
	kind     kind
	from, to *Schema
	forms    []form
	seen     []bool         // old columns that are not 0 in some row
	owner    []*feature     // of each old column; nil for the bias
	products map[string]int // old column by the columns that it multiplies
	factors  [][]int        // and back, crosses resolved to columns of other features
	problems nextbest.Problems
}

func newMigration(m *Model, from, to *Schema) *migration {
	g := &migration{kind: m.kind, from: from, to: to, forms: make([]form, to.Width()), seen: make([]bool, from.Width()),
		owner: make([]*feature, from.Width()), products: map[string]int{}, factors: make([][]int, from.Width())}
	g.forms[0] = form{0: 1}
	for _, a := range m.arms {
		for i := range g.seen {
			g.seen[i] = g.seen[i] || a.gram[triangle(i)+i] != 0
		}
	}
	for i := range from.features {
		f := &from.features[i]
		for c := f.column; c < f.column+f.width(); c++ {
			g.owner[c] = f
			g.factors[c] = []int{c}
		}
		if f.kind == cross {
			rows := [][]int{nil}
			for _, j := range f.of {
				h := &from.features[j]
				var next [][]int
				for _, row := range rows {
					for c := h.column; c < h.column+h.width(); c++ {
						next = append(next, append(slices.Clone(row), g.factors[c]...))
					}
				}
				rows = next
			}
			for k, row := range rows {
				slices.Sort(row)
				g.factors[f.column+k] = row
			}
		}
		for c := f.column; c < f.column+f.width(); c++ {
			g.products[fmt.Sprint(g.factors[c])] = c
		}
	}
	return g
}

// feature sets the forms of one new feature's columns, or says why it cannot.
func (g *migration) feature(f *feature) (why string) {
	if f.kind == cross {
		return g.cross(f)
	}
	old := g.former(f)
	fill, steady := f.fill()
	if old == nil {
		if f.missing == missingRefuse || !steady {
			return fmt.Sprintf("is new, and with \"missing\":%q its value in past rows is unknown", f.missing)
		}
		for j, v := range fill {
			g.forms[f.column+j] = form{0: v}
		}
		if f.indicator > 0 {
			g.forms[f.indicator] = form{0: 1}
		}
		return ""
	}
	if old.kind != f.kind {
		return fmt.Sprintf("was %s and is %s now", old.kind, f.kind)
	}
	values, why := g.values(old, f)
	if why != "" {
		return why
	}
	told := old.indicator > 0 // past rows say where the value was missing
	missed := told && g.seen[old.indicator]
	switch {
	case missed && (f.missing == missingRefuse || !steady):
		return fmt.Sprintf("was missing in past rows, which \"missing\":%q does not allow for", f.missing)
	case !told && old.missing != missingRefuse && !sameStandIn(old, f):
		return fmt.Sprintf("had \"missing\":%q, which did not keep in which past rows it was missing, and has %q now", old.missing, f.missing)
	}
	for j, v := range values {
		if !told && old.missing == missingZero && old.kind == timestamp && v[0] != 0 {
			return "had 0 for missing ages, which other moments would move"
		}
		if missed { // old columns are 0 there, so the form is its constant
			v[old.indicator] += fill[j] - v[0]
		}
		g.forms[f.column+j] = v
	}
	if f.indicator > 0 {
		g.forms[f.indicator] = form{}
		if missed {
			g.forms[f.indicator][old.indicator] = 1
		}
	}
	return ""
}

// former returns the feature of the old schema that f was, nil if it is new.
func (g *migration) former(f *feature) *feature {
	for _, name := range []string{f.name, f.previous} {
		for i := range g.from.features {
			if old := &g.from.features[i]; name != "" && old.name == name {
				return old
			}
		}
	}
	return nil
}

// fill returns what a missing value puts into the feature's columns; steady
// false says that it depends on the decision's time.
func (f *feature) fill() (columns []float64, steady bool) {
	encoded := make([]float32, f.values)
	switch {
	case f.missing == missingNow || f.missing == missingDefault && f.timed():
		return nil, false
	case f.missing == missingDefault:
		var problems nextbest.Problems
		f.encode(encoded, f.fallback, 0, &problems) // the schema has tried it
	case f.kind == numeric || f.kind == boolean:
		encoded[0] = f.stand()
	}
	for _, v := range encoded {
		columns = append(columns, float64(v))
	}
	return columns, true
}

// sameStandIn reports whether a missing value counts as the same value under
// both declarations, neither of which keeps that it was missing.
func sameStandIn(old, f *feature) bool {
	if f.missing == missingRefuse || f.missing == missingIndicator {
		return false
	}
	return reflect.DeepEqual(old.standIn(), f.standIn())
}

// standIn returns the value that a missing one counts as.
func (f *feature) standIn() any {
	switch {
	case f.missing == missingDefault && f.kind == numeric:
		x, _ := number(f.fallback)
		return x
	case f.missing == missingDefault && f.kind == boolean:
		return map[bool]float64{true: 1}[f.fallback == true]
	case f.missing == missingDefault:
		return f.fallback
	case f.missing == missingMean:
		return f.mean
	case f.missing == missingZero && (f.kind == numeric || f.kind == boolean):
		return 0.0
	default:
		return f.missing
	}
}

// values returns the forms of a feature's columns where its value was given.
func (g *migration) values(old, f *feature) (forms []form, why string) {
	switch f.kind {
	case numeric:
		v, why := restandardise(old, f, old.column)
		return []form{v}, why
	case boolean:
		return []form{{old.column: 1}}, ""
	case categorical:
		return g.levels(old, f)
	case timestamp:
		return g.parts(old, f)
	default:
		if old.length != f.length {
			return nil, fmt.Sprintf("had %d numbers and has %d now", old.length, f.length)
		}
		if old.clip != f.clip {
			return nil, fmt.Sprintf("was clipped at %g and is at %g now, and past rows do not hold what was cut off", old.clip, f.clip)
		}
		for j := range f.length {
			forms = append(forms, form{old.column + j: 1})
		}
		return forms, ""
	}
}

// restandardise turns (v − m)/s into (v − m')/s'.
func restandardise(old, f *feature, column int) (form, string) {
	if old.mean == f.mean && old.sd == f.sd && old.clip == f.clip {
		return form{column: 1}, ""
	}
	for _, side := range []float64{-1, 1} {
		a, b := old.mean+side*old.clip*old.sd, f.mean+side*f.clip*f.sd
		if a != b && !(math.Abs(a-b) <= 1e-9*(old.sd+f.sd)) {
			return nil, fmt.Sprintf("was clipped at %g and is at %g now, and past rows do not hold what was cut off", a, b)
		}
	}
	return form{column: old.sd / f.sd, 0: (old.mean - f.mean) / f.sd}, ""
}

// levels moves each former column to where its strings are now.
func (g *migration) levels(old, f *feature) ([]form, string) {
	forms := make([]form, f.values)
	for j := range forms {
		forms[j] = form{}
	}
	if old.hash > 0 {
		if f.hash == 0 || old.hash%f.hash != 0 || old.seed != f.seed {
			return nil, "is hashed, and only a width that divides the old one under the same name keeps strings together"
		}
		for i := range old.hash {
			forms[i%f.hash][old.column+i] = 1
		}
		return forms, ""
	}
	added := f.hash > 0
	for _, level := range f.levels {
		_, known := old.index[level]
		added = added || !known
	}
	other := old.column + len(old.levels)
	if added && g.seen[other] {
		return nil, "has new levels, and past rows hold unknown ones that may have been these"
	}
	for i, level := range old.levels {
		at, known := f.index[level]
		switch {
		case f.hash > 0:
			at = bucket(f.seed, level, f.hash)
		case !known:
			at = len(f.levels)
		}
		forms[at][old.column+i] = 1
	}
	if f.hash == 0 {
		forms[len(f.levels)][other] = 1
	}
	return forms, ""
}

// parts picks the columns of each part.
func (g *migration) parts(old, f *feature) (forms []form, why string) {
	if old.zone.String() != f.zone.String() {
		return nil, fmt.Sprintf("was in %s and is in %s now", old.zone, f.zone)
	}
	columns := map[string]int{} // of the old parts
	at := old.column
	for _, part := range old.parts {
		columns[part] = at
		at += old.partWidth(part)
	}
	for _, part := range f.parts {
		at, known := columns[part]
		c := timestampParts[part]
		switch {
		case !known:
			return nil, fmt.Sprintf("has the new part %s, which is unknown in past rows", part)
		case c == nil:
			v, why := restandardise(old, f, at)
			if why != "" {
				return nil, why
			}
			forms = append(forms, v)
		case old.oneHot == f.oneHot:
			for j := range f.partWidth(part) {
				forms = append(forms, form{at + j: 1})
			}
		case f.oneHot:
			return nil, "was cyclic and is one_hot now, which past rows do not hold"
		default:
			sin, cos := form{}, form{}
			for i, unit := range c.unit {
				sin[at+i], cos[at+i] = float64(unit[0]), float64(unit[1])
			}
			forms = append(forms, sin, cos)
		}
	}
	return forms, ""
}

// cross multiplies the forms of a cross's features.
func (g *migration) cross(f *feature) (why string) {
	products := []form{{0: 1}}
	for _, j := range f.of {
		h := &g.to.features[j]
		next := make([]form, 0, len(products)*h.width())
		for _, p := range products {
			for c := h.column; c < h.column+h.width(); c++ {
				if g.forms[c] == nil {
					return "multiplies a feature that cannot be migrated"
				}
				v, ok := g.multiply(p, g.forms[c])
				if !ok {
					return "is a product that the old schema did not have, so that it is unknown in past rows"
				}
				next = append(next, v)
			}
		}
		products = next
	}
	copy(g.forms[f.column:], products)
	return ""
}

func (g *migration) multiply(p, q form) (form, bool) {
	out := form{}
	for _, i := range slices.Sorted(maps.Keys(p)) {
		for _, j := range slices.Sorted(maps.Keys(q)) {
			c, zero, ok := g.product(i, j)
			if zero || p[i] == 0 || q[j] == 0 {
				continue
			}
			if !ok {
				return nil, false
			}
			out[c] += p[i] * q[j]
		}
	}
	return out, true
}

// product returns the old column that is the product of two, or says that it is
// 0 in every row.
func (g *migration) product(i, j int) (column int, zero, ok bool) {
	switch {
	case i != 0 && !g.seen[i] || j != 0 && !g.seen[j]:
		return 0, true, true
	case i == 0:
		return j, false, true
	case j == 0:
		return i, false, true
	}
	both := slices.Concat(g.factors[i], g.factors[j])
	slices.Sort(both)
	if c, ok := g.products[fmt.Sprint(both)]; ok {
		return c, false, true
	}
	if f := g.owner[i]; f == g.owner[j] && f.indicator > 0 { // 1·1, or a value that is missing
		if i == j && i == f.indicator {
			return i, false, true
		}
		if i == f.indicator || j == f.indicator {
			return 0, true, true
		}
	}
	return 0, false, false
}

// transform returns T b and T G Tᵀ.
func (g *migration) transform(a *armModel) *armModel {
	out := &armModel{action: a.action, sums: newSums(len(g.forms))}
	for i, v := range a.scalars(g.kind) {
		*out.scalars(g.kind)[i] = *v
	}
	type term struct {
		column      int
		coefficient float64
	}
	terms := make([][]term, len(g.forms)) // in a fixed order
	for i, f := range g.forms {
		for _, c := range slices.Sorted(maps.Keys(f)) {
			terms[i] = append(terms[i], term{c, f[c]})
		}
	}
	row := make([]float64, g.from.Width()) // of T G
	for i, of := range terms {
		clear(row)
		for _, t := range of {
			out.b[i] += float64(t.coefficient * a.b[t.column])
			for k := range row {
				row[k] += float64(t.coefficient * a.gram[triangle(max(k, t.column))+min(k, t.column)])
			}
		}
		for j := range i + 1 {
			for _, t := range terms[j] {
				out.gram[triangle(i)+j] += float64(row[t.column] * t.coefficient)
			}
		}
	}
	return out
}
