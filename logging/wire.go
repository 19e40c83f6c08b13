package logging

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/google/uuid"

	"nextbest"
)

// A journal message is a header and rows, in the order in which they were
// reported:
//
//	"nb"  format (1 byte)  0  number of rows (uint32, little endian)
//	row = tag (1 byte), then the fields of the kind in a fixed order
//
// Numbers are varints (signed ones zigzag), floats their bits in little endian,
// times microseconds since the Unix epoch as the difference from the row
// before. A string that callers choose from few values is a reference: 0 and
// the string itself the first time, afterwards its number within the message,
// from 1. Decoding gives back the same bits, except that times are cut to
// microseconds, the resolution of the log. Format 1 had no floors of arms.
const (
	wireFormat   = 2
	wireHeader   = 8
	maxWireItems = 1<<itemBits - 1
)

const (
	tagDecision   = 1
	tagImpression = 2
	tagReward     = 3
)

// encoder builds one journal message. It keeps its memory when it is reset.
type encoder struct {
	buf      []byte
	rows     int
	lastTime int64
	dict     map[string]uint32
	names    []string // the dictionary in the order of its numbers
}

// mark is a state of an encoder to return to.
type mark struct {
	size, rows, names int
	lastTime          int64
}

func (e *encoder) reset() {
	if e.dict == nil {
		e.dict = make(map[string]uint32, 64)
	}
	clear(e.dict)
	clear(e.names)
	e.buf = append(e.buf[:0], 'n', 'b', wireFormat, 0, 0, 0, 0, 0)
	e.names = e.names[:0]
	e.rows, e.lastTime = 0, 0
}

func (e *encoder) mark() mark {
	return mark{size: len(e.buf), rows: e.rows, names: len(e.names), lastTime: e.lastTime}
}

// rollback removes the rows since the mark.
func (e *encoder) rollback(m mark) {
	for _, name := range e.names[m.names:] {
		delete(e.dict, name)
	}
	e.buf, e.names = e.buf[:m.size], e.names[:m.names]
	e.rows, e.lastTime = m.rows, m.lastTime
}

// message completes the header and returns the message, which is valid until
// the next reset.
func (e *encoder) message() []byte {
	binary.LittleEndian.PutUint32(e.buf[4:], uint32(e.rows))
	return e.buf
}

func (e *encoder) decision(d *nextbest.Decision) {
	e.begin(tagDecision)
	e.buf = append(e.buf, d.ID[:]...)
	e.buf = append(e.buf, d.Slot)
	e.time(d.Time)
	e.ref(d.Placement)
	e.ref(d.Objective)
	e.str(d.Customer)
	e.ref(d.Source)
	e.ref(d.Action)
	e.ref(d.Treatment)
	e.ref(d.Channel)
	e.float(d.Propensity)
	e.count(len(d.Eligible))
	for _, a := range d.Eligible {
		e.ref(a)
	}
	e.floats(d.Probabilities)
	e.floats(d.Scores)
	e.count(len(d.Excluded))
	for i := range d.Excluded {
		x := &d.Excluded[i]
		e.ref(x.Action)
		e.ref(string(x.Reason))
		e.ref(x.Detail)
	}
	e.ref(d.Policy)
	e.uint(d.Model)
	e.ref(d.Features)
	e.count(len(d.X))
	for _, v := range d.X {
		e.buf = binary.LittleEndian.AppendUint32(e.buf, math.Float32bits(v))
	}
	e.count(len(d.Context))
	e.buf = append(e.buf, d.Context...)
	e.ref(d.Experiment)
	e.ref(d.Arm)
	e.count(len(d.Arms))
	for i := range d.Arms {
		a := &d.Arms[i]
		e.ref(a.Arm)
		e.float(a.Share)
		e.ref(a.Policy)
		e.uint(a.Model)
		e.float(a.Probability)
		e.float(a.Floor)
	}
	e.float(d.Floor)
	e.bool(d.SetAside)
	e.ref(d.Salt)
	e.uint(d.Catalogue)
	e.ref(d.Numerics)
	e.str(d.Key)
	e.str(d.Body)
}

func (e *encoder) impression(m *nextbest.Impression) {
	e.begin(tagImpression)
	e.buf = append(e.buf, m.DecisionID[:]...)
	e.buf = append(e.buf, m.Slot)
	e.ref(string(m.Status))
	e.ref(m.Action)
	e.time(m.Time)
}

func (e *encoder) reward(r *nextbest.Reward) {
	e.begin(tagReward)
	e.str(r.ID)
	e.ref(r.Kind)
	e.float(r.Value)
	e.time(r.Time)
	e.bool(r.DecisionID != uuid.Nil)
	if r.DecisionID != uuid.Nil {
		e.buf = append(e.buf, r.DecisionID[:]...)
	}
	e.buf = append(e.buf, r.Slot)
	e.str(r.Customer)
	e.bool(r.Withdrawn)
}

func (e *encoder) begin(tag byte) {
	e.rows++
	e.buf = append(e.buf, tag)
}

func (e *encoder) time(t time.Time) {
	us := t.UnixMicro()
	e.buf = binary.AppendVarint(e.buf, us-e.lastTime)
	e.lastTime = us
}

func (e *encoder) ref(s string) {
	if n, ok := e.dict[s]; ok {
		e.buf = binary.AppendUvarint(e.buf, uint64(n))
		return
	}
	e.names = append(e.names, s)
	e.dict[s] = uint32(len(e.names))
	e.buf = append(e.buf, 0)
	e.str(s)
}

func (e *encoder) str(s string) {
	e.count(len(s))
	e.buf = append(e.buf, s...)
}

func (e *encoder) floats(v []float64) {
	e.count(len(v))
	for _, f := range v {
		e.float(f)
	}
}

func (e *encoder) float(f float64) {
	e.buf = binary.LittleEndian.AppendUint64(e.buf, math.Float64bits(f))
}

func (e *encoder) uint(n uint64) { e.buf = binary.AppendUvarint(e.buf, n) }
func (e *encoder) count(n int)   { e.buf = binary.AppendUvarint(e.buf, uint64(n)) }

func (e *encoder) bool(b bool) {
	if b {
		e.buf = append(e.buf, 1)
	} else {
		e.buf = append(e.buf, 0)
	}
}

// itemBits is how many bits of a row's version number its place within the
// message takes; the rest is the journal position (2⁴⁴ messages).
const itemBits = 20

// lastWins is the version of row item of the message at a position where the
// newest report counts.
func lastWins(position uint64, item int) uint64 { return position<<itemBits | uint64(item) }

// firstWins is the version where the oldest report counts.
func firstWins(position uint64, item int) uint64 { return math.MaxUint64 - lastWins(position, item) }
