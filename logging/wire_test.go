package logging

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/klauspost/compress/s2"

	"nextbest"
)

func testEvents(rng *rand.Rand) Events {
	ev := Events{Decisions: []nextbest.Decision{fullDecision(rng, t0), oddDecision(rng, t0.Add(-time.Hour)), fullDecision(rng, t0.Add(time.Microsecond)), {ID: newID(t0, rng), Slot: 1, Time: t0}}}
	ev.Impressions = []nextbest.Impression{
		{DecisionID: ev.Decisions[0].ID, Slot: 1, Status: nextbest.Shown, Time: t0.Add(time.Second)},
		{DecisionID: ev.Decisions[1].ID, Slot: 255, Status: nextbest.Overridden, Action: "call", Time: t0},
	}
	ev.Rewards = []nextbest.Reward{
		{ID: "o-1", Kind: "purchase", Value: 59.9, Time: t0, DecisionID: ev.Decisions[0].ID, Slot: 1},
		{ID: "o-2", Kind: "purchase", Value: math.Inf(1), Time: t0.Add(-time.Minute), Customer: "c", Slot: 1, Withdrawn: true},
	}
	return ev
}

func encode(ev Events) []byte {
	var e encoder
	e.reset()
	for i := range ev.Decisions {
		e.decision(&ev.Decisions[i])
	}
	for i := range ev.Impressions {
		e.impression(&ev.Impressions[i])
	}
	for i := range ev.Rewards {
		e.reward(&ev.Rewards[i])
	}
	return e.message()
}

func TestWireRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	want := testEvents(rng)
	var got Events
	if err := decode(encode(want), &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("decoded\n%+v\nwant\n%+v", got, want)
	}
	if math.Float64bits(got.Decisions[1].Probabilities[0]) != 1<<63 {
		t.Errorf("negative zero came back as %x", math.Float64bits(got.Decisions[1].Probabilities[0]))
	}
	nan := want.Decisions[0]
	nan.Propensity = math.Float64frombits(0x7ff8_0000_dead_beef)
	got = Events{}
	if err := decode(encode(Events{Decisions: []nextbest.Decision{nan}}), &got); err != nil {
		t.Fatal(err)
	}
	if math.Float64bits(got.Decisions[0].Propensity) != 0x7ff8_0000_dead_beef {
		t.Error("the bits of a NaN have changed")
	}
}

// Every field of the nouns must travel: a field that somebody adds to them and
// not to the codec fails here.
func TestWireCarriesEveryField(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	d := fullDecision(rng, t0)
	d.SetAside = true
	rewards := []nextbest.Reward{
		{ID: "a", Kind: "k", Value: 1, Time: t0, DecisionID: d.ID, Slot: 1, Customer: "c", Withdrawn: true},
	}
	impression := nextbest.Impression{DecisionID: d.ID, Slot: 1, Status: nextbest.Shown, Action: "a", Time: t0}
	for _, v := range []any{d, rewards[0], impression} {
		for i := range reflect.TypeOf(v).NumField() {
			if reflect.ValueOf(v).Field(i).IsZero() {
				t.Errorf("the test leaves %T.%s empty", v, reflect.TypeOf(v).Field(i).Name)
			}
		}
	}
	want := Events{Decisions: []nextbest.Decision{d}, Impressions: []nextbest.Impression{impression}, Rewards: rewards}
	var got Events
	if err := decode(encode(want), &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("decoded\n%+v\nwant\n%+v", got, want)
	}
}

func TestWireRollback(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	a, b, c := fullDecision(rng, t0), fullDecision(rng, t0.Add(time.Second)), fullDecision(rng, t0.Add(time.Minute))
	b.Placement, c.Placement = "other@1", "other@1" // new to the dictionary twice
	var e, want encoder
	e.reset()
	e.decision(&a)
	m := e.mark()
	e.decision(&b)
	e.rollback(m)
	e.decision(&c)
	want.reset()
	want.decision(&a)
	want.decision(&c)
	if !bytes.Equal(e.message(), want.message()) {
		t.Error("after a rollback the encoder writes something else than without the rows taken back")
	}
}

