package logging

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"nextbest"
	"nextbest/internal/embedded"
)

var killRounds = flag.Int("kill-rounds", 20, "rounds of the kill test; -short takes 3 at most")

// killDir tells a re-executed test binary to be the program that is killed, on
// that folder.
const killDir = "NEXTBEST_KILLTEST_DIR"

// TestKill runs writers, journal, sink and both engines in a child process and
// ends the child, and often its ClickHouse before it, with kill -9 at random
// moments, again and again on the same data folder. Afterwards, everything that
// was acknowledged must be in the views, with the content that was sent, and
// nothing twice.
func TestKill(t *testing.T) {
	rounds := *killRounds
	if testing.Short() {
		rounds = min(rounds, 3)
	}
	dir := t.TempDir()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	engineKills := 0
	for round := range rounds {
		engineKills += killRound(t, dir, round, rng)
	}

	p, err := startProgram(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	last, err := p.journal.Last(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, p.sink, last)
	acked := readLedger(t, dir)
	for name, rows := range acked {
		t.Logf("%d %s acknowledged in %d rounds, %d kills of the engine besides", len(rows), name, rounds, engineKills)
		if len(rows) < 5*rounds {
			t.Errorf("only %d %s were acknowledged: the test has tested little", len(rows), name)
		}
	}
	compare(t, p.store, "decisions", acked["decisions"], "SELECT toString(decision_id), propensity FROM decisions", func(got, acked float64) bool { return got == acked })
	compare(t, p.store, "impressions", acked["impressions"], "SELECT toString(decision_id), toFloat64(toUnixTimestamp64Micro(time)) FROM impressions", func(got, acked float64) bool { return got == acked })
	// A correction that was under way at a kill may have been recorded.
	compare(t, p.store, "rewards", acked["rewards"], "SELECT reward_id, value FROM rewards", func(got, acked float64) bool { return got >= acked })
	if st, err := p.sink.Stats(t.Context()); err != nil || st.DeadLetters != 0 {
		t.Errorf("%d dead letters, %v", st.DeadLetters, err)
	}
}

// compare checks that a view holds each key once and every acknowledged one
// with the right value.
func compare(t *testing.T, s *Store, name string, acked map[string]float64, query string, right func(got, acked float64) bool) {
	t.Helper()
	rows, err := s.conn.Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	seen := make(map[string]bool)
	for rows.Next() {
		var key string
		var value float64
		if err := rows.Scan(&key, &value); err != nil {
			t.Fatal(err)
		}
		if seen[key] {
			t.Errorf("%s: %s is there twice", name, key)
		}
		seen[key] = true
		if want, ok := acked[key]; ok && !right(value, want) {
			t.Errorf("%s: %s has %v, acknowledged was %v", name, key, value, want)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	missing := 0
	for key := range acked {
		if !seen[key] {
			missing++
		}
	}
	if missing > 0 {
		t.Errorf("%s: %d of %d acknowledged ones are missing", name, missing, len(acked))
	}
	t.Logf("%s: %d in the view, %d of them acknowledged", name, len(seen), len(acked))
}

// killRound runs the program for a random while and kills it. It returns how
// often it killed the engine before that.
func killRound(t *testing.T, dir string, round int, rng *rand.Rand) (engineKills int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), killDir+"="+dir)
	logFile := filepath.Join(dir, "program.log")
	output, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	cmd.Stderr = output
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		_ = cmd.Wait() // reports the kill
	}()

	var engine atomic.Int64
	ready := make(chan bool, 1)
	go func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if pid, err := strconv.ParseInt(lines.Text(), 10, 64); err == nil && engine.Swap(pid) == 0 {
				ready <- true
			}
		}
		ready <- false
	}()
	select {
	case ok := <-ready:
		if !ok {
			text, _ := os.ReadFile(logFile) // only for the message
			t.Fatalf("round %d: the program did not start:\n%s", round, text)
		}
	case <-time.After(30 * time.Second):
		t.Fatalf("round %d: the program was not ready within 30 s", round)
	}
	for range rng.IntN(3) {
		time.Sleep(time.Duration(rng.IntN(250)) * time.Millisecond)
		if err := syscall.Kill(int(engine.Load()), syscall.SIGKILL); err == nil {
			engineKills++
		}
	}
	time.Sleep(time.Duration(20+rng.IntN(330)) * time.Millisecond)
	return engineKills
}

// program is what the child runs: engines, journal and sink on one folder.
type program struct {
	folder  *embedded.Folder
	engine  *embedded.ClickHouse
	nats    *embedded.NATS
	store   *Store
	journal *Journal
	sink    *Sink
	close   func()
}

