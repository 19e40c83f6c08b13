package offline

import (
	"slices"
	"unsafe"

	"github.com/google/uuid"

	"nextbest"
)

// batchCodec turns batches into bytes and back, bit for bit. What repeats from
// row to row is written once: the names that rows share are numbered for the whole
// spool, eligible sets within a batch, both as runs of equal ones; and a column of
// numbers that takes at most 255 values (probabilities of a policy that explores
// uniformly, floors, rewards) as a table and a byte for each. Everything else is
// as it lies in memory, for only the process that wrote it reads it. Batch.Shares
// does not go along: the first pass alone reads it.
type batchCodec struct {
	names   []string // policies, schemas, experiments and arms, by number
	numbers map[string]uint32
	actions []string // the longest dictionary so far; the others begin it

	// Scratch.
	runs     runs
	lengths  []uint32
	elements []uint32
	text     []byte
	ends     []int
	chosen   []int32
	sets     map[string]uint32
	table    valueTable
}

func newBatchCodec() *batchCodec {
	return &batchCodec{numbers: map[string]uint32{}, sets: map[string]uint32{}}
}

// encode appends a batch to to, which is empty or a multiple of 8 bytes.
func (c *batchCodec) encode(to []byte, b *nextbest.Batch) []byte {
	if len(b.Actions) > len(c.actions) {
		c.actions = b.Actions
	}
	to = put(to, []int{b.N(), b.Width})
	to = put(to, b.Decision)
	to = put(to, b.Time)
	to = c.putCustomers(to, b.Customer)
	to = c.putEligible(to, b)
	to = c.table.put(to, b.Probabilities[b.Offsets[0]:])
	c.chosen = c.chosen[:0]
	for _, k := range b.Chosen {
		c.chosen = append(c.chosen, int32(k))
	}
	to = put(to, c.chosen)
	for _, v := range [...][]float64{b.Propensity, b.Floor, b.Reward} {
		to = c.table.put(to, v)
	}
	to = put(to, b.X)
	for _, v := range [...][]string{b.Policies, b.Features, b.Experiment, b.Arm} {
		to = c.putNames(to, v)
	}
	to = put(to, b.Matched)
	return c.putContexts(to, b.Contexts)
}

// decode returns the batch in data, whose dictionary has so many actions. The
// batch shares data.
func (c *batchCodec) decode(data []byte, actions int) *nextbest.Batch {
	from := &data
	head := take[int](from)
	n := head[0]
	b := &nextbest.Batch{Actions: c.actions[:actions:actions], Width: head[1]}
	b.Decision = take[uuid.UUID](from)
	b.Time = take[int64](from)
	b.Customer = takeCustomers(from, n)
	b.Offsets, b.Eligible = takeEligible(from, n)
	b.Probabilities = takeValues(from)
	chosen := take[int32](from)
	b.Chosen = make([]int, len(chosen))
	for i, k := range chosen {
		b.Chosen[i] = int(k)
	}
	for _, v := range [...]*[]float64{&b.Propensity, &b.Floor, &b.Reward} {
		*v = takeValues(from)
	}
	b.X = take[float32](from)
	for _, v := range [...]*[]string{&b.Policies, &b.Features, &b.Experiment, &b.Arm} {
		*v = c.takeNames(from)
	}
	b.Matched = take[bool](from)
	b.Contexts = takeContexts(from)
	return b
}

// putCustomers writes each customer once for its consecutive rows.
func (c *batchCodec) putCustomers(to []byte, customers []string) []byte {
	c.runs.clear()
	c.lengths, c.text = c.lengths[:0], c.text[:0]
	for i, who := range customers {
		if i == 0 || who != customers[i-1] {
			c.lengths = append(c.lengths, uint32(len(who)))
			c.text = append(c.text, who...)
		}
		c.runs.add(uint32(len(c.lengths)))
	}
	return put(put(put(to, c.runs.count), c.lengths), c.text)
}

func takeCustomers(from *[]byte, n int) []string {
	counts, lengths := take[uint32](from), take[uint32](from)
	text := string(take[byte](from))
	out := make([]string, 0, n)
	for i, count := range counts {
		who := text[:lengths[i]]
		text = text[lengths[i]:]
		for range count {
			out = append(out, who)
		}
	}
	return out
}

