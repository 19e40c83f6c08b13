package api

import (
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics counts requests by route; the hot routes hold their series.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	panics   prometheus.Counter
	rewards  prometheus.Counter
	hot      map[string]*hotSeries
	gatherer prometheus.Gatherer
}

// hotSeries is what one hot route counts in, found beforehand.
type hotSeries struct {
	m        *metrics
	route    string
	duration prometheus.Observer
	common   [600]prometheus.Counter // by status, filled for the usual ones
}

func newMetrics(r *prometheus.Registry) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "nextbest_http_requests_total", Help: "Requests by method, route and status."}, []string{"method", "route", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "nextbest_http_request_duration_seconds", Help: "Time to answer, by method and route.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .25, .5, 1, 5, 30}}, []string{"method", "route"}),
		panics:   prometheus.NewCounter(prometheus.CounterOpts{Name: "nextbest_http_panics_total", Help: "Requests that ended in a panic."}),
		rewards:  prometheus.NewCounter(prometheus.CounterOpts{Name: "nextbest_rewards_accepted_total", Help: "Reward events accepted as durable."}),
		hot:      map[string]*hotSeries{},
		gatherer: r,
	}
	r.MustRegister(m.requests, m.duration, m.panics, m.rewards)
	for _, route := range []string{"/v1/decisions", "/v1/decisions/:id/impression", "/v1/rewards"} {
		h := &hotSeries{m: m, route: route, duration: m.duration.WithLabelValues("POST", route)}
		for _, status := range []int{200, 201, 202, 422} {
			h.common[status] = m.requests.WithLabelValues("POST", route, strconv.Itoa(status))
		}
		m.hot[route] = h
	}
	return m
}

// done counts one answered request.
func (h *hotSeries) done(status int, took time.Duration) {
	h.duration.Observe(took.Seconds())
	if status > 0 && status < len(h.common) && h.common[status] != nil {
		h.common[status].Inc()
		return
	}
	h.m.requests.WithLabelValues("POST", h.route, strconv.Itoa(status)).Inc()
}

// countPlain counts requests of the other routes.
func (s *Server) countPlain(c *gin.Context) {
	start := time.Now()
	c.Next()
	route := c.FullPath()
	if route == "" {
		route = "none"
	}
	s.metrics.requests.WithLabelValues(c.Request.Method, route, strconv.Itoa(c.Writer.Status())).Inc()
	s.metrics.duration.WithLabelValues(c.Request.Method, route).Observe(time.Since(start).Seconds())
	s.log.DebugContext(c.Request.Context(), "request", "method", c.Request.Method, "route", route, "status", c.Writer.Status(), "took", time.Since(start))
}

// healthRoutes serves what operators ask, without a key.
func (s *Server) healthRoutes(e *gin.Engine) {
	e.GET("/healthz", func(c *gin.Context) { c.JSON(200, gin.H{"status": "ok"}) })
	e.GET("/readyz", func(c *gin.Context) {
		status, word, deps := 200, "ready", []Dependency{}
		if s.o.Readiness != nil {
			deps = append(deps, s.o.Readiness.Ready(c.Request.Context())...)
		}
		for _, d := range deps {
			switch {
			case d.OK:
			case !d.Optional:
				status, word = 503, "not ready"
			case status == 200:
				word = "degraded"
			}
		}
		c.JSON(status, gin.H{"status": word, "dependencies": deps})
	})
	e.GET("/metrics", gin.WrapH(promhttp.HandlerFor(s.metrics.gatherer, promhttp.HandlerOpts{})))
}
