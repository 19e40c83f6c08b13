package decisions

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"nextbest"
)

func TestCanonical(t *testing.T) {
	var c canonical
	got, fault := c.write(
		map[string]any{"b": 1.0, "a": []any{nil, true, "x\"\\\n\u2028é"}, "c": map[string]any{"z": 1e21, "y": -0.1, "x": math.Copysign(0, -1)}},
		map[string]any{"id": "secret", "type": "crm", "consent": map[string]any{"email": true, "id": "kept"}},
		map[string]float64{"womens": 0.25, "mens": -1e-7},
	)
	want := `{"context":{"a":[null,true,"x\"\\\u000a` + "\u2028é" + `"],"b":1,"c":{"x":-0,"y":-0.1,"z":1e+21}},"customer":{"consent":{"email":true,"id":"kept"}},"scores":{"mens":-1e-07,"womens":0.25}}`
	if fault != nil || string(got) != want || c.foreign {
		t.Errorf("%s, %v, foreign %v; want %s", got, fault, c.foreign, want)
	}
	if got, fault := c.write(nil, nil, nil); string(got) != `{"context":{},"customer":{}}` || fault != nil {
		t.Errorf("empty: %s, %v", got, fault)
	}
	if _, fault := c.write(map[string]any{"n": json.Number("1e999")}, nil, nil); fault == nil {
		t.Error("1e999 was taken for a number")
	}
	if got, fault := c.write(map[string]any{"n": json.Number("12"), "f": float32(0.5), "i": 3, "j": int64(4)}, nil, nil); fault != nil || !c.foreign || string(got) != `{"context":{"f":0.5,"i":3,"j":4,"n":12},"customer":{}}` {
		t.Errorf("Go numbers: %s, %v", got, fault)
	}
}

// TestCanonicalAgain uses one writer for one context after the other, with the
// same keys and with others, and compares with a new writer each time.
func TestCanonicalAgain(t *testing.T) {
	nested := map[string]any{"z": 1.0, "y": map[string]any{"b": 2.0, "a": 3.0}}
	contexts := []map[string]any{
		{"b": 1.0, "a": 2.0}, {"a": 3.0, "b": 4.0}, {"a": 3.0, "c": 4.0}, {"c": 1.0, "b": 4.0}, {}, {"c": nested, "b": nested}, {"b": nested, "c": 5.0},
		{"b": 1.0}, {"a": nil, "b": 2.0, "c": 3.0}, {"c": 3.0, "b": 2.0, "a": 1.0},
	}
	var c canonical
	for i := range 3 * len(contexts) {
		context := contexts[i*7%len(contexts)]
		var fresh canonical
		want, _ := fresh.write(context, nested, nil)
		if got, fault := c.write(context, nested, nil); fault != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s, %v; want %s", got, fault, want)
		}
	}
}

