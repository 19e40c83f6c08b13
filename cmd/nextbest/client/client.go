// Package client calls the platform's REST API. The command line, the demo and
// the benchmarks all speak to the platform through it, as a channel would.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Client calls one server with one key. It is safe for concurrent use.
type Client struct {
	Address string // http://127.0.0.1:8080
	Key     string // API key
	HTTP    *http.Client
}

// New returns a client that keeps up to connections connections open.
func New(address, key string, connections int) *Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = connections, connections
	return &Client{Address: strings.TrimSuffix(address, "/"), Key: key, HTTP: &http.Client{Transport: transport, Timeout: 10 * time.Minute}}
}

// As returns a client with another key on the same connections.
func (c *Client) As(key string) *Client {
	d := *c
	d.Key = key
	return &d
}

// Problem is the platform's answer to a request it refuses (RFC 9457).
type Problem struct {
	Status   int    `json:"status"`
	Title    string `json:"title"`
	Code     string `json:"code"`
	Detail   string `json:"detail"`
	Problems []struct {
		Field   string `json:"field"`
		Message string `json:"message"`
		Cure    string `json:"cure,omitempty"`
	} `json:"problems,omitempty"`
	Raw json.RawMessage `json:"-"` // the whole document, with extensions
}

// Error says what was refused and why.
func (p *Problem) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s", p.Status, p.Title)
	if p.Detail != "" && p.Detail != p.Title {
		fmt.Fprintf(&b, ": %s", p.Detail)
	}
	for _, f := range p.Problems {
		fmt.Fprintf(&b, "; %s: %s", f.Field, f.Message)
		if f.Cure != "" {
			fmt.Fprintf(&b, " (%s)", f.Cure)
		}
	}
	return b.String()
}

// AsProblem returns err's problem document, or nil.
func AsProblem(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	return nil
}

// Option changes a request before it is sent.
type Option func(*http.Request)

// IfMatch asks that the object is still at this ETag.
func IfMatch(etag string) Option { return func(r *http.Request) { r.Header.Set("If-Match", etag) } }

// Header sets a header.
func Header(name, value string) Option { return func(r *http.Request) { r.Header.Set(name, value) } }

// Call sends in as JSON (a []byte is sent as it is; nil sends no body) and
// decodes the answer into out unless that is nil. It returns the answer's
// header. A refused request is a *Problem.
func (c *Client) Call(ctx context.Context, method, path string, in, out any, options ...Option) (http.Header, error) {
	var body io.Reader
	switch v := in.(type) {
	case nil:
	case []byte:
		body = bytes.NewReader(v)
	default:
		b, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("%s %s: encode: %w", method, path, err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.Address+path, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Authorization", "Bearer "+c.Key)
	for _, o := range options {
		o(req)
	}
	res, err := c.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return res.Header, fmt.Errorf("%s %s: read answer: %w", method, path, err)
	}
	if res.StatusCode >= 400 {
		p := &Problem{Status: res.StatusCode, Title: http.StatusText(res.StatusCode), Raw: answer}
		if err := json.Unmarshal(answer, p); err != nil {
			p.Detail = strings.TrimSpace(string(answer))
		}
		return res.Header, fmt.Errorf("%s %s: %w", method, path, p)
	}
	if out == nil || len(answer) == 0 {
		return res.Header, nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return res.Header, fmt.Errorf("%s %s: decode answer: %w", method, path, err)
	}
	return res.Header, nil
}
