package logging

import (
	"context"
	"strconv"
	"time"

	"nextbest"
)

// Traffic is how much was decided in a span, and over how many actions.
type Traffic struct {
	Decisions int64
	Eligible  float64 // mean number of eligible actions; 0 without decisions
	Rewarded  int64   // decisions with an attributed reward other than 0 so far
	First     time.Time
}

// Traffic counts a span's decisions at one placement outside the universal
// holdout, where nothing is explored, and those rewarded within the window.
func (s *Store) Traffic(ctx context.Context, p Span, window time.Duration) (t Traffic, err error) {
	if p.Placement == "" || window <= 0 {
		return t, nextbest.FieldErrorf("placement", "traffic is that of one placement with a window; got %q and %s", p.Placement, window)
	}
	conditions, err := p.conditions()
	if err != nil {
		return t, err
	}
	where := all(append(conditions, "slot = 1", "arm != "+quote("holdout")))
	if err := s.conn.QueryRow(ctx, "SELECT toInt64(count()), toFloat64(sum(length(eligible))), min(time) FROM decisions WHERE "+where).Scan(&t.Decisions, &t.Eligible, &t.First); err != nil {
		return t, storeError("count traffic", err)
	}
	if t.Decisions == 0 {
		return Traffic{}, nil
	}
	t.Eligible /= float64(t.Decisions)
	t.First = since1970(t.First)
	err = s.conn.QueryRow(ctx, `SELECT toInt64(uniqExact(decision_id)) FROM attributed_rewards(window = `+strconv.Itoa(int(window.Seconds()))+`)
WHERE value != 0 AND decision_id IN (SELECT decision_id FROM decisions WHERE `+where+")").Scan(&t.Rewarded)
	return t, storeError("count rewarded decisions", err)
}
