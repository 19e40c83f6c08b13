package logging

import (
	"context"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
	"github.com/google/uuid"
)

// Imported streams the id and the body's hash of every decision of an import,
// in the order of their ids, so that the same rows can be told from others
// under their ids.
func (s *Store) Imported(ctx context.Context, source string, fn func(id uuid.UUID, body string) error) error {
	var id proto.ColUUID
	var body proto.ColStr
	var stopped error
	err := s.bulk(ctx, ch.Query{
		Body:     "SELECT decision_id AS id, toString(body) AS body FROM decisions WHERE source = " + quote(source) + " ORDER BY toUInt128(decision_id)",
		Settings: readSettings(defaultBatch, 256<<20),
		Result:   proto.Results{{Name: "id", Data: &id}, {Name: "body", Data: &body}},
		OnResult: func(context.Context, proto.Block) error {
			for i := range id {
				if stopped = fn(id[i], body.Row(i)); stopped != nil {
					return stopped
				}
			}
			return nil
		},
	})
	if stopped != nil {
		return stopped
	}
	return storeError("read what was imported", err)
}
