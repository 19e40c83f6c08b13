package offline

import "fmt"

// mostRowShare is the share of all rows from which one customer's are worth a
// warning: the bounds by betting and by empirical likelihood are for customers as
// active as the log's, and where one has so many rows, others may come with more.
// Of 300 customers with Pareto tails of index 1.3 and 1.1, of whose populations a
// bound of error .05 misses in up to .07 and .09, the median share is .11 and .16;
// with an index of 2, where it misses in .003, it is .04.
const mostRowShare = 0.05

// warnOfMostRows says where activity is so uneven that the gate speaks of these
// customers alone.
func (j *judge) warnOfMostRows(r *Result, t *tally) {
	if share := t.gapLow.MostRows() / float64(r.Diagnostics.Rows); share > mostRowShare && float64(r.Diagnostics.Customers) > 1/mostRowShare {
		r.Warnings = append(r.Warnings, fmt.Sprintf("one customer has %.0f%% of the rows: the gate and the intervals are for customers as active as these, and not for a population where rarer ones are busier still", 100*share))
	}
}
