package actions

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"nextbest"
	"nextbest/internal/rules"
)

// MaxWindow is the longest window of a cap or cool-down.
const MaxWindow = nextbest.Duration(366 * 24 * time.Hour)

// The scopes of a cap: what its count runs over.
const (
	ScopeAction  = "action"  // contacts by the same action
	ScopeGroup   = "group"   // contacts by any action of the group
	ScopeChannel = "channel" // contacts in the channel of the action's treatment
	ScopeAll     = "all"     // every contact
)

// Compiled is an action ready to be selected. It is immutable and safe for
// concurrent use.
type Compiled struct {
	Action nextbest.Action
	// Scale and Offset turn a predicted response into the score that is
	// arbitrated: Scale × response + Offset, with Scale = value × lever and
	// Offset = −cost per contact. The score is affine in the model's output, so
	// that a Gaussian prediction stays Gaussian.
	Scale, Offset float64

	rule     *rules.Rule    // nil: always
	variable map[string]any // the variable action of rules
	caps     []limit
	coolDown string // the cool-down in words
	notYet   string // details of the validity reasons
	expired  string
	channels string
}

type limit struct {
	scope string
	max   int
	per   time.Duration
	words string // " of 2 in 7d", and the scope where it is not the action's own
}

// Compile validates an action's definition. The error is nextbest.Invalid and
// lists every field that is wrong.
func Compile(a nextbest.Action) (*Compiled, error) {
	var p nextbest.Problems
	if !nextbest.ValidID(a.ID) {
		p.Add("id", "%q must be 1 to 63 lower-case letters, digits, hyphens and underscores, the first a letter or digit", a.ID)
	}
	if a.ID == nextbest.DoNothing {
		p.Add("id", "%s exists on every platform and cannot be defined; name it in placements", nextbest.DoNothing)
	}
	c := &Compiled{Action: a, Scale: 1, Offset: 0 - a.Cost.PerContact}
	validateTreatments(&p, a.Treatments)
	for _, f := range []struct {
		name string
		v    *float64
	}{{"value", a.Value}, {"lever", a.Lever}, {"cost.per_contact", &a.Cost.PerContact}} {
		if f.v != nil && (math.IsNaN(*f.v) || math.IsInf(*f.v, 0) || math.Abs(*f.v) > 1e12) {
			p.Add(f.name, "%v must be a number between -1e12 and 1e12", *f.v)
		}
	}
	if a.Value != nil {
		c.Scale = *a.Value
	}
	if a.Lever != nil {
		if *a.Lever < 0 {
			p.Add("lever", "%v must not be negative; to hold an action back choose a lever below 1, to stop it pause it", *a.Lever)
		}
		c.Scale *= *a.Lever
	}
	if a.Cost.PerContact < 0 {
		p.Add("cost.per_contact", "%v must not be negative", a.Cost.PerContact)
	}
	for i, purpose := range a.Consent {
		if purpose == "" || strings.ContainsAny(purpose, " \t\r\n") {
			p.Add(fmt.Sprintf("consent[%d]", i), "%q must be the name of a purpose, such as email", purpose)
		}
	}
	c.compileCaps(&p)
	switch a.Lifecycle {
	case "", "active", "paused", "retired":
	default:
		p.Add("lifecycle", "%q must be active, paused or retired", a.Lifecycle)
	}
	if !a.ValidFrom.IsZero() && !a.ValidTo.IsZero() && !a.ValidFrom.Before(a.ValidTo) {
		p.Add("valid_to", "%s must be after valid_from %s", a.ValidTo.Format(time.RFC3339), a.ValidFrom.Format(time.RFC3339))
	}
	if a.Eligibility != "" {
		var err error
		c.rule, err = rules.Compile(a.Eligibility)
		AddRuleProblems(&p, "eligibility", err)
	}
	if err := p.Err("action " + a.ID); err != nil {
		return nil, err
	}
	c.describe()
	return c, nil
}

// AddRuleProblems records what rules.Compile refused in the rule at field.
func AddRuleProblems(p *nextbest.Problems, field string, err error) {
	var e *rules.CompileError
	if errors.As(err, &e) {
		for _, r := range e.Problems {
			*p = append(*p, nextbest.Problem{Field: field, Message: fmt.Sprintf("line %d, column %d: %s", r.Line, r.Column, r.Message), Cure: r.Cure})
		}
	} else if err != nil {
		p.Add(field, "%v", err)
	}
}

