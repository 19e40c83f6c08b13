package decisions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"nextbest"
	"nextbest/bandit"
)

// definitions is a registry in memory.
type definitions struct {
	t       testing.TB
	records []nextbest.Record
	blobs   map[string][]byte
}

func define(t testing.TB) *definitions {
	d := &definitions{t: t, blobs: map[string][]byte{}}
	d.put(nextbest.KindSecret, "pepper", `{"value":"pepper"}`)
	d.put(nextbest.KindSecret, "s1", `{"value":"salt-one"}`)
	return d
}

func (d *definitions) put(kind nextbest.Kind, id, document string) *definitions {
	version := uint64(1)
	for _, r := range d.records {
		if r.Kind == kind && r.ID == id {
			version = r.Version + 1
		}
	}
	d.records = append(d.records, nextbest.Record{Kind: kind, ID: id, Version: version, Revision: uint64(len(d.records) + 1), Document: []byte(document), Deleted: document == ""})
	return d
}

// model stores a model of a policy that has learned n random rows per action.
func (d *definitions) model(policy nextbest.Ref, actions []string, n int) {
	c := d.compile()
	spec, err := c.Spec(policy)
	if err != nil {
		d.t.Fatal(err)
	}
	width := 1
	if r, err := nextbest.ParseRef(spec.Features); err == nil {
		s, err := c.Schema(r)
		if err != nil {
			d.t.Fatal(err)
		}
		width = s.Width()
	}
	l, err := bandit.NewLearner(spec, width)
	if err != nil {
		d.t.Fatal(err)
	}
	x := make([]float32, width)
	for i := range n {
		for k, a := range actions {
			for j := range x {
				x[j] = float32(nextbest.Uniform(fmt.Sprint(k), fmt.Sprint(i, j))*2 - 1)
			}
			x[0] = 1
			reward := nextbest.Uniform(a, fmt.Sprint(i))
			if !spec.ContextFree() && !spec.Ordered() {
				reward += float64(x[width-1]) * float64(k)
			}
			if err := l.Learn(a, x, reward); err != nil {
				d.t.Fatal(err)
			}
		}
	}
	b, err := l.Model().MarshalBinary()
	if err != nil {
		d.t.Fatal(err)
	}
	hash := fmt.Sprintf("h%d", len(d.blobs))
	d.blobs[hash] = b
	d.put(nextbest.KindModel, ModelID(policy), fmt.Sprintf(`{"policy":"%s","hash":"%s"}`, policy, hash))
}

func (d *definitions) blob(hash string) ([]byte, error) {
	if b, ok := d.blobs[hash]; ok {
		return b, nil
	}
	return nil, fmt.Errorf("blob %s does not exist", hash)
}

func (d *definitions) compile() *Catalogue {
	d.t.Helper()
	c, err := Compile(d.records, d.blob)
	if err != nil {
		d.t.Fatal(err)
	}
	if b := c.Broken(); len(b) > 0 {
		d.t.Fatalf("broken definitions: %v", b)
	}
	return c
}

