package api

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds how deep objects and arrays may be nested in one body.
const maxDepth = 16

// scanner reads one JSON document strictly: no duplicate names, no null, no
// number beyond a float64, no lone surrogate, no invalid UTF-8, nothing after
// the end. Errors name the field. It keeps names it has seen, so that the same
// features are not allocated for every call; it is not safe for concurrent
// use.
type scanner struct {
	data    []byte
	pos     int
	scratch []byte            // last string that held an escape
	names   map[string]string // names seen
	order   []string          // names of the document before, in its order
	next    int               // place in order of the name that comes next, if the documents are alike
}

// maxNames bounds the names that a scanner keeps.
const maxNames = 2048

// reset points the scanner at a new document.
func (s *scanner) reset(data []byte) { s.data, s.pos, s.next = data, 0, 0 }

// intern returns b as a string, the same one for the same bytes. Callers send
// the same names in the same order again and again: a comparison with the name
// that stood there before mostly saves the look-up.
func (s *scanner) intern(b []byte) string {
	at := s.next
	s.next++
	if at < len(s.order) && s.order[at] == string(b) {
		return s.order[at]
	}
	name := s.lookUp(b)
	switch {
	case at < len(s.order):
		s.order[at] = name
	case at < maxNames:
		s.order = append(s.order, name)
	}
	return name
}

// lookUp returns the string with these bytes among the names seen, which it
// joins while there is room.
func (s *scanner) lookUp(b []byte) string {
	if name, ok := s.names[string(b)]; ok {
		return name
	}
	name := string(b)
	if len(name) <= 64 && len(s.names) < maxNames {
		if s.names == nil {
			s.names = make(map[string]string)
		}
		s.names[name] = name
	}
	return name
}

// space skips white space and returns the byte that follows, or 0 at the end.
func (s *scanner) space() byte {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// end refuses anything after the document.
func (s *scanner) end() error {
	if s.space(); s.pos < len(s.data) {
		return s.syntax("there is something after the end of the JSON document")
	}
	return nil
}

// open reads '{' or '['.
func (s *scanner) open(c byte) error {
	if got := s.space(); got != c || s.pos >= len(s.data) {
		what := "an object"
		if c == '[' {
			what = "an array"
		}
		return s.expected(what)
	}
	s.pos++
	return nil
}

// name reads the next name of an object with its colon, or the closing brace
// (ok is false). The bytes are valid until the next call.
func (s *scanner) name(first bool) (name []byte, ok bool, err error) {
	c := s.space()
	if c == '}' {
		s.pos++
		return nil, false, nil
	}
	if !first {
		if c != ',' {
			return nil, false, s.syntax("expected a comma or a closing brace")
		}
		s.pos++
		c = s.space()
	}
	if c != '"' {
		return nil, false, s.syntax("expected a name in double quotes")
	}
	if name, err = s.str(); err != nil {
		return nil, false, err
	}
	if s.space() != ':' {
		return nil, false, inField(s.syntax("expected a colon after the name"), string(name))
	}
	s.pos++
	return name, true, nil
}

// element steps to the next element of an array; false at its end.
func (s *scanner) element(first bool) (ok bool, err error) {
	c := s.space()
	if c == ']' {
		s.pos++
		return false, nil
	}
	if !first {
		if c != ',' {
			return false, s.syntax("expected a comma or a closing bracket")
		}
		s.pos++
		if s.space() == ']' {
			return false, s.syntax("expected a value after the comma")
		}
	}
	return true, nil
}

// str reads a string. The bytes are valid until the next call of str or name.
func (s *scanner) str() ([]byte, error) {
	if s.space() != '"' {
		return nil, s.expected("a string")
	}
	s.pos++
	start, ascii := s.pos, true
	for i := start; i < len(s.data); i++ {
		switch c := s.data[i]; {
		case c == '"':
			s.pos = i + 1
			b := s.data[start:i]
			if !ascii && !utf8.Valid(b) {
				return nil, s.syntax("the string is not valid UTF-8")
			}
			return b, nil
		case c == '\\':
			return s.escaped(start, i)
		case c < 0x20:
			s.pos = i
			return nil, s.syntax("control characters in a string must be escaped")
		case c >= 0x80:
			ascii = false
		}
	}
	s.pos = len(s.data)
	return nil, s.syntax("the string does not end")
}

// escaped reads the rest of a string whose first backslash is at i.
func (s *scanner) escaped(start, i int) ([]byte, error) {
	b := append(s.scratch[:0], s.data[start:i]...)
	for i < len(s.data) {
		c := s.data[i]
		switch {
		case c == '"':
			s.pos, s.scratch = i+1, b
			if !utf8.Valid(b) {
				return nil, s.syntax("the string is not valid UTF-8")
			}
			return b, nil
		case c < 0x20:
			s.pos = i
			return nil, s.syntax("control characters in a string must be escaped")
		case c != '\\':
			b = append(b, c)
			i++
		default:
			var err error
			if b, i, err = s.escape(b, i); err != nil {
				return nil, err
			}
		}
	}
	s.pos = len(s.data)
	return nil, s.syntax("the string does not end")
}

var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escape appends the character of the escape sequence at i and returns the
// position after it.
func (s *scanner) escape(b []byte, i int) ([]byte, int, error) {
	s.pos = i
	if i+1 >= len(s.data) {
		return nil, 0, s.syntax("the string does not end")
	}
	if s.data[i+1] != 'u' {
		c := escapes[s.data[i+1]]
		if c == 0 {
			return nil, 0, s.syntax("unknown escape sequence in a string")
		}
		return append(b, c), i + 2, nil
	}
	r, ok := s.hex(i + 2)
	if !ok {
		return nil, 0, s.syntax(`\u must be followed by four hexadecimal digits`)
	}
	i += 6
	if utf16.IsSurrogate(r) {
		var low rune
		if ok = i+1 < len(s.data) && s.data[i] == '\\' && s.data[i+1] == 'u'; ok {
			low, ok = s.hex(i + 2)
		}
		if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
			return nil, 0, s.syntax("a string holds half of a surrogate pair")
		}
		i += 6
	}
	return utf8.AppendRune(b, r), i, nil
}

