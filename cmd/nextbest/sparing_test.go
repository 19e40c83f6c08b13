package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestLogIsSparing: an engine that is away for an hour, with ten failures a
// second, leaves some dozens of lines, which say how many there were; other
// lines come through; after a quiet time the message is as before.
func TestLogIsSparing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		log := newLog(&b, slog.LevelInfo)
		const failures = 36_000
		for i := range failures {
			log.With("n", i).Error("request failed", "error", "ClickHouse is away")
			log.Info("told")
			time.Sleep(100 * time.Millisecond)
		}
		log.Error("another")
		time.Sleep(time.Hour)
		for range sparingLines {
			log.Error("request failed", "error", "again")
		}
		text := b.String()
		lines := strings.Count(text, "request failed")
		if lines > 60 || lines < 2*sparingLines {
			t.Errorf("%d lines for an hour", lines)
		}
		out := 0
		for _, m := range regexp.MustCompile(`left_out_before=(\d+)`).FindAllStringSubmatch(text, -1) {
			n, err := strconv.Atoi(m[1])
			if err != nil {
				t.Fatal(err)
			}
			out += n
		}
		if out+lines != failures+sparingLines {
			t.Errorf("%d lines and %d left out; there were %d", lines, out, failures+sparingLines)
		}
		if n := strings.Count(text, "error=again"); n != sparingLines {
			t.Errorf("%d of %d lines after a quiet hour", n, sparingLines)
		}
		if !strings.Contains(text, "another") || strings.Count(text, "told") != failures {
			t.Error("other lines are missing")
		}
	})
}

// TestLogForgets: messages that never repeat do not fill the memory.
func TestLogForgets(t *testing.T) {
	var b bytes.Buffer
	log := newLog(&b, slog.LevelWarn)
	for i := range 10 * mostMessages {
		log.Warn(fmt.Sprint("message ", i))
	}
	if n := len(log.Handler().(*sparing).seen.repeated); n > mostMessages {
		t.Errorf("%d messages are remembered", n)
	}
	if n := strings.Count(b.String(), "\n"); n != 10*mostMessages {
		t.Errorf("%d lines", n)
	}
}
