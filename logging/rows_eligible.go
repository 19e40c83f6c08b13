package logging

import (
	"fmt"
	"math"

	"github.com/ClickHouse/ch-go/proto"
)

// eligibleColumn receives each row's eligible actions, Array(LowCardinality(String)),
// as they come: a dictionary for each block and numbers into it. Written as texts
// they are most of a row, and what ClickHouse needs to make and sort the texts is
// more than all the rest of the query.
type eligibleColumn struct {
	ends    proto.ColUInt64
	names   proto.ColStr // the block's dictionary
	raw     proto.ColLowCardinalityRaw
	keys    []uint32 // places in names, row after row
	numbers []uint32 // by place in names: the stream's number
}

// unnumbered is a name that no row before has used.
const unnumbered = math.MaxUint32

func newEligibleColumn() *eligibleColumn {
	c := &eligibleColumn{}
	c.raw.Index = &c.names
	return c
}

// Type is what the query must give.
func (c *eligibleColumn) Type() proto.ColumnType {
	return proto.ColumnTypeArray.Sub(c.raw.Type())
}

// Rows returns the rows of the block.
func (c *eligibleColumn) Rows() int { return c.ends.Rows() }

// Reset empties the column.
func (c *eligibleColumn) Reset() {
	c.ends.Reset()
	c.raw.Reset()
	c.keys, c.numbers = c.keys[:0], c.numbers[:0]
}

// DecodeState reads what precedes a column of this type.
func (c *eligibleColumn) DecodeState(r *proto.Reader) error { return c.raw.DecodeState(r) }

// DecodeColumn reads the rows of a block.
func (c *eligibleColumn) DecodeColumn(r *proto.Reader, rows int) error {
	if err := c.ends.DecodeColumn(r, rows); err != nil {
		return fmt.Errorf("ends of arrays: %w", err)
	}
	elements := 0
	if rows > 0 {
		elements = int(c.ends[rows-1])
	}
	if err := c.raw.DecodeColumn(r, elements); err != nil {
		return err
	}
	if elements == 0 {
		return nil
	}
	switch c.raw.Key {
	case proto.KeyUInt8:
		c.keys = widen(c.keys, c.raw.Keys8)
	case proto.KeyUInt16:
		c.keys = widen(c.keys, c.raw.Keys16)
	case proto.KeyUInt32:
		c.keys = widen(c.keys, c.raw.Keys32)
	case proto.KeyUInt64:
		c.keys = widen(c.keys, c.raw.Keys64)
	}
	if len(c.keys) != elements {
		return fmt.Errorf("%d elements of arrays that end at %d", len(c.keys), elements)
	}
	n := uint32(c.names.Rows())
	for _, k := range c.keys {
		if k >= n {
			return fmt.Errorf("element %d of a dictionary of %d", k, n)
		}
	}
	for range n {
		c.numbers = append(c.numbers, unnumbered)
	}
	return nil
}

// widen appends keys; a dictionary has less than 2³² names.
func widen[K uint8 | uint16 | uint32 | uint64](to []uint32, keys []K) []uint32 {
	for _, k := range keys {
		to = append(to, uint32(min(uint64(k), math.MaxUint32)))
	}
	return to
}

// eligible appends the numbers of row i's actions. Names are numbered when a row
// first uses them.
func (m *rowMerge) eligible(to []uint32, i int) []uint32 {
	c := m.in.eligible
	lo, hi := rowBounds(c.ends, i)
	for _, k := range c.keys[lo:hi] {
		n := c.numbers[k]
		if n == unnumbered {
			n = m.number(c.names.Row(int(k)))
			c.numbers[k] = n
		}
		to = append(to, n)
	}
	return to
}

// number returns an action's number in the stream.
func (m *rowMerge) number(action string) uint32 {
	n, ok := m.dictionary[action]
	if !ok {
		n = uint32(len(m.actions))
		m.dictionary[action] = n
		m.actions = append(m.actions, action)
	}
	return n
}
