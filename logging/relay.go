package logging

import (
	"context"

	"nextbest"
)

// relay calls a function with one batch after the other while the next ones are
// read: reading and what is done with the rows overlap.
type relay struct {
	ctx     context.Context
	batches chan *nextbest.Batch
	ended   chan struct{}
	err     error // of the function, after ended
	panic   any   // likewise
}

// relayed is how many batches may wait.
const relayed = 2

// newRelay starts a relay; stop is called when fn returns an error.
func newRelay(ctx context.Context, stop func(), fn func(*nextbest.Batch) error) *relay {
	r := &relay{ctx: ctx, batches: make(chan *nextbest.Batch, relayed), ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		defer func() {
			if r.panic = recover(); r.panic != nil {
				stop()
			}
		}()
		for b := range r.batches {
			if r.err = fn(b); r.err != nil {
				stop()
				return
			}
		}
	}()
	return r
}

// send hands over a batch, or says that nobody takes it any more.
func (r *relay) send(b *nextbest.Batch) error {
	select {
	case r.batches <- b:
		return nil
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
}

// close waits until every batch is done and returns the function's error. A
// panic of the function goes on here.
func (r *relay) close() error {
	close(r.batches)
	<-r.ended
	if r.panic != nil {
		panic(r.panic)
	}
	return r.err
}
