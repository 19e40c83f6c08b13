package estimators

import "fmt"

// Customers says which rows belong together: customer c has the rows
// [by[c], by[c+1]). Its first entry is 0 and its last the number of rows. Nil
// makes every row a customer of its own.
type Customers []int

// GroupRows returns the Customers of rows that come ordered by customer.
// A customer whose rows are not consecutive is a *RowError, for its rows would
// be counted as independent.
func GroupRows[C comparable](customer []C) (Customers, error) {
	by := make(Customers, 1, len(customer)+1)
	seen := make(map[C]bool)
	for i, c := range customer {
		if i > 0 && c == customer[i-1] {
			continue
		}
		if seen[c] {
			return nil, rowErrorf(i, "customer %v comes again after other customers: order the rows by customer", c)
		}
		seen[c] = true
		if i > 0 {
			by = append(by, i)
		}
	}
	if len(customer) > 0 {
		by = append(by, len(customer))
	}
	return by, nil
}

// each calls f with the rows of every customer.
func (by Customers) each(rows int, f func(lo, hi int)) {
	if by == nil {
		for i := range rows {
			f(i, i+1)
		}
		return
	}
	if rows != 0 && (len(by) == 0 || by[len(by)-1] != rows) {
		panic(fmt.Sprintf("estimators: customers do not cover %d rows", rows))
	}
	for c := 1; c < len(by); c++ {
		f(by[c-1], by[c])
	}
}

// Row is what one logged row contributes.
type Row struct {
	Weight float64 // w = π/μ of the logged action; 0 where μ is below the support threshold
	Reward float64
	// Support is the candidate's mass on supported actions, Σ_a π 1{μ ≥ τ}: what
	// the weight is on average. 1 under full support.
	Support float64
	Q       float64 // q(x, a) of the logged action
	QPolicy float64 // q_π(x)
	Matched bool    // a reward that counts followed

	// What some estimators need beyond that; see Catalogue.
	Propensity float64 // μ of the logged action
	Cluster    float64 // w(x, e), see ClusterWeights; e is the action's embedding or cluster
	Mixture    float64 // π/Σ_k s_k μ_k, see BalancedWeights
	Stability  float64 // h of an adaptive log, see StabilityWeight
	Slots      []Slot  // a list's slots, the first first
}

// Slot is one position of a logged list.
type Slot struct {
	Weight   float64 // π/μ of the slot's action given those above it
	Marginal float64 // π/μ of the action's marginal probabilities at this slot
	Reward   float64
	Q        float64 // Q_l(x, a_1..a_l): the rewards from this slot on, predicted
	QPolicy  float64 // Σ_a π(a|x, a_1..a_l−1) Q_l(x, a_1..a)
}

// Customer is the sum of one customer's rows: what every accumulator takes.
// Begin a customer with the zero value.
type Customer struct {
	Rows           float64
	Weight         float64 // Σw
	Support        float64 // Σ of the supported mass
	WeightedReward float64 // Σwr
	Reward         float64 // Σr
	Model          float64 // Σq_π
	Logged         float64 // Σq(x, a)
	Correction     float64 // Σw(r − q)
	MaxWeight      float64
	MaxShare       float64 // max |wr| of a row
	AbsShare       float64 // Σ|wr|
	Conversion     float64 // largest min(w, 1) among rows with a matched reward
}

// Add adds one row.
func (c *Customer) Add(r *Row) {
	c.Rows++
	c.Weight += r.Weight
	c.Support += r.Support
	wr := r.Weight * r.Reward
	c.WeightedReward += wr
	c.Reward += r.Reward
	c.Model += r.QPolicy
	c.Logged += r.Q
	c.Correction += r.Weight * (r.Reward - r.Q)
	c.MaxWeight = max(c.MaxWeight, r.Weight)
	share := max(wr, -wr)
	c.MaxShare = max(c.MaxShare, share)
	c.AbsShare += share
	if r.Matched {
		c.Conversion = max(c.Conversion, min(r.Weight, 1))
	}
}
