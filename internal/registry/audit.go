package registry

import (
	"context"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"nextbest"
)

// Audit is the result of reading the whole registry again.
type Audit struct {
	Revision uint64 `json:"revision"` // up to which it was read
	Records  int    `json:"records"`
	Objects  int    `json:"objects"`
	// Head is a hash over all records in order. Two registries with the same
	// head hold the same history; kept elsewhere, it shows a rewritten one.
	Head     string   `json:"head"`
	Problems []string `json:"problems,omitempty"`
}

// OK reports whether every record passed.
func (a *Audit) OK() bool { return len(a.Problems) == 0 }

// Audit reads the stream from its first message, checks every hash, version and
// position, and compares the outcome with what this replica serves.
func (r *Registry) Audit(ctx context.Context) (*Audit, error) {
	info, err := r.stream.Info(ctx)
	if err != nil {
		return nil, unavailable("registry: stream "+registryStream, err)
	}
	last := info.State.LastSeq
	fresh := newState()
	if last > 0 {
		if err := r.replay(ctx, fresh, last); err != nil {
			return nil, err
		}
	}
	if err := r.Wait(ctx, last); err != nil {
		return nil, err
	}
	a := &Audit{Revision: last, Records: len(fresh.records), Head: fresh.headHash(), Problems: slices.Clone(fresh.problems)}
	for _, byID := range fresh.objects {
		a.Objects += len(byID)
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	for kind, byID := range fresh.objects {
		for id, o := range byID {
			mine := r.state.object(kind, id).entries
			for i, e := range o.entries {
				if i >= len(mine) || mine[i].hash != e.hash {
					a.Problems = append(a.Problems, fmt.Sprintf("revision %d, %s/%s: this replica serves another record than the stream holds; restart it", e.record.Revision, kind, id))
					break
				}
			}
		}
	}
	slices.Sort(a.Problems)
	return a, nil
}

// replay applies the stream's messages up to the sequence last to s.
func (r *Registry) replay(ctx context.Context, s *state, last uint64) error {
	consumer, err := r.js.OrderedConsumer(ctx, registryStream, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		return unavailable("registry: reading stream "+registryStream, err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		return unavailable("registry: reading stream "+registryStream, err)
	}
	defer messages.Stop()
	for s.revision < last {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return nextbest.Errorf(nextbest.Unavailable, "registry: the audit stopped at revision %d of %d: %w", s.revision, last, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return nextbest.Errorf(nextbest.Internal, "registry: a message without metadata on %s: %w", m.Subject(), err)
		}
		s.apply(meta.Sequence.Stream, m.Subject(), m.Data())
	}
	return nil
}
