// Package logging is the platform's log: a durable journal in JetStream that
// callers wait for, ClickHouse tables and views that everybody reads, and the
// sink that carries the one into the other exactly once.
//
// A decision, impression or reward is acknowledged when the journal has it on
// disk. The sink inserts what the journal holds and acknowledges it to the
// journal afterwards, so that whatever crashes, rows are at worst inserted
// again; the tables' keys make that harmless. DESIGN.md in this folder has the
// reasons and docs/schema.md describes the views for people who write SQL.
package logging
