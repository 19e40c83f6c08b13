package api

import (
	"os"
	"slices"
	"strings"
	"testing"

	"nextbest"
)

// TestRoleMatrix tries every route with every role: whoever has the permission
// is not answered 401 or 403, everybody else is, before anything happens.
func TestRoleMatrix(t *testing.T) {
	routes := []struct {
		method, path, body string
		may                Permission
	}{
		{"POST", "/v1/decisions", decisionBody, MayDecide},
		{"POST", "/v1/decisions/" + someDecision + "/impression", `{"status":"shown"}`, MayReport},
		{"POST", "/v1/rewards", `{"rewards":[]}`, MayReport},
		{"GET", "/v1/decisions/" + someDecision, "", MayReadLog},
		{"GET", "/v1/rewards/unmatched", "", MayReadLog},
		{"POST", "/v1/sql", `{"query":"SELECT 1"}`, MayReadLog},
		{"GET", "/v1/actions", "", MayRead},
		{"GET", "/v1/actions/mens", "", MayRead},
		{"GET", "/v1/actions/mens/history", "", MayRead},
		{"PUT", "/v1/actions/mens", `{}`, MayDefine},
		{"PUT", "/v1/objectives/value", objectiveBody, MayDefine},
		{"PUT", "/v1/placements/web", placementBody, MayDefine},
		{"PUT", "/v1/experiments/exp-1", experimentBody, MayDefine},
		{"PUT", "/v1/holdouts/universal", `{"share":0.1,"salt":"h"}`, MayDefine},
		{"PUT", "/v1/features/retail", `{"features":[]}`, MayModel},
		{"POST", "/v1/features/retail/versions", `{"features":[]}`, MayModel},
		{"GET", "/v1/policies", "", MayRead},
		{"GET", "/v1/placements/web/exploration?policy=lints@1", "", MayRead},
		{"POST", "/v1/policies/lints/versions", `{"algorithm":"uniform"}`, MayModel},
		{"GET", "/v1/policies/lints/versions", "", MayRead},
		{"GET", "/v1/policies/lints/versions/1", "", MayRead},
		{"POST", "/v1/policies/lints/versions/1/models", `{"placement":"web"}`, MayModel},
		{"GET", "/v1/policies/lints/versions/1/models", "", MayRead},
		{"GET", "/v1/policies/lints/versions/1/models/1", "", MayRead},
		{"GET", "/v1/policies/lints/versions/1/models/1/weights", "", MayRead},
		{"GET", "/v1/policies/lints/versions/1/models/1/diff/2", "", MayRead},
		{"POST", "/v1/policies/lints/versions/1/rebuild", `{}`, MayAnalyse},
		{"POST", "/v1/policies/lints/versions/1/rollback", `{"model":1,"reason":"r"}`, MayStop},
		{"POST", "/v1/policies/lints/versions/1/resume", `{"reason":"r"}`, MayRun},
		{"GET", "/v1/rebuilds", "", MayRead},
		{"GET", "/v1/rebuilds/x", "", MayRead},
		{"GET", "/v1/rebuilds/x/events", "", MayRead},
		{"DELETE", "/v1/rebuilds/x", "", MayAnalyse},
		{"POST", "/v1/experiments/exp-1/start", `{}`, MayRun},
		{"POST", "/v1/experiments/exp-1/ramp", `{"ramp":0.5}`, MayRun},
		{"POST", "/v1/experiments/exp-1/stop", `{"reason":"r"}`, MayStop},
		{"POST", "/v1/experiments/exp-1/promote", `{"arm":"candidate","reason":"r"}`, MayPromote},
		{"POST", "/v1/placements/web/rollback", `{"reason":"r"}`, MayStop},
		{"GET", "/v1/experiments/exp-1/gates", "", MayRead},
		{"GET", "/v1/experiments/exp-1/status", "", MayRead},
		{"POST", "/v1/evaluations", evaluationBody, MayAnalyse},
		{"GET", "/v1/evaluations", "", MayRead},
		{"GET", "/v1/evaluations/x", "", MayRead},
		{"DELETE", "/v1/evaluations/x", "", MayAnalyse},
		{"POST", "/v1/evaluations/x/repeat", "", MayAnalyse},
		{"GET", "/v1/evaluations/x/events", "", MayRead},
		{"POST", "/v1/searches", searchBody, MayModel},
		{"GET", "/v1/searches", "", MayRead},
		{"GET", "/v1/searches/x", "", MayRead},
		{"DELETE", "/v1/searches/x", "", MayModel},
		{"GET", "/v1/searches/x/events", "", MayRead},
		{"POST", "/v1/verifications", `{}`, MayAnalyse},
		{"GET", "/v1/verifications", "", MayRead},
		{"GET", "/v1/verifications/x", "", MayRead},
		{"DELETE", "/v1/verifications/x", "", MayAnalyse},
		{"GET", "/v1/verifications/x/events", "", MayRead},
		{"POST", "/v1/imports?name=a&placement=web", "", MayAnalyse},
		{"GET", "/v1/audit", "", MayRead},
		{"GET", "/v1/overview", "", MayRead},
		{"POST", "/v1/keys", `{"role":"channel","name":"n"}`, MayKeys},
		{"GET", "/v1/keys", "", MayKeys},
		{"GET", "/v1/keys/x", "", MayKeys},
		{"DELETE", "/v1/keys/x", "", MayKeys},
	}
	f := newFixture(t)
	tried := map[string]bool{}
	for _, r := range routes {
		plain, _, _ := strings.Cut(r.path, "?")
		tried[r.method+" "+templateOf(plain)] = true
		for _, role := range append([]Role{""}, roles...) {
			before, written := f.dom.seen(), f.reg.changes()
			w := f.do(role, r.method, r.path, r.body)
			switch {
			case role == "":
				if w.Code != 401 || w.Header().Get("WWW-Authenticate") == "" {
					t.Errorf("%s %s without a key: %d", r.method, r.path, w.Code)
				}
			case slices.Contains(matrix[r.may], role):
				if w.Code == 401 || w.Code == 403 || w.Code >= 500 {
					t.Errorf("%s %s as %s: %d %s", r.method, r.path, role, w.Code, w.Body)
				}
				continue
			case w.Code != 403:
				t.Errorf("%s %s as %s: %d, want 403", r.method, r.path, role, w.Code)
			}
			problemOf(t, w)
			if f.dom.seen() != before || f.reg.changes() != written {
				t.Errorf("%s %s as %q did something", r.method, r.path, role)
			}
		}
	}
	// Every operation of the description is in the table (one PUT, GET, list
	// and history stand for all kinds of definitions).
	for path, item := range f.srv.api.OpenAPI().Paths {
		for method, there := range map[string]bool{"GET": item.Get != nil, "PUT": item.Put != nil, "POST": item.Post != nil, "DELETE": item.Delete != nil} {
			if there && strings.HasPrefix(path, "/v1/") && !tried[method+" "+path] && !(method == "GET" && definitionPath(path)) {
				t.Errorf("%s %s is not in the table", method, path)
			}
		}
	}
}

