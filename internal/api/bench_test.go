package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/bytedance/sonic"
	"github.com/gin-gonic/gin"
	gojson "github.com/goccy/go-json"

	"nextbest"
	"nextbest/internal/decisions"
)

// bound is the body of a decision call as a handler would usually bind it.
type bound struct {
	Placement string         `json:"placement"`
	Customer  map[string]any `json:"customer"`
	Context   map[string]any `json:"context"`
}

// largeCall is a decision call with 32 numeric features.
func largeCall() []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	b := bound{Placement: "web", Customer: map[string]any{"id": "C-1042", "consent": map[string]any{"email": true}}, Context: map[string]any{}}
	for i := range 32 {
		b.Context[fmt.Sprintf("feature_%02d", i)] = float64(int(rng.NormFloat64()*1e4)) / 1e3
	}
	raw, err := json.Marshal(b)
	if err != nil {
		panic(err)
	}
	return raw
}

// BenchmarkDecisionBody compares decoders for the body of a decision call;
// docs/decisions/0001-json-on-the-decision-route.md has the numbers.
func BenchmarkDecisionBody(b *testing.B) {
	body := largeCall()
	decoders := []struct {
		name string
		read func([]byte, any) error
	}{{"encoding_json", json.Unmarshal}, {"goccy", gojson.Unmarshal}, {"sonic", sonic.Unmarshal}}
	for _, d := range decoders {
		b.Run(d.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				var v bound
				if err := d.read(body, &v); err != nil || len(v.Context) != 32 {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("scanner", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			a := askings.Get().(*asking)
			a.body = append(a.body[:0], body...)
			if _, err := a.call(); err != nil || len(a.context) != 32 {
				b.Fatal(err)
			}
			a.give()
		}
	})
}

// sink is a response writer that keeps nothing.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) WriteHeader(status int)      { s.status = status }

type rereader struct{ bytes.Reader }

func (*rereader) Close() error { return nil }

// prompt answers like a pipeline that costs nothing, with 20 actions.
type prompt struct{ answer decisions.Answer }

func (p *prompt) Decide(context.Context, decisions.Call) (decisions.Answer, error) {
	return p.answer, nil
}

// BenchmarkDecisionRoute measures what the route costs above the pipeline:
// authentication, strict decoding and encoding of an answer with 20 actions.
// The baseline is a gin handler that binds the same request and returns it
// with c.JSON; "of_baseline" is its time divided by ours.
func BenchmarkDecisionRoute(b *testing.B) {
	f := newFixture(b)
	p := &prompt{answer: f.dom.answer}
	p.answer.Probabilities = nil
	for i := range 20 {
		p.answer.Probabilities = append(p.answer.Probabilities, decisions.Probability{Action: fmt.Sprintf("action-%02d", i), Probability: 1.0 / float64(i+3)})
	}
	f.srv.o.Decider = p
	body := largeCall()
	gin.SetMode(gin.ReleaseMode)
	plain := gin.New()
	plain.POST("/v1/decisions", func(c *gin.Context) {
		var v bound
		if err := c.ShouldBindJSON(&v); err != nil {
			c.Status(400)
			return
		}
		c.JSON(201, v)
	})
	serve := func(b *testing.B, h http.Handler) time.Duration {
		req := httptest.NewRequest("POST", "/v1/decisions", nil)
		req.Header.Set("Authorization", "Bearer "+f.keys[Channel])
		req.Header.Set("Content-Type", "application/json")
		w := &sink{header: http.Header{}}
		r := &rereader{}
		b.ReportAllocs()
		start := time.Now()
		for b.Loop() {
			r.Reset(body)
			req.Body = r
			h.ServeHTTP(w, req)
			if w.status != 201 {
				b.Fatal(w.status)
			}
		}
		return time.Since(start) / time.Duration(b.N)
	}
	var base, ours time.Duration
	b.Run("gin_bind_and_json", func(b *testing.B) { base = serve(b, plain) })
	b.Run("nextbest", func(b *testing.B) {
		ours = serve(b, f.srv.Handler())
		if base > 0 {
			b.ReportMetric(float64(base)/float64(ours), "of_baseline")
		}
	})
}

// BenchmarkRewards measures the bulk route without its journal.
func BenchmarkRewards(b *testing.B) {
	f := newFixture(b)
	const events = 5000
	var body strings.Builder
	for i := range events {
		if i%2 == 0 {
			fmt.Fprintf(&body, `{"id":"order-%07d","kind":"purchase","value":%d.%02d,"time":"2026-11-23T10:00:00.%03dZ","decision_id":"%s"}`+"\n", i, i%200, i%100, i%1000, someDecision)
		} else {
			fmt.Fprintf(&body, `{"id":"order-%07d","kind":"opt_out","value":1,"time":"2026-11-23T10:00:00Z","customer":{"id":"C-%d"}}`+"\n", i, i)
		}
	}
	text := body.String()
	f.srv.o.Outcomes = discard{}
	req := httptest.NewRequest("POST", "/v1/rewards", nil)
	req.Header.Set("Authorization", "Bearer "+f.keys[Channel])
	req.Header.Set("Content-Type", ndjsonType)
	w := &sink{header: http.Header{}}
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		req.Body = io.NopCloser(strings.NewReader(text))
		f.srv.Handler().ServeHTTP(w, req)
		if w.status != 202 {
			b.Fatal(w.status)
		}
	}
	b.ReportMetric(float64(b.N)*events/b.Elapsed().Seconds(), "events/s")
}

type discard struct{}

func (discard) Rewards(context.Context, []nextbest.Reward) (uint64, error)         { return 1, nil }
func (discard) Impressions(context.Context, []nextbest.Impression) (uint64, error) { return 1, nil }
