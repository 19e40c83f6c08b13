package logging

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"nextbest"
)

// Span is a part of the log that is watched.
type Span struct {
	Placement string    // id for every version, or id@version; "" for all
	Source    string    // live, an import's name, or "" for all
	From, To  time.Time // From ≤ time < To; zero: open
}

func (p Span) conditions() ([]string, error) {
	q := DecisionQuery{Placement: p.Placement, From: p.From, To: p.To}
	conditions, err := q.conditions()
	if p.Source != "" {
		conditions = append(conditions, "source = "+quote(p.Source))
	}
	return conditions, err
}

// ActionCount counts the decisions for one action in one stretch of time.
type ActionCount struct {
	Time      time.Time // start of the stretch
	Action    string
	Decisions int64
	Share     float64 // of the stretch's decisions
}

// ActionMix counts the decisions of a span by action in stretches that begin at
// multiples of bucket since the Unix epoch; do-nothing is an action. In order of
// time and action.
func (s *Store) ActionMix(ctx context.Context, p Span, bucket time.Duration) ([]ActionCount, error) {
	if bucket <= 0 {
		return nil, nextbest.FieldErrorf("bucket", "%s; it must be longer than zero", bucket)
	}
	conditions, err := p.conditions()
	if err != nil {
		return nil, err
	}
	rows, err := s.conn.Query(ctx, fmt.Sprintf(`
SELECT start, action, n, n / sum(n) OVER (PARTITION BY start)
FROM
(
    SELECT toUnixTimestamp64Micro(time) - positiveModulo(toUnixTimestamp64Micro(time), %d) AS start, toString(action) AS action, toInt64(count()) AS n
    FROM decisions WHERE %s GROUP BY start, action
)
ORDER BY start, action`, bucket.Microseconds(), all(conditions)))
	if err != nil {
		return nil, storeError("count actions", err)
	}
	defer rows.Close()
	var mix []ActionCount
	for rows.Next() {
		var c ActionCount
		var start int64
		if err := rows.Scan(&start, &c.Action, &c.Decisions, &c.Share); err != nil {
			return nil, storeError("count actions", err)
		}
		c.Time = time.UnixMicro(start).UTC()
		mix = append(mix, c)
	}
	return mix, storeError("count actions", rows.Err())
}

// AttributedRewards counts the rewards that belong to a span's decisions at one
// placement, by kind: those within the window (see the view
// attributed_rewards).
func (s *Store) AttributedRewards(ctx context.Context, p Span, window time.Duration) (map[string]int64, error) {
	if p.Placement == "" || window <= 0 {
		return nil, nextbest.FieldErrorf("placement", "attributed rewards are those of one placement within a window; got %q and %s", p.Placement, window)
	}
	conditions, err := p.conditions()
	if err != nil {
		return nil, err
	}
	counts := make(map[string]int64)
	return counts, s.counts(ctx, counts, `SELECT toString(kind), toInt64(uniqExact(reward_id)) FROM attributed_rewards(window = `+strconv.Itoa(int(window.Seconds()))+`)
WHERE (decision_id, slot) IN (SELECT decision_id, slot FROM decisions WHERE `+all(conditions)+") GROUP BY kind")
}

// ExclusionCount counts how often an action was left out for a reason.
type ExclusionCount struct {
	Action string
	Reason nextbest.Reason
	Count  int64
}

// Exclusions returns the most frequent exclusions of a span, the most frequent
// first.
func (s *Store) Exclusions(ctx context.Context, p Span, limit int) ([]ExclusionCount, error) {
	if limit <= 0 {
		return nil, nextbest.FieldErrorf("limit", "%d; it must be positive", limit)
	}
	conditions, err := p.conditions()
	if err != nil {
		return nil, err
	}
	rows, err := s.conn.Query(ctx, fmt.Sprintf(`
SELECT toString(left_out.1), toString(left_out.2), toInt64(count()) AS n
FROM (SELECT arrayJoin(arrayZip(excluded.action, excluded.reason)) AS left_out FROM decisions WHERE %s)
GROUP BY left_out ORDER BY n DESC, left_out LIMIT %d`, all(conditions), limit))
	if err != nil {
		return nil, storeError("count exclusions", err)
	}
	defer rows.Close()
	var list []ExclusionCount
	for rows.Next() {
		var c ExclusionCount
		var reason string
		if err := rows.Scan(&c.Action, &reason, &c.Count); err != nil {
			return nil, storeError("count exclusions", err)
		}
		c.Reason = nextbest.Reason(reason)
		list = append(list, c)
	}
	return list, storeError("count exclusions", rows.Err())
}

