package offline

import (
	"fmt"
	"slices"
	"time"
)

// blocksOfTime is into how many blocks of about as many rows a log is cut, where
// what is said of a row may only use what came before it.
const blocksOfTime = 10

// needsBlocks reports whether a request needs blocks of time.
func needsBlocks(req *Request) bool {
	return req.CrossFit == crossFitTime || req.asks("adaptive_aipw")
}

// timeSample keeps the times of a sample of rows of bounded size that depends on
// the decisions' ids alone, neither on order nor on batches.
type timeSample struct {
	halvings int
	keys     []uint64
	times    []int64
}

// timesKept bounds the sample: a border of blocks then lies within a hundredth
// of the rows of where it should.
const timesKept = 20_000

func (s *timeSample) add(key uint64, micros int64) {
	if key>>(64-s.halvings) != 0 {
		return
	}
	s.keys, s.times = append(s.keys, key), append(s.times, micros)
	s.bound()
}

// bound halves the share of keys that are kept until they are few enough.
func (s *timeSample) bound() {
	for len(s.keys) > timesKept {
		s.halvings++
		s.thin()
	}
}

func (s *timeSample) thin() {
	n := 0
	for i, key := range s.keys {
		if key>>(64-s.halvings) == 0 {
			s.keys[n], s.times[n] = key, s.times[i]
			n++
		}
	}
	s.keys, s.times = s.keys[:n], s.times[:n]
}

func (s *timeSample) merge(o *timeSample) {
	s.halvings = max(s.halvings, o.halvings)
	s.keys, s.times = append(s.keys, o.keys...), append(s.times, o.times...)
	s.thin()
	s.bound()
}

// blocks cuts the time from first into blocks of about as many rows.
func (s *timeSample) blocks(first int64) timeBlocks {
	slices.Sort(s.times)
	var b timeBlocks
	last := first
	for k := 1; k < blocksOfTime && len(s.times) > 0; k++ {
		if at := s.times[len(s.times)*k/blocksOfTime]; at > last {
			b = append(b, at)
			last = at
		}
	}
	return b
}

// timeBlocks are the beginnings (microseconds since the Unix epoch) of all blocks
// but the first, which begins with the log.
type timeBlocks []int64

func (b timeBlocks) of(micros int64) uint8 {
	k, here := slices.BinarySearch(b, micros)
	if here {
		k++
	}
	return uint8(k)
}

func (b timeBlocks) n() int { return len(b) + 1 }

// String names the blocks in reports.
func (b timeBlocks) String() string {
	s := fmt.Sprintf("%d blocks of time, each predicted by those before it", b.n())
	for k, at := range b {
		sep := ", "
		if k == 0 {
			sep = ", from "
		}
		s += sep + time.UnixMicro(at).UTC().Format(time.RFC3339Nano)
	}
	return s
}
