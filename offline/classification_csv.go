package offline

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"

	"nextbest"
	"nextbest/bandit"
)

// ReadClassification reads a data set from CSV with a header, gzip or not. The
// label is the named column, and the last one without a name. Every other
// column is a feature: numbers are standardised by the column's moments (0/1
// columns are left as they are), anything else has a column per level. A value
// that is missing (empty, NA, NaN, null or ?) is the mean, or no level, and is
// told by a column of its own. The first column of X is the bias.
//
// The moments are those of the whole file, as a schema's are those of a log:
// they know the features and nothing of the labels.
func ReadClassification(r io.Reader, label string) (*Classification, error) {
	header, rows, err := readCSV(r)
	if err != nil {
		return nil, err
	}
	if len(header) < 2 {
		return nil, nextbest.Errorf(nextbest.Invalid, "the data set has one column; it needs features and a label, separated by commas")
	}
	if len(rows) == 0 {
		return nil, nextbest.Errorf(nextbest.Invalid, "the data set has a header and no rows")
	}
	at := len(header) - 1
	if label != "" {
		if at = slices.Index(header, label); at < 0 {
			return nil, nextbest.FieldErrorf("label", "there is no column %q; the columns are %s", label, abbreviated(header))
		}
	}
	c := &Classification{Features: []string{bandit.Bias}}
	labels := make([]string, len(rows))
	for i, row := range rows {
		if labels[i] = strings.TrimSpace(row[at]); missing(labels[i]) {
			return nil, nextbest.FieldErrorf("label", "line %d: column %q is empty or missing; every row needs a label", i+2, header[at])
		}
	}
	if err := c.arms(labels); err != nil {
		return nil, err
	}
	var columns [][]float32
	for j, name := range header {
		if j == at {
			continue
		}
		names, encoded, err := encodeColumn(name, rows, j)
		if err != nil {
			return nil, err
		}
		c.Features, columns = append(c.Features, names...), append(columns, encoded...)
	}
	width := len(c.Features)
	x := make([]float32, len(rows)*width)
	c.X = make([][]float32, len(rows))
	for i := range rows {
		c.X[i] = x[i*width : (i+1)*width : (i+1)*width]
		c.X[i][0] = 1
		for j, column := range columns {
			c.X[i][j+1] = column[i]
		}
	}
	return c, nil
}

// ReadOrder reads an order of n rows from CSV with a header: the named column
// holds each row's index, from 0, once.
func ReadOrder(r io.Reader, column string, n int) ([]int, error) {
	header, rows, err := readCSV(r)
	if err != nil {
		return nil, err
	}
	at := slices.Index(header, column)
	if at < 0 && len(header) == 1 && column == "" {
		at = 0
	}
	if at < 0 {
		return nil, nextbest.FieldErrorf("order", "there is no column %q; the columns are %s", column, abbreviated(header))
	}
	if len(rows) != n {
		return nil, nextbest.FieldErrorf("order", "has %d rows, and the data set %d; it must name each row once", len(rows), n)
	}
	order, seen := make([]int, n), make([]bool, n)
	for i, row := range rows {
		v, err := strconv.Atoi(strings.TrimSpace(row[at]))
		if err != nil || v < 0 || v >= n {
			return nil, nextbest.FieldErrorf("order", "line %d: %q is not a row; rows are numbered from 0 to %d", i+2, row[at], n-1)
		}
		if seen[v] {
			return nil, nextbest.FieldErrorf("order", "line %d: row %d is named twice", i+2, v)
		}
		order[i], seen[v] = v, true
	}
	return order, nil
}

