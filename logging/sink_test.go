package logging

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"nextbest"
	"nextbest/internal/embedded/enginetest"
)

func TestSinkCarriesEveryColumn(t *testing.T) {
	store := testStore(t)
	j, _ := testJournal(t, JournalOptions{})
	sink := startSink(t, j, store, SinkOptions{})
	rng := rand.New(rand.NewPCG(1, 1))
	d, odd := fullDecision(rng, t0), oddDecision(rng, t0.Add(time.Second))
	d.SetAside = true
	p, err := j.Decisions(t.Context(), []nextbest.Decision{d, odd})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, sink, p)

	var got nextbest.Decision
	var reasons, armNames, armPolicies, excluded, details []string
	var shares, armProbabilities, armFloors []float64
	var armModels []uint64
	var context string
	var mixture float64
	var position uint64
	queryRow(t, store, fmt.Sprintf(`SELECT decision_id, slot, time, placement, objective, customer, source, action, treatment, channel,
		propensity, mixture_propensity, eligible, probabilities, scores, excluded.action, excluded.reason, excluded.detail, policy, model, features, x, context,
		experiment, arm, arms.arm, arms.share, arms.policy, arms.model, arms.probability, arms.floor, floor, set_aside, salt, catalogue, numerics, key, body, journal_position
		FROM decisions WHERE decision_id = '%s'`, d.ID),
		&got.ID, &got.Slot, &got.Time, &got.Placement, &got.Objective, &got.Customer, &got.Source, &got.Action, &got.Treatment, &got.Channel,
		&got.Propensity, &mixture, &got.Eligible, &got.Probabilities, &got.Scores, &excluded, &reasons, &details, &got.Policy, &got.Model, &got.Features, &got.X, &context,
		&got.Experiment, &got.Arm, &armNames, &shares, &armPolicies, &armModels, &armProbabilities, &armFloors, &got.Floor, &got.SetAside, &got.Salt, &got.Catalogue, &got.Numerics, &got.Key, &got.Body, &position)
	got.Context = []byte(context)
	for i := range excluded {
		got.Excluded = append(got.Excluded, nextbest.Exclusion{Action: excluded[i], Reason: nextbest.Reason(reasons[i]), Detail: details[i]})
	}
	for i := range armNames {
		got.Arms = append(got.Arms, nextbest.ArmProbability{Arm: armNames[i], Share: shares[i], Policy: armPolicies[i], Model: armModels[i], Probability: armProbabilities[i], Floor: armFloors[i]})
	}
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", d); g != w {
		t.Errorf("the log has\n%s\nwant\n%s", g, w)
	}
	if mixture != d.MixturePropensity() || position != p {
		t.Errorf("mixture %v, position %d; want %v and %d", mixture, position, d.MixturePropensity(), p)
	}
	var probability, score float64
	var x []float32
	var model uint64
	queryRow(t, store, fmt.Sprintf("SELECT probabilities[1], scores[1], x, model FROM decisions WHERE decision_id = '%s' AND slot = 255", odd.ID), &probability, &score, &x, &model)
	if probability != 0 || score != odd.Scores[0] || len(x) != 2 || x[0] != odd.X[0] || x[1] != odd.X[1] || model != odd.Model {
		t.Errorf("odd values came back as %v %v %v %d", probability, score, x, model)
	}
}

// rewardsAt returns id=value of the rewards in a view, in order of id.
func rewardsAt(t testing.TB, s *Store, view string) string {
	t.Helper()
	var ids []string
	queryRow(t, s, "SELECT groupArray(r) FROM (SELECT concat(reward_id, '=', toString(value)) AS r FROM "+view+" ORDER BY reward_id)", &ids)
	return strings.Join(ids, " ")
}

