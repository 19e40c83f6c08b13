package decisions

import (
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// Minter makes UUIDv7s (RFC 9562 §5.7) that grow strictly within the process:
// 48 bits of milliseconds, 12 bits of the millisecond's fraction (method 3 of
// §6.2), 62 random bits. It is safe for concurrent use.
type Minter struct{ last atomic.Int64 }

// Mint returns a new id for a moment.
func (m *Minter) Mint(now time.Time) uuid.UUID {
	ms := now.UnixMilli()
	frac := (now.UnixNano() - ms*1_000_000) * 4096 / 1_000_000
	next := ms<<12 | frac
	for {
		last := m.last.Load()
		if next <= last {
			next = last + 1
		}
		if m.last.CompareAndSwap(last, next) {
			break
		}
	}
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:8], uint64(next>>12)<<16|0x7000|uint64(next&0xfff))
	binary.BigEndian.PutUint64(id[8:], rand.Uint64()>>2|1<<63)
	return id
}

// MintedAt returns the moment of a UUIDv7, to the millisecond.
func MintedAt(id uuid.UUID) time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(id[:8]) >> 16)).UTC()
}
