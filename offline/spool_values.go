package offline

import "math"

// mostValues is how many values a column may take to be written as a table and a
// byte for each.
const mostValues = 255

// valueTable numbers the values of a column, which differ where their bits do.
type valueTable struct {
	bits   [4 * (mostValues + 1)]uint64
	number [4 * (mostValues + 1)]uint16 // from 1; 0: free
	values []uint64
	codes  []byte
}

// put appends the column: as table and codes, or with an empty table as it is.
func (t *valueTable) put(to []byte, column []float64) []byte {
	if t.fill(column) {
		return put(put(to, t.values), t.codes)
	}
	return put(put(to, []uint64{}), column)
}

// fill reports whether the column takes few enough values.
func (t *valueTable) fill(column []float64) bool {
	if len(column) == 0 {
		return false
	}
	clear(t.number[:])
	t.values, t.codes = t.values[:0], t.codes[:0]
	last, code := math.Float64bits(column[0]), t.find(math.Float64bits(column[0]))
	for _, v := range column {
		if bits := math.Float64bits(v); bits != last {
			last, code = bits, t.find(bits)
			if code < 0 {
				return false
			}
		}
		t.codes = append(t.codes, byte(code))
	}
	return true
}

// find returns a value's number, −1 where there are too many.
func (t *valueTable) find(bits uint64) int {
	const mask = uint64(len(t.number) - 1)
	for at := bits * 0x9e3779b97f4a7c15 >> 32 & mask; ; at = (at + 1) & mask {
		switch n := t.number[at]; {
		case n == 0:
			if len(t.values) == mostValues {
				return -1
			}
			t.values = append(t.values, bits)
			t.number[at], t.bits[at] = uint16(len(t.values)), bits
			return len(t.values) - 1
		case t.bits[at] == bits:
			return int(n) - 1
		}
	}
}

// takeValues cuts a column that put wrote off the front.
func takeValues(from *[]byte) []float64 {
	values := take[float64](from)
	if len(values) == 0 {
		return take[float64](from)
	}
	var table [mostValues + 1]float64
	copy(table[:], values)
	codes := take[byte](from)
	out := make([]float64, len(codes))
	for i, c := range codes {
		out[i] = table[c]
	}
	return out
}
