package estimators_test

import (
	"fmt"

	"nextbest/estimators"
)

// An estimator by name, fed one customer's rows at a time.
func ExampleParseChoice() {
	choice, err := estimators.ParseChoice("dros:lambda=4")
	if err != nil {
		fmt.Println(err)
		return
	}
	total := choice.New()
	total.Add([]estimators.Row{{Weight: 2, Reward: 1, Q: 0.25, QPolicy: 0.5}, {Weight: 0, Reward: 0, Q: 0.5, QPolicy: 0.25}})
	total.Add([]estimators.Row{{Weight: 4, Reward: 0, Q: 0.25, QPolicy: 0.25}})
	e, err := total.Estimate()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s = %s: %.4f ± %.4f of %d customers\n", choice, choice.Formula, e.Value, e.StdErr, e.Customers)
	// Output:
	// dros:lambda=4 = M[q_π + λw/(w²+λ)(r−q)]: 0.5167 ± 0.3111 of 2 customers
}
