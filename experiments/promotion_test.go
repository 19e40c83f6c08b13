package experiments

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"nextbest"
)

var byBob = PromoteRequest{Experiment: "exp-1", Arm: "candidate", Actor: "bob", Reason: "it is better"}

func TestPromote(t *testing.T) {
	p := newPlatform(t)
	p.started(t)
	gates, err := p.Gates(t.Context(), byBob)
	if err != nil || len(gates) != 7 || !Passed(gates) {
		t.Fatalf("%+v %v", gates, err)
	}
	if got, v := p.serves(t); got.Policy.ID != "rules" || v != 1 {
		t.Fatalf("the dry run changed the placement: %+v", got)
	}
	r, err := p.Promote(t.Context(), byBob)
	if err != nil {
		t.Fatal(err)
	}
	if got, v := p.serves(t); got.Policy.String() != "lints@1" || got.Model != 2 || v != 2 || r.Version != 2 {
		t.Errorf("placement serves %+v at version %d, answer %+v", got, v, r)
	}
	var rest map[string]any
	if err := json.Unmarshal(r.Document, &rest); err != nil || rest["slots"] != 1. || rest["objective"] != "value@1" {
		t.Errorf("the rest of the placement: %s", r.Document)
	}
	if r.Actor != "bob" || !strings.Contains(r.Reason, "exp-1") || !strings.Contains(r.Reason, "it is better") {
		t.Errorf("audit: %s, %s", r.Actor, r.Reason)
	}
	if d := p.state(t, "exp-1"); d.Promotion.Evaluation != "e1" {
		t.Errorf("the promotion names evaluation %q", d.Promotion.Evaluation)
	}
	if d := p.state(t, "exp-1"); d.State != Promoted || d.Winner != "candidate" || d.Ended.IsZero() || d.Author != "ann" {
		t.Errorf("experiment %+v", d)
	}
	if _, err := p.Promote(t.Context(), byBob); nextbest.CodeOf(err) != nextbest.Conflict {
		t.Errorf("promoting twice: %v", err)
	}
	st, err := p.Status(t.Context(), "exp-1")
	if err != nil || !st.Serving || st.Evidence.Arm("candidate").Promised.Value != 1 || st.Evidence.Arm("control").Promised != nil {
		t.Errorf("status %+v %v", st, err)
	}
}

// Each gate refuses by itself, with its number and its cure, and changes
// nothing.
func TestGatesRefuse(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(p *platform, q *PromoteRequest)
		says  string
	}{
		GateOffline + " missing":   {func(p *platform, q *PromoteRequest) { q.Evaluation = "other" }, "says nothing"},
		GateOffline:                {func(p *platform, q *PromoteRequest) { p.evaluations.GainLow = -.01 }, "-0.01"},
		GateOffline + " refused":   {func(p *platform, q *PromoteRequest) { p.evaluations.Refusals = []string{"ESS 40"} }, "ESS 40"},
		GateOffline + " elsewhere": {func(p *platform, q *PromoteRequest) { p.evaluations.Placement = "web" }, "web"},
		GateOffline + " of another reward": {func(p *platform, q *PromoteRequest) {
			p.evaluations.Objective.Terms = []nextbest.Term{{Reward: "open", Weight: 1}}
		}, "purchase alone"},
		GateOffline + " of the opposite": {func(p *platform, q *PromoteRequest) {
			p.evaluations.Objective.Terms = []nextbest.Term{{Reward: "purchase", Weight: -1}}
		}, "purchase alone"},
		GateOffline + " of another window":     {func(p *platform, q *PromoteRequest) { p.evaluations.Objective.Window = nextbest.Duration(day) }, "within 14d"},
		GateOffline + " over another policy":   {func(p *platform, q *PromoteRequest) { p.evaluations.Ran = []string{"old@1"} }, "compares with old@1"},
		GateOffline + " over several policies": {func(p *platform, q *PromoteRequest) { p.evaluations.Ran = []string{"lints@1", "rules@1"} }, "evaluate again on rows that rules@1 alone decided"},
		GateOffline + " over an import":        {func(p *platform, q *PromoteRequest) { p.evaluations.Ran = []string{""} }, "an imported log"},
		GateOffline + " after many":            {func(p *platform, q *PromoteRequest) { p.evaluations.GainLow, p.evaluations.Look = -.01, 3 }, "number 3"},
		GateLive: {func(p *platform, q *PromoteRequest) {
			p.journal.fill(8000, map[string]int{"control": 10, "candidate": 10}, map[string]int{"control": 5, "candidate": 5})
		}, "e-value"},
		GateGuardrails: {func(p *platform, q *PromoteRequest) {
			p.journal.fill(8000, map[string]int{"control": 10, "candidate": 15}, map[string]int{"control": 5, "candidate": 15})
		}, "opt_out is harmed"},
		GateGuardrails + " undecided": {func(p *platform, q *PromoteRequest) {
			p.journal.fill(8000, map[string]int{"control": 10, "candidate": 15}, map[string]int{"control": 1, "candidate": 1})
		}, "wait: more conversions"},
		GateSampleRatio: {func(p *platform, q *PromoteRequest) {
			kept := p.journal.enrolled[:0]
			for i, e := range p.journal.enrolled {
				if e.Arm == "candidate" || i%4 == 0 {
					kept = append(kept, e)
				}
			}
			p.journal.enrolled = kept
		}, "share of 0.5"},
		GatePropensity:   {func(p *platform, q *PromoteRequest) { p.evaluations.Calibration.Worst = -9 }, "-9"},
		GateDuration:     {func(p *platform, q *PromoteRequest) { p.clock = start.Add(14*day - time.Second) }, "2026-03-16"},
		GateSecondPerson: {func(p *platform, q *PromoteRequest) { q.Actor = "ann" }, "ann"},
	} {
		t.Run(name, func(t *testing.T) {
			gate, _, _ := strings.Cut(name, " ")
			p := newPlatform(t)
			p.started(t)
			q := byBob
			c.spoil(p, &q)
			_, err := p.Promote(t.Context(), q)
			var refused *RefusedError
			if !errors.As(err, &refused) || nextbest.CodeOf(err) != nextbest.Conflict || len(refused.Gates) != 7 {
				t.Fatalf("%v", err)
			}
			for _, g := range refused.Gates {
				if g.Name == gate && (g.Passed || g.Cure == "" || g.Needs == "") {
					t.Errorf("%+v", g)
				}
				if g.Passed && g.Cure != "" {
					t.Errorf("a passed gate has a cure: %+v", g)
				}
			}
			if !strings.Contains(err.Error(), "gates."+gate) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v does not say %q of %s", err, c.says, gate)
			}
			if _, v := p.serves(t); v != 1 || p.state(t, "exp-1").State != Running || p.state(t, "exp-1").Promotion != nil {
				t.Error("a refusal changed something")
			}
		})
	}
}

