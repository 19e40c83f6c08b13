package logging

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/ClickHouse/ch-go/proto"
)

// decodeEligible reads what a server would send.
func decodeEligible(c *eligibleColumn, data []byte, rows int) error {
	c.Reset()
	r := proto.NewReader(bytes.NewReader(data))
	if err := c.DecodeState(r); err != nil {
		return err
	}
	return c.DecodeColumn(r, rows)
}

// Blocks with dictionaries of every key's width come out as they went in, numbered
// in the order in which rows use the names, over all blocks.
func TestEligibleColumn(t *testing.T) {
	m := &rowMerge{in: &rowColumns{eligible: newEligibleColumn()}, dictionary: map[string]uint32{}}
	var order []string
	for block, names := range []int{3, 300, 70_000, 5, 0} {
		var want [][]string
		sent := new(proto.ColStr).LowCardinality().Array()
		for i := range names {
			row := []string{fmt.Sprintf("a%d", (i*7)%names), "", fmt.Sprintf("a%d", i)}[:i%4%3+1]
			if i%5 == 4 {
				row = nil
			}
			want = append(want, row)
			sent.Append(row)
		}
		want = append(want, nil)
		sent.Append(nil)
		if err := sent.Prepare(); err != nil {
			t.Fatal(err)
		}
		var b proto.Buffer
		sent.EncodeState(&b)
		sent.EncodeColumn(&b)
		if sent.Type() != m.in.eligible.Type() {
			t.Fatalf("type %s, want %s", m.in.eligible.Type(), sent.Type())
		}
		if err := decodeEligible(m.in.eligible, b.Buf, len(want)); err != nil {
			t.Fatal(err)
		}
		if n := m.in.eligible.Rows(); n != len(want) {
			t.Errorf("block %d: %d rows, want %d", block, n, len(want))
		}
		for i, row := range want {
			for _, name := range row {
				if !slices.Contains(order, name) && len(order) < 1000 {
					order = append(order, name)
				}
			}
			got := m.eligible(nil, i)
			if len(got) != len(row) {
				t.Fatalf("block %d row %d: %d actions, want %q", block, i, len(got), row)
			}
			for k, n := range got {
				if m.actions[n] != row[k] {
					t.Fatalf("block %d row %d: %q, want %q", block, i, m.actions[n], row[k])
				}
			}
		}
		if len(b.Buf) > 32 {
			cut := b.Buf[:len(b.Buf)-1]
			if decodeEligible(newEligibleColumn(), cut, len(want)) == nil {
				t.Error("a block that ends early was taken")
			}
		}
	}
	if len(order) != 1000 || !slices.Equal(m.actions[:1000], order) {
		t.Error("names are not numbered in the order of use")
	}
}

// A key beyond the dictionary, and arrays that end elsewhere than their elements,
// are errors.
func TestEligibleColumnRefuses(t *testing.T) {
	encode := func(end uint64, dictionary []string, keys ...uint8) []byte {
		var b proto.Buffer
		b.PutInt64(1) // version of the keys
		b.PutUInt64(end)
		b.PutInt64(1 << 9) // keys of one byte, a dictionary follows
		b.PutInt64(int64(len(dictionary)))
		for _, d := range dictionary {
			b.PutString(d)
		}
		b.PutInt64(int64(len(keys)))
		b.Buf = append(b.Buf, keys...)
		return b.Buf
	}
	if err := decodeEligible(newEligibleColumn(), encode(2, []string{"", "a"}, 1, 0), 1); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"key beyond the dictionary": encode(2, []string{"", "a"}, 1, 2),
		"too few elements":          encode(3, []string{"", "a"}, 1, 1),
		"too many elements":         encode(1, []string{"", "a"}, 1, 1),
	} {
		if decodeEligible(newEligibleColumn(), data, 1) == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
