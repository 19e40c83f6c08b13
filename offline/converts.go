package offline

import (
	"fmt"
	"math"
)

// converts counts the customers of one side of a comparison, such as those who
// had an action beside those who were left alone, that converted. The standard
// error knows a side only by them: where a seldom taken action has two, each with
// a large weight, a normal interval covers .8, however many the other side has.
type converts struct {
	taken     int64
	customers int64   // that converted
	largest   float64 // Σ of the weights of a customer's rows

	open   uint64  // the current customer
	weight float64 // its Σ so far
	last   uint64  // customer that was counted last
}

// add takes a row of the side with its weight. The customer is any number but 0;
// a customer's rows follow one another.
func (c *converts) add(customer uint64, weight float64, matched bool) {
	c.taken++
	if c.open != customer {
		c.open, c.weight = customer, 0
	}
	c.weight += weight
	c.largest = max(c.largest, c.weight)
	if matched && c.last != customer {
		c.last = customer
		c.customers++
	}
}

func (c *converts) merge(o *converts) {
	c.taken += o.taken
	c.customers += o.customers
	c.largest = max(c.largest, o.largest)
}

// few reports whether a normal interval with this standard error of a mean over so
// many rows knows too little of the side: fewer converting customers than are
// needed, of which one more would move the mean by more than so many equal ones
// do (reach is the range of rewards). A side whose weights are small beside the
// other's may have few.
func (c *converts) few(conversions, reach, rows, se float64) bool {
	if float64(c.customers) >= conversions {
		return false
	}
	return c.taken == 0 || !(c.largest*reach <= se*rows/math.Sqrt(conversions))
}

// problem says what few means for a side.
func (c *converts) problem(conversions float64, side string) string {
	return fmt.Sprintf("only %d customers that %s converted (at least %.0f needed): an interval would cover too little; log for longer, explore more, or use a more frequent reward", c.customers, side, conversions)
}
