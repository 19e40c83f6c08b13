package logging

import (
	"context"
	"time"

	"nextbest"
)

// SetAside counts the rows that a query would select if it did not leave out
// those set aside for evaluation.
func (s *Store) SetAside(ctx context.Context, q nextbest.Query) (rows int64, err error) {
	q.SkipSetAside = false
	plan, err := planRows(q, time.Now())
	if err != nil {
		return 0, err
	}
	var n uint64
	conditions := append(append(plan.base(plan.to), plan.selected()...), "set_aside")
	if err := s.conn.QueryRow(ctx, "SELECT count() FROM decisions WHERE "+all(conditions)).Scan(&n); err != nil {
		return 0, storeError("count rows set aside", err)
	}
	return int64(n), nil
}
