package offline

import (
	"time"

	"nextbest/estimators"
)

// dayMicros is a day in microseconds; days are those of UTC.
const dayMicros = int64(24 * time.Hour / time.Microsecond)

// days sums one policy's rows by day.
type days struct {
	first int64 // day number of sums[0]
	sums  []daySum
}

type daySum struct{ rows, reward, weighted, robust float64 }

// add takes a row; μs is its time.
func (d *days) add(μs int64, r *estimators.Row) {
	k := floorDay(μs) - d.first
	if k < 0 {
		return // earlier than the first pass saw: the log has changed, and Run says so
	}
	for k >= int64(len(d.sums)) {
		d.sums = append(d.sums, daySum{})
	}
	s := &d.sums[k]
	s.rows++
	s.reward += r.Reward
	s.weighted += r.Weight * r.Reward
	s.robust += r.QPolicy + r.Weight*(r.Reward-r.Q)
}

func (d *days) merge(o *days) {
	for len(d.sums) < len(o.sums) {
		d.sums = append(d.sums, daySum{})
	}
	for k, s := range o.sums {
		to := &d.sums[k]
		to.rows += s.rows
		to.reward += s.reward
		to.weighted += s.weighted
		to.robust += s.robust
	}
}

// mostDays bounds the points of a report's curve: of a longer log it has every
// second day, or every third, and the last.
const mostDays = 120

// Day is the log up to the end of one day.
type Day struct {
	Day    string  `json:"day"`    // of UTC
	Rows   int64   `json:"rows"`   // since the day before it in the report
	Logged float64 `json:"logged"` // mean reward of all rows so far
	IPS    float64 `json:"ips"`    // of all rows so far
	DR     float64 `json:"dr"`
}

// cumulative returns the values of all rows up to each day that has any, at
// most mostDays of them.
func (d *days) cumulative() []Day {
	out := []Day{}
	every := (len(d.sums) + mostDays - 1) / mostDays
	var all daySum
	told := 0.0
	for k, s := range d.sums {
		all.rows += s.rows
		all.reward += s.reward
		all.weighted += s.weighted
		all.robust += s.robust
		if all.rows == told || (len(d.sums)-1-k)%every != 0 {
			continue
		}
		out = append(out, Day{Day: dayName(d.first + int64(k)), Rows: int64(all.rows - told),
			Logged: all.reward / all.rows, IPS: all.weighted / all.rows, DR: all.robust / all.rows})
		told = all.rows
	}
	return out
}

// dayName writes a day as a date of UTC.
func dayName(day int64) string { return time.UnixMicro(day * dayMicros).UTC().Format(time.DateOnly) }

func floorDay(μs int64) int64 {
	d := μs / dayMicros
	if μs%dayMicros < 0 {
		d--
	}
	return d
}
