package logging

import (
	"context"
	"strconv"
	"time"

	"nextbest"
)

// Extent says how many rows a query selects, and from when to when.
type Extent struct {
	Rows        int64
	First, Last time.Time // of the decisions; zero where there is none
}

// mostSources bounds the sources that are listed.
const mostSources = 100

// Sources lists the sources that rows have, sorted: live, and the names of imports.
func (s *Store) Sources(ctx context.Context) ([]string, error) {
	var out []string
	err := s.conn.QueryRow(ctx, "SELECT groupArray("+strconv.Itoa(mostSources)+")(source) FROM (SELECT DISTINCT toString(source) AS source FROM decisions ORDER BY source)").Scan(&out)
	return out, storeError("list sources", err)
}

// Extent counts the rows that Rows would give.
func (s *Store) Extent(ctx context.Context, q nextbest.Query) (Extent, error) {
	plan, err := planRows(q, time.Now())
	if err != nil {
		return Extent{}, err
	}
	var e Extent
	conditions := append(plan.base(plan.to), plan.selected()...)
	if err := s.conn.QueryRow(ctx, "SELECT toInt64(count()), min(time), max(time) FROM decisions WHERE "+all(conditions)).Scan(&e.Rows, &e.First, &e.Last); err != nil {
		return Extent{}, storeError("count rows", err)
	}
	if e.Rows == 0 {
		return Extent{}, nil
	}
	e.First, e.Last = e.First.UTC(), e.Last.UTC()
	return e, nil
}
