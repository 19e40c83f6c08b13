package embedded

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// own is how to run without the embedded ClickHouse, in every error that leaves
// nothing else to do.
const own = "--clickhouse clickhouse://user:password@host:9000/nextbest"

const (
	startLimit  = 5 * time.Minute  // until the engine answers; a large folder takes a while to load
	stopLimit   = 15 * time.Second // from asking the engine to stop until it is killed
	lockLimit   = 5 * time.Second  // for the last engine on this folder to be gone
	leastDelay  = 100 * time.Millisecond
	mostDelay   = 10 * time.Second
	stableAfter = time.Minute // an engine that lived this long starts with leastDelay again
)

// ClickHouseOptions says where and how large an engine is.
type ClickHouseOptions struct {
	Dir         string       // its folder, created with mode 0700
	Library     string       // from FetchLibrary
	MemoryLimit int64        // bytes for the whole engine; 0: 2 GiB; at least 512 MiB
	Logger      *slog.Logger // nil: slog.Default
	// Grants are further GRANT statements for the application's user; tests use
	// them to have several databases in one engine.
	Grants []string
}

// ClickHouse is a running embedded engine. It is safe for concurrent use.
type ClickHouse struct {
	options  ClickHouseOptions
	settings settings
	lock     *os.File

	mu       sync.Mutex
	process  *process
	restarts int
	closing  bool
	closed   chan struct{} // closed by Close, at its beginning
}

// StartClickHouse starts the engine on a folder and returns once it answers.
// The folder is locked first: a second engine on it is refused. Call Run to have
// the engine restarted when it ends, and Close to stop it; it also dies with this
// program.
func StartClickHouse(ctx context.Context, o ClickHouseOptions) (*ClickHouse, error) {
	if err := supported(); err != nil {
		return nil, err
	}
	if o.Dir == "" || o.Library == "" {
		return nil, errors.New("the embedded ClickHouse needs a folder and a library (FetchLibrary gives one)")
	}
	if o.MemoryLimit == 0 {
		o.MemoryLimit = 2 << 30
	}
	if o.MemoryLimit < 512<<20 {
		return nil, fmt.Errorf("memory limit of %d MiB for the embedded ClickHouse: it needs at least 512 MiB", o.MemoryLimit>>20)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	var err error
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return nil, err
	}
	if o.Library, err = filepath.Abs(o.Library); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("folder of the embedded ClickHouse: %w", err)
	}
	if err := os.Chmod(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("folder of the embedded ClickHouse: %w", err)
	}
	lock, err := lockEngine(ctx, o.Dir)
	if err != nil {
		return nil, err
	}
	c := &ClickHouse{options: o, lock: lock, closed: make(chan struct{})}
	var secret [24]byte
	rand.Read(secret[:])
	c.settings = settings{dir: o.Dir, password: hex.EncodeToString(secret[:]), memory: o.MemoryLimit, grants: o.Grants}

	for try := 0; ; try++ { // another program may take the free port before the engine does
		if c.settings.port, err = freePort(); err != nil {
			break
		}
		if err = c.settings.write(); err != nil {
			break
		}
		if err = c.start(ctx); err == nil {
			return c, nil
		}
		if !errors.Is(err, errPortTaken) || try == 4 {
			break
		}
	}
	lock.Close()
	return nil, err
}

// URL returns the address of the engine with the application's user, as
// "clickhouse://app:PASSWORD@127.0.0.1:PORT/nextbest". It is the same for the
// life of c, over all restarts by Run; the database is the caller's to create.
func (c *ClickHouse) URL() string {
	return fmt.Sprintf("clickhouse://app:%s@%s/%s", c.settings.password, c.addr(), database)
}

// Pid returns the process id of the engine that runs now, or ran last.
func (c *ClickHouse) Pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.process.pid
}

// Restarts returns how often Run has started the engine again.
func (c *ClickHouse) Restarts() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.restarts
}