// DoNothing returns the action that every placement has: no treatment, no cost,
// always eligible.
func DoNothing() *Compiled {
	c := &Compiled{Action: nextbest.Action{ID: nextbest.DoNothing}, Scale: 1}
	c.describe()
	return c
}

func validateTreatments(p *nextbest.Problems, treatments []nextbest.Treatment) {
	if len(treatments) == 0 {
		p.Add("treatments", "at least one treatment is needed, such as {\"id\":\"a\",\"channel\":\"email\"}: an action without one can never be taken")
	}
	seen := map[string]bool{}
	for i, t := range treatments {
		at := fmt.Sprintf("treatments[%d]", i)
		if !nextbest.ValidID(t.ID) {
			p.Add(at+".id", "%q must be lower-case letters, digits, hyphens and underscores", t.ID)
		}
		if seen[t.ID] {
			p.Add(at+".id", "%q is used twice", t.ID)
		}
		seen[t.ID] = true
		if !nextbest.ValidID(t.Channel) {
			p.Add(at+".channel", "%q must be lower-case letters, digits, hyphens and underscores, such as email", t.Channel)
		}
	}
}

func (c *Compiled) compileCaps(p *nextbest.Problems) {
	window := func(field string, d nextbest.Duration) {
		if d > MaxWindow {
			p.Add(field, "%s is longer than the contact history, %s", d, MaxWindow)
		}
	}
	for i, k := range c.Action.Caps {
		at := fmt.Sprintf("caps[%d]", i)
		l := limit{scope: k.Scope, max: k.Max, per: k.Per.Std(), words: fmt.Sprintf(" of %d in %s", k.Max, k.Per)}
		switch k.Scope {
		case "", ScopeAction:
			l.scope = ScopeAction
		case ScopeGroup:
			l.words += " by group " + c.Action.Group
			if c.Action.Group == "" {
				p.Add(at+".scope", "a cap on the group needs the action's group, and it has none")
			}
		case ScopeChannel:
			l.words += " by channel"
		case ScopeAll:
			l.words += " by all actions"
		default:
			p.Add(at+".scope", "%q must be action, group, channel or all", k.Scope)
		}
		if k.Max < 1 || k.Max > 10_000 {
			p.Add(at+".max", "%d must be between 1 and 10000; pause the action to stop it", k.Max)
		}
		if k.Per <= 0 {
			p.Add(at+".per", "a window is needed, such as 7d")
		}
		window(at+".per", k.Per)
		c.caps = append(c.caps, l)
	}
	window("cool_down", c.Action.CoolDown)
}

// describe prepares what is the same in every call.
func (c *Compiled) describe() {
	a := &c.Action
	c.variable = map[string]any{
		"id": a.ID, "goal": a.Goal, "group": a.Group, "owner": a.Owner,
		"value": or1(a.Value), "lever": or1(a.Lever), "cost": a.Cost.PerContact,
	}
	c.coolDown = " left of " + a.CoolDown.String()
	c.notYet = "from " + a.ValidFrom.UTC().Format(time.RFC3339)
	c.expired = "since " + a.ValidTo.UTC().Format(time.RFC3339)
	for i, t := range a.Treatments {
		if i > 0 {
			c.channels += ", "
		}
		c.channels += t.Channel
	}
	c.channels = "only " + c.channels
}

func or1(v *float64) float64 {
	if v == nil {
		return 1
	}
	return *v
}

// Variable returns the variable action that rules see; it must not be changed.
func (c *Compiled) Variable() map[string]any { return c.variable }

// Capped reports whether the contact history bears on the action's eligibility.
func (c *Compiled) Capped() bool { return len(c.caps) > 0 || c.Action.CoolDown > 0 }

// CountsOthers reports whether one of the action's caps counts contacts by
// other actions.
func (c *Compiled) CountsOthers() bool {
	for _, l := range c.caps {
		if l.scope != ScopeAction {
			return true
		}
	}
	return false
}

// Window returns how far back the action's caps and cool-down look.
func (c *Compiled) Window() time.Duration {
	w := c.Action.CoolDown.Std()
	for _, l := range c.caps {
		w = max(w, l.per)
	}
	return w
}