// readCSV reads a header and rows of equal length; gzip is told by its magic.
func readCSV(r io.Reader) (header []string, rows [][]string, err error) {
	buffered := bufio.NewReaderSize(r, 1<<16)
	if magic, err := buffered.Peek(2); err == nil && bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, nil, fmt.Errorf("this is not whole gzip: %w", err)
		}
		defer z.Close()
		buffered = bufio.NewReaderSize(z, 1<<16)
	}
	if mark, err := buffered.Peek(3); err == nil && string(mark) == "\ufeff" {
		_, _ = buffered.Discard(3) // a byte order mark; three bytes were just seen
	}
	records, err := csv.NewReader(buffered).ReadAll()
	var bad *csv.ParseError
	if errors.As(err, &bad) {
		return nil, nil, nextbest.Errorf(nextbest.Invalid, "line %d is not CSV like the header: %w", bad.Line, bad.Err)
	}
	if err != nil {
		return nil, nil, err
	}
	if len(records) == 0 {
		return nil, nil, nextbest.Errorf(nextbest.Invalid, "the file is empty; it needs a header and rows")
	}
	header = records[0]
	for i, name := range header {
		if header[i] = strings.TrimSpace(name); slices.Contains(header[:i], header[i]) {
			return nil, nil, nextbest.Errorf(nextbest.Invalid, "the header names %q twice", header[i])
		}
	}
	return header, records[1:], nil
}

// missing reports whether a cell says that there is no value.
func missing(cell string) bool {
	switch strings.ToLower(cell) {
	case "", "na", "n/a", "nan", "null", "none", "?":
		return true
	}
	return false
}

// encodeColumn returns the columns of one feature and their names.
func encodeColumn(name string, rows [][]string, j int) (names []string, columns [][]float32, err error) {
	values, absent := make([]float64, len(rows)), make([]bool, len(rows))
	gaps, number := 0, true
	for i, row := range rows {
		cell := strings.TrimSpace(row[j])
		if absent[i] = missing(cell); absent[i] {
			gaps++
			continue
		}
		if number {
			var err error
			if values[i], err = strconv.ParseFloat(cell, 64); err != nil {
				number = false
			} else if math.IsInf(values[i], 0) || math.Abs(values[i]) > maxFeature {
				return nil, nil, nextbest.FieldErrorf(name, "line %d: %s is too large; a feature lies within ±%g", i+2, cell, maxFeature)
			}
		}
	}
	switch {
	case gaps == len(rows):
		return nil, nil, nil
	case number:
		names, columns = []string{name}, [][]float32{standardised(values, absent)}
		if columns[0] == nil {
			names, columns = nil, nil // a constant, which the bias is already
		}
	default:
		if names, columns, err = oneHot(name, rows, j, absent); err != nil {
			return nil, nil, err
		}
	}
	if gaps > 0 {
		column := make([]float32, len(rows))
		for i, a := range absent {
			if a {
				column[i] = 1
			}
		}
		names, columns = append(names, name+":missing"), append(columns, column)
	}
	return names, columns, nil
}

// maxFeature bounds a number in a data set, so that no square overflows.
const maxFeature = 1e30

// standardised returns (value − mean)/sd, and 0 where there is none; 0/1
// columns as they are; nil for a constant.
func standardised(values []float64, absent []bool) []float32 {
	var n, mean, squares float64
	binary := true
	for i, v := range values {
		if absent[i] {
			continue
		}
		binary = binary && (v == 0 || v == 1)
		n++
		d := v - mean
		mean += d / n
		squares += d * (v - mean)
	}
	sd := math.Sqrt(squares / n)
	if !(sd > 1e-12*math.Abs(mean)) {
		return nil
	}
	if binary {
		mean, sd = 0, 1
	}
	column := make([]float32, len(values))
	for i, v := range values {
		if !absent[i] {
			column[i] = float32((v - mean) / sd)
		}
	}
	return column
}

// oneHot returns a column for each level.
func oneHot(name string, rows [][]string, j int, absent []bool) (names []string, columns [][]float32, err error) {
	at := map[string]int{}
	for i, row := range rows {
		level := strings.TrimSpace(row[j])
		if absent[i] {
			continue
		}
		k, known := at[level]
		if !known {
			if k = len(names); k == maxLevels {
				return nil, nil, nextbest.FieldErrorf(name, "has more than %d levels that are not numbers (line %d: %q); leave the column out, or group its levels", maxLevels, i+2, level)
			}
			at[level] = k
			names, columns = append(names, name+"="+level), append(columns, make([]float32, len(rows)))
		}
		columns[k][i] = 1
	}
	return names, columns, nil
}

// maxLevels bounds the levels of one column.
const maxLevels = 256

// abbreviated lists names, the middle left out where there are many.
func abbreviated(names []string) string {
	if len(names) > 12 {
		names = slices.Concat(names[:8], []string{"…"}, names[len(names)-3:])
	}
	return strings.Join(names, ", ")
}
