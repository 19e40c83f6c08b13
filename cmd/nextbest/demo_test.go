package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"nextbest/cmd/nextbest/demo"
	"nextbest/internal/embedded/enginetest"
)

func quiet(string, ...any) {}

// TestRetailerDemo plays the retailer's story in small: the chapters are there
// and agree with the platform, whatever so few customers can prove.
func TestRetailerDemo(t *testing.T) {
	t.Parallel()
	r := start(t, own(t), quick)
	var screen bytes.Buffer
	o := demo.RetailerOptions{Customers: 1500, Week: 2400, Fortnight: 1200, Day: 150 * time.Millisecond, Seed: 1}
	got, err := demo.Retailer(t.Context(), r.admin, o, &screen, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if w := got.Week; w.Decisions != 2400 || w.Impressions == 0 || w.Rewards == 0 || !(w.DoNothing > 0 && w.DoNothing < 1) {
		t.Errorf("week %+v", w)
	}
	names := map[string]bool{}
	for _, row := range got.Offline {
		names[row.Name] = true
		if row.Verdict == "" {
			t.Errorf("no verdict on %s", row.Name)
		}
	}
	for _, want := range []string{"linucb@1/1", "lints@1/1", "greedy-clicks@1/1", "best_fixed", "logged"} {
		if !names[want] {
			t.Errorf("%s is not in the offline table, which has %v", want, names)
		}
	}
	refusals := 0
	for _, row := range got.RulesOnly {
		refusals += len(row.Refusals)
		if strings.HasPrefix(row.Name, "lin") && (len(row.Refusals) == 0 || row.Value != nil) {
			t.Errorf("%s on the log of rules alone: %+v", row.Name, row)
		}
	}
	if refusals == 0 || !strings.Contains(screen.String(), "on a log of rules alone: REFUSED") {
		t.Error("the log of rules alone is not refused on the screen")
	}
	arms := map[string]int{}
	for _, row := range got.Live {
		arms[row.Experiment]++
		if row.Customers == 0 || row.Truth <= 0 {
			t.Errorf("arm %+v", row)
		}
	}
	if arms["lints-trial"] < 2 || arms["clicks-trial"] < 2 {
		t.Errorf("arms %v", arms)
	}
	if len(got.Promotions) != 2 {
		t.Fatalf("promotions %+v", got.Promotions)
	}
	for _, p := range got.Promotions {
		if p.Status != "promoted" && (p.Status != "refused" || len(p.Why) == 0) || p.Status == "promoted" && p.Passed != p.Gates {
			t.Errorf("promotion %+v", p)
		}
	}
	if v := got.Verify; v.Checked != v.Identical || v.Checked < 3600 {
		t.Errorf("verify %+v", v)
	}
	for _, chapter := range []string{"day 1–7", "offline", "day 8–21", "promote", "verify"} {
		if !strings.Contains(screen.String(), "\n"+chapter) && !strings.HasPrefix(screen.String(), chapter) {
			t.Errorf("the screen has no chapter %q:\n%s", chapter, &screen)
		}
	}
	// The call that the demo leaves to copy works.
	if m := decide(t, r.admin, []byte(demo.Example("retailer"))); m.Action == "" {
		t.Errorf("example: %+v", m)
	}
}

// TestHillstromInSmall plays the other demo on made-up customers in the
// published format.
func TestHillstromInSmall(t *testing.T) {
	t.Parallel()
	r := start(t, own(t), quick)
	file := filepath.Join(t.TempDir(), "mailing.csv")
	want := madeUpMailing(t, file, 1500)
	var screen bytes.Buffer
	got, err := demo.Hillstrom(t.Context(), r.admin, demo.HillstromOptions{File: file, Seed: 1, Live: 400}, &screen, quiet)
	if err != nil {
		t.Fatal(err)
	}
	checkHillstrom(t, got, 1500, 400, want)
	if m := decide(t, r.admin, []byte(demo.Example("hillstrom"))); m.Action == "" {
		t.Errorf("example: %+v", m)
	}
}

// TestHillstrom reads the published means back from ClickHouse.
func TestHillstrom(t *testing.T) {
	t.Parallel()
	if testing.Short() || raced() {
		t.Skip("imports and evaluates 64,000 rows: 20 s, and minutes under the race detector; TestHillstromInSmall runs the same code")
	}
	root := os.Getenv("NEXTBEST_TEST_DATA")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared", "data")
	}
	file := filepath.Join(root, "hillstrom.csv.gz")
	if _, err := os.Stat(file); err != nil {
		t.Skipf("no test data (set NEXTBEST_TEST_DATA): %v", err)
	}
	r := start(t, own(t), quick)
	got, err := demo.Hillstrom(t.Context(), r.admin, demo.HillstromOptions{File: file, Seed: 1, Live: 600}, io.Discard, quiet)
	if err != nil {
		t.Fatal(err)
	}
	checkHillstrom(t, got, 64000, 600, [3]float64{.14678, .00903, 1.05091})
}

// raced reports whether the race detector is on.
func raced() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.ContainsFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == "-race" && s.Value == "true" })
}

