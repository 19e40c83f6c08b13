package decisions

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"nextbest"
)

// TestUpdateReuses checks that a change compiles what changed and takes over
// the rest, and that the old catalogue goes on as it was.
func TestUpdateReuses(t *testing.T) {
	d := shop(t, "lints", 1)
	before := d.compile()
	loads := 0
	blobs := func(hash string) ([]byte, error) { loads++; return d.blob(hash) }
	d.put(nextbest.KindAction, "mens", `{"treatments":[{"id":"new","channel":"email"}]}`)
	after, err := before.Update(d.records, blobs)
	if err != nil {
		t.Fatal(err)
	}
	old, now := before.placements["email"], after.placements["email"]
	if old.actions[2] != now.actions[2] || old.actions[1] == now.actions[1] {
		t.Error("sale was compiled again, or mens was not")
	}
	if old.policy.arm != now.policy.arm || loads != 0 {
		t.Errorf("the model was loaded again: %d loads", loads)
	}
	if before.pseudonyms != after.pseudonyms {
		t.Error("the pseudonyms were made again")
	}
	if old.actions[1].Action.Treatments[0].ID != "a" || before.Revision+1 != after.Revision {
		t.Error("the old catalogue changed")
	}
	// A replay looks up the action of its time.
	if a := after.action("mens", before.Revision); a == nil || a.Action.Treatments[0].ID != "a" {
		t.Errorf("mens at revision %d: %+v", before.Revision, a)
	}
	if a := after.action("mens", after.Revision); a == nil || a.Action.Treatments[0].ID != "new" {
		t.Errorf("mens now: %+v", a)
	}
	if a := after.action("mens", 1); a != nil {
		t.Errorf("mens before it was defined: %+v", a)
	}
	if c, err := Compile(append(slices.Clone(d.records), nextbest.Record{Kind: nextbest.KindAction, ID: "mens", Version: 1, Revision: 99}), blobs); c != nil || err == nil {
		t.Error("one version at two revisions was accepted")
	}
}

// TestBrokenPlacementIsAlone loses a model's parameters: its placement says so,
// the other one decides.
func TestBrokenPlacementIsAlone(t *testing.T) {
	d := shop(t, "lints", 1)
	d.put(nextbest.KindPlacement, "web", `{"channels":["email"],"objective":"value@1","actions":["mens"],"policy":"uniform@1"}`)
	d.blobs = map[string][]byte{}
	c, err := Compile(d.records, d.blob)
	if err != nil {
		t.Fatal(err)
	}
	if b := c.Broken(); len(b) != 1 || b[0].Field != "placements/email" || !strings.Contains(b[0].Message, "blob") {
		t.Errorf("broken: %+v", b)
	}
	p := newWorld(c).pipeline(t)
	if _, err := p.Decide(t.Context(), call("C-1")); nextbest.CodeOf(err) != nextbest.Unavailable || !strings.Contains(err.Error(), "blob") {
		t.Errorf("email: %v", err)
	}
	web := call("C-1")
	web.Placement = "web"
	if _, err := p.Decide(t.Context(), web); err != nil {
		t.Errorf("web: %v", err)
	}
}

// TestParametersAwayChangeNothing lets the blob store fail for a moment: the
// update is refused, and succeeds later.
func TestParametersAwayChangeNothing(t *testing.T) {
	d := shop(t, "uniform", 0)
	before := d.compile()
	d.place("lints", 1)
	away := func(string) ([]byte, error) { return nil, nextbest.Errorf(nextbest.Unavailable, "no responders") }
	if c, err := before.Update(d.records, away); c != nil || nextbest.CodeOf(err) != nextbest.Unavailable {
		t.Errorf("away: %v, %v", c, err)
	}
	if c, err := before.Update(d.records, d.blob); err != nil || c.placements["email"].policy.model != 1 {
		t.Errorf("back: %v", err)
	}
}

func TestOnlineLearningServesTheCurrentModel(t *testing.T) {
	d := shop(t, "uniform", 0)
	d.model(nextbest.Ref{ID: "ucb", Version: 1}, []string{"mens"}, 5)
	d.put(nextbest.KindPlacement, "email", `{"channels":["email"],"objective":"value@1","actions":["mens"],"policy":"ucb@1","learning":"online"}`)
	if m := d.compile().placements["email"].policy.model; m != 0 {
		t.Errorf("before anything is published: model %d", m)
	}
	d.put(nextbest.KindCurrent, "ucb.1", `{"model":1}`)
	if m := d.compile().placements["email"].policy.model; m != 1 {
		t.Errorf("model %d, want 1", m)
	}
	d.put(nextbest.KindCurrent, "ucb.1", `{"model":2}`)
	if m := d.compile().placements["email"].policy.model; m != 2 {
		t.Errorf("model %d, want 2", m)
	}
}

