package logging

import (
	"bytes"
	"context"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
	"github.com/google/uuid"
)

// reward is one reward of the customer at hand.
type reward struct {
	at       int64 // microseconds
	kind     int   // place in the plan's kinds
	value    float64
	decision uuid.UUID // zero: it names the customer
	slot     uint8
	order    int // in the stream
}

// rewardBlock is a block of the reward stream, ordered by customer and time.
type rewardBlock struct {
	customers proto.ColStr
	times     []proto.DateTime64
	places    proto.ColUInt32
	values    proto.ColFloat64
	decisions proto.ColUUID
	slots     proto.ColUInt8
}

// rewardStream reads rewards on a connection of its own, a few blocks ahead of
// the merge that takes them.
type rewardStream struct {
	blocks chan *rewardBlock
	err    error // of run; after blocks is closed

	block *rewardBlock
	row   int
	taken int
	ended bool
}

func newRewardStream() *rewardStream {
	return &rewardStream{blocks: make(chan *rewardBlock, 2)}
}

// run reads until the query or ctx ends.
func (r *rewardStream) run(ctx context.Context, s *Store, query string) {
	defer close(r.blocks)
	var (
		times = new(proto.ColDateTime64).WithPrecision(proto.PrecisionMicro)
		ids   proto.ColStr // ordered by, not used
		b     rewardBlock
	)
	r.err = s.bulk(ctx, ch.Query{
		Body: query,
		Result: proto.Results{
			{Name: "customer", Data: &b.customers}, {Name: "time", Data: times}, {Name: "reward_id", Data: &ids}, {Name: "place", Data: &b.places},
			{Name: "value", Data: &b.values}, {Name: "decision_id", Data: &b.decisions}, {Name: "slot", Data: &b.slots},
		},
		Settings: readSettings(defaultBatch, 256<<20),
		OnResult: func(ctx context.Context, _ proto.Block) error {
			if len(b.values) == 0 {
				return nil
			}
			full := b // the columns go with it, the next block gets new ones
			full.times = times.Data
			b, times.Data = rewardBlock{}, nil
			select {
			case r.blocks <- &full:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		},
	})
}

// take appends the rewards of one customer to list. Customers are asked for in
// ascending order; rewards of those who are not asked for are passed over.
func (r *rewardStream) take(customer []byte, list []reward) ([]reward, error) {
	for {
		if r.block == nil || r.row == len(r.block.values) {
			if r.ended {
				return list, nil
			}
			b, ok := <-r.blocks
			if !ok {
				if r.err != nil {
					return nil, storeError("read rewards", r.err)
				}
				r.ended, r.block = true, nil
				return list, nil
			}
			r.block, r.row = b, 0
		}
		b, i := r.block, r.row
		p := b.customers.Pos[i]
		switch bytes.Compare(b.customers.Buf[p.Start:p.End], customer) {
		case 1:
			return list, nil
		case 0:
			list = append(list, reward{
				at: int64(b.times[i]), kind: int(b.places[i]) - 1, value: b.values[i],
				decision: b.decisions[i], slot: b.slots[i], order: r.taken,
			})
			r.taken++
		}
		r.row++
	}
}
