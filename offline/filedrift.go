package offline

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// driftGroups is the number of groups that customers are hashed to. More would
// use more memory for each action; fewer would cost power (t with 63 degrees of
// freedom for the normal: 7% of z).
const driftGroups = 64

// mostDrifts bounds the actions whose propensities are followed: the first that
// are taken.
const mostDrifts = 1000

// fewestDrift is the fewest rows and groups by which a trend is judged.
const (
	fewestDriftRows   = 30
	fewestDriftGroups = 10
)

// trend is the slope of a value on the order of its rows, with an error by
// customer. A customer's rows have much the same context and so much the same
// propensity, however many they are: as if they were independent, 40 rows of each
// customer made nine fixed loggers of ten look like one that learns.
//
// Whole customers are hashed to groups, which are therefore independent, and the
// slope's error is the jackknife's over groups (CR3: MacKinnon and White 1985,
// Journal of Econometrics 29:305, §2; Bell and McCaffrey 2002, Survey Methodology
// 28:169, for clusters), which errs to the safe side where a few customers have
// most of the rows. Memory is flat and customers may come in any order.
type trend struct {
	groups []driftSums // nil before the first row
	x0, y0 float64     // of the first row: sums are of differences to it
}

// driftSums are sums over rows.
type driftSums struct{ n, x, y, xx, xy, yy float64 }

func (m *driftSums) plus(o *driftSums, sign float64) driftSums {
	return driftSums{m.n + sign*o.n, m.x + sign*o.x, m.y + sign*o.y, m.xx + sign*o.xx, m.xy + sign*o.xy, m.yy + sign*o.yy}
}

// slope is the least-squares slope of y on x, 0 where x does not vary.
func (m *driftSums) slope() float64 {
	if m.n < 2 {
		return 0
	}
	sxx := m.xx - m.x*m.x/m.n
	if !(sxx > 1e-12*m.xx) {
		return 0
	}
	return (m.xy - m.x*m.y/m.n) / sxx
}

// driftGroup returns the group of a customer, or, where customers are not named,
// of a row.
func driftGroup(customer string, row int64) int {
	unit := uint64(row)
	if customer != "" {
		unit = customerHash(customer)
	}
	return int(unit * 0x9e3779b97f4a7c15 >> 32 % driftGroups) // Fibonacci hashing (Knuth, TAOCP 6.4)
}

// add takes the value y of the row x, which belongs to a group.
func (t *trend) add(group int, x, y float64) {
	if t.groups == nil {
		t.groups, t.x0, t.y0 = make([]driftSums, driftGroups), x, y
	}
	x, y = x-t.x0, y-t.y0
	m := &t.groups[group]
	m.n++
	m.x += x
	m.y += y
	m.xx += x * x
	m.xy += x * y
	m.yy += y * y
}

// z is the slope in standard errors, as the normal deviate of the same tail as
// Student's t over the groups has; false where there is too little to tell. A
// value that does not vary has no trend.
func (t *trend) z() (float64, bool) {
	var all driftSums
	groups := 0.0
	for k := range t.groups {
		all = all.plus(&t.groups[k], 1)
		if t.groups[k].n > 0 {
			groups++
		}
	}
	if all.n < fewestDriftRows || groups < fewestDriftGroups {
		return 0, false
	}
	if all.yy-all.y*all.y/all.n <= 1e-18*all.n {
		return 0, true
	}
	slope, squares := all.slope(), 0.0
	for k := range t.groups {
		if t.groups[k].n > 0 {
			rest := all.plus(&t.groups[k], -1)
			d := rest.slope() - slope
			squares += d * d
		}
	}
	se := math.Sqrt(squares * (groups - 1) / groups)
	if slope == 0 {
		return 0, true
	}
	// No double holds a smaller tail than that of 37 standard errors.
	const most = 37
	tail := 0.0
	if se > 0 {
		tail = distuv.StudentsT{Mu: 0, Sigma: 1, Nu: groups - 1}.Survival(math.Abs(slope) / se)
	}
	z := float64(most)
	if tail > 1e-290 {
		z = min(most, -distuv.UnitNormal.Quantile(tail))
	}
	return math.Copysign(z, slope), true
}
