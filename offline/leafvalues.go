package offline

import (
	"math"

	"nextbest/estimators"
)

// leafValues are the mean of a score and of its difference to another, by
// customer; rows where either is not possible are left out of the difference.
type leafValues struct {
	rows           int
	customer       uint64
	open           bool
	sum, n         float64
	gap, gaps      float64
	value, against estimators.Ratio

	own, idle, single converts // who had the leaf's action, nothing, the best single action
}

func (v *leafValues) add(customer uint64, score, other float64) {
	if v.open && customer != v.customer {
		v.close()
	}
	v.open, v.customer = true, customer
	v.rows++
	if math.IsNaN(score) {
		return
	}
	v.sum += score
	v.n++
	if !math.IsNaN(other) {
		v.gap += score - other
		v.gaps++
	}
}

// row takes a row that had the action, or nothing where the action was not
// possible: its score is nothing's there.
func (c *converts) row(r *treeRow, action, nothing int) {
	taken := int(r.taken)
	if action >= 0 && (taken == action || taken == nothing && r.scores[action] == r.scores[nothing]) {
		c.add(r.customer, r.weight, r.matched)
	}
}

func (v *leafValues) close() {
	if v.n > 0 {
		v.value.Add(v.sum, v.n)
	}
	if v.gaps > 0 {
		v.against.Add(v.gap, v.gaps)
	}
	v.sum, v.n, v.gap, v.gaps = 0, 0, 0, 0
}

// sides are those on which a mean rests.
type sides []*converts

// figure returns the mean, none where too few customers converted on a side.
func (s sides) figure(mean *estimators.Ratio, ev evidence, conversions float64) *Figure {
	e, err := mean.Estimate()
	_, rows := mean.Sums()
	for _, c := range s {
		if c.few(conversions, ev.max-ev.min, rows, e.StdErr) {
			return nil
		}
	}
	return ev.figure(e, err)
}
