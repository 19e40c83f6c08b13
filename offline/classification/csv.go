package classification

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"

	"nextbest"
	"nextbest/bandit"
)

// Read reads a data set from CSV with a header, gzip or not. The
// label is the named column; y, or no name, stands for the last one where no
// column is called y.
// Every other column is a feature. A cell that is empty, NA, N/A, null or ? is a
// missing value. Errors name the line.
func Read(r io.Reader, label string) (*Set, error) {
	t, err := readTable(r)
	if err != nil {
		return nil, err
	}
	if len(t.header) < 2 {
		return nil, nextbest.Errorf(nextbest.Invalid, "the data set has one column; it needs features and a label, separated by commas")
	}
	if label == "" {
		label = defaultLabel
	}
	at := slices.Index(t.header, label)
	if at < 0 && label == defaultLabel {
		at = len(t.header) - 1
	}
	if at < 0 {
		return nil, nextbest.FieldErrorf("label", "there is no column %q; the columns are %s", label, abbreviated(t.header))
	}
	c := &Set{Name: t.header[at], Features: []string{bandit.Bias}}
	labels := t.column(at)
	for i, l := range labels {
		if missing(l) || strings.EqualFold(l, "nan") {
			return nil, nextbest.FieldErrorf("label", "line %d: column %q is missing; every row needs a label", t.lines[i], c.Name)
		}
		if len(l) > maxLabel {
			return nil, nextbest.FieldErrorf("label", "line %d: column %q has %d bytes; a label has at most %d", t.lines[i], c.Name, len(l), maxLabel)
		}
	}
	if err := c.number(labels); err != nil {
		return nil, err
	}
	for j, name := range t.header {
		if j == at {
			continue
		}
		if err := c.encode(name, t.column(j), t.lines); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// defaultLabel is what the label's column is called unless it is named.
const defaultLabel = "y"

// maxLabel bounds a label's bytes: it is an arm's name.
const maxLabel = 255

// ReadOrder reads an order of n rows from CSV with a header: the named column
// holds each row's number, from 0, once.
func ReadOrder(r io.Reader, column string, n int) ([]int, error) {
	t, err := readTable(r)
	if err != nil {
		return nil, err
	}
	at := slices.Index(t.header, column)
	if at < 0 {
		return nil, nextbest.FieldErrorf("order", "there is no column %q; the columns are %s", column, abbreviated(t.header))
	}
	if len(t.rows) != n {
		return nil, nextbest.FieldErrorf("order", "has %d rows, and the data set %d; it must name each row once", len(t.rows), n)
	}
	order, seen := make([]int, n), make([]bool, n)
	for i, cell := range t.column(at) {
		v, err := strconv.Atoi(cell)
		if err != nil || v < 0 || v >= n {
			return nil, nextbest.FieldErrorf("order", "line %d: %q is not a row; rows are numbered from 0 to %d", t.lines[i], cell, n-1)
		}
		if seen[v] {
			return nil, nextbest.FieldErrorf("order", "line %d: row %d is named twice", t.lines[i], v)
		}
		order[i], seen[v] = v, true
	}
	return order, nil
}

// table is a CSV file.
type table struct {
	header []string
	rows   [][]string
	lines  []int // on which each row begins
}

// column returns the cells of one column, without space around them.
func (t *table) column(j int) []string {
	cells := make([]string, len(t.rows))
	for i, row := range t.rows {
		cells[i] = strings.TrimSpace(row[j])
	}
	return cells
}

// readTable reads a header and rows of equal length; gzip is told by its magic.
func readTable(r io.Reader) (*table, error) {
	buffered := bufio.NewReaderSize(r, 1<<16)
	if magic, err := buffered.Peek(2); err == nil && bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, nextbest.Errorf(nextbest.Invalid, "this is not whole gzip: %w", err)
		}
		defer z.Close()
		buffered = bufio.NewReaderSize(z, 1<<16)
	}
	if mark, err := buffered.Peek(3); err == nil && string(mark) == "\ufeff" {
		_, _ = buffered.Discard(3) // a byte order mark; three bytes were just seen
	}
	t := &table{}
	in := csv.NewReader(buffered)
	for {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		var bad *csv.ParseError
		switch {
		case errors.Is(err, csv.ErrFieldCount):
			line, _ := in.FieldPos(0)
			return nil, nextbest.Errorf(nextbest.Invalid, "line %d has %d cells, and the header names %d columns", line, len(row), len(t.header))
		case errors.As(err, &bad):
			return nil, nextbest.Errorf(nextbest.Invalid, "line %d is not CSV: %w", bad.Line, bad.Err)
		case err != nil:
			return nil, nextbest.Errorf(nextbest.Invalid, "the file ends badly after %d rows: %w", len(t.rows), err)
		case t.header == nil:
			t.header = row
		default:
			line, _ := in.FieldPos(0)
			t.rows, t.lines = append(t.rows, row), append(t.lines, line)
		}
	}
	if len(t.rows) == 0 {
		return nil, nextbest.Errorf(nextbest.Invalid, "the file has no rows; it needs a header and rows")
	}
	for i, name := range t.header {
		if t.header[i] = strings.TrimSpace(name); slices.Contains(t.header[:i], t.header[i]) {
			return nil, nextbest.Errorf(nextbest.Invalid, "the header names %q twice", t.header[i])
		}
	}
	return t, nil
}

func isRange(err error) bool { return errors.Is(err, strconv.ErrRange) }

// abbreviated lists names, the middle left out where there are many.
func abbreviated(names []string) string {
	if len(names) > 12 {
		names = slices.Concat(names[:8], []string{"…"}, names[len(names)-3:])
	}
	return strings.Join(names, ", ")
}
