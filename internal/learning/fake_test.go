package learning

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"nextbest"
	"nextbest/bandit"
)

// fakeLog is a log as the contract describes it, slow and plain: event i is at
// journal position i+1; the first report of a decision and the newest of a
// reward count, among those up to P.
type fakeLog struct {
	events []any // nextbest.Decision or nextbest.Reward
	reads  int
}

func (l *fakeLog) add(e any)        { l.events = append(l.events, e) }
func (l *fakeLog) Position() uint64 { return uint64(len(l.events)) }

type fakeRow struct {
	d       *nextbest.Decision
	reward  float64
	matched bool
}

func (l *fakeLog) rows(q nextbest.Query) []fakeRow {
	upto := len(l.events)
	if q.Upto != 0 {
		upto = min(upto, int(q.Upto))
	}
	decisions, rewards := map[uuid.UUID]*nextbest.Decision{}, map[string]nextbest.Reward{}
	for _, e := range l.events[:upto] {
		switch e := e.(type) {
		case nextbest.Decision:
			if decisions[e.ID] == nil && placementID(e.Placement) == placementID(q.Placement) {
				decisions[e.ID] = &e
			}
		case nextbest.Reward:
			rewards[e.ID] = e
		}
	}
	window := q.Objective.Window.Std()
	followed := map[uuid.UUID][]nextbest.Reward{}
	for _, r := range rewards {
		var d *nextbest.Decision
		if r.Customer == "" {
			d = decisions[r.DecisionID]
		} else {
			for _, c := range decisions {
				if c.Customer == r.Customer && !c.Time.After(r.Time) && (d == nil || c.Time.After(d.Time)) {
					d = c
				}
			}
		}
		if !r.Withdrawn && d != nil && !r.Time.Before(d.Time) && r.Time.Before(d.Time.Add(window)) {
			followed[d.ID] = append(followed[d.ID], r)
		}
	}
	var out []fakeRow
	for _, d := range decisions {
		if d.Time.Before(q.From) || !q.To.IsZero() && !d.Time.Before(q.To) || d.Time.Add(window).After(q.MatureAt) || !q.Split.Contains(d.Customer) || q.SkipSetAside && d.SetAside || q.Source != "" && d.Source != q.Source {
			continue
		}
		reward, matched := value(q.Objective, followed[d.ID])
		out = append(out, fakeRow{d, reward, matched})
	}
	slices.SortFunc(out, func(a, b fakeRow) int {
		return cmp.Or(cmp.Compare(a.d.Customer, b.d.Customer), a.d.Time.Compare(b.d.Time), cmp.Compare(a.d.ID.String(), b.d.ID.String()))
	})
	return out
}

// value is what a decision is worth by an objective, and whether any of what
// followed it counts.
func value(o nextbest.Objective, followed []nextbest.Reward) (total float64, matched bool) {
	slices.SortFunc(followed, func(a, b nextbest.Reward) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID)) })
	for _, term := range o.Terms {
		var values []float64
		for _, r := range followed {
			if r.Kind == term.Reward {
				values = append(values, r.Value)
			}
		}
		if len(values) == 0 {
			continue
		}
		matched = true
		switch o.Aggregation {
		case "first":
			total += term.Weight * values[0]
		case "last":
			total += term.Weight * values[len(values)-1]
		case "max":
			total += term.Weight * slices.Max(values)
		default:
			for _, v := range values {
				total += term.Weight * v
			}
		}
	}
	if !matched {
		return o.Default, false
	}
	return total, true
}

func (l *fakeLog) Rows(_ context.Context, q nextbest.Query, each func(*nextbest.Batch) error) error {
	l.reads++
	for chunk := range slices.Chunk(l.rows(q), 7) {
		b := &nextbest.Batch{Offsets: []int{0}}
		for _, r := range chunk {
			for _, a := range r.d.Eligible {
				if !slices.Contains(b.Actions, a) {
					b.Actions = append(b.Actions, a)
				}
				b.Eligible = append(b.Eligible, uint32(slices.Index(b.Actions, a)))
			}
			b.Offsets = append(b.Offsets, len(b.Eligible))
			b.Probabilities = append(b.Probabilities, r.d.Probabilities...)
			b.Chosen = append(b.Chosen, slices.Index(r.d.Eligible, r.d.Action))
			b.Time = append(b.Time, r.d.Time.UnixMicro())
			b.Decision, b.Customer, b.Policies = append(b.Decision, r.d.ID), append(b.Customer, r.d.Customer), append(b.Policies, r.d.Policy)
			b.Features = append(b.Features, r.d.Features)
			b.Reward, b.Matched = append(b.Reward, r.reward), append(b.Matched, r.matched)
			b.X, b.Width = append(b.X, r.d.X...), len(r.d.X)
			if q.Contexts {
				b.Contexts = append(b.Contexts, r.d.Context)
			}
		}
		if err := each(b); err != nil {
			return err
		}
	}
	return nil
}

// SetAside counts the set-aside rows that q selects.
func (l *fakeLog) SetAside(_ context.Context, q nextbest.Query) (n int64, err error) {
	q.SkipSetAside = false
	for _, r := range l.rows(q) {
		if r.d.SetAside {
			n++
		}
	}
	return n, nil
}

// touchedLog can tell late events from new rows.
type touchedLog struct{ *fakeLog }

func (l touchedLog) Touched(_ context.Context, q nextbest.Query, after uint64) (bool, error) {
	now := l.rows(q)
	q.Upto = after
	return !reflect.DeepEqual(values(l.rows(q)), values(now)), nil
}

