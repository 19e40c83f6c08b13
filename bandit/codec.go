package bandit

import (
	"encoding/binary"
	"hash/crc64"
	"math"

	"nextbest"
)

// The bytes of a model, little endian:
//
//	magic "nbmodel\n", version uint16 = 1, kind uint16 (1: one ridge regression per action; 2: hurdle; 3: logistic),
//	width uint32, actions uint32, ridge float64,
//	version 2 alone, where rows fade: half-life and the time of the weights int64, microseconds (since the Unix epoch),
//	per action, sorted by id: length uint16, id, n, Σr², b[width], Σxxᵀ (packed lower triangle, row after row) as float64;
//	kind 2: n, Σ1{r≠0}, Σr, Σr², b[width] = Σ1{r≠0}x, Σxxᵀ; kind 3: n, Σr, Σ‖x‖², b[width] = Σwzx, Σwxxᵀ,
//	CRC-64/ECMA of all that uint64
//
// The same statistics give the same bytes.
const (
	modelMagic     = "nbmodel\n"
	modelVersion   = 1
	fadingVersion  = 2
	modelHeader    = len(modelMagic) + 2 + 2 + 4 + 4 + 8
	fadingHeader   = 8 + 8
	modelChecksum  = 8
	maxWidth       = 4096
	maxActionBytes = 255
)

var crcTable = crc64.MakeTable(crc64.ECMA)

// MarshalBinary encodes the model; the error is always nil.
func (m *Model) MarshalBinary() ([]byte, error) {
	version, size := modelVersion, modelHeader+modelChecksum
	if m.halfLife != 0 {
		version, size = fadingVersion, size+fadingHeader
	}
	for _, a := range m.arms {
		size += 2 + len(a.action) + 8*(len(a.scalars(m.kind))+m.width+triangle(m.width))
	}
	b := make([]byte, 0, size)
	b = append(b, modelMagic...)
	b = binary.LittleEndian.AppendUint16(b, uint16(version))
	b = binary.LittleEndian.AppendUint16(b, uint16(m.kind))
	b = binary.LittleEndian.AppendUint32(b, uint32(m.width))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(m.arms)))
	b = appendFloats(b, m.ridge)
	if m.halfLife != 0 {
		b = binary.LittleEndian.AppendUint64(b, uint64(m.halfLife))
		b = binary.LittleEndian.AppendUint64(b, uint64(m.at))
	}
	for _, a := range m.arms {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(a.action)))
		b = append(b, a.action...)
		for _, v := range a.scalars(m.kind) {
			b = appendFloats(b, *v)
		}
		b = appendFloats(b, a.b...)
		b = appendFloats(b, a.gram...)
	}
	return binary.LittleEndian.AppendUint64(b, crc64.Checksum(b, crcTable)), nil
}

func appendFloats(b []byte, values ...float64) []byte {
	for _, v := range values {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
	}
	return b
}

// UnmarshalModel decodes a model and checks it: magic, version, checksum,
// lengths, finite numbers, sorted ids, and sums that belong to a ridge
// regression (positive definite). Anything else is an error and no model.
func UnmarshalModel(b []byte) (*Model, error) {
	refuse := func(format string, args ...any) (*Model, error) {
		return nil, nextbest.Errorf(nextbest.Invalid, "model: "+format, args...)
	}
	if len(b) < modelHeader+modelChecksum || string(b[:len(modelMagic)]) != modelMagic {
		return refuse("these %d bytes are not a model", len(b))
	}
	body := b[:len(b)-modelChecksum]
	if crc64.Checksum(body, crcTable) != binary.LittleEndian.Uint64(b[len(body):]) {
		return refuse("the checksum does not match: the bytes were damaged or cut")
	}
	r := body[len(modelMagic):]
	version, k := binary.LittleEndian.Uint16(r), kind(binary.LittleEndian.Uint16(r[2:]))
	if version != modelVersion && version != fadingVersion || k < kindRidge || k > kindLogistic {
		return refuse("version %d, kind %d is unknown to this program, which reads versions %d and %d, kinds %d to %d; a newer program may have written it", version, k, modelVersion, fadingVersion, kindRidge, kindLogistic)
	}
	width, arms := int(binary.LittleEndian.Uint32(r[4:])), int(binary.LittleEndian.Uint32(r[8:]))
	m := &Model{kind: k, width: width, ridge: math.Float64frombits(binary.LittleEndian.Uint64(r[12:]))}
	r = r[20:]
	if version == fadingVersion {
		if len(r) < fadingHeader {
			return refuse("it ends within its head")
		}
		m.halfLife, m.at = int64(binary.LittleEndian.Uint64(r)), int64(binary.LittleEndian.Uint64(r[8:]))
		if m.halfLife < shortestMemory.Std().Microseconds() || m.halfLife > longestMemory.Std().Microseconds() {
			return refuse("a half-life of %d µs; it must lie between %s and %s", m.halfLife, shortestMemory, longestMemory)
		}
		r = r[fadingHeader:]
	}
	if width < 1 || width > maxWidth {
		return refuse("%d features; it must be between 1 and %d", width, maxWidth)
	}
	if !(m.ridge >= ridge.min && m.ridge <= ridge.max) {
		return refuse("ridge %g; it must lie between %g and %g", m.ridge, ridge.min, ridge.max)
	}
	scalars := len((&sums{}).scalars(k))
	numbers := scalars + width + triangle(width)
	for i := range arms {
		if len(r) < 2 || len(r) < 2+int(binary.LittleEndian.Uint16(r))+8*numbers {
			return refuse("it ends within action %d of %d", i, arms)
		}
		n := int(binary.LittleEndian.Uint16(r))
		a := &armModel{action: string(r[2 : 2+n])}
		r = r[2+n:]
		values := make([]float64, numbers)
		for j := range values {
			values[j] = math.Float64frombits(binary.LittleEndian.Uint64(r[8*j:]))
			if values[j]-values[j] != 0 {
				return refuse("action %q holds a number that is not finite", a.action)
			}
		}
		r = r[8*numbers:]
		for j, v := range a.scalars(k) {
			*v = values[j]
		}
		a.b, a.gram = values[scalars:scalars+width:scalars+width], values[scalars+width:]
		if n == 0 || n > maxActionBytes || i > 0 && a.action <= m.arms[i-1].action {
			return refuse("action %d, %q: ids must have 1 to %d bytes and be sorted without repetition", i, a.action, maxActionBytes)
		}
		if !(a.n > 0) || a.squares < 0 || a.amountSquares < 0 || a.lengths < 0 {
			return refuse("action %q: %g rows and a sum of squares of %g", a.action, a.n, a.squares)
		}
		m.arms = append(m.arms, a)
	}
	if len(r) != 0 {
		return refuse("%d bytes follow the last action", len(r))
	}
	if action, ok := m.derive(); !ok {
		return refuse("action %q: its matrix is not positive definite", action)
	}
	return m, nil
}
