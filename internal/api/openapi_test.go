package api

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"nextbest"
	"nextbest/internal/decisions"
)

// description is the served OpenAPI document, ready to check answers with.
type description struct {
	t        *testing.T
	doc      map[string]any
	compiler *jsonschema.Compiler
}

func describe(t *testing.T, f *fixture) *description {
	t.Helper()
	w := f.do("", "GET", "/openapi.json", "")
	if w.Code != 200 || w.Header().Get("Content-Type") != "application/openapi+json" {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(w.Body.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	d := &description{t: t, doc: doc.(map[string]any), compiler: jsonschema.NewCompiler()}
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	d.compiler.AssertFormat()
	if err := d.compiler.AddResource("openapi.json", doc); err != nil {
		t.Fatal(err)
	}
	if d.doc["openapi"] != "3.1.0" {
		t.Errorf("version %v", d.doc["openapi"])
	}
	return d
}

// check validates a body against the schema that the document gives for it.
// where is the path below the operation, such as responses/201.
func (d *description) check(path, method, where, contentType string, body []byte) {
	d.t.Helper()
	escape := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D")
	pointer := "openapi.json#/paths/" + escape.Replace(path) + "/" + method + "/" + where + "/content/" + escape.Replace(contentType) + "/schema"
	schema, err := d.compiler.Compile(pointer)
	if err != nil {
		d.t.Errorf("%s %s %s: %v", method, path, where, err)
		return
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		d.t.Fatalf("%v in %s", err, body)
	}
	if err := schema.Validate(v); err != nil {
		d.t.Errorf("%s %s %s: %v\n%s", method, path, where, err, body)
	}
}

// TestConformance: the requests that the routes take, and what they really
// answer, are what the served document says.
func TestConformance(t *testing.T) {
	f := newFixture(t)
	d := describe(t, f)
	try := func(method, template, path, body string, status string) []byte {
		t.Helper()
		w := f.do(Admin, method, path, body, "If-Match", "*")
		if got := w.Code; status[0] != byte('0'+got/100) || !strings.HasPrefix(status, w.Result().Status[:3]) {
			t.Errorf("%s %s: %d %s", method, path, got, w.Body)
		}
		contentType := "application/json"
		if w.Code >= 400 {
			contentType = "application/problem+json"
		}
		if body != "" && w.Code < 400 {
			d.check(template, strings.ToLower(method), "requestBody", "application/json", []byte(body))
		}
		if w.Body.Len() > 0 {
			d.check(template, strings.ToLower(method), "responses/"+status, contentType, w.Body.Bytes())
		}
		return w.Body.Bytes()
	}
	const dec = "/v1/decisions"
	try("POST", dec, dec, decisionBody, "201")
	f.dom.answer.Repeated, f.dom.answer.Experiment, f.dom.answer.Treatment = true, &decisions.Assigned{Arm: "holdout", Probability: .05}, ""
	try("POST", dec, dec, `{"placement":"web","customer":{"id":"C","type":"crm","x":[1]},"durable":false}`, "200")
	f.dom.answer.Slots = severalSlots
	try("POST", dec, dec, decisionBody, "200")
	try("POST", dec, dec, `{"placement":"web"}`, "422")
	try("POST", dec, dec, `{`, "400")
	try("POST", dec+"/{id}/impression", dec+"/"+someDecision+"/impression", `{"slot":1,"status":"shown","time":"2026-11-23T10:00:00Z"}`, "202")
	try("POST", "/v1/rewards", "/v1/rewards", `{"rewards":[{"id":"o-1","kind":"purchase","value":59.9,"time":"2026-11-23T10:00:00Z","decision_id":"`+someDecision+`"},{"id":"o-2","kind":"purchase","value":20,"time":"2026-11-23T10:00:00Z","customer":{"id":"C-1042"}}]}`, "202")
	try("POST", "/v1/rewards", "/v1/rewards", `{"rewards":[{"id":"o-1"}]}`, "422")
	f.dom.rows = []nextbest.Decision{{Slot: 1, Time: testNow, Action: "mens", Eligible: []string{"mens"}, Probabilities: []float64{1}, Scores: []float64{.3}, Context: []byte(`{}`)}}
	try("GET", dec+"/{id}", dec+"/"+someDecision, "", "200")
	try("POST", "/v1/sql", "/v1/sql", `{"query":"SELECT 1"}`, "200")
	try("GET", "/v1/rewards/unmatched", "/v1/rewards/unmatched", "", "200")
	for _, r := range []struct{ kind, id, body string }{
		{"actions", "mens", `{"goal":"cross_sell","group":"mail","treatments":[{"id":"a","channel":"email","content":"cms:mens-a"}],"value":2,"cost":{"per_contact":0.02},"eligibility":"customer.consent.email","consent":["email"],"caps":[{"scope":"group","max":2,"per":"7d"}],"cool_down":"36h","valid_from":"2026-01-01T00:00:00Z","owner":"crm"}`},
		{"objectives", "value", objectiveBody},
		{"features", "retail", `{"features":[{"name":"recency","type":"numeric","mean":5.8,"sd":3.5,"clip":5,"missing":"mean"},{"name":"channel","type":"categorical","levels":["Web"],"missing":"indicator"},{"name":"newbie","type":"boolean","missing":"default","default":true},{"name":"zip","type":"categorical","hash":64,"missing":"default","default":"1"},{"name":"at","type":"timestamp","parts":["hour","age_days"],"timezone":"Europe/Berlin","encoding":"one_hot","mean":3,"sd":2,"missing":"now"},{"name":"taste","renamed_from":"gusto","type":"embedding","width":2,"missing":"default","default":[1,2]},{"type":"cross","of":["channel","newbie"]}]}`},
		{"placements", "web", placementBody},
		{"experiments", "exp-1", experimentBody},
		{"holdouts", "universal", `{"share":0.1,"salt":"h2"}`},
	} {
		base := "/v1/" + r.kind
		try("PUT", base+"/{id}", base+"/"+r.id, r.body, "200")
		try("GET", base+"/{id}", base+"/"+r.id, "", "200")
		try("GET", base, base, "", "200")
		try("GET", base+"/{id}/history", base+"/"+r.id+"/history", "", "200")
		try("PUT", base+"/{id}", base+"/"+r.id, `{"x":1}`, "422")
		try("GET", base+"/{id}", base+"/unknown", "", "404")
	}
	try("POST", "/v1/features/{id}/versions", "/v1/features/retail/versions", `{"features":[{"name":"recency","type":"numeric","clip":5},{"name":"newbie","type":"boolean"}],"moments_from":{"placement":"web","from":"2026-11-01T00:00:00Z"}}`, "201")
	try("POST", "/v1/features/{id}/versions", "/v1/features/retail/versions", `{"features":[{"name":"newbie","type":"boolean"}],"moments_from":{"placement":"web"}}`, "422")
	const versions = "/v1/policies/{id}/versions"
	try("GET", "/v1/policies", "/v1/policies", "", "200")
	try("GET", versions, "/v1/policies/lints/versions", "", "200")
	try("GET", versions+"/{n}", "/v1/policies/lints/versions/1", "", "200")
	try("POST", versions+"/{n}/models", "/v1/policies/lints/versions/1/models", `{"placement":"web","split":{"salt":"a","from":0,"to":0.5}}`, "201")
	try("POST", versions+"/{n}/models", "/v1/policies/lints/versions/1/models", `{"migrate":{"policy":"lints@1","model":3}}`, "201")
	try("POST", versions+"/{n}/models", "/v1/policies/lints/versions/1/models", `{"placement":"web","source":"spring","base":2}`, "201")
	try("GET", versions+"/{n}/models", "/v1/policies/lints/versions/1/models", "", "200")
	for verb, body := range map[string]string{"start": `{"reason":"go"}`, "ramp": `{"ramp":0.5}`, "promote": `{"arm":"candidate","model":902,"reason":"won"}`, "stop": `{"reason":"enough"}`} {
		try("POST", "/v1/experiments/{id}/"+verb, "/v1/experiments/exp-1/"+verb, body, "200")
	}
	try("POST", "/v1/placements/{id}/rollback", "/v1/placements/web/rollback", `{"reason":"r"}`, "200")
	try("GET", "/v1/experiments/{id}/gates", "/v1/experiments/exp-1/gates", "", "200")
	try("GET", "/v1/experiments/{id}/status", "/v1/experiments/exp-1/status", "", "200")
	for _, kind := range []string{"evaluations", "verifications", "searches"} {
		body := map[string]string{"evaluations": evaluationBody, "verifications": `{"from":"2026-11-01T00:00:00Z"}`, "searches": searchBody}[kind]
		var job Job
		if err := json.Unmarshal(try("POST", "/v1/"+kind, "/v1/"+kind, body, "202"), &job); err != nil {
			t.Fatal(err)
		}
		try("GET", "/v1/"+kind+"/{id}", "/v1/"+kind+"/"+job.ID, "", "200")
		try("GET", "/v1/"+kind, "/v1/"+kind, "", "200")
		try("DELETE", "/v1/"+kind+"/{id}", "/v1/"+kind+"/"+job.ID, "", "202")
	}
	try("GET", "/v1/audit", "/v1/audit?documents=true", "", "200")
	try("GET", "/v1/overview", "/v1/overview", "", "200")
	try("POST", "/v1/keys", "/v1/keys", `{"role":"channel","name":"shop"}`, "201")
	try("GET", "/v1/keys", "/v1/keys", "", "200")
	try("GET", "/v1/keys/{id}", "/v1/keys/"+f.ids[Channel], "", "200")
	for _, r := range [][2]string{{"POST", dec}, {"GET", "/v1/actions"}, {"POST", "/v1/rewards"}} {
		w := f.do("", r[0], r[1], "")
		d.check(r[1], strings.ToLower(r[0]), "responses/401", "application/problem+json", w.Body.Bytes())
	}
}

// TestDescribed: whatever gin routes is described, and the other way round.
func TestDescribed(t *testing.T) {
	f := newFixture(t)
	paths := describe(t, f).doc["paths"].(map[string]any)
	routed := map[string]bool{}
	for _, r := range f.srv.engine.Routes() {
		var parts []string
		for p := range strings.SplitSeq(r.Path, "/") {
			if name, ok := strings.CutPrefix(p, ":"); ok {
				p = "{" + name + "}"
			}
			parts = append(parts, p)
		}
		path := strings.Join(parts, "/")
		routed[r.Method+" "+path] = true
		if strings.HasPrefix(path, "/openapi") || path == "/docs" {
			continue
		}
		item, _ := paths[path].(map[string]any)
		if item[strings.ToLower(r.Method)] == nil {
			t.Errorf("%s %s is not described", r.Method, path)
		}
	}
	for path, item := range paths {
		for method := range item.(map[string]any) {
			if !routed[strings.ToUpper(method)+" "+path] {
				t.Errorf("%s %s is described but not routed", method, path)
			}
		}
	}
}

func TestDocsWithoutInternet(t *testing.T) {
	f := newFixture(t)
	w := f.do("", "GET", "/docs", "")
	body := w.Body.String()
	if w.Code != 200 || strings.Contains(body, "http://") || strings.Contains(body, "https://") || strings.Contains(body, "<script") || !strings.Contains(body, "/v1/decisions") {
		t.Errorf("%d %s", w.Code, body)
	}
	if w := f.do("", "GET", "/openapi.yaml", ""); w.Code != 200 || !strings.HasPrefix(w.Body.String(), "components:") {
		t.Errorf("%d %.40s", w.Code, w.Body)
	}
}