func startProgram(dir string) (*program, error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, cancel := context.WithCancel(context.Background())
	var p program
	var err error
	if p.folder, err = embedded.LockFolder(dir); err != nil {
		cancel()
		return nil, err
	}
	library, err := embedded.FetchLibrary(ctx, nil)
	if err != nil {
		cancel()
		return nil, err
	}
	if p.engine, err = embedded.StartClickHouse(ctx, embedded.ClickHouseOptions{Dir: filepath.Join(dir, "clickhouse"), Library: library, Logger: log}); err != nil {
		cancel()
		return nil, err
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := p.engine.Run(ctx); err != nil {
			log.Error("engine", "error", err)
		}
	})
	if p.nats, err = embedded.StartNATS(embedded.NATSOptions{Dir: filepath.Join(dir, "nats"), Logger: log}); err != nil {
		cancel()
		return nil, err
	}
	conn, err := p.nats.Connect()
	if err != nil {
		cancel()
		return nil, err
	}
	js, err := jetstream.New(conn)
	if err != nil {
		cancel()
		return nil, err
	}
	if p.store, err = OpenStore(ctx, p.engine.URL()); err != nil {
		cancel()
		return nil, err
	}
	after, err := p.store.Position(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	if p.journal, err = OpenJournal(ctx, js, JournalOptions{MaxBytes: 1 << 30, After: after}); err != nil {
		cancel()
		return nil, err
	}
	p.sink = NewSink(p.journal, p.store, SinkOptions{Logger: log, FlushEvery: 50 * time.Millisecond, KeepFor: -1, PurgeEvery: 30 * time.Millisecond})
	wg.Go(func() {
		if err := p.sink.Run(ctx); err != nil {
			log.Error("sink", "error", err)
		}
	})
	p.close = func() {
		cancel()
		wg.Wait()
		conn.Close()
		p.nats.Close()
		if err := p.folder.Close(); err != nil {
			log.Error("folder", "error", err)
		}
	}
	return &p, nil
}

// killedProgram is the child: it writes until it is killed.
func killedProgram(dir string) {
	p, err := startProgram(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	l, err := openLedger(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for w := range 8 {
		go write(p.journal, l, w)
	}
	for announced := 0; ; time.Sleep(2 * time.Millisecond) {
		if pid := p.engine.Pid(); pid != announced && pid > 0 {
			announced = pid
			fmt.Println(pid)
		}
	}
}

// write records decisions, impressions and rewards, some of them corrected, and
// notes in the ledger what was acknowledged.
func write(j *Journal, l *ledger, writer int) {
	ctx := context.Background()
	rng := rand.New(rand.NewPCG(rand.Uint64(), uint64(writer)))
	for n := 0; ; n++ {
		d := fullDecision(rng, time.Now())
		d.ID = uuid.Must(uuid.NewV7())
		d.Propensity = nextbest.Uniform("kill", d.ID.String())
		if _, err := j.Decisions(ctx, []nextbest.Decision{d}); err == nil {
			l.note("decisions", d.ID.String(), d.Propensity)
		}
		at := time.UnixMicro(time.Now().UnixMicro())
		if _, err := j.Impressions(ctx, []nextbest.Impression{{DecisionID: d.ID, Slot: 1, Status: nextbest.Shown, Time: at}}); err == nil {
			l.note("impressions", d.ID.String(), float64(at.UnixMicro()))
		}
		// Every seventh reward is bulk. A reward is corrected by the next two
		// reports of its id, in other months.
		id, step := fmt.Sprintf("%s-%d", d.ID, n%7), 0
		for range 1 + rng.IntN(3) {
			step++
			rewards := []nextbest.Reward{{ID: id, Kind: "purchase", Value: float64(step), Time: d.Time.AddDate(0, step-1, 0), DecisionID: d.ID, Slot: 1}}
			if n%7 == 0 {
				for i := range 100 {
					rewards = append(rewards, nextbest.Reward{ID: id + "/" + strconv.Itoa(i), Kind: "visit", Value: float64(step), Time: d.Time, Customer: d.Customer})
				}
			}
			if _, err := j.Rewards(ctx, rewards); err == nil {
				for i := range rewards {
					l.note("rewards", rewards[i].ID, rewards[i].Value)
				}
			}
		}
	}
}

// ledger is the writers' own record of what was acknowledged to them. It is on
// disk before the writer goes on.
type ledger struct {
	mu   sync.Mutex
	file *os.File
}

func openLedger(dir string) (*ledger, error) {
	file, err := os.OpenFile(filepath.Join(dir, "ledger"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	return &ledger{file: file}, err
}

func (l *ledger) note(kind, key string, value float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// One write call for one line: a kill leaves no half line.
	if _, err := fmt.Fprintf(l.file, "%s %s %s\n", kind, key, strconv.FormatFloat(value, 'g', -1, 64)); err != nil {
		panic(err)
	}
	if kind == "decisions" {
		if err := l.file.Sync(); err != nil {
			panic(err)
		}
	}
}

// readLedger returns key and newest value by kind.
func readLedger(t *testing.T, dir string) map[string]map[string]float64 {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	acked := make(map[string]map[string]float64)
	for line := range strings.Lines(string(text)) {
		var kind, key string
		var value float64
		if _, err := fmt.Sscanf(line, "%s %s %g\n", &kind, &key, &value); err != nil {
			t.Fatalf("ledger line %q: %v", line, err)
		}
		if acked[kind] == nil {
			acked[kind] = make(map[string]float64)
		}
		acked[kind][key] = value
	}
	return acked
}
