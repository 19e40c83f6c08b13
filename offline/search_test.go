package offline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"nextbest"
	"nextbest/estimators"
)

// searched runs a search among tables, and judges the winner, if there is one, on
// the gate part. leak chooses by the rows of the gate part, which Search never
// does by itself.
func searched(t *testing.T, l *searchLog, tables []takes, anyway, leak bool) (*SearchReport, *Result) {
	t.Helper()
	req, learn := searchOf(l, tables)
	req.Anyway = anyway
	honest := req.Parts
	if leak {
		req.Parts.Select = req.Parts.Gate
	}
	report, err := Search(context.Background(), l, req, learn, nil)
	if err != nil {
		t.Fatal(err)
	}
	if report.Outcome != Chosen {
		return report, nil
	}
	req.Parts = honest
	for _, x := range tables {
		if x.name == report.Best {
			gate, err := gateOf(l, req, x, 1)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := report.Judge(Winner{Policy: nextbest.Ref{ID: "won", Version: 1}, Model: 1, Evaluation: "e"}, gate); err != nil {
				t.Fatal(err)
			}
			r, _ := gate.Result("won@1/1")
			return report, r
		}
	}
	t.Fatalf("the winner %q is no candidate", report.Best)
	return nil, nil
}

// Of 30 candidates none of which is better than what ran, search and gate admit
// one with a probability of at most δ = .05, even where the best is always taken
// to the gate. The gate's bound by betting is so careful that it admits hardly any;
// so the same is asked of the 95% interval of the difference that is shown beside
// it (one side: .025), which is sharp. Chosen by the gate's own rows, the winner
// would look better than what ran in a good part of all searches: that is what
// this test would see if any of them were used.
func TestSearchAdmitsNothingByChance(t *testing.T) {
	t.Parallel()
	replications, leaky := 1000, 150
	if testing.Short() {
		replications, leaky = 150, 40
	}
	rate := sameRates(12, 2, 0.4)
	admitted, apparent, chosen, refused := 0, 0, 0, 0
	for i := range replications {
		l := newSearchLog(rate, 1020, uint64(i))
		report, gate := searched(t, l, randomTables(30, 12, 2, uint64(i)), true, false)
		if gate == nil { // all refused on the select part
			refused++
			continue
		}
		if best, _ := report.Candidate(report.Best); best.VsLogged.Low > 0 {
			chosen++
		}
		if gate.Refused() {
			refused++
		} else if gate.VsLogged.Low > 0 {
			apparent++
		}
		if report.Winner.Gate.Passed {
			admitted++
		}
	}
	n := float64(replications)
	limit := func(p float64) float64 { return n*p + 4*math.Sqrt(n*p*(1-p)) }
	t.Logf("%d replications: %d told apart on select, %d with an interval above 0 on the gate part, %d admitted", replications, chosen, apparent, admitted)
	if refused > replications/20 {
		t.Errorf("%d of %d winners are refused on the gate part: this shows nothing", refused, replications)
	}
	if f := float64(admitted); f > limit(0.05) {
		t.Errorf("%d of %d searches admit a candidate that is no better", admitted, replications)
	}
	if f := float64(apparent); f > limit(0.025) {
		t.Errorf("in %d of %d searches the winner looks better on the gate part", apparent, replications)
	}
	// Told apart at δ/m each: δ over all of them.
	if f := float64(chosen); f > limit(0.05) {
		t.Errorf("%d of %d searches tell a candidate from what ran on the select part", chosen, replications)
	}
	apparent = 0
	for i := range leaky {
		l := newSearchLog(rate, 1020, uint64(i))
		if _, gate := searched(t, l, randomTables(30, 12, 2, uint64(i)), true, true); gate != nil && gate.VsLogged != nil && gate.VsLogged.Low > 0 {
			apparent++
		}
	}
	t.Logf("chosen by the gate's rows: %d of %d look better", apparent, leaky)
	if float64(apparent)/float64(leaky) < 2*limit(0.025)/n {
		t.Errorf("chosen by the gate's rows %d of %d winners look better: this test would not see it", apparent, leaky)
	}
}

