package experiments

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"nextbest"
)

// registry is a registry in memory with compare-and-set.
type registry struct {
	mu       sync.Mutex
	revision uint64
	records  map[nextbest.Kind]map[string][]nextbest.Record
	now      func() time.Time
	// before and after may fail a Put: after it, the record was written and the
	// caller does not know.
	before, after func(nextbest.Change) error
}

func (r *registry) Get(kind nextbest.Kind, id string) (nextbest.Record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.records[kind][id]
	if len(v) == 0 {
		return nextbest.Record{}, false
	}
	return v[len(v)-1], true
}

func (r *registry) Version(kind nextbest.Kind, id string, n uint64) (nextbest.Record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.records[kind][id]
	if n < 1 || n > uint64(len(v)) {
		return nextbest.Record{}, false
	}
	return v[n-1], true
}

func (r *registry) List(kind nextbest.Kind) []nextbest.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []nextbest.Record
	for _, v := range r.records[kind] {
		out = append(out, v[len(v)-1])
	}
	slices.SortFunc(out, func(a, b nextbest.Record) int { return int(a.Revision) - int(b.Revision) })
	return out
}

func (r *registry) Put(_ context.Context, c nextbest.Change) (nextbest.Record, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.before != nil {
		if err := r.before(c); err != nil {
			return nextbest.Record{}, err
		}
	}
	v := r.records[c.Kind][c.ID]
	var at uint64
	if len(v) > 0 {
		at = v[len(v)-1].Revision
	}
	if c.IfMatch != nextbest.AnyRevision && c.IfMatch != at {
		return nextbest.Record{}, nextbest.Errorf(nextbest.Stale, "%s %s is at revision %d", c.Kind, c.ID, at)
	}
	r.revision++
	record := nextbest.Record{Kind: c.Kind, ID: c.ID, Version: uint64(len(v)) + 1, Revision: r.revision, Document: c.Document, Deleted: c.Deleted, Actor: c.Actor, Reason: c.Reason, Time: r.now()}
	if r.records[c.Kind] == nil {
		r.records[c.Kind] = map[string][]nextbest.Record{}
	}
	r.records[c.Kind][c.ID] = append(v, record)
	if r.after != nil {
		if err := r.after(c); err != nil {
			return nextbest.Record{}, err
		}
	}
	return record, nil
}

// journal is a log in memory; every query gives the same customers, cut to the
// query's rewards.
type journal struct {
	mu       sync.Mutex
	enrolled []nextbest.Enrolment
	rewards  []string
	err      error
}

func (j *journal) Enrolments(_ context.Context, q nextbest.EnrolmentQuery, f func(nextbest.Enrolment) error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return j.err
	}
	for _, e := range j.enrolled {
		cut := e
		cut.First, cut.Total = nil, nil
		for _, reward := range q.Rewards {
			i := slices.Index(j.rewards, reward)
			if i < 0 {
				cut.First, cut.Total = append(cut.First, time.Time{}), append(cut.Total, 0)
				continue
			}
			cut.First, cut.Total = append(cut.First, e.First[i]), append(cut.Total, e.Total[i])
		}
		if err := f(cut); err != nil {
			return err
		}
	}
	return nil
}

// fill enrols customers alternately, a minute apart, with the given numbers of
// buyers and leavers among each hundred of an arm.
func (j *journal) fill(n int, buys, leaves map[string]int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.rewards = []string{"purchase", "opt_out"}
	j.enrolled = nil
	seen := map[string]int{}
	for i := range n {
		arm := []string{"control", "candidate"}[i%2]
		k := seen[arm] % 100
		seen[arm]++
		at := start.Add(time.Duration(i+1) * time.Minute)
		e := nextbest.Enrolment{Customer: fmt.Sprint(i), Arm: arm, Time: at, Decisions: 2, First: make([]time.Time, 2), Total: make([]float64, 2)}
		if k*37%100 < buys[arm] {
			e.First[0], e.Total[0] = at.Add(time.Hour), 10
		}
		if k*53%100 < leaves[arm] {
			e.First[1], e.Total[1] = at.Add(time.Hour), 1
		}
		j.enrolled = append(j.enrolled, e)
	}
}

