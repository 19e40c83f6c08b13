package logging

import (
	"context"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	"nextbest"
)

// Contacts streams the contacts that live decisions since a time have made,
// ordered by customer and time, for the contact history to be rebuilt from.
//
// What became of a decision decides: shown and delivered are a contact; bounced
// and not_shown are none; overridden is one by the action that was taken instead,
// unless that was to do nothing; a decision of which nothing was reported is
// Reserved, and its expiry is left to the caller, who knows the placement.
// Groups are empty: the caller knows the catalogue.
func (s *Store) Contacts(ctx context.Context, since time.Time, fn func(customer string, c nextbest.Contact) error) error {
	var (
		customer        proto.ColStr
		at              = new(proto.ColDateTime64).WithPrecision(proto.PrecisionMicro)
		id              proto.ColUUID
		slot, confirmed proto.ColUInt8
		action, channel proto.ColStr
	)
	from := instant(since.UnixMicro())
	body := `SELECT d.customer AS customer, d.time AS at, d.decision_id AS id, d.slot AS slot,
    if(i.status = 'overridden' AND i.done != '', i.done, d.chosen) AS action,
    d.way AS channel, toUInt8(i.status != '') AS confirmed
FROM
(
    SELECT customer, time, decision_id, slot, CAST(action, 'String') AS chosen, CAST(channel, 'String') AS way
    FROM decisions WHERE time >= ` + from + ` AND source = 'live'
) AS d
LEFT ANY JOIN (SELECT decision_id, slot, CAST(status, 'String') AS status, CAST(action, 'String') AS done FROM impressions) AS i
    ON d.decision_id = i.decision_id AND d.slot = i.slot
WHERE action != ` + quote(nextbest.DoNothing) + ` AND i.status NOT IN ('bounced', 'not_shown')
ORDER BY customer, at, toUInt128(id), slot`
	var stopped error
	err := s.bulk(ctx, ch.Query{
		Body: body, Settings: readSettings(defaultBatch, 256<<20),
		Result: proto.Results{
			{Name: "customer", Data: &customer}, {Name: "at", Data: at}, {Name: "id", Data: &id}, {Name: "slot", Data: &slot},
			{Name: "action", Data: &action}, {Name: "channel", Data: &channel}, {Name: "confirmed", Data: &confirmed},
		},
		OnResult: func(context.Context, proto.Block) error {
			for i := range id {
				c := nextbest.Contact{DecisionID: id[i], Slot: slot[i], Action: action.Row(i), Channel: channel.Row(i), Time: at.Row(i).UTC(), Status: nextbest.Reserved}
				if confirmed[i] != 0 {
					c.Status = nextbest.Contacted
				}
				if stopped = fn(customer.Row(i), c); stopped != nil {
					return stopped
				}
			}
			return nil
		},
	})
	if stopped != nil {
		return stopped
	}
	return storeError("read contacts", err)
}