// shop defines a small shop: four actions, one of them capped, a schema, every
// kind of policy, one placement "email" served by policy.
func shop(t testing.TB, policy string, model uint64) *definitions {
	d := define(t)
	d.put(nextbest.KindAction, "mens", `{"treatments":[{"id":"a","channel":"email"}],"cost":{"per_contact":0.02}}`)
	d.put(nextbest.KindAction, "womens", `{"treatments":[{"id":"b","channel":"email"}],"value":2}`)
	d.put(nextbest.KindAction, "sale", `{"group":"promo","treatments":[{"id":"c","channel":"email"}],"caps":[{"max":2,"per":"7d"}]}`)
	d.put(nextbest.KindAction, "vip", `{"treatments":[{"id":"d","channel":"email"}],"eligibility":"has(customer.segment) && customer.segment == 'gold'"}`)
	d.put(nextbest.KindObjective, "value", `{"terms":[{"reward":"purchase","weight":1}],"window":"14d"}`)
	d.put(nextbest.KindFeatures, "retail", `{"features":[{"name":"recency","type":"numeric","mean":5,"sd":3},{"name":"newbie","type":"boolean","missing":"zero"}]}`)
	d.put(nextbest.KindPolicy, "uniform", `{"algorithm":"uniform"}`)
	d.put(nextbest.KindPolicy, "fixed", `{"algorithm":"fixed","weights":{"mens":0.5,"womens":0.2,"sale":0.2,"do-nothing":0.1}}`)
	d.put(nextbest.KindPolicy, "rules", `{"algorithm":"rules","features":"retail@1","params":{"epsilon":0.2},"rules":[{"when":"context.recency < 3","action":"sale"},{"when":"context.recency < 3","action":"mens"},{"when":"customer.segment == 'gold'","action":"womens"}]}`)
	d.put(nextbest.KindPolicy, "ucb", `{"algorithm":"linucb","features":"retail@1","params":{"floor":0.1}}`)
	d.put(nextbest.KindPolicy, "lints", `{"algorithm":"linear_thompson","features":"retail@1","params":{"v":0.5,"floor":0.04}}`)
	d.put(nextbest.KindPolicy, "plain", `{"algorithm":"epsilon_greedy","params":{"epsilon":0.2}}`)
	for _, p := range []string{"ucb", "lints", "plain"} {
		d.model(nextbest.Ref{ID: p, Version: 1}, []string{"do-nothing", "mens", "sale", "womens"}, 30)
	}
	d.place(policy, model)
	return d
}

func (d *definitions) place(policy string, model uint64) *definitions {
	return d.put(nextbest.KindPlacement, "email", fmt.Sprintf(`{"channels":["email"],"objective":"value@1","actions":["mens","womens","sale","vip","do-nothing"],"policy":"%s@1","model":%d}`, policy, model))
}

func (d *definitions) experiment(state string, set string) *definitions {
	return d.put(nextbest.KindExperiment, "exp", fmt.Sprintf(`{"placement":"email","arms":[
		{"id":"control","policy":"rules@1","model":0,"share":0.5,"control":true,"learning":"frozen"},
		{"id":"candidate","policy":"lints@1","model":1,"share":0.3,"learning":"frozen"},
		{"id":"simple","policy":"plain@1","model":1,"share":0.2,"learning":"frozen"}],
		"primary":{"reward":"purchase","kind":"conversion"},"window":"14d","salt":"x1","state":"%s"%s}`, state, set))
}

func (d *definitions) holdout(share float64) *definitions {
	return d.put(nextbest.KindHoldout, HoldoutID, fmt.Sprintf(`{"share":%v,"salt":"h1"}`, share))
}

// world is everything outside the pipeline, in memory.
type world struct {
	sync.Mutex
	catalogue   *Catalogue
	rows        []nextbest.Decision
	impressions []nextbest.Impression
	values      map[string][]byte
	revisions   map[string]uint64
	claims      map[string][]byte
	now         time.Time
	down        error  // of the journal
	beforeCAS   func() // called without the lock
	unlogged    bool   // the log lags behind the journal
	hanging     bool   // the log does not answer
}

func newWorld(c *Catalogue) *world {
	return &world{catalogue: c, values: map[string][]byte{}, revisions: map[string]uint64{}, claims: map[string][]byte{}, now: time.Date(2026, 11, 23, 10, 0, 0, 123456789, time.UTC)}
}

func (w *world) Decisions(_ context.Context, d []nextbest.Decision) (uint64, error) {
	w.Lock()
	defer w.Unlock()
	if w.down != nil {
		return 0, w.down
	}
	for _, row := range d {
		if !slices.ContainsFunc(w.rows[max(0, len(w.rows)-200):], func(o nextbest.Decision) bool { return o.ID == row.ID && o.Slot == row.Slot }) {
			w.rows = append(w.rows, row)
		}
	}
	return uint64(len(w.rows)), nil
}

func (w *world) Impressions(_ context.Context, i []nextbest.Impression) (uint64, error) {
	w.Lock()
	defer w.Unlock()
	if w.down != nil {
		return 0, w.down
	}
	w.impressions = append(w.impressions, i...)
	return 1, nil
}

