package logging

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"nextbest"
)

// TestOwnPropensityUnderCaps logs an experiment of an eager and a shy arm beside
// a holdout, where an offer may be made once to each customer, and asks what
// offering wherever it is allowed would have earned. Weighed by the serving
// arm's own propensity the answer is the truth: the offers that were still
// allowed, at their true rate. By the mixture's it is not: who may still be
// offered something is mostly in the shy arm.
func TestOwnPropensityUnderCaps(t *testing.T) {
	const customers, calls, offered, idle = 3000, 4, 0.3, 0.1
	store := testStore(t)
	rng := rand.New(rand.NewPCG(21, 22))
	d, r := newDecisionColumns(), newRewardColumns()
	rates := []float64{0, 0.9, 0.2} // of the holdout, the eager and the shy arm
	floors := []float64{0, 0.1, 0.2}
	position := uint64(0)
	for c := range customers {
		serving := 1 + c%2
		if c%10 == 0 {
			serving = 0
		}
		capped := false
		for k := range calls {
			position++
			at := t0.Add(time.Duration(k)*24*time.Hour + time.Duration(c)*time.Second)
			row := nextbest.Decision{ID: newID(at, rng), Slot: 1, Time: at, Placement: "mail@1", Source: "live", Policy: "p@1", Customer: fmt.Sprintf("%04d", c),
				Action: nextbest.DoNothing, Eligible: []string{nextbest.DoNothing}, Probabilities: []float64{1},
				Arms: []nextbest.ArmProbability{{Arm: "holdout", Share: 0.1}, {Arm: "eager", Share: 0.45}, {Arm: "shy", Share: 0.45}}}
			if !capped {
				row.Eligible, row.Probabilities = append(row.Eligible, "offer"), []float64{1 - rates[serving], rates[serving]}
				if rng.Float64() < rates[serving] {
					row.Action = "offer"
				}
			}
			for i := range row.Arms {
				a := &row.Arms[i]
				switch {
				case capped:
					a.Probability, a.Floor = 1, 1
				case row.Action == "offer":
					a.Probability, a.Floor = rates[i], floors[i]
				default:
					a.Probability, a.Floor = 1-rates[i], floors[i]
				}
				row.Floor += a.Share * a.Floor
			}
			row.Arm, row.Propensity = row.Arms[serving].Arm, row.Arms[serving].Probability
			if serving > 0 {
				row.Experiment = "e@1"
			}
			d.append(position, 0, &row)
			rate := idle
			if row.Action == "offer" {
				rate, capped = offered, true
			}
			if rng.Float64() < rate {
				position++
				r.append(position, 0, &nextbest.Reward{ID: fmt.Sprint(position), Kind: "visit", Value: 1, Time: at.Add(time.Hour), DecisionID: row.ID, Slot: 1})
			}
		}
	}
	for _, in := range []*inserter{&d.inserter, &r.inserter} {
		if err := store.insert(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}

	for _, own := range []bool{true, false} {
		q := nextbest.Query{Placement: "mail", MatureAt: t0.Add(1000 * time.Hour), SkipHeld: true, Own: own,
			Objective: nextbest.Objective{Terms: []nextbest.Term{{Reward: "visit", Weight: 1}}, Window: nextbest.Duration(12 * time.Hour)}}
		errors, weights := map[string]float64{}, map[string]float64{} // of the customers
		rows := 0
		err := store.Rows(t.Context(), q, func(b *nextbest.Batch) error {
			for i := range b.N() {
				rows++
				eligible, _ := b.Row(i)
				truth, weight := idle, 0.0
				if len(eligible) == 2 {
					truth = offered
				}
				if b.Chosen[i] == len(eligible)-1 {
					weight = 1 / b.Propensity[i]
				}
				if weight*b.Floor[i] > 1+1e-12 {
					t.Fatalf("own %v: weight %v over a floor of %v", own, weight, b.Floor[i])
				}
				errors[b.Customer[i]] += weight*b.Reward[i] - truth
				weights[b.Customer[i]] += weight - 1
			}
			return nil
		})
		if err != nil || rows != customers*9/10*calls {
			t.Fatalf("%d rows, %v", rows, err)
		}
		bias, z := meanOf(errors, rows)
		_, zw := meanOf(weights, rows)
		t.Logf("own %v: bias %+.4f (z %.1f), mean of weights off by z %.1f", own, bias, z, zw)
		if off := math.Max(math.Abs(z), math.Abs(zw)); own && off > 4 || !own && math.Min(math.Abs(z), math.Abs(zw)) < 6 {
			t.Errorf("own %v: bias %+.4f of z %.1f, weights off by z %.1f", own, bias, z, zw)
		}
	}
}

// meanOf returns the mean over rows of what customers sum to, and how many
// standard errors it is from 0; customers are independent.
func meanOf(sums map[string]float64, rows int) (mean, z float64) {
	var total, squares float64
	for _, v := range sums {
		total += v
		squares += v * v
	}
	n := float64(len(sums))
	return total / float64(rows), total / math.Sqrt(squares-total*total/n)
}
