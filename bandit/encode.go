package bandit

import (
	"encoding/json"
	"fmt"
	"math"

	"nextbest"
)

// Encode writes the vector of a context into dst, which has the schema's width.
// Values are JSON values: numbers (any Go number or json.Number), booleans and
// strings; keys that the schema does not name are ignored. A value that is
// absent or null follows the feature's rule. A value of another type, or a
// number that is not finite, is an error that names the feature; all problems
// are gathered, and dst is then void. Nothing is allocated when there are none.
func (s *Schema) Encode(dst []float32, context map[string]any) error {
	if len(dst) != len(s.names) {
		panic(fmt.Sprintf("bandit: a vector of %d for a schema of %d columns", len(dst), len(s.names)))
	}
	var problems nextbest.Problems
	clear(dst)
	dst[0] = 1
	for i := range s.features {
		f := &s.features[i]
		v := context[f.name]
		if v == nil {
			if f.missing == missingRefuse {
				problems.Add("context."+f.name, "is missing; this feature needs a %s value", f.kind)
				continue
			}
			if f.kind != categorical {
				dst[f.column] = f.whenMissing
			}
			if f.missing == missingIndicator {
				dst[f.indicator] = 1
			}
			continue
		}
		switch f.kind {
		case numeric:
			f.encodeNumber(dst, v, &problems)
		case boolean:
			b, ok := v.(bool)
			if !ok {
				problems.Add("context."+f.name, "must be true or false, not the %s %v", typeName(v), v)
			} else if b {
				dst[f.column] = 1
			}
		case categorical:
			level, ok := v.(string)
			if !ok {
				problems.Add("context."+f.name, "must be a string, not the %s %v", typeName(v), v)
			} else if at, known := f.levels[level]; known {
				dst[f.column+at] = 1
			} else {
				dst[f.other] = 1
			}
		}
	}
	return problems.Err("context")
}

func (f *feature) encodeNumber(dst []float32, v any, problems *nextbest.Problems) {
	x, ok := number(v)
	if !ok {
		problems.Add("context."+f.name, "must be a number, not the %s %q", typeName(v), fmt.Sprint(v))
		return
	}
	if x-x != 0 {
		problems.Add("context."+f.name, "must be a finite number, not %v", v)
		return
	}
	z := float32(min(max((x-f.mean)/f.sd, -f.clip), f.clip))
	if math.IsInf(float64(z), 0) {
		problems.Add("context."+f.name, "%g is too large once standardised; give the feature a clip", x)
		return
	}
	dst[f.column] = z
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
