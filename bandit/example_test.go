package bandit_test

import (
	"fmt"
	"log"
	"time"

	"github.com/google/uuid"

	"nextbest/bandit"
)

// A policy's life: parse its specification, learn from rows, publish a model,
// and decide.
func Example() {
	schema, err := bandit.NewSchema([]byte(`{"features":[{"name":"recency","type":"numeric","mean":6,"sd":3}]}`))
	if err != nil {
		log.Fatal(err)
	}
	spec, err := bandit.ParseSpec([]byte(`{"algorithm":"linear_thompson","params":{"floor":0.02}}`))
	if err != nil {
		log.Fatal(err)
	}
	learner, err := bandit.NewLearner(spec, schema.Width())
	if err != nil {
		log.Fatal(err)
	}
	x := make([]float32, schema.Width())
	for i := range 300 { // recent customers answer mail, the others do not
		if err := schema.Encode(x, map[string]any{"recency": float64(i % 12)}, time.Time{}); err != nil {
			log.Fatal(err)
		}
		reward := 0.0
		if i%12 < 4 && i%2 == 0 {
			reward = 1
		}
		action := []string{"do-nothing", "mail"}[i%2^1]
		if err := learner.Learn(action, x, reward); err != nil {
			log.Fatal(err)
		}
	}
	policy, err := bandit.New(spec, learner.Model())
	if err != nil {
		log.Fatal(err)
	}
	actions := []string{"do-nothing", "mail"}
	request := &bandit.Request{X: x, Preferred: -1}
	for _, a := range actions {
		request.Arms = append(request.Arms, policy.Arm(a))
	}
	p, scores := make([]float64, 2), make([]float64, 2)
	for _, recency := range []float64{1, 11} {
		if err := schema.Encode(x, map[string]any{"recency": recency}, time.Time{}); err != nil {
			log.Fatal(err)
		}
		if err := policy.Distribution(p, scores, request); err != nil {
			log.Fatal(err)
		}
		u := bandit.DrawUniform("s1", uuid.MustParse("01930000-0000-7000-8000-000000000001"), 1)
		fmt.Printf("recency %2.0f: %v %.3f, drawn with u = %.3f: %s\n", recency, actions, p, u, actions[bandit.Draw(p, u)])
	}
	// Output:
	// recency  1: [do-nothing mail] [0.010 0.990], drawn with u = 0.557: mail
	// recency 11: [do-nothing mail] [0.990 0.010], drawn with u = 0.557: do-nothing
}
