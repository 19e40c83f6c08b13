package actions

import (
	"errors"
	"math"
	"testing"
	"time"

	"nextbest"
)

func valid() nextbest.Action {
	return nextbest.Action{ID: "mens-email", Treatments: []nextbest.Treatment{{ID: "a", Channel: "email"}}}
}

// TestCompileProblems breaks one field of a valid action at a time.
func TestCompileProblems(t *testing.T) {
	if _, err := Compile(valid()); err != nil {
		t.Fatalf("the valid action: %v", err)
	}
	nan, negative := math.NaN(), -1.0
	day := nextbest.Duration(24 * time.Hour)
	for field, break_ := range map[string]func(*nextbest.Action){
		"id":                    func(a *nextbest.Action) { a.ID = "Mens E-Mail" },
		"treatments":            func(a *nextbest.Action) { a.Treatments = nil },
		"treatments[0].id":      func(a *nextbest.Action) { a.Treatments[0].ID = "" },
		"treatments[1].id":      func(a *nextbest.Action) { a.Treatments = append(a.Treatments, a.Treatments[0]) },
		"treatments[0].channel": func(a *nextbest.Action) { a.Treatments[0].Channel = "E-Mail" },
		"value":                 func(a *nextbest.Action) { a.Value = &nan },
		"lever":                 func(a *nextbest.Action) { a.Lever = &negative },
		"cost.per_contact":      func(a *nextbest.Action) { a.Cost.PerContact = -1 },
		"consent[0]":            func(a *nextbest.Action) { a.Consent = []string{""} },
		"lifecycle":             func(a *nextbest.Action) { a.Lifecycle = "live" },
		"valid_to":              func(a *nextbest.Action) { a.ValidFrom = time.Unix(10, 0); a.ValidTo = time.Unix(10, 0) },
		"eligibility":           func(a *nextbest.Action) { a.Eligibility = "recency < 3" },
		"caps[0].scope":         func(a *nextbest.Action) { a.Caps = []nextbest.Cap{{Scope: "group", Max: 1, Per: day}} },
		"caps[1].scope": func(a *nextbest.Action) {
			a.Caps = []nextbest.Cap{{Max: 1, Per: day}, {Scope: "week", Max: 1, Per: day}}
		},
		"caps[0].max": func(a *nextbest.Action) { a.Caps = []nextbest.Cap{{Max: 0, Per: day}} },
		"caps[0].per": func(a *nextbest.Action) { a.Caps = []nextbest.Cap{{Max: 1}} },
		"cool_down":   func(a *nextbest.Action) { a.CoolDown = MaxWindow + 1 },
	} {
		a := valid()
		break_(&a)
		_, err := Compile(a)
		var e *nextbest.Error
		if !errors.As(err, &e) || e.Code != nextbest.Invalid || len(e.Problems) != 1 || e.Problems[0].Field != field || e.Problems[0].Message == "" {
			t.Errorf("%s: %v", field, err)
		}
	}
	a := valid()
	a.ID = nextbest.DoNothing
	if _, err := Compile(a); nextbest.CodeOf(err) != nextbest.Invalid {
		t.Errorf("do-nothing was defined: %v", err)
	}
	a.ID, a.Eligibility, a.Lifecycle = "", "1 +", "?"
	var e *nextbest.Error
	if _, err := Compile(a); !errors.As(err, &e) || len(e.Problems) < 3 {
		t.Errorf("three faults, reported: %v", err)
	}
}

func TestWindow(t *testing.T) {
	a := valid()
	if c, _ := Compile(a); c.Capped() || c.Window() != 0 || c.CountsOthers() {
		t.Errorf("an action without limits: %v %v %v", c.Capped(), c.Window(), c.CountsOthers())
	}
	a.CoolDown = nextbest.Duration(time.Hour)
	a.Caps = []nextbest.Cap{{Max: 1, Per: nextbest.Duration(2 * time.Hour)}}
	if c, _ := Compile(a); !c.Capped() || c.Window() != 2*time.Hour || c.CountsOthers() {
		t.Errorf("own limits: %v %v %v", c.Capped(), c.Window(), c.CountsOthers())
	}
	a.Caps[0].Scope = ScopeAll
	if c, _ := Compile(a); !c.CountsOthers() {
		t.Error("a cap on all actions counts others")
	}
}
