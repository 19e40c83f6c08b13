package logging

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	"github.com/ClickHouse/clickhouse-go/v2/lib/proto"

	"nextbest"
)

// publicViews are what everybody may read; docs/schema.md describes them.
var publicViews = []string{"decisions", "impressions", "rewards", "reward_reports", "rewards_as_of", "attributed_rewards", "unmatched_rewards"}

// plainTables are the table functions that make rows of nothing.
var plainTables = []string{"numbers", "numbers_mt", "zeros", "values", "format", "generateSeries", "generate_series"}

// mostResult bounds a result in bytes: as ClickHouse counts them, and as written.
const mostResult = 64 << 20

// SQLLimits bound a statement of SQL.
type SQLLimits struct {
	Time   time.Duration // 0: 30 s
	Memory int64         // bytes; 0: 512 MiB
	Rows   int           // of the result; 0: 10,000
}

// SQLColumn is a column of a result.
type SQLColumn struct {
	Name string `json:"name"`
	Type string `json:"type"` // as ClickHouse writes it
}

// SQLResult is the answer of a statement. A value is what encoding/json writes
// well: numbers that are not finite and NULL are nil.
type SQLResult struct {
	Columns []SQLColumn `json:"columns"`
	Rows    [][]any     `json:"rows"`
}

var describe = regexp.MustCompile(`(?i)^desc(?:ribe)?(?:\s+table)?\s+([a-z_]+)$`)

// SQL runs one SELECT on the public views, or DESCRIBE of one, read-only and
// within limits. What the statement may name is decided on ClickHouse's own
// parse of it (EXPLAIN AST), not on its text. The error is nextbest.Invalid
// about the field query for whatever is wrong with the statement, limits
// included.
func (s *Store) SQL(ctx context.Context, query string, l SQLLimits) (*SQLResult, error) {
	query = strings.TrimSpace(query)
	query = strings.TrimSpace(strings.TrimSuffix(query, ";"))
	if query == "" {
		return nil, sqlError("is empty", "write SELECT … FROM decisions")
	}
	if l.Time <= 0 {
		l.Time = 30 * time.Second
	}
	if l.Memory <= 0 {
		l.Memory = 512 << 20
	}
	if l.Rows <= 0 {
		l.Rows = 10000
	}
	// The client would replace the limit by a deadline of ctx.
	statement, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	ctx = statement
	read := clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{
		"readonly": 1, "max_execution_time": int(math.Ceil(l.Time.Seconds())),
		"max_memory_usage": l.Memory, "max_result_rows": l.Rows, "max_result_bytes": mostResult, "result_overflow_mode": "throw",
		// Blocks are held whole here and there; what sorts or groups much goes to disk.
		"max_block_size": 8192, "preferred_block_size_bytes": 1 << 20,
		"max_bytes_before_external_sort": l.Memory / 2, "max_bytes_before_external_group_by": l.Memory / 2,
		// A dictionary would make little of what is much once it is written.
		"low_cardinality_allow_in_native_format": 0,
	}))
	if m := describe.FindStringSubmatch(query); m != nil {
		if !slices.Contains(publicViews, m[1]) {
			return nil, hidden(m[1])
		}
		query = "SELECT name, type, comment FROM system.columns WHERE database = currentDatabase() AND table = " + quote(m[1]) + " ORDER BY position"
		return s.table(read, query, l)
	}
	if first, _, _ := strings.Cut(strings.TrimLeft(query, "( \t\r\n"), " "); !slices.ContainsFunc([]string{"select", "with"}, func(w string) bool { return strings.HasPrefix(strings.ToLower(first), w) }) {
		return nil, sqlError("must be one SELECT", "begin with SELECT or WITH; this log cannot be changed by SQL")
	}
	if err := s.mayRead(read, query); err != nil {
		return nil, err
	}
	return s.table(read, query, l)
}

