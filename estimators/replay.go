package estimators

import "math"

// Replay is the mean reward of the rows whose logged action the candidate would
// have taken (Li, Chu, Langford and Wang 2011, arXiv 1003.5956, algorithm 2). It
// needs uniform logging over as many actions each time, so that rows agree by
// pure chance, and a candidate that is certain. Propensities that differ are a
// *RowError, for the rows that agree would not be a fair sample.
func Replay(by Customers, agrees []bool, propensity, reward []float64) (Estimate, error) {
	sameLength(len(agrees), len(propensity), len(reward))
	t := NewReplay()
	for i, p := range propensity {
		if err := t.uniform(p, i); err != nil {
			return Estimate{}, err
		}
	}
	return t.over(by, len(agrees), func(i int, r *Row) {
		*r = Row{Propensity: propensity[i], Reward: reward[i]}
		if agrees[i] {
			r.Weight = 1 / propensity[i]
		}
	})
}

// ReplayTotal accumulates Replay from Row.Weight, Propensity and Reward.
type ReplayTotal struct {
	Total
	propensity float64 // of all rows; 0 before the first
}

// NewReplay accumulates Replay.
func NewReplay() *ReplayTotal {
	return &ReplayTotal{Total: Total{kind: "replay", needs: needAgreement | needReward, term: func(r *Row) (x, d float64) {
		if r.Weight == 0 {
			return 0, 0
		}
		return r.Reward, 1
	}}}
}

func (t *ReplayTotal) uniform(p float64, row int) error {
	if !(p > 0 && p <= 1) {
		return rowErrorf(row, "propensity %v: it must be in (0, 1]", p)
	}
	if t.propensity == 0 {
		t.propensity = p
	}
	if math.Abs(p/t.propensity-1) > 1e-9 {
		return rowErrorf(row, "propensity %v where others have %v: replay needs uniform logging over equally many actions", p, t.propensity)
	}
	return nil
}

// Add adds one customer.
func (t *ReplayTotal) Add(customer []Row) {
	for i := range customer {
		if t.bad == nil {
			t.bad = t.uniform(customer[i].Propensity, t.rows+i)
		}
	}
	t.Total.Add(customer)
}

// Merge adds o's customers.
func (t *ReplayTotal) Merge(o Accumulator) {
	from := o.(*ReplayTotal)
	t.Total.Merge(&from.Total)
	if from.propensity != 0 && t.bad == nil {
		t.bad = t.uniform(from.propensity, t.rows-from.rows)
	}
}
