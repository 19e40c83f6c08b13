package logging

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
	"unsafe"

	"github.com/google/uuid"

	"nextbest"
)

// Events are the rows of one journal message. Strings and slices may share
// memory with each other; nobody may change them.
type Events struct {
	Decisions   []nextbest.Decision
	Impressions []nextbest.Impression
	Rewards     []nextbest.Reward
}

var (
	errMalformed = errors.New("malformed journal message")
	// errNewer marks a message that a newer program has written.
	errNewer = errors.New("journal message of a newer format")
)

// decode appends the rows of a message to ev. On an error ev is left as it was.
// The message may be reused afterwards.
func decode(message []byte, ev *Events) error {
	if len(message) < wireHeader || message[0] != 'n' || message[1] != 'b' {
		return fmt.Errorf("%w: no header", errMalformed)
	}
	if format := message[2]; format > wireFormat {
		return fmt.Errorf("%w: %d, this program knows %d", errNewer, format, wireFormat)
	} else if format == 0 {
		return fmt.Errorf("%w: format 0", errMalformed)
	}
	rows := binary.LittleEndian.Uint32(message[4:])
	nd, ni, nr := len(ev.Decisions), len(ev.Impressions), len(ev.Rewards)
	d := decoder{s: string(message[wireHeader:]), format: message[2]}
	for range rows {
		switch tag := d.byte(); tag {
		case tagDecision:
			ev.Decisions = append(ev.Decisions, nextbest.Decision{})
			d.decision(&ev.Decisions[len(ev.Decisions)-1])
		case tagImpression:
			ev.Impressions = append(ev.Impressions, nextbest.Impression{})
			d.impression(&ev.Impressions[len(ev.Impressions)-1])
		case tagReward:
			ev.Rewards = append(ev.Rewards, nextbest.Reward{})
			d.reward(&ev.Rewards[len(ev.Rewards)-1])
		default:
			d.fail("row tag")
		}
		if d.bad != "" {
			break
		}
	}
	if d.bad == "" && len(d.s) > 0 {
		d.fail("end of the last row")
	}
	if d.bad != "" {
		ev.Decisions, ev.Impressions, ev.Rewards = ev.Decisions[:nd], ev.Impressions[:ni], ev.Rewards[:nr]
		return fmt.Errorf("%w: %s at byte %d", errMalformed, d.bad, len(message)-d.left)
	}
	return nil
}

// decoder reads rows from s. After the first failure it returns zeros.
type decoder struct {
	format   byte
	s        string // what is left; the strings it gives out share its memory
	lastTime int64
	dict     []string
	bad      string // what failed first
	left     int    // bytes left at that moment

	f64  []float64 // slabs that the rows' slices are cut from; their first size is a guess from the bytes left
	f32  []float32
	strs []string
}

func (d *decoder) fail(what string) {
	if d.bad == "" {
		d.bad, d.left = what, len(d.s)
	}
	d.s = ""
}

func (d *decoder) decision(v *nextbest.Decision) {
	v.ID = d.uuid()
	v.Slot = d.byte()
	v.Time = d.time()
	v.Placement = d.ref()
	v.Objective = d.ref()
	v.Customer = d.str()
	v.Source = d.ref()
	v.Action = d.ref()
	v.Treatment = d.ref()
	v.Channel = d.ref()
	v.Propensity = d.float()
	if n := d.count(1); n > 0 {
		if d.strs == nil {
			d.strs = make([]string, 0, n+len(d.s)/32)
		}
		start := len(d.strs)
		for range n {
			d.strs = append(d.strs, d.ref())
		}
		v.Eligible = d.strs[start:len(d.strs):len(d.strs)]
	}
	v.Probabilities = d.floats()
	v.Scores = d.floats()
	if n := d.count(3); n > 0 {
		v.Excluded = make([]nextbest.Exclusion, n)
		for i := range v.Excluded {
			v.Excluded[i] = nextbest.Exclusion{Action: d.ref(), Reason: nextbest.Reason(d.ref()), Detail: d.ref()}
		}
	}
	v.Policy = d.ref()
	v.Model = d.uint()
	v.Features = d.ref()
	if n := d.count(4); n > 0 {
		if d.f32 == nil {
			d.f32 = make([]float32, 0, n+len(d.s)/16)
		}
		start := len(d.f32)
		for i := range n {
			d.f32 = append(d.f32, math.Float32frombits(le32(d.s[4*i:])))
		}
		d.s = d.s[4*n:]
		v.X = d.f32[start:len(d.f32):len(d.f32)]
	}
	if context := d.str(); context != "" {
		// The string's memory is this decoder's own copy of the message.
		v.Context = unsafe.Slice(unsafe.StringData(context), len(context))
	}
	v.Experiment = d.ref()
	v.Arm = d.ref()
	if n := d.count(19); n > 0 {
		v.Arms = make([]nextbest.ArmProbability, n)
		for i := range v.Arms {
			v.Arms[i] = nextbest.ArmProbability{Arm: d.ref(), Share: d.float(), Policy: d.ref(), Model: d.uint(), Probability: d.float()}
			if d.format > 1 {
				v.Arms[i].Floor = d.float()
			}
		}
	}
	v.Floor = d.float()
	v.SetAside = d.bool()
	v.Salt = d.ref()
	v.Catalogue = d.uint()
	v.Numerics = d.ref()
	v.Key = d.str()
	v.Body = d.str()
}

