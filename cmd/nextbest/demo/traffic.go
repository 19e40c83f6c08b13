package demo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"nextbest/cmd/nextbest/client"

	"golang.org/x/sync/errgroup"
)

// workers is how many calls the simulated channels keep under way.
const workers = 32

// traffic plays customers who arrive at a placement and respond, over HTTP, as
// a channel would.
type traffic struct {
	api       *client.Client
	world     []customer
	seed      uint64
	window    time.Duration
	rewards   *outbox
	placement string

	mu    sync.Mutex
	tally tally
}

// tally is what one stretch of traffic came to, as the channel saw it.
type tally struct {
	Decisions, Impressions, DoNothing int
	Truth                             map[string]*truth // by arm
}

// truth is the simulator's own knowledge of an arm.
type truth struct {
	Decisions int
	Orders    float64 // sum of the true probabilities of an order after what was decided
}

// decision is the part of the platform's answer that a channel needs.
type decision struct {
	ID         string `json:"decision_id"`
	Action     string `json:"action"`
	Channel    string `json:"channel"`
	Experiment *struct {
		ID  string `json:"id"`
		Arm string `json:"arm"`
	} `json:"experiment"`
}

// run makes n decisions for random customers, spread evenly over the span
// where the machine keeps up, and returns the tally. progress is told how many
// are done.
func (t *traffic) run(ctx context.Context, n int, span time.Duration, progress func(done int)) (tally, error) {
	t.tally = tally{Truth: map[string]*truth{}}
	start := time.Now()
	next := make(chan int)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(next)
		for i := range n {
			due := start.Add(time.Duration(float64(span) * float64(i) / float64(n)))
			if wait := time.Until(due); wait > 2*time.Millisecond {
				time.Sleep(wait)
			}
			select {
			case next <- i:
			case <-ctx.Done():
				return ctx.Err()
			}
			if i%500 == 0 {
				progress(i)
			}
		}
		return nil
	})
	for w := range workers {
		rng := rand.New(rand.NewPCG(t.seed, uint64(w)+1000))
		g.Go(func() error {
			for range next {
				if err := t.one(ctx, &t.world[rng.IntN(len(t.world))], rng); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return tally{}, err
	}
	progress(n)
	t.seed++
	return t.tally, nil
}

// one asks for a decision, reports the impression and queues the rewards.
func (t *traffic) one(ctx context.Context, c *customer, rng *rand.Rand) error {
	var d decision
	body := map[string]any{"placement": t.placement, "customer": c.attributes(), "context": c.context()}
	if _, err := t.api.Call(ctx, http.MethodPost, "/v1/decisions", body, &d); err != nil {
		return err
	}
	now := time.Now()
	a := actionByID[d.Action]
	if a == nil {
		return fmt.Errorf("decision %s names action %q, which the retailer does not have", d.ID, d.Action)
	}
	shown := a.channel != "" && rng.Float64() < 0.97
	if a.channel != "" {
		status := "shown"
		if !shown {
			status = "not_shown"
		}
		if _, err := t.api.Call(ctx, http.MethodPost, "/v1/decisions/"+d.ID+"/impression", map[string]any{"slot": 1, "status": status, "time": now}, nil); err != nil {
			return err
		}
	}
	// What was not shown changes nothing: the customer behaves as if left alone.
	acted := a
	if !shown {
		acted = actionByID["do-nothing"]
	}
	r := c.respond(acted, rng)
	if r.click && shown {
		t.rewards.add(reward{ID: d.ID + "-click", Kind: "click", Value: 1, Time: now, DecisionID: d.ID}, now)
	}
	if r.buy {
		at := now.Add(time.Duration(r.delay * float64(t.window)))
		order := reward{ID: d.ID + "-order", Kind: "order", Value: 1, Time: at, DecisionID: d.ID}
		revenue := reward{ID: d.ID + "-revenue", Kind: "purchase", Value: r.revenue, Time: at}
		if r.anonymous {
			revenue.Customer = &customerRef{ID: c.id}
		} else {
			revenue.DecisionID = d.ID
		}
		t.rewards.add(order, at)
		t.rewards.add(revenue, at)
	}
	if r.optOut {
		at := now.Add(time.Duration(0.3 * float64(t.window)))
		t.rewards.add(reward{ID: d.ID + "-optout", Kind: "opt_out", Value: 1, Time: at, DecisionID: d.ID}, at)
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	t.tally.Decisions++
	if a.channel == "" {
		t.tally.DoNothing++
	} else {
		t.tally.Impressions++
	}
	arm := ""
	if d.Experiment != nil {
		arm = d.Experiment.Arm
	}
	tr := t.tally.Truth[arm]
	if tr == nil {
		tr = &truth{}
		t.tally.Truth[arm] = tr
	}
	tr.Decisions++
	tr.Orders += 0.97*c.purchase(a) + 0.03*c.purchase(actionByID["do-nothing"])
	return nil
}