func values(rows []fakeRow) (out []string) {
	for _, r := range rows {
		out = append(out, fmt.Sprint(r.d.ID, r.reward, r.matched))
	}
	return out
}

// fakeRegistry keeps records and blobs with the registry's rules for IfMatch.
type fakeRegistry struct {
	mu       sync.Mutex
	records  []nextbest.Record
	blobs    map[string][]byte
	beforePB func() // called once, before the next blob is stored
}

func (r *fakeRegistry) history(kind nextbest.Kind, id string) (out []nextbest.Record) {
	for _, rec := range r.records {
		if rec.Kind == kind && rec.ID == id {
			out = append(out, rec)
		}
	}
	return out
}

func (r *fakeRegistry) Get(kind nextbest.Kind, id string) (nextbest.Record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.history(kind, id)
	if len(h) == 0 || h[len(h)-1].Deleted {
		return nextbest.Record{}, false
	}
	return h[len(h)-1], true
}

func (r *fakeRegistry) Version(kind nextbest.Kind, id string, n uint64) (nextbest.Record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.history(kind, id)
	if n == 0 || n > uint64(len(h)) {
		return nextbest.Record{}, false
	}
	return h[n-1], true
}

func (r *fakeRegistry) List(kind nextbest.Kind) (out []nextbest.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := map[string]bool{}
	for _, rec := range r.records {
		if h := r.history(kind, rec.ID); rec.Kind == kind && !seen[rec.ID] {
			seen[rec.ID] = true
			if last := h[len(h)-1]; !last.Deleted {
				out = append(out, last)
			}
		}
	}
	return out
}

func (r *fakeRegistry) Put(_ context.Context, c nextbest.Change) (nextbest.Record, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.history(c.Kind, c.ID)
	if c.IfMatch == 0 && len(h) > 0 {
		return nextbest.Record{}, nextbest.Errorf(nextbest.Conflict, "it exists")
	}
	if c.IfMatch != 0 && c.IfMatch != nextbest.AnyRevision && (len(h) == 0 || h[len(h)-1].Revision != c.IfMatch) {
		return nextbest.Record{}, nextbest.Errorf(nextbest.Stale, "it changed")
	}
	rec := nextbest.Record{Kind: c.Kind, ID: c.ID, Version: uint64(len(h)) + 1, Revision: uint64(len(r.records)) + 1, Document: c.Document, Deleted: c.Deleted, Actor: c.Actor, Reason: c.Reason}
	r.records = append(r.records, rec)
	return rec, nil
}

func (r *fakeRegistry) PutBlob(_ context.Context, content []byte) (string, error) {
	r.mu.Lock()
	hook := r.beforePB
	r.beforePB = nil
	r.mu.Unlock()
	if hook != nil {
		hook()
	}
	sum := sha256.Sum256(content)
	hash := hex.EncodeToString(sum[:])
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.blobs == nil {
		r.blobs = map[string][]byte{}
	}
	r.blobs[hash] = slices.Clone(content)
	return hash, nil
}

func (r *fakeRegistry) Blob(_ context.Context, hash string) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b, ok := r.blobs[hash]; ok {
		return b, nil
	}
	return nil, nextbest.Errorf(nextbest.NotFound, "no blob %s", hash)
}

func (r *fakeRegistry) define(kind nextbest.Kind, id string, document any) nextbest.Record {
	b, err := json.Marshal(document)
	if s, ok := document.(string); ok {
		b, err = []byte(s), nil
	}
	if err != nil {
		panic(err)
	}
	rec, err := r.Put(context.Background(), nextbest.Change{Kind: kind, ID: id, Document: b, Actor: "test", IfMatch: nextbest.AnyRevision})
	if err != nil {
		panic(err)
	}
	return rec
}

// parameters reads a published model's parameters.
func (r *fakeRegistry) parameters(number uint64) (Model, *bandit.Model) {
	rec, ok := r.Version(nextbest.KindModel, "lints.1", number)
	if !ok {
		panic(fmt.Sprintf("no model %d", number))
	}
	m, err := ParseModel(rec)
	if err != nil {
		panic(err)
	}
	content, err := r.Blob(context.Background(), m.Hash)
	if err != nil {
		panic(err)
	}
	parameters, err := bandit.UnmarshalModel(content)
	if err != nil {
		panic(err)
	}
	return m, parameters
}

func (r *fakeRegistry) current() uint64 {
	rec, ok := r.Get(nextbest.KindCurrent, "lints.1")
	if !ok {
		return 0
	}
	c, err := parseCurrent(rec)
	if err != nil {
		panic(err)
	}
	return c.Model
}

// newPlatform returns a registry with one placement that learns online.
func newPlatform() *fakeRegistry { return newPlatformOf(policies["all"]) }

func newPlatformOf(policy string) *fakeRegistry {
	r := &fakeRegistry{}
	r.define(nextbest.KindFeatures, "f", `{"features":[{"name":"age","type":"numeric","mean":40,"sd":10},{"name":"web","type":"boolean"}]}`)
	r.define(nextbest.KindPolicy, "lints", policy)
	r.define(nextbest.KindPolicy, "even", `{"algorithm":"uniform"}`)
	r.define(nextbest.KindObjective, "value", `{"terms":[{"reward":"purchase","weight":1},{"reward":"opt_out","weight":-5}],"window":"60s","default":0.25}`)
	r.define(nextbest.KindPlacement, "mail", `{"channels":["email"],"objective":"value@1","actions":["a","b"],"policy":"lints@1","learning":"online"}`)
	return r
}

// newRand returns the random source of a test.
func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, seed)) }

var epoch = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
