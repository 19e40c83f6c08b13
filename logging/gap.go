package logging

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// mostCompared bounds the messages that Gap looks at.
const mostCompared = 1000

// Gap says what is wrong where ClickHouse holds less than the journal says it
// does, as after a restore from an older back-up: what came between is not
// carried again by itself. "" means that nothing is missing. It looks at the
// events after the newest that ClickHouse has, and names the first that is not
// there; rows that were superseded, and messages without rows, are no gap.
func (s *Sink) Gap(ctx context.Context) (string, error) {
	held, err := s.store.Position(ctx)
	if err != nil {
		return "", err
	}
	if err := s.refresh(ctx); err != nil {
		return "", journalError("read the sink's position", err)
	}
	carried := s.Position()
	for position := held + 1; position <= min(carried, held+mostCompared); position++ {
		there, err := s.there(ctx, position)
		if err != nil {
			return "", err
		}
		if !there {
			return fmt.Sprintf("ClickHouse holds the journal up to position %d, and the journal was carried up to %d: was ClickHouse restored from an older back-up? Position %d is missing. "+
				"With nextbest stopped, remove the consumer %s of the stream %s and start again: what the journal still has is then carried again", held, carried, position, consumerName, s.journal.opts.Name), nil
		}
	}
	return "", nil
}

// there reports whether ClickHouse has the events of a message. What was purged
// counts as missing: nobody can tell any more.
func (s *Sink) there(ctx context.Context, position uint64) (bool, error) {
	msg, err := s.journal.stream.GetMsg(ctx, position)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	if err != nil {
		return false, journalError("read a message", err)
	}
	var ev Events
	if decode(msg.Data, &ev) != nil {
		return true, nil // a dead letter, or a newer program's to carry
	}
	count := func(table, condition string, id any) (bool, error) {
		var n uint64
		if err := s.store.conn.QueryRow(ctx, "SELECT count() FROM "+table+" WHERE "+condition, id).Scan(&n); err != nil {
			return false, storeError("look for an event", err)
		}
		return n > 0, nil
	}
	switch {
	case len(ev.Decisions) > 0:
		return count(tableDecisions, "decision_id = ?", ev.Decisions[0].ID)
	case len(ev.Rewards) > 0:
		return count(tableRewardReports, "journal_position = ?", position)
	case len(ev.Impressions) > 0:
		return count(tableImpressions, "decision_id = ?", ev.Impressions[0].DecisionID)
	}
	return true, nil
}