// putEligible writes each eligible set once and the rows as runs of sets.
func (c *batchCodec) putEligible(to []byte, b *nextbest.Batch) []byte {
	c.runs.clear()
	clear(c.sets)
	c.lengths, c.elements = c.lengths[:0], c.elements[:0]
	var last []uint32
	var set uint32
	for i := range b.N() {
		eligible := b.Eligible[b.Offsets[i]:b.Offsets[i+1]]
		if i == 0 || !slices.Equal(eligible, last) {
			var ok bool
			if set, ok = c.sets[string(bytesOf(eligible))]; !ok {
				set = uint32(len(c.lengths))
				c.sets[string(bytesOf(eligible))] = set
				c.lengths = append(c.lengths, uint32(len(eligible)))
				c.elements = append(c.elements, eligible...)
			}
			last = eligible
		}
		c.runs.add(set)
	}
	return put(put(c.runs.put(to), c.lengths), c.elements)
}

func takeEligible(from *[]byte, n int) (offsets []int, eligible []uint32) {
	sets, counts := take[uint32](from), take[uint32](from)
	lengths, elements := take[uint32](from), take[uint32](from)
	at := make([]int, len(lengths)+1)
	for i, l := range lengths {
		at[i+1] = at[i] + int(l)
	}
	total := 0
	for i, s := range sets {
		total += int(lengths[s]) * int(counts[i])
	}
	offsets, eligible = make([]int, 1, n+1), make([]uint32, 0, total)
	for i, s := range sets {
		set := elements[at[s]:at[s+1]]
		for range counts[i] {
			eligible = append(eligible, set...)
			offsets = append(offsets, len(eligible))
		}
	}
	return offsets, eligible
}

// putNames writes names as runs of their numbers.
func (c *batchCodec) putNames(to []byte, names []string) []byte {
	c.runs.clear()
	var number uint32
	for i, name := range names {
		if i == 0 || name != names[i-1] {
			var ok bool
			if number, ok = c.numbers[name]; !ok {
				number = uint32(len(c.names))
				c.numbers[name] = number
				c.names = append(c.names, name)
			}
		}
		c.runs.add(number)
	}
	return c.runs.put(to)
}

func (c *batchCodec) takeNames(from *[]byte) []string {
	numbers, counts := take[uint32](from), take[uint32](from)
	n := 0
	for _, count := range counts {
		n += int(count)
	}
	out := make([]string, 0, n)
	for i, number := range numbers {
		for range counts[i] {
			out = append(out, c.names[number])
		}
	}
	return out
}

func (c *batchCodec) putContexts(to []byte, contexts [][]byte) []byte {
	c.ends, c.text = c.ends[:0], c.text[:0]
	for _, x := range contexts {
		c.text = append(c.text, x...)
		c.ends = append(c.ends, len(c.text))
	}
	return put(put(to, c.ends), c.text)
}

// takeContexts returns nil where the batch had none.
func takeContexts(from *[]byte) [][]byte {
	ends, text := take[int](from), take[byte](from)
	if len(ends) == 0 {
		return nil
	}
	out, at := make([][]byte, len(ends)), 0
	for i, end := range ends {
		out[i] = text[at:end:end]
		at = end
	}
	return out
}

// runs are numbers with how often each comes in a row.
type runs struct{ number, count []uint32 }

func (r *runs) clear() { r.number, r.count = r.number[:0], r.count[:0] }

func (r *runs) add(number uint32) {
	if n := len(r.number); n > 0 && r.number[n-1] == number {
		r.count[n-1]++
		return
	}
	r.number, r.count = append(r.number, number), append(r.count, 1)
}

func (r *runs) put(to []byte) []byte { return put(put(to, r.number), r.count) }

// plainValue is what may be written as it lies in memory.
type plainValue interface {
	~byte | ~bool | ~int32 | ~uint32 | ~int64 | ~uint64 | ~int | ~float32 | ~float64 | uuid.UUID
}

// put appends a column: its length, its bytes, and zeros up to a multiple of 8.
func put[T plainValue](to []byte, column []T) []byte {
	n := uint64(len(column))
	to = append(to, bytesOf([]uint64{n})...)
	to = append(to, bytesOf(column)...)
	for len(to)%8 != 0 {
		to = append(to, 0)
	}
	return to
}

// take cuts a column off the front. It shares the memory, which begins at a
// multiple of 8.
func take[T plainValue](from *[]byte) []T {
	n := int(*(*uint64)(unsafe.Pointer(unsafe.SliceData(*from))))
	data := (*from)[8:]
	if n == 0 {
		*from = data
		return nil
	}
	size := n * int(unsafe.Sizeof(*new(T)))
	column := unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(data[:size]))), n)
	*from = data[(size+7)&^7:]
	return column
}

// bytesOf is a column's memory.
func bytesOf[T plainValue](column []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(column))), len(column)*int(unsafe.Sizeof(*new(T))))
}
