package demo

import (
	"container/heap"
	"context"
	"net/http"
	"sync"
	"time"

	"nextbest/cmd/nextbest/client"
)

// reward is a reward as the API takes it.
type reward struct {
	ID         string       `json:"id"`
	Kind       string       `json:"kind"`
	Value      float64      `json:"value"`
	Time       time.Time    `json:"time"`
	DecisionID string       `json:"decision_id,omitempty"`
	Customer   *customerRef `json:"customer,omitempty"`

	due time.Time
}

type customerRef struct {
	ID string `json:"id"`
}

// outbox holds rewards until they happen and then reports them in batches.
type outbox struct {
	api *client.Client

	mu   sync.Mutex
	heap rewardHeap
	sent int
}

func (o *outbox) add(r reward, due time.Time) {
	r.due = due
	o.mu.Lock()
	heap.Push(&o.heap, r)
	o.mu.Unlock()
}

// Run reports due rewards until ctx ends.
func (o *outbox) Run(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		batch := o.take(time.Now())
		if len(batch) == 0 {
			continue
		}
		if _, err := o.api.Call(ctx, http.MethodPost, "/v1/rewards", map[string]any{"rewards": batch}, nil); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		o.mu.Lock()
		o.sent += len(batch)
		o.mu.Unlock()
	}
}

// take removes at most 500 rewards that are due.
func (o *outbox) take(now time.Time) []reward {
	o.mu.Lock()
	defer o.mu.Unlock()
	var batch []reward
	for len(o.heap) > 0 && len(batch) < 500 && !o.heap[0].due.After(now) {
		batch = append(batch, heap.Pop(&o.heap).(reward))
	}
	return batch
}

// empty reports whether every reward has been reported.
func (o *outbox) empty() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.heap) == 0
}

func (o *outbox) reported() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sent
}

type rewardHeap []reward

func (h rewardHeap) Len() int           { return len(h) }
func (h rewardHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h rewardHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *rewardHeap) Push(x any)        { *h = append(*h, x.(reward)) }
func (h *rewardHeap) Pop() any {
	old := *h
	r := old[len(old)-1]
	*h = old[:len(old)-1]
	return r
}
