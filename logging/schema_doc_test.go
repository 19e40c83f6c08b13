package logging

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"nextbest"
)

// sqlBlocks returns the SQL examples of a Markdown file.
func sqlBlocks(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	var block *strings.Builder
	for line := range strings.Lines(string(text)) {
		switch {
		case strings.HasPrefix(line, "```sql"):
			block = new(strings.Builder)
		case strings.HasPrefix(line, "```") && block != nil:
			blocks = append(blocks, block.String())
			block = nil
		case block != nil:
			block.WriteString(line)
		}
	}
	return blocks
}

// fillExampleLog writes a log on which every example of docs/schema.md has
// something to say, and returns the IPS value of always sending mens-email.
func fillExampleLog(t *testing.T, store *Store) (ips float64, n int) {
	t.Helper()
	j, _ := testJournal(t, JournalOptions{})
	sink := startSink(t, j, store, SinkOptions{})
	ctx := t.Context()
	rng := rand.New(rand.NewPCG(42, 1))
	start := time.Now().UTC().Truncate(time.Microsecond).AddDate(0, 0, -40)
	var decisions []nextbest.Decision
	var impressions []nextbest.Impression
	rewards := []nextbest.Reward{
		{ID: "lost-1", Kind: "purchase", Value: 10, Time: start, Customer: "nobody"},
		{ID: "lost-2", Kind: "visit", Value: 1, Time: start, DecisionID: newID(start, rng), Slot: 1},
	}
	for i := range 600 {
		at := start.Add(time.Duration(i) * time.Minute)
		d := nextbest.Decision{
			ID: newID(at, rng), Slot: 1, Time: at, Placement: "email-daily@1", Objective: "value@1", Customer: fmt.Sprintf("customer-%03d", i%300), Source: "live",
			Eligible: []string{"mens-email", "womens-email", "do-nothing"}, Probabilities: []float64{0.5, 0.3, 0.2},
			Policy: "fixed@1", Salt: "s1", Channel: "email",
		}
		u := rng.Float64()
		pick := 0
		if u > 0.8 {
			pick = 2
		} else if u > 0.5 {
			pick = 1
		}
		if i%5 == 0 { // capped: only two are eligible
			d.Eligible, d.Probabilities = []string{"womens-email", "do-nothing"}, []float64{0.6, 0.4}
			d.Excluded = []nextbest.Exclusion{{Action: "mens-email", Reason: nextbest.ReasonCap, Detail: "2 of 2 in 7d"}}
			pick %= 2
		}
		d.Action, d.Propensity = d.Eligible[pick], d.Probabilities[pick]
		d.Arms = []nextbest.ArmProbability{{Arm: "", Share: 0.9, Policy: "fixed@1", Probability: d.Propensity}, {Arm: "holdout", Share: 0.1}}
		if d.Action == nextbest.DoNothing {
			d.Arms[1].Probability = 1
			if i%3 == 0 {
				d.Arm, d.Propensity = "holdout", 1
			}
		}
		decisions = append(decisions, d)
		if i%4 == 0 {
			impressions = append(impressions, nextbest.Impression{DecisionID: d.ID, Slot: 1, Status: nextbest.Shown, Time: at.Add(time.Minute)})
		}
		wanted := "mens-email"
		if i%5 == 0 {
			wanted = nextbest.DoNothing
		}
		visited := 0.0
		switch {
		case i%3 == 0: // by decision
			rewards = append(rewards, nextbest.Reward{ID: fmt.Sprint("v", i), Kind: "visit", Value: 1, Time: at.Add(time.Hour), DecisionID: d.ID, Slot: 1})
			visited = 1
		case i%3 == 1 && i >= 300: // by customer, to the second of the two decisions
			rewards = append(rewards, nextbest.Reward{ID: fmt.Sprint("v", i), Kind: "visit", Value: 2, Time: at.Add(13 * 24 * time.Hour), Customer: d.Customer, Slot: 1})
			visited = 2
		case i%3 == 2: // too late
			rewards = append(rewards, nextbest.Reward{ID: fmt.Sprint("v", i), Kind: "visit", Value: 1, Time: at.Add(14 * 24 * time.Hour), DecisionID: d.ID, Slot: 1})
		}
		if i%10 == 0 {
			rewards = append(rewards, nextbest.Reward{ID: fmt.Sprint("p", i), Kind: "purchase", Value: 59.9, Time: at.Add(2 * time.Hour), DecisionID: d.ID, Slot: 1})
		}
		if d.Action == wanted {
			ips += visited / d.MixturePropensity()
		}
	}
	if _, err := j.Decisions(ctx, decisions); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Impressions(ctx, impressions); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Rewards(ctx, rewards); err != nil {
		t.Fatal(err)
	}
	p, err := j.Rewards(ctx, []nextbest.Reward{{ID: "p0", Kind: "purchase", Value: 40, Time: start.Add(3 * time.Hour), DecisionID: decisions[0].ID, Slot: 1}})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, sink, p)
	return ips / float64(len(decisions)), len(decisions)
}

