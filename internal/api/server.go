package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/contrib/instrumentation/github.com/gin-gonic/gin/otelgin"
	"go.opentelemetry.io/otel/trace"

	"nextbest"
)

// Options are what a server is made of. Registry, Decider, Outcomes and
// Pseudonyms are needed; a route whose collaborator is nil answers 503.
type Options struct {
	Registry   Registry
	Checker    Checker // nil: definitions are checked by their own shape only
	Decider    Decider
	Outcomes   Outcomes
	Pseudonyms Pseudonyms
	Log        Log
	Traffic    TrafficLog // nil: predictions go by definitions alone
	Trainer    Trainer
	Weights    Weights
	Rebuilder  Rebuilder
	Models     Models
	Evaluator  Evaluator
	Searcher   Searcher
	Verifier   Verifier
	Importer   Importer
	Lifecycle  Lifecycle
	Evidence   Evidence
	Console    Console
	Readiness  Readiness // nil: ready as soon as it answers

	Logger  *slog.Logger         // nil: slog.Default
	Metrics *prometheus.Registry // nil: one of its own
	Tracer  trace.TracerProvider // nil: the global one
	Now     func() time.Time     // nil: time.Now
	Version string               // shown in the OpenAPI document; "dev" when empty
	Mount   func(gin.IRouter)    // further routes, such as the console's
	Limits  Limits               // zero values: the defaults
	Shared  bool                 // other replicas run jobs on the same registry
	Replica string               // keeps its name over restarts, so that jobs of its earlier processes are known to be interrupted; "" where Shared is false
}

// Limits bounds what one request may ask for.
type Limits struct {
	DecisionBody   int64         // bytes; 256 KiB
	RewardsBody    int64         // bytes; 4 MiB, a journal message holds less
	ImportBody     int64         // bytes; 64 MiB
	DefinitionBody int64         // bytes of any other body; 256 KiB
	Jobs           int           // evaluations, verifications and rebuilds at once; 2
	JobTime        time.Duration // of one of them; 1 h
}

func (l Limits) filled() Limits {
	fill := func(v *int64, def int64) {
		if *v <= 0 {
			*v = def
		}
	}
	fill(&l.DecisionBody, 256<<10)
	fill(&l.RewardsBody, 4<<20)
	fill(&l.ImportBody, 64<<20)
	fill(&l.DefinitionBody, 256<<10)
	if l.Jobs <= 0 {
		l.Jobs = 2
	}
	if l.JobTime <= 0 {
		l.JobTime = time.Hour
	}
	return l
}

// Server is the REST API. Make it with New, serve Handler, and run Run.
type Server struct {
	o       Options
	log     *slog.Logger
	now     func() time.Time
	auth    *authenticator
	engine  *gin.Engine
	api     huma.API
	metrics *metrics
	jobs    *jobs
	kinds   rewardKinds
}

// New returns a server.
func New(o Options) (*Server, error) {
	switch {
	case o.Registry == nil:
		return nil, errors.New("api: Options.Registry is missing")
	case o.Decider == nil:
		return nil, errors.New("api: Options.Decider is missing")
	case o.Outcomes == nil:
		return nil, errors.New("api: Options.Outcomes is missing")
	case o.Pseudonyms == nil:
		return nil, errors.New("api: Options.Pseudonyms is missing")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Metrics == nil {
		o.Metrics = prometheus.NewRegistry()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Version == "" {
		o.Version = "dev"
	}
	o.Limits = o.Limits.filled()
	s := &Server{o: o, log: o.Logger, now: o.Now, auth: &authenticator{definitions: o.Registry}, metrics: newMetrics(o.Metrics)}
	s.kinds.definitions = o.Registry
	s.jobs = newJobs(o, s.log)
	return s, s.routes()
}

// Handler serves the API.
func (s *Server) Handler() http.Handler { return patience(s.engine, bodyWait) }

// Run runs evaluations and verifications until ctx ends, then stops them and
// waits for them.
func (s *Server) Run(ctx context.Context) error { return s.jobs.run(ctx) }

// routes builds the router: the hot routes bare, everything else traced and
// described by huma.
func (s *Server) routes() error {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.HandleMethodNotAllowed = true
	e.RedirectTrailingSlash = false
	e.ContextWithFallback = true
	e.Use(s.recover)
	e.NoRoute(s.countPlain, func(c *gin.Context) {
		s.fail(c, nextbest.Errorf(nextbest.NotFound, "there is nothing at %s; GET /openapi.json lists every route", c.Request.URL.Path))
	})
	e.NoMethod(s.countPlain, func(c *gin.Context) {
		s.fail(c, nextbest.Errorf(MethodNotAllowed, "%s does not take %s", c.Request.URL.Path, c.Request.Method))
	})
	s.engine = e

	e.POST("/v1/decisions", s.decide)
	e.POST("/v1/decisions/:id/impression", s.impression)
	e.POST("/v1/rewards", s.rewards)

	var tracing []otelgin.Option
	if s.o.Tracer != nil {
		tracing = append(tracing, otelgin.WithTracerProvider(s.o.Tracer))
	}
	rest := e.Group("", otelgin.Middleware("nextbest", tracing...), s.countPlain)
	if err := s.describe(rest); err != nil {
		return err
	}
	s.healthRoutes(e)
	if s.o.Mount != nil {
		s.o.Mount(rest)
	}
	return nil
}

// describe registers the operations that huma serves.
func (s *Server) describe(g *gin.RouterGroup) error {
	s.api = humagin.NewWithGroup(s.engine, g, s.config())
	s.api.UseMiddleware(s.guard)
	s.definitionRoutes()
	s.featureRoutes()
	s.policyRoutes()
	s.explorationRoutes()
	s.experimentRoutes()
	s.logRoutes()
	s.evaluationRoutes()
	s.verificationRoutes()
	s.searchRoutes()
	s.importRoutes()
	s.keyRoutes()
	s.auditRoutes()
	s.describeHotRoutes()
	d, err := newDocument(s.api.OpenAPI())
	if err != nil {
		return err
	}
	d.routes(s.engine)
	return nil
}

// recover answers a panic with a problem that tells nothing about our inside.
func (s *Server) recover(c *gin.Context) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if v == http.ErrAbortHandler {
			panic(v)
		}
		s.log.ErrorContext(c.Request.Context(), "panic", "route", c.FullPath(), "panic", v, "stack", string(debug.Stack()))
		s.metrics.panics.Inc()
		if c.Writer.Written() {
			panic(http.ErrAbortHandler) // half an answer must not look like a whole one
		}
		s.fail(c, errors.New("panic"))
	}()
	c.Next()
}

// missing is the answer of a route whose collaborator is not there.
func missing(what string) error {
	return nextbest.Errorf(nextbest.Unavailable, "%s is not available on this server", what)
}