// One candidate of 30 is better, and is found and admitted.
func TestSearchFindsTheBetter(t *testing.T) {
	const kinds, replications = 12, 40
	rate := sameRates(kinds, 2, 0.2)
	better := takes{name: "better"}
	for k := range kinds {
		rate[k][k%2] = 0.5
		better.take = append(better.take, k%2)
	}
	if gain := better.value(rate) - 0.35; math.Abs(gain-0.15) > 1e-12 {
		t.Fatal(gain)
	}
	found, admitted := 0, 0
	for i := range replications {
		tables := append(randomTables(29, kinds, 2, uint64(i)), better)
		report, gate := searched(t, newSearchLog(rate, 4500, uint64(i)), tables, false, false)
		if report.Best == "better" && report.Outcome == Chosen {
			found++
		}
		if gate != nil && gate.Gate.Passed {
			admitted++
		}
		for _, c := range report.Candidates {
			if c.Rank > 0 && c.VsLogged.Low > c.VsLogged.Value {
				t.Fatalf("%+v", c)
			}
		}
	}
	t.Logf("of %d searches %d find it and %d admit it", replications, found, admitted)
	if found < replications*95/100 || admitted < replications*80/100 {
		t.Errorf("of %d searches %d find the better candidate and %d admit it", replications, found, admitted)
	}
}

