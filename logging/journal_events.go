package logging

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"nextbest"
)

// Decisions records decisions and returns the journal position up to which they
// are durable. Up to 64 of one call share a message, so that the slots of one
// answer are recorded together or not at all; a longer call (an import) is
// split, and when it fails, a part of it may be recorded: the same decisions
// may be sent again.
//
// When ctx ends first, the decisions may or may not be recorded. The caller may
// change the decisions once the call has returned.
func (j *Journal) Decisions(ctx context.Context, decisions []nextbest.Decision) (position uint64, err error) {
	var problems nextbest.Problems
	for i := range decisions {
		checkDecision(&problems, i, &decisions[i])
	}
	if err := problems.Err("the call"); err != nil || len(decisions) == 0 {
		return 0, err
	}
	if len(decisions) <= gatherRows {
		return j.gather(ctx, "the decision", func(e *encoder) {
			for i := range decisions {
				e.decision(&decisions[i])
			}
		})
	}
	return j.split(ctx, "the decision", len(decisions), func(e *encoder, i int) { e.decision(&decisions[i]) })
}

// Impressions records what became of decisions, as Decisions does.
func (j *Journal) Impressions(ctx context.Context, impressions []nextbest.Impression) (position uint64, err error) {
	var problems nextbest.Problems
	for i := range impressions {
		m := &impressions[i]
		if m.DecisionID == uuid.Nil {
			problems.Add(field("impressions", i, "decision_id"), "is missing")
		}
		if !m.Status.Valid() {
			problems.Add(field("impressions", i, "status"), "%q; take shown, delivered, bounced, not_shown or overridden", m.Status)
		}
		checkTime(&problems, "impressions", i, m.Time)
	}
	if err := problems.Err("the call"); err != nil || len(impressions) == 0 {
		return 0, err
	}
	if len(impressions) <= gatherRows {
		return j.gather(ctx, "the impression", func(e *encoder) {
			for i := range impressions {
				e.impression(&impressions[i])
			}
		})
	}
	return j.split(ctx, "the impression", len(impressions), func(e *encoder, i int) { e.impression(&impressions[i]) })
}

// Rewards records rewards: all of one call in one message, so that a bulk
// request is recorded as a whole or not at all. A call that does not fit into
// one message is refused as TooLarge.
func (j *Journal) Rewards(ctx context.Context, rewards []nextbest.Reward) (position uint64, err error) {
	var problems nextbest.Problems
	for i := range rewards {
		r := &rewards[i]
		if r.ID == "" {
			problems.Add(field("rewards", i, "id"), "is missing")
		}
		if r.DecisionID == uuid.Nil && r.Customer == "" {
			problems.Add(field("rewards", i, "decision_id"), "is missing, and no customer is named either")
		}
		checkTime(&problems, "rewards", i, r.Time)
	}
	if err := problems.Err("the call"); err != nil || len(rewards) == 0 {
		return 0, err
	}
	if len(rewards) <= gatherRows {
		return j.gather(ctx, "the call", func(e *encoder) {
			for i := range rewards {
				e.reward(&rewards[i])
			}
		})
	}
	enc := encoders.Get().(*encoder)
	defer encoders.Put(enc)
	enc.reset()
	for i := range rewards {
		enc.reward(&rewards[i])
		if len(enc.buf) > j.maxMessage || enc.rows > maxWireItems {
			return 0, nextbest.Errorf(nextbest.TooLarge, "%d rewards do not fit into one journal message of %d bytes (the first %d do): send them in smaller parts", len(rewards), j.maxMessage, i)
		}
	}
	return j.alone(ctx, enc)
}

// split records n rows in as many messages as they take and returns the last
// one's position.
func (j *Journal) split(ctx context.Context, what string, n int, put func(e *encoder, i int)) (position uint64, err error) {
	enc := encoders.Get().(*encoder)
	defer encoders.Put(enc)
	enc.reset()
	for i := range n {
		before := enc.mark()
		put(enc, i)
		if len(enc.buf) > j.opts.GroupBytes || enc.rows > maxWireItems {
			if before.rows > 0 {
				enc.rollback(before)
				if position, err = j.alone(ctx, enc); err != nil {
					return 0, err
				}
				enc.reset()
				put(enc, i)
			}
			if len(enc.buf) > j.maxMessage {
				return 0, tooLarge(fmt.Sprintf("%s at place %d", what, i), len(enc.buf), j.maxMessage)
			}
		}
	}
	return j.alone(ctx, enc)
}

func checkDecision(p *nextbest.Problems, i int, d *nextbest.Decision) {
	if d.ID == uuid.Nil {
		p.Add(field("decisions", i, "decision_id"), "is missing")
	}
	if d.Slot == 0 {
		p.Add(field("decisions", i, "slot"), "0; slots count from 1")
	}
	if len(d.Probabilities) != len(d.Eligible) {
		p.Add(field("decisions", i, "probabilities"), "%d values for %d eligible actions", len(d.Probabilities), len(d.Eligible))
	}
	if len(d.Scores) != 0 && len(d.Scores) != len(d.Eligible) {
		p.Add(field("decisions", i, "scores"), "%d values for %d eligible actions", len(d.Scores), len(d.Eligible))
	}
	checkTime(p, "decisions", i, d.Time)
}

// The times that a column of type DateTime64(6) and the month of a partition
// hold without a surprise.
var (
	earliest = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
)

func checkTime(p *nextbest.Problems, list string, i int, t time.Time) {
	if t.Before(earliest) || !t.Before(latest) {
		p.Add(field(list, i, "time"), "%s; the log holds times from 1970 to 2199", t.UTC().Format(time.RFC3339))
	}
}

func field(list string, i int, name string) string { return fmt.Sprintf("%s[%d].%s", list, i, name) }
