package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"time"

	"nextbest/cmd/nextbest/client"

	"github.com/gin-gonic/gin"
)

// The decision that is measured: as many actions and features as the peers
// were measured with.
const (
	benchActions   = 20
	benchFeatures  = 32
	benchPlacement = "bench"
	customers      = 50000
)

// ServeOptions size the measurement of decisions.
type ServeOptions struct {
	Connections int
	Span        time.Duration // of each turn
	Turns       int           // of the platform and of the baseline each
	// CPU returns the processor time that this program (load generator and
	// platform) and its ClickHouse have taken.
	CPU func() (program, engine time.Duration)
	// Profile, where not nil, takes a CPU profile (pprof) of the platform's last turn.
	Profile io.Writer
}

// ServeResult compares durable decisions with a gin handler that binds the
// same request and returns it with c.JSON.
type ServeResult struct {
	Connections int       `json:"connections"`
	Actions     int       `json:"actions"`
	Features    int       `json:"features"`
	Platform    []Latency `json:"platform"`
	Baseline    []Latency `json:"baseline"`
	PerSecond   float64   `json:"per_second"`          // median over turns
	BasePerSec  float64   `json:"baseline_per_second"` // median over turns
	Ratio       float64   `json:"ratio"`               // median of the turns' ratios
	P99         float64   `json:"p99_ms"`              // median over turns
	Journaled   int       `json:"journaled"`           // decisions that the log holds afterwards
	// Processor time for each answer, which a busy machine changes less than
	// rates: of this program with its load generator in the platform's turns, of
	// ClickHouse meanwhile, and of this program in the baseline's turns.
	ProgramCPU  float64 `json:"program_cpu_us"`
	EngineCPU   float64 `json:"clickhouse_cpu_us"`
	BaselineCPU float64 `json:"baseline_cpu_us"`
}

// decisionRequest is what the baseline binds: the body of a decision call.
type decisionRequest struct {
	Placement string         `json:"placement" binding:"required"`
	Customer  map[string]any `json:"customer" binding:"required"`
	Context   map[string]any `json:"context" binding:"required"`
}

// Serve measures decisions against a running platform.
func Serve(ctx context.Context, api *client.Client, o ServeOptions, progress func(format string, args ...any)) (*ServeResult, error) {
	channel, err := prepareServe(ctx, api, progress)
	if err != nil {
		return nil, err
	}
	bodies := decisionBodies(4096)
	ours := &load{address: strings.TrimPrefix(api.Address, "http://"), connections: o.Connections, span: o.Span}
	for _, b := range bodies {
		ours.requests = append(ours.requests, request("/v1/decisions", channel.Key, "application/json", b))
	}
	address, stop, err := baseline()
	if err != nil {
		return nil, err
	}
	defer stop()
	base := &load{address: address, connections: o.Connections, span: o.Span}
	for _, b := range bodies {
		base.requests = append(base.requests, request("/echo", channel.Key, "application/json", b))
	}
	warm := *ours
	warm.span = time.Second
	if _, err := warm.run(ctx); err != nil {
		return nil, err
	}
	r := &ServeResult{Connections: o.Connections, Actions: benchActions, Features: benchFeatures}
	var rate, baseRate, ratio, p99 []float64
	var program, engine, echo time.Duration
	echoes := 0
	for turn := range o.Turns {
		progress("turn %d of %d", turn+1, o.Turns)
		echoBefore, _ := o.CPU()
		b, err := base.run(ctx)
		if err != nil {
			return nil, fmt.Errorf("baseline: %w", err)
		}
		if o.Profile != nil && turn == o.Turns-1 {
			if err := pprof.StartCPUProfile(o.Profile); err != nil {
				return nil, err
			}
			defer pprof.StopCPUProfile()
		}
		programBefore, engineBefore := o.CPU()
		echo, echoes = echo+programBefore-echoBefore, echoes+b.Requests
		p, err := ours.run(ctx)
		if err != nil {
			return nil, fmt.Errorf("platform: %w", err)
		}
		programAfter, engineAfter := o.CPU()
		program, engine = program+programAfter-programBefore, engine+engineAfter-engineBefore
		if p.Failed > 0 || b.Failed > 0 {
			return nil, fmt.Errorf("turn %d: %d decisions and %d baseline answers failed", turn+1, p.Failed, b.Failed)
		}
		r.Platform, r.Baseline = append(r.Platform, p), append(r.Baseline, b)
		rate, baseRate = append(rate, p.PerSecond), append(baseRate, b.PerSecond)
		ratio, p99 = append(ratio, p.PerSecond/b.PerSecond), append(p99, p.P99)
	}
	r.PerSecond, r.BasePerSec, r.Ratio, r.P99 = median(rate), median(baseRate), median(ratio), median(p99)
	for _, p := range r.Platform {
		r.Journaled += p.Requests
	}
	r.ProgramCPU = float64(program.Microseconds()) / float64(r.Journaled)
	r.EngineCPU = float64(engine.Microseconds()) / float64(r.Journaled)
	r.BaselineCPU = float64(echo.Microseconds()) / float64(echoes)
	return r, nil
}

