package nextbest

import "time"

// DoNothing is the action of leaving the customer alone. It exists on every
// platform, has no treatment and no cost, and is always eligible.
const DoNothing = "do-nothing"

// Action is one thing that can be done for a customer.
type Action struct {
	ID         string      `json:"id,omitempty"`
	Goal       string      `json:"goal,omitempty"`  // what it is for: cross_sell, retain, service …
	Group      string      `json:"group,omitempty"` // contact caps may count a whole group
	Treatments []Treatment `json:"treatments,omitempty"`
	Value      *float64    `json:"value,omitempty"` // worth of one unit of predicted response; 1 when absent
	Lever      *float64    `json:"lever,omitempty"` // business weight, multiplies the value; 1 when absent
	Cost       Cost        `json:"cost,omitzero"`
	// Eligibility is a CEL expression over customer, context, action and now;
	// empty means always true.
	Eligibility string `json:"eligibility,omitempty"`
	// Consent names the purposes the customer must have agreed to, looked up in
	// customer.consent; anything but true is a refusal.
	Consent   []string  `json:"consent,omitempty"`
	Caps      []Cap     `json:"caps,omitempty"`
	CoolDown  Duration  `json:"cool_down,omitempty"` // least time between two contacts by this action
	ValidFrom time.Time `json:"valid_from,omitzero"`
	ValidTo   time.Time `json:"valid_to,omitzero"`
	Lifecycle string    `json:"lifecycle,omitempty"` // active (when absent), paused or retired
	Owner     string    `json:"owner,omitempty"`
}

// Treatment is an action's variant in a channel.
type Treatment struct {
	ID      string `json:"id"`
	Channel string `json:"channel"`
	Content string `json:"content,omitempty"` // reference to the content system
}

// Cost is what an action costs, in the unit of the objective.
type Cost struct {
	PerContact float64 `json:"per_contact,omitempty"`
}

// Cap limits how often one customer is contacted within a sliding window.
type Cap struct {
	Scope string   `json:"scope,omitempty"` // action (when absent), group, channel or all
	Max   int      `json:"max"`
	Per   Duration `json:"per"`
}