// FuzzCanonical checks that any JSON object becomes valid JSON that reads back
// to the same values and is written to the same bytes again.
func FuzzCanonical(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":[1e-7,"x",null,{"c":false}],"":-0.0}`))
	f.Add([]byte(`{"id":"\u0000\ud83d\ude00</script>"}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		var v map[string]any
		if json.Unmarshal(document, &v) != nil {
			return
		}
		var c canonical
		first, fault := c.write(v, nil, nil)
		if fault != nil {
			return
		}
		back, err := readContext(first)
		if err != nil {
			t.Fatalf("%s: %v", first, err)
		}
		again := back.Context
		if len(v) > 0 && !reflect.DeepEqual(v, again) {
			t.Fatalf("%v became %v by %s", v, again, first)
		}
		var c2 canonical
		if second, _ := c2.write(again, nil, nil); !bytes.Equal(first, second) {
			t.Fatalf("%s, then %s", first, second)
		}
	})
}

func TestContactsRoundTrip(t *testing.T) {
	at := time.Date(2026, 11, 23, 10, 0, 0, 123456000, time.UTC)
	in := []nextbest.Contact{
		{DecisionID: [16]byte{1, 2, 3}, Slot: 1, Action: "mens", Group: "", Channel: "email", Time: at, Status: nextbest.Reserved, Expires: at.Add(time.Hour)},
		{DecisionID: [16]byte{9}, Slot: 255, Action: "sale", Group: "promo", Channel: "push", Time: at.Add(-time.Hour), Status: nextbest.Contacted, Expires: time.UnixMicro(0).UTC()},
	}
	b := appendContacts(nil, in)
	out, err := readContacts(nil, b, map[string]string{"mens": "mens"})
	if err != nil || !reflect.DeepEqual(in, out) {
		t.Errorf("%v, %v; want %v", out, err, in)
	}
	if none, err := readContacts(nil, nil, nil); len(none) != 0 || err != nil {
		t.Errorf("no value: %v, %v", none, err)
	}
	for n := 1; n < len(b); n++ {
		if got, err := readContacts(nil, b[:n], nil); err == nil && len(got) == 2 {
			t.Errorf("cut at %d: %v", n, got)
		}
	}
	if _, err := readContacts(nil, []byte{9}, nil); nextbest.CodeOf(err) != nextbest.Internal {
		t.Errorf("another format: %v", err)
	}
}

func FuzzReadContacts(f *testing.F) {
	f.Add(appendContacts(nil, []nextbest.Contact{{Action: "a", Channel: "b", Status: nextbest.Contacted}}))
	f.Add(appendContacts(nil, []nextbest.Contact{{Action: strings.Repeat("a", 300), Channel: "b", Status: nextbest.Contacted}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		contacts, err := readContacts(nil, b, nil)
		if err != nil || len(b) == 0 {
			return
		}
		if again := appendContacts(nil, contacts); !bytes.Equal(again, b) {
			t.Fatalf("%x became %x", b, again)
		}
	})
}

// TestLoadHistories rebuilds a lost history from the log's contacts and joins
// it with what has happened since.
func TestLoadHistories(t *testing.T) {
	c := shop(t, "uniform", 0).compile()
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	k := func(n byte, age time.Duration, s nextbest.ContactStatus) nextbest.Contact {
		return nextbest.Contact{DecisionID: [16]byte{n}, Slot: 1, Action: "sale", Channel: "email", Time: now.Add(-age), Status: s}
	}
	since := k(2, time.Hour, nextbest.Contacted)
	current := appendContacts(nil, []nextbest.Contact{since, k(3, time.Minute, nextbest.Reserved)})
	stored := map[string][]byte{"alice": current}
	load := func(_ contextType, customer string, value []byte) error {
		merged, err := MergeHistories(stored[customer], value)
		stored[customer] = merged
		return err
	}
	log := contactLog{"alice": {k(1, 24*time.Hour, nextbest.Contacted), k(2, time.Hour, nextbest.Reserved)}, "bob": {k(4, 2*time.Hour, nextbest.Reserved)}}
	if err := LoadHistories(t.Context(), c, log, now, 24*time.Hour, load); err != nil {
		t.Fatal(err)
	}
	show := func(customer string) string {
		contacts, err := readContacts(nil, stored[customer], nil)
		if err != nil {
			t.Fatal(err)
		}
		s := ""
		for _, k := range contacts {
			s += fmt.Sprintf("%d %s %s; ", k.DecisionID[0], k.Group, k.Status)
		}
		return s
	}
	if got, want := show("alice"), "1 promo contacted; 2  contacted; 3  reserved; "; got != want {
		t.Errorf("alice: %s, want %s", got, want)
	}
	if got, want := show("bob"), "4 promo reserved; "; got != want {
		t.Errorf("bob: %s, want %s", got, want)
	}
	bob, _ := readContacts(nil, stored["bob"], nil)
	if !bob[0].Expires.Equal(now.Add(22 * time.Hour)) {
		t.Errorf("bob's reservation expires at %s", bob[0].Expires)
	}
}
