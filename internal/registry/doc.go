// Package registry keeps what the platform knows apart from its log: versioned
// definitions with their audit trail, model blobs, customers' contact history,
// and the claims that make retries and background work happen once. All of it
// lives in NATS JetStream; definitions and blobs in file streams, the rest in
// memory streams. Domains decode the documents; here they are JSON objects with
// an actor, a reason and a place in a hash chain.
package registry