// templateOf turns a path of the table into its template.
func templateOf(path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		switch {
		case p == someDecision || p == "mens" || p == "value" || p == "web" || p == "exp-1" || p == "universal" || p == "retail" || p == "lints" || p == "x":
			parts[i] = "{id}"
		case p == "1" && parts[i-1] == "versions":
			parts[i] = "{n}"
		case p == "1" && parts[i-1] == "models":
			parts[i] = "{m}"
		case p == "2" && parts[i-1] == "diff":
			parts[i] = "{k}"
		}
	}
	return strings.Join(parts, "/")
}

func definitionPath(path string) bool {
	for _, kind := range []nextbest.Kind{nextbest.KindAction, nextbest.KindObjective, nextbest.KindFeatures, nextbest.KindPlacement, nextbest.KindExperiment, nextbest.KindHoldout} {
		base := "/v1/" + string(kind)
		if path == base || path == base+"/{id}" || path == base+"/{id}/history" {
			return true
		}
	}
	return false
}

// TestDocumentedMatrix keeps docs/api.md equal to the code.
func TestDocumentedMatrix(t *testing.T) {
	text, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	for may, rs := range matrix {
		row := "| " + string(may) + " |"
		for _, r := range roles {
			if slices.Contains(rs, r) {
				row += " ✓ |"
			} else {
				row += " |"
			}
		}
		if !strings.Contains(string(text), row) {
			t.Errorf("docs/api.md lacks the row %q", row)
		}
	}
}

