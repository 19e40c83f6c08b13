package offline

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/gzip"

	"nextbest"
)

// csvLog reads a CSV file with a header line, compressed or not. Lists are JSON
// arrays.
type csvLog struct {
	path   string
	header []string
}

func openCSVLog(path string) (*csvLog, error) {
	l := &csvLog{path: path}
	err := l.lines(func(r *csv.Reader) error {
		header, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nextbest.FieldErrorf("file", "%s is empty: it needs a header line with the columns' names", filepath.Base(path))
		}
		for i, name := range header {
			header[i] = strings.TrimSpace(strings.TrimPrefix(name, "\ufeff"))
		}
		l.header = append(l.header, header...)
		if err != nil {
			return err
		}
		return l.readable()
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// separators are what some write between cells instead of commas.
var separators = []struct{ sign, name string }{{";", "semicolons"}, {"\t", "tabs"}, {"|", "bars"}}

// readable refuses a header that is not of text or not separated by commas.
func (l *csvLog) readable() error {
	for _, name := range l.header {
		if !utf8.ValidString(name) || strings.Contains(name, "\x00") {
			return l.notUnicode(1)
		}
	}
	if len(l.header) != 1 {
		return nil
	}
	for _, s := range separators {
		if strings.Contains(l.header[0], s.sign) {
			return nextbest.FieldErrorf("file", "%s seems to be separated by %s: separate cells by commas, with a point in numbers and quotes around cells with commas of their own", filepath.Base(l.path), s.name)
		}
	}
	return nil
}

func (l *csvLog) notUnicode(line int) error {
	return nextbest.FieldErrorf("file", "%s, line %d: the text is not in UTF-8: save or convert the file as UTF-8", filepath.Base(l.path), line)
}

// lines opens the file for f.
func (l *csvLog) lines(f func(r *csv.Reader) error) error {
	file, err := openSource(l.path)
	if err != nil {
		return err
	}
	defer file.Close()
	var in io.Reader = file
	if strings.HasSuffix(strings.ToLower(l.path), ".gz") {
		z, err := gzip.NewReader(file)
		if err != nil {
			return nextbest.FieldErrorf("file", "%s is not compressed by gzip, or is damaged or incomplete (%v): write or copy it again", filepath.Base(l.path), err)
		}
		defer z.Close()
		in = z
	}
	r := csv.NewReader(in)
	r.ReuseRecord = true
	err = f(r)
	var syntax *csv.ParseError
	switch {
	case errors.As(err, &syntax):
		return nextbest.FieldErrorf("file", "%s, line %d: %v; every line needs the header's cells, separated by commas, and quotes around those with commas of their own", filepath.Base(l.path), syntax.Line, syntax.Err)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader):
		return nextbest.FieldErrorf("file", "%s is damaged or incomplete (%v): write or copy it again", filepath.Base(l.path), err)
	}
	return err
}

func (l *csvLog) close() error { return nil }

func (l *csvLog) schema() fileSchema {
	var s fileSchema
	for _, name := range l.header {
		s = append(s, fileColumn{name: name, kind: "text"})
	}
	return s
}

// read streams the file; see logFile.
func (l *csvLog) read(ctx context.Context, columns map[string]fileColumn, f func(*filePiece) error) error {
	at := map[string]int{}
	for field, c := range columns {
		for k, name := range l.header {
			if name == c.name {
				at[field] = k
			}
		}
	}
	return l.lines(func(r *csv.Reader) error {
		if _, err := r.Read(); err != nil { // the header
			return err
		}
		p := &filePiece{numbers: map[string][]float64{}}
		flush := func() error {
			if p.n == 0 {
				return nil
			}
			p.fill()
			if err := f(p); err != nil {
				return err
			}
			*p = filePiece{first: p.first + int64(p.n), numbers: map[string][]float64{}}
			return ctx.Err()
		}
		for {
			record, err := r.Read()
			if errors.Is(err, io.EOF) {
				return flush()
			}
			if err != nil {
				return err
			}
			line, _ := r.FieldPos(0)
			for _, k := range at {
				if !utf8.ValidString(record[k]) {
					return l.notUnicode(line)
				}
			}
			p.lines = append(p.lines, line)
			p.text(record, at)
			if p.n == pieceRows {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	})
}

// text adds a row of text.
func (p *filePiece) text(record []string, at map[string]int) {
	for field, k := range at {
		cell := strings.TrimSpace(record[k])
		switch field {
		case fieldAction:
			p.actions = append(p.actions, strings.Clone(cell))
		case fieldCustomer:
			p.customers = append(p.customers, strings.Clone(cell))
		case fieldEvaluations:
			p.evaluations.parse(cell)
		case fieldPredictions:
			p.predictions.parse(cell)
		case fieldLogged:
			p.logged.parse(cell)
		default:
			p.numbers[field] = append(p.numbers[field], parseNumber(cell))
		}
	}
	p.n++
}

// parse adds a row's JSON array, an empty list where it is none.
func (l *fileLists) parse(cell string) {
	if len(l.offsets) == 0 {
		l.offsets = append(l.offsets, 0)
	}
	var row []*float64
	if json.Unmarshal([]byte(cell), &row) == nil {
		for _, v := range row {
			if v == nil {
				l.values = append(l.values, math.NaN())
			} else {
				l.values = append(l.values, *v)
			}
		}
	} else {
		l.values = append(l.values, endless(cell)...)
	}
	l.offsets = append(l.offsets, len(l.values))
}

// endless reads a list that is no JSON for a NaN or an Infinity in it, which JSON
// has not and many programs write; nil where that is not what is wrong. The rules
// for single values then say of which kind it is.
func endless(cell string) []float64 {
	inside, opened := strings.CutPrefix(cell, "[")
	inside, closed := strings.CutSuffix(inside, "]")
	if !opened || !closed {
		return nil
	}
	var out []float64
	whole := true
	for _, text := range strings.Split(inside, ",") {
		v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil {
			return nil
		}
		out, whole = append(out, v), whole && finite(v)
	}
	if whole {
		return nil
	}
	return out
}

func parseNumber(cell string) float64 {
	switch strings.ToLower(cell) {
	case "true":
		return 1
	case "false":
		return 0
	}
	v, err := strconv.ParseFloat(cell, 64)
	if err != nil {
		return math.NaN()
	}
	return v
}
