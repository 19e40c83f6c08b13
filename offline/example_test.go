package offline_test

import (
	"context"
	"fmt"
	"time"

	"nextbest"
	"nextbest/offline"
)

// A log written by rules with 30% exploration says what another policy would
// have earned; the same rules without exploration say nothing.
func Example() {
	log := &offline.Simulation{Types: 6, Actions: 5, Customers: 12000, Each: 2, Rate: 0.1, Epsilon: 0.3, Seed: 3}
	for _, log.Epsilon = range []float64{0.3, 0} {
		report, err := offline.Run(context.Background(), log, offline.Request{
			Query: nextbest.Query{
				Placement: "email-daily",
				MatureAt:  log.End().Add(24 * time.Hour),
				Objective: nextbest.Objective{Terms: []nextbest.Term{{Reward: "purchase", Weight: 1}}, Window: nextbest.Duration(24 * time.Hour)},
			},
			Candidates: []offline.Candidate{log.Best()},
			Seed:       7,
		}, nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(report.Results[0].Verdict)
	}
}
