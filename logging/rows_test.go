package logging

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"nextbest"
)

// randomQuery asks for a random part of a random log.
func randomQuery(rng *rand.Rand, last uint64) nextbest.Query {
	maybe := func(texts ...string) string {
		if rng.IntN(2) == 0 {
			return ""
		}
		return texts[rng.IntN(len(texts))]
	}
	q := nextbest.Query{
		Placement: []string{"web", "web@1", "web@2", "email"}[rng.IntN(4)],
		MatureAt:  t0.Add(time.Duration(rng.IntN(140)) * grid),
		Objective: nextbest.Objective{
			Terms:  []nextbest.Term{{Reward: "purchase", Weight: 1}, {Reward: "opt_out", Weight: -5}, {Reward: "visit", Weight: 0.5}}[:1+rng.IntN(3)],
			Window: nextbest.Duration(time.Duration(1+rng.IntN(12)) * grid), Aggregation: []string{"", "sum", "first", "last", "max"}[rng.IntN(5)],
			Default: float64(rng.IntN(2)) * -0.25,
		},
		Source: maybe("live", "import-1"), Experiment: maybe("exp", "exp@2", "other"), SkipSetAside: rng.IntN(2) == 0, SkipHeld: rng.IntN(2) == 0, Own: rng.IntN(3) == 0,
		Contexts: rng.IntN(2) == 0, Schema: maybe("f@1"), BatchSize: []int{0, 1, 7, 64}[rng.IntN(4)],
	}
	if rng.IntN(2) == 0 {
		q.From = t0.Add(time.Duration(rng.IntN(60)) * grid)
	}
	if rng.IntN(2) == 0 {
		q.To = t0.Add(time.Duration(61+rng.IntN(60)) * grid)
	}
	if rng.IntN(2) == 0 {
		q.Upto = 1 + rng.Uint64N(last)
	}
	if rng.IntN(2) == 0 {
		q.Split = &nextbest.Split{Salt: "s'\\1", From: float64(rng.IntN(5)) / 10, To: 0.5 + rng.Float64()/2}
	}
	if rng.IntN(4) == 0 {
		q.Arms = []string{"a", "holdout"}
	}
	return q
}

