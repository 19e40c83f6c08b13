package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// terminal is where a command prints: results on out, everything else on err.
// Progress is drawn on a terminal and left out of a pipe.
type terminal struct {
	out, err *os.File

	mu    sync.Mutex
	drawn bool
	last  time.Time
}

// interactive reports whether err is a terminal.
func (t *terminal) interactive() bool { return term.IsTerminal(int(t.err.Fd())) }

// say prints one line on err.
func (t *terminal) say(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clear()
	fmt.Fprintf(t.err, format+"\n", args...)
}

// progress redraws one line on a terminal, at most ten times a second.
func (t *terminal) progress(format string, args ...any) {
	if !t.interactive() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.last) < 100*time.Millisecond {
		return
	}
	t.last = time.Now()
	t.clear()
	fmt.Fprintf(t.err, format, args...)
	t.drawn = true
}

// bar returns a progress of work whose end is known once it has begun.
func (t *terminal) bar(what string) func(done, total int64) {
	return func(done, total int64) {
		if total <= 0 {
			t.progress("%s: %d rows", what, done)
			return
		}
		const width = 30
		share := min(float64(done)/float64(total), 1)
		full := int(share * width)
		t.progress("%s [%s%s] %3.0f%%", what, strings.Repeat("█", full), strings.Repeat("░", width-full), 100*share)
	}
}

// clear removes the progress line.
func (t *terminal) clear() {
	if t.drawn {
		fmt.Fprint(t.err, "\r\x1b[2K")
		t.drawn = false
	}
}

// done removes the progress line when work has ended.
func (t *terminal) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clear()
}
