package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// gauges are the platform's own figures for the Prometheus endpoint, read when
// they are asked for.
type gauges struct {
	p *platform

	lag, dead, bytes, limit, retries, ready, conflicts, restarts, revision *prometheus.Desc
}

func newGauges(p *platform) *gauges {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("nextbest_"+name, help, nil, nil)
	}
	return &gauges{p: p,
		lag:       desc("sink_lag_messages", "Journal messages that are not in ClickHouse yet."),
		dead:      desc("dead_letters", "Journal messages that could not be decoded."),
		bytes:     desc("journal_bytes", "Size of the journal."),
		limit:     desc("journal_limit_bytes", "Size beyond which the journal refuses events."),
		retries:   desc("sink_retries_total", "Inserts that failed and were tried again."),
		ready:     desc("contact_history_ready", "1 when caps are exact, 0 while the contact history is rebuilt."),
		conflicts: desc("contact_conflicts_total", "Decisions that were made again because another replica was first."),
		restarts:  desc("clickhouse_restarts_total", "Restarts of the embedded ClickHouse."),
		revision:  desc("catalogue_revision", "Revision of the definitions that decide."),
	}
}

// Describe implements prometheus.Collector.
func (g *gauges) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(g, out) }

// Collect implements prometheus.Collector. What cannot be read is left out.
func (g *gauges) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64) { out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	counter := func(d *prometheus.Desc, v float64) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if s, err := g.p.sink.Stats(ctx); err == nil {
		gauge(g.lag, float64(s.Lag))
		gauge(g.dead, float64(s.DeadLetters))
		gauge(g.bytes, float64(s.Bytes))
		gauge(g.limit, float64(s.MaxBytes))
		counter(g.retries, float64(s.Retries))
	}
	ready := 0.0
	if g.p.contacts.Ready() {
		ready = 1
	}
	gauge(g.ready, ready)
	counter(g.conflicts, float64(g.p.pipeline.Conflicts()))
	if g.p.engines.engine != nil {
		counter(g.restarts, float64(g.p.engines.engine.Restarts()))
	}
	gauge(g.revision, float64(g.p.definitions.Catalogue().Revision))
}