func (d *decoder) impression(v *nextbest.Impression) {
	v.DecisionID = d.uuid()
	v.Slot = d.byte()
	v.Status = nextbest.ImpressionStatus(d.ref())
	v.Action = d.ref()
	v.Time = d.time()
}

func (d *decoder) reward(v *nextbest.Reward) {
	v.ID = d.str()
	v.Kind = d.ref()
	v.Value = d.float()
	v.Time = d.time()
	if d.bool() {
		v.DecisionID = d.uuid()
	}
	v.Slot = d.byte()
	v.Customer = d.str()
	v.Withdrawn = d.bool()
}

func (d *decoder) byte() byte {
	if len(d.s) == 0 {
		d.fail("message ends too early")
		return 0
	}
	b := d.s[0]
	d.s = d.s[1:]
	return b
}

func (d *decoder) bool() bool {
	b := d.byte()
	if b > 1 {
		d.fail("boolean")
	}
	return b == 1
}

func (d *decoder) uuid() (id uuid.UUID) {
	if len(d.s) < len(id) {
		d.fail("message ends within an id")
		return id
	}
	copy(id[:], d.s)
	d.s = d.s[len(id):]
	return id
}

func (d *decoder) uint() uint64 {
	var v uint64
	for i := 0; i < len(d.s) && i < binary.MaxVarintLen64; i++ {
		b := d.s[i]
		if i == binary.MaxVarintLen64-1 && b > 1 {
			break
		}
		if b < 0x80 {
			d.s = d.s[i+1:]
			return v | uint64(b)<<(7*i)
		}
		v |= uint64(b&0x7f) << (7 * i)
	}
	d.fail("number")
	return 0
}

// count reads a length and checks that so many entries of at least size bytes
// can follow.
func (d *decoder) count(size int) int {
	n := d.uint()
	if n > uint64(len(d.s)/size) {
		d.fail("length beyond the end of the message")
		return 0
	}
	return int(n)
}

func (d *decoder) time() time.Time {
	u := d.uint()
	d.lastTime += int64(u>>1) ^ -int64(u&1)
	return time.UnixMicro(d.lastTime).UTC()
}

func (d *decoder) str() string {
	n := d.count(1)
	s := d.s[:n]
	d.s = d.s[n:]
	return s
}

func (d *decoder) ref() string {
	n := d.uint()
	if n == 0 {
		s := d.str()
		if d.bad == "" {
			d.dict = append(d.dict, s)
		}
		return s
	}
	if n > uint64(len(d.dict)) {
		d.fail("reference to a string that was not given")
		return ""
	}
	return d.dict[n-1]
}

func (d *decoder) float() float64 {
	if len(d.s) < 8 {
		d.fail("message ends within a number")
		return 0
	}
	f := math.Float64frombits(le64(d.s))
	d.s = d.s[8:]
	return f
}

func (d *decoder) floats() []float64 {
	n := d.count(8)
	if n == 0 {
		return nil
	}
	if d.f64 == nil {
		d.f64 = make([]float64, 0, n+len(d.s)/16)
	}
	start := len(d.f64)
	for i := range n {
		d.f64 = append(d.f64, math.Float64frombits(le64(d.s[8*i:])))
	}
	d.s = d.s[8*n:]
	return d.f64[start:len(d.f64):len(d.f64)]
}

func le32(s string) uint32 {
	return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
}

func le64(s string) uint64 { return uint64(le32(s)) | uint64(le32(s[4:]))<<32 }
