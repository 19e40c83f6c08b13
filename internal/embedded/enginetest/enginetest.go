// Package enginetest gives tests real engines. A test package that wants them
// has
//
//	func TestMain(m *testing.M) { enginetest.Main(m) }
//
// and calls ClickHouse or NATS where it needs one. ClickHouse starts once for
// the package, at its first use, and each call gives an empty database of its
// own; NATS is a server of its own each time. The ClickHouse library is fetched
// once per machine (embedded.FetchLibrary); NEXTBEST_CLICKHOUSE_LIBRARY names
// another.
package enginetest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"nextbest/internal/embedded"
)

// shared is the engine of a test package, started by the first test that asks.
var shared struct {
	main bool // Main runs: it stops the engine
	once sync.Once
	ch   *embedded.ClickHouse
	dir  string
	err  error
	n    atomic.Int64
}

// Main is the whole of a TestMain: it becomes the engine where this process was
// started as one, runs the tests and stops the shared engine. It does not return.
func Main(m *testing.M) {
	embedded.ChildMain()
	shared.main = true
	code := m.Run()
	if shared.ch != nil {
		if err := shared.ch.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	if shared.dir != "" {
		os.RemoveAll(shared.dir)
	}
	os.Exit(code)
}

// ClickHouse returns the address of an empty database in the package's engine;
// the database need not exist yet, and whatever it holds goes with the engine.
func ClickHouse(t testing.TB) (url string) {
	t.Helper()
	if !shared.main {
		t.Fatal("enginetest.ClickHouse needs func TestMain(m *testing.M) { enginetest.Main(m) } in this package")
	}
	shared.once.Do(func() {
		if shared.dir, shared.err = os.MkdirTemp("", "nextbest-engine-"); shared.err != nil {
			return
		}
		shared.ch, shared.err = start(shared.dir)
	})
	if shared.err != nil {
		t.Fatalf("the tests' ClickHouse: %v", shared.err)
	}
	base := shared.ch.URL()
	return fmt.Sprintf("%s_%d", base, shared.n.Add(1))
}

// NewClickHouse starts an engine for one test alone, which may kill it; it is
// supervised until the test ends. TestMain calls Main or embedded.ChildMain.
func NewClickHouse(t testing.TB) *embedded.ClickHouse {
	t.Helper()
	ch, err := start(t.TempDir())
	if err != nil {
		t.Fatalf("a ClickHouse for the test: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- ch.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("stopping the test's ClickHouse: %v", err)
		}
	})
	return ch
}

// NATS returns a connection to a NATS server with JetStream of the test's own.
func NATS(t testing.TB) *nats.Conn {
	t.Helper()
	n, err := embedded.StartNATS(embedded.NATSOptions{Dir: t.TempDir(), MemoryLimit: 256 << 20, DiskLimit: 4 << 30, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	conn, err := n.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func start(dir string) (*embedded.ClickHouse, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var last time.Time
	library, err := embedded.FetchLibrary(ctx, func(stage string, done, total int64) {
		if time.Since(last) > 5*time.Second {
			last = time.Now()
			fmt.Fprintf(os.Stderr, "%s: %d of %d MB\n", stage, done/1e6, total/1e6)
		}
	})
	if err != nil {
		return nil, err
	}
	return embedded.StartClickHouse(ctx, embedded.ClickHouseOptions{
		Dir: dir, Library: library, Logger: quiet(),
		Grants: []string{"GRANT ALL ON nextbest_*.*"},
	})
}

// quiet drops everything but errors, which go to standard error.
func quiet() *slog.Logger {
	if strings.Contains(os.Getenv("NEXTBEST_TEST_LOG"), "engine") {
		return slog.Default()
	}
	return slog.New(slog.NewTextHandler(io.Discard, nil))
}
