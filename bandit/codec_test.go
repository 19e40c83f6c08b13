package bandit

import (
	"bytes"
	"encoding/binary"
	"hash/crc64"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"nextbest"
)

func TestModelSurvivesItsBytes(t *testing.T) {
	for _, document := range everyLearner {
		spec := mustSpec(t, document)
		m := trained(t, spec, 5, 9, 25, 1)
		b, err := m.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		again, err := UnmarshalModel(b)
		if err != nil {
			t.Fatal(err)
		}
		if b2, _ := again.MarshalBinary(); !bytes.Equal(b, b2) {
			t.Error("encoding again gives other bytes")
		}
		if b3, _ := trained(t, spec, 5, 9, 25, 1).MarshalBinary(); !bytes.Equal(b, b3) {
			t.Error("the same rows give other bytes")
		}
		rng := rand.New(rand.NewPCG(1, 1))
		p1, p2 := mustPolicy(t, spec, m), mustPolicy(t, spec, again)
		for range 50 {
			r := &Request{X: randomX(rng, 9), Arms: []int32{0, 1, 2, 3, 4, -1}}
			a, sa := distribution(t, p1, r)
			b, sb := distribution(t, p2, r)
			if !equal(a, b, 0) || !equal(sa, sb, 0) {
				t.Fatalf("%s: %v and %v are not the same bit for bit", document, a, b)
			}
		}
	}
}

func TestUnmarshalModelRefuses(t *testing.T) {
	spec := mustSpec(t, `{"algorithm":"linucb"}`)
	good, _ := trained(t, spec, 2, 3, 10, 1).MarshalBinary()
	edit := func(f func(b []byte) []byte) []byte {
		b := f(append([]byte(nil), good[:len(good)-modelChecksum]...))
		return binary.LittleEndian.AppendUint64(b, crc64.Checksum(b, crcTable))
	}
	putFloat := func(at int, v float64) []byte {
		return edit(func(b []byte) []byte { binary.LittleEndian.PutUint64(b[at:], math.Float64bits(v)); return b })
	}
	first := modelHeader + 2 + len("action-0") // n of the first action
	for _, c := range []struct {
		name string
		b    []byte
		text string
	}{
		{"nothing", nil, "not a model"},
		{"something else", []byte(strings.Repeat("x", 100)), "not a model"},
		{"cut", good[:len(good)-1], "checksum"},
		{"one bit", func() []byte { b := append([]byte(nil), good...); b[60] ^= 1; return b }(), "checksum"},
		{"version", edit(func(b []byte) []byte { b[8] = 3; return b }), "version 3"},
		{"kind", edit(func(b []byte) []byte { b[10] = 9; return b }), "kind 9"},
		{"width 0", edit(func(b []byte) []byte { binary.LittleEndian.PutUint32(b[12:], 0); return b }), "0 features"},
		{"huge width", edit(func(b []byte) []byte { binary.LittleEndian.PutUint32(b[12:], 1<<31); return b }), "features"},
		{"too many actions", edit(func(b []byte) []byte { binary.LittleEndian.PutUint32(b[16:], 1<<31); return b }), "ends within action 2"},
		{"too few actions", edit(func(b []byte) []byte { binary.LittleEndian.PutUint32(b[16:], 1); return b }), "bytes follow"},
		{"ridge", putFloat(20, math.NaN()), "ridge NaN"},
		{"unsorted", edit(func(b []byte) []byte { b[first-1] = '9'; return b }), "sorted"},
		{"no rows", putFloat(first, 0), "0 rows"},
		{"negative squares", putFloat(first+8, -1), "sum of squares"},
		{"NaN", putFloat(first+16, math.NaN()), "not finite"},
		{"indefinite", putFloat(first+8*(2+3), -1e3), "positive definite"},
		{"overflow", putFloat(first+8*2, 1e300), "positive definite"},
	} {
		if m, err := UnmarshalModel(c.b); err == nil || !strings.Contains(err.Error(), c.text) || m != nil {
			t.Errorf("%s: %v, want an error with %q", c.name, err, c.text)
		}
	}
}

// FuzzUnmarshalModel checks that bytes are refused or are a model that encodes
// to the same bytes and decides by a distribution. The checksum is repaired
// first, or nothing would get past it.
func FuzzUnmarshalModel(f *testing.F) {
	spec, err := ParseSpec([]byte(`{"algorithm":"linear_thompson"}`))
	if err != nil {
		f.Fatal(err)
	}
	hurdle, logistic := mustSpec(f, hurdleDocument), mustSpec(f, logisticDocument)
	for _, m := range []*Model{trained(f, hurdle, 3, 4, 9, 2), trained(f, logistic, 3, 4, 9, 2), trained(f, spec, 1, 1, 3, 1), trained(f, spec, 3, 4, 9, 2), {kind: kindRidge, width: 2, ridge: 0.25}, {kind: kindRidge, width: 2, ridge: 0.25, halfLife: 1e6, at: -5}} {
		b, _ := m.MarshalBinary()
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= modelChecksum {
			b = append([]byte(nil), b[:len(b)-modelChecksum]...)
			b = binary.LittleEndian.AppendUint64(b, crc64.Checksum(b, crcTable))
		}
		m, err := UnmarshalModel(b)
		if err != nil {
			return
		}
		if again, _ := m.MarshalBinary(); !bytes.Equal(again, b) {
			t.Error("a model was accepted that encodes to other bytes")
		}
		spec := Spec{Algorithm: map[kind]string{kindRidge: "linear_thompson", kindHurdle: "hurdle_thompson", kindLogistic: "logistic_thompson"}[m.kind]}
		spec.Params = map[string]float64{"ridge": m.ridge}
		if m.halfLife != 0 {
			spec.Forgetting = &Forgetting{HalfLife: nextbest.Duration(time.Duration(m.halfLife) * time.Microsecond)}
		}
		policy, err := New(spec, m)
		if err != nil {
			t.Fatal(err)
		}
		r := &Request{X: make([]float32, m.width), Arms: []int32{-1}}
		for j := range r.X {
			r.X[j] = float32(j + 1)
		}
		for _, id := range m.Actions() {
			r.Arms = append(r.Arms, policy.Arm(id))
		}
		p := make([]float64, len(r.Arms))
		if err := policy.Distribution(p, make([]float64, len(p)), r); err == nil {
			checkDistribution(t, policy, p)
		}
	})
}
