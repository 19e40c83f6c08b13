package actions

import (
	"slices"
	"strconv"
	"time"

	"nextbest"
	"nextbest/internal/rules"
)

// Situation is what the eligibility of a call depends on.
type Situation struct {
	Input    *rules.Input       // customer, context and now; its Action is set here
	Now      time.Time          // the same moment as the input's
	Channels []string           // the placement's, in order of preference
	Contacts []nextbest.Contact // the customer's history, in any order
	// Loading says that the history is not complete yet, so that no action
	// with a cap or cool-down may be taken.
	Loading bool
	// Taken are the candidates that earlier slots of the call have drawn, the
	// first slot's first; no slot draws them again.
	Taken []int
}

// Choice is an eligible action with the treatment it would take.
type Choice struct {
	Index     int                 // in the candidates given to Select
	Treatment *nextbest.Treatment // nil for do-nothing
}

// Selection is the outcome of Select. It may be used again.
type Selection struct {
	Eligible []Choice             // in the candidates' order
	Excluded []nextbest.Exclusion // in the candidates' order
}

// Select splits the candidates into the eligible and the excluded. Every
// excluded action carries the first reason that holds, in this order: taken by
// an earlier slot, lifecycle, validity, channel, consent, rule, contact history, caps, cool-down.
// Do-nothing is always eligible. s's slices are reused.
func (s *Selection) Select(candidates []*Compiled, at *Situation) {
	s.Eligible, s.Excluded = s.Eligible[:0], s.Excluded[:0]
	for i, c := range candidates {
		if slot := slices.Index(at.Taken, i); slot >= 0 {
			s.Excluded = append(s.Excluded, nextbest.Exclusion{Action: c.Action.ID, Reason: nextbest.ReasonEarlierSlot, Detail: "slot " + strconv.Itoa(slot+1)})
			continue
		}
		treatment, reason, detail := c.check(at)
		if reason == "" {
			s.Eligible = append(s.Eligible, Choice{Index: i, Treatment: treatment})
		} else {
			s.Excluded = append(s.Excluded, nextbest.Exclusion{Action: c.Action.ID, Reason: reason, Detail: detail})
		}
	}
}

func (c *Compiled) check(at *Situation) (*nextbest.Treatment, nextbest.Reason, string) {
	a := &c.Action
	if a.ID == nextbest.DoNothing {
		return nil, "", ""
	}
	if a.Lifecycle != "" && a.Lifecycle != "active" {
		return nil, nextbest.ReasonLifecycle, a.Lifecycle
	}
	if !a.ValidFrom.IsZero() && at.Now.Before(a.ValidFrom) {
		return nil, nextbest.ReasonNotYetValid, c.notYet
	}
	if !a.ValidTo.IsZero() && !at.Now.Before(a.ValidTo) {
		return nil, nextbest.ReasonExpired, c.expired
	}
	first := c.treatment(at.Channels, 0)
	if first.treatment == nil {
		return nil, nextbest.ReasonChannel, c.channels
	}
	if len(a.Consent) > 0 {
		given, _ := at.Input.Customer["consent"].(map[string]any)
		for _, purpose := range a.Consent {
			if yes, _ := given[purpose].(bool); !yes {
				return nil, nextbest.ReasonConsent, purpose
			}
		}
	}
	if c.rule != nil {
		at.Input.Action = c.variable
		holds, err := c.rule.Eval(at.Input)
		if err != nil {
			return nil, nextbest.ReasonRuleError, err.Error()
		}
		if !holds {
			return nil, nextbest.ReasonRule, ""
		}
	}
	if !c.Capped() {
		return first.treatment, "", ""
	}
	if at.Loading {
		return nil, nextbest.ReasonHistoryLoading, ""
	}
	return c.contactPolicy(at, first)
}

// place is a treatment in one of the placement's channels.
type place struct {
	treatment *nextbest.Treatment
	channel   int // index of its channel
}

// treatment returns the action's first treatment in the first channel, from
// channels[from] on, that it has one for.
func (c *Compiled) treatment(channels []string, from int) place {
	for i := from; i < len(channels); i++ {
		for j := range c.Action.Treatments {
			if t := &c.Action.Treatments[j]; t.Channel == channels[i] {
				return place{t, i}
			}
		}
	}
	return place{channel: len(channels)}
}

// contactPolicy applies caps and cool-down. Where only the caps of a channel
// are reached, the action moves on to its treatment in the next channel.
func (c *Compiled) contactPolicy(at *Situation, first place) (*nextbest.Treatment, nextbest.Reason, string) {
	for i := range c.caps {
		if l := &c.caps[i]; l.scope != ScopeChannel {
			if n := l.count(at, c, ""); n >= l.max {
				return nil, nextbest.ReasonCap, strconv.Itoa(n) + l.words
			}
		}
	}
	if cool := c.Action.CoolDown.Std(); cool > 0 {
		var left time.Duration
		for i := range at.Contacts {
			if k := &at.Contacts[i]; k.Action == c.Action.ID && Counts(k, at.Now) {
				left = max(left, k.Time.Add(cool).Sub(at.Now))
			}
		}
		if left > 0 {
			return nil, nextbest.ReasonCoolDown, left.Round(time.Second).String() + c.coolDown
		}
	}
	var refused string
	for p := first; p.treatment != nil; p = c.treatment(at.Channels, p.channel+1) {
		l, n := c.channelCap(at, p.treatment.Channel)
		if l == nil {
			return p.treatment, "", ""
		}
		if refused == "" {
			refused = strconv.Itoa(n) + l.words + " " + p.treatment.Channel
		}
	}
	return nil, nextbest.ReasonCap, refused
}

// channelCap returns the first cap on the channel that is reached, and its count.
func (c *Compiled) channelCap(at *Situation, channel string) (*limit, int) {
	for i := range c.caps {
		if l := &c.caps[i]; l.scope == ScopeChannel {
			if n := l.count(at, c, channel); n >= l.max {
				return l, n
			}
		}
	}
	return nil, 0
}

// count returns how many contacts fall into the cap's window (now − per, …).
func (l *limit) count(at *Situation, c *Compiled, channel string) int {
	since := at.Now.Add(-l.per)
	n := 0
	for i := range at.Contacts {
		k := &at.Contacts[i]
		switch l.scope { // most contacts are others': this tells sooner than the time
		case ScopeAction:
			if k.Action != c.Action.ID {
				continue
			}
		case ScopeGroup:
			if k.Group != c.Action.Group {
				continue
			}
		case ScopeChannel:
			if k.Channel != channel {
				continue
			}
		}
		if !k.Time.After(since) || !Counts(k, at.Now) {
			continue
		}
		n++
	}
	return n
}

// Counts reports whether a contact counts at a moment: it happened, or it is
// reserved and the reservation has not expired.
func Counts(k *nextbest.Contact, now time.Time) bool {
	return k.Status == nextbest.Contacted || k.Status == nextbest.Reserved && k.Expires.After(now)
}