func TestKeys(t *testing.T) {
	f := newFixture(t)
	w := f.do(Admin, "POST", "/v1/keys", `{"role":"channel","name":"web shop"}`, "X-Reason", "launch")
	if w.Code != 201 || w.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %s %v", w.Code, w.Body, w.Header())
	}
	var made KeyCreated
	decode(t, w, &made)
	if !strings.HasPrefix(made.Secret, "nb_"+made.ID+"_") || len(made.Secret) < 70 {
		t.Fatalf("key %q of id %q", made.Secret, made.ID)
	}
	rec, _ := f.reg.Get(nextbest.KindKey, made.ID)
	secret := strings.TrimPrefix(made.Secret, "nb_"+made.ID+"_")
	if strings.Contains(string(rec.Document), secret) || rec.Actor != f.ids[Admin] || rec.Reason != "launch" {
		t.Errorf("stored as %s by %s because %s", rec.Document, rec.Actor, rec.Reason)
	}
	for _, path := range []string{"/v1/keys", "/v1/keys/" + made.ID, "/v1/audit?documents=true"} {
		if body := f.do(Admin, "GET", path, "").Body.String(); strings.Contains(body, secret) || strings.Contains(body, "hash\"") {
			t.Errorf("%s shows a secret or its hash: %s", path, body)
		}
	}
	f.keys["new"] = made.Secret
	for _, name := range []string{"X-API-Key", "Authorization"} {
		value := made.Secret
		if name == "Authorization" {
			value = "bearer " + value
		}
		if w := f.do("", "POST", "/v1/decisions", decisionBody, name, value); w.Code != 201 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	wrong := made.Secret[:len(made.Secret)-1] + map[bool]string{true: "1", false: "0"}[made.Secret[len(made.Secret)-1] == '0']
	for _, key := range []string{wrong, "nb_" + made.ID + "_", "nb_" + made.ID, "nb__", "x", "nb_00000000_" + secret, strings.Repeat("nb_a_", 100)} {
		if w := f.do("", "POST", "/v1/decisions", decisionBody, "Authorization", "Bearer "+key); w.Code != 401 {
			t.Errorf("key %q: %d", key, w.Code)
		}
	}
	if w := f.do("", "POST", "/v1/decisions", decisionBody, "Authorization", "Basic "+made.Secret); w.Code != 401 {
		t.Errorf("basic: %d", w.Code)
	}
	if w := f.do(Admin, "DELETE", "/v1/keys/"+made.ID, "", "X-Reason", "leaked"); w.Code != 204 {
		t.Fatalf("revoke: %d %s", w.Code, w.Body)
	}
	if w := f.do("new", "POST", "/v1/decisions", decisionBody); w.Code != 401 {
		t.Errorf("a revoked key still works: %d", w.Code)
	}
	if w := f.do(Admin, "DELETE", "/v1/keys/"+f.ids[Admin], ""); w.Code != 409 {
		t.Errorf("the last admin key can lock everybody out: %d", w.Code)
	}
	if w := f.do(Admin, "GET", "/v1/keys/"+made.ID, ""); w.Code != 404 {
		t.Errorf("revoked key: %d", w.Code)
	}
}