// TestRowsAgainstReference compares Rows with the plain reference on random
// logs and random queries, before and after the tables' parts are merged.
func TestRowsAgainstReference(t *testing.T) {
	store := testStore(t)
	total := 0
	for seed := range uint64(2) {
		rng := rand.New(rand.NewPCG(seed, 7))
		for _, table := range []string{tableDecisions, tableRewards, tableRewardReports, tableImpressions} {
			if err := store.conn.Exec(t.Context(), "TRUNCATE TABLE "+table); err != nil {
				t.Fatal(err)
			}
		}
		log := newRandomLog(rng, 250, 700)
		log.insert(t, store, rng)
		for i := range 25 {
			q := randomQuery(rng, log.last)
			total += checkRows(t, store, q, log.rows(q))
			if t.Failed() {
				t.Fatalf("seed %d, query %d: %+v", seed, i, q)
			}
			if i == 12 {
				for _, table := range []string{tableDecisions, tableRewards, tableRewardReports, tableImpressions} {
					if err := store.conn.Exec(t.Context(), "OPTIMIZE TABLE "+table+" FINAL"); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
	if total < 300 {
		t.Errorf("only %d rows were compared; the queries are too narrow", total)
	}
}

// checkRows compares one answer with what it should be and returns the number of
// rows.
func checkRows(t *testing.T, s *Store, q nextbest.Query, want map[key]row) int {
	t.Helper()
	n := 0
	lastCustomer, lastTime := "", int64(0)
	err := s.Rows(t.Context(), q, func(b *nextbest.Batch) error {
		if limit := q.BatchSize; limit > 0 && b.N() > limit+1 {
			t.Errorf("a batch of %d rows, asked for %d", b.N(), limit)
		}
		for i := range b.N() {
			n++
			if cmp.Or(cmp.Compare(lastCustomer, b.Customer[i]), cmp.Compare(lastTime, b.Time[i])) > 0 {
				t.Errorf("%q at %d comes after %q at %d", b.Customer[i], b.Time[i], lastCustomer, lastTime)
			}
			lastCustomer, lastTime = b.Customer[i], b.Time[i]
			id := b.Decision[i]
			k := key{id, 1}
			if _, ok := want[k]; !ok {
				k.slot = 2 // a second slot of which the first was seen already
			}
			w, ok := want[k]
			if !ok {
				t.Errorf("decision %s should not be there, or not twice", id)
				continue
			}
			delete(want, k)
			var eligible []string
			codes, chances := b.Row(i)
			for _, c := range codes {
				eligible = append(eligible, b.Actions[c])
			}
			d := w.d
			got := fmt.Sprint(b.Time[i], b.Customer[i], eligible, chances, eligible[b.Chosen[i]], b.X[i*b.Width:(i+1)*b.Width], b.Policies[i], b.Features[i], b.Experiment[i], b.Arm[i], b.Matched[i])
			propensity, floor := propensityOf(q, d)
			should := fmt.Sprint(d.Time.UnixMicro(), d.Customer, d.Eligible, d.Probabilities, d.Action, d.X, d.Policy, d.Features, d.Experiment, d.Arm, w.matched)
			if got != should {
				t.Errorf("decision %v is\n%s\nwant\n%s", k, got, should)
			}
			var shares *nextbest.ArmShares
			for _, a := range d.Arms {
				if shares == nil {
					shares = &nextbest.ArmShares{}
				}
				shares.Arms, shares.Shares = append(shares.Arms, a.Arm), append(shares.Shares, a.Share)
			}
			if !reflect.DeepEqual(b.Shares[i], shares) {
				t.Errorf("decision %v: arms %+v, want %+v", k, b.Shares[i], shares)
			}
			if !near(b.Reward[i], w.reward) || !near(b.Propensity[i], propensity) || !near(b.Floor[i], floor) {
				t.Errorf("decision %v: reward %v, propensity %v, floor %v; want %v, %v and %v", k, b.Reward[i], b.Propensity[i], b.Floor[i], w.reward, propensity, floor)
			}
			context := string(d.Context)
			if q.Schema != "" && q.Schema == d.Features && len(d.X) > 0 {
				context = ""
			}
			if q.Contexts && string(b.Contexts[i]) != context || !q.Contexts && b.Contexts != nil {
				t.Errorf("decision %v: context %q, want %q", k, b.Contexts[i], context)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for k := range want {
		t.Errorf("decision %v is missing", k)
	}
	return n
}

func TestRowsRefusesBadQueries(t *testing.T) {
	store := testStore(t)
	good := func() nextbest.Query {
		return nextbest.Query{Placement: "web", Objective: nextbest.Objective{Terms: []nextbest.Term{{Reward: "visit", Weight: 1}}, Window: nextbest.Duration(time.Hour)}}
	}
	for field, spoil := range map[string]func(*nextbest.Query){
		"placement":             func(q *nextbest.Query) { q.Placement = "Web'" },
		"objective.window":      func(q *nextbest.Query) { q.Objective.Window = 0 },
		"objective.terms":       func(q *nextbest.Query) { q.Objective.Terms = nil },
		"objective.terms[0]":    func(q *nextbest.Query) { q.Objective.Terms[0].Reward = "" },
		"objective.aggregation": func(q *nextbest.Query) { q.Objective.Aggregation = "mean" },
		"to":                    func(q *nextbest.Query) { q.From, q.To = t0, t0 },
		"split":                 func(q *nextbest.Query) { q.Split = &nextbest.Split{From: 0.5, To: 1.5} },
		"batch_size":            func(q *nextbest.Query) { q.BatchSize = -1 },
	} {
		q := good()
		spoil(&q)
		err := store.Rows(t.Context(), q, func(*nextbest.Batch) error { return nil })
		var e *nextbest.Error
		if !errors.As(err, &e) || e.Code != nextbest.Invalid || len(e.Problems) != 1 || e.Problems[0].Field != field {
			t.Errorf("%s: %v, want one problem with that field", field, err)
		}
	}
	if err := store.Rows(t.Context(), good(), func(*nextbest.Batch) error { return nil }); err != nil {
		t.Errorf("an empty log: %v", err)
	}
}

// TestRowsStopsWhenAsked returns the caller's own error and leaves the store
// usable.
func TestRowsStopsWhenAsked(t *testing.T) {
	store := testStore(t)
	rng := rand.New(rand.NewPCG(3, 3))
	log := newRandomLog(rng, 100, 100)
	log.insert(t, store, rng)
	q := nextbest.Query{Placement: "web", MatureAt: t0.Add(1000 * time.Hour), BatchSize: 5,
		Objective: nextbest.Objective{Terms: []nextbest.Term{{Reward: "visit", Weight: 1}}, Window: nextbest.Duration(time.Hour)}}
	stop := errors.New("enough")
	for range 6 {
		calls := 0
		if err := store.Rows(t.Context(), q, func(*nextbest.Batch) error { calls++; return stop }); err != stop || calls != 1 {
			t.Fatalf("%v after %d calls, want the error of the first", err, calls)
		}
	}
	checkRows(t, store, q, log.rows(q))
}

// TestRowsReportsDamage names a decision that cannot be right.
func TestRowsReportsDamage(t *testing.T) {
	store := testStore(t)
	rng := rand.New(rand.NewPCG(4, 4))
	d := fullDecision(rng, t0)
	d.Probabilities = d.Probabilities[:3]
	c := newDecisionColumns()
	c.append(1, 0, &d)
	if err := store.insert(t.Context(), &c.inserter); err != nil {
		t.Fatal(err)
	}
	err := store.Rows(t.Context(), nextbest.Query{Placement: "email-daily", MatureAt: t0.Add(1000 * time.Hour),
		Objective: nextbest.Objective{Terms: []nextbest.Term{{Reward: "visit", Weight: 1}}, Window: nextbest.Duration(time.Hour)}}, func(*nextbest.Batch) error { return nil })
	if err == nil || !strings.Contains(err.Error(), d.ID.String()) {
		t.Errorf("%v; want an error that names decision %s", err, d.ID)
	}
}

// TestSplitInSQL compares the SQL of a split with nextbest.Uniform at its very
// bounds.
func TestSplitInSQL(t *testing.T) {
	store := testStore(t)
	for i := range 50 {
		customer := fmt.Sprintf("customer '%d' \\", i)
		u := nextbest.Uniform("salt", customer)
		for _, s := range []nextbest.Split{{Salt: "salt", From: u, To: 1}, {Salt: "salt", From: 0, To: u}, {Salt: "salt", From: u / 2, To: u + (1-u)/2}} {
			var inside uint8
			queryRow(t, store, "SELECT toUInt8("+all((&rowPlan{query: nextbest.Query{Split: &s}}).split())+") FROM (SELECT "+quote(customer)+" AS customer)", &inside)
			if (inside == 1) != s.Contains(customer) {
				t.Errorf("customer %q with u = %v in %+v: %d, want %t", customer, u, s, inside, s.Contains(customer))
			}
		}
	}
}

// TestSignature takes apart what it should and refuses what it should not.
func TestSignature(t *testing.T) {
	s, err := parseSignature("3,4,0,1,0:p@1,f@2z")
	if err != nil || *s != (signature{policy: "p@1", features: ",f@2", arm: "z"}) {
		t.Errorf("%+v %v", s, err)
	}
	if s, err = parseSignature("3,0,0,1,0,1,38:p@1zz4591870180066957722,4606281698874543309"); err == nil {
		t.Errorf("lengths that do not add up: %+v", s)
	}
	s, err = parseSignature("3,0,0,1,0,1,39:p@1zz4591870180066957722,4606281698874543309")
	if err != nil || s.arm != "z" || !slices.Equal(s.shares.Arms, []string{"", "z"}) || !slices.Equal(s.shares.Shares, []float64{0.1, 0.9}) {
		t.Errorf("%+v %v", s, err)
	}
	for _, bad := range []string{"", "1", "1,1,1:abc", "1,1,1,1:abcd", "1,1,1,1,0:abc", "1,1,1,1,0:abcde", "1,1,1,1,1,0:abcde", "-1,1,1,1,0:abc", "x,1,1,1,0:abc", "1,1,1,1,3:abcd1,2", "1,1,1,1,1,2:abcdz1x"} {
		if _, err := parseSignature(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// BenchmarkRows reads a log of a million rows with 32 features and half a
// million rewards (100,000 rows unless NEXTBEST_BENCH_ROWS says otherwise).
func BenchmarkRows(b *testing.B) {
	rows := 100_000
	if text := os.Getenv("NEXTBEST_BENCH_ROWS"); text != "" {
		if _, err := fmt.Sscan(text, &rows); err != nil {
			b.Fatal(err)
		}
	}
	store := testStore(b)
	fillLog(b, store, rows)
	q := nextbest.Query{Placement: "email-daily", MatureAt: time.Unix(1800000000, 0),
		Objective: nextbest.Objective{Terms: []nextbest.Term{{Reward: "purchase", Weight: 1}, {Reward: "visit", Weight: 0.1}}, Window: nextbest.Duration(14 * 24 * time.Hour)}}
	b.ReportAllocs()
	for b.Loop() {
		n, matched := 0, 0
		err := store.Rows(b.Context(), q, func(batch *nextbest.Batch) error {
			n += batch.N()
			for _, m := range batch.Matched {
				if m {
					matched++
				}
			}
			return nil
		})
		if err != nil || n != rows || matched == 0 {
			b.Fatalf("%d rows, %d matched, %v", n, matched, err)
		}
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// fillLog makes a log of so many decisions in ClickHouse itself.
func fillLog(t testing.TB, s *Store, rows int) {
	t.Helper()
	for _, statement := range []string{
		`INSERT INTO decisions_raw (decision_id, slot, time, placement, objective, customer, source, action, treatment, channel, propensity, mixture_propensity, eligible, probabilities, policy, x, context, floor, journal_position, version)
SELECT dateTimeToUUIDv7(toDateTime(1780000000 + intDiv(number, 10), 'UTC')), 1, toDateTime64(1780000000 + intDiv(number, 10), 6, 'UTC'), 'email-daily@1', 'value@1',
  lower(hex(MD5(toString(cityHash64(number) % %[2]d)))), 'live', ['mens-email', 'womens-email', 'do-nothing'][1 + number % 3], 'a', 'email', 0.33, 0.33,
  ['mens-email', 'womens-email', 'do-nothing'], [0.33, 0.33, 0.34], 'lints@1', arrayMap(i -> toFloat32(cityHash64(number, i) % 1000) / 1000, range(32)),
  '{"context":{"history":329.08,"recency":3},"customer":{}}', 0.02, number + 1, toUInt64(-1) - number
FROM numbers(%[1]d) SETTINGS max_block_size = 65536, min_insert_block_size_rows = 262144, max_threads = 1, max_insert_threads = 1`,
		`INSERT INTO rewards_raw SELECT concat('c', toString(number)), ['purchase', 'visit'][1 + number % 2], number % 100, toDateTime64(1780000000 + cityHash64(number, 1) % %[1]d / 10, 6, 'UTC'),
  toUUID('00000000-0000-0000-0000-000000000000'), 1, lower(hex(MD5(toString(cityHash64(number) % %[2]d)))), false, %[1]d + number, %[1]d + number FROM numbers(%[3]d)`,
		`INSERT INTO rewards_raw SELECT concat('d', toString(decision_id)), 'visit', 1, time + 60, decision_id, 1, '', false, journal_position, journal_position FROM decisions_raw WHERE journal_position % 5 = 0`,
	} {
		statement = strings.NewReplacer("%[1]d", fmt.Sprint(rows), "%[2]d", fmt.Sprint(rows/3), "%[3]d", fmt.Sprint(rows*3/10)).Replace(statement)
		if err := s.conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
}