// Counts says how much a span of the log holds.
type Counts struct {
	Decisions   int64
	Customers   int64
	Impressions map[nextbest.ImpressionStatus]int64 // of these decisions, by newest status
	// Rewards are those with a time in the span, whatever they belong to: a reward
	// that names a customer may belong to several placements.
	Rewards   map[string]int64 // by kind
	Unmatched int64            // of Rewards: can belong to no decision
	// LastDecision and LastReward are the newest times; zero where there is none.
	LastDecision, LastReward time.Time
}

// Counts counts what a span holds.
func (s *Store) Counts(ctx context.Context, p Span) (Counts, error) {
	c := Counts{Impressions: make(map[nextbest.ImpressionStatus]int64), Rewards: make(map[string]int64)}
	conditions, err := p.conditions()
	if err != nil {
		return c, err
	}
	where := all(conditions)
	err = s.conn.QueryRow(ctx, "SELECT toInt64(countIf(slot = 1)), toInt64(uniqExact(customer)), max(time) FROM decisions WHERE "+where).
		Scan(&c.Decisions, &c.Customers, &c.LastDecision)
	if err != nil {
		return c, storeError("count decisions", err)
	}
	statuses := make(map[string]int64)
	if err := s.counts(ctx, statuses, `SELECT toString(status), toInt64(count()) FROM impressions
WHERE (decision_id, slot) IN (SELECT decision_id, slot FROM decisions WHERE `+where+") GROUP BY status"); err != nil {
		return c, err
	}
	for status, n := range statuses {
		c.Impressions[nextbest.ImpressionStatus(status)] = n
	}
	span, err := Span{From: p.From, To: p.To}.conditions()
	if err != nil {
		return c, err
	}
	if err := s.counts(ctx, c.Rewards, "SELECT toString(kind), toInt64(count()) FROM rewards WHERE "+all(span)+" GROUP BY kind"); err != nil {
		return c, err
	}
	err = s.conn.QueryRow(ctx, "SELECT (SELECT toInt64(count()) FROM unmatched_rewards WHERE "+all(span)+"), (SELECT max(time) FROM rewards WHERE "+all(span)+")").Scan(&c.Unmatched, &c.LastReward)
	if err != nil {
		return c, storeError("count rewards", err)
	}
	c.LastDecision, c.LastReward = since1970(c.LastDecision), since1970(c.LastReward)
	return c, nil
}

// since1970 makes ClickHouse's maximum of nothing the zero time.
func since1970(t time.Time) time.Time {
	if t.UnixMicro() == 0 {
		return time.Time{}
	}
	return t.UTC()
}

// counts reads pairs of a text and a number.
func (s *Store) counts(ctx context.Context, into map[string]int64, query string) error {
	rows, err := s.conn.Query(ctx, query)
	if err != nil {
		return storeError("count", err)
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		var n int64
		if err := rows.Scan(&text, &n); err != nil {
			return storeError("count", err)
		}
		into[text] = n
	}
	return storeError("count", rows.Err())
}

// UnmatchedQuery selects rewards that can belong to no decision.
type UnmatchedQuery struct {
	Kind     string    // "" for all
	From, To time.Time // of the reward, From ≤ time < To; zero: open
	Limit    int       // 0: all
}

// UnmatchedReward is a reward that can belong to no decision, and why:
// unknown_decision, before_decision, unknown_customer or before_first_decision.
type UnmatchedReward struct {
	nextbest.Reward
	Why string
}

// Unmatched returns rewards that can belong to no decision under any window, the
// newest first.
func (s *Store) Unmatched(ctx context.Context, q UnmatchedQuery) ([]UnmatchedReward, error) {
	conditions, err := Span{From: q.From, To: q.To}.conditions()
	if err != nil {
		return nil, err
	}
	if q.Kind != "" {
		conditions = append(conditions, "kind = "+quote(q.Kind))
	}
	limit := ""
	if q.Limit > 0 {
		limit = fmt.Sprintf(" LIMIT %d", q.Limit)
	}
	rows, err := s.conn.Query(ctx, "SELECT reward_id, toString(kind), value, time, decision_id, slot, customer, reason FROM unmatched_rewards WHERE "+all(conditions)+" ORDER BY time DESC, reward_id"+limit)
	if err != nil {
		return nil, storeError("read unmatched rewards", err)
	}
	defer rows.Close()
	var list []UnmatchedReward
	for rows.Next() {
		var r UnmatchedReward
		var id uuid.UUID
		if err := rows.Scan(&r.ID, &r.Kind, &r.Value, &r.Time, &id, &r.Slot, &r.Customer, &r.Why); err != nil {
			return nil, storeError("read unmatched rewards", err)
		}
		r.DecisionID, r.Time = id, r.Time.UTC()
		list = append(list, r)
	}
	return list, storeError("read unmatched rewards", rows.Err())
}
