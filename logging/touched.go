package logging

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"nextbest"
)

// Touched reports whether any event at a journal position in (after, q.Upto]
// changes the rows that q selects: a decision that came late or was imported, a
// reward that came late, was corrected or withdrawn, or a decision that takes
// what another had. What does not reach those rows gives false: decisions after
// the range, rewards that belong to such decisions, reports that repeat what is
// known.
//
// It asks about the events alone, by attribution as in Rows, and so reads
// little: what is new in the range; which rewards differ between the two
// positions, and whether they belong, before or after, to a row of q.
func (s *Store) Touched(ctx context.Context, q nextbest.Query, after uint64) (bool, error) {
	plan, err := planRows(q, time.Now())
	if err != nil {
		return false, err
	}
	if q.Upto > 0 && q.Upto <= after {
		return false, nil
	}
	for _, query := range []string{plan.newRows(after), plan.changedByDecision(after), plan.changedByCustomer(after)} {
		var touched uint8
		if err := s.conn.QueryRow(ctx, query).Scan(&touched); err != nil {
			return false, storeError("compare rows between two journal positions", err)
		}
		if touched != 0 {
			return true, nil
		}
	}
	return false, nil
}

// upto is the position that the query ends at.
func (p *rowPlan) upto() uint64 {
	if p.query.Upto == 0 {
		return math.MaxUint64
	}
	return p.query.Upto
}

// between is the condition on events after one position and up to another.
func between(after, upto uint64) string {
	return fmt.Sprintf("journal_position > %d AND journal_position <= %d", after, upto)
}

// cameLater are conditions on the view decisions: first reported after the
// position. The raw table, which may hold repetitions too, finds them without
// a look at the rest.
func (p *rowPlan) cameLater(after uint64) []string {
	return []string{
		fmt.Sprintf("journal_position > %d", after),
		"decision_id IN (SELECT decision_id FROM " + tableDecisions + " WHERE " + between(after, p.upto()) + ")",
	}
}

// newRows asks whether a row of the query is new.
func (p *rowPlan) newRows(after uint64) string {
	conditions := append(append(p.base(p.to), p.selected()...), p.cameLater(after)...)
	return "SELECT count() > 0 FROM decisions WHERE " + all(conditions)
}

// changed are the rewards that count at one of the two positions only, by
// everything that attribution and aggregation look at; known is 1 for what counts
// at the later one.
func (p *rowPlan) changed(after uint64) string {
	fields := "reward_id, kind, value, time, decision_id, slot, customer"
	reported := "reward_id IN (SELECT reward_id FROM " + tableRewardReports + fmt.Sprintf(" WHERE version > %d AND ", lastWins(after, maxWireItems)) + between(after, p.upto()) + ")"
	return `SELECT ` + fields + `, max(later) AS known
    FROM
    (
        SELECT ` + fields + `, 0 AS later FROM ` + rewardsAsOf(after) + ` WHERE ` + all(append(p.counts(), reported)) + `
        UNION ALL
        SELECT ` + fields + `, 1 AS later FROM ` + rewardsAsOf(p.upto()) + ` WHERE ` + all(append(p.counts(), reported)) + `
    )
    GROUP BY ` + fields + `
    HAVING count() = 1`
}

// counts are the conditions of rewards that may count.
func (p *rowPlan) counts() []string {
	return append([]string{"kind IN (" + quoteAll(p.kinds) + ")"}, timeRange(p.from, p.to+p.window)...)
}

func rewardsAsOf(position uint64) string {
	return "rewards_as_of(position = " + strconv.FormatUint(position, 10) + ")"
}

// changedByDecision asks whether a changed reward names a row of the query and
// lies in its window.
func (p *rowPlan) changedByDecision(after uint64) string {
	return `WITH changed AS (` + p.changed(after) + `)
SELECT count() > 0
FROM (SELECT decision_id, slot, time FROM decisions WHERE ` + all(append(append(p.base(p.to), p.selected()...), "decision_id IN (SELECT decision_id FROM changed)")) + `) AS d
INNER JOIN (SELECT decision_id, slot, time FROM changed WHERE decision_id != ` + noDecision + `) AS r
    ON d.decision_id = r.decision_id AND d.slot = r.slot
WHERE r.time >= d.time AND r.time < d.time + ` + p.span()
}

// changedByCustomer asks the same about rewards that name a customer: those that
// changed, and those of before that may now belong to a decision that came
// later. Each belongs to the customer's latest decision of its own position.
func (p *rowPlan) changedByCustomer(after uint64) string {
	ofCustomer := []string{"decision_id = " + noDecision, "customer != ''"}
	return `WITH changed AS (` + p.changed(after) + `),
fresh AS
(
    SELECT customer, min(time) AS first FROM decisions
    WHERE slot = 1 AND ` + all(append(p.base(p.to+p.window), p.cameLater(after)...)) + `
    GROUP BY customer
),
asked AS
(
    SELECT reward_id, time, customer, known FROM changed WHERE ` + all(ofCustomer) + `
    UNION DISTINCT
    SELECT r.reward_id AS reward_id, r.time AS time, r.customer AS customer, 0 AS known
    FROM (SELECT reward_id, time, customer FROM ` + rewardsAsOf(after) + ` WHERE ` + all(append(append(p.counts(), ofCustomer...), "customer IN (SELECT customer FROM fresh)")) + `) AS r
    INNER JOIN fresh AS f ON r.customer = f.customer
    WHERE r.time >= f.first
)
SELECT count() > 0
FROM
(
    SELECT argMax((d.selected, d.time), (d.time, toUInt128(d.decision_id))) AS latest, any(r.time) AS at
    FROM
    (
        SELECT customer, time, decision_id, journal_position, toUInt8(` + all(p.selected()) + `) AS selected
        FROM decisions
        WHERE slot = 1 AND customer IN (SELECT customer FROM asked) AND ` + all(p.base(p.to+p.window)) + `
    ) AS d
    INNER JOIN asked AS r ON d.customer = r.customer
    WHERE d.time <= r.time AND (r.known = 1 OR d.journal_position <= ` + strconv.FormatUint(after, 10) + `)
    GROUP BY r.reward_id, r.time, r.customer, r.known
)
WHERE latest.1 = 1 AND at < latest.2 + ` + p.span()
}

// span is the window in SQL.
func (p *rowPlan) span() string { return fmt.Sprintf("toIntervalMicrosecond(%d)", p.window) }