// TestValidate makes changes that must be refused, each by the field or code.
func TestValidate(t *testing.T) {
	d := shop(t, "lints", 1).holdout(0.1).experiment("running", `,"ramp":0.5`)
	d.put(nextbest.KindFeatures, "wide", `{"features":[{"name":"a","type":"boolean"}]}`)
	d.put(nextbest.KindPolicy, "wide", `{"algorithm":"linucb","features":"wide@1"}`)
	c := d.compile()
	placement := func(set string) string {
		return strings.Replace(`{"channels":["email"],"objective":"value@1","actions":["mens"],"policy":"uniform@1","SET"}`, `"SET"`, set, 1)
	}
	arms := func(set string) string {
		return fmt.Sprintf(`{"placement":"email","arms":[{"id":"control","policy":"rules@1","share":0.5,"control":true},%s],"primary":{"reward":"purchase"},"window":"14d","salt":"x2"}`, set)
	}
	running := string(d.records[slices.IndexFunc(d.records, func(r nextbest.Record) bool { return r.Kind == nextbest.KindExperiment })].Document)
	for _, x := range []struct {
		kind     nextbest.Kind
		id       string
		document string
		want     string // a field, or a code
	}{
		{nextbest.KindAction, "Mens", `{}`, "id"},
		{nextbest.KindAction, "do-nothing", `{"treatments":[{"id":"a","channel":"email"}]}`, "id"},
		{nextbest.KindAction, "mens", `{"treatments":[{"id":"a","channel":"email"}],"colour":"red"}`, "colour"},
		{nextbest.KindAction, "mens", `{"treatments":"a"}`, "treatments"},
		{nextbest.KindAction, "mens", `{"treatments":[]} {}`, "invalid"},
		{nextbest.KindAction, "mens", `{"treatments":[{"id":"a","channel":"email"}],"cool_down":"soon"}`, "invalid"},
		{nextbest.KindAction, "mens", `{"id":"womens","treatments":[{"id":"a","channel":"email"}]}`, "id"},
		{nextbest.KindAction, "mens", `{"treatments":[{"id":"a","channel":"email"}],"eligibility":"customer.id == 'x'"}`, "eligibility"},
		{nextbest.KindAction, "mens", ``, "placements/email"},
		{nextbest.KindObjective, "value", `{"terms":[],"window":"14d"}`, "terms"},
		{nextbest.KindObjective, "value", `{"terms":[{"reward":"a","weight":0}],"window":"14d"}`, "terms[0].weight"},
		{nextbest.KindObjective, "value", `{"terms":[{"reward":"a","weight":1},{"reward":"a","weight":2}],"window":"14d"}`, "terms[1].reward"},
		{nextbest.KindObjective, "value", `{"terms":[{"reward":"a","weight":1}]}`, "window"},
		{nextbest.KindObjective, "value", `{"terms":[{"reward":"a","weight":1}],"window":"1d","aggregation":"mean"}`, "aggregation"},
		{nextbest.KindFeatures, "retail", `{"features":[{"name":"a","type":"blob"}]}`, "invalid"},
		{nextbest.KindPolicy, "p", `{"algorithm":"magic"}`, "invalid"},
		{nextbest.KindPolicy, "p", `{"algorithm":"linucb","features":"gone@1"}`, "features"},
		{nextbest.KindPolicy, "p", `{"algorithm":"linucb","features":"retail"}`, "features"},
		{nextbest.KindPolicy, "p", `{"algorithm":"rules","rules":[{"when":"recency < 3","action":"mens"}]}`, "rules[0].when"},
		{nextbest.KindPolicy, "p", `{"algorithm":"rules","rules":[{"when":"true","action":"gone"}]}`, "rules[0].action"},
		{nextbest.KindPolicy, "p", `{"algorithm":"fixed","weights":{"gone":1}}`, "weights.gone"},
		{nextbest.KindModel, "lints", `{"policy":"lints@1","hash":"h0"}`, "id"},
		{nextbest.KindModel, "lints.1", `{"policy":"ucb@1","hash":"h0"}`, "policy"},
		{nextbest.KindModel, "gone.1", `{"policy":"gone@1","hash":"h0"}`, "policy"},
		{nextbest.KindModel, "uniform.1", `{"policy":"uniform@1","hash":"h0"}`, "hash"},
		{nextbest.KindModel, "wide.1", `{"policy":"wide@1","hash":"h0"}`, "hash"}, // three features for a schema of two
		{nextbest.KindModel, "lints.1", `{"policy":"lints@1","hash":"lost"}`, "hash"},
		{nextbest.KindModel, "lints.1", ``, "conflict"},
		{nextbest.KindCurrent, "lints.1", `{"model":9}`, "model"},
		{nextbest.KindCurrent, "lints", `{"model":1}`, "invalid"},
		{nextbest.KindPlacement, "web", placement(`"actions":["gone"]`), "actions[0]"},
		{nextbest.KindPlacement, "web", placement(`"actions":["mens","mens"]`), "actions[1]"},
		{nextbest.KindPlacement, "web", placement(`"objective":"gone@1"`), "objective"},
		{nextbest.KindPlacement, "web", placement(`"objective":"value"`), "objective"},
		{nextbest.KindPlacement, "web", placement(`"policy":"uniform"`), "policy"},
		{nextbest.KindPlacement, "web", placement(`"policy":"uniform@9"`), "policy"},
		{nextbest.KindPlacement, "web", placement(`"model":3`), "model"},
		{nextbest.KindPlacement, "web", placement(`"policy":"lints@1","model":9`), "model"},
		{nextbest.KindPlacement, "web", placement(`"learning":"online"`), "learning"},
		{nextbest.KindPlacement, "web", placement(`"learning":"always"`), "learning"},
		{nextbest.KindPlacement, "web", placement(`"impression":"hoped"`), "impression"},
		{nextbest.KindPlacement, "web", placement(`"slots":6`), "slots"},
		{nextbest.KindPlacement, "web", placement(`"channels":[]`), "channels"},
		{nextbest.KindPlacement, "email", ``, "conflict"},
		{nextbest.KindHoldout, "mine", `{"share":0.1,"salt":"a"}`, "id"},
		{nextbest.KindHoldout, "universal", `{"share":1,"salt":"a"}`, "share"},
		{nextbest.KindExperiment, "new", strings.Replace(arms(`{"id":"b","policy":"lints@1","share":0.5}`), "email", "gone", 1), "placement"},
		{nextbest.KindExperiment, "new", arms(`{"id":"b","policy":"gone@1","share":0.5}`), "arms[1].policy"},
		{nextbest.KindExperiment, "new", arms(`{"id":"b","policy":"lints@1","model":9,"share":0.5}`), "arms[1].model"},
		{nextbest.KindExperiment, "new", arms(`{"id":"b","policy":"lints@1","share":0.4}`), "arms"},
		{nextbest.KindExperiment, "new", strings.Replace(arms(`{"id":"b","policy":"lints@1","share":0.5}`), "14d", "7d", 1), "window"},
		{nextbest.KindExperiment, "new", strings.Replace(arms(`{"id":"b","policy":"lints@1","share":0.5}`), `"salt"`, `"state":"running","salt"`, 1), "conflict"},
		{nextbest.KindExperiment, "exp", strings.Replace(running, `"ramp":0.5`, `"ramp":0.4`, 1), "ramp"},
		{nextbest.KindExperiment, "exp", strings.Replace(strings.Replace(running, `"share":0.3`, `"share":0.2`, 1), `"share":0.2,"learning":"frozen"}]`, `"share":0.3,"learning":"frozen"}]`, 1), "arms"},
		{nextbest.KindExperiment, "exp", strings.Replace(running, `"x1"`, `"x9"`, 1), "salt"},
		{nextbest.KindExperiment, "exp", ``, "conflict"},
		{nextbest.KindSecret, "pepper", `{"value":"other"}`, "conflict"},
		{nextbest.KindSecret, "s2", `{"value":""}`, "value"},
	} {
		err := c.Validate(nextbest.Change{Kind: x.kind, ID: x.id, Document: []byte(x.document), Deleted: x.document == ""})
		if err == nil || string(nextbest.CodeOf(err)) != x.want && !slices.Contains(fields(err), x.want) {
			t.Errorf("%s/%s %s: %v (fields %v), want %s", x.kind, x.id, x.document, err, fields(err), x.want)
		}
	}
	for _, x := range []struct {
		kind         nextbest.Kind
		id, document string
	}{
		{nextbest.KindAction, "mens", `{"treatments":[{"id":"z","channel":"push"}]}`},
		{nextbest.KindPlacement, "web", placement(`"slots":5`)},
		{nextbest.KindPlacement, "web", placement(`"policy":"lints@1","model":1,"learning":"online"`)},
		{nextbest.KindExperiment, "new", arms(`{"id":"b","policy":"lints@1","share":0.5}`)},
		{nextbest.KindExperiment, "exp", strings.Replace(running, `"ramp":0.5`, `"ramp":0.9`, 1)},
		{nextbest.KindExperiment, "exp", strings.Replace(running, `"running"`, `"stopped"`, 1)},
		{nextbest.KindModel, "lints.1", `{"policy":"lints@1","hash":"h0"}`},
		{nextbest.KindCurrent, "lints.1", `{"model":1}`},
		{nextbest.KindSecret, "s2", `{"value":"more"}`},
		{nextbest.KindPolicy, "lints", `{"algorithm":"linear_thompson","features":"retail@1"}`},
		{nextbest.KindKey, "k1", `{"role":"admin"}`},
		{nextbest.KindAction, "gone", ``},
	} {
		if err := c.Validate(nextbest.Change{Kind: x.kind, ID: x.id, Document: []byte(x.document), Deleted: x.document == ""}); err != nil {
			t.Errorf("%s/%s %s: %v", x.kind, x.id, x.document, err)
		}
	}
	if len(c.Broken()) > 0 || c.Revision != uint64(len(d.records)) {
		t.Error("validating changed the catalogue")
	}
}