// prepareServe defines the placement, feeds it, and trains the model that the
// measured decisions use. It returns the client of a channel's key.
func prepareServe(ctx context.Context, admin *client.Client, progress func(format string, args ...any)) (*client.Client, error) {
	call := func(method, path string, in, out any) error {
		_, err := admin.Call(ctx, method, path, in, out)
		return err
	}
	var features []map[string]any
	for i := range benchFeatures - 1 { // the schema adds the bias
		features = append(features, map[string]any{"name": "f" + strconv.Itoa(i), "type": "numeric", "mean": 0, "sd": 1, "missing": "refuse"})
	}
	ids := []string{"do-nothing"}
	steps := []struct {
		method, path string
		in           any
	}{
		{"PUT", "/v1/features/bench", map[string]any{"features": features}},
		{"PUT", "/v1/objectives/bench", map[string]any{"terms": []map[string]any{{"reward": "click", "weight": 1}}, "window": "1s", "default": 0}},
	}
	for i := range benchActions - 1 {
		id := "action-" + strconv.Itoa(i)
		ids = append(ids, id)
		steps = append(steps, struct {
			method, path string
			in           any
		}{"PUT", "/v1/actions/" + id, map[string]any{
			"treatments":  []map[string]any{{"id": "a", "channel": "web"}},
			"eligibility": "context.f0 > -9.0", "consent": []string{"web"},
			"caps": []map[string]any{{"max": 50, "per": "1d"}},
		}})
	}
	steps = append(steps, []struct {
		method, path string
		in           any
	}{
		{"POST", "/v1/policies/uniform/versions", map[string]any{"algorithm": "uniform"}},
		{"POST", "/v1/policies/linucb/versions", map[string]any{"algorithm": "linucb", "features": "bench@1"}},
		{"PUT", "/v1/placements/warmup", map[string]any{"channels": []string{"web"}, "objective": "bench@1", "actions": ids, "policy": "uniform@1"}},
	}...)
	for _, s := range steps {
		if err := call(s.method, s.path, s.in, nil); err != nil {
			return nil, err
		}
	}
	var key struct {
		Key string `json:"key"`
	}
	if err := call("POST", "/v1/keys", map[string]any{"role": "channel", "name": "bench"}, &key); err != nil {
		return nil, err
	}
	channel := admin.As(key.Key)
	if err := feed(ctx, channel, progress); err != nil {
		return nil, err
	}
	var model struct {
		Version uint64 `json:"version"`
	}
	if err := call("POST", "/v1/policies/linucb/versions/1/models", map[string]any{"placement": "warmup", "objective": "bench@1"}, &model); err != nil {
		return nil, err
	}
	return channel, call("PUT", "/v1/placements/"+benchPlacement, map[string]any{"channels": []string{"web"}, "objective": "bench@1", "actions": ids, "policy": "linucb@1", "model": model.Version}, nil)
}

// feed makes decisions with rewards for the model to learn from.
func feed(ctx context.Context, channel *client.Client, progress func(format string, args ...any)) error {
	const n = 2000
	progress("learning a model from %d decisions", n)
	rng := rand.New(rand.NewPCG(2, 2))
	var rewards []map[string]any
	for i, body := range decisionBodies(n) {
		var d struct {
			ID string `json:"decision_id"`
		}
		if _, err := channel.Call(ctx, http.MethodPost, "/v1/decisions", []byte(strings.Replace(string(body), benchPlacement, "warmup", 1)), &d); err != nil {
			return err
		}
		if rng.Float64() < 0.3 {
			rewards = append(rewards, map[string]any{"id": "r-" + strconv.Itoa(i), "kind": "click", "value": 1, "time": time.Now(), "decision_id": d.ID})
		}
	}
	for chunk := range slices.Chunk(rewards, 500) {
		if _, err := channel.Call(ctx, http.MethodPost, "/v1/rewards", map[string]any{"rewards": chunk}, nil); err != nil {
			return err
		}
	}
	time.Sleep(1200 * time.Millisecond) // the attribution window
	return nil
}

// decisionBodies returns n decision calls for random customers.
func decisionBodies(n int) [][]byte {
	rng := rand.New(rand.NewPCG(1, 1))
	bodies := make([][]byte, n)
	for i := range bodies {
		features := map[string]any{}
		for j := range benchFeatures - 1 {
			features["f"+strconv.Itoa(j)] = rng.NormFloat64()
		}
		bodies[i], _ = json.Marshal(map[string]any{ // plain maps and numbers always encode
			"placement": benchPlacement,
			"customer":  map[string]any{"id": "B-" + strconv.Itoa(rng.IntN(customers)), "consent": map[string]any{"web": true}},
			"context":   features,
		})
	}
	return bodies
}

// baseline serves the echo handler on a free port.
func baseline() (address string, stop func(), err error) {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.POST("/echo", func(c *gin.Context) {
		var in decisionRequest
		if err := c.ShouldBindJSON(&in); err != nil {
			c.Status(http.StatusBadRequest)
			return
		}
		c.JSON(http.StatusOK, in)
	})
	return listen(e)
}

// listen serves a handler on a free port until stop is called.
func listen(h http.Handler) (address string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l) // ends with Close
	}()
	return l.Addr().String(), func() { srv.Close(); <-done }, nil
}

func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	n := len(v)
	if n%2 == 1 {
		return v[n/2]
	}
	return (v[n/2-1] + v[n/2]) / 2
}
