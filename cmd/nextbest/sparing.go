package main

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"
)

// newLog returns the program's log: text lines, warnings and errors sparingly.
func newLog(w io.Writer, level slog.Leveler) *slog.Logger {
	return slog.New(&sparing{Handler: slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}), seen: &seen{repeated: map[string]*repeated{}}})
}

// While an engine is away every request and every retry meets the same error.
// Of lines with one message, so many pass at once; the others are counted, and
// the first line of the next span says how many they were. The span doubles for
// as long as lines are left out.
const (
	sparingLines = 5
	leastSpan    = time.Minute
	mostSpan     = 15 * time.Minute
	mostMessages = 256 // that are remembered
)

// sparing is a handler that leaves repeated warnings and errors out.
type sparing struct {
	slog.Handler
	seen *seen // shared by all loggers made from one
}

type seen struct {
	mu       sync.Mutex
	repeated map[string]*repeated
}

// repeated is a message within its span.
type repeated struct {
	since       time.Time
	span        time.Duration
	passed, out int
}

// Handle implements slog.Handler.
func (h *sparing) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn {
		return h.Handler.Handle(ctx, r)
	}
	pass, out := h.seen.note(r.Level.String()+r.Message, r.Time)
	if !pass {
		return nil
	}
	if out > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("left_out_before", out))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *sparing) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &sparing{h.Handler.WithAttrs(attrs), h.seen}
}

// WithGroup implements slog.Handler.
func (h *sparing) WithGroup(name string) slog.Handler {
	return &sparing{h.Handler.WithGroup(name), h.seen}
}

// note counts a line. It says whether the line passes, and how many were left
// out before it.
func (s *seen) note(message string, now time.Time) (pass bool, out int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.repeated[message]
	if m == nil {
		if len(s.repeated) >= mostMessages {
			s.forget(now)
		}
		m = &repeated{since: now, span: leastSpan}
		s.repeated[message] = m
	}
	if passed := now.Sub(m.since); passed >= m.span {
		out = m.out
		span := leastSpan
		if out > 0 && passed < 2*m.span {
			span = min(2*m.span, mostSpan)
		}
		*m = repeated{since: now, span: span}
	}
	if m.passed >= sparingLines {
		m.out++
		return false, 0
	}
	m.passed++
	return true, out
}

// forget drops the messages whose span is over, or all where none is.
func (s *seen) forget(now time.Time) {
	for message, m := range s.repeated {
		if now.Sub(m.since) >= m.span {
			delete(s.repeated, message)
		}
	}
	if len(s.repeated) >= mostMessages {
		clear(s.repeated)
	}
}
