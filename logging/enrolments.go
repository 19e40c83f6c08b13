package logging

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	"nextbest"
)

// Enrolments gives the customers of an experiment in the order of enrolment,
// which sequential tests need. They are held in memory while they are sorted. A
// customer is enrolled by the first decision in the experiment, whatever was
// shown, and stays in that decision's arm. Every reward of the customer within
// [enrolment, enrolment + window) counts: those that name the customer, and those
// that name any decision of the customer, in the experiment or not.
func (s *Store) Enrolments(ctx context.Context, q nextbest.EnrolmentQuery, fn func(nextbest.Enrolment) error) error {
	window := q.Window.Std().Microseconds()
	var problems nextbest.Problems
	if ref, err := nextbest.ParseRef(q.Experiment); err != nil {
		problems.Add("experiment", "%v", err)
	} else if ref.Version != 0 {
		problems.Add("experiment", "%q; give the id alone: a customer is enrolled once, over all versions", q.Experiment)
	}
	if window <= 0 {
		problems.Add("window", "%s; it must be longer than zero, such as 14d", q.Window)
	}
	for i, kind := range q.Rewards {
		if kind == "" || slices.Contains(q.Rewards[:i], kind) {
			problems.Add(fmt.Sprintf("rewards[%d]", i), "%q; name each kind once", kind)
		}
	}
	if err := problems.Err("the query"); err != nil {
		return err
	}
	mature := q.MatureAt
	if mature.IsZero() {
		mature = time.Now()
	}
	last := mature.UnixMicro() - window // of an enrolment

	ctx, cancel := context.WithCancel(ctx)
	rewards := newRewardStream()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if len(q.Rewards) == 0 {
			close(rewards.blocks)
			return
		}
		rewards.run(ctx, s, enrolmentRewards(q, last+window))
	}()
	defer func() {
		cancel()
		<-ended
	}()

	var (
		customer, arm proto.ColStr
		at            proto.ColInt64
		decisions     proto.ColUInt64
		list          []reward
		enrolled      []nextbest.Enrolment
		stopped       error
	)
	err := s.bulk(ctx, ch.Query{
		Body: fmt.Sprintf(`SELECT customer, CAST(argMin(arm, (time, toUInt128(decision_id), slot)), 'String') AS enrolled_arm,
    toUnixTimestamp64Micro(min(time)) AS enrolled,
    toUInt64(arrayCount(t -> t < enrolled + %d, groupArrayIf(toUnixTimestamp64Micro(time), slot = 1))) AS decisions_within
FROM decisions
WHERE %s
GROUP BY customer
HAVING enrolled <= %d
ORDER BY customer`, window, experimentIs(q.Experiment), last),
		Settings: readSettings(defaultBatch, 256<<20),
		Result: proto.Results{
			{Name: "customer", Data: &customer}, {Name: "enrolled_arm", Data: &arm}, {Name: "enrolled", Data: &at}, {Name: "decisions_within", Data: &decisions},
		},
		OnResult: func(context.Context, proto.Block) error {
			for i := range at {
				if list, stopped = rewards.take(customer.RowBytes(i), list[:0]); stopped != nil {
					return stopped
				}
				e := nextbest.Enrolment{
					Customer: customer.Row(i), Arm: arm.Row(i), Time: time.UnixMicro(at[i]).UTC(), Decisions: int(decisions[i]),
					First: make([]time.Time, len(q.Rewards)), Total: make([]float64, len(q.Rewards)),
				}
				for _, r := range list {
					if r.at < at[i] || r.at >= at[i]+window {
						continue
					}
					if e.First[r.kind].IsZero() { // they come in order of time
						e.First[r.kind] = time.UnixMicro(r.at).UTC()
					}
					e.Total[r.kind] += r.value
				}
				enrolled = append(enrolled, e)
			}
			return nil
		},
	})
	if stopped != nil {
		return stopped
	}
	if err != nil {
		return storeError("read enrolments", err)
	}
	slices.SortFunc(enrolled, func(a, b nextbest.Enrolment) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Customer, b.Customer))
	})
	for i := range enrolled {
		if err := fn(enrolled[i]); err != nil {
			return err
		}
	}
	return nil
}

// enrolmentRewards returns the query of the rewards of an experiment's
// customers before a time, in microseconds.
func enrolmentRewards(q nextbest.EnrolmentQuery, before int64) string {
	list := "[" + quoteAll(q.Rewards) + "]"
	in := "customer IN (SELECT customer FROM decisions WHERE " + experimentIs(q.Experiment) + ")"
	return strings.NewReplacer("{list}", list, "{in}", in, "{before}", instant(before), "{none}", noDecision).Replace(`WITH used AS
(
    SELECT reward_id, toUInt32(indexOf({list}, kind)) AS place, value, time, decision_id, slot, customer
    FROM rewards
    WHERE kind IN {list} AND time < {before}
)
SELECT customer, time, reward_id, place, value, decision_id, slot
FROM
(
    SELECT customer, time, reward_id, place, value, decision_id, slot
    FROM used
    WHERE decision_id = {none} AND customer != '' AND {in}
    UNION ALL
    SELECT d.customer AS customer, r.time AS time, r.reward_id AS reward_id, r.place AS place, r.value AS value, r.decision_id AS decision_id, r.slot AS slot
    FROM (SELECT decision_id, slot, customer FROM decisions WHERE {in}) AS d
    INNER JOIN (SELECT reward_id, place, value, time, decision_id, slot FROM used WHERE decision_id != {none}) AS r
        ON d.decision_id = r.decision_id AND d.slot = r.slot
)
ORDER BY customer, time, reward_id`)
}
