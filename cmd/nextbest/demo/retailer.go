package demo

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"nextbest/cmd/nextbest/client"
	"nextbest/experiments"
	"nextbest/offline"

	"golang.org/x/sync/errgroup"
)

// The retailer's two placements: the one the story is about, and one that is
// decided by rules alone, whose log cannot answer anything.
const (
	placement      = "next-best"
	placementRules = "rules-only"
	placementApp   = "app-inbox"
)

// RetailerOptions sizes the retailer's story.
type RetailerOptions struct {
	Customers int           // simulated customers; 20,000 when 0
	Week      int           // decisions of the first week; 42,000 when 0
	Fortnight int           // decisions of the two weeks after it; 26,000 when 0
	Day       time.Duration // how long a day takes; 1 s when 0
	Seed      uint64
}

func (o RetailerOptions) filled() RetailerOptions {
	if o.Customers == 0 {
		o.Customers = 20000
	}
	if o.Week == 0 {
		o.Week = 42000
	}
	if o.Fortnight == 0 {
		o.Fortnight = 26000
	}
	if o.Day == 0 {
		o.Day = time.Second
	}
	return o
}

// retailer is one run of the story.
type retailer struct {
	o       RetailerOptions
	keys    keys
	world   []customer
	window  time.Duration // attribution window: three days
	screen  *screen
	rewards *outbox
	result  RetailerResult
	from    time.Time // beginning of the first week
	models  map[string]uint64
}

