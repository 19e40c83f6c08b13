package offline

import (
	"fmt"
	"math"

	"github.com/google/uuid"

	"nextbest/estimators"
)

// mostSlots bounds the slots of a list.
const mostSlots = 8

// listStatistics gather the models of lists: for each slot and action a ridge
// regression of the rewards from that slot on. A list is the consecutive rows of
// one decision, the first slot first; a row without a decision's id is a list of
// its own.
type listStatistics struct {
	model *modelStatistics // an action's number is that of slotAction
	z     []float64
	open  []listRow // rows of the current decision
	of    uuid.UUID

	longest int
	tooLong int64 // lists of more than mostSlots
}

type listRow struct {
	part   uint8
	action int32
	x      []float64
	reward float64
}

// slotAction numbers an action in a slot, from 0.
func slotAction(action int32, slot int) int32 { return action*mostSlots + int32(slot) }

func newListStatistics(parts, width int, forward bool) *listStatistics {
	s := &listStatistics{model: newModelStatistics(parts, width), z: make([]float64, width+2)}
	s.model.forward = forward
	return s
}

// add takes the next row.
func (s *listStatistics) add(decision uuid.UUID, part uint8, action int32, x []float64, reward float64) {
	if decision != s.of || decision == uuid.Nil {
		s.close()
		s.of = decision
	}
	n := len(s.open)
	if n > mostSlots {
		return // the list is too long as it is
	}
	if n < cap(s.open) {
		s.open = s.open[:n+1] // and its vector
	} else {
		s.open = append(s.open, listRow{})
	}
	r := &s.open[n]
	r.part, r.action, r.reward = part, action, reward
	r.x = append(r.x[:0], x...)
}

// close ends the current list.
func (s *listStatistics) close() {
	n := len(s.open)
	if n == 0 {
		return
	}
	s.longest = max(s.longest, n)
	if n > mostSlots {
		s.tooLong++
		s.open = s.open[:0]
		return
	}
	rest := 0.0
	for l := n - 1; l >= 0; l-- {
		r := &s.open[l]
		rest += r.reward
		s.z[0] = 1
		copy(s.z[1:], r.x)
		s.z[len(s.z)-1] = rest
		s.model.at(int(r.part), slotAction(r.action, l)).add(s.z)
	}
	s.open = s.open[:0]
}

func (s *listStatistics) merge(o *listStatistics) {
	s.model.merge(o.model)
	s.longest = max(s.longest, o.longest)
	s.tooLong += o.tooLong
}

// unlistable says why values per list cannot be had; empty where they can.
func (s *listStatistics) unlistable() string {
	if s.tooLong > 0 {
		return fmt.Sprintf("%d lists have more than %d slots", s.tooLong, mostSlots)
	}
	return ""
}

// listTally gathers the lists of one candidate in one lane. The rows of a
// customer come with their slots, each list as one row.
type listTally struct {
	lists []estimators.Row
	slots []estimators.Slot // of the current list
	of    uuid.UUID
	weigh estimators.Weighing // of lists
}

// add takes the next slot of the current customer.
func (t *listTally) add(decision uuid.UUID, s estimators.Slot) {
	if decision != t.of || decision == uuid.Nil {
		t.flush()
		t.of = decision
	}
	t.slots = append(t.slots, s)
}

func (t *listTally) flush() {
	if len(t.slots) > 0 {
		t.lists = append(t.lists, estimators.Row{Slots: append([]estimators.Slot(nil), t.slots...)})
		t.slots = t.slots[:0]
	}
}

// take returns the lists of the customer that ends; they are good until the next
// one's.
func (t *listTally) take() []estimators.Row {
	t.flush()
	out := t.lists
	t.lists = t.lists[:0]
	if len(out) > 0 {
		c := weightsOfLists(out)
		t.weigh.Add(&c)
	}
	return out
}

// weightsOfLists sums a customer's lists: a list counts with the weight of all its
// slots, and the reward of a slot with that of the slots down to it, which is what
// cascade_dr multiplies it by.
func weightsOfLists(lists []estimators.Row) (c estimators.Customer) {
	for i := range lists {
		w := 1.0
		for _, s := range lists[i].Slots {
			w *= s.Weight
			share := math.Abs(w * s.Reward)
			c.AbsShare += share
			if s.Reward != 0 {
				c.Conversion = max(c.Conversion, min(w, 1))
			}
		}
		c.Rows++
		c.Weight += w
		c.MaxWeight = max(c.MaxWeight, w)
	}
	c.Support = c.Weight
	return c
}

// unitList is what a value of lists is a value of.
const unitList = "list"