func (w *world) ByID(ctx context.Context, id uuid.UUID, slot uint8) (nextbest.Decision, bool, error) {
	if w.hanging {
		<-ctx.Done()
		return nextbest.Decision{}, false, ctx.Err()
	}
	return w.find(func(d *nextbest.Decision) bool { return d.ID == id && d.Slot == slot })
}

func (w *world) ByKey(_ context.Context, key string) ([]nextbest.Decision, error) {
	first, ok, err := w.find(func(d *nextbest.Decision) bool { return d.Key == key })
	if err != nil || !ok {
		return nil, err
	}
	w.Lock()
	defer w.Unlock()
	return slices.DeleteFunc(slices.Clone(w.rows), func(d nextbest.Decision) bool { return d.ID != first.ID }), nil
}

func (w *world) find(is func(*nextbest.Decision) bool) (nextbest.Decision, bool, error) {
	w.Lock()
	defer w.Unlock()
	for i := range w.rows {
		if !w.unlogged && is(&w.rows[i]) {
			return w.rows[i], true, nil
		}
	}
	return nextbest.Decision{}, false, nil
}

func (w *world) Get(_ context.Context, customer string) ([]byte, uint64, error) {
	w.Lock()
	defer w.Unlock()
	return w.values[customer], w.revisions[customer], nil
}

func (w *world) CompareAndSet(_ context.Context, customer string, value []byte, revision uint64) (uint64, bool, error) {
	w.Lock()
	f := w.beforeCAS
	w.beforeCAS = nil
	w.Unlock()
	if f != nil {
		f()
	}
	w.Lock()
	defer w.Unlock()
	if w.revisions[customer] != revision {
		return 0, false, nil
	}
	w.values[customer] = slices.Clone(value)
	w.revisions[customer]++
	return w.revisions[customer], true, nil
}

func (w *world) Claim(_ context.Context, key string, value []byte) ([]byte, bool, error) {
	w.Lock()
	defer w.Unlock()
	if old, ok := w.claims[key]; ok {
		return old, false, nil
	}
	w.claims[key] = slices.Clone(value)
	return nil, true, nil
}

func (w *world) Complete(_ context.Context, key string, value []byte) error {
	w.Lock()
	defer w.Unlock()
	w.claims[key] = slices.Clone(value)
	return nil
}

func (w *world) Keyed(_ context.Context, since time.Time, each func(*nextbest.Decision) error) error {
	for i := range w.rows {
		if d := &w.rows[i]; d.Key != "" && !d.Time.Before(since) {
			if err := each(d); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *world) Clock() time.Time {
	w.Lock()
	defer w.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.Lock()
	defer w.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) contacts(t testing.TB, customer string) []nextbest.Contact {
	pseudonym, err := w.catalogue.Pseudonym("", customer)
	if err != nil {
		t.Fatal(err)
	}
	value, _, _ := w.Get(context.Background(), pseudonym)
	k, err := readContacts(nil, value, nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (w *world) options() Options {
	return Options{Catalogue: func() *Catalogue { return w.catalogue }, Journal: w, Impressions: w, Contacts: w, Claims: w, Log: w, Clock: w.Clock}
}

func (w *world) pipeline(t testing.TB) *Pipeline {
	t.Helper()
	p, err := NewPipeline(w.options())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func call(customer string) Call {
	return Call{Placement: "email", Customer: Customer{ID: customer}, Context: map[string]any{"recency": 2.0, "newbie": true}}
}

// fields returns the fields that an error names.
func fields(err error) []string {
	var e *nextbest.Error
	var out []string
	if errors.As(err, &e) {
		for _, p := range e.Problems {
			out = append(out, p.Field)
		}
	}
	return out
}

func mustJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

type contextType = context.Context

// contactLog is a log of contacts by customer.
type contactLog map[string][]nextbest.Contact

func (l contactLog) Contacts(_ context.Context, since time.Time, each func(string, nextbest.Contact) error) error {
	for customer, contacts := range l {
		for _, k := range contacts {
			if k.Time.Before(since) {
				continue
			}
			if err := each(customer, k); err != nil {
				return err
			}
		}
	}
	return nil
}

// nowhere is a journal that keeps nothing.
type nowhere struct{}

func (nowhere) Decisions(context.Context, []nextbest.Decision) (uint64, error) { return 0, nil }
