package bandit

import (
	"encoding/binary"
	"hash/crc64"
	"math"

	"nextbest"
)

// The bytes of a model, little endian:
//
//	magic "nbmodel\n", version uint16 = 1, kind uint16 = 1 (one ridge regression per action),
//	width uint32, actions uint32, ridge float64,
//	version 2 alone, where rows fade: half-life and the time of the weights int64, microseconds (since the Unix epoch),
//	per action, sorted by id: length uint16, id, n, Σr², b[width], Σxxᵀ (packed lower triangle, row after row) as float64,
//	CRC-64/ECMA of all that uint64
//
// The same statistics give the same bytes.
const (
	modelMagic     = "nbmodel\n"
	modelVersion   = 1
	fadingVersion  = 2
	kindRidge      = 1
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
		size += 2 + len(a.action) + 8*(2+m.width+triangle(m.width))
	}
	b := make([]byte, 0, size)
	b = append(b, modelMagic...)
	b = binary.LittleEndian.AppendUint16(b, uint16(version))
	b = binary.LittleEndian.AppendUint16(b, kindRidge)
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
		b = appendFloats(b, a.n, a.squares)
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
	version, kind := binary.LittleEndian.Uint16(r), binary.LittleEndian.Uint16(r[2:])
	if version != modelVersion && version != fadingVersion || kind != kindRidge {
		return refuse("version %d, kind %d is unknown to this program, which reads versions %d and %d, kind %d; a newer program may have written it", version, kind, modelVersion, fadingVersion, kindRidge)
	}
	width, arms := int(binary.LittleEndian.Uint32(r[4:])), int(binary.LittleEndian.Uint32(r[8:]))
	m := &Model{width: width, ridge: math.Float64frombits(binary.LittleEndian.Uint64(r[12:]))}
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
	numbers := 2 + width + triangle(width)
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
		a.n, a.squares, a.b, a.gram = values[0], values[1], values[2:2+width:2+width], values[2+width:]
		if n == 0 || n > maxActionBytes || i > 0 && a.action <= m.arms[i-1].action {
			return refuse("action %d, %q: ids must have 1 to %d bytes and be sorted without repetition", i, a.action, maxActionBytes)
		}
		if !(a.n > 0) || a.squares < 0 {
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
