package registry

import (
	"hash/maphash"
	"sync"
)

// shelf keeps what this process last knew about some customers. It may be
// wrong at any time: whoever uses it goes through compare-and-set.
type shelf struct {
	seed   maphash.Seed
	shards [64]shelfShard
	limit  int // entries in a shard
}

type shelfShard struct {
	mu    sync.Mutex
	items map[string]kept
}

type kept struct {
	value    []byte
	revision uint64
	outrun   bool // somebody else was faster: ask the leader
}

func newShelf(entries int) *shelf {
	s := &shelf{seed: maphash.MakeSeed()}
	s.limit = max(1, entries/len(s.shards))
	s.clear()
	return s
}

func (s *shelf) shard(key string) *shelfShard {
	return &s.shards[maphash.String(s.seed, key)%uint64(len(s.shards))]
}

func (s *shelf) get(key string) (kept, bool) {
	h := s.shard(key)
	h.mu.Lock()
	defer h.mu.Unlock()
	k, ok := h.items[key]
	return k, ok
}

// put keeps a copy of value unless a newer one is there.
func (s *shelf) put(key string, value []byte, revision uint64) {
	s.set(key, kept{value: append(make([]byte, 0, len(value)), value...), revision: revision})
}

// outrun notes that what is here is old.
func (s *shelf) outrun(key string) { s.set(key, kept{outrun: true}) }

func (s *shelf) set(key string, k kept) {
	h := s.shard(key)
	h.mu.Lock()
	defer h.mu.Unlock()
	old, there := h.items[key]
	if there && !k.outrun && old.revision > k.revision {
		return
	}
	if !there && len(h.items) >= s.limit {
		for victim := range h.items { // any: the order of a map is arbitrary
			delete(h.items, victim)
			break
		}
	}
	h.items[key] = k
}

func (s *shelf) drop(key string) {
	h := s.shard(key)
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.items, key)
}

func (s *shelf) clear() {
	for i := range s.shards {
		h := &s.shards[i]
		h.mu.Lock()
		h.items = map[string]kept{}
		h.mu.Unlock()
	}
}
