package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// NATSOptions says where the server keeps its streams and how much they may
// take.
type NATSOptions struct {
	Dir         string       // its folder, created with mode 0700
	MemoryLimit int64        // bytes of memory streams and key-value buckets; 0: 512 MiB
	DiskLimit   int64        // bytes of file streams; 0: 32 GiB
	Logger      *slog.Logger // nil: slog.Default
}

// NATS is a NATS server with JetStream inside this process. It listens on no
// port: only Connect reaches it. Every write to a file stream is on disk before
// it is acknowledged.
type NATS struct {
	server *server.Server
}

// StartNATS starts the server and returns once it takes connections. The caller
// holds the data folder (LockFolder): a second server on one folder would not
// notice the first.
func StartNATS(o NATSOptions) (*NATS, error) {
	if o.Dir == "" {
		return nil, errors.New("the embedded NATS needs a folder")
	}
	if o.MemoryLimit == 0 {
		o.MemoryLimit = 512 << 20
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
	s, err := server.NewServer(&server.Options{
		ServerName:         "nextbest-embedded",
		DontListen:         true,
		NoSigs:             true,
		JetStream:          true,
		StoreDir:           dir,
		SyncAlways:         true,
		JetStreamMaxMemory: o.MemoryLimit,
		JetStreamMaxStore:  o.DiskLimit,
	})
	if err != nil {
		return nil, fmt.Errorf("embedded NATS in %s: %w", dir, err)
	}
	s.SetLoggerV2(natsLogger{o.Logger}, false, false, false)
	go s.Start()
	if !s.ReadyForConnections(time.Minute) {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, fmt.Errorf("embedded NATS in %s was not ready within a minute", dir)
	}
	if !s.JetStreamEnabled() {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, fmt.Errorf("embedded NATS in %s could not open its streams; the log says why", dir)
	}
	return &NATS{server: s}, nil
}

// Connect returns a new connection within this process. The caller closes it,
// before Close.
func (n *NATS) Connect() (*nats.Conn, error) {
	conn, err := nats.Connect("", nats.InProcessServer(n.server), nats.MaxReconnects(-1))
	if err != nil {
		return nil, fmt.Errorf("embedded NATS: %w", err)
	}
	return conn, nil
}

// Close stops the server, with everything it holds on disk.
func (n *NATS) Close() {
	n.server.Shutdown()
	n.server.WaitForShutdown()
}

// natsLogger passes the server's warnings and errors on. Its notices (a page of
// banner at each start) are for debugging only.
type natsLogger struct{ log *slog.Logger }

func (l natsLogger) say(level func(string, ...any), format string, v ...any) {
	level("embedded NATS: " + strings.TrimSpace(fmt.Sprintf(format, v...)))
}

func (l natsLogger) Noticef(format string, v ...any) { l.say(l.log.Debug, format, v...) }
func (l natsLogger) Warnf(format string, v ...any)   { l.say(l.log.Warn, format, v...) }
func (l natsLogger) Fatalf(format string, v ...any)  { l.say(l.log.Error, format, v...) }
func (l natsLogger) Errorf(format string, v ...any)  { l.say(l.log.Error, format, v...) }
func (l natsLogger) Debugf(format string, v ...any)  { l.say(l.log.Debug, format, v...) }
func (l natsLogger) Tracef(format string, v ...any)  { l.say(l.log.Debug, format, v...) }