// Run watches the engine and starts it again when it ends, at once and then
// with growing pauses of 0.1 to 10 seconds. When ctx ends it stops the engine and
// returns Close's error; after Close it returns nil.
func (c *ClickHouse) Run(ctx context.Context) error {
	delay := leastDelay
	for {
		c.mu.Lock()
		p := c.process
		c.mu.Unlock()
		select {
		case <-ctx.Done():
			return c.Close()
		case <-c.closed:
			return nil
		case <-p.done:
		}
		if time.Since(p.started) >= stableAfter {
			delay = leastDelay
		}
		c.options.Logger.Error("the embedded ClickHouse ended and is started again", "pid", p.pid, "cause", p.cause(), "log", filepath.Join(c.options.Dir, "engine.log"), "pause", delay)
		for {
			select {
			case <-ctx.Done():
				return c.Close()
			case <-c.closed:
				return nil
			case <-time.After(delay):
			}
			delay = min(2*delay, mostDelay)
			err := c.start(ctx)
			if err == nil {
				break
			}
			if ctx.Err() == nil {
				c.options.Logger.Error("the embedded ClickHouse did not start again", "error", err, "pause", delay)
			}
		}
	}
}

// Close stops the engine cleanly, or kills it after 15 seconds, and gives its
// folder back. Further calls return nil.
func (c *ClickHouse) Close() error {
	c.mu.Lock()
	if c.closing {
		c.mu.Unlock()
		return nil
	}
	c.closing = true
	close(c.closed)
	p := c.process
	c.mu.Unlock()
	err := p.stop(stopLimit)
	c.lock.Close()
	return err
}

// start launches the engine with the settings already written and waits until
// it lets the application in.
func (c *ClickHouse) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()

	c.mu.Lock()
	if c.closing {
		c.mu.Unlock()
		return errors.New("the embedded ClickHouse was closed")
	}
	p, err := launch(c.options.Library, c.options.Dir, c.lock)
	if err != nil {
		c.mu.Unlock()
		return fmt.Errorf("the embedded ClickHouse cannot be started: %w", err)
	}
	if c.process != nil {
		c.restarts++
	}
	c.process = p
	c.mu.Unlock()

	for {
		select {
		case <-p.done:
			return c.failed(p)
		case <-c.closed: // Close stops the process
			return errors.New("the embedded ClickHouse was closed")
		case <-ctx.Done():
			p.stop(0)
			return fmt.Errorf("the embedded ClickHouse did not answer in time (see %s): %w", filepath.Join(c.options.Dir, "engine.log"), ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
		if err := hello(c.addr(), "app", c.settings.password, time.Second); err == nil {
			return nil
		} else if r := (*refused)(nil); errors.As(err, &r) && r.code != codeTooManySimultaneous {
			p.stop(0)
			return fmt.Errorf("port %d: %w (%w)", c.settings.port, errPortTaken, err)
		}
		if portTaken(p.output()) {
			p.stop(0)
			return fmt.Errorf("port %d: %w", c.settings.port, errPortTaken)
		}
		if strings.Contains(p.output(), cannotListen) {
			p.stop(0)
			return fmt.Errorf("%s is a ClickHouse that cannot listen: take the version that this program fetches (%s@%s)", c.options.Library, libraryPackage, libraryVersion)
		}
	}
}

// cannotListen is what a library older than ours answers when it is asked to.
const cannotListen = "SYSTEM START LISTEN query is not supported"

// codeTooManySimultaneous is ClickHouse's TOO_MANY_SIMULTANEOUS_QUERIES, which
// says nothing about who owns the port.
const codeTooManySimultaneous = 202

var errPortTaken = errors.New("another program listens on the embedded ClickHouse's port")

func portTaken(output string) bool { return strings.Contains(output, "Address already in use") }

// failed describes an engine that ended before it answered.
func (c *ClickHouse) failed(p *process) error {
	out := p.output()
	if portTaken(out) {
		return fmt.Errorf("port %d: %w", c.settings.port, errPortTaken)
	}
	cure := ""
	if strings.Contains(out, "library "+c.options.Library) {
		cure = "; the library does not load here: remove it so that it is fetched again, or use a ClickHouse server of your own: " + own
	}
	return fmt.Errorf("the embedded ClickHouse ended while it started: %v%s (see %s)", p.cause(), cure, filepath.Join(c.options.Dir, "engine.log"))
}

func (c *ClickHouse) addr() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(c.settings.port))
}

// freePort asks the kernel for a port of the loopback interface.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("no free port for the embedded ClickHouse: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
