package logging

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"nextbest"
	"nextbest/internal/embedded"
)

// readAll returns every event of the journal, in order.
func readAll(t testing.TB, j *Journal) (all Events, messages int) {
	t.Helper()
	err := j.Read(t.Context(), 0, func(_ uint64, ev *Events) error {
		messages++
		all.Decisions = append(all.Decisions, ev.Decisions...)
		all.Impressions = append(all.Impressions, ev.Impressions...)
		all.Rewards = append(all.Rewards, ev.Rewards...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, messages
}

func TestJournalKeepsWhatItAcknowledges(t *testing.T) {
	j, _ := testJournal(t, JournalOptions{})
	ctx := t.Context()
	rng := rand.New(rand.NewPCG(1, 1))
	const callers, each = 32, 20
	var mu sync.Mutex
	want := make(map[uuid.UUID]nextbest.Decision)
	var highest uint64
	var wg sync.WaitGroup
	for range callers {
		local := rand.New(rand.NewPCG(rng.Uint64(), 2))
		wg.Go(func() {
			for range each {
				d := fullDecision(local, t0)
				p, err := j.Decisions(ctx, []nextbest.Decision{d})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				want[d.ID], highest = d, max(highest, p)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	last, err := j.Last(ctx)
	if err != nil || last != highest {
		t.Errorf("Last = %d, %v; the highest position was %d", last, err, highest)
	}
	got, messages := readAll(t, j)
	if len(got.Decisions) != callers*each {
		t.Fatalf("%d decisions in the journal, want %d", len(got.Decisions), callers*each)
	}
	for _, d := range got.Decisions {
		if !reflect.DeepEqual(d, want[d.ID]) {
			t.Fatalf("decision %s came back as\n%+v\nwant\n%+v", d.ID, d, want[d.ID])
		}
		delete(want, d.ID)
	}
	if messages > callers*each/2 {
		t.Errorf("%d messages for %d decisions of %d callers: they are not grouped", messages, callers*each, callers)
	}
}

func TestJournalSplitsImportsAndKeepsCallsWhole(t *testing.T) {
	j, _ := testJournal(t, JournalOptions{GroupEvents: 8})
	ctx := t.Context()
	rng := rand.New(rand.NewPCG(2, 1))
	decisions := make([]nextbest.Decision, 3000) // 2.3 MB: several messages
	for i := range decisions {
		decisions[i] = fullDecision(rng, t0.Add(time.Duration(i)))
	}
	if _, err := j.Decisions(ctx, decisions); err != nil {
		t.Fatal(err)
	}
	// Twelve slots of one answer are more than a group, and share a message all
	// the same, also with others around.
	var wg sync.WaitGroup
	for range 20 {
		answer := make([]nextbest.Decision, 12)
		id := newID(t0.Add(time.Hour), rng)
		for i := range answer {
			answer[i] = nextbest.Decision{ID: id, Slot: uint8(i + 1), Time: t0}
		}
		wg.Go(func() {
			if _, err := j.Decisions(ctx, answer); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	seen := 0
	where := make(map[uuid.UUID]uint64)
	err := j.Read(ctx, 0, func(position uint64, ev *Events) error {
		for _, d := range ev.Decisions {
			if seen < len(decisions) {
				if d.ID != decisions[seen].ID {
					t.Fatalf("decision %d of the import is out of order", seen)
				}
				seen++
				continue
			}
			if p, ok := where[d.ID]; ok && p != position {
				t.Errorf("slot %d of %s is at position %d, others at %d", d.Slot, d.ID, position, p)
			}
			where[d.ID] = position
		}
		return nil
	})
	if err != nil || seen != len(decisions) || len(where) != 20 {
		t.Errorf("read %d of the import and %d answers, %v", seen, len(where), err)
	}
}

func rewardsOf(n int, tag string) []nextbest.Reward {
	rewards := make([]nextbest.Reward, n)
	for i := range rewards {
		rewards[i] = nextbest.Reward{ID: fmt.Sprintf("%s-%d", tag, i), Kind: "purchase", Value: float64(i), Time: t0, Customer: "c", Slot: 1}
	}
	return rewards
}

func TestJournalRewardsAreOneMessage(t *testing.T) {
	j, _ := testJournal(t, JournalOptions{})
	for _, n := range []int{1, 64, 65, 10_000} {
		before, err := j.Last(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p, err := j.Rewards(t.Context(), rewardsOf(n, fmt.Sprint(n)))
		if err != nil || p != before+1 {
			t.Errorf("%d rewards: position %d after %d, %v", n, p, before, err)
		}
	}
	before, err := j.Last(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = j.Rewards(t.Context(), rewardsOf(60_000, "big"))
	if nextbest.CodeOf(err) != nextbest.TooLarge || !strings.Contains(err.Error(), "smaller parts") {
		t.Errorf("60,000 rewards: %v", err)
	}
	huge := rewardsOf(1, "huge")
	huge[0].Customer = strings.Repeat("x", 2<<20)
	if _, err := j.Rewards(t.Context(), huge); nextbest.CodeOf(err) != nextbest.TooLarge {
		t.Errorf("one reward of 2 MiB: %v", err)
	}
	d := []nextbest.Decision{{ID: uuid.New(), Slot: 1, Time: t0, Context: make([]byte, 2<<20)}}
	if _, err := j.Decisions(t.Context(), d); nextbest.CodeOf(err) != nextbest.TooLarge {
		t.Errorf("one decision of 2 MiB: %v", err)
	}
	if after, err := j.Last(t.Context()); err != nil || after != before {
		t.Errorf("refused calls have moved the journal from %d to %d, %v", before, after, err)
	}
	if _, err := j.Rewards(t.Context(), rewardsOf(1, "next")); err != nil {
		t.Errorf("after refused calls: %v", err)
	}
}

func TestJournalRefusesBadRows(t *testing.T) {
	j, _ := testJournal(t, JournalOptions{})
	ctx := t.Context()
	good := nextbest.Decision{ID: uuid.New(), Slot: 1, Time: t0, Eligible: []string{"a"}, Probabilities: []float64{1}}
	cases := map[string]func() error{
		"decisions[1].decision_id": func() error {
			_, err := j.Decisions(ctx, []nextbest.Decision{good, {Slot: 1, Time: t0}})
			return err
		},
		"decisions[0].slot": func() error {
			d := good
			d.Slot = 0
			_, err := j.Decisions(ctx, []nextbest.Decision{d})
			return err
		},
		"decisions[0].time": func() error {
			d := good
			d.Time = time.Time{}
			_, err := j.Decisions(ctx, []nextbest.Decision{d})
			return err
		},
		"decisions[0].probabilities": func() error {
			d := good
			d.Probabilities = nil
			_, err := j.Decisions(ctx, []nextbest.Decision{d})
			return err
		},
		"decisions[0].scores": func() error {
			d := good
			d.Scores = []float64{1, 2}
			_, err := j.Decisions(ctx, []nextbest.Decision{d})
			return err
		},
		"impressions[0].status": func() error {
			_, err := j.Impressions(ctx, []nextbest.Impression{{DecisionID: good.ID, Slot: 1, Status: "seen", Time: t0}})
			return err
		},
		"rewards[0].id": func() error {
			_, err := j.Rewards(ctx, []nextbest.Reward{{Kind: "k", Time: t0, Customer: "c"}})
			return err
		},
		"rewards[0].decision_id": func() error {
			_, err := j.Rewards(ctx, []nextbest.Reward{{ID: "r", Kind: "k", Time: t0}})
			return err
		},
		"rewards[0].time": func() error {
			_, err := j.Rewards(ctx, []nextbest.Reward{{ID: "r", Kind: "k", Customer: "c", Time: t0.AddDate(300, 0, 0)}})
			return err
		},
	}
	for field, call := range cases {
		if err := call(); nextbest.CodeOf(err) != nextbest.Invalid || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	if last, err := j.Last(ctx); err != nil || last != 0 {
		t.Errorf("bad rows have moved the journal to %d, %v", last, err)
	}
}

// A caller that gives up neither loses what is acknowledged to others nor
// writes anything twice, and may reuse its memory at once.
func TestJournalCancelledCallers(t *testing.T) {
	j, _ := testJournal(t, JournalOptions{})
	rng := rand.New(rand.NewPCG(3, 3))
	acknowledged := make(map[uuid.UUID]bool)
	sent := make(map[uuid.UUID]bool)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 16 {
		local := rand.New(rand.NewPCG(rng.Uint64(), 4))
		wg.Go(func() {
			decisions := make([]nextbest.Decision, 1)
			for range 40 {
				d := fullDecision(local, t0)
				decisions[0] = d
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(local.IntN(2000))*time.Microsecond)
				_, err := j.Decisions(ctx, decisions)
				cancel()
				clear(decisions[0].X) // the caller's memory
				clear(decisions[0].Probabilities)
				mu.Lock()
				sent[d.ID] = true
				if err == nil {
					acknowledged[d.ID] = true
				} else if !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if err := j.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	got, _ := readAll(t, j)
	seen := make(map[uuid.UUID]bool)
	for _, d := range got.Decisions {
		if seen[d.ID] || !sent[d.ID] {
			t.Fatalf("decision %s is there twice or was never sent", d.ID)
		}
		if d.X[0] == 0 || d.Probabilities[0] == 0 {
			t.Fatal("the journal holds what the caller did to its memory after the call")
		}
		seen[d.ID] = true
		delete(acknowledged, d.ID)
	}
	if len(acknowledged) > 0 {
		t.Errorf("%d acknowledged decisions are missing", len(acknowledged))
	}
	if len(seen) == len(sent) {
		t.Log("no call was given up early")
	}
	if _, err := j.Decisions(context.Background(), got.Decisions[:1]); nextbest.CodeOf(err) != nextbest.Unavailable {
		t.Errorf("a closed journal: %v", err)
	}
}

func TestJournalFull(t *testing.T) {
	j, _ := testJournal(t, JournalOptions{MaxBytes: 1 << 20})
	for i := range 10 {
		start := time.Now()
		_, err := j.Rewards(t.Context(), rewardsOf(5000, fmt.Sprint(i)))
		if err == nil {
			continue
		}
		if nextbest.CodeOf(err) != nextbest.Unavailable || !strings.Contains(err.Error(), "full") {
			t.Fatalf("a full journal says %v", err)
		}
		if waited := time.Since(start); waited > 2*time.Second {
			t.Errorf("a full journal answered after %s", waited)
		}
		got, _ := readAll(t, j)
		if len(got.Rewards) != 5000*i {
			t.Errorf("%d rewards are there, %d were acknowledged", len(got.Rewards), 5000*i)
		}
		return
	}
	t.Fatal("a journal of 1 MiB took 50,000 rewards")
}

func TestJournalServerAway(t *testing.T) {
	n, err := embedded.StartNATS(embedded.NATSOptions{Dir: t.TempDir(), Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := n.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	j := openJournal(t, conn, JournalOptions{})
	if _, err := j.Rewards(t.Context(), rewardsOf(1, "a")); err != nil || j.Failing() {
		t.Fatal(err, j.Failing())
	}
	n.Close()
	// The first to find out is patient for a moment, the others need not be.
	for i, most := range []time.Duration{attemptWait + awayWait, 200 * time.Millisecond} {
		start := time.Now()
		if _, err := j.Rewards(t.Context(), rewardsOf(1, "b")); nextbest.CodeOf(err) != nextbest.Unavailable {
			t.Errorf("without a server: %v", err)
		}
		if took := time.Since(start); took > most {
			t.Errorf("call %d without a server was answered after %s", i, took)
		}
		if !j.Failing() {
			t.Error("the journal does not know that it fails")
		}
	}
	if st := j.Stats(); st.Failures != 1 || st.Messages != 1 {
		t.Errorf("statistics %+v", st)
	}
}

func TestOpenJournal(t *testing.T) {
	j, conn := testJournal(t, JournalOptions{After: 500})
	if last, err := j.Last(t.Context()); err != nil || last != 500 {
		t.Errorf("a journal that continues after 500 ends at %d, %v", last, err)
	}
	if p, err := j.Rewards(t.Context(), rewardsOf(1, "a")); err != nil || p != 501 {
		t.Errorf("its first position is %d, %v", p, err)
	}
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenJournal(t.Context(), js, JournalOptions{After: 501, MaxBytes: 2 << 20}); err != nil {
		t.Errorf("opening it again: %v", err)
	}
	if info, err := j.stream.Info(t.Context()); err != nil || info.Config.MaxBytes != 2<<20 {
		t.Errorf("a new bound was not taken: %d, %v", info.Config.MaxBytes, err)
	}
	if _, err := OpenJournal(t.Context(), js, JournalOptions{After: 502}); nextbest.CodeOf(err) != nextbest.Conflict {
		t.Errorf("a journal older than the database: %v", err)
	}
	for _, bad := range []JournalOptions{{Replicas: 2}, {Name: "a.b"}, {MaxBytes: 5}, {Wait: time.Hour}, {GroupEvents: -1}} {
		if _, err := OpenJournal(t.Context(), js, bad); nextbest.CodeOf(err) != nextbest.Invalid {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "FORGETFUL", Subjects: []string{"forgetful.events"}, MaxAge: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenJournal(t.Context(), js, JournalOptions{Name: "FORGETFUL"}); nextbest.CodeOf(err) != nextbest.Conflict {
		t.Errorf("a stream that forgets: %v", err)
	}
}
