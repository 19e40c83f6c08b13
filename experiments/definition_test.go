package experiments

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"nextbest"
)

const valid = `{"placement":"email-daily",
	"arms":[{"id":"control","policy":"rules@1","model":0,"share":0.5,"control":true},{"id":"candidate","policy":"lints@3","model":2,"share":0.5,"learning":"frozen"}],
	"primary":{"reward":"purchase","kind":"conversion"},
	"guardrails":[{"reward":"opt_out","harm":"increase","margin":0.1},{"reward":"purchase","kind":"value","harm":"decrease","margin":0.5,"cap":100,"window":"7d"}],
	"alpha":0.05,"window":"14d","minimum_duration":"14d","ramp":0.5,"set_aside":false,"salt":"x1","evaluation":"eval-1","author":"ann","state":"draft"}`

func mustParse(t testing.TB, document string) *Definition {
	t.Helper()
	d, err := Parse([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestParseFillsDefaultsAndRoundTrips(t *testing.T) {
	d := mustParse(t, valid)
	if d.RollbackAlpha != .05 || d.PlannedCustomers != 10000 || d.Arms[0].Learning != "frozen" {
		t.Errorf("defaults: %+v", d)
	}
	if g := d.Guardrails; g[0].Kind != Conversion || g[0].Window != d.Window || g[1].Window.String() != "7d" {
		t.Errorf("guardrails: %+v", g)
	}
	again := mustParse(t, string(d.Document()))
	if string(again.Document()) != string(d.Document()) {
		t.Errorf("round trip:\n%s\n%s", d.Document(), again.Document())
	}
}

func TestParseNamesWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ old, new, field string }{
		{`"salt":"x1"`, `"salt":""`, "salt"},
		{`"salt":"x1"`, `"salz":"x1"`, "salz"},
		{`"alpha":0.05`, `"alpha":0`, "alpha"},
		{`"alpha":0.05`, `"alpha":"high"`, "alpha"},
		{`"ramp":0.5`, `"ramp":1.5`, "ramp"},
		{`"window":"14d","minimum`, `"window":"0s","minimum`, "window"},
		{`"window":"7d"`, `"window":"15d"`, "guardrails[1].window"},
		{`"minimum_duration":"14d"`, `"minimum_duration":"0s"`, "minimum_duration"},
		{`"share":0.5,"control"`, `"share":0.4,"control"`, "arms"},
		{`"control":true`, `"control":false`, "arms"},
		{`"share":0.5,"learning"`, `"share":0.5,"control":true,"learning"`, "arms"},
		{`"id":"candidate"`, `"id":"control"`, "arms[1].id"},
		{`"id":"candidate"`, `"id":"holdout"`, "arms[1].id"},
		{`"id":"candidate"`, `"id":"Über"`, "arms[1].id"},
		{`"lints@3"`, `"lints"`, "arms[1].policy"},
		{`"frozen"`, `"warm"`, "arms[1].learning"},
		{`"kind":"conversion"`, `"kind":"mean"`, "primary.kind"},
		{`"kind":"conversion"`, `"kind":"value"`, "primary.cap"},
		{`"margin":0.1`, `"margin":0`, "guardrails[0].margin"},
		{`"harm":"increase"`, `"harm":"both"`, "guardrails[0].harm"},
		{`"margin":0.5,"cap":100`, `"margin":200,"cap":100`, "guardrails[1].margin"},
		{`"placement":"email-daily"`, `"placement":"email-daily@2"`, "placement"},
		{`"state":"draft"`, `"state":"in_review"`, "state"},
	} {
		document := strings.Replace(valid, c.old, c.new, 1)
		if document == valid {
			t.Fatalf("%s is not in the document", c.old)
		}
		_, err := Parse([]byte(document))
		var e *nextbest.Error
		if !errors.As(err, &e) || e.Code != nextbest.Invalid {
			t.Errorf("%s: error %v", c.new, err)
			continue
		}
		if !slices.ContainsFunc(e.Problems, func(p nextbest.Problem) bool { return p.Field == c.field }) {
			t.Errorf("%s: %v names no %s", c.new, err, c.field)
		}
	}
	for _, document := range []string{``, `[]`, `{`, valid + `{}`, `null`} {
		if _, err := Parse([]byte(document)); nextbest.CodeOf(err) != nextbest.Invalid {
			t.Errorf("%q: %v", document, err)
		}
	}
}

func TestCheckObjective(t *testing.T) {
	d := mustParse(t, valid)
	if err := d.CheckObjective(&nextbest.Objective{Window: d.Window}); err != nil {
		t.Error(err)
	}
	if err := d.CheckObjective(&nextbest.Objective{Window: d.Window + 1}); err == nil || !strings.Contains(err.Error(), "window") {
		t.Errorf("another window: %v", err)
	}
}

func TestTransitions(t *testing.T) {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	intend := func(d Definition) (Definition, error) { return d.Intend(Promotion{Arm: "candidate", Actor: "bob"}) }
	actions := map[string]func(Definition) (Definition, error){
		"start":     func(d Definition) (Definition, error) { return d.Start(now) },
		"ramp":      func(d Definition) (Definition, error) { return d.Grow(.8) },
		"intend":    intend,
		"promote":   func(d Definition) (Definition, error) { return d.Promote(now) },
		"stop":      func(d Definition) (Definition, error) { return d.Stop(now) },
		"roll back": func(d Definition) (Definition, error) { return d.RollBack(now) },
	}
	draft := *mustParse(t, valid)
	running, err := draft.Start(now)
	if err != nil {
		t.Fatal(err)
	}
	promoting, err := intend(running)
	if err != nil {
		t.Fatal(err)
	}
	promoted, err := promoting.Promote(now)
	if err != nil {
		t.Fatal(err)
	}
	stopped, _ := running.Stop(now)
	back, _ := running.RollBack(now)
	if promoted.Winner != "candidate" || !promoted.Ended.Equal(now) || stopped.State != Stopped || back.State != RolledBack {
		t.Errorf("ends: %+v %+v %+v", promoted, stopped, back)
	}
	for _, c := range []struct {
		name    string
		from    Definition
		allowed []string
	}{
		{"draft", draft, []string{"start"}},
		{"running", running, []string{"ramp", "intend", "stop", "roll back"}},
		{"promoting", promoting, []string{"promote"}},
		{"promoted", promoted, nil},
		{"stopped", stopped, nil},
		{"rolled back", back, nil},
	} {
		for name, act := range actions {
			before := string(c.from.Document())
			_, err := act(c.from)
			if allowed := slices.Contains(c.allowed, name); allowed != (err == nil) {
				t.Errorf("%s of a %s experiment: %v", name, c.name, err)
			}
			if err != nil && name != "promote" && nextbest.CodeOf(err) != nextbest.Conflict {
				t.Errorf("%s of a %s experiment: code %s", name, c.name, nextbest.CodeOf(err))
			}
			if string(c.from.Document()) != before {
				t.Errorf("%s changed its argument", name)
			}
		}
	}
	if _, err := running.Grow(.4); nextbest.CodeOf(err) != nextbest.Invalid {
		t.Errorf("a shrinking ramp: %v", err)
	}
	for _, arm := range []string{"control", "other"} {
		if _, err := running.Intend(Promotion{Arm: arm}); nextbest.CodeOf(err) != nextbest.Invalid {
			t.Errorf("promotion of %s: %v", arm, err)
		}
	}
}

func TestCheckChange(t *testing.T) {
	draft := mustParse(t, valid)
	if err := CheckChange(nil, draft); err != nil {
		t.Error(err)
	}
	running, _ := draft.Start(time.Now())
	if err := CheckChange(&running, draft); nextbest.CodeOf(err) != nextbest.Conflict || !strings.Contains(err.Error(), "running") {
		t.Errorf("change of a running experiment: %v", err)
	}
	if err := CheckChange(draft, &running); nextbest.CodeOf(err) != nextbest.Invalid {
		t.Errorf("a start by hand: %v", err)
	}
	var any map[string]any
	if err := json.Unmarshal(draft.Document(), &any); err != nil || any["started"] != nil {
		t.Errorf("a draft's document has a start: %v %v", any["started"], err)
	}
}
