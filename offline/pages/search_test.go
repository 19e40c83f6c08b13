package pages

import (
	"context"
	"strings"
	"testing"
	"time"

	"nextbest"
	"nextbest/offline"
)

func TestPageOfASearch(t *testing.T) {
	sim := &offline.Simulation{Types: 6, Actions: 5, Customers: 6000, Each: 1, Rate: 0.2, Epsilon: 0.3, Seed: 3}
	begin := sim.End().AddDate(0, 0, -60)
	parts, err := offline.PartsByTime(begin.AddDate(0, 0, -1), begin, sim.End(), sim.End().AddDate(0, 0, 1), sim.End().AddDate(0, 0, 2))
	if err != nil {
		t.Fatal(err)
	}
	parts.Train.Rows, parts.Select.Rows, parts.Gate.Rows = 10, 6000, 10
	parts.Select.MatureAt = sim.End().Add(time.Hour)
	req := offline.SearchRequest{Parts: parts, Combinations: []offline.Combination{{Name: "good v=1", Of: "good"}, {Name: "bad v=2", Of: "bad"}, {Name: "none", Of: "none"}}}
	req.Query = nextbest.Query{Placement: "shop", Objective: nextbest.Objective{Terms: []nextbest.Term{{Reward: "order", Weight: 1}}, Window: nextbest.Duration(time.Hour)}}
	r, err := offline.Search(context.Background(), sim, req, func(_ context.Context, c *offline.Combination, _ nextbest.Query) (offline.Candidate, *offline.Trained, error) {
		switch c.Of {
		case "good":
			return sim.Best(), &offline.Trained{Rows: 10}, nil
		case "bad":
			return sim.Always(0), &offline.Trained{Rows: 10}, nil
		}
		return nil, nil, nextbest.Errorf(nextbest.Conflict, "nothing to <learn> from")
	}, nil)
	if err != nil || r.Best != "good v=1" {
		t.Fatalf("%+v, %v", r, err)
	}
	p, err := OfSearch(r)
	if err != nil {
		t.Fatal(err)
	}
	checkPage(t, p, r)
	if p.State != "open" || len(p.Charts) != 2 || !strings.Contains(p.Tables[0].Rows[2][6], "<learn>") {
		t.Errorf("%s, %d charts, %v", p.State, len(p.Charts), p.Tables[0].Rows)
	}
	gate, err := offline.Run(context.Background(), sim, offline.Request{Query: req.Query, Candidates: []offline.Candidate{named{sim.Best()}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	passed, err := r.Judge(offline.Winner{Policy: nextbest.Ref{ID: "good", Version: 3}, Model: 2, Evaluation: "e1", Experiment: "x"}, gate)
	if err != nil || !passed {
		t.Fatal(passed, err, r.Verdict)
	}
	if p, err = OfSearch(r); err != nil || p.State != "good" || !strings.Contains(p.Verdict, "registered as good@3 model 2, a draft") {
		t.Errorf("%s %s %v", p.State, p.Verdict, err)
	}
	if w := r.Winner; w.VsBestFixed == nil || w.BestFixed == "" || !strings.Contains(p.Verdict, " than always "+w.BestFixed+" (") && !strings.Contains(p.Verdict, " over always "+w.BestFixed+" (") {
		t.Errorf("the winner beside the best fixed action: %+v, %q: %s", w.VsBestFixed, w.BestFixed, p.Verdict)
	}
	checkPage(t, p, r)
}

// named is a policy under its registered name.
type named struct{ offline.Candidate }

func (named) Name() string { return "good@3/2" }
