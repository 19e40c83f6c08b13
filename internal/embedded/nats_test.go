package embedded

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func startNATS(t *testing.T, dir string) *NATS {
	t.Helper()
	n, err := StartNATS(NATSOptions{Dir: dir, MemoryLimit: 64 << 20, DiskLimit: 128 << 20, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func stream(t *testing.T, n *NATS) jetstream.JetStream {
	t.Helper()
	conn, err := n.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func TestNATSKeepsWhatItAcknowledged(t *testing.T) {
	dir := t.TempDir()
	n := startNATS(t, dir)
	js := stream(t, n)
	config := jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Storage: jetstream.FileStorage, MaxBytes: 1 << 20}
	if _, err := js.CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := js.Publish(t.Context(), "s", []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	n.Close()
	n = startNATS(t, dir)
	defer n.Close()
	s, err := stream(t, n).Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	if got := s.CachedInfo().State.Msgs; got != 10 {
		t.Errorf("%d messages after a restart, want 10", got)
	}
}

func TestNATSLimits(t *testing.T) {
	n := startNATS(t, t.TempDir())
	defer n.Close()
	js := stream(t, n)
	for name, config := range map[string]jetstream.StreamConfig{
		"disk":   {Name: "D", Subjects: []string{"d"}, Storage: jetstream.FileStorage, MaxBytes: 129 << 20},
		"memory": {Name: "M", Subjects: []string{"m"}, Storage: jetstream.MemoryStorage, MaxBytes: 65 << 20},
	} {
		if _, err := js.CreateStream(t.Context(), config); err == nil || !strings.Contains(err.Error(), "insufficient") {
			t.Errorf("a stream beyond the %s limit: %v, want a refusal", name, err)
		}
	}
}

// TestNATSListensNowhere looks for a listening socket of this process.
func TestNATSListensNowhere(t *testing.T) {
	n := startNATS(t, t.TempDir())
	defer n.Close()
	stream(t, n)
	if n.server.Addr() != nil {
		t.Errorf("the server listens on %v", n.server.Addr())
	}
}

func TestNATSNeedsAFolder(t *testing.T) {
	if _, err := StartNATS(NATSOptions{}); err == nil {
		t.Error("started without a folder")
	}
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := StartNATS(NATSOptions{Dir: file}); err == nil {
		t.Error("started in a file")
	}
}

func TestNATSCloseIsPrompt(t *testing.T) {
	n := startNATS(t, t.TempDir())
	conn, err := n.Connect()
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	began := time.Now()
	n.Close()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("Close took %v", took)
	}
}

// TestNATSStartsAgain: when the server says that it gives up on a stream, Run
// starts it again; the same connection goes on, what was acknowledged is there,
// and what was in memory is not.
func TestNATSStartsAgain(t *testing.T) {
	n := startNATS(t, t.TempDir())
	defer n.Close()
	ended := make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() { ended <- n.Run(ctx) }()
	js := stream(t, n)
	for name, storage := range map[string]jetstream.StorageType{"F": jetstream.FileStorage, "M": jetstream.MemoryStorage} {
		if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{name}, Storage: storage, MaxBytes: 1 << 20}); err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(t.Context(), name, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	first := n.server
	l := natsLogger{slog.New(slog.DiscardHandler), n.hurt}
	l.Errorf("JetStream stream '%s > %s' failed otherwise: %v", "G", "F", io.ErrShortWrite)
	if len(n.hurt) != 0 {
		t.Error("any error counts as a stream given up")
	}
	l.Errorf("JetStream stream '%s > %s' critical write error: %v", "G", "F", io.ErrShortWrite)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if ack, err := js.Publish(t.Context(), "F", []byte("x")); err == nil && ack.Sequence > 1 {
			if s, err := js.Stream(t.Context(), "M"); errors.Is(err, jetstream.ErrStreamNotFound) {
				break
			} else if err != nil {
				t.Log(s, err)
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("the server was not started again")
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n.server == first {
		t.Error("the server is the same")
	}
	left, err := filepath.Glob(filepath.Join(n.dir, "room-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