// mayRead refuses a statement that names anything but the public views.
func (s *Store) mayRead(ctx context.Context, query string) error {
	tree, err := s.column(ctx, "EXPLAIN AST "+query)
	if err != nil {
		return err
	}
	tables, err := s.column(ctx, "SELECT name FROM system.tables WHERE database = currentDatabase()")
	if err != nil {
		return err
	}
	databases, err := s.column(ctx, "SELECT name FROM system.databases WHERE name != currentDatabase()")
	if err != nil {
		return err
	}
	functions, err := s.column(ctx, "SELECT name FROM system.table_functions")
	if err != nil {
		return err
	}
	own, err := s.column(ctx, "SELECT currentDatabase()")
	if err != nil {
		return err
	}
	// private reports whether a name leads to something that is not public.
	private := func(name string) bool {
		parts := strings.Split(name, ".")
		if parts[0] == own[0] && len(parts) > 1 {
			parts = parts[1:]
		} else if slices.Contains(databases, parts[0]) || strings.EqualFold(parts[0], "information_schema") {
			return true
		}
		return slices.ContainsFunc(parts, func(p string) bool { return slices.Contains(tables, p) && !slices.Contains(publicViews, p) })
	}
	from := false // the line before opened a place in FROM
	for _, line := range tree {
		kind, rest, _ := strings.Cut(strings.TrimLeft(line, " "), " ")
		name := rest
		for _, end := range []string{" (children ", " (alias "} {
			name, _, _ = strings.Cut(name, end)
		}
		switch kind {
		case "TableIdentifier":
			if parts := strings.Split(name, "."); private(name) || len(parts) > 1 && parts[0] != own[0] {
				return hidden(name)
			}
		case "Identifier":
			if private(name) {
				return hidden(name)
			}
		case "Function":
			bare := strings.TrimPrefix(name, own[0]+".")
			reads := slices.Contains(functions, name) && !slices.Contains(plainTables, name) || strings.HasPrefix(name, "dict") || strings.HasPrefix(name, "joinGet") || strings.HasPrefix(strings.ToLower(name), "getserver")
			if reads || from && !slices.Contains(publicViews, bare) && !slices.Contains(plainTables, name) {
				return hidden(name)
			}
		}
		from = kind == "TableExpression"
	}
	return nil
}

// column returns the first column of a statement's rows.
func (s *Store) column(ctx context.Context, query string) ([]string, error) {
	rows, err := s.conn.Query(ctx, query)
	if err != nil {
		return nil, sqlFailure(err, SQLLimits{})
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			return nil, storeError("read a statement", err)
		}
		out = append(out, v)
	}
	return out, sqlFailure(rows.Err(), SQLLimits{})
}

func (s *Store) table(ctx context.Context, query string, l SQLLimits) (*SQLResult, error) {
	rows, err := s.reader.Query(ctx, query)
	if err != nil {
		return nil, sqlFailure(err, l)
	}
	defer rows.Close()
	out := &SQLResult{Columns: []SQLColumn{}, Rows: [][]any{}}
	room := resultRoom(mostResult)
	types := rows.ColumnTypes()
	for _, t := range types {
		out.Columns = append(out.Columns, SQLColumn{t.Name(), t.DatabaseTypeName()})
	}
	for rows.Next() {
		into := make([]any, len(types))
		for i, t := range types {
			into[i] = reflect.New(t.ScanType()).Interface()
		}
		if err := rows.Scan(into...); err != nil {
			return nil, sqlFailure(err, l)
		}
		for i := range into {
			into[i] = room.plain(reflect.ValueOf(into[i]).Elem())
		}
		if room < 0 {
			return nil, tooBig(l)
		}
		out.Rows = append(out.Rows, into)
	}
	if err := rows.Err(); err != nil {
		return nil, sqlFailure(err, l)
	}
	return out, nil
}

// resultRoom is how many bytes of memory a result may still take. Below 0 the
// result is too big and its values are worth nothing.
type resultRoom int

// valueRoom is what a value takes: an interface and a number behind it.
const valueRoom = 24

