package nextbest

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"testing"
	"time"
)

func TestUniformVectors(t *testing.T) {
	// Computed with Python's hashlib.
	for _, v := range []struct {
		salt, key string
		want      float64
	}{
		{"s1", "0193b7a0-0000-7000-8000-000000000001/1", 0.38930341062416085},
		{"h1", "c-1", 0.9500679700201641},
		{"", "", 0.4304816492364817},
	} {
		if u := Uniform(v.salt, v.key); u != v.want {
			t.Errorf("Uniform(%q, %q) = %v, want %v", v.salt, v.key, u, v.want)
		}
	}
	if Uniform("a", "b") == Uniform("a", "c") || Uniform("a", "b") == Uniform("c", "b") {
		t.Error("salt and key must both matter")
	}
	if Uniform("ab", "c") == Uniform("a", "bc") {
		t.Error("the border between salt and key must matter")
	}
}

func TestParseDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{"14d": 14 * 24 * time.Hour, "0.5d": 12 * time.Hour, "36h": 36 * time.Hour, "90s": 90 * time.Second, "0s": 0} {
		got, err := ParseDuration(in)
		if err != nil || got.Std() != want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", in, got, err, want)
		}
		again, err := ParseDuration(got.String())
		if err != nil || again != got {
			t.Errorf("%q does not survive a round trip: %v, %v", in, again, err)
		}
	}
	for _, in := range []string{"", "14", "-1d", "-3s", "NaNd", "1e9d", "two days"} {
		if d, err := ParseDuration(in); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", in, d)
		}
	}
}

func TestParseRef(t *testing.T) {
	for in, want := range map[string]Ref{"lints": {ID: "lints"}, "lints@3": {ID: "lints", Version: 3}} {
		got, err := ParseRef(in)
		if err != nil || got != want || got.String() != in {
			t.Errorf("ParseRef(%q) = %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "@1", "a@", "a@0", "a@-1", "a@b", "A", "a b", "a@1@2"} {
		if r, err := ParseRef(in); err == nil {
			t.Errorf("ParseRef(%q) = %v, want an error", in, r)
		}
	}
	var d struct{ P Ref }
	if err := json.Unmarshal([]byte(`{"P":"x@2"}`), &d); err != nil || d.P.Version != 2 {
		t.Errorf("JSON reference: %v, %v", d, err)
	}
}

func TestMixturePropensity(t *testing.T) {
	d := Decision{Propensity: 0.7}
	if got := d.MixturePropensity(); got != 0.7 {
		t.Errorf("without arms: %v, want the serving policy's 0.7", got)
	}
	d.Arms = []ArmProbability{{Arm: "holdout", Share: 0.1, Probability: 0}, {Arm: "control", Share: 0.45, Probability: 0.2}, {Arm: "candidate", Share: 0.45, Probability: 0.7}}
	if got, want := d.MixturePropensity(), 0.45*0.2+0.45*0.7; math.Abs(got-want) > 1e-15 {
		t.Errorf("with arms: %v, want %v", got, want)
	}
}

func TestErrors(t *testing.T) {
	err := error(Errorf(Unavailable, "journal: %w", io.ErrUnexpectedEOF))
	if CodeOf(err) != Unavailable || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("code %q, cause lost: %v", CodeOf(err), err)
	}
	if CodeOf(io.EOF) != Internal || CodeOf(nil) != "" {
		t.Error("an error without a code is Internal, none is empty")
	}
	var p Problems
	if p.Err("x") != nil {
		t.Error("no problems, no error")
	}
	p.Add("arms[1].share", "is %v, must be in (0, 1]", 2)
	if got := p.Err("experiment").Error(); got != "experiment is invalid; arms[1].share: is 2, must be in (0, 1]" {
		t.Errorf("message: %s", got)
	}
}

func TestSplit(t *testing.T) {
	a, b := &Split{Salt: "s", To: 0.5}, &Split{Salt: "s", From: 0.5, To: 1}
	n := 0
	for i := range 2000 {
		c := string(rune('a'+i%26)) + Duration(i).String()
		if a.Contains(c) == b.Contains(c) {
			t.Fatalf("%q is in both halves or in neither", c)
		}
		if a.Contains(c) {
			n++
		}
	}
	if n < 900 || n > 1100 {
		t.Errorf("%d of 2000 in the first half", n)
	}
	if !(*Split)(nil).Contains("x") {
		t.Error("no split holds everybody")
	}
}

func TestKindSingular(t *testing.T) {
	for kind, want := range map[Kind]string{KindPolicy: "policy", KindAction: "action", KindFeatures: "features", KindCurrent: "current", KindHoldout: "holdout", "searches": "search"} {
		if got := kind.Singular(); got != want {
			t.Errorf("%s: %q, want %q", kind, got, want)
		}
	}
}
