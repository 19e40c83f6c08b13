package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	oteltrace "go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// telemetry is where metrics and traces go: metrics to the Prometheus endpoint
// of the API, traces to an OTLP collector where OTEL_EXPORTER_OTLP_ENDPOINT
// names one.
type telemetry struct {
	metrics *prometheus.Registry
	tracer  oteltrace.TracerProvider
	meter   *metric.MeterProvider
	traces  *trace.TracerProvider // nil: no collector
}

func startTelemetry(ctx context.Context, version string) (*telemetry, error) {
	t := &telemetry{metrics: prometheus.NewRegistry(), tracer: noop.NewTracerProvider()}
	t.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(t.metrics))
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	about := resource.NewWithAttributes(semconv.SchemaURL, semconv.ServiceName("nextbest"), semconv.ServiceVersion(version))
	t.meter = metric.NewMeterProvider(metric.WithReader(exporter), metric.WithResource(about))
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" {
		return t, nil
	}
	otlp, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("traces: %w; check OTEL_EXPORTER_OTLP_ENDPOINT", err)
	}
	t.traces = trace.NewTracerProvider(trace.WithBatcher(otlp), trace.WithResource(about))
	t.tracer = t.traces
	return t, nil
}

// Close sends what is left.
func (t *telemetry) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if t.traces != nil {
		_ = t.traces.Shutdown(ctx) // the program ends either way
	}
	_ = t.meter.Shutdown(ctx)
}
