package logging

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/google/uuid"

	"nextbest"
)

// rowColumns receives the decisions of a query.
type rowColumns struct {
	results            proto.Results
	customer           proto.ColStr
	time               *proto.ColDateTime64
	id                 proto.ColUUID
	slot, selected     proto.ColUInt8
	signature          proto.ColStr
	eligible           *eligibleColumn
	chosen             proto.ColUInt32
	chances            proto.ColFloat64
	chanceEnds         *proto.ColArr[float64]
	propensity, floors proto.ColFloat64
	x                  proto.ColFloat32
	xEnds              *proto.ColArr[float32]
	context            proto.ColStr
}

func newRowColumns(contexts bool) *rowColumns {
	c := &rowColumns{time: new(proto.ColDateTime64).WithPrecision(proto.PrecisionMicro), eligible: newEligibleColumn()}
	c.chanceEnds, c.xEnds = proto.NewArray[float64](&c.chances), proto.NewArray[float32](&c.x)
	c.results = proto.Results{
		{Name: "customer", Data: &c.customer}, {Name: "time", Data: c.time}, {Name: "decision_id", Data: &c.id}, {Name: "slot", Data: &c.slot},
		{Name: "selected", Data: &c.selected}, {Name: "signature", Data: &c.signature}, {Name: "eligible_actions", Data: c.eligible}, {Name: "chosen", Data: &c.chosen},
		{Name: "chances", Data: c.chanceEnds}, {Name: "mixture_propensity", Data: &c.propensity}, {Name: "floor", Data: &c.floors},
		{Name: "features_x", Data: c.xEnds},
	}
	if contexts {
		c.results = append(c.results, proto.ResultColumn{Name: "context_text", Data: &c.context})
	}
	return c
}

// signature is what many rows share.
type signature struct {
	policy, features, experiment, arm string
	shares                            *nextbest.ArmShares
}

// maxSignatures bounds the memory of a log whose signatures rarely repeat.
const maxSignatures = 1 << 16

// rowMerge joins the stream of decisions with the stream of rewards and fills
// batches.
type rowMerge struct {
	plan       *rowPlan
	in         *rowColumns
	rewards    *rewardStream
	emit       func(*nextbest.Batch) error
	err        error
	signatures map[string]*signature
	dictionary map[string]uint32
	actions    []string

	batch *nextbest.Batch
	texts []byte // contexts of the block at hand; batches keep parts of it

	// The customer at hand: rewards that name a decision, sorted by decision,
	// and those that name the customer, sorted by time with a place to go on from.
	started        bool
	customer       []byte
	customerText   string
	named, unnamed []reward
	next           int

	// The latest first-slot decision. What names the customer belongs to it until
	// the next one comes, so its reward is settled only then.
	open     bool
	openAt   int64
	openRow  int // in the batch; -1: not selected
	openList []reward

	scratch []reward
	sums    []float64
	seen    []bool
}

// block takes one block of decisions.
func (m *rowMerge) block() error {
	in := m.in
	m.texts = bytes.Clone(in.context.Buf)
	for i := range in.id {
		at := int64(in.time.Data[i])
		p := in.customer.Pos[i]
		if who := in.customer.Buf[p.Start:p.End]; !m.started || !bytes.Equal(who, m.customer) {
			m.settle(1<<63 - 1)
			if err := m.turn(who); err != nil {
				return err
			}
		} else if in.slot[i] == 1 {
			m.settle(at)
		}
		row := -1
		if in.selected[i] != 0 {
			var err error
			if row, err = m.add(i); err != nil {
				return err
			}
		}
		list := m.naming(in.id[i], in.slot[i], at)
		if in.slot[i] == 1 {
			m.open, m.openAt, m.openRow = true, at, row
			m.openList = append(m.openList[:0], list...)
		} else if row >= 0 {
			m.score(row, list)
		}
	}
	return nil
}

// finish settles the last row and hands out the last batch.
func (m *rowMerge) finish() error {
	m.settle(1<<63 - 1)
	return m.flush()
}