// evaluations is one evaluation.
type evaluations struct {
	OfflineEvidence
}

func (e *evaluations) Evidence(_ context.Context, id string, policy nextbest.Ref, model uint64) (*OfflineEvidence, error) {
	if id != e.Evaluation || policy != e.Policy || model != e.Model {
		return nil, nextbest.Errorf(nextbest.NotFound, "evaluation %s says nothing of %s model %d", id, policy, model)
	}
	o := e.OfflineEvidence
	return &o, nil
}

// platform is a service on fakes with everything that exp-1 names, and a clock.
type platform struct {
	*Service
	registry    *registry
	journal     *journal
	evaluations *evaluations
	clock       time.Time
}

const document = `{"placement":"email","salt":"x","window":"14d","primary":{"reward":"purchase"},"evaluation":"e1",
	"guardrails":[{"reward":"opt_out","harm":"increase","margin":0.5}],"arms":[
	{"id":"control","policy":"rules@1","share":0.5,"control":true},{"id":"candidate","policy":"lints@1","model":2,"share":0.5}]}`

func newPlatform(t testing.TB) *platform {
	t.Helper()
	p := &platform{clock: start.Add(-time.Hour), journal: &journal{}}
	p.registry = &registry{records: map[nextbest.Kind]map[string][]nextbest.Record{}, now: func() time.Time { return p.clock }}
	p.evaluations = &evaluations{OfflineEvidence{
		Evaluation: "e1", Placement: "email", Policy: nextbest.Ref{ID: "lints", Version: 1}, Model: 2, Value: 1, Low: .8, High: 1.2,
		Objective: nextbest.Objective{Terms: []nextbest.Term{{Reward: "purchase", Weight: 1}}, Window: nextbest.Duration(14 * day)},
		GainLow:   .1, Level: .95, Ran: []string{"rules@1"}, First: start, Calibration: &Calibration{Worst: 1.2, Limit: 3.5, Cell: "mail"},
	}}
	service, err := NewService(Options{
		Definitions: p.registry, Changes: p.registry, Log: p.journal, Evaluations: p.evaluations,
		Clock: func() time.Time { return p.clock }, Interval: time.Minute, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	p.Service = service
	p.put(t, nextbest.KindObjective, "value", `{"terms":[{"reward":"purchase","weight":1}],"window":"14d"}`)
	p.put(t, nextbest.KindPolicy, "rules", `{}`)
	p.put(t, nextbest.KindPolicy, "lints", `{}`)
	p.put(t, nextbest.KindModel, "lints.1", `{}`)
	p.put(t, nextbest.KindModel, "lints.1", `{}`)
	p.put(t, nextbest.KindPlacement, "email", `{"channels":["email"],"objective":"value@1","actions":["mail","do-nothing"],"policy":"rules@1","slots":1}`)
	return p
}

func (p *platform) put(t testing.TB, kind nextbest.Kind, id, document string) nextbest.Record {
	t.Helper()
	r, err := p.registry.Put(context.Background(), nextbest.Change{Kind: kind, ID: id, Document: []byte(document), Actor: "root", IfMatch: nextbest.AnyRevision})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// started saves exp-1 as ann, starts it and moves the clock a month on, with a
// log in which the candidate is better.
func (p *platform) started(t testing.TB) {
	t.Helper()
	ctx := context.Background()
	if _, err := p.Save(ctx, "exp-1", []byte(document), "ann", "try it", 0); err != nil {
		t.Fatal(err)
	}
	p.clock = start
	if _, err := p.Start(ctx, "exp-1", "ann", "go"); err != nil {
		t.Fatal(err)
	}
	p.clock = start.Add(40 * day)
	p.journal.fill(8000, map[string]int{"control": 10, "candidate": 15}, map[string]int{"control": 5, "candidate": 5})
}

// serves returns the placement's pointer and version.
func (p *platform) serves(t testing.TB) (pointer, uint64) {
	t.Helper()
	r, _ := p.registry.Get(nextbest.KindPlacement, "email")
	got, err := pointerOf(r)
	if err != nil {
		t.Fatal(err)
	}
	return got, r.Version
}

func (p *platform) state(t testing.TB, id string) *Definition {
	t.Helper()
	d, _, err := p.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
