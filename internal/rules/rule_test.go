package rules

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func input() *Input {
	in := &Input{
		Customer: map[string]any{"consent": map[string]any{"email": true, "sms": false}, "age": 41.0, "segment": "gold"},
		Context:  map[string]any{"recency": 2.0, "spend": 12.5, "channel": "Web", "newbie": true, "none": nil, "items": []any{"a", "b"}},
		Action:   map[string]any{"id": "mens-email", "group": "mens", "cost": 0.02},
	}
	in.SetNow(time.Date(2026, 11, 23, 10, 30, 0, 0, time.UTC))
	return in
}

func TestEval(t *testing.T) {
	for _, c := range []struct {
		source string
		want   bool
		err    string
	}{
		{source: "context.recency < 3", want: true},
		{source: "context.recency < 3.0", want: true},
		{source: "3 > context.recency", want: true},
		{source: "context.recency >= 2 && context.channel == 'Web'", want: true},
		{source: "context.recency != 2", want: false},
		{source: "context.channel in ['Web', 'Phone']", want: true},
		{source: "customer.consent.email", want: true},
		{source: "!customer.consent.sms", want: true},
		{source: "customer.consent['sms']", want: false},
		{source: "has(customer.birthday)", want: false},
		{source: "has(customer.age) && customer.age > 18", want: true},
		{source: "has(customer.birthday) && customer.birthday > 18", want: false},
		{source: "!has(context.nothing) || context.nothing > 1", want: true},
		{source: "context.none == null", want: true},
		{source: "context.items.exists(i, i == 'b')", want: true},
		{source: "context.items.size() == 2", want: true},
		{source: "action.group == 'mens' && action.cost < 1", want: true},
		{source: "now > timestamp('2026-11-23T00:00:00Z')", want: true},
		{source: "now.getHours() == 10", want: true},
		{source: "context.channel.startsWith('W') && context.channel.matches('^W.b$')", want: true},
		{source: "context.spend + 1.0 > 13", want: true},
		{source: "context.nothing > 1 || true", want: true},
		{source: "context.nothing > 1 && false", want: false},
		{source: "context.nothing > 1", err: `field "nothing" is missing`},
		{source: "customer.consent.fax", err: `field "fax" is missing`},
		{source: "context.channel < 3", err: "no such overload"},
		{source: "context.channel == 3", want: false},
		{source: "context.recency", err: "not true or false"},
		{source: "customer['i' + 'd'] == 'x'", err: `field "id" is missing`},
		{source: "context.none < 3", err: "no such overload"},
		{source: "context.newbie ? context.recency < 1 : context.nothing > 1", want: false},
	} {
		r, err := Compile(c.source)
		if err != nil {
			t.Errorf("%s: %v", c.source, err)
			continue
		}
		got, err := r.Eval(input())
		switch {
		case c.err != "":
			var e *EvalError
			if !errors.As(err, &e) || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: error %v, want %q", c.source, err, c.err)
			}
		case err != nil || got != c.want:
			t.Errorf("%s = %v, %v; want %v", c.source, got, err, c.want)
		}
	}
}

