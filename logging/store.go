package logging

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"nextbest"
)

// Store is the log in ClickHouse. It is safe for concurrent use.
type Store struct {
	conn     driver.Conn // ordinary statements
	reader   driver.Conn // people's SQL
	bulkOpts []ch.Options

	mu     sync.Mutex
	idle   []*ch.Client // bulk connections that nobody uses now
	closed bool
}

const maxIdleBulk = 4

var databaseName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)

// OpenStore connects to the ClickHouse at an address
// (clickhouse://user:password@host:port/database, with ?secure=true for TLS
// and several hosts separated by commas), creates the database when it is
// missing and brings its tables and views to this program's schema. Without a
// database in the URL it takes nextbest.
func OpenStore(ctx context.Context, address string) (*Store, error) {
	opts, err := clickhouse.ParseDSN(address)
	if err != nil {
		return nil, nextbest.Errorf(nextbest.Invalid, "ClickHouse URL: %s; write clickhouse://user:password@host:port/database", withoutURL(err))
	}
	if opts.Protocol != clickhouse.Native {
		return nil, nextbest.Errorf(nextbest.Invalid, "ClickHouse URL: the native protocol is needed: write clickhouse://user:password@host:9000/database instead of an HTTP address")
	}
	if opts.Auth.Database == "" {
		opts.Auth.Database = "nextbest"
	}
	database := opts.Auth.Database
	if !databaseName.MatchString(database) {
		return nil, nextbest.Errorf(nextbest.Invalid, "ClickHouse URL: database %q must match %s", database, databaseName)
	}
	if opts.DialTimeout == 0 {
		opts.DialTimeout = 5 * time.Second
	}
	conn, err := connect(ctx, opts)
	if code(err) == int32(proto.ErrUnknownDatabase) {
		if err = createDatabase(ctx, *opts, database); err == nil {
			conn, err = connect(ctx, opts)
		}
	}
	if err != nil {
		return nil, storeError("connect to "+strings.Join(opts.Addr, ", "), err)
	}
	s := &Store{conn: conn}
	if s.reader, err = openReader(opts); err != nil {
		return nil, errors.Join(storeError("connect for SQL", err), conn.Close())
	}
	for _, host := range opts.Addr {
		var tlsConfig *tls.Config
		if opts.TLS != nil {
			tlsConfig = opts.TLS.Clone()
		}
		s.bulkOpts = append(s.bulkOpts, ch.Options{
			Address: host, Database: database, User: opts.Auth.Username, Password: opts.Auth.Password,
			TLS: tlsConfig, DialTimeout: opts.DialTimeout, HandshakeTimeout: 30 * time.Second, ReadTimeout: time.Minute,
			ClientName: "nextbest",
		})
	}
	if err := migrate(ctx, conn); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// connect opens a connection pool and proves that it works.
func connect(ctx context.Context, opts *clickhouse.Options) (driver.Conn, error) {
	conn, err := clickhouse.Open(opts)
	if err != nil {
		return nil, err
	}
	if err := conn.Ping(ctx); err != nil {
		_ = conn.Close() // nothing was opened that could be lost
		return nil, err
	}
	return conn, nil
}

func createDatabase(ctx context.Context, opts clickhouse.Options, name string) error {
	opts.Auth.Database = "default"
	conn, err := connect(ctx, &opts)
	if err != nil {
		return err
	}
	return errors.Join(conn.Exec(ctx, "CREATE DATABASE IF NOT EXISTS `"+name+"`"), conn.Close())
}

// Close releases the connections. Calls that are under way end with an error.
func (s *Store) Close() error {
	s.mu.Lock()
	idle := s.idle
	s.idle, s.closed = nil, true
	s.mu.Unlock()
	errs := []error{s.conn.Close(), s.reader.Close()}
	for _, c := range idle {
		if !c.IsClosed() {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

// Ping reports whether ClickHouse answers.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.conn.Ping(ctx); err != nil {
		return storeError("ping", err)
	}
	return nil
}

// Position returns the largest journal position that any row of the log
// carries, 0 when the log is empty. A journal that is created anew must
// continue after it (JournalOptions.After), or corrections would lose against
// what they correct.
func (s *Store) Position(ctx context.Context) (uint64, error) {
	var p uint64
	err := s.conn.QueryRow(ctx, `
SELECT greatest(
    (SELECT max(journal_position) FROM `+tableDecisions+`),
    (SELECT max(journal_position) FROM `+tableImpressions+`),
    (SELECT max(journal_position) FROM `+tableRewards+`))`).Scan(&p)
	if err != nil {
		return 0, storeError("read the last journal position", err)
	}
	return p, nil
}

// bulk runs one query on a bulk connection. It leaves no broken connection
// behind for the next caller.
func (s *Store) bulk(ctx context.Context, q ch.Query) error {
	c, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	err = c.Do(ctx, q)
	s.release(c)
	return err
}

func (s *Store) acquire(ctx context.Context) (*ch.Client, error) {
	for {
		s.mu.Lock()
		n := len(s.idle)
		if s.closed {
			s.mu.Unlock()
			return nil, errors.New("the store is closed")
		}
		if n == 0 {
			s.mu.Unlock()
			break
		}
		c := s.idle[n-1]
		s.idle = s.idle[:n-1]
		s.mu.Unlock()
		// An engine that was restarted has left its connections broken.
		if err := c.Ping(ctx); err == nil {
			return c, nil
		}
		if !c.IsClosed() {
			_ = c.Close() // it is broken already
		}
	}
	var errs []error
	for _, opts := range s.bulkOpts {
		c, err := ch.Dial(ctx, opts)
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (s *Store) release(c *ch.Client) {
	if c.IsClosed() {
		return
	}
	s.mu.Lock()
	if !s.closed && len(s.idle) < maxIdleBulk {
		s.idle = append(s.idle, c)
		c = nil
	}
	s.mu.Unlock()
	if c != nil {
		_ = c.Close() // a spare connection; nothing is under way on it
	}
}

// storeError gives a ClickHouse error its code: what the server says about the
// statement is our fault, everything else is an engine that is away.
func storeError(doing string, err error) error {
	var known *nextbest.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return err
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("ClickHouse: %s: %w", doing, err)
	case errors.Is(err, clickhouse.ErrAcquireConnTimeout):
		return nextbest.Errorf(nextbest.Unavailable, "ClickHouse: %s: every connection for it is busy with an earlier one; try again when those are done", doing)
	}
	c := proto.Error(code(err))
	switch c {
	case proto.ErrMemoryLimitExceeded, proto.ErrTooManySimultaneousQueries, proto.ErrTooManyParts, proto.ErrTimeoutExceeded, proto.ErrNotEnoughSpace:
		return nextbest.Errorf(nextbest.Unavailable, "ClickHouse: %s: %w", doing, err)
	case proto.ErrAuthenticationFailed, proto.ErrAccessDenied:
		return nextbest.Errorf(nextbest.Internal, "ClickHouse: %s: %w; check the user, the password and the grants of the URL", doing, err)
	}
	if c != 0 {
		return nextbest.Errorf(nextbest.Internal, "ClickHouse: %s: %w", doing, err)
	}
	return nextbest.Errorf(nextbest.Unavailable, "ClickHouse does not answer: %s: %w", doing, err)
}

// code returns the code of a server's exception from either client, or 0.
func code(err error) int32 {
	var a *clickhouse.Exception
	var b *ch.Exception
	switch {
	case errors.As(err, &a):
		return a.Code
	case errors.As(err, &b):
		return int32(b.Code)
	}
	return 0
}

// withoutURL returns what is wrong with a URL and leaves out the URL itself,
// which holds a password.
func withoutURL(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err.Error()
	}
	return err.Error()
}