// checkHillstrom checks the shape of the result as --json prints it, and the
// means to the five digits that are published.
func checkHillstrom(t *testing.T, got *demo.HillstromResult, rows, live int, means [3]float64) {
	t.Helper()
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	type interval struct {
		Value     float64
		Low, High *float64
	}
	var doc struct {
		Dataset  string
		Rows     int
		LogMeans struct{ Visit, Conversion, Spend float64 } `json:"log_means"`
		Live     struct{ Decisions, Impressions, Rewards int }
		Results  []struct {
			Policy, Reward, Verdict string
			Model                   uint64
			Offline                 struct{ IPS, SNIPS, DR *interval }
			Live                    *struct {
				interval
				N int
			}
			Refusals []struct{}
		}
		Gates []struct {
			Name, Needs, Detail string
			Passed              bool
		}
		Promotion struct{ Status string }
		Verify    struct{ Checked, Identical int64 }
	}
	strict := json.NewDecoder(bytes.NewReader(text))
	if err := strict.Decode(&doc); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if doc.Dataset != "hillstrom" || doc.Rows != rows {
		t.Errorf("dataset %s with %d rows, want %d", doc.Dataset, doc.Rows, rows)
	}
	for i, m := range []float64{doc.LogMeans.Visit, doc.LogMeans.Conversion, doc.LogMeans.Spend} {
		if math.Abs(m-means[i]) > 5e-6 { // half a digit of what is published
			t.Errorf("mean %d of the log is %.5f, want %.5f", i, m, means[i])
		}
	}
	if doc.Live.Decisions != live || doc.Live.Impressions == 0 || doc.Live.Impressions >= live || doc.Live.Rewards == 0 {
		t.Errorf("live %+v of %d", doc.Live, live)
	}
	var served []string
	for _, row := range doc.Results {
		if row.Verdict == "" || row.Refusals == nil {
			t.Errorf("%s for %s has no verdict or no list of refusals", row.Policy, row.Reward)
		}
		if dr := row.Offline.DR; dr != nil && !(*dr.Low <= dr.Value && dr.Value <= *dr.High) {
			t.Errorf("%s for %s: DR %v [%v, %v]", row.Policy, row.Reward, dr.Value, *dr.Low, *dr.High)
		}
		if row.Live != nil && row.Live.N > 0 && row.Model > 0 {
			served = append(served, row.Policy+" "+row.Reward)
		}
	}
	if len(doc.Results) < 4*6 || !slices.Contains(served, "lints@1 visit") || !slices.Contains(served, "linucb@1 spend") {
		t.Errorf("%d results, of which served %v", len(doc.Results), served)
	}
	if len(doc.Gates) < 6 || doc.Promotion.Status != "promoted" && doc.Promotion.Status != "refused" {
		t.Errorf("gates %+v, promotion %+v", doc.Gates, doc.Promotion)
	}
	if doc.Verify.Checked != int64(live) || doc.Verify.Identical != int64(live) {
		t.Errorf("verify %+v, want %d", doc.Verify, live)
	}
}

// madeUpMailing writes customers in the published format and returns the mean
// visit, conversion and spend.
func madeUpMailing(t *testing.T, path string, n int) (means [3]float64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	pick := func(of ...string) string { return of[rng.IntN(len(of))] }
	bit := func(p float64) int {
		if rng.Float64() < p {
			return 1
		}
		return 0
	}
	var b strings.Builder
	b.WriteString("recency,history_segment,history,mens,womens,zip_code,newbie,channel,segment,visit,conversion,spend\n")
	for range n {
		history := math.Round(100*(30+300*rng.ExpFloat64())) / 100
		mens := bit(.55)
		segment := pick("Mens E-Mail", "Womens E-Mail", "No E-Mail")
		p := .1
		if segment == "Mens E-Mail" {
			p = .2
		}
		visit := bit(p)
		conversion := visit * bit(.2)
		spend := float64(conversion) * math.Round(100*(20+80*rng.Float64())) / 100
		fmt.Fprintf(&b, "%d,1) $0 - $100,%v,%d,%d,%s,%d,%s,%s,%d,%d,%v\n", 1+rng.IntN(12), history, mens, 1-mens, pick("Urban", "Surburban", "Rural"), bit(.5),
			pick("Web", "Phone", "Multichannel"), segment, visit, conversion, spend)
		for i, v := range []float64{float64(visit), float64(conversion), spend} {
			means[i] += v / float64(n)
		}
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return means
}

// TestDemoStopsQuietly: a demo that is stopped in the middle of its story ends
// without an error on the screen.
func TestDemoStopsQuietly(t *testing.T) {
	clickhouse := enginetest.ClickHouse(t)
	var files [2]*os.File
	for i := range files {
		f, err := os.Create(filepath.Join(t.TempDir(), "screen"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files[i] = f
	}
	read := func(f *os.File) string {
		b, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"demo", "--clickhouse", clickhouse}, files[0], files[1])
	}()
	for begun := false; !begun; time.Sleep(50 * time.Millisecond) {
		select {
		case c := <-code:
			t.Fatalf("ended with %d: %s", c, read(files[1]))
		default:
			begun = strings.Contains(read(files[0]), "console")
		}
	}
	time.Sleep(2 * time.Second) // into the first week
	stop()
	if c := <-code; c != 0 {
		t.Errorf("exit code %d", c)
	}
	if text := read(files[1]); strings.Contains(text, "ERROR") || strings.Contains(text, "nextbest:") {
		t.Errorf("on the screen:\n%s", text)
	}
}
