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
	source, err := openSource(path)
	if err != nil {
		return nil, err
	}
	pool := boundedMemory{memory.DefaultAllocator}
	props := parquet.NewReaderProperties(pool)
	props.BufferedStreamEnabled = true
	f, err := file.NewParquetReader(source, file.WithReadProps(props))
	if err != nil {
		return nil, errors.Join(damaged(name, err), source.Close())
	}
	// The Arrow schema that writers leave beside Parquet's own says nothing that is
	// needed here, and where it is damaged it asks for all memory.
	f.MetaData().FileMetaData.KeyValueMetadata = nil
	r, err := pqarrow.NewFileReader(f, pqarrow.ArrowReadProperties{BatchSize: pieceRows}, pool)
	if err == nil {
		l = &parquetLog{name: name, file: f, reader: r}
		l.arrow, err = r.Schema()
	}
	if err != nil {
		return nil, errors.Join(damaged(name, err), f.Close())
	}
	return l, nil
}

// unreadable turns a panic of the reader, which broken files provoke, into an
// error.
func unreadable(name string, err *error) {
	if v := recover(); v != nil {
		*err = damaged(name, fmt.Errorf("%v", v))
	}
}

// damaged is the error of a file that cannot be read as Parquet.
func damaged(name string, err error) error {
	return nextbest.FieldErrorf("file", "%s is no Parquet file, or is damaged or incomplete (%v): write or copy it again", name, err)
}

// boundedMemory refuses a buffer that only a damaged file asks for.
type boundedMemory struct{ memory.Allocator }

// largestBuffer is far beyond a page of any writer, whose usual size is 1 MiB.
const largestBuffer = 1 << 30

func (m boundedMemory) Allocate(size int) []byte {
	if size > largestBuffer {
		panic(fmt.Sprintf("a buffer of %d bytes", size))
	}
	return m.Allocator.Allocate(size)
}

func (m boundedMemory) Reallocate(size int, b []byte) []byte {
	if size > largestBuffer {
		panic(fmt.Sprintf("a buffer of %d bytes", size))
	}
	return m.Allocator.Reallocate(size, b)
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
		return damaged(l.name, err)
	}
	defer records.Release()
	var done int64
	for {
		record, err := records.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			if e := ctx.Err(); e != nil {
				return e
			}
			return damaged(l.name, fmt.Errorf("after row %d: %w", done, err))
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
		return damaged(l.name, fmt.Errorf("it holds %d rows and says %d", done, l.file.NumRows()))
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
			wrong.Add(field, "column %s: %v; store it so, or name another column with --map %s=COLUMN", c.name, err, field)
		}
	}
	if err := wrong.Err("the log file"); err != nil {
		return nil, err
	}
	p.fill()
	return p, nil
}
