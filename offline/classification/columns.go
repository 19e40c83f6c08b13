package classification

import (
	"math"
	"strconv"
	"strings"

	"nextbest"
	"nextbest/bandit"
)

// column is one column of a data set: numbers, or levels.
type column struct {
	at      int       // its first feature
	numbers []float64 // of each row, NaN where there is none; nil for levels
	flag    bool      // numbers are all 0 or 1: encoded as they are
	levels  []int32   // of each row, −1 where there is none
	gap     int       // feature that says that a value is missing; 0: none is
}

// encode adds a column of cells to the data set. Where every cell that is not
// missing is a number the column holds numbers, else levels; a column of nearly
// all numbers has a mistake in it. A column without two different cells says
// nothing and is left out.
func (c *Set) encode(name string, cells []string, lines []int) error {
	var gaps, notNumbers, distinct, word int
	values := make([]float64, len(cells))
	for i, cell := range cells {
		if cell != cells[0] {
			distinct++
		}
		if missing(cell) {
			gaps++
			values[i] = math.NaN()
			continue
		}
		v, err := strconv.ParseFloat(cell, 64)
		if err != nil && !isRange(err) {
			notNumbers++
			word = i
		}
		if values[i] = v; v != v {
			values[i] = math.Inf(1) // refused below if this is a column of numbers
		}
	}
	if distinct == 0 {
		return nil
	}
	col := column{at: len(c.Features)}
	if notNumbers == 0 {
		col.numbers, col.flag = values, true
		for i, v := range values {
			if math.Abs(v) > maxFeature {
				return nextbest.FieldErrorf(name, "line %d: %s is no feature; numbers lie within ±%g, and the cell of a missing one is empty", lines[i], cells[i], maxFeature)
			}
			col.flag = col.flag && (v == 0 || v == 1 || v != v)
		}
		c.Features = append(c.Features, name)
	} else if numbers := len(cells) - gaps - notNumbers; notNumbers*mistaken < numbers {
		return nextbest.FieldErrorf(name, "line %d: %q stands among %d numbers; correct it, or leave the cell empty if the value is missing", lines[word], cells[word], numbers)
	} else if err := c.levels(&col, name, cells, lines); err != nil {
		return err
	}
	if gaps > 0 {
		col.gap = len(c.Features)
		c.Features = append(c.Features, name+":missing")
	}
	c.columns = append(c.columns, col)
	return nil
}

// levels gives each level of a column a feature, in order of appearance.
func (c *Set) levels(col *column, name string, cells []string, lines []int) error {
	col.levels = make([]int32, len(cells))
	known := map[string]int32{}
	for i, cell := range cells {
		if missing(cell) {
			col.levels[i] = -1
			continue
		}
		k, ok := known[cell]
		if !ok {
			if k = int32(len(known)); k == maxLevels {
				return nextbest.FieldErrorf(name, "has more than %d levels that are not numbers (line %d: %q); leave the column out, or group its levels", maxLevels, lines[i], cell)
			}
			known[cell] = k
			c.Features = append(c.Features, name+"="+cell)
		}
		col.levels[i] = k
	}
	return nil
}

// mistaken is how many times as many numbers as words a column must hold for its
// words to be mistakes rather than levels.
const mistaken = 20

// maxFeature bounds a number in a data set, so that no square overflows.
const maxFeature = 1e30

// maxLevels bounds the levels of one column.
const maxLevels = 1000

// missing reports whether a cell says that there is no value.
func missing(cell string) bool {
	switch strings.ToLower(cell) {
	case "", "na", "n/a", "null", "?":
		return true
	}
	return false
}

// encoder turns rows into vectors: the bias 1; numbers as (value − mean)/sd,
// cut at ±maxDeviation, and 0 where there is no value or no spread yet; a column
// of 0 and 1 for each level and each kind of gap.
type encoder struct {
	c        *Set
	x        []float32
	width    int       // features that the policy sees
	mean, sd []float64 // beside the columns
}

func newEncoder(c *Set, spec bandit.Spec) *encoder {
	width := len(c.Features)
	if spec.ContextFree() {
		width = 1
	}
	return &encoder{c: c, width: width, x: make([]float32, width), mean: make([]float64, len(c.columns)), sd: make([]float64, len(c.columns))}
}

// maxDeviation bounds a standardised number, which the moments of few rows may
// otherwise put anywhere.
const maxDeviation = 10

// encode returns a row's vector, which is the encoder's until the next call.
func (e *encoder) encode(row int) []float32 {
	clear(e.x)
	e.x[0] = 1
	if e.width == 1 {
		return e.x
	}
	for i := range e.c.columns {
		col := &e.c.columns[i]
		switch {
		case col.numbers != nil:
			v := col.numbers[row]
			switch {
			case v != v:
				e.x[col.gap] = 1
			case col.flag:
				e.x[col.at] = float32(v)
			case e.sd[i] > 0:
				e.x[col.at] = float32(min(max((v-e.mean[i])/e.sd[i], -maxDeviation), maxDeviation))
			}
		case col.levels[row] < 0:
			e.x[col.gap] = 1
		default:
			e.x[col.at+int(col.levels[row])] = 1
		}
	}
	return e.x
}

// moments takes the moments of the given rows; it reports whether any column
// is encoded by them.
func (e *encoder) moments(rows []int) bool {
	if e.width == 1 {
		return false
	}
	any := false
	for i := range e.c.columns {
		col := &e.c.columns[i]
		if col.numbers == nil || col.flag {
			continue
		}
		any = true
		var n, mean, squares float64
		for _, row := range rows {
			if v := col.numbers[row]; v == v {
				n++
				d := v - mean
				mean += d / n
				squares += d * (v - mean)
			}
		}
		e.mean[i], e.sd[i] = mean, 0
		if sd := math.Sqrt(squares / max(n, 1)); sd > 1e-12*math.Abs(mean) {
			e.sd[i] = sd
		}
	}
	return any
}