func TestDocumentedQueries(t *testing.T) {
	store := testStore(t)
	wantIPS, wantN := fillExampleLog(t, store)
	blocks := sqlBlocks(t, "../docs/schema.md")
	if len(blocks) < 10 {
		t.Fatalf("%d SQL examples found", len(blocks))
	}
	checked := 0
	for _, query := range blocks {
		rows, err := store.conn.Query(t.Context(), query)
		if err != nil {
			t.Errorf("%s\n%v", query, err)
			continue
		}
		n := 0
		for rows.Next() {
			n++
		}
		if err := rows.Err(); err != nil {
			t.Errorf("%s\n%v", query, err)
		}
		if n == 0 {
			t.Errorf("no rows from\n%s", query)
		}
		if err := rows.Close(); err != nil {
			t.Error(err)
		}
		switch {
		case strings.Contains(query, "AS ips"):
			checked++
			var ips, se, snips, ess, weight float64
			var count uint64
			queryRow(t, store, query, &count, &ips, &se, &snips, &ess, &weight)
			// Sums of 600 float64 in another order: 1e-12 relative is generous.
			if count != uint64(wantN) || math.Abs(ips-wantIPS) > 1e-12*wantIPS {
				t.Errorf("IPS in SQL is %v of %d rows, in Go %v of %d", ips, count, wantIPS, wantN)
			}
		case strings.Contains(query, "AS u\n"):
			checked++
			checkUniform(t, store, query)
		case strings.Contains(query, "holdout"):
			checked++
			var who []string
			queryRow(t, store, "SELECT groupArray(who) FROM ("+query+")", &who)
			if fmt.Sprint(who) != "[holdout treated]" {
				t.Errorf("groups %v", who)
			}
		case strings.Contains(query, "unmatched_rewards"):
			checked++
			var reasons []string
			queryRow(t, store, "SELECT arraySort(groupArray(reason)) FROM ("+query+")", &reasons)
			if fmt.Sprint(reasons) != "[unknown_customer unknown_decision]" {
				t.Errorf("reasons %v", reasons)
			}
		}
	}
	if checked != 4 {
		t.Errorf("%d of 4 results were compared: the examples have changed, so change this test", checked)
	}
}

// checkUniform compares the SQL form of nextbest.Uniform with Go's.
func checkUniform(t *testing.T, store *Store, query string) {
	t.Helper()
	rows, err := store.conn.Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	half := nextbest.Split{Salt: "half", To: 0.5}
	n := 0
	for rows.Next() {
		var customer string
		var u float64
		if err := rows.Scan(&customer, &u); err != nil {
			t.Fatal(err)
		}
		n++
		if u != nextbest.Uniform("half", customer) || !half.Contains(customer) {
			t.Errorf("%s: %v in SQL, %v in Go", customer, u, nextbest.Uniform("half", customer))
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	want := 0
	for i := range 300 {
		if half.Contains(fmt.Sprintf("customer-%03d", i)) {
			want++
		}
	}
	if n != want {
		t.Errorf("%d customers in the half, want %d", n, want)
	}
}

// Attribution at the edges of the window and across placements.
func TestAttributionViews(t *testing.T) {
	store := testStore(t)
	j, _ := testJournal(t, JournalOptions{})
	sink := startSink(t, j, store, SinkOptions{})
	ctx := t.Context()
	rng := rand.New(rand.NewPCG(1, 1))
	at := func(minutes int) time.Time { return t0.Add(time.Duration(minutes) * time.Minute) }
	decision := func(placement, customer string, minutes int) nextbest.Decision {
		return nextbest.Decision{ID: newID(at(minutes), rng), Slot: 1, Time: at(minutes), Placement: placement, Customer: customer, Action: fmt.Sprintf("%s/%s/%d", placement, customer, minutes)}
	}
	d := []nextbest.Decision{decision("a@1", "x", 0), decision("a@2", "x", 30), decision("b@1", "x", 10), decision("a@1", "y", 0)}
	if _, err := j.Decisions(ctx, d); err != nil {
		t.Fatal(err)
	}
	p, err := j.Rewards(ctx, []nextbest.Reward{
		{ID: "at-once", Kind: "k", Time: at(0), DecisionID: d[0].ID, Slot: 1},
		{ID: "last-moment", Kind: "k", Time: at(60).Add(-time.Microsecond), DecisionID: d[0].ID, Slot: 1},
		{ID: "too-late", Kind: "k", Time: at(60), DecisionID: d[0].ID, Slot: 1},
		{ID: "too-early", Kind: "k", Time: at(-1), DecisionID: d[0].ID, Slot: 1},
		{ID: "wrong-slot", Kind: "k", Time: at(1), DecisionID: d[0].ID, Slot: 2},
		{ID: "both-placements", Kind: "k", Time: at(40), Customer: "x"},
		{ID: "older-decision", Kind: "k", Time: at(29), Customer: "x"},
		{ID: "same-moment", Kind: "k", Time: at(30), Customer: "x"},
		{ID: "only-a", Kind: "k", Time: at(75), Customer: "x"},
		{ID: "y-late", Kind: "k", Time: at(60), Customer: "y"},
		{ID: "y-early", Kind: "k", Time: at(-1), Customer: "y"},
		{ID: "stranger", Kind: "k", Time: at(1), Customer: "z"},
	})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, sink, p)
	var got []string
	queryRow(t, store, `SELECT arraySort(groupArray(concat(r.reward_id, ' -> ', d.action)))
		FROM attributed_rewards(window = 3600) AS r INNER JOIN decisions AS d ON r.decision_id = d.decision_id AND r.slot = d.slot`, &got)
	want := []string{
		"at-once -> a@1/x/0", "both-placements -> a@2/x/30", "both-placements -> b@1/x/10", "last-moment -> a@1/x/0",
		"older-decision -> a@1/x/0", "older-decision -> b@1/x/10", "only-a -> a@2/x/30", "same-moment -> a@2/x/30", "same-moment -> b@1/x/10",
	}
	// b's decision at minute 10 ends at minute 70, before only-a.
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("attributed\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	queryRow(t, store, "SELECT arraySort(groupArray(concat(reward_id, ' ', reason))) FROM unmatched_rewards", &got)
	if g, w := strings.Join(got, ", "), "stranger unknown_customer, too-early before_decision, wrong-slot unknown_decision, y-early before_first_decision"; g != w {
		t.Errorf("unmatched %s, want %s", g, w)
	}
}
