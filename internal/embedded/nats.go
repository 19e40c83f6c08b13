package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// DefaultMemory is what memory streams and key-value buckets may take, in bytes,
// when nobody says.
const DefaultMemory = 512 << 20

// NATSOptions says where the server keeps its streams and how much they may
// take.
type NATSOptions struct {
	Dir         string       // its folder, created with mode 0700
	MemoryLimit int64        // bytes of memory streams and key-value buckets; 0: DefaultMemory
	DiskLimit   int64        // bytes of file streams; 0: 32 GiB
	Logger      *slog.Logger // nil: slog.Default
}

// NATS is a NATS server with JetStream inside this process. It listens on no
// port: only Connect reaches it. Every write to a file stream is on disk before
// it is acknowledged. It is safe for concurrent use.
type NATS struct {
	options server.Options
	dir     string
	log     *slog.Logger
	hurt    chan struct{} // a stream takes no more writes

	mu     sync.Mutex
	server *server.Server
	closed bool
}

// StartNATS starts the server and returns once it takes connections. The caller
// holds the data folder (LockFolder): a second server on one folder would not
// notice the first. Call Run to have it started again after its disk was full.
func StartNATS(o NATSOptions) (*NATS, error) {
	if o.Dir == "" {
		return nil, errors.New("the embedded NATS needs a folder")
	}
	if o.MemoryLimit == 0 {
		o.MemoryLimit = DefaultMemory
	}
	if o.DiskLimit == 0 {
		o.DiskLimit = 32 << 30
	}
	if o.MemoryLimit < 0 || o.DiskLimit < 0 {
		return nil, fmt.Errorf("limits of the embedded NATS must be positive, not %d bytes of memory and %d of disk", o.MemoryLimit, o.DiskLimit)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("folder of the embedded NATS: %w", err)
	}
	n := &NATS{dir: dir, log: o.Logger, hurt: make(chan struct{}, 1), options: server.Options{
		ServerName:         "nextbest-embedded",
		DontListen:         true,
		NoSigs:             true,
		JetStream:          true,
		StoreDir:           dir,
		SyncAlways:         true,
		JetStreamMaxMemory: o.MemoryLimit,
		JetStreamMaxStore:  o.DiskLimit,
	}}
	if n.server, err = n.start(); err != nil {
		return nil, err
	}
	return n, nil
}

// start brings one server up.
func (n *NATS) start() (*server.Server, error) {
	options := n.options // the server changes them
	s, err := server.NewServer(&options)
	if err != nil {
		return nil, fmt.Errorf("embedded NATS in %s: %w", n.dir, err)
	}
	s.SetLoggerV2(natsLogger{n.log, n.hurt}, false, false, false)
	go s.Start()
	why := ""
	switch {
	case !s.ReadyForConnections(time.Minute):
		why = "was not ready within a minute"
	case !s.JetStreamEnabled():
		why = "could not open its streams; the log says why"
	default:
		return s, nil
	}
	s.Shutdown()
	s.WaitForShutdown()
	return nil, fmt.Errorf("embedded NATS in %s %s", n.dir, why)
}

// Connect returns a new connection within this process, which finds the server
// again when Run has started it again. The caller closes it, before Close.
func (n *NATS) Connect() (*nats.Conn, error) {
	conn, err := nats.Connect("", nats.InProcessServer(n), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.ReconnectBufSize(-1))
	if err != nil {
		return nil, fmt.Errorf("embedded NATS: %w", err)
	}
	return conn, nil
}

// InProcessConn implements nats.InProcessConnProvider.
func (n *NATS) InProcessConn() (net.Conn, error) {
	n.mu.Lock()
	s := n.server
	n.mu.Unlock()
	return s.InProcessConn()
}

// Run waits until ctx ends. A stream that met a full disk takes nothing for the
// rest of its server's life, so Run waits until there is room and starts the
// server again. What is in memory only is lost by that, as in any restart.
func (n *NATS) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.hurt:
		}
		n.log.Error("embedded NATS: a stream can no longer be written; the server is started again as soon as the disk takes data", "folder", n.dir)
		for pause := time.Second; ; pause = min(2*pause, mostDelay) {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(pause):
			}
			err := n.room()
			if err == nil {
				err = n.restart()
			}
			if err == nil {
				n.log.Info("embedded NATS: started again")
				break
			}
			n.log.Error("embedded NATS: not yet started again", "error", err)
		}
	}
}

// leastRoom is what the disk must take before streams are opened again: a
// message of the largest size and what the server writes about itself.
const leastRoom = 4 << 20

// room reports why the disk takes no data.
func (n *NATS) room() error {
	f, err := os.CreateTemp(n.dir, "room-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(make([]byte, leastRoom))
	return errors.Join(err, f.Sync(), f.Close())
}

// restart replaces the server by a new one on the same folder.
func (n *NATS) restart() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil
	}
	n.server.Shutdown()
	n.server.WaitForShutdown()
	select {
	case <-n.hurt: // of the server that is gone
	default:
	}
	s, err := n.start()
	if err != nil {
		return err
	}
	n.server = s
	return nil
}

// Close stops the server, with everything it holds on disk.
func (n *NATS) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	n.server.Shutdown()
	n.server.WaitForShutdown()
}

// natsLogger passes the server's warnings and errors on. Its notices (a page of
// banner at each start) are for debugging only.
type natsLogger struct {
	log  *slog.Logger
	hurt chan<- struct{}
}

func (l natsLogger) say(level func(string, ...any), format string, v ...any) {
	level("embedded NATS: " + strings.TrimSpace(fmt.Sprintf(format, v...)))
}

func (l natsLogger) Noticef(format string, v ...any) { l.say(l.log.Debug, format, v...) }
func (l natsLogger) Warnf(format string, v ...any)   { l.say(l.log.Warn, format, v...) }
func (l natsLogger) Fatalf(format string, v ...any)  { l.say(l.log.Error, format, v...) }
func (l natsLogger) Debugf(format string, v ...any)  { l.say(l.log.Debug, format, v...) }
func (l natsLogger) Tracef(format string, v ...any)  { l.say(l.log.Debug, format, v...) }

// Errorf also looks for the two ways in which the server says, once, that it
// gives up on a stream or on all of them; it has no other sign for that.
func (l natsLogger) Errorf(format string, v ...any) {
	l.say(l.log.Error, format, v...)
	if strings.Contains(format, "critical write error") || strings.Contains(format, "will be DISABLED") {
		select {
		case l.hurt <- struct{}{}:
		default:
		}
	}
}