// The newest report of a reward counts, also when the correction moves it to
// another month, names another customer or takes it back, and whatever order
// merges happen in.
func TestCorrections(t *testing.T) {
	store := testStore(t)
	j, _ := testJournal(t, JournalOptions{})
	sink := startSink(t, j, store, SinkOptions{})
	ctx := t.Context()
	id := newID(t0, rand.New(rand.NewPCG(1, 1)))
	report := func(rewards ...nextbest.Reward) uint64 {
		p, err := j.Rewards(ctx, rewards)
		if err != nil {
			t.Fatal(err)
		}
		waitFor(t, sink, p) // an insert of its own
		return p
	}
	p1 := report(
		nextbest.Reward{ID: "moved", Kind: "k", Value: 1, Time: t0, Customer: "a"},
		nextbest.Reward{ID: "within", Kind: "k", Value: 1, Time: t0, Customer: "a"},
		nextbest.Reward{ID: "within", Kind: "k", Value: 2, Time: t0, Customer: "a"},
		nextbest.Reward{ID: "withdrawn", Kind: "k", Value: 1, Time: t0, DecisionID: id},
	)
	p2 := report(
		nextbest.Reward{ID: "moved", Kind: "k", Value: 5, Time: t0.AddDate(0, 3, 0), Customer: "b"},
		nextbest.Reward{ID: "withdrawn", Withdrawn: true, Kind: "k", Time: t0.AddDate(-1, 0, 0), DecisionID: id},
	)
	p3 := report(nextbest.Reward{ID: "moved", Kind: "k", Value: 7, Time: t0, DecisionID: id}, nextbest.Reward{ID: "new", Kind: "k", Value: 1, Time: t0, Customer: "a"})
	for _, merged := range []bool{false, true} {
		if merged {
			for _, table := range []string{tableRewards, tableRewardReports, tableImpressions, tableDecisions} {
				if err := store.conn.Exec(ctx, "OPTIMIZE TABLE "+table+" FINAL"); err != nil {
					t.Fatal(err)
				}
			}
		}
		for view, want := range map[string]string{
			"rewards": "moved=7 new=1 within=2",
			fmt.Sprintf("rewards_as_of(position = %d)", p1):  "moved=1 withdrawn=1 within=2",
			fmt.Sprintf("rewards_as_of(position = %d)", p2):  "moved=5 within=2",
			fmt.Sprintf("rewards_as_of(position = %d)", p3):  "moved=7 new=1 within=2",
			"rewards_as_of(position = 0)":                    "",
			"rewards_as_of(position = 18446744073709551615)": "moved=7 new=1 within=2",
		} {
			if got := rewardsAt(t, store, view); got != want {
				t.Errorf("merged %v: %s holds %q, want %q", merged, view, got, want)
			}
		}
		var reports uint64
		queryRow(t, store, "SELECT count() FROM reward_reports", &reports)
		if reports != 8 {
			t.Errorf("merged %v: %d reports, want 8", merged, reports)
		}
	}
}

func TestFirstDecisionAndLastImpressionWin(t *testing.T) {
	store := testStore(t)
	j, _ := testJournal(t, JournalOptions{})
	sink := startSink(t, j, store, SinkOptions{})
	ctx := t.Context()
	id := newID(t0, rand.New(rand.NewPCG(1, 1)))
	for i, action := range []string{"first", "second", "third"} {
		p, err := j.Decisions(ctx, []nextbest.Decision{{ID: id, Slot: 1, Time: t0.AddDate(0, i, 0), Action: action}, {ID: id, Slot: 2, Time: t0, Action: "other"}})
		if err != nil {
			t.Fatal(err)
		}
		status := []nextbest.ImpressionStatus{nextbest.Delivered, nextbest.Shown, nextbest.Bounced}[i]
		q, err := j.Impressions(ctx, []nextbest.Impression{{DecisionID: id, Slot: 1, Status: nextbest.NotShown, Time: t0}, {DecisionID: id, Slot: 1, Status: status, Time: t0.Add(-time.Duration(i) * time.Hour)}})
		if err != nil {
			t.Fatal(err)
		}
		waitFor(t, sink, max(p, q))
	}
	var rows, slots uint64
	var action, status string
	queryRow(t, store, "SELECT count(), uniqExact(slot), anyIf(action, slot = 1) FROM decisions", &rows, &slots, &action)
	if rows != 2 || slots != 2 || action != "first" {
		t.Errorf("%d rows of %d slots, the first with action %q; want 2, 2 and first", rows, slots, action)
	}
	queryRow(t, store, "SELECT count(), any(status) FROM impressions", &rows, &status)
	if rows != 1 || status != "bounced" {
		t.Errorf("%d impressions, %q; want 1, bounced", rows, status)
	}
}

