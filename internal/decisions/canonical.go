package decisions

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"nextbest"
	"nextbest/internal/rules"
)

const maxNesting = 16

// canonical writes {"context":…,"customer":…}, and "scores" where the call brought
// some, with sorted keys, the shortest
// numbers that read back to the same bits, and without the fields that
// identify the customer, so that equal calls give equal bytes and the bytes
// give back the very values that were used.
type canonical struct {
	buf     []byte
	members []member
	known   []string // keys of the context before, sorted
	// foreign says that a value was not of a type that encoding/json gives, so
	// that the values must be read back from buf before they are used.
	foreign bool
	fault   *nextbest.Error
}

// member is a field of an object.
type member struct {
	key   string
	value any
}

func (c *canonical) write(context, customer map[string]any, scores map[string]float64) ([]byte, *nextbest.Error) {
	c.buf, c.members, c.foreign, c.fault = c.buf[:0], c.members[:0], false, nil
	c.buf = append(c.buf, `{"context":`...)
	c.context(context)
	c.buf = append(c.buf, `,"customer":`...)
	c.object(customer, "customer", 0, true)
	if len(scores) > 0 {
		c.buf = append(c.buf, `,"scores":`...)
		c.scores(scores)
	}
	c.buf = append(c.buf, '}')
	return c.buf, c.fault
}

// context writes the object of the context. Most have the keys of the one
// before, whose order is known.
func (c *canonical) context(m map[string]any) {
	if len(m) == len(c.known) {
		for _, k := range c.known {
			v, ok := m[k]
			if !ok {
				break
			}
			c.members = append(c.members, member{k, v})
		}
		if len(c.members) == len(m) {
			c.sorted(c.members, "context", 0)
			c.forget(0)
			return
		}
		c.forget(0)
	}
	c.object(m, "context", 0, false)
	c.known = c.known[:0]
	for k := range m {
		c.known = append(c.known, k)
	}
	slices.Sort(c.known)
}

// scores writes the object of the scores.
func (c *canonical) scores(scores map[string]float64) {
	for name, v := range scores {
		c.members = append(c.members, member{name, v})
	}
	slices.SortFunc(c.members, func(a, b member) int { return strings.Compare(a.key, b.key) })
	c.sorted(c.members, "scores", 0)
	c.forget(0)
}

// LogContext returns context and customer as the log of decisions holds them.
// The error is nextbest.Invalid and names the field.
func LogContext(context, customer map[string]any) ([]byte, error) {
	b, fault := new(canonical).write(context, customer, nil)
	if fault != nil {
		return nil, fault
	}
	return b, nil
}

func (c *canonical) object(m map[string]any, path string, depth int, identifiers bool) {
	if depth > maxNesting {
		c.fail(path, "is nested more than %d deep", maxNesting)
		return
	}
	from := len(c.members)
	for k, v := range m {
		if !identifiers || !rules.Identifier(k) {
			c.members = append(c.members, member{k, v})
		}
	}
	members := c.members[from:]
	slices.SortFunc(members, func(a, b member) int { return strings.Compare(a.key, b.key) })
	c.sorted(members, path, depth)
	c.forget(from)
}

// sorted writes the members of an object in their order.
func (c *canonical) sorted(members []member, path string, depth int) {
	c.buf = append(c.buf, '{')
	for i, m := range members {
		if i > 0 {
			c.buf = append(c.buf, ',')
		}
		if !utf8.ValidString(m.key) {
			c.fail(path, "has a field whose name is not valid UTF-8 text")
		}
		c.buf = appendString(c.buf, m.key)
		c.buf = append(c.buf, ':')
		c.value(m.value, path, m.key, depth+1)
	}
	c.buf = append(c.buf, '}')
}

// forget gives up the members from a place on, with the caller's values.
func (c *canonical) forget(from int) {
	clear(c.members[from:])
	c.members = c.members[:from]
}

func (c *canonical) value(v any, path, key string, depth int) {
	switch v := v.(type) {
	case nil:
		c.buf = append(c.buf, "null"...)
	case bool:
		c.buf = strconv.AppendBool(c.buf, v)
	case string:
		if !utf8.ValidString(v) {
			c.fail(path+"."+key, "is not valid UTF-8 text")
			return
		}
		c.buf = appendString(c.buf, v)
	case float64:
		c.number(v, path, key)
	case float32:
		c.foreign = true
		c.number(float64(v), path, key)
	case int:
		c.foreign = true
		c.number(float64(v), path, key)
	case int64:
		c.foreign = true
		c.number(float64(v), path, key)
	case json.Number:
		c.foreign = true
		f, err := v.Float64()
		if err != nil {
			c.fail(path+"."+key, "%q is not a number that a 64-bit float holds", v.String())
			return
		}
		c.number(f, path, key)
	case map[string]any:
		c.object(v, path+"."+key, depth, false)
	case []any:
		if depth > maxNesting {
			c.fail(path+"."+key, "is nested more than %d deep", maxNesting)
			return
		}
		c.buf = append(c.buf, '[')
		for i, e := range v {
			if i > 0 {
				c.buf = append(c.buf, ',')
			}
			c.value(e, path+"."+key, strconv.Itoa(i), depth+1)
		}
		c.buf = append(c.buf, ']')
	default:
		c.fail(path+"."+key, "has type %T; use numbers, texts, booleans, lists and objects", v)
	}
}

func (c *canonical) number(v float64, path, key string) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		c.fail(path+"."+key, "%v is not a finite number", v)
		return
	}
	c.buf = strconv.AppendFloat(c.buf, v, 'g', -1, 64)
}

func (c *canonical) fail(path, format string, args ...any) {
	if c.fault == nil {
		c.fault = nextbest.FieldErrorf(path, format, args...)
	}
}

// appendString writes s as a JSON text, escaping only what JSON requires.
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		b := s[i]
		if b >= 0x20 && b != '"' && b != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		if b < 0x20 {
			dst = append(dst, '\\', 'u', '0', '0', hex[b>>4], hex[b&15])
		} else {
			dst = append(dst, '\\', b)
		}
		start = i + 1
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// loggedContext is what the context of a row of the log holds.
type loggedContext struct {
	Context  map[string]any     `json:"context"`
	Customer map[string]any     `json:"customer"`
	Scores   map[string]float64 `json:"scores"`
}

// readContext decodes what write wrote.
func readContext(b []byte) (loggedContext, error) {
	var v loggedContext
	if err := json.Unmarshal(b, &v); err != nil {
		return loggedContext{}, nextbest.Errorf(nextbest.Invalid, "logged context: %w", err)
	}
	return v, nil
}
