package logging

import (
	"context"
	"errors"
	"testing"

	"nextbest"
)

// A relay hands over every batch in order, stops at an error, which it returns,
// and lets a panic go on where it is closed.
func TestRelay(t *testing.T) {
	run := func(fn func(*nextbest.Batch) error, n int) (sent int, err error) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r := newRelay(ctx, cancel, fn)
		for i := range n {
			if r.send(&nextbest.Batch{Width: i}) != nil {
				break
			}
			sent++
		}
		return sent, r.close()
	}
	next := 0
	sent, err := run(func(b *nextbest.Batch) error {
		if b.Width != next {
			t.Errorf("batch %d comes as number %d", b.Width, next)
		}
		next++
		return nil
	}, 100)
	if err != nil || sent != 100 || next != 100 {
		t.Errorf("%d sent, %d taken, %v", sent, next, err)
	}
	enough := errors.New("enough")
	if sent, err = run(func(b *nextbest.Batch) error {
		if b.Width == 3 {
			return enough
		}
		return nil
	}, 100); !errors.Is(err, enough) || sent > 3+relayed+2 {
		t.Errorf("%d sent, %v", sent, err)
	}
	defer func() {
		if recover() != "broken" {
			t.Error("the panic did not go on")
		}
	}()
	_, err = run(func(*nextbest.Batch) error { panic("broken") }, 100)
	t.Errorf("closed without a panic: %v", err)
}
