// Package demo runs the platform's main job for a new user: a fictional
// retailer in compressed time, or a published data set of real customers, all
// through the public HTTP API, as a channel would.
package demo

import (
	"math"
	"math/rand/v2"
	"strconv"
)

// action is one thing the fictional retailer can do, with the truth that only
// the simulator knows.
type action struct {
	id, channel string
	goal        string
	eligibility string // CEL
	caps        []map[string]any
	cost        float64
	buy         func(c *customer) float64 // added log-odds of a purchase
	click       float64                   // probability of a click
	optOut      float64                   // probability of an opt-out
}

// customer is one of the retailer's simulated customers.
type customer struct {
	id        string
	recency   float64 // months since the last purchase, 1–12
	frequency float64 // orders in the last year
	basket    float64 // mean basket value
	visits    float64 // visits in the last month
	taste     string  // men, women or kids
	newbie    bool
	email     bool // agreed to e-mail
	push      bool // agreed to push messages
}

// tastes are the departments a customer may prefer.
var tastes = []string{"men", "women", "kids"}

// newCustomers returns n customers drawn with the seed.
func newCustomers(n int, seed uint64) []customer {
	rng := rand.New(rand.NewPCG(seed, 1))
	cs := make([]customer, n)
	for i := range cs {
		u := rng.Float64()
		taste := tastes[0]
		if u > 0.35 {
			taste = tastes[1]
		}
		if u > 0.8 {
			taste = tastes[2]
		}
		cs[i] = customer{
			id:        "C-" + strconv.Itoa(100000+i),
			recency:   math.Ceil(12 * rng.Float64()),
			frequency: math.Floor(rng.ExpFloat64() * 3),
			basket:    math.Round(100*math.Exp(3.6+0.5*rng.NormFloat64())) / 100,
			visits:    math.Floor(rng.ExpFloat64() * 4),
			taste:     taste,
			newbie:    rng.Float64() < 0.3,
			email:     rng.Float64() < 0.85,
			push:      rng.Float64() < 0.6,
		}
	}
	return cs
}

// context is what the channel knows when it asks for a decision.
func (c *customer) context() map[string]any {
	return map[string]any{"recency": c.recency, "frequency": c.frequency, "basket": c.basket, "visits": c.visits, "taste": c.taste, "newbie": c.newbie}
}

// attributes is what the channel knows of the customer: identity and consent.
func (c *customer) attributes() map[string]any {
	return map[string]any{"id": c.id, "consent": map[string]any{"email": c.email, "push": c.push}}
}

// likes adds to the log-odds for customers of one department.
func likes(taste string, yes, no float64) func(*customer) float64 {
	return func(c *customer) float64 {
		if c.taste == taste {
			return yes
		}
		return no
	}
}

// actions is the retailer's library, do-nothing among them. The truth is made
// up, but shaped like the real thing: most of the gain is in who gets what.
var actions = []action{
	{id: "do-nothing", buy: func(*customer) float64 { return 0 }, optOut: 0.001},
	{id: "mens-email", channel: "email", goal: "cross_sell", buy: likes("men", 1.7, -0.1), click: 0.05, optOut: 0.005,
		caps: []map[string]any{{"scope": "action", "max": 3, "per": "4s"}}},
	{id: "womens-email", channel: "email", goal: "cross_sell", buy: likes("women", 1.6, -0.1), click: 0.05, optOut: 0.005},
	{id: "kids-email", channel: "email", goal: "cross_sell", buy: likes("kids", 1.9, -0.2), click: 0.04, optOut: 0.005},
	{id: "winback-voucher", channel: "email", goal: "retain", buy: func(c *customer) float64 { return 0.09*c.recency - 0.4 }, click: 0.08, optOut: 0.03,
		eligibility: "context.recency > 6.0", cost: 0.01},
	{id: "loyalty-upgrade", channel: "email", goal: "retain", buy: func(c *customer) float64 { return 0.12*math.Min(c.frequency, 10) - 0.2 }, click: 0.04, optOut: 0.006,
		eligibility: "context.frequency >= 5.0"},
	{id: "free-shipping", channel: "web", goal: "cross_sell", buy: func(c *customer) float64 { return 0.5 - 0.004*c.basket }, click: 0.09, optOut: 0.001,
		eligibility: "context.basket < 60.0"},
	{id: "style-guide", channel: "web", goal: "service", buy: func(*customer) float64 { return 0.3 }, click: 0.12, optOut: 0.001,
		eligibility: "context.taste == 'women'"},
	{id: "bundle-offer", channel: "web", goal: "cross_sell", buy: func(c *customer) float64 { return 0.006*c.basket - 0.1 }, click: 0.06, optOut: 0.001,
		eligibility: "context.basket >= 45.0"},
	{id: "flash-sale", channel: "push", goal: "cross_sell", buy: func(*customer) float64 { return 0 }, click: 0.30, optOut: 0.08, eligibility: "context.visits >= 1.0",
		caps: []map[string]any{{"scope": "channel", "max": 2, "per": "3s"}}},
	{id: "restock-alert", channel: "push", goal: "service", buy: func(c *customer) float64 { return 0.05 * math.Min(c.visits, 10) }, click: 0.10, optOut: 0.012,
		eligibility: "context.visits >= 6.0"},
	{id: "service-survey", channel: "web", goal: "service", buy: func(*customer) float64 { return 0.02 }, click: 0.03, optOut: 0.002,
		eligibility: "context.newbie"},
}

// definition is the action as the platform is told of it: without the truth.
func (a *action) definition() map[string]any {
	d := map[string]any{"goal": a.goal, "owner": "crm"}
	if a.channel != "" {
		d["treatments"] = []map[string]any{{"id": "a", "channel": a.channel, "content": "cms:" + a.id}}
	}
	if a.channel == "email" || a.channel == "push" {
		d["consent"] = []string{a.channel}
	}
	if a.eligibility != "" {
		d["eligibility"] = a.eligibility
	}
	if a.caps != nil {
		d["caps"] = a.caps
	}
	if a.cost != 0 {
		d["cost"] = map[string]any{"per_contact": a.cost}
	}
	return d
}

var actionByID = func() map[string]*action {
	m := map[string]*action{}
	for i := range actions {
		m[actions[i].id] = &actions[i]
	}
	return m
}()

// purchase returns the true probability that the customer buys within the
// window after the action.
func (c *customer) purchase(a *action) float64 {
	logit := -2.7 + 0.05*math.Min(c.visits, 12) + 0.04*math.Min(c.frequency, 10) - 0.05*c.recency + a.buy(c)
	if c.newbie {
		logit -= 0.2
	}
	return 1 / (1 + math.Exp(-logit))
}

// response is what a customer does after one decision.
type response struct {
	click, buy, optOut bool
	revenue            float64
	delay              float64 // of the purchase, as a share of the attribution window
	anonymous          bool    // the till knows the customer but no decision
}

// respond draws the customer's response to an action.
func (c *customer) respond(a *action, rng *rand.Rand) response {
	r := response{
		click:     rng.Float64() < a.click,
		buy:       rng.Float64() < c.purchase(a),
		optOut:    rng.Float64() < a.optOut,
		delay:     0.6 * rng.Float64() * rng.Float64(),
		anonymous: rng.Float64() < 0.3,
	}
	r.revenue = math.Round(100*c.basket*math.Exp(0.4*rng.NormFloat64())) / 100
	return r
}