func (s *scanner) hex(i int) (rune, bool) {
	if i+4 > len(s.data) {
		return 0, false
	}
	var r rune
	for _, c := range s.data[i : i+4] {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// powers holds the powers of ten that a float64 represents exactly.
var powers = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// number reads a finite number, rounded to the nearest float64. Up to 15
// digits take the exact short way: mantissa and power of ten are both exact,
// so one division rounds once (Clinger 1990, "How to read floating point
// numbers accurately").
func (s *scanner) number() (float64, error) {
	c := s.space()
	start, i := s.pos, s.pos
	if c == '-' {
		i++
	}
	digits, mantissa := 0, uint64(0)
	first := i
	for ; i < len(s.data) && '0' <= s.data[i] && s.data[i] <= '9'; i++ {
		mantissa = mantissa*10 + uint64(s.data[i]-'0')
	}
	digits = i - first
	if digits == 0 {
		return 0, s.expected("a number")
	}
	if digits > 1 && s.data[first] == '0' {
		return 0, s.syntax("a number must not start with a zero")
	}
	fraction, exact := 0, true
	if i < len(s.data) && s.data[i] == '.' {
		i++
		point := i
		for ; i < len(s.data) && '0' <= s.data[i] && s.data[i] <= '9'; i++ {
			mantissa = mantissa*10 + uint64(s.data[i]-'0')
		}
		if fraction = i - point; fraction == 0 {
			return 0, s.syntax("a number must have a digit after its point")
		}
	}
	if i < len(s.data) && s.data[i]|0x20 == 'e' {
		exact = false
		if i++; i < len(s.data) && (s.data[i] == '+' || s.data[i] == '-') {
			i++
		}
		power := i
		for ; i < len(s.data) && '0' <= s.data[i] && s.data[i] <= '9'; i++ {
		}
		if i == power {
			return 0, s.syntax("a number must have a digit after its e")
		}
	}
	s.pos = i
	if exact && digits+fraction <= 15 {
		v := float64(mantissa) / powers[fraction]
		if c == '-' {
			v = -v
		}
		return v, nil
	}
	v, err := strconv.ParseFloat(string(s.data[start:i]), 64)
	if err != nil {
		return 0, refuse("%s is beyond the range of a 64-bit float", clip(s.data[start:i]))
	}
	return v, nil
}

// boolean reads true or false.
func (s *scanner) boolean() (bool, error) {
	s.space()
	rest := s.data[s.pos:]
	switch {
	case len(rest) >= 4 && string(rest[:4]) == "true":
		s.pos += 4
		return true, nil
	case len(rest) >= 5 && string(rest[:5]) == "false":
		s.pos += 5
		return false, nil
	}
	return false, s.expected("true or false")
}

// value reads any value but null. Numbers are float64, objects map[string]any,
// arrays []any.
func (s *scanner) value(depth int) (any, error) {
	switch c := s.space(); c {
	case '"':
		b, err := s.str()
		if err != nil {
			return nil, err
		}
		return string(b), nil
	case 't', 'f':
		return s.boolean()
	case '{':
		m := make(map[string]any)
		return m, s.fields(m, depth+1)
	case '[':
		return s.array(depth + 1)
	default:
		if c == '-' || '0' <= c && c <= '9' {
			return s.number()
		}
		return nil, s.expected("a value")
	}
}

// fields reads an object into m, which must be empty.
func (s *scanner) fields(m map[string]any, depth int) error {
	if depth > maxDepth {
		return refuse("nested deeper than %d levels", maxDepth)
	}
	if err := s.open('{'); err != nil {
		return err
	}
	for first := true; ; first = false {
		b, ok, err := s.name(first)
		if err != nil || !ok {
			return err
		}
		name := s.intern(b)
		before := len(m)
		v, err := s.value(depth)
		if err != nil {
			return inField(err, name)
		}
		m[name] = v
		if len(m) == before {
			return inField(refuse("the name appears twice"), name)
		}
	}
}

// numbers reads an object of numbers into m, which must be empty.
func (s *scanner) numbers(m map[string]float64) error {
	if err := s.open('{'); err != nil {
		return err
	}
	for first := true; ; first = false {
		b, ok, err := s.name(first)
		if err != nil || !ok {
			return err
		}
		name, before := s.intern(b), len(m)
		v, err := s.number()
		if err != nil {
			return inField(err, name)
		}
		if m[name] = v; len(m) == before {
			return inField(refuse("the name appears twice"), name)
		}
	}
}

func (s *scanner) array(depth int) ([]any, error) {
	if depth > maxDepth {
		return nil, refuse("nested deeper than %d levels", maxDepth)
	}
	if err := s.open('['); err != nil {
		return nil, err
	}
	list := []any{}
	for first := true; ; first = false {
		ok, err := s.element(first)
		if err != nil || !ok {
			return list, err
		}
		v, err := s.value(depth)
		if err != nil {
			return nil, inIndex(err, len(list))
		}
		list = append(list, v)
	}
}
