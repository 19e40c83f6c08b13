package estimators_test

import (
	"fmt"

	"nextbest/estimators"
)

// Six decisions of four customers under a logger that explores with 25%: what
// would a policy earn that always takes the action on rows 0, 2, 3 and 5?
func ExampleIPS() {
	customer := []string{"ann", "ann", "bob", "cid", "cid", "dee"}
	propensity := []float64{0.75, 0.25, 0.25, 0.75, 0.25, 0.75}
	candidate := []float64{1, 0, 1, 1, 0, 1}
	reward := []float64{1, 0, 1, 0, 0, 1}

	by, err := estimators.GroupRows(customer)
	if err != nil {
		fmt.Println(err)
		return
	}
	w, err := estimators.Weights(candidate, propensity)
	if err != nil {
		fmt.Println(err)
		return
	}
	ips, _ := estimators.IPS(by, w, reward)
	snips, _ := estimators.SNIPS(by, w, reward)
	v, iv, _ := estimators.EmpiricalLikelihood(by, w, reward, 4, 0, 1, 0.95)
	fmt.Printf("IPS %.4f, SNIPS %.4f, ESS %.2f of %d customers\n", ips.Value, snips.Value, estimators.ESS(by, w), ips.Customers)
	fmt.Printf("empirical likelihood %.2f in [%.2f, %.2f]\n", v, iv.Low, iv.High)
	// Output:
	// IPS 1.1111, SNIPS 0.8333, ESS 3.00 of 4 customers
	// empirical likelihood 0.74 in [0.27, 0.98]
}
