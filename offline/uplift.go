package offline

import (
	"nextbest"
	"nextbest/estimators"
)

// Uplift is what an action adds over doing nothing, on the rows where the logger
// could do either: the mean of the contrast of doubly-robust scores
//
//	Γ_a − Γ_0, Γ_a = q(x, a) + 1{A = a}(r − q(x, a))/μ(a|x)
//
// (Robins, Rotnitzky and Zhao 1994, JASA 89:846; Dudík et al. 2011, arXiv
// 1103.4601, eq. 5). It is an average: an action that adds nothing on average may
// still be best for some.
type Uplift struct {
	Action    string  `json:"action"`
	Rows      int64   `json:"rows"`  // on which either was possible
	Taken     int64   `json:"taken"` // of those, that took the action
	Idle      int64   `json:"idle"`  // of those, that did nothing
	Customers int64   `json:"customers"`
	Lift      *Figure `json:"lift,omitempty"`
	// Problem says why there is no lift.
	Problem string `json:"problem,omitempty"`
}

// fewestTaken is how often an action and doing nothing must each have been taken
// before their difference is shown.
const fewestTaken = 30

// uplift accumulates the contrasts of every action.
type uplift struct {
	lifts       []estimators.Ratio
	sum, rows   []float64 // of the current customer, by action
	open        []int32
	taken, idle []converts
	total       []int64
	customer    uint64 // number of the current one, from 1
}

func newUplift(actions int) *uplift {
	return &uplift{lifts: make([]estimators.Ratio, actions), sum: make([]float64, actions), rows: make([]float64, actions),
		taken: make([]converts, actions), idle: make([]converts, actions), total: make([]int64, actions), customer: 1}
}

// add takes a row: the model's predictions q of the eligible actions and whether
// the logger could take them, by our numbers through local; nothing is
// do-nothing's position among them.
func (u *uplift) add(eligible []uint32, local []int32, q []float64, supported []bool, chosen, nothing int, propensity, reward float64, matched bool) {
	if nothing < 0 || !supported[nothing] {
		return
	}
	correction := (reward - q[chosen]) / propensity
	base := q[nothing]
	if chosen == nothing {
		base += correction
	}
	for k, e := range eligible {
		if k == nothing || !supported[k] {
			continue
		}
		a := local[e]
		lift := q[k] - base
		if k == chosen {
			lift += correction
			u.taken[a].add(u.customer, 1/propensity, matched)
		}
		if chosen == nothing {
			u.idle[a].add(u.customer, 1/propensity, matched)
		}
		if u.rows[a] == 0 {
			u.open = append(u.open, a)
		}
		u.rows[a]++
		u.sum[a] += lift
		u.total[a]++
	}
}

// close ends the current customer.
func (u *uplift) close() {
	for _, a := range u.open {
		u.lifts[a].Add(u.sum[a], u.rows[a])
		u.sum[a], u.rows[a] = 0, 0
	}
	u.open = u.open[:0]
	u.customer++
}

func (u *uplift) merge(o *uplift) {
	for a := range u.lifts {
		u.lifts[a].Merge(&o.lifts[a])
		u.taken[a].merge(&o.taken[a])
		u.idle[a].merge(&o.idle[a])
		u.total[a] += o.total[a]
	}
}

// figures returns every action's lift, in the order of names; with a refusal that
// concerns the whole log, none, and none for an action where too few customers
// converted on either side.
func (u *uplift) figures(names []string, ev evidence, conversions float64, refusals []estimators.Refusal) []Uplift {
	out := []Uplift{}
	for a, name := range names {
		if name == nextbest.DoNothing || u.total[a] == 0 {
			continue
		}
		taken, idle, rows := &u.taken[a], &u.idle[a], float64(u.total[a])
		x := Uplift{Action: name, Rows: u.total[a], Taken: taken.taken, Idle: idle.taken}
		e, err := u.lifts[a].Estimate()
		x.Customers = e.Customers
		switch {
		case len(refusals) > 0:
			x.Problem = refusals[0].Message
		case taken.taken < fewestTaken:
			x.Problem = "it was taken too seldom where doing nothing was possible too: explore for longer"
		case idle.taken < fewestTaken:
			x.Problem = "nothing was done too seldom where it was eligible: give doing nothing a floor"
		case taken.few(conversions, ev.max-ev.min, rows, e.StdErr):
			x.Problem = taken.problem(conversions, "took it")
		case idle.few(conversions, ev.max-ev.min, rows, e.StdErr):
			x.Problem = idle.problem(conversions, "were left alone where it was possible")
		default:
			if x.Lift = ev.figure(e, err); x.Lift == nil {
				x.Problem = problemOf(err)
			}
		}
		out = append(out, x)
	}
	return out
}
