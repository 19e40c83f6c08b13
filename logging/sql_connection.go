package logging

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// mostAnswer bounds what ClickHouse may send for one statement. It is above
// mostResult, which ClickHouse keeps to itself but for what grows as it is sent:
// dictionaries that are written out.
const mostAnswer = mostResult + mostResult/4

// errAnswer is returned where an answer is larger.
var errAnswer = errors.New("the answer is too large")

// openReader opens the connections for people's SQL, which take no more than
// mostAnswer of an answer into memory, however it is packed.
func openReader(opts *clickhouse.Options) (driver.Conn, error) {
	o := *opts
	o.Compression = nil // what is counted is what is held
	o.DialContext = func(ctx context.Context, address string) (net.Conn, error) {
		dialer := &net.Dialer{Timeout: opts.DialTimeout}
		var conn net.Conn
		var err error
		if opts.TLS != nil {
			conn, err = (&tls.Dialer{NetDialer: dialer, Config: opts.TLS}).DialContext(ctx, "tcp", address)
		} else {
			conn, err = dialer.DialContext(ctx, "tcp", address)
		}
		if err != nil {
			return nil, err
		}
		return &boundedConn{Conn: conn}, nil
	}
	return clickhouse.Open(&o)
}

// boundedConn counts what is read since the last write, which begins a statement.
// (A cancellation is written too, when nobody reads on.)
type boundedConn struct {
	net.Conn
	read atomic.Int64
}

func (c *boundedConn) Write(b []byte) (int, error) {
	c.read.Store(0)
	return c.Conn.Write(b)
}

func (c *boundedConn) Read(b []byte) (int, error) {
	if c.read.Load() > mostAnswer {
		return 0, errAnswer
	}
	n, err := c.Conn.Read(b)
	c.read.Add(int64(n))
	return n, err
}
