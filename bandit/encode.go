package bandit

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"nextbest"
)

// Encode writes the vector of a context into dst, which has the schema's width.
// Values are as encoding/json gives them, or other Go numbers: numbers, booleans,
// strings and, for embeddings, arrays of numbers; keys that the schema does not
// name are ignored. A value that is absent or null follows the feature's rule. A
// value of another type, or a number that is not finite, is an error that names
// the feature; all problems are gathered, and dst is then void. Nothing is
// allocated when there are none.
//
// at is the time of the decision, which Timed schemas need; a microsecond is the
// smallest step that matters. The same context at the same time always gives the
// same vector.
func (s *Schema) Encode(dst []float32, context map[string]any, at time.Time) error {
	if len(dst) != len(s.names) {
		panic(fmt.Sprintf("bandit: a vector of %d for a schema of %d columns", len(dst), len(s.names)))
	}
	var now int64
	if s.timed {
		if at.IsZero() {
			return nextbest.Errorf(nextbest.Invalid, "these features depend on the time of the decision, and there is none")
		}
		now = at.UnixMicro()
	}
	var problems nextbest.Problems
	clear(dst)
	dst[0] = 1
	for i := range s.features {
		f := &s.features[i]
		if f.kind == cross {
			if len(problems) == 0 {
				s.encodeCross(dst, f, &problems)
			}
			continue
		}
		v := f.value(context)
		columns := dst[f.column : f.column+f.values]
		switch {
		case v != nil:
			f.encode(columns, v, now, &problems)
		case f.missing == missingRefuse:
			problems.Add("context."+f.name, "is missing; this feature needs a %s value", f.kind)
		case f.missing == missingDefault:
			f.encode(columns, f.fallback, now, &problems)
		case f.missing == missingNow:
			f.encodeTime(columns, now, now, &problems)
		default:
			if f.missing == missingIndicator {
				dst[f.indicator] = 1
			}
			if f.kind == numeric || f.kind == boolean {
				columns[0] = f.stand()
			}
		}
	}
	return problems.Err("context")
}

// value returns the feature's value in a context, nil where there is none.
func (f *feature) value(context map[string]any) any {
	v := context[f.name]
	if v == nil && f.previous != "" {
		v = context[f.previous]
	}
	return v
}

// width returns the number of columns, the indicator included.
func (f *feature) width() int {
	if f.indicator > 0 {
		return f.values + 1
	}
	return f.values
}

// stand returns the column of a missing number or boolean under the rules zero,
// mean and indicator.
func (f *feature) stand() float32 {
	switch {
	case f.kind == numeric && f.missing == missingZero:
		return float32(min(max((0-f.mean)/f.sd, -f.clip), f.clip))
	case f.kind == boolean && f.missing == missingMean:
		return float32(f.mean)
	}
	return 0
}

// encode writes a value into the feature's columns, which are 0.
func (f *feature) encode(columns []float32, v any, now int64, problems *nextbest.Problems) {
	switch f.kind {
	case numeric:
		x, ok := number(v)
		if !ok {
			problems.Add("context."+f.name, "must be a number, not the %s %q", typeName(v), fmt.Sprint(v))
			return
		}
		f.encodeNumber(columns, x, problems)
	case boolean:
		b, ok := v.(bool)
		if !ok {
			problems.Add("context."+f.name, "must be true or false, not the %s %v", typeName(v), v)
		} else if b {
			columns[0] = 1
		}
	case categorical:
		level, ok := v.(string)
		if !ok {
			problems.Add("context."+f.name, "must be a string, not the %s %v", typeName(v), v)
		} else if f.hash > 0 {
			columns[bucket(f.seed, level, f.hash)] = 1
		} else if at, known := f.index[level]; known {
			columns[at] = 1
		} else {
			columns[len(f.levels)] = 1
		}
	case timestamp:
		micro, why := moment(v)
		if why != "" {
			problems.Add("context."+f.name, "%s; it is the %s %v", why, typeName(v), v)
			return
		}
		f.encodeTime(columns, micro, now, problems)
	case embedding:
		f.encodeVector(columns, v, problems)
	}
}

func (f *feature) encodeNumber(columns []float32, x float64, problems *nextbest.Problems) {
	if x-x != 0 {
		problems.Add("context."+f.name, "must be a finite number, not %v", x)
		return
	}
	z := float32(min(max((x-f.mean)/f.sd, -f.clip), f.clip))
	if math.IsInf(float64(z), 0) {
		problems.Add("context."+f.name, "%g is too large once standardised; give the feature a clip", x)
		return
	}
	columns[0] = z
}

// encodeVector writes an embedding's numbers as they are, clipped to ±clip.
func (f *feature) encodeVector(columns []float32, v any, problems *nextbest.Problems) {
	var n int
	list, isList := v.([]any)
	floats, isFloats := v.([]float64)
	switch {
	case isList:
		n = len(list)
	case isFloats:
		n = len(floats)
	default:
		problems.Add("context."+f.name, "must be an array of %d numbers, not the %s %v", f.length, typeName(v), v)
		return
	}
	if n != f.length {
		problems.Add("context."+f.name, "must be an array of %d numbers, not of %d", f.length, n)
		return
	}
	for i := range n {
		var x float64
		ok := true
		if isFloats {
			x = floats[i]
		} else {
			x, ok = number(list[i])
		}
		z := float32(min(max(x, -f.clip), f.clip))
		if !ok || x-x != 0 || z-z != 0 {
			problems.Add(fmt.Sprintf("context.%s[%d]", f.name, i), "must be a number that a float32 holds")
			return
		}
		columns[i] = z
	}
}

// number returns a number's value; a json.Number that float64 cannot hold is
// infinite.
func number(v any) (float64, bool) {
	switch n := v.(type) {
	case float64:
		return n, true
	case float32:
		return float64(n), true
	case int:
		return float64(n), true
	case int64:
		return float64(n), true
	case int32:
		return float64(n), true
	case uint64:
		return float64(n), true
	case json.Number:
		x, err := n.Float64()
		if err != nil && !math.IsInf(x, 0) {
			return 0, false
		}
		return x, true
	}
	return 0, false
}

// typeName calls a value's type by its JSON name.
func typeName(v any) string {
	switch v.(type) {
	case string:
		return "string"
	case bool:
		return "boolean"
	case map[string]any:
		return "object"
	case []any:
		return "array"
	}
	if _, ok := number(v); ok {
		return "number"
	}
	return fmt.Sprintf("%T", v)
}
