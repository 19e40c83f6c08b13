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
	// Output:
	// better than what ran (+0.07179 [+0.05638, +0.0882]); better than best fixed (offer-01) (+0.04325 [+0.02365, +0.0631])
	// REFUSED: every action was certain: rules alone made this log, so it holds nothing about any other choice; 83.0% of the candidate's decisions are actions that the log never tries there (limit 1%): only bounds can be given; all that can be said is a value between 0.02939 and 0.8744 — turn on exploration: ε ≥ 0.05 uniform over the eligible actions for at least 6,700 decisions (about 1 day of this traffic)
}