func TestWireRefusesDamage(t *testing.T) {
	message := encode(testEvents(rand.New(rand.NewPCG(7, 8))))
	for n := range len(message) {
		var ev Events
		if err := decode(message[:n], &ev); !errors.Is(err, errMalformed) {
			t.Fatalf("cut after %d of %d bytes: %v", n, len(message), err)
		}
		if len(ev.Decisions)+len(ev.Impressions)+len(ev.Rewards) > 0 {
			t.Fatalf("cut after %d bytes: rows in spite of the error", n)
		}
	}
	if err := decode(append(bytes.Clone(message), 0), new(Events)); !errors.Is(err, errMalformed) {
		t.Errorf("one byte too many: %v", err)
	}
	newer := bytes.Clone(message)
	newer[2] = wireFormat + 1
	if err := decode(newer, new(Events)); !errors.Is(err, errNewer) {
		t.Errorf("newer format: %v", err)
	}
}

func TestVersions(t *testing.T) {
	if !(lastWins(7, 3) > lastWins(7, 2) && lastWins(8, 0) > lastWins(7, maxWireItems)) {
		t.Error("lastWins does not grow with position and item")
	}
	if !(firstWins(7, 2) > firstWins(7, 3) && firstWins(7, maxWireItems) > firstWins(8, 0)) {
		t.Error("firstWins does not fall with position and item")
	}
}

// FuzzDecode feeds the decoder damaged messages. What it accepts must come out
// the same after another round.
func FuzzDecode(f *testing.F) {
	message := encode(testEvents(rand.New(rand.NewPCG(9, 10))))
	f.Add(message)
	f.Add(message[:len(message)/2])
	f.Add([]byte("nb\x01\x00\x01\x00\x00\x00\x02"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var ev, again Events
		if decode(data, &ev) != nil {
			return
		}
		// Rows of several kinds may be mixed, so the bytes may differ once.
		first := encode(ev)
		if err := decode(first, &again); err != nil {
			t.Fatalf("cannot decode what was encoded: %v", err)
		}
		if !bytes.Equal(first, encode(again)) {
			t.Fatal("another round gives another message")
		}
	})
}

func BenchmarkEncodeDecision(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	decisions := make([]nextbest.Decision, 256)
	for i := range decisions {
		decisions[i] = fullDecision(rng, t0.Add(time.Duration(i)*time.Millisecond))
	}
	var e encoder
	e.reset()
	b.ReportAllocs()
	size := 0
	for i := 0; b.Loop(); i++ {
		if i%256 == 0 {
			size = len(e.buf)
			e.reset()
		}
		e.decision(&decisions[i%256])
	}
	b.ReportMetric(float64(size)/256, "B/decision")
	e.reset()
	for i := range decisions {
		e.decision(&decisions[i])
	}
	start := time.Now()
	packed := s2.Encode(nil, e.message())
	b.ReportMetric(float64(len(packed))/256, "s2-B/decision")
	b.ReportMetric(float64(time.Since(start).Nanoseconds())/256, "s2-ns/decision")
}

func BenchmarkDecodeDecision(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	var e encoder
	e.reset()
	for i := range 256 {
		d := fullDecision(rng, t0.Add(time.Duration(i)*time.Millisecond))
		e.decision(&d)
	}
	var ev Events
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%256 == 0 {
			ev.Decisions = ev.Decisions[:0]
			if err := decode(e.message(), &ev); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkEncodeReward(b *testing.B) {
	r := nextbest.Reward{ID: "order-123456789", Kind: "purchase", Value: 59.9, Time: t0, DecisionID: uuid.New(), Slot: 1}
	var e encoder
	e.reset()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%10000 == 0 {
			e.reset()
		}
		e.reward(&r)
	}
	b.ReportMetric(float64(len(e.buf))/float64(e.rows), "B/reward")
}

// Messages of every format stay readable: they may be in somebody's journal.
func TestWireFormats(t *testing.T) {
	for format := 1; format <= wireFormat; format++ {
		want := testEvents(rand.New(rand.NewPCG(11, 12)))
		pinned, err := os.ReadFile(fmt.Sprintf("testdata/journal_v%d.bin", format))
		if err != nil {
			t.Fatal(err)
		}
		if format == wireFormat && !bytes.Equal(encode(want), pinned) {
			t.Errorf("the encoder writes something else than format %d: give it a new format number", format)
		}
		if format < 2 {
			for i := range want.Decisions {
				for k := range want.Decisions[i].Arms {
					want.Decisions[i].Arms[k].Floor = 0
				}
			}
		}
		var got Events
		if err := decode(pinned, &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("format %d: decoded\n%+v\nwant\n%+v", format, got, want)
		}
	}
}