// plain turns a scanned value into one that encoding/json can write, and takes
// its room: the value's and a string's length.
func (r *resultRoom) plain(v reflect.Value) any {
	if *r -= valueRoom; *r < 0 || !v.IsValid() {
		return nil
	}
	if v.CanInterface() {
		switch v.Interface().(type) {
		case json.Marshaler, fmt.Stringer:
			if k := v.Kind(); k != reflect.Pointer || !v.IsNil() {
				if t, ok := v.Interface().(time.Time); ok {
					return t.UTC()
				}
				return v.Interface()
			}
			return nil
		}
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return r.plain(v.Elem())
	case reflect.String:
		*r -= resultRoom(v.Len())
	case reflect.Float32, reflect.Float64:
		if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
			return nil
		}
		return v.Interface()
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 && v.Kind() == reflect.Slice && v.Type() != reflect.TypeFor[[]uint8]() {
			return v.Interface()
		}
		if resultRoom(valueRoom*v.Len()) > *r {
			*r = -1
			return nil
		}
		list := make([]any, v.Len())
		for i := range list {
			list[i] = r.plain(v.Index(i))
		}
		return list
	case reflect.Map:
		m := make(map[string]any, v.Len())
		for _, k := range v.MapKeys() {
			key := fmt.Sprint(k.Interface())
			*r -= resultRoom(len(key))
			m[key] = r.plain(v.MapIndex(k))
		}
		return m
	}
	return v.Interface()
}

func sqlError(message, cure string) *nextbest.Error {
	return &nextbest.Error{Code: nextbest.Invalid, Message: "the statement is refused", Problems: []nextbest.Problem{{Field: "query", Message: message, Cure: cure}}}
}

func hidden(name string) *nextbest.Error {
	return sqlError(fmt.Sprintf("%s cannot be read here", name), "read the views: "+strings.Join(publicViews, ", "))
}

func tooBig(l SQLLimits) *nextbest.Error {
	return sqlError(fmt.Sprintf("gives more than %d rows or %d MiB", l.Rows, mostResult>>20), "aggregate, or add LIMIT")
}

// unwritable refuses a value that has no form outside ClickHouse.
func unwritable(err *column.UnsupportedColumnTypeError) *nextbest.Error {
	_, kind, _ := strings.Cut(err.Error(), "type ")
	if strings.Contains(kind, "AggregateFunction") {
		return sqlError("gives the state of an aggregate function ("+kind+"), which is no value", "finish it: sum(x) instead of sumState(x), sumMerge(state), or finalizeAggregation(state)")
	}
	return sqlError("gives a value of type "+kind+", which cannot be written", "turn it into text with toString(…), or leave the column out")
}

// sqlFailure gives what ClickHouse says about somebody's statement its field.
func sqlFailure(err error, l SQLLimits) error {
	var unsupported *column.UnsupportedColumnTypeError
	switch {
	case errors.As(err, &unsupported):
		return unwritable(unsupported)
	case errors.Is(err, errAnswer):
		return tooBig(l)
	}
	var e *proto.Exception
	if err == nil || !errors.As(err, &e) {
		return storeError("answer a statement", err)
	}
	const tooManyRows, tooLong, tooMuchMemory, tooManyBytes, changesSetting = 396, 159, 241, 307, 164
	switch e.Code {
	case tooManyRows, tooManyBytes:
		return tooBig(l)
	case tooLong:
		return sqlError(fmt.Sprintf("takes more than %s", l.Time), "restrict it by time, or select fewer columns")
	case tooMuchMemory:
		return sqlError(fmt.Sprintf("needs more than %d MiB of memory", l.Memory>>20), "restrict it by time, or select fewer columns")
	case changesSetting:
		return sqlError("is not read-only, or changes a setting", "leave SETTINGS out; only SELECT is taken")
	}
	message, _, _ := strings.Cut(e.Message, ". (")
	return sqlError(message, "")
}