// turn goes on to the next customer.
func (m *rowMerge) turn(who []byte) error {
	m.started = true
	m.customer = append(m.customer[:0], who...)
	m.customerText = string(who)
	list, err := m.rewards.take(m.customer, m.scratch[:0])
	if err != nil {
		return err
	}
	m.scratch = list
	m.named, m.unnamed, m.next = m.named[:0], m.unnamed[:0], 0
	for _, r := range list {
		if r.decision == uuid.Nil {
			m.unnamed = append(m.unnamed, r)
		} else {
			m.named = append(m.named, r)
		}
	}
	slices.SortStableFunc(m.named, func(a, b reward) int {
		return cmp.Or(bytes.Compare(a.decision[:], b.decision[:]), cmp.Compare(a.slot, b.slot))
	})
	return nil
}

// naming returns the rewards that name a decision and come within the window
// after it, in the order of the stream.
func (m *rowMerge) naming(id uuid.UUID, slot uint8, at int64) []reward {
	lo, _ := slices.BinarySearchFunc(m.named, id, func(r reward, id uuid.UUID) int {
		return cmp.Or(bytes.Compare(r.decision[:], id[:]), cmp.Compare(r.slot, slot))
	})
	m.scratch = m.scratch[:0]
	for _, r := range m.named[lo:] {
		if r.decision != id || r.slot != slot {
			break
		}
		if at <= r.at && r.at < at+m.plan.window {
			m.scratch = append(m.scratch, r)
		}
	}
	return m.scratch
}

// settle gives the open decision the rewards that name its customer and come
// before the next decision, and within the window.
func (m *rowMerge) settle(next int64) {
	if !m.open {
		return
	}
	m.open = false
	both := len(m.openList) > 0
	for ; m.next < len(m.unnamed) && m.unnamed[m.next].at < next; m.next++ {
		if r := m.unnamed[m.next]; m.openAt <= r.at && r.at < m.openAt+m.plan.window {
			m.openList = append(m.openList, r)
		}
	}
	if m.openRow < 0 {
		return
	}
	if both {
		slices.SortFunc(m.openList, func(a, b reward) int { return cmp.Compare(a.order, b.order) })
	}
	m.score(m.openRow, m.openList)
}

// score combines the rewards of one row, in order of time, as the objective
// says: one number for each kind, then their weighted sum.
func (m *rowMerge) score(row int, list []reward) {
	if len(list) == 0 {
		return // add has set the default
	}
	if m.sums == nil {
		m.sums, m.seen = make([]float64, len(m.plan.kinds)), make([]bool, len(m.plan.kinds))
	}
	clear(m.sums)
	clear(m.seen)
	for _, r := range list {
		switch k := r.kind; {
		case !m.seen[k]:
			m.sums[k], m.seen[k] = r.value, true
		case m.plan.aggregation == "sum":
			m.sums[k] += r.value
		case m.plan.aggregation == "last":
			m.sums[k] = r.value
		case m.plan.aggregation == "max":
			m.sums[k] = max(m.sums[k], r.value)
		}
	}
	total := 0.0
	for k, w := range m.plan.weights {
		if m.seen[k] {
			total += w * m.sums[k]
		}
	}
	m.batch.Reward[row], m.batch.Matched[row] = total, true
}

