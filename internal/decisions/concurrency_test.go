package decisions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"nextbest"
	"nextbest/bandit"
)

// TestCapsAreExact lets 64 goroutines on two replicas decide for three
// customers at once, and expects exactly as many contacts as the cap allows:
// never more, and none left over.
func TestCapsAreExact(t *testing.T) {
	d := define(t)
	d.put(nextbest.KindAction, "sale", `{"group":"promo","treatments":[{"id":"c","channel":"email"}],"caps":[{"max":3,"per":"7d"}]}`)
	d.put(nextbest.KindAction, "deal", `{"group":"promo","treatments":[{"id":"c","channel":"email"}],"caps":[{"scope":"group","max":5,"per":"7d"}]}`)
	d.put(nextbest.KindObjective, "value", `{"terms":[{"reward":"purchase","weight":1}],"window":"14d"}`)
	d.put(nextbest.KindPolicy, "fixed", `{"algorithm":"fixed","weights":{"sale":0.5,"deal":0.3,"do-nothing":0.2}}`)
	d.put(nextbest.KindPlacement, "email", `{"channels":["email"],"objective":"value@1","actions":["sale","deal"],"policy":"fixed@1"}`)
	w := newWorld(d.compile())
	replicas := []*Pipeline{w.pipeline(t), w.pipeline(t)}
	var wg sync.WaitGroup
	for g := range 64 {
		wg.Go(func() {
			for i := range 12 {
				_, err := replicas[g%2].Decide(t.Context(), call(fmt.Sprint("C-", (g+i)%3)))
				if err != nil && nextbest.CodeOf(err) != nextbest.Unavailable {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for k := range 3 {
		customer := fmt.Sprint("C-", k)
		by := map[string]int{}
		for _, c := range w.contacts(t, customer) {
			by[c.Action]++
		}
		if by["sale"] > 3 || by["sale"]+by["deal"] < 5 || by["deal"] > 5 {
			t.Errorf("%s: contacts %v", customer, by)
		}
	}
	// Row by row: when an action was taken, its count before was below the cap.
	for _, r := range w.rows {
		if i := slices.Index(r.Eligible, r.Action); r.Probabilities[i] != r.Propensity {
			t.Fatalf("row %+v", r)
		}
	}
	sales := map[string]int{}
	for _, r := range w.rows {
		if r.Action == "sale" {
			sales[r.Customer]++
		}
	}
	for customer, n := range sales {
		if n > 3 {
			t.Errorf("%s: %d sales are logged", customer, n)
		}
	}
}

// TestConflictGivesTheFinalDistribution lets another replica reach the cap
// between a decision's read and its write: the decision is made again, with the
// same uniform number, and what is logged is the distribution without the
// capped action.
func TestConflictGivesTheFinalDistribution(t *testing.T) {
	w := newWorld(shop(t, "fixed", 0).compile())
	p := w.pipeline(t)
	pseudonym, _ := w.catalogue.Pseudonym("", "C-1")
	w.beforeCAS = func() {
		full := []nextbest.Contact{
			{DecisionID: [16]byte{1}, Slot: 1, Action: "sale", Channel: "email", Time: w.Clock(), Status: nextbest.Contacted},
			{DecisionID: [16]byte{2}, Slot: 1, Action: "sale", Channel: "email", Time: w.Clock(), Status: nextbest.Contacted},
		}
		if _, ok, _ := w.CompareAndSet(t.Context(), pseudonym, appendContacts(nil, full), 0); !ok {
			t.Error("the other replica did not write")
		}
	}
	a, err := p.Decide(t.Context(), call("C-1"))
	if err != nil {
		t.Fatal(err)
	}
	r := w.rows[0]
	if slices.Contains(r.Eligible, "sale") || !slices.Contains(r.Excluded, nextbest.Exclusion{Action: "sale", Reason: nextbest.ReasonCap, Detail: "2 of 2 in 7d"}) {
		t.Errorf("eligible %v, excluded %v", r.Eligible, r.Excluded)
	}
	if want := []float64{.1 / .8, .5 / .8, .2 / .8}; len(r.Probabilities) != 3 || abs(r.Probabilities[0]-want[0])+abs(r.Probabilities[1]-want[1])+abs(r.Probabilities[2]-want[2]) > 1e-12 {
		t.Errorf("probabilities %v, want %v", r.Probabilities, want)
	}
	if r.Eligible[bandit.Draw(r.Probabilities, bandit.DrawUniform("salt-one", a.DecisionID, 1))] != r.Action {
		t.Error("the draw is not that of the decision's uniform number")
	}
	if p.Conflicts() != 1 {
		t.Errorf("%d conflicts", p.Conflicts())
	}
}

func abs(v float64) float64 { return max(v, -v) }

// losing refuses every compare-and-set.
type losing struct{ *world }

func (losing) CompareAndSet(context.Context, string, []byte, uint64) (uint64, bool, error) {
	return 0, false, nil
}

func TestEndlessConflictIsUnavailable(t *testing.T) {
	w := newWorld(shop(t, "fixed", 0).compile())
	o := w.options()
	o.Contacts = losing{w}
	p, err := NewPipeline(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Decide(t.Context(), call("C-1")); nextbest.CodeOf(err) != nextbest.Unavailable || p.Conflicts() != 8 || len(w.rows) != 0 {
		t.Errorf("%v after %d tries, %d rows", err, p.Conflicts(), len(w.rows))
	}
}

// TestAlwaysComparedAndSet checks that do-nothing writes the history too: were
// it not written, only other draws could conflict and be drawn again.
func TestAlwaysComparedAndSet(t *testing.T) {
	d := shop(t, "fixed", 0)
	d.put(nextbest.KindPolicy, "fixed", `{"algorithm":"fixed","weights":{"do-nothing":1}}`)
	d.put(nextbest.KindPlacement, "email", `{"channels":["email"],"objective":"value@1","actions":["sale"],"policy":"fixed@2"}`)
	w := newWorld(d.compile())
	if _, err := w.pipeline(t).Decide(t.Context(), call("C-1")); err != nil {
		t.Fatal(err)
	}
	if len(w.revisions) != 1 || len(w.contacts(t, "C-1")) != 0 {
		t.Errorf("revisions %v, contacts %v", w.revisions, w.contacts(t, "C-1"))
	}
	// Without caps anywhere, nothing is kept about the customer.
	d.put(nextbest.KindPlacement, "email", `{"channels":["email"],"objective":"value@1","actions":["mens"],"policy":"uniform@1"}`)
	w = newWorld(d.compile())
	if _, err := w.pipeline(t).Decide(t.Context(), call("C-1")); err != nil || len(w.revisions) != 0 {
		t.Errorf("%v, revisions %v", err, w.revisions)
	}
	// A cap elsewhere that counts all contacts makes them count here.
	d.put(nextbest.KindAction, "survey", `{"treatments":[{"id":"a","channel":"push"}],"caps":[{"scope":"all","max":1,"per":"1d"}]}`)
	w = newWorld(d.compile())
	if _, err := w.pipeline(t).Decide(t.Context(), call("C-1")); err != nil || len(w.revisions) != 1 {
		t.Errorf("%v, revisions %v", err, w.revisions)
	}
}

// TestIdempotencyRace sends one key from 64 goroutines to two replicas: one
// decision, one answer for all, one contact.
func TestIdempotencyRace(t *testing.T) {
	d := shop(t, "fixed", 0)
	w := newWorld(d.compile())
	replicas := []*Pipeline{w.pipeline(t), w.pipeline(t)}
	for round := range 5 {
		answers := make([]Answer, 64)
		var wg sync.WaitGroup
		for g := range answers {
			wg.Go(func() {
				c := call(fmt.Sprint("C-", round))
				c.Key = fmt.Sprint("key-", round)
				for {
					var err error
					answers[g], err = replicas[g%2].Decide(t.Context(), c)
					if err == nil {
						return
					}
					if nextbest.CodeOf(err) != nextbest.Unavailable { // callers repeat after 503
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		first := 0
		for _, a := range answers {
			if !a.Repeated {
				first++
			}
			a.Repeated = answers[0].Repeated
			if mustJSON(a) != mustJSON(answers[0]) {
				t.Fatalf("two answers for one key:\n%s\n%s", mustJSON(a), mustJSON(answers[0]))
			}
		}
		if first != 1 {
			t.Errorf("%d answers were not repeated ones", first)
		}
		if len(w.rows) != round+1 {
			t.Fatalf("%d rows after %d keys", len(w.rows), round+1)
		}
		for _, k := range w.contacts(t, fmt.Sprint("C-", round)) {
			if k.DecisionID != answers[0].DecisionID {
				t.Errorf("a contact of the unused decision %s is reserved", uuid.UUID(k.DecisionID))
			}
		}
	}
}

func TestIdempotencyKeys(t *testing.T) {
	w := newWorld(shop(t, "fixed", 0).compile())
	p := w.pipeline(t)
	c := call("C-1")
	c.Key = "order-7"
	// The first call dies between its claim and its record.
	w.down = errors.New("killed")
	if _, err := p.Decide(t.Context(), c); nextbest.CodeOf(err) != nextbest.Unavailable {
		t.Fatal(err)
	}
	w.down = nil
	w.pass(time.Minute)
	second, err := w.pipeline(t).Decide(t.Context(), c)
	if err != nil || !second.Repeated || len(w.rows) != 1 || w.rows[0].ID != second.DecisionID {
		t.Fatalf("the call again: %+v, %v, %d rows", second, err, len(w.rows))
	}
	if w.rows[0].Key != "order-7" || len(w.rows[0].Body) != 32 {
		t.Errorf("key %q, body %q", w.rows[0].Key, w.rows[0].Body)
	}
	for name, other := range map[string]func(*Call){
		"customer": func(c *Call) { c.Customer.ID = "C-2" },
		"context":  func(c *Call) { c.Context["recency"] = 2.5 },
		"relaxed":  func(c *Call) { c.Relaxed = true },
	} {
		changed := call("C-1")
		changed.Key = "order-7"
		other(&changed)
		if _, err := p.Decide(t.Context(), changed); nextbest.CodeOf(err) != nextbest.Conflict {
			t.Errorf("another %s under the same key: %v", name, err)
		}
	}
	if len(w.rows) != 1 || len(w.contacts(t, "C-2")) != 0 {
		t.Errorf("%d rows; contacts %v", len(w.rows), w.contacts(t, "C-2"))
	}
	// The claims are lost: the log is asked, and what it has is claimed again, so
	// that the next call, with the log away, gets the first answer too.
	lose := func(ready ...bool) *Pipeline {
		clear(w.claims)
		o := w.options()
		o.ClaimsReady = func() bool {
			now := ready[0]
			ready = ready[min(1, len(ready)-1):]
			return now
		}
		q, err := NewPipeline(o)
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	for name, ready := range map[string][]bool{"known": {false}, "found by the claim": {true, false}} {
		q := lose(ready...)
		for _, unlogged := range []bool{false, true} {
			w.unlogged = unlogged
			if again, err := q.Decide(t.Context(), c); err != nil || again.DecisionID != second.DecisionID || !again.Repeated {
				t.Errorf("loss %s, log away %v: %+v, %v", name, unlogged, again, err)
			}
		}
		w.unlogged = false
	}
	// Put back, the claims need no log.
	q := lose(true)
	load := func(ctx context.Context, key string, value []byte, at time.Time) error {
		_, _, err := w.Claim(ctx, key, value)
		return err
	}
	if err := LoadClaims(t.Context(), w, w.Clock(), load); err != nil {
		t.Fatal(err)
	}
	w.unlogged = true
	if again, err := q.Decide(t.Context(), c); err != nil || again.DecisionID != second.DecisionID {
		t.Errorf("after the claims were put back: %+v, %v", again, err)
	}
	w.unlogged = false
	if len(w.rows) != 1 {
		t.Errorf("%d rows", len(w.rows))
	}
	// And a call whose first answer lies longer back is a new one.
	w.pass(ClaimKept)
	if fourth, err := lose(false).Decide(t.Context(), c); err != nil || fourth.DecisionID == second.DecisionID {
		t.Errorf("a day later: %+v, %v", fourth, err)
	}
}

func TestImpressions(t *testing.T) {
	d := shop(t, "fixed", 0)
	d.put(nextbest.KindPolicy, "fixed", `{"algorithm":"fixed","weights":{"sale":1}}`)
	d.put(nextbest.KindPlacement, "email", `{"channels":["email"],"objective":"value@1","actions":["sale","mens"],"policy":"fixed@2"}`)
	w := newWorld(d.compile())
	p := w.pipeline(t)
	a, err := p.Decide(t.Context(), call("C-1"))
	if err != nil || a.Action != "sale" {
		t.Fatalf("%+v, %v", a, err)
	}
	status := func() string {
		s := ""
		for _, k := range w.contacts(t, "C-1") {
			s += fmt.Sprintf("%s/%s/%s ", k.Action, k.Group, k.Status)
		}
		return s
	}
	if got := status(); got != "sale/promo/reserved " {
		t.Errorf("after the decision: %s", got)
	}
	stranger := w.pipeline(t) // has not made the decision: looks into the log
	for _, step := range []struct {
		status nextbest.ImpressionStatus
		action string
		by     *Pipeline
		want   string
	}{
		{nextbest.Shown, "", p, "sale/promo/contacted "},
		{nextbest.Bounced, "", stranger, ""},
		{nextbest.Delivered, "", p, "sale/promo/contacted "},
		{nextbest.Overridden, "mens", stranger, "mens//contacted "},
		{nextbest.Overridden, "do-nothing", p, ""},
		{nextbest.NotShown, "", p, ""},
	} {
		i := nextbest.Impression{DecisionID: a.DecisionID, Status: step.status, Action: step.action}
		if err := step.by.Impression(t.Context(), i); err != nil {
			t.Fatal(err)
		}
		if got := status(); got != step.want {
			t.Errorf("after %s %s: %q, want %q", step.status, step.action, got, step.want)
		}
	}
	if len(w.impressions) != 6 || w.impressions[0].Slot != 1 || w.impressions[0].Time.IsZero() {
		t.Errorf("impressions %+v", w.impressions)
	}
	for field, i := range map[string]nextbest.Impression{
		"decision_id": {DecisionID: uuid.New(), Status: nextbest.Shown},
		"slot":        {DecisionID: a.DecisionID, Slot: MaxSlots + 1, Status: nextbest.Shown},
		"status":      {DecisionID: a.DecisionID, Status: "seen"},
		"action":      {DecisionID: a.DecisionID, Status: nextbest.Overridden, Action: "nothing"},
		"time":        {DecisionID: a.DecisionID, Status: nextbest.Shown, Time: w.Clock().Add(time.Hour)},
	} {
		if err := p.Impression(t.Context(), i); nextbest.CodeOf(err) != nextbest.Invalid || !slices.Contains(fields(err), field) {
			t.Errorf("bad %s: %v", field, err)
		}
	}
	var m Minter
	unknown := nextbest.Impression{DecisionID: m.Mint(w.Clock().Add(-time.Hour)), Status: nextbest.Shown}
	if err := p.Impression(t.Context(), unknown); nextbest.CodeOf(err) != nextbest.NotFound {
		t.Errorf("a decision that does not exist: %v", err)
	}
	good := nextbest.Impression{DecisionID: a.DecisionID, Status: nextbest.Shown}
	if _, err := p.Impressions(t.Context(), []nextbest.Impression{good, unknown}); nextbest.CodeOf(err) != nextbest.NotFound {
		t.Errorf("one of two does not exist: %v", err)
	}
	if len(w.impressions) != 6 {
		t.Errorf("refused impressions were recorded: %d", len(w.impressions))
	}
}

// TestImpressionBeforeTheLog reports an impression on a replica that did not
// make the decision while the log lags behind: it is recorded at once and
// reaches the contact history later.
func TestImpressionBeforeTheLog(t *testing.T) {
	d := shop(t, "fixed", 0)
	d.put(nextbest.KindPolicy, "fixed", `{"algorithm":"fixed","weights":{"sale":1}}`)
	d.place("fixed", 0).put(nextbest.KindPlacement, "email", `{"channels":["email"],"objective":"value@1","actions":["sale"],"policy":"fixed@2"}`)
	w := newWorld(d.compile())
	a, err := w.pipeline(t).Decide(t.Context(), call("C-1"))
	if err != nil {
		t.Fatal(err)
	}
	w.unlogged = true
	other := w.pipeline(t)
	if err := other.Impression(t.Context(), nextbest.Impression{DecisionID: a.DecisionID, Status: nextbest.Shown}); err != nil {
		t.Fatal(err)
	}
	if k := w.contacts(t, "C-1"); len(w.impressions) != 1 || len(k) != 1 || k[0].Status != nextbest.Reserved {
		t.Fatalf("%d impressions, contacts %v", len(w.impressions), k)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- other.Run(ctx) }()
	w.Lock()
	w.unlogged = false
	w.Unlock()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if k := w.contacts(t, "C-1"); k[0].Status == nextbest.Contacted {
			break
		} else if time.Now().After(end) {
			t.Fatalf("contacts %v", k)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAssumedContacts(t *testing.T) {
	d := shop(t, "fixed", 0)
	d.put(nextbest.KindPolicy, "fixed", `{"algorithm":"fixed","weights":{"sale":1}}`)
	d.put(nextbest.KindPlacement, "email", `{"channels":["email"],"objective":"value@1","actions":["sale"],"policy":"fixed@2","impression":"assumed"}`)
	w := newWorld(d.compile())
	p := w.pipeline(t)
	for want := 1; want <= 3; want++ { // the cap is 2 in 7d
		if _, err := p.Decide(t.Context(), call("C-1")); err != nil {
			t.Fatal(err)
		}
		if k := w.contacts(t, "C-1"); len(k) != min(want, 2) || k[0].Status != nextbest.Contacted {
			t.Errorf("after %d decisions: %v", want, k)
		}
	}
	w.pass(8 * 24 * time.Hour)
	if a, _ := p.Decide(t.Context(), call("C-1")); a.Action != "sale" {
		t.Errorf("a week later: %+v", a)
	}
	// Reserved contacts expire after a day.
	d.put(nextbest.KindPlacement, "email", `{"channels":["email"],"objective":"value@1","actions":["sale"],"policy":"fixed@2"}`)
	w = newWorld(d.compile())
	p = w.pipeline(t)
	for range 3 {
		if _, err := p.Decide(t.Context(), call("C-1")); err != nil {
			t.Fatal(err)
		}
	}
	w.pass(25 * time.Hour)
	if a, _ := p.Decide(t.Context(), call("C-1")); a.Action != "sale" || len(w.contacts(t, "C-1")) != 1 {
		t.Errorf("after the reservations: %+v, contacts %v", a, w.contacts(t, "C-1"))
	}
}

// TestImpressionsWhileTheLogHangs: the impression of another replica's young
// decision is recorded without waiting for a log that does not answer.
func TestImpressionsWhileTheLogHangs(t *testing.T) {
	w := newWorld(shop(t, "fixed", 0).compile())
	a, err := w.pipeline(t).Decide(t.Context(), call("C-1"))
	if err != nil {
		t.Fatal(err)
	}
	w.hanging = true
	start := time.Now()
	if err := w.pipeline(t).Impression(t.Context(), nextbest.Impression{DecisionID: a.DecisionID, Status: nextbest.Shown}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("it took %s", took)
	}
	if len(w.impressions) != 1 {
		t.Errorf("%d impressions are recorded", len(w.impressions))
	}
}

// TestLargeClaims: the claim of a decision with a large context is kept small
// once the decision is durable, and still gives the first answer.
func TestLargeClaims(t *testing.T) {
	w := newWorld(shop(t, "fixed", 0).compile())
	p := w.pipeline(t)
	c := call("C-1")
	c.Key = "large"
	c.Context["notes"] = strings.Repeat("x", 30_000)
	w.down = errors.New("away")
	if _, err := p.Decide(t.Context(), c); err == nil {
		t.Fatal("decided without a journal")
	}
	if n := len(w.claims["large"]); n < 30_000 {
		t.Errorf("the claim of a decision that is not durable has %d bytes: nobody can finish it", n)
	}
	w.down = nil
	first, err := p.Decide(t.Context(), c)
	if err != nil || !first.Repeated || len(w.rows) != 1 || len(w.rows[0].Context) < 30_000 {
		t.Fatalf("%+v, %v, %d rows", first, err, len(w.rows))
	}
	c.Key = "large-2"
	if first, err = p.Decide(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if n := len(w.claims["large-2"]); n > largeClaim {
		t.Errorf("the claim of a durable decision has %d bytes", n)
	}
	again, err := p.Decide(t.Context(), c)
	if err != nil || !again.Repeated || again.DecisionID != first.DecisionID || again.Propensity != first.Propensity || len(again.Probabilities) != len(first.Probabilities) || len(w.rows) != 2 {
		t.Errorf("%+v after %+v, %v, %d rows", again, first, err, len(w.rows))
	}
}

// slowJournal records a decision after a while in which the contact history is
// lost and rebuilt without it.
type slowJournal struct {
	*world
	wait time.Duration
	lose func()
}

func (j slowJournal) Decisions(ctx context.Context, ds []nextbest.Decision) (uint64, error) {
	time.Sleep(j.wait)
	j.lose()
	return j.world.Decisions(ctx, ds)
}

// TestHistoryLostBeforeTheRecord: a contact whose place under the cap may have
// been given to another is not answered with, and counts afterwards; a quick
// record is not even asked about.
func TestHistoryLostBeforeTheRecord(t *testing.T) {
	d := define(t)
	d.put(nextbest.KindAction, "sale", `{"treatments":[{"id":"c","channel":"email"}],"caps":[{"max":1,"per":"7d"}]}`)
	d.put(nextbest.KindObjective, "value", `{"terms":[{"reward":"purchase","weight":1}],"window":"14d"}`)
	d.put(nextbest.KindPolicy, "p", `{"algorithm":"fixed","weights":{"sale":1}}`)
	d.put(nextbest.KindPlacement, "email", `{"channels":["email"],"objective":"value@1","actions":["sale"],"policy":"p@1"}`)
	for _, c := range []struct {
		name string
		wait time.Duration
		lost bool
		want nextbest.Code
	}{
		{"lost", quickRecord + 50*time.Millisecond, true, nextbest.Unavailable},
		{"not lost", quickRecord + 50*time.Millisecond, false, ""},
		{"quick", 0, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(d.compile())
			o := w.options()
			asked := 0
			o.Journal = slowJournal{w, c.wait, func() {
				if c.lost {
					w.Lock()
					clear(w.values)
					clear(w.revisions)
					w.Unlock()
				}
			}}
			o.HistoryKept = func(context.Context, uint64) (bool, error) {
				asked++
				return !c.lost, nil
			}
			p, err := NewPipeline(o)
			if err != nil {
				t.Fatal(err)
			}
			call := Call{Placement: "email", Customer: Customer{ID: "C-1"}}
			a, err := p.Decide(t.Context(), call)
			if nextbest.CodeOf(err) != c.want || err == nil && a.Action != "sale" {
				t.Fatalf("%+v, %v", a, err)
			}
			if want := min(1, int(c.wait/quickRecord)); asked != want {
				t.Errorf("asked %d times, want %d", asked, want)
			}
			o.Journal = w
			if p, err = NewPipeline(o); err != nil {
				t.Fatal(err)
			}
			if a, err = p.Decide(t.Context(), call); err != nil || a.Action != nextbest.DoNothing {
				t.Errorf("the cap of 1 does not count the contact: %+v, %v", a, err)
			}
		})
	}
}
