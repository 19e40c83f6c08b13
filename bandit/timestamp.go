package bandit

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // time zones where the system has none

	"nextbest"
)

// calendar is one part of a time as a position 0 … n−1 on a circle.
type calendar struct {
	n     int
	of    func(time.Time) int
	level func(i int) string // name of a position
	// unit holds sin and cos of 2π·i/n for every position.
	unit [][2]float32
}

// timestampParts are the parts of the calendar. With the cyclic encoding, which
// is the default, a part is the two columns sin and cos of 2π·position/n, so that
// 23:59 is next to 0:00; with one_hot it is a column for each position. A part is
// a whole number: 14:59 is hour 14. Hours count from 0, days of the month and
// months from 1; the week begins on Monday. The day's circle has 31 positions.
var timestampParts = map[string]*calendar{
	"hour":    newCalendar(24, func(t time.Time) int { return t.Hour() }, strconv.Itoa),
	"weekday": newCalendar(7, func(t time.Time) int { return (int(t.Weekday()) + 6) % 7 }, func(i int) string { return weekdays[i] }),
	"day":     newCalendar(31, func(t time.Time) int { return t.Day() - 1 }, func(i int) string { return strconv.Itoa(i + 1) }),
	"month":   newCalendar(12, func(t time.Time) int { return int(t.Month()) - 1 }, func(i int) string { return strconv.Itoa(i + 1) }),
}

var weekdays = [7]string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}

// ageDays is the part that is the time from the value to the decision in days
// of 24 hours, standardised by the feature's mean, sd and clip.
const ageDays = "age_days"

func newCalendar(n int, of func(time.Time) int, level func(int) string) *calendar {
	c := &calendar{n: n, of: of, level: level, unit: make([][2]float32, n)}
	for i := range n {
		sin, cos := math.Sincos(2 * math.Pi * float64(i) / float64(n))
		c.unit[i] = [2]float32{float32(sin), float32(cos)}
	}
	return c
}

func partNames() string { return "hour, weekday, day, month and " + ageDays }

func (f *feature) checkTimestamp(path string, has map[string]bool, problems *nextbest.Problems) {
	if len(f.parts) == 0 {
		problems.Add(path+".parts", "must list at least one of %s", partNames())
	}
	for i, p := range f.parts {
		if timestampParts[p] == nil && p != ageDays {
			problems.Add(path+".parts["+strconv.Itoa(i)+"]", "%q is not a part; there are %s", p, partNames())
		}
	}
	for _, name := range []string{"mean", "sd", "clip"} {
		if has[name] && !slices.Contains(f.parts, ageDays) {
			problems.Add(path+"."+name, "belongs to the part %s", ageDays)
		}
	}
}

func (f *feature) appendPartNames(names []string) []string {
	for _, part := range f.parts {
		c := timestampParts[part]
		switch at := f.name + ":" + part; {
		case c == nil:
			names = append(names, at)
		case f.oneHot:
			for i := range c.n {
				names = append(names, at+"="+c.level(i))
			}
		default:
			names = append(names, at+":sin", at+":cos")
		}
	}
	return names
}

// partWidth returns the number of a part's columns.
func (f *feature) partWidth(part string) int {
	switch c := timestampParts[part]; {
	case c == nil:
		return 1
	case f.oneHot:
		return c.n
	default:
		return 2
	}
}

// encodeTime writes the parts of a moment, both times in microseconds since the
// Unix epoch.
func (f *feature) encodeTime(columns []float32, moment, now int64, problems *nextbest.Problems) {
	local := time.UnixMicro(moment).In(f.zone)
	for _, part := range f.parts {
		c := timestampParts[part]
		if c == nil {
			f.encodeNumber(columns, age(moment, now), problems)
			columns = columns[1:]
			continue
		}
		i := c.of(local)
		if f.oneHot {
			columns[i] = 1
			columns = columns[c.n:]
		} else {
			columns[0], columns[1] = c.unit[i][0], c.unit[i][1]
			columns = columns[2:]
		}
	}
}

// age returns the days of 24 hours from a moment until now.
func age(moment, now int64) float64 { return float64(now-moment) / 86400e6 }

// Times outside the years 1 to 9999 are refused; a number of milliseconds is
// such a time.
var firstMoment, lastMoment = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro(), time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC).UnixMicro()

// moment returns a value's time in microseconds since the Unix epoch, rounded
// down: an RFC 3339 string or a number of seconds. why says what is wrong with
// one that is refused.
func moment(v any) (micro int64, why string) {
	if s, ok := v.(string); ok {
		t, ok := parseTime(s)
		if !ok {
			return 0, "is not a time as RFC 3339 writes it, such as 2026-11-23T14:05:00Z or 2026-11-23T15:05:00+01:00"
		}
		micro = t
	} else if x, ok := number(v); !ok {
		return 0, "must be an RFC 3339 string or a number of seconds since 1970"
	} else if x = math.Floor(float64(x * 1e6)); !(math.Abs(x) < 1<<62) {
		return 0, "is not a number of seconds since 1970 within the years 1 to 9999"
	} else {
		micro = int64(x)
	}
	if micro < firstMoment || micro > lastMoment {
		return 0, "lies outside the years 1 to 9999; a number counts seconds, not milliseconds"
	}
	return micro, ""
}

// parseTime reads an RFC 3339 time as time.Time.UnmarshalText does, without
// allocating.
func parseTime(s string) (micro int64, ok bool) {
	if len(s) < len("2006-01-02T15:04:05Z") || s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':' {
		return 0, false
	}
	year, ok0 := digits(s[0:4])
	month, ok1 := digits(s[5:7])
	day, ok2 := digits(s[8:10])
	hour, ok3 := digits(s[11:13])
	minute, ok4 := digits(s[14:16])
	second, ok5 := digits(s[17:19])
	if !(ok0 && ok1 && ok2 && ok3 && ok4 && ok5) || hour > 23 || minute > 59 || second > 59 {
		return 0, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	if int(t.Month()) != month || t.Day() != day {
		return 0, false // 30 February
	}
	micro, s = t.UnixMicro(), s[19:]
	if s[0] == '.' {
		n := 1
		for unit := int64(100000); n < len(s) && '0' <= s[n] && s[n] <= '9'; n++ {
			micro += unit * int64(s[n]-'0')
			unit /= 10
		}
		if n == 1 {
			return 0, false
		}
		s = s[n:]
	}
	if s == "Z" {
		return micro, true
	}
	if len(s) != len("+01:00") || s[3] != ':' || !strings.Contains("+-", s[:1]) {
		return 0, false
	}
	hour, ok0 = digits(s[1:3])
	minute, ok1 = digits(s[4:6])
	if !ok0 || !ok1 || hour > 23 || minute > 59 {
		return 0, false
	}
	ahead := int64(hour*3600+minute*60) * 1e6
	if s[0] == '-' {
		ahead = -ahead
	}
	return micro - ahead, true
}

func digits(s string) (n int, ok bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = 10*n + int(s[i]-'0')
	}
	return n, true
}