// A crash, or an answer that got lost, at any write of a promotion: whoever
// looks next finishes it, once.
func TestPromotionSurvivesCrashes(t *testing.T) {
	away := nextbest.Errorf(nextbest.Unavailable, "the registry is away")
	for write := 1; write <= 3; write++ {
		for _, applied := range []bool{false, true} {
			p := newPlatform(t)
			p.started(t)
			n := 0
			fail := func(nextbest.Change) error {
				if n++; n >= write { // from here on nothing works: the process is dead
					return away
				}
				return nil
			}
			if applied {
				p.registry.after = fail
			} else {
				p.registry.before = fail
			}
			_, err := p.Promote(t.Context(), byBob)
			if nextbest.CodeOf(err) != nextbest.Unavailable {
				t.Fatalf("write %d, applied %t: %v", write, applied, err)
			}
			p.registry.before, p.registry.after = nil, nil
			p.clock = p.clock.Add(time.Hour)
			for range 2 {
				if err := p.Check(t.Context()); err != nil {
					t.Fatalf("write %d, applied %t: %v", write, applied, err)
				}
			}
			got, version := p.serves(t)
			d := p.state(t, "exp-1")
			if write == 1 && !applied {
				if version != 1 || d.State != Running || d.Promotion != nil {
					t.Errorf("nothing was written, yet %+v %s", got, d.State)
				}
				continue
			}
			if got.Policy.String() != "lints@1" || version != 2 || d.State != Promoted || d.Winner != "candidate" {
				t.Errorf("write %d, applied %t: placement %+v at version %d, experiment %s", write, applied, got, version, d.State)
			}
		}
	}
}

// Somebody changes the placement after the intention was recorded, either
// before the promotion is written or while it is: the change stands, the
// experiment goes on.
func TestPromotionLosesToAnotherChange(t *testing.T) {
	for _, during := range []nextbest.Kind{nextbest.KindExperiment, nextbest.KindPlacement} {
		p := newPlatform(t)
		p.started(t)
		interfere := func(c nextbest.Change) error {
			if c.Kind == during {
				p.registry.before, p.registry.after = nil, nil
				p.registry.mu.Unlock()
				p.put(t, nextbest.KindPlacement, "email", `{"objective":"value@1","policy":"rules@1","actions":["do-nothing"]}`)
				p.registry.mu.Lock()
			}
			return nil
		}
		if during == nextbest.KindExperiment {
			p.registry.after = interfere
		} else {
			p.registry.before = interfere
		}
		_, err := p.Promote(t.Context(), byBob)
		if nextbest.CodeOf(err) != nextbest.Conflict || !strings.Contains(err.Error(), "changed by root") {
			t.Fatalf("during the write of %s: %v", during, err)
		}
		got, version := p.serves(t)
		if d := p.state(t, "exp-1"); got.Policy.ID != "rules" || version != 2 || d.State != Running || d.Promotion != nil {
			t.Errorf("during the write of %s: placement %+v at version %d, experiment %+v", during, got, version, d)
		}
		if _, err := p.Promote(t.Context(), byBob); err != nil {
			t.Errorf("a second try: %v", err)
		}
	}
}

