package decisions

import (
	"fmt"
	"strings"
	"testing"

	"nextbest"
)

// busy is a placement of 20 actions with caps, rules, consent and costs, and a
// schema of 32 columns, served by a policy with a learned model.
func busy(t testing.TB, algorithm string) *Catalogue {
	d := define(t)
	var names []string
	for i := range 19 {
		name := fmt.Sprintf("action-%02d", i)
		names = append(names, name)
		rule := `"eligibility":"context.f1 < 3 && customer.segment == 'gold'",`
		if i%3 > 0 {
			rule = ""
		}
		d.put(nextbest.KindAction, name, fmt.Sprintf(`{"treatments":[{"id":"a","channel":"email"}],%s"consent":["email"],"cost":{"per_contact":0.02},"caps":[{"max":3,"per":"7d"},{"scope":"channel","max":1000,"per":"30d"}]}`, rule))
	}
	var features []string
	for i := range 31 {
		features = append(features, fmt.Sprintf(`{"name":"f%d","type":"numeric"}`, i))
	}
	d.put(nextbest.KindFeatures, "wide", `{"features":[`+strings.Join(features, ",")+`]}`)
	d.put(nextbest.KindObjective, "value", `{"terms":[{"reward":"purchase","weight":1}],"window":"14d"}`)
	d.put(nextbest.KindPolicy, "p", `{"algorithm":"`+algorithm+`","features":"wide@1"}`)
	d.model(nextbest.Ref{ID: "p", Version: 1}, append(names, nextbest.DoNothing), 100)
	d.put(nextbest.KindPlacement, "email", `{"channels":["email"],"objective":"value@1","actions":["`+strings.Join(names, `","`)+`"],"policy":"p@1","model":1}`)
	return d.compile()
}

func BenchmarkDecide(b *testing.B) {
	for _, algorithm := range []string{"linucb", "linear_thompson"} {
		b.Run(algorithm, func(b *testing.B) {
			w := newWorld(busy(b, algorithm))
			o := w.options()
			o.Journal = nowhere{}
			p, err := NewPipeline(o)
			if err != nil {
				b.Fatal(err)
			}
			context := map[string]any{}
			for i := range 31 {
				context[fmt.Sprintf("f%d", i)] = float64(i%5) - 1.5
			}
			calls := make([]Call, 1000)
			for i := range calls {
				calls[i] = Call{Placement: "email", Context: context, Customer: Customer{ID: fmt.Sprint("C-", i), Attributes: map[string]any{"segment": "gold", "consent": map[string]any{"email": true}}}}
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if _, err := p.Decide(b.Context(), calls[i%len(calls)]); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}

func BenchmarkUpdate(b *testing.B) {
	d := shop(b, "lints", 1)
	for i := range 2000 {
		d.put(nextbest.KindCurrent, "ucb.1", fmt.Sprintf(`{"model":%d}`, i%2))
	}
	c := d.compile()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Update(d.records, d.blob); err != nil {
			b.Fatal(err)
		}
	}
}
