package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// load sends prepared requests over keep-alive connections, one at a time on
// each, and waits for every answer. It does as little as possible itself, for
// it shares the cores with what it measures.
type load struct {
	address     string // host:port
	connections int
	requests    [][]byte // whole HTTP/1.1 requests, taken in turn
	span        time.Duration
}

// Latency is what one stretch of load came to.
type Latency struct {
	Requests  int     `json:"requests"`
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	Failed    int     `json:"failed"` // answers other than 2xx
}

// run loads until the span is over.
func (l *load) run(ctx context.Context) (Latency, error) {
	ctx, cancel := context.WithTimeout(ctx, l.span)
	defer cancel()
	var mu sync.Mutex
	var all []time.Duration
	failed := 0
	var first error
	var wg sync.WaitGroup
	start := time.Now()
	for c := range l.connections {
		wg.Go(func() {
			took, bad, err := l.connection(ctx, c)
			mu.Lock()
			defer mu.Unlock()
			all, failed = append(all, took...), failed+bad
			if first == nil {
				first = err
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(start)
	if first != nil {
		return Latency{}, first
	}
	if len(all) == 0 {
		return Latency{}, fmt.Errorf("no answer within %s", l.span)
	}
	slices.Sort(all)
	ms := func(q float64) float64 { return float64(all[int(q*float64(len(all)-1))]) / float64(time.Millisecond) }
	return Latency{Requests: len(all), PerSecond: float64(len(all)) / elapsed.Seconds(), P50: ms(.5), P99: ms(.99), Failed: failed}, nil
}

func (l *load) connection(ctx context.Context, c int) (took []time.Duration, failed int, err error) {
	conn, err := net.Dial("tcp", l.address)
	if err != nil {
		return nil, 0, err
	}
	defer conn.Close()
	r := bufio.NewReaderSize(conn, 32<<10)
	for i := c; ctx.Err() == nil; i += l.connections {
		start := time.Now()
		if _, err := conn.Write(l.requests[i%len(l.requests)]); err != nil {
			return took, failed, err
		}
		status, err := readAnswer(r)
		if err != nil {
			return took, failed, err
		}
		if status/100 != 2 {
			failed++
		}
		took = append(took, time.Since(start))
	}
	return took, failed, nil
}

// readAnswer reads one HTTP/1.1 answer with a length and drops its body.
func readAnswer(r *bufio.Reader) (status int, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 12 {
		return 0, fmt.Errorf("answer begins with %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, err
	}
	length, chunked := 0, false
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte{':'})
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, err
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = true
		}
	}
	for chunked {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 32)
		if err != nil {
			return 0, err
		}
		if _, err := io.CopyN(io.Discard, r, n+2); err != nil {
			return 0, err
		}
		if n == 0 {
			return status, nil
		}
	}
	_, err = r.Discard(length)
	return status, err
}

// request builds a whole HTTP/1.1 request.
func request(path, key, contentType string, body []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", path, key, contentType, len(body))
	b.Write(body)
	return b.Bytes()
}