// A promotion that the registry refuses to write does not leave the experiment
// waiting for it.
func TestPromotionThatCannotBeWritten(t *testing.T) {
	for _, code := range []nextbest.Code{nextbest.Invalid, nextbest.Conflict} {
		p := newPlatform(t)
		p.started(t)
		p.registry.before = func(c nextbest.Change) error {
			if c.Kind == nextbest.KindPlacement {
				return nextbest.Errorf(code, "the policy needs a feature that the placement does not send")
			}
			return nil
		}
		if _, err := p.Promote(t.Context(), byBob); nextbest.CodeOf(err) != nextbest.Conflict || !strings.Contains(err.Error(), "needs a feature") {
			t.Errorf("%s: %v", code, err)
		}
		if d := p.state(t, "exp-1"); d.State != Running || d.Promotion != nil {
			t.Errorf("%s: experiment %+v", code, d)
		}
		if _, err := p.Stop(t.Context(), "exp-1", "ann", ""); err != nil {
			t.Error(err)
		}
	}
}

func TestConcurrentPromotions(t *testing.T) {
	p := newPlatform(t)
	p.started(t)
	const callers = 8
	var wg sync.WaitGroup
	errs := make([]error, callers)
	for i := range callers {
		wg.Go(func() {
			if i%4 == 3 {
				errs[i] = p.Check(context.Background())
				return
			}
			_, errs[i] = p.Promote(context.Background(), byBob)
		})
	}
	wg.Wait()
	promoted := 0
	for i, err := range errs {
		switch {
		case i%4 == 3 && err != nil:
			t.Errorf("watch: %v", err)
		case i%4 == 3:
		case err == nil:
			promoted++
		case nextbest.CodeOf(err) != nextbest.Conflict:
			t.Errorf("promotion %d: %v", i, err)
		}
	}
	if _, version := p.serves(t); promoted != 1 || version != 2 || p.state(t, "exp-1").State != Promoted {
		t.Errorf("%d promotions succeeded, the placement is at version %d, the experiment %s", promoted, version, p.state(t, "exp-1").State)
	}
}

// What beat a control that the placement serves no more has not beaten what it
// would replace.
func TestPromotionNeedsTheControlToBeServed(t *testing.T) {
	p := newPlatform(t)
	p.started(t)
	serving := func(policy string) {
		p.put(t, nextbest.KindPlacement, "email", `{"channels":["email"],"objective":"value@1","actions":["mail","do-nothing"],"policy":"`+policy+`","model":0,"slots":1}`)
	}
	serving("lints@1")
	_, err := p.Promote(t.Context(), byBob)
	if err == nil || !strings.Contains(err.Error(), "gates."+GateLive) || !strings.Contains(err.Error(), "serves lints@1 model 0") {
		t.Errorf("promoted over a policy that the candidate was never compared with: %v", err)
	}
	serving("rules@1")
	if _, err := p.Promote(t.Context(), byBob); err != nil {
		t.Errorf("with the control back in place: %v", err)
	}
}

// With a model, rows of the same policy version count only from when that model
// began to serve.
func TestOfflineGateKnowsTheServingModel(t *testing.T) {
	p := newPlatform(t)
	for _, model := range []string{"1", "2"} {
		p.clock = p.clock.Add(time.Minute)
		p.put(t, nextbest.KindPlacement, "email", `{"channels":["email"],"objective":"value@1","actions":["mail","do-nothing"],"policy":"lints@1","model":`+model+`}`)
	}
	began := p.clock
	p.clock = p.clock.Add(time.Minute)
	p.put(t, nextbest.KindPlacement, "email", `{"channels":["email"],"objective":"value@1","actions":["mail"],"policy":"lints@1","model":2}`)
	r, serving, _, err := p.placement("email")
	if err != nil || !p.since(r, serving).Equal(began) {
		t.Errorf("serves since %s, want %s, %v", p.since(r, serving), began, err)
	}
	c := Case{Serving: "lints@1", Since: began, Definition: &Definition{Placement: "email", Arms: []Arm{{ID: "a", Policy: nextbest.Ref{ID: "new", Version: 1}}},
		Window: nextbest.Duration(day), Primary: Metric{Reward: "purchase"}}, Arm: "a",
		Offline: &OfflineEvidence{Placement: "email", Policy: nextbest.Ref{ID: "new", Version: 1}, GainLow: 1, Ran: []string{"lints@1"},
			Objective: nextbest.Objective{Terms: []nextbest.Term{{Reward: "purchase", Weight: 1}}, Window: nextbest.Duration(day)}}}
	for first, want := range map[time.Time]bool{began: true, began.Add(-time.Second): false} {
		c.Offline.First = first
		if g := c.offline(); g.Passed != want {
			t.Errorf("rows from %s on, served since %s: %+v", first, began, g)
		}
	}
}
