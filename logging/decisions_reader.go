package logging

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
	"github.com/google/uuid"

	"nextbest"
)

// DecisionQuery selects decided slots; what is zero does not restrict.
type DecisionQuery struct {
	Placement string    // id for every version, or id@version
	From, To  time.Time // of the decision, From ≤ t < To
	IDs       []uuid.UUID
	Customer  string // pseudonym
	Key       string // idempotency key of the call
	Keyed     bool   // only those with an idempotency key
	Newest    bool   // newest first; oldest first otherwise, by id
	Limit     int    // 0: all
}

// idsAtOnce keeps a statement below ClickHouse's limit of 256 KiB.
const idsAtOnce = 4000

// Decisions streams whole rows of the log, every field as it was recorded, in
// the order of their ids and slots (which is about that of time), or the newest
// first. Memory holds one block. fn may keep the decision.
func (s *Store) Decisions(ctx context.Context, q DecisionQuery, fn func(*nextbest.Decision) error) error {
	conditions, err := q.conditions()
	if err != nil {
		return err
	}
	if q.IDs != nil {
		ids := slices.Clone(q.IDs)
		slices.SortFunc(ids, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
		ids = slices.Compact(ids)
		if q.Newest {
			slices.Reverse(ids)
		}
		left := q.Limit
		for part := range slices.Chunk(ids, idsAtOnce) {
			n, err := s.decisions(ctx, append(slices.Clone(conditions), "decision_id IN ("+idList(part)+")"), q.Newest, left, fn)
			if err != nil {
				return err
			}
			if left -= n; q.Limit > 0 && left <= 0 {
				break
			}
		}
		return nil
	}
	_, err = s.decisions(ctx, conditions, q.Newest, q.Limit, fn)
	return err
}

func (q *DecisionQuery) conditions() ([]string, error) {
	var conditions []string
	if q.Placement != "" {
		ref, err := nextbest.ParseRef(q.Placement)
		switch {
		case err != nil:
			return nil, nextbest.FieldErrorf("placement", "%v", err)
		case ref.Version == 0:
			conditions = append(conditions, "placement_id = "+quote(ref.ID))
		default:
			conditions = append(conditions, "placement = "+quote(ref.String()))
		}
	}
	if !q.From.IsZero() {
		conditions = append(conditions, "time >= "+instant(q.From.UnixMicro()))
	}
	if !q.To.IsZero() {
		conditions = append(conditions, "time < "+instant(q.To.UnixMicro()))
	}
	if q.Customer != "" {
		conditions = append(conditions, "customer = "+quote(q.Customer))
	}
	if q.Key != "" {
		conditions = append(conditions, "key = "+quote(q.Key))
	}
	if q.Keyed {
		conditions = append(conditions, "key != ''")
	}
	if q.Limit < 0 {
		return nil, nextbest.FieldErrorf("limit", "%d; it must not be negative", q.Limit)
	}
	return conditions, nil
}

func idList(ids []uuid.UUID) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = "'" + id.String() + "'"
	}
	return strings.Join(texts, ", ")
}

// decisions runs one statement and returns how many rows it gave.
func (s *Store) decisions(ctx context.Context, conditions []string, newest bool, limit int, fn func(*nextbest.Decision) error) (n int, err error) {
	c := newDecisionColumns()
	var results proto.Results
	var names []string
	for _, in := range c.input {
		if in.Name == "version" || in.Name == "mixture_propensity" || in.Name == "journal_position" {
			continue // not part of a Decision
		}
		results = append(results, proto.ResultColumn{Name: in.Name, Data: in.Data.(proto.ColResult)})
		names = append(names, "`"+in.Name+"`")
	}
	order := "toUInt128(decision_id), slot"
	if newest {
		order = "toUInt128(decision_id) DESC, slot"
	}
	body := "SELECT " + strings.Join(names, ", ") + " FROM decisions WHERE " + all(conditions) + " ORDER BY " + order
	if limit > 0 {
		body += " LIMIT " + strconv.Itoa(limit)
	}
	var stopped error
	err = s.bulk(ctx, ch.Query{Body: body, Result: results, Settings: readSettings(defaultBatch, 256<<20), OnResult: func(context.Context, proto.Block) error {
		for i := range *c.id {
			n++
			d := c.row(i)
			if stopped = fn(&d); stopped != nil {
				return stopped
			}
		}
		return nil
	}})
	if stopped != nil {
		return n, stopped
	}
	return n, storeError("read decisions", err)
}

// row returns the decision at i; nothing in it is used again.
func (c *decisionColumns) row(i int) nextbest.Decision {
	d := nextbest.Decision{
		ID: (*c.id)[i], Slot: (*c.slot)[i], Time: c.time.Row(i).UTC(),
		Placement: c.placement.Row(i), Objective: c.objective.Row(i), Customer: c.customer.Row(i), Source: c.source.Row(i),
		Action: c.action.Row(i), Treatment: c.treatment.Row(i), Channel: c.channel.Row(i), Propensity: (*c.propensity)[i],
		Eligible: c.eligible.Row(i), Probabilities: c.probabilities.Row(i), Scores: c.scores.Row(i),
		Policy: c.policy.Row(i), Model: (*c.model)[i], Features: c.features.Row(i), X: c.x.Row(i),
		Experiment: c.experiment.Row(i), Arm: c.arm.Row(i), Floor: (*c.floor)[i], SetAside: c.setAside.Row(i),
		Salt: c.salt.Row(i), Catalogue: (*c.catalogue)[i], Numerics: c.numerics.Row(i), Key: c.key.Row(i), Body: c.body.Row(i),
	}
	if text := c.context.RowBytes(i); len(text) > 0 {
		d.Context = slices.Clone(text)
	}
	details := c.excludedDetail.Row(i)
	reasons := c.excludedReason.Row(i)
	for j, action := range c.excludedAction.Row(i) {
		d.Excluded = append(d.Excluded, nextbest.Exclusion{Action: action, Reason: nextbest.Reason(reasons[j]), Detail: details[j]})
	}
	shares, policies, models, probabilities, floors := c.armsShare.Row(i), c.armsPolicy.Row(i), c.armsModel.Row(i), c.armsProbability.Row(i), c.armsFloor.Row(i)
	for j, arm := range c.armsArm.Row(i) {
		d.Arms = append(d.Arms, nextbest.ArmProbability{Arm: arm, Share: shares[j], Policy: policies[j], Model: models[j], Probability: probabilities[j], Floor: floors[j]})
	}
	return d
}