func TestCompileErrors(t *testing.T) {
	for _, c := range []struct {
		source, want, cure string
		line, column       int
	}{
		{"", "empty", "context.recency", 1, 1},
		{"context.recency <", "Syntax error", "&&", 1, 18},
		{"recency < 3", "undeclared reference to 'recency'", "context.recency", 1, 1},
		{"context.recency < 3 &&\n  spend > 2", "undeclared", "context.spend", 2, 3},
		{"1 + 2", "int, not true or false", "compare", 1, 1},
		{"customer.id == 'C-1042'", "identifies the customer", "attribute", 1, 9},
		{"has(customer.id)", "identifies the customer", "attribute", 1, 4},
		{"true && customer['type'] == 'crm'", "identifies the customer", "attribute", 1, 17},
		{"now < 3", "no matching overload", "types", 1, 5},
		{"context.items.map(i, i).size() > 0", "undeclared", "exists", 1, 18},
		{"context.a = 3", "", "==", 1, 11},
		{strings.Repeat("x", MaxLength+1), "at most", "split", 1, 1},
		{strings.Repeat("(", 200) + "true" + strings.Repeat(")", 200), "", "", 0, 0},
		{strings.Repeat("true && ", 300) + "true", "", "", 0, 0},
	} {
		_, err := Compile(c.source)
		var e *CompileError
		if !errors.As(err, &e) {
			t.Errorf("%.40q: %v, want a CompileError", c.source, err)
			continue
		}
		p := e.Problems[0]
		if !strings.Contains(p.Message, c.want) || !strings.Contains(p.Cure, c.cure) || c.line > 0 && (p.Line != c.line || p.Column != c.column) {
			t.Errorf("%.40q: %+v; want %q, cure %q at %d:%d", c.source, p, c.want, c.cure, c.line, c.column)
		}
	}
}

func TestCostLimit(t *testing.T) {
	r, err := Compile("context.items.all(a, context.items.all(b, context.items.all(c, a + b + c >= 0.0)))")
	if err != nil {
		t.Fatal(err)
	}
	items := make([]any, 200)
	for i := range items {
		items[i] = float64(i)
	}
	in := input()
	in.Context["items"] = items
	start := time.Now()
	_, err = r.Eval(in)
	if err == nil || !strings.Contains(err.Error(), "costs more than") {
		t.Fatalf("8,000,000 steps: %v, want the cost limit", err)
	}
	if d := time.Since(start); d > time.Second {
		t.Errorf("the limit stopped it after %v", d)
	}
}

func BenchmarkEval(b *testing.B) {
	for _, source := range []string{
		"context.recency < 3",
		"customer.consent.email && context.recency >= 1 && context.channel == 'Web'",
		"has(customer.age) && customer.age > 18",
		"context.items.exists(i, i == 'b')",
	} {
		r, err := Compile(source)
		if err != nil {
			b.Fatal(err)
		}
		in := input()
		b.Run(source, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Eval(in)
			}
		})
	}
}

// FuzzCompile checks that no source makes the compiler panic, that a refusal
// always has a place and a message, and that what compiles evaluates to the
// same outcome twice.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{"context.recency < 3", "customer.consent.email", "has(context.a) || !(now > timestamp('2026-01-01T00:00:00Z'))", "context.items.exists(i, i in ['a'])", "((", "'", "context[", "action.group.matches('(a+)+$')", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, source string) {
		r, err := Compile(source)
		if err != nil {
			var e *CompileError
			if !errors.As(err, &e) {
				t.Fatalf("%q: %T %v", source, err, err)
			}
			for _, p := range e.Problems {
				if p.Line < 1 || p.Column < 1 || p.Message == "" {
					t.Fatalf("%q: %+v", source, p)
				}
			}
			return
		}
		a, errA := r.Eval(input())
		b, errB := r.Eval(input())
		if a != b || (errA == nil) != (errB == nil) {
			t.Fatalf("%q: %v, %v, then %v, %v", source, a, errA, b, errB)
		}
	})
}

func TestEmptyInput(t *testing.T) {
	r, err := Compile("!has(customer.age) && !has(context.recency) && !has(action.id)")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := r.Eval(&Input{}); !got || err != nil {
		t.Errorf("nil maps: %v, %v", got, err)
	}
}

func ExampleCompile() {
	rule, err := Compile("customer.consent.email && context.recency < 3")
	if err != nil {
		panic(err)
	}
	fmt.Println(rule.Eval(&Input{
		Customer: map[string]any{"consent": map[string]any{"email": true}},
		Context:  map[string]any{"recency": 2.0},
	}))
	_, err = Compile("recency < 3")
	fmt.Println(err)
	// Output:
	// true <nil>
	// line 1, column 1: undeclared reference to 'recency' (the variables are customer, context, action and now: context.recency or customer.recency?)
}