// add appends the decision at i of the block to the batch and returns its row.
func (m *rowMerge) add(i int) (int, error) {
	in := m.in
	width := in.xEnds.RowLen(i)
	if b := m.batch; b != nil && (b.N() >= m.plan.batch || b.Width != width) && !m.open {
		if err := m.flush(); err != nil {
			return 0, err
		}
	}
	s, err := m.lookUp(i)
	if err != nil {
		return 0, err
	}
	lo, hi := rowBounds(in.chanceEnds.Offsets, i)
	first, end := rowBounds(in.eligible.ends, i)
	chosen := int(in.chosen[i])
	switch {
	case hi-lo != end-first:
		return 0, nextbest.Errorf(nextbest.Internal, "decision %s slot %d is logged with %d eligible actions and %d probabilities; the log is damaged there", in.id[i], in.slot[i], end-first, hi-lo)
	case chosen == 0 && !m.plan.narrow:
		return 0, nextbest.Errorf(nextbest.Internal, "decision %s slot %d is logged with an action that is not among its eligible ones; the log is damaged there", in.id[i], in.slot[i])
	}
	if m.batch == nil {
		m.batch = newBatch(m.plan.batch, width, end-first)
	}
	b := m.batch
	if b.Width != width {
		return 0, nextbest.Errorf(nextbest.Internal, "the slots of decision %s are logged with features of different widths, %d and %d; the log is damaged there", in.id[i], b.Width, width)
	}
	row := b.N()
	b.Decision = append(b.Decision, in.id[i])
	b.Time = append(b.Time, int64(in.time.Data[i]))
	b.Customer = append(b.Customer, m.customerText)
	b.Eligible = m.eligible(b.Eligible, i)
	b.Probabilities = append(b.Probabilities, in.chances[lo:hi]...)
	b.Offsets = append(b.Offsets, len(b.Eligible))
	b.Chosen = append(b.Chosen, chosen-1)
	b.Propensity = append(b.Propensity, in.propensity[i])
	b.Floor = append(b.Floor, in.floors[i])
	lo, hi = rowBounds(in.xEnds.Offsets, i)
	b.X = append(b.X, in.x[lo:hi]...)
	b.Policies = append(b.Policies, s.policy)
	b.Features = append(b.Features, s.features)
	b.Experiment = append(b.Experiment, s.experiment)
	b.Arm = append(b.Arm, s.arm)
	b.Shares = append(b.Shares, s.shares)
	b.Reward = append(b.Reward, m.plan.query.Objective.Default)
	b.Matched = append(b.Matched, false)
	if m.plan.contexts {
		b.Contexts = append(b.Contexts, m.texts[in.context.Pos[i].Start:in.context.Pos[i].End:in.context.Pos[i].End])
	}
	return row, nil
}

// newBatch makes room for n rows with so many features and, about, so many
// eligible actions each.
func newBatch(n, width, eligible int) *nextbest.Batch {
	return &nextbest.Batch{
		Decision: make([]uuid.UUID, 0, n), Time: make([]int64, 0, n), Customer: make([]string, 0, n),
		Offsets: make([]int, 1, n+1), Eligible: make([]uint32, 0, n*eligible), Probabilities: make([]float64, 0, n*eligible),
		Chosen: make([]int, 0, n), Propensity: make([]float64, 0, n), Floor: make([]float64, 0, n),
		Width: width, X: make([]float32, 0, n*width),
		Policies: make([]string, 0, n), Features: make([]string, 0, n), Experiment: make([]string, 0, n), Arm: make([]string, 0, n), Shares: make([]*nextbest.ArmShares, 0, n),
		Reward: make([]float64, 0, n), Matched: make([]bool, 0, n),
	}
}

// flush hands out the batch at hand.
func (m *rowMerge) flush() error {
	b := m.batch
	if b == nil {
		return nil
	}
	m.batch = nil
	b.Actions = m.actions[:len(m.actions):len(m.actions)]
	return m.emit(b)
}

// lookUp returns the signature of row i.
func (m *rowMerge) lookUp(i int) (*signature, error) {
	p := m.in.signature.Pos[i]
	text := m.in.signature.Buf[p.Start:p.End]
	if s := m.signatures[string(text)]; s != nil {
		return s, nil
	}
	s, err := parseSignature(string(text))
	if err != nil {
		return nil, nextbest.Errorf(nextbest.Internal, "decision %s: signature %q: %w", m.in.id[i], text, err)
	}
	if len(m.signatures) >= maxSignatures {
		clear(m.signatures)
	}
	m.signatures[string(text)] = s
	return s, nil
}

// rowBounds are row i's first element and the one after its last.
func rowBounds(ends proto.ColUInt64, i int) (lo, hi int) {
	if i > 0 {
		lo = int(ends[i-1])
	}
	return lo, int(ends[i])
}