// What follows the decisions of the gate part changes nothing of a search, and
// neither do rewards of the select part change what is learned; no query reads
// beyond its part.
func TestSearchReadsNoGateRow(t *testing.T) {
	rate, tables := sameRates(6, 2, 0.4), randomTables(23, 6, 2, 3)
	search := func(change func(l *searchLog, i int)) (*searchLog, []byte) {
		l := newSearchLog(rate, 1200, 5)
		for i := range l.reward {
			change(l, i)
		}
		req, learn := searchOf(l, tables)
		report, err := Search(context.Background(), l, req, func(ctx context.Context, c *Combination, q nextbest.Query) (Candidate, *Trained, error) {
			candidate, _, err := learn(ctx, c, q)
			var sum float64
			if e := l.Rows(ctx, q, func(b *nextbest.Batch) error {
				for _, r := range b.Reward {
					sum += r
				}
				return nil
			}); e != nil {
				return nil, nil, e
			}
			return candidate, &Trained{From: q.From, To: q.To, MatureAt: q.MatureAt, Rows: int64(sum)}, err
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(report)
		if err != nil {
			t.Fatal(err)
		}
		return l, raw
	}
	l, want := search(func(*searchLog, int) {})
	if _, again := search(func(*searchLog, int) {}); !bytes.Equal(again, want) {
		t.Error("the same search gives another report")
	}
	if _, gate := search(func(l *searchLog, i int) {
		if i >= 800 {
			l.reward[i] = 1 - l.reward[i]
		}
	}); !bytes.Equal(gate, want) {
		t.Error("rewards of the gate part change the search")
	}
	if _, selected := search(func(l *searchLog, i int) {
		if i >= 400 && i < 790 {
			l.reward[i] = 1 - l.reward[i]
		}
	}); bytes.Equal(selected, want) {
		t.Error("rewards of the select part do not change the search")
	}
	var report SearchReport
	if err := json.Unmarshal(want, &report); err != nil {
		t.Fatal(err)
	}
	for _, q := range l.reads {
		if q.To.After(report.Parts.Select.To) || q.MatureAt.After(report.Parts.Gate.From) || q.From.Before(report.Parts.Select.From) && q.MatureAt.After(report.Parts.Select.From) {
			t.Errorf("read %s to %s, mature at %s", q.From, q.To, q.MatureAt)
		}
	}
	if strings.Contains(strings.Join(report.Warnings, ";"), "were compared") { // of one of the runs, which have some of them each
		t.Errorf("%q", report.Warnings)
	}
	if len(report.Candidates) != 23 || report.Each != 0.05/23 || report.Candidates[0].Trained.Rows == 0 {
		t.Errorf("%+v", report)
	}
}

// A candidate that cannot be trained, or fails on a row, is reported and counts
// among those tried; the others are judged as without it.
func TestSearchGoesOnWithoutWhatFails(t *testing.T) {
	l := newSearchLog(sameRates(6, 2, 0.4), 1200, 5)
	tables := randomTables(4, 6, 2, 3)
	req, learn := searchOf(l, tables)
	want, err := Search(context.Background(), l, req, learn, nil)
	if err != nil {
		t.Fatal(err)
	}
	report, err := Search(context.Background(), l, req, func(ctx context.Context, c *Combination, q nextbest.Query) (Candidate, *Trained, error) {
		switch c.Name {
		case "t01":
			return nil, nil, nextbest.Errorf(nextbest.Conflict, "nothing to learn from")
		case "t02":
			return breaks{}, nil, nil
		}
		return learn(ctx, c, q)
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, says := range []string{"", "nothing to learn from", "it broke", ""} {
		c := report.Candidates[i]
		if says != "" && (!strings.Contains(c.Problem, says) || c.Rank != 0 || c.VsLogged != nil) {
			t.Errorf("%+v", c)
		}
		if w := want.Candidates[i]; says == "" && (c.Problem != "" || *c.VsLogged != *w.VsLogged) {
			t.Errorf("%+v, want %+v", c.VsLogged, w.VsLogged)
		}
	}
	if report.Each != 0.05/4 {
		t.Errorf("each has %v: those that fail count", report.Each)
	}
	var b bytes.Buffer
	if err := report.WriteTable(&b); err != nil || strings.Count(b.String(), "FAILED") != 2 || !strings.Contains(b.String(), "it broke") {
		t.Errorf("%v\n%s", err, b.String())
	}
	away := nextbest.Errorf(nextbest.Unavailable, "ClickHouse is away")
	if _, err := Search(context.Background(), l, req, func(context.Context, *Combination, nextbest.Query) (Candidate, *Trained, error) {
		return nil, nil, away
	}, nil); !errors.Is(err, away) {
		t.Errorf("an engine that is away: %v", err)
	}
}

// breaks fails on its tenth row.
type breaks struct{}

func (breaks) Name() string { return "broken" }

func (breaks) Distribution(p []float64, b *nextbest.Batch, i int) error {
	clear(p)
	p[0] = 1
	if b.Decision[i][10]%16 == 9 {
		return errors.New("it broke")
	}
	return nil
}

// Where all are refused or none is better the search says so and reads no gate.
func TestSearchWithoutAWinner(t *testing.T) {
	small := newSearchLog(sameRates(6, 2, 0.4), 240, 5) // some 70 rows to choose by
	report, gate := searched(t, small, randomTables(3, 6, 2, 3), true, false)
	if report.Outcome != AllRefused || gate != nil || report.Winner != nil || !strings.Contains(report.Verdict, "nothing is registered") || !strings.Contains(report.Verdict, "none of 3") || report.Candidates[0].Refusals[0].Code != estimators.RefusedESS {
		t.Errorf("%+v", report)
	}
	same := newSearchLog(sameRates(6, 2, 0.4), 1500, 5)
	if report, gate = searched(t, same, randomTables(3, 6, 2, 3), false, false); report.Outcome != NoneBetter || gate != nil || report.Best == "" || !strings.Contains(report.Verdict, "none can be told from what ran") {
		t.Errorf("%+v", report)
	}
	if report, gate = searched(t, same, randomTables(3, 6, 2, 3), true, false); report.Outcome != Chosen || gate == nil || report.Winner.Gate.Passed || !strings.Contains(strings.Join(report.Warnings, ";"), "because that was asked for") || !strings.Contains(report.Verdict, "a draft") {
		t.Errorf("%+v", report)
	}
}

// The second winner that is judged on the same rows has a smaller share of the
// error, and the report says so.
func TestSearchSpendsTheGate(t *testing.T) {
	l := newSearchLog(sameRates(6, 2, 0.4), 1500, 5)
	tables := randomTables(3, 6, 2, 3)
	req, learn := searchOf(l, tables)
	req.Anyway = true
	report, err := Search(context.Background(), l, req, learn, nil)
	if err != nil {
		t.Fatal(err)
	}
	gate, err := gateOf(l, req, tables[0], 3)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := report.Judge(Winner{Policy: nextbest.Ref{ID: "won", Version: 1}, Model: 1}, gate); err != nil {
		t.Fatal(err)
	}
	if w := report.Winner; w.Earlier != 2 || w.Gate.Delta != estimators.Spend(0.05, 3) || !strings.Contains(report.Verdict, "look number 3") {
		t.Errorf("%+v", w)
	}
	if _, err := report.Judge(Winner{Policy: nextbest.Ref{ID: "other", Version: 1}, Model: 1}, gate); err == nil {
		t.Error("an evaluation of something else was taken")
	}
}
