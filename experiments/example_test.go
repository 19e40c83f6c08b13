package experiments_test

import (
	"fmt"
	"time"

	"nextbest"
	"nextbest/experiments"
)

func Example() {
	d, err := experiments.Parse([]byte(`{
		"placement": "email-daily", "salt": "spring", "window": "14d",
		"primary": {"reward": "purchase"},
		"arms": [
			{"id": "control", "policy": "rules@1", "share": 0.5, "control": true},
			{"id": "candidate", "policy": "lints@3", "model": 2, "share": 0.5}
		]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	a := experiments.Assign(d, nil, "customer-7")
	fmt.Println("customer-7 is in", d.Arms[a.Arm].ID)

	monday := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	running, _ := d.Start(monday)
	acc := experiments.NewAccumulator(&running, nil, monday.AddDate(0, 1, 0))
	for i := range 1000 { // the log's customers, in the order of enrolment
		at := monday.Add(time.Duration(i) * time.Minute)
		e := nextbest.Enrolment{Arm: d.Arms[i%2].ID, Time: at, Decisions: 1, First: make([]time.Time, 1), Total: make([]float64, 1)}
		if i%10 == 0 || i%10 == 1 || i%10 == 3 { // a fifth of the control buys, two fifths of the candidate's
			e.First[0], e.Total[0] = at.Add(time.Hour), 30
		}
		if err := acc.Add(0, e); err != nil {
			fmt.Println(err)
			return
		}
	}
	lift := acc.Evidence().Arm("candidate").Lift
	fmt.Printf("twice as many buy: ratio %.1f, at least %.2f; evidence above 20: %t\n", lift.Ratio.Value, *lift.Ratio.Low, lift.Passed)
	// Output:
	// customer-7 is in candidate
	// twice as many buy: ratio 2.0, at least 1.39; evidence above 20: true
}