func TestTwoSinksAtOnce(t *testing.T) {
	store := testStore(t)
	j, conn := testJournal(t, JournalOptions{GroupEvents: 4})
	a := startSink(t, j, store, SinkOptions{FlushRows: 50})
	b := startSink(t, openJournal(t, conn, JournalOptions{}), store, SinkOptions{FlushRows: 70})
	ctx := t.Context()
	rng := rand.New(rand.NewPCG(1, 1))
	var last uint64
	var mu sync.Mutex
	var wg sync.WaitGroup
	const writers, each = 8, 150
	for w := range writers {
		local := rand.New(rand.NewPCG(rng.Uint64(), 1))
		wg.Go(func() {
			for i := range each {
				d := fullDecision(local, t0)
				p, err := j.Decisions(ctx, []nextbest.Decision{d})
				if err == nil {
					p, err = j.Rewards(ctx, []nextbest.Reward{{ID: fmt.Sprintf("%d-%d", w, i), Kind: "k", Value: 1, Time: t0, DecisionID: d.ID, Slot: 1}})
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				last = max(last, p)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	waitFor(t, a, last)
	waitFor(t, b, last)
	var decisions, ids, rewards, matched uint64
	queryRow(t, store, "SELECT count(), uniqExact(decision_id) FROM decisions", &decisions, &ids)
	queryRow(t, store, "SELECT count() FROM rewards", &rewards)
	queryRow(t, store, "SELECT count() FROM attributed_rewards(window = 60)", &matched)
	if decisions != writers*each || ids != writers*each || rewards != writers*each || matched != writers*each {
		t.Errorf("%d decisions (%d ids), %d rewards, %d matched; want %d of each", decisions, ids, rewards, matched, writers*each)
	}
	sa, err := a.Stats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	sb, err := b.Stats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if sa.Rows == 0 || sb.Rows == 0 {
		t.Errorf("the sinks did not share the work: %d and %d rows", sa.Rows, sb.Rows)
	}
	if sa.Lag != 0 || sa.Position != last || sa.Last != last {
		t.Errorf("statistics after all is carried: %+v", sa)
	}
}

// A redelivery of everything changes nothing.
func TestSinkRepeats(t *testing.T) {
	store := testStore(t)
	j, _ := testJournal(t, JournalOptions{})
	ctx := t.Context()
	rng := rand.New(rand.NewPCG(1, 1))
	decisions := make([]nextbest.Decision, 500)
	for i := range decisions {
		decisions[i] = fullDecision(rng, t0.Add(time.Duration(i)*time.Hour))
	}
	if _, err := j.Decisions(ctx, decisions); err != nil {
		t.Fatal(err)
	}
	p, err := j.Rewards(ctx, rewardsOf(500, "r"))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		sink := NewSink(j, store, SinkOptions{Logger: quiet(), FlushEvery: 10 * time.Millisecond})
		runCtx, cancel := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- sink.Run(runCtx) }()
		waitFor(t, sink, p)
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if err := j.stream.DeleteConsumer(ctx, consumerName); err != nil {
			t.Fatal(err)
		}
	}
	var rows, rewards, reports uint64
	queryRow(t, store, "SELECT (SELECT count() FROM decisions), (SELECT count() FROM rewards), (SELECT count() FROM reward_reports)", &rows, &rewards, &reports)
	if rows != 500 || rewards != 500 || reports != 500 {
		t.Errorf("carried three times: %d decisions, %d rewards, %d reports; want 500 of each", rows, rewards, reports)
	}
	if position, err := store.Position(ctx); err != nil || position != p {
		t.Errorf("the store's position is %d, %v; want %d", position, err, p)
	}
}

func TestSinkDeadLetters(t *testing.T) {
	store := testStore(t)
	j, conn := testJournal(t, JournalOptions{})
	sink := startSink(t, j, store, SinkOptions{})
	ctx := t.Context()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(ctx, j.subject, []byte("nb\x01\x00\x09\x00\x00\x00garbage")); err != nil {
		t.Fatal(err)
	}
	p, err := j.Rewards(ctx, rewardsOf(3, "r"))
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, sink, p)
	if got := rewardsAt(t, store, "rewards"); got != "r-0=0 r-1=1 r-2=2" {
		t.Errorf("beside a bad message the log holds %q", got)
	}
	st, err := sink.Stats(ctx)
	if err != nil || st.DeadLetters != 1 {
		t.Errorf("%d dead letters, %v; want 1", st.DeadLetters, err)
	}
	dead, err := js.Stream(ctx, deadStreamOf(j.opts.Name))
	if err != nil {
		t.Fatal(err)
	}
	letter, err := dead.GetMsg(ctx, 1)
	if err != nil || !strings.HasSuffix(string(letter.Data), "garbage") || letter.Header.Get("Nextbest-Position") != fmt.Sprint(p-1) || letter.Header.Get("Nextbest-Error") == "" {
		t.Errorf("dead letter %+v, %v", letter, err)
	}
	// A message of a newer program is not a dead letter: it waits, and P with it.
	if _, err := js.Publish(ctx, j.subject, []byte("nb\xff\x00\x00\x00\x00\x00")); err != nil {
		t.Fatal(err)
	}
	if p, err = j.Rewards(ctx, rewardsOf(1, "s")); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if err := sink.WaitFor(short, p); err == nil || !strings.Contains(err.Error(), "newer format") {
		t.Errorf("waiting beyond a message of a newer program: %v", err)
	}
	if st, err := sink.Stats(ctx); err != nil || st.DeadLetters != 1 {
		t.Errorf("%d dead letters, %v; want 1", st.DeadLetters, err)
	}
}

func TestSinkPurges(t *testing.T) {
	store := testStore(t)
	j, _ := testJournal(t, JournalOptions{MaxBytes: 4 << 20})
	sink := startSink(t, j, store, SinkOptions{PurgeEvery: 20 * time.Millisecond})
	ctx := t.Context()
	// Four times the room: possible only when the journal is purged behind P
	// although nothing in it is a day old.
	for i := range 40 {
		deadline := time.Now().Add(20 * time.Second)
		for {
			_, err := j.Rewards(ctx, rewardsOf(10_000, fmt.Sprint(i)))
			if err == nil {
				break
			}
			if nextbest.CodeOf(err) != nextbest.Unavailable || time.Now().After(deadline) {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	last, err := j.Last(ctx)
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, sink, last)
	var rewards uint64
	queryRow(t, store, "SELECT count() FROM rewards", &rewards)
	if rewards != 400_000 {
		t.Errorf("%d rewards, want 400,000", rewards)
	}
	info, err := j.stream.Info(ctx)
	if err != nil || info.State.Msgs == 0 {
		t.Errorf("the journal keeps %d messages, %v; it has room for some", info.State.Msgs, err)
	}
	if err := j.Read(ctx, 0, func(uint64, *Events) error { return nil }); nextbest.CodeOf(err) != nextbest.Stale {
		t.Errorf("reading what was purged: %v", err)
	}
	// A day later, everything is old.
	if err := sink.purge(ctx, time.Now().Add(25*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if info, err = j.stream.Info(ctx); err != nil || info.State.Msgs != 0 || info.State.LastSeq != last {
		t.Errorf("a day later the journal keeps %d messages up to %d, %v; want none, up to %d", info.State.Msgs, info.State.LastSeq, err, last)
	}
	if err := j.Read(ctx, last, func(uint64, *Events) error { return nil }); err != nil {
		t.Errorf("reading after the end: %v", err)
	}
}

// The journal takes what ClickHouse cannot, and the sink catches up.
func TestSinkOutlivesTheEngine(t *testing.T) {
	engine := enginetest.NewClickHouse(t)
	store, err := OpenStore(t.Context(), engine.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	j, _ := testJournal(t, JournalOptions{})
	sink := startSink(t, j, store, SinkOptions{})
	ctx := t.Context()
	rng := rand.New(rand.NewPCG(1, 1))
	sent := make(map[uuid.UUID]bool)
	var last uint64
	for i := range 300 {
		if i == 100 {
			if err := syscall.Kill(engine.Pid(), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		d := fullDecision(rng, t0)
		if last, err = j.Decisions(ctx, []nextbest.Decision{d}); err != nil {
			t.Fatal(err)
		}
		sent[d.ID] = true
	}
	waitFor(t, sink, last)
	var rows, ids uint64
	queryRow(t, store, "SELECT count(), uniqExact(decision_id) FROM decisions", &rows, &ids)
	if rows != uint64(len(sent)) || ids != rows {
		t.Errorf("%d rows, %d ids; %d were acknowledged", rows, ids, len(sent))
	}
}

// TestSinkWaitsWhenBusy: while rows come fast an insert waits for more of them,
// no longer than FlushBusy; a lone row does not wait for company.
func TestSinkWaitsWhenBusy(t *testing.T) {
	store := testStore(t)
	j, _ := testJournal(t, JournalOptions{})
	sink := startSink(t, j, store, SinkOptions{FlushEvery: 200 * time.Millisecond, FlushBusy: 2 * time.Second})
	start := time.Now()
	if _, err := j.Rewards(t.Context(), rewardsOf(2*busyRows, "many")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(600 * time.Millisecond)
	last, err := j.Rewards(t.Context(), rewardsOf(10, "more"))
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, sink, last)
	if n, took := sink.inserts.Load(), time.Since(start); n != 2 || took < 2*time.Second {
		t.Errorf("%d inserts into the two tables of rewards after %s; want 2 after 2 s", n, took)
	}

	lone, _ := testJournal(t, JournalOptions{})
	sink = startSink(t, lone, testStore(t), SinkOptions{FlushEvery: 20 * time.Millisecond, FlushBusy: time.Hour})
	if last, err = lone.Rewards(t.Context(), rewardsOf(1, "one")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, sink, last)
}

// TestGap: a database that has lost what the journal was carried for is found,
// and cured by carrying again; one whose newest events only repeat older ones is
// none.
func TestGap(t *testing.T) {
	store := testStore(t)
	j, _ := testJournal(t, JournalOptions{})
	rng := rand.New(rand.NewPCG(9, 9))
	first, second := fullDecision(rng, t0), fullDecision(rng, t0)
	ctx, stop := context.WithCancel(t.Context())
	sink := NewSink(j, store, SinkOptions{Logger: quiet(), FlushEvery: time.Millisecond})
	ended := make(chan error, 1)
	go func() { ended <- sink.Run(ctx) }()
	var last uint64
	record := func(d nextbest.Decision) {
		t.Helper()
		var err error
		if last, err = j.Decisions(t.Context(), []nextbest.Decision{d}); err != nil {
			t.Fatal(err)
		}
		waitFor(t, sink, last)
	}
	record(first)
	record(second)
	record(first) // again: the first report stays
	if err := store.conn.Exec(t.Context(), "OPTIMIZE TABLE "+tableDecisions+" FINAL"); err != nil {
		t.Fatal(err)
	}
	if held, err := store.Position(t.Context()); err != nil || held >= last {
		t.Fatalf("position %d of %d, %v: the repetition should be gone", held, last, err)
	}
	if gap, err := sink.Gap(t.Context()); err != nil || gap != "" {
		t.Errorf("a repetition is a gap: %q, %v", gap, err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if err := store.conn.Exec(t.Context(), "TRUNCATE TABLE "+tableDecisions); err != nil {
		t.Fatal(err)
	}
	again := NewSink(j, store, SinkOptions{Logger: quiet()})
	if gap, err := again.Gap(t.Context()); err != nil || !strings.Contains(gap, "Position 1 is missing") {
		t.Fatalf("%q, %v", gap, err)
	}
	if err := j.stream.DeleteConsumer(t.Context(), consumerName); err != nil {
		t.Fatal(err)
	}
	cured := startSink(t, j, store, SinkOptions{})
	waitFor(t, cured, last)
	if gap, err := cured.Gap(t.Context()); err != nil || gap != "" {
		t.Errorf("after carrying again: %q, %v", gap, err)
	}
}
