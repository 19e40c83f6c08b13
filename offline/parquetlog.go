package offline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sort"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"nextbest"
)

// parquetLog reads a Parquet file, a few thousand rows at a time and only the
// columns that are used.
type parquetLog struct {
	name   string
	file   *file.Reader
	reader *pqarrow.FileReader
	arrow  *arrow.Schema
}

func openParquetLog(path string) (l *parquetLog, err error) {
	name := filepath.Base(path)
	defer unreadable(name, &err)
	props := parquet.NewReaderProperties(memory.DefaultAllocator)
	props.BufferedStreamEnabled = true
	f, err := file.OpenParquetFile(path, false, file.WithReadProps(props))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	r, err := pqarrow.NewFileReader(f, pqarrow.ArrowReadProperties{BatchSize: pieceRows}, memory.DefaultAllocator)
	if err == nil {
		l = &parquetLog{name: name, file: f, reader: r}
		l.arrow, err = r.Schema()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), f.Close())
	}
	return l, nil
}

// unreadable turns a panic of the reader, which broken files provoke, into an
// error.
func unreadable(name string, err *error) {
	if v := recover(); v != nil {
		*err = nextbest.FieldErrorf("file", "%s is damaged or not a Parquet file: %v", name, v)
	}
}

func (l *parquetLog) close() error { return l.file.Close() }

func (l *parquetLog) schema() fileSchema {
	var s fileSchema
	for _, f := range l.arrow.Fields() {
		s = append(s, fileColumn{name: f.Name, kind: f.Type.String(), single: isSingle(f.Type)})
	}
	return s
}

// read streams the file; see logFile.
func (l *parquetLog) read(ctx context.Context, columns map[string]fileColumn, f func(*filePiece) error) (err error) {
	defer unreadable(l.name, &err)
	if l.file.NumRows() == 0 {
		return nil
	}
	leaves, err := l.leaves(columns)
	if err != nil {
		return err
	}
	records, err := l.reader.GetRecordReader(ctx, leaves, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", l.name, err)
	}
	defer records.Release()
	var done int64
	for {
		record, err := records.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("%s, near row %d: %w", l.name, done, err)
		}
		p, err := pieceOf(record, columns)
		if err != nil {
			return err
		}
		p.first = done
		done += int64(p.n)
		if err := f(p); err != nil {
			return err
		}
	}
	if done != l.file.NumRows() {
		return nextbest.FieldErrorf("file", "%s holds %d rows where it says %d: it is damaged", l.name, done, l.file.NumRows())
	}
	return nil
}

// leaves returns the indices of the columns' stored leaves.
func (l *parquetLog) leaves(columns map[string]fileColumn) ([]int, error) {
	var out []int
	for _, c := range columns {
		at := l.arrow.FieldIndices(c.name)
		if len(at) != 1 {
			return nil, nextbest.FieldErrorf("file", "%s has %d columns called %q", l.name, len(at), c.name)
		}
		var walk func(f *pqarrow.SchemaField)
		walk = func(f *pqarrow.SchemaField) {
			if f.IsLeaf() {
				out = append(out, f.ColIndex)
			}
			for i := range f.Children {
				walk(&f.Children[i])
			}
		}
		walk(&l.reader.Manifest.Fields[at[0]])
	}
	sort.Ints(out)
	return out, nil
}

// pieceOf converts one batch of rows.
func pieceOf(record arrow.RecordBatch, columns map[string]fileColumn) (*filePiece, error) {
	p := &filePiece{n: int(record.NumRows()), numbers: map[string][]float64{}}
	var wrong nextbest.Problems
	for field, c := range columns {
		at := record.Schema().FieldIndices(c.name)
		a := record.Column(at[0])
		var err error
		switch field {
		case fieldAction:
			if p.actions, err = textOf(a, false); err == nil && p.actions == nil {
				p.numbers[field], err = numbersOf(a)
			}
		case fieldCustomer:
			p.customers, err = textOf(a, true)
		case fieldEvaluations:
			p.evaluations, err = listsOf(a)
		case fieldPredictions:
			p.predictions, err = listsOf(a)
		case fieldLogged:
			p.logged, err = listsOf(a)
		default:
			p.numbers[field], err = numbersOf(a)
		}
		if err != nil {
			wrong.Add(field, "column %s: %v", c.name, err)
		}
	}
	if err := wrong.Err("the log file"); err != nil {
		return nil, err
	}
	p.fill()
	return p, nil
}