// Retailer plays the story against a running server with the admin's key and
// prints it to out. progress gets short lines about what is under way.
func Retailer(ctx context.Context, admin *client.Client, o RetailerOptions, out io.Writer, progress func(format string, args ...any)) (*RetailerResult, error) {
	o = o.filled()
	r := &retailer{o: o, world: newCustomers(o.Customers, o.Seed), window: 3 * o.Day, screen: &screen{out: out, progress: progress}, models: map[string]uint64{}}
	var err error
	if r.keys, err = newKeys(ctx, admin, "demo"); err != nil {
		return nil, err
	}
	if err := r.define(ctx); err != nil {
		return nil, err
	}
	r.rewards = &outbox{api: r.keys.channel}
	g, ctx := errgroup.WithContext(ctx)
	stop, cancel := context.WithCancel(ctx)
	g.Go(func() error { return r.rewards.Run(stop) })
	g.Go(func() error {
		defer cancel()
		return r.play(ctx)
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return &r.result, nil
}

// play runs the story's chapters in order.
func (r *retailer) play(ctx context.Context) error {
	for _, chapter := range []func(context.Context) error{r.firstWeek, r.offline, r.fortnight, r.promote, r.verify} {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	return nil
}

// traffic returns the channels of one placement.
func (r *retailer) traffic(placement string, seed uint64) *traffic {
	return &traffic{api: r.keys.channel, world: r.world, seed: r.o.Seed*1000 + seed, window: r.window, rewards: r.rewards, placement: placement}
}

// settle waits until every reward is reported and every window has closed.
func (r *retailer) settle(ctx context.Context, what string) error {
	closed := time.Now().Add(r.window + 500*time.Millisecond)
	for !r.rewards.empty() || time.Now().Before(closed) {
		r.screen.progress("%s: waiting for the attribution window of %s to close (%s)", what, r.window, time.Until(closed).Round(time.Second))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

// firstWeek is served by rules with 10% exploration: a fixed logger.
func (r *retailer) firstWeek(ctx context.Context) error {
	r.from = time.Now()
	main, err := r.traffic(placement, 1).run(ctx, r.o.Week, 7*r.o.Day, func(n int) { r.screen.progress("day 1–7: %d of %d decisions", n, r.o.Week) })
	if err != nil {
		return err
	}
	n := r.o.Week / 12
	if _, err := r.traffic(placementRules, 2).run(ctx, n, 0, func(done int) {
		r.screen.progress("day 7, the placement without exploration: %d of %d decisions", done, n)
	}); err != nil {
		return err
	}
	if err := r.settle(ctx, "day 1–7"); err != nil {
		return err
	}
	r.result.Week = Week{Decisions: main.Decisions, Impressions: main.Impressions, Rewards: r.rewards.reported(), DoNothing: float64(main.DoNothing) / float64(main.Decisions)}
	r.screen.week(r.result.Week)
	return nil
}

// offline trains the candidates on the customers of one part and evaluates
// them on the others.
func (r *retailer) offline(ctx context.Context) error {
	train0, rest := map[string]any{"salt": "demo", "from": 0, "to": 0.35}, map[string]any{"salt": "demo", "from": 0.35, "to": 1}
	var candidates []map[string]any
	for _, c := range []struct{ policy, objective string }{{"linucb", "orders@1"}, {"lints", "orders@1"}, {"greedy-clicks", "clicks@1"}} {
		r.screen.progress("training %s on a third of the customers", c.policy)
		n, err := train(ctx, r.keys.analyst, c.policy, map[string]any{"placement": placement, "objective": c.objective, "from": r.from, "split": train0})
		if err != nil {
			return err
		}
		r.models[c.policy] = n
		candidates = append(candidates, map[string]any{"policy": c.policy + "@1", "model": n})
	}
	request := map[string]any{"placement": placement, "from": r.from, "split": rest, "candidates": candidates, "seed": 7}
	var report offline.Report
	id, err := r.keys.analyst.Await(ctx, "evaluations", request, &report, func(done int64) { r.screen.progress("evaluating on the others: %d rows", done) })
	if err != nil {
		return err
	}
	r.result.Evaluation = id
	r.result.Offline = offlineRows(&report)
	var refused offline.Report
	if _, err := r.keys.analyst.Await(ctx, "evaluations", map[string]any{"placement": placementRules, "from": r.from, "candidates": candidates[:2], "seed": 7}, &refused, func(int64) {}); err != nil {
		return err
	}
	r.result.RulesOnly = offlineRows(&refused)
	r.screen.offline(r.result.Offline, r.result.RulesOnly)
	return nil
}

// fortnight runs two experiments against the rules: the good candidate where
// the story is, the greedy one in a smaller placement.
func (r *retailer) fortnight(ctx context.Context) error {
	owner := r.keys.owner
	var ids []string
	for i := range actions {
		ids = append(ids, actions[i].id)
	}
	if err := put(ctx, owner, "placements", placementApp, map[string]any{"channels": []string{"web", "email", "push"}, "objective": "orders@1", "actions": ids, "policy": "rules@1", "impression": "reported", "slots": 1}); err != nil {
		return err
	}
	for _, e := range []struct{ id, placement, policy string }{{"lints-trial", placement, "lints"}, {"clicks-trial", placementApp, "greedy-clicks"}} {
		if err := put(ctx, owner, "experiments", e.id, map[string]any{
			"placement": e.placement,
			"arms": []map[string]any{
				{"id": "control", "policy": "rules@1", "share": 0.5, "control": true},
				{"id": "candidate", "policy": e.policy + "@1", "model": r.models[e.policy], "share": 0.5},
			},
			"primary":    map[string]any{"reward": "order", "kind": "conversion"},
			"guardrails": []map[string]any{{"reward": "opt_out", "kind": "conversion", "harm": "increase", "margin": 0.5}},
			"alpha":      0.05, "window": r.window.String(), "minimum_duration": (14 * r.o.Day).String(), "ramp": 1, "salt": e.id, "evaluation": r.result.Evaluation,
		}); err != nil {
			return err
		}
		if _, err := owner.Call(ctx, http.MethodPost, "/v1/experiments/"+e.id+"/start", map[string]any{"reason": "offline evidence " + r.result.Evaluation}, nil); err != nil {
			return err
		}
	}
	// The two placements have customers of their own: an experiment counts all
	// that a customer does, so what one placement brings would show in the other.
	main, app := r.traffic(placement, 3), r.traffic(placementApp, 4)
	border := len(r.world) * 4 / 5
	main.world, app.world = r.world[:border], r.world[border:]
	g, gctx := errgroup.WithContext(ctx)
	var tallies [2]tally
	g.Go(func() (err error) {
		tallies[0], err = main.run(gctx, r.o.Fortnight*3/4, 15*r.o.Day, func(n int) {
			r.screen.progress("day 8–21: %d of %d decisions", n*4/3, r.o.Fortnight)
		})
		return err
	})
	g.Go(func() (err error) {
		tallies[1], err = app.run(gctx, r.o.Fortnight/4, 15*r.o.Day, func(int) {})
		return err
	})
	if err := g.Wait(); err != nil {
		return err
	}
	if err := r.settle(ctx, "day 8–21"); err != nil {
		return err
	}
	for i, id := range []string{"lints-trial", "clicks-trial"} {
		var s experiments.Status
		if _, err := owner.Call(ctx, http.MethodGet, "/v1/experiments/"+id+"/status", nil, &s); err != nil {
			return err
		}
		r.result.Live = append(r.result.Live, liveRows(id, s.Evidence, tallies[i].Truth)...)
	}
	r.screen.live(r.result.Live)
	return nil
}

// promote asks for both candidates with the approver's key.
func (r *retailer) promote(ctx context.Context) error {
	for _, e := range []struct{ id, policy string }{{"clicks-trial", "greedy-clicks"}, {"lints-trial", "lints"}} {
		p, err := promote(ctx, r.keys.approver, e.id, "candidate", e.policy+"@1")
		if err != nil {
			return err
		}
		r.result.Promotions = append(r.result.Promotions, p)
	}
	r.screen.promotions(r.result.Promotions)
	return nil
}

// verify replays every decision of the story.
func (r *retailer) verify(ctx context.Context) error {
	if _, err := r.keys.analyst.Await(ctx, "verifications", map[string]any{}, &r.result.Verify, func(done int64) { r.screen.progress("replaying: %d decisions", done) }); err != nil {
		return err
	}
	r.screen.verify(r.result.Verify)
	if v := r.result.Verify; v.Checked != v.Identical {
		return fmt.Errorf("%d of %d decisions did not replay identically", v.Checked-v.Identical, v.Checked)
	}
	return nil
}
