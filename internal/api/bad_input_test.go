package api

import (
	"strings"
	"testing"
)

// TestBadInput sends what must be refused: the answer names the field and what
// to do, nothing is written, and nothing reaches the domain.
func TestBadInput(t *testing.T) {
	f := newFixture(t)
	if w := f.do(Admin, "POST", "/v1/policies/evenly/versions", `{"algorithm":"uniform"}`); w.Code != 201 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	const (
		dec     = "/v1/decisions"
		rew     = "/v1/rewards"
		imp     = "/v1/decisions/" + someDecision + "/impression"
		okR     = `"id":"o-1","kind":"purchase","value":1,"time":"2026-11-23T10:00:00Z","customer":{"id":"C"}`
		row     = `{"customer":{"id":"C"},"time":"2026-11-01T10:00:00Z","context":{},"action":"mens","propensity":0.5,"eligible":["mens","do-nothing"]}`
		imps    = "/v1/imports?name=old&placement=web"
		ucb     = `{"name":"a","spec":{"algorithm":"linucb"}}`
		fifteen = `0.01,0.02,0.03,0.04,0.05,0.06,0.07,0.08,0.09,0.1,0.11,0.12,0.13,0.14,0.15`
	)
	bad := func(field, value string) string { // a decision with one field of its context replaced
		return `{"placement":"web","customer":{"id":"C"},"context":{"` + field + `":` + value + `}}`
	}
	tests := []struct {
		name, method, path, body string
		status                   int
		field, says              string
		headers                  []string
	}{
		{"not JSON", "POST", dec, `{"placement":`, 400, "placement", "ends too early", nil},
		{"empty body", "POST", dec, ``, 400, "body", "ends too early", nil},
		{"trailing garbage", "POST", dec, decisionBody + `{}`, 400, "body", "after the end", nil},
		{"array", "POST", dec, `[]`, 422, "body", "expected an object, found an array", nil},
		{"unknown field", "POST", dec, `{"placement":"web","customer":{"id":"C"},"contxt":{}}`, 422, "contxt", "no such field", nil},
		{"twice", "POST", dec, `{"placement":"web","placement":"web","customer":{"id":"C"}}`, 422, "placement", "twice", nil},
		{"context twice", "POST", dec, `{"placement":"web","customer":{"id":"C"},"context":{},"context":{}}`, 422, "context", "twice", nil},
		{"no placement", "POST", dec, `{"customer":{"id":"C"}}`, 422, "placement", "missing", nil},
		{"placement is a number", "POST", dec, `{"placement":3,"customer":{"id":"C"}}`, 422, "placement", "found a number", nil},
		{"no customer", "POST", dec, `{"placement":"web"}`, 422, "customer", "missing", nil},
		{"no customer id", "POST", dec, `{"placement":"web","customer":{}}`, 422, "customer.id", "missing", nil},
		{"customer id is a number", "POST", dec, `{"placement":"web","customer":{"id":1042}}`, 422, "customer.id", "found a number", nil},
		{"empty customer id", "POST", dec, `{"placement":"web","customer":{"id":""}}`, 422, "customer.id", "1 to 512", nil},
		{"customer attribute null", "POST", dec, `{"placement":"web","customer":{"id":"C","consent":{"email":null}}}`, 422, "customer.consent.email", "found null", nil},
		{"1e999", "POST", dec, bad("recency", "1e999"), 422, "context.recency", "64-bit float", nil},
		{"-1e999", "POST", dec, bad("recency", "-1e999"), 422, "context.recency", "64-bit float", nil},
		{"null", "POST", dec, bad("recency", "null"), 422, "context.recency", "found null", nil},
		{"NaN", "POST", dec, bad("recency", "NaN"), 400, "context.recency", "JSON does not have", nil},
		{"-Infinity", "POST", dec, bad("recency", "-Infinity"), 400, "context.recency", "JSON does not have", nil},
		{"leading zero", "POST", dec, bad("recency", "03"), 400, "context.recency", "zero", nil},
		{"no digit after the point", "POST", dec, bad("recency", "3."), 400, "context.recency", "digit after its point", nil},
		{"score a text", "POST", dec, `{"placement":"web","customer":{"id":"C"},"scores":{"mens":"high"}}`, 422, "scores.mens", "expected a number", nil},
		{"score not a number", "POST", dec, `{"placement":"web","customer":{"id":"C"},"scores":{"mens":NaN}}`, 400, "scores.mens", "expected a number", nil},
		{"score twice", "POST", dec, `{"placement":"web","customer":{"id":"C"},"scores":{"mens":1,"mens":2}}`, 422, "scores.mens", "twice", nil},
		{"scores a list", "POST", dec, `{"placement":"web","customer":{"id":"C"},"scores":[1]}`, 422, "scores", "expected an object", nil},
		{"hexadecimal", "POST", dec, bad("recency", "0x1f"), 400, "context", "comma", nil},
		{"nested", "POST", dec, bad("a", `{"b":[1,{"c":null}]}`), 422, "context.a.b[1].c", "found null", nil},
		{"too deep", "POST", dec, bad("a", strings.Repeat("[", 40)+strings.Repeat("]", 40)), 422, "context.a[0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]", "nested deeper", nil},
		{"name twice in the context", "POST", dec, `{"placement":"web","customer":{"id":"C"},"context":{"a":1,"a":2}}`, 422, "context.a", "twice", nil},
		{"half a surrogate", "POST", dec, bad("a", `"\ud800"`), 400, "context.a", "surrogate", nil},
		{"not UTF-8", "POST", dec, bad("a", "\"\xff\""), 400, "context.a", "UTF-8", nil},
		{"raw control character", "POST", dec, bad("a", "\"\x01\""), 400, "context.a", "control", nil},
		{"durable is a string", "POST", dec, `{"placement":"web","customer":{"id":"C"},"durable":"no"}`, 422, "durable", "found a string", nil},
		{"too large", "POST", dec, `{"placement":"` + strings.Repeat("x", 300<<10) + `"}`, 413, "body", "256 KiB", nil},
		{"wrong type", "POST", dec, decisionBody, 415, "Content-Type", "application/json", []string{"Content-Type", "application/x-www-form-urlencoded"}},
		{"compressed", "POST", dec, decisionBody, 415, "Content-Encoding", "uncompressed", []string{"Content-Encoding", "gzip"}},

		{"impression without a status", "POST", imp, `{"slot":1}`, 422, "status", "missing", nil},
		{"impression with another status", "POST", imp, `{"status":"seen"}`, 422, "status", "delivered", nil},
		{"overridden by what", "POST", imp, `{"status":"overridden"}`, 422, "action", "instead", nil},
		{"shown with an action", "POST", imp, `{"status":"shown","action":"mens"}`, 422, "action", "overridden only", nil},
		{"slot 0", "POST", imp, `{"status":"shown","slot":0}`, 422, "slot", "start at 1", nil},
		{"slot 1.5", "POST", imp, `{"status":"shown","slot":1.5}`, 422, "slot", "start at 1", nil},
		{"impression of the future", "POST", imp, `{"status":"shown","time":"2027-01-01T00:00:00Z"}`, 422, "time", "future", nil},
		{"impression of no decision", "POST", "/v1/decisions/x/impression", `{"status":"shown"}`, 422, "id", "not a decision id", nil},
		{"impression of a random id", "POST", "/v1/decisions/6ba7b810-9dad-41d1-80b4-00c04fd430c8/impression", `{"status":"shown"}`, 422, "id", "version 7", nil},
		{"impression of a future id", "POST", "/v1/decisions/029ab0c0-0000-7000-8000-000000000001/impression", `{"status":"shown"}`, 422, "id", "future", nil},

		{"no rewards", "POST", rew, `{"rewards":[]}`, 422, "rewards", "at least one", nil},
		{"rewards null", "POST", rew, `{"rewards":null}`, 422, "rewards", "found null", nil},
		{"unknown reward field", "POST", rew, `{"rewards":[{` + okR + `},{` + okR + `,"amount":3}]}`, 422, "rewards[1].amount", "no such field", nil},
		{"unknown kind", "POST", rew, `{"rewards":[{"id":"1","kind":"purchse","value":1,"time":"2026-11-23T10:00:00Z","customer":{"id":"C"}}]}`, 422, "rewards[0].kind", "not a reward kind", nil},
		{"value 1e999", "POST", rew, `{"rewards":[{"id":"1","kind":"purchase","value":1e999,"time":"2026-11-23T10:00:00Z","customer":{"id":"C"}}]}`, 422, "rewards[0].value", "64-bit", nil},
		{"value is a string", "POST", rew, `{"rewards":[{"id":"1","kind":"purchase","value":"59.90","time":"2026-11-23T10:00:00Z","customer":{"id":"C"}}]}`, 422, "rewards[0].value", "found a string", nil},
		{"no value", "POST", rew, `{"rewards":[{"id":"1","kind":"purchase","time":"2026-11-23T10:00:00Z","customer":{"id":"C"}}]}`, 422, "rewards[0].value", "missing", nil},
		{"no id", "POST", rew, `{"rewards":[{"kind":"purchase","value":1,"time":"2026-11-23T10:00:00Z","customer":{"id":"C"}}]}`, 422, "rewards[0].id", "missing", nil},
		{"nobody named", "POST", rew, `{"rewards":[{"id":"1","kind":"purchase","value":1,"time":"2026-11-23T10:00:00Z"}]}`, 422, "rewards[0].decision_id", "a decision or a customer", nil},
		{"both named", "POST", rew, `{"rewards":[{` + okR + `,"decision_id":"` + someDecision + `"}]}`, 422, "rewards[0].customer", "not both", nil},
		{"bad decision id", "POST", rew, `{"rewards":[{"id":"1","kind":"purchase","value":1,"time":"2026-11-23T10:00:00Z","decision_id":"17"}]}`, 422, "rewards[0].decision_id", "not a decision id", nil},
		{"customer type the domain refuses", "POST", rew, `{"rewards":[{"id":"1","kind":"purchase","value":1,"time":"2026-11-23T10:00:00Z","customer":{"id":"C","type":"a:b"}}]}`, 422, "rewards[0].customer.type", "colon", nil},
		{"customer is a string", "POST", rew, `{"rewards":[{"id":"1","kind":"purchase","value":1,"time":"2026-11-23T10:00:00Z","customer":"C"}]}`, 422, "rewards[0].customer", "found a string", nil},
		{"reward in local time", "POST", rew, `{"rewards":[{"id":"1","kind":"purchase","value":1,"time":"23.11.2026 10:00","customer":{"id":"C"}}]}`, 422, "rewards[0].time", "RFC 3339", nil},
		{"reward in 1970", "POST", rew, `{"rewards":[{"id":"1","kind":"purchase","value":1,"time":"1970-01-01T00:00:00Z","customer":{"id":"C"}}]}`, 422, "rewards[0].time", "before the year 2000", nil},
		{"NDJSON with a bad line", "POST", rew, `{` + okR + "}\n\n{" + okR + `,"value":2}` + "\n{" + okR + `,"x":1}`, 422, "line 3: value", "twice", []string{"Content-Type", ndjsonType}},
		{"NDJSON with half a line", "POST", rew, `{` + okR + "}\n{" + `"id":`, 400, "line 2: id", "ends too early", []string{"Content-Type", ndjsonType}},
		{"NDJSON of nothing", "POST", rew, "\n\n", 422, "body", "at least one line", []string{"Content-Type", ndjsonType}},
		{"NDJSON two on a line", "POST", rew, `{` + okR + `}{` + okR + `}`, 400, "line 1", "after the end", []string{"Content-Type", ndjsonType}},
		{"rewards too large", "POST", rew, strings.Repeat(" ", 5<<20), 413, "body", "4 MiB", []string{"Content-Type", ndjsonType}},

		{"import without a name", "POST", "/v1/imports?placement=web", row, 422, "name", "missing", []string{"Content-Type", ndjsonType}},
		{"import called live", "POST", "/v1/imports?name=live&placement=web", row, 422, "name", "not live", []string{"Content-Type", ndjsonType}},
		{"import to nowhere", "POST", "/v1/imports?name=old&placement=nowhere", row, 422, "placement", "there is no nowhere", []string{"Content-Type", ndjsonType}},
		{"import as JSON", "POST", imps, row, 415, "Content-Type", ndjsonType, nil},
		{"propensity 0", "POST", imps, row + "\n" + strings.Replace(row, "0.5", "0", 1), 422, "line 2: propensity", "(0, 1]", []string{"Content-Type", ndjsonType}},
		{"propensity 1.2", "POST", imps, strings.Replace(row, "0.5", "1.2", 1), 422, "line 1: propensity", "(0, 1]", []string{"Content-Type", ndjsonType}},
		{"propensity negative", "POST", imps, strings.Replace(row, "0.5", "-0.1", 1), 422, "line 1: propensity", "(0, 1]", []string{"Content-Type", ndjsonType}},
		{"propensity missing", "POST", imps, strings.Replace(row, `"propensity":0.5,`, "", 1), 422, "line 1: propensity", "missing", []string{"Content-Type", ndjsonType}},
		{"propensity against the randomisation", "POST", imps + "&randomisation=uniform", strings.Replace(row, "0.5", "0.7", 1), 422, "line 1: propensity", "gives 0.5", []string{"Content-Type", ndjsonType}},
		{"unknown randomisation", "POST", imps + "&randomisation=coin", row, 422, "randomisation", "uniform", []string{"Content-Type", ndjsonType}},
		{"weights without the action", "POST", imps + "&randomisation=weights:mens=1", row, 422, "line 1: eligible", "no weight", []string{"Content-Type", ndjsonType}},
		{"action not eligible", "POST", imps, strings.Replace(row, `["mens",`, `["womens",`, 1), 422, "line 1: eligible", "mens", []string{"Content-Type", ndjsonType}},
		{"eligible twice", "POST", imps, strings.Replace(row, `["mens",`, `["mens","mens",`, 1), 422, "line 1: eligible", "twice", []string{"Content-Type", ndjsonType}},
		{"probabilities of another length", "POST", imps, strings.Replace(row, `"eligible"`, `"probabilities":[1],"eligible"`, 1), 422, "line 1: probabilities", "1 numbers for 2", []string{"Content-Type", ndjsonType}},
		{"probabilities that do not sum to one", "POST", imps, strings.Replace(row, `"eligible"`, `"probabilities":[0.5,0.6],"eligible"`, 1), 422, "line 1: probabilities", "sum to 1.1", []string{"Content-Type", ndjsonType}},
		{"probabilities against the propensity", "POST", imps, strings.Replace(row, `"eligible"`, `"probabilities":[0.4,0.6],"eligible"`, 1), 422, "line 1: probabilities[0]", "propensity", []string{"Content-Type", ndjsonType}},
		{"reward before the decision", "POST", imps, strings.Replace(row, `"eligible"`, `"rewards":[{"kind":"purchase","value":1,"time":"2026-10-01T00:00:00Z"}],"eligible"`, 1), 422, "line 1: rewards[0].time", "before", []string{"Content-Type", ndjsonType}},
		{"import reward of an unknown kind", "POST", imps, strings.Replace(row, `"eligible"`, `"rewards":[{"kind":"clack","value":1}],"eligible"`, 1), 422, "line 1: rewards[0].kind", "not a reward kind", []string{"Content-Type", ndjsonType}},
		{"id on two lines", "POST", imps, strings.Repeat(strings.Replace(row, `{"customer"`, `{"id":"a","customer"`, 1)+"\n", 2), 422, "line 2: id", "line 1", []string{"Content-Type", ndjsonType}},

		{"action with an unknown field", "PUT", "/v1/actions/x", `{"gaol":"cross_sell"}`, 422, "gaol", "no such field", nil},
		{"action in other case", "PUT", "/v1/actions/x", `{"Goal":"cross_sell"}`, 422, "Goal", "no such field", nil},
		{"action with a bad id", "PUT", "/v1/actions/Mens%20Mail", `{}`, 422, "id", "lower-case", nil},
		{"action that says another id", "PUT", "/v1/actions/x", `{"id":"y"}`, 422, "id", "path says", nil},
		{"cool-down in fortnights", "PUT", "/v1/actions/x", `{"cool_down":"2w"}`, 422, "cool_down", "pattern", nil},
		{"cap without max", "PUT", "/v1/actions/x", `{"caps":[{"per":"7d"}]}`, 422, "caps[0].max", "missing", nil},
		{"cost is a string", "PUT", "/v1/actions/x", `{"cost":{"per_contact":"0.02"}}`, 422, "cost.per_contact", "number", nil},
		{"cost 1e999", "PUT", "/v1/actions/x", `{"cost":{"per_contact":1e999}}`, 422, "cost.per_contact", "64-bit", nil},
		{"action null", "PUT", "/v1/actions/x", `{"goal":null}`, 422, "goal", "found null", nil},
		{"action twice", "PUT", "/v1/actions/x", `{"goal":"a","goal":"b"}`, 422, "goal", "twice", nil},
		{"action with garbage behind", "PUT", "/v1/actions/x", `{}x`, 400, "body", "after the end", nil},
		{"action with no body", "PUT", "/v1/actions/x", ``, 400, "body", "ends too early", nil},
		{"action too large", "PUT", "/v1/actions/x", `{"goal":"` + strings.Repeat("x", 300<<10) + `"}`, 413, "body", "256 KiB", nil},
		{"action as YAML", "PUT", "/v1/actions/x", `goal: a`, 415, "Content-Type", "application/json", []string{"Content-Type", "application/yaml"}},
		{"objective without terms", "PUT", "/v1/objectives/x", `{"terms":[],"window":"14d","default":0}`, 422, "terms", "at least one", nil},
		{"objective with no window", "PUT", "/v1/objectives/x", `{"terms":[{"reward":"a","weight":1}],"window":"0","default":0}`, 422, "window", "14d", nil},
		{"objective with the same kind twice", "PUT", "/v1/objectives/x", `{"terms":[{"reward":"a","weight":1},{"reward":"a","weight":2}],"window":"1d","default":0}`, 422, "terms[1].reward", "twice", nil},
		{"placement with six slots", "PUT", "/v1/placements/x", strings.Replace(placementBody, `{`, `{"slots":6,`, 1), 422, "slots", "<= 5", nil},
		{"placement without a policy", "PUT", "/v1/placements/x", `{"channels":["web"],"objective":"value@1","actions":["mens"]}`, 422, "policy", "missing", nil},
		{"another holdout", "PUT", "/v1/holdouts/mine", `{"share":0.1,"salt":"h"}`, 422, "id", "universal", nil},
		{"holdout of everybody", "PUT", "/v1/holdouts/universal", `{"share":1,"salt":"h"}`, 422, "share", "< 1", nil},
		{"unknown algorithm", "POST", "/v1/policies/x/versions", `{"algorithm":"magic"}`, 422, "algorithm", "one of", nil},
		{"unknown parameter", "POST", "/v1/policies/x/versions", `{"algorithm":"linucb","params":{"alfa":1}}`, 422, "params.alfa", "", nil},
		{"training on nothing", "POST", "/v1/policies/lints/versions/1/models", `{}`, 422, "placement", "missing", nil},
		{"migration and training", "POST", "/v1/policies/lints/versions/1/models", `{"placement":"web","migrate":{"policy":"lints@1","model":1}}`, 422, "migrate", "leave everything else out", nil},
		{"migration without a version", "POST", "/v1/policies/lints/versions/1/models", `{"migrate":{"policy":"lints","model":1}}`, 422, "migrate.policy", "version", nil},
		{"moments by hand", "PUT", "/v1/features/x", `{"features":[],"moments":{"placement":"web","to":"2026-11-01T00:00:00Z","upto":1,"rows":2}}`, 422, "moments", "server's", nil},
		{"moments of nothing", "POST", "/v1/features/x/versions", `{"features":[],"moments_from":{"placement":"web"}}`, 422, "features", "none leaves", nil},
		{"moments of an unknown placement", "POST", "/v1/features/x/versions", `{"features":[],"moments_from":{"placement":"nowhere"}}`, 422, "placement", "", nil},
		{"unknown feature type", "PUT", "/v1/features/x", `{"features":[{"name":"a","type":"vector"}]}`, 422, "features[0].type", "one of", nil},
		{"shares that do not sum to one", "PUT", "/v1/experiments/x", strings.Replace(experimentBody, `"share":0.5,"control"`, `"share":0.4,"control"`, 1), 422, "arms", "sum to", nil},
		{"experiment that says it runs", "PUT", "/v1/experiments/x", strings.Replace(experimentBody, `{`, `{"state":"running",`, 1), 422, "state", "by hand", nil},
		{"promote without a reason", "POST", "/v1/experiments/exp-1/promote", `{"arm":"candidate"}`, 422, "reason", "missing", nil},
		{"ramp above one", "POST", "/v1/experiments/exp-1/ramp", `{"ramp":1.5}`, 422, "ramp", "<= 1", nil},
		{"start of nothing", "POST", "/v1/experiments/nothing/start", `{}`, 404, "id", "not known", nil},
		{"evaluation of an unknown policy", "POST", "/v1/evaluations", `{"placement":"web","candidates":[{"policy":"nobody@1"}]}`, 422, "candidates[0].policy", "there is no nobody@1", nil},
		{"evaluation without a version", "POST", "/v1/evaluations", `{"placement":"web","candidates":[{"policy":"lints"}]}`, 422, "candidates[0].policy", "version", nil},
		{"evaluation of an unknown model", "POST", "/v1/evaluations", `{"placement":"web","candidates":[{"policy":"lints@1","model":9}]}`, 422, "candidates[0].model", "no model 9", nil},
		{"evaluation of what learns without a model", "POST", "/v1/evaluations", `{"placement":"web","candidates":[{"policy":"lints@1"}]}`, 422, "candidates[0].model", "train one first", nil},
		{"evaluation of a policy twice", "POST", "/v1/evaluations", `{"placement":"web","candidates":[{"policy":"evenly@1"},{"policy":"evenly@1"}]}`, 422, "candidates[1].policy", "evenly@1 is there twice", nil},
		{"evaluation of rewards upside down", "POST", "/v1/evaluations", `{"placement":"web","reward_min":1,"reward_max":0,"candidates":[{"policy":"evenly@1"}]}`, 422, "reward_max", "0 is below reward_min 1", nil},
		{"evaluation by a segment of nothing", "POST", "/v1/evaluations", `{"placement":"web","segments":["day","banana"],"candidates":[{"policy":"evenly@1"}]}`, 422, "segments[1]", "context.<key>", nil},
		{"evaluation by one segment twice", "POST", "/v1/evaluations", `{"placement":"web","segments":["day","day"],"candidates":[{"policy":"evenly@1"}]}`, 422, "segments[1]", "twice", nil},
		{"evaluation of a policy and a spec", "POST", "/v1/evaluations", `{"placement":"web","candidates":[{"name":"a","policy":"rules@1","spec":{"algorithm":"uniform"}}]}`, 422, "candidates[0].spec", "not both", nil},
		{"evaluation of a spec without a name", "POST", "/v1/evaluations", `{"placement":"web","candidates":[{"spec":{"algorithm":"uniform"}}]}`, 422, "candidates[0].name", "needs a name", nil},
		{"evaluation of a spec by a taken name", "POST", "/v1/evaluations", `{"placement":"web","candidates":[{"name":"logged","spec":{"algorithm":"uniform"}}]}`, 422, "candidates[0].name", "is taken", nil},
		{"evaluation of two specs by one name", "POST", "/v1/evaluations", `{"placement":"web","candidates":[{"name":"a","spec":{"algorithm":"uniform"}},{"name":"a","spec":{"algorithm":"uniform"}}]}`, 422, "candidates[1].name", "is taken", nil},
		{"evaluation of nothing", "POST", "/v1/evaluations", `{"placement":"web","candidates":[{}]}`, 422, "candidates[0].policy", "", nil},
		{"evaluation of a name alone", "POST", "/v1/evaluations", `{"placement":"web","candidates":[{"name":"a"}]}`, 422, "candidates[0].spec", "is missing", nil},
		{"evaluation of an untrained spec", "POST", "/v1/evaluations", `{"placement":"web","candidates":[{"name":"a","spec":{"algorithm":"linear_thompson"}}]}`, 422, "candidates[0].train", "is missing", nil},
		{"evaluation that trains what does not learn", "POST", "/v1/evaluations", `{"placement":"web","candidates":[{"name":"a","spec":{"algorithm":"uniform"},"train":{"to":"2026-11-01T00:00:00Z"}}]}`, 422, "candidates[0].train", "learns nothing", nil},
		{"evaluation of training rows", "POST", "/v1/evaluations", `{"placement":"web","candidates":[{"name":"a","spec":{"algorithm":"linear_thompson"},"train":{"to":"2026-11-01T00:00:00Z"}}]}`, 422, "candidates[0].train", "evaluated too", nil},
		{"evaluation trained on half a split", "POST", "/v1/evaluations", `{"placement":"web","candidates":[{"name":"a","spec":{"algorithm":"linear_thompson"},"train":{"split":{"salt":"a","from":0.5,"to":0.5}}}]}`, 422, "candidates[0].train.split", "from < to", nil},
		{"evaluation trained backwards", "POST", "/v1/evaluations", `{"placement":"web","candidates":[{"name":"a","spec":{"algorithm":"linear_thompson"},"train":{"from":"2026-11-02T00:00:00Z","to":"2026-11-01T00:00:00Z"}}]}`, 422, "candidates[0].train.to", "after from", nil},
		{"evaluation of a wrong spec", "POST", "/v1/evaluations", `{"placement":"web","candidates":[{"name":"a","spec":{"algorithm":"uniform","params":{"v":1}}}]}`, 422, "candidates[0].spec.params.v", "unknown parameter", nil},
		{"evaluation beside a banana", "POST", "/v1/evaluations", `{"placement":"web","baselines":["logged","banana"],"candidates":[{"name":"b","spec":{"algorithm":"uniform"}}]}`, 422, "baselines[1]", "fixed:", nil},
		{"evaluation beside an unknown action", "POST", "/v1/evaluations", `{"placement":"web","baselines":["fixed:banana"],"candidates":[{"name":"b","spec":{"algorithm":"uniform"}}]}`, 422, "baselines[0]", "there is no banana", nil},
		{"evaluation beside one action twice", "POST", "/v1/evaluations", `{"placement":"web","baselines":["fixed:mens","fixed:mens"],"candidates":[{"name":"b","spec":{"algorithm":"uniform"}}]}`, 422, "baselines[1]", "twice", nil},
		{"evaluation at an unknown placement", "POST", "/v1/evaluations", `{"placement":"nowhere","candidates":[{"name":"b","spec":{"algorithm":"uniform"}}]}`, 422, "placement", "there is no nowhere", nil},
		{"evaluation backwards", "POST", "/v1/evaluations", `{"placement":"web","from":"2026-11-02T00:00:00Z","to":"2026-11-01T00:00:00Z","candidates":[{"name":"b","spec":{"algorithm":"uniform"}}]}`, 422, "to", "after from", nil},
		{"evaluation of both", "POST", "/v1/evaluations", `{"placement":"web","reward":"purchase","objective":"value@1","candidates":[{"name":"b","spec":{"algorithm":"uniform"}}]}`, 422, "reward", "not both", nil},
		{"evaluation by an unknown estimator", "POST", "/v1/evaluations", `{"placement":"web","estimators":["ips","magic"],"candidates":[{"name":"b","spec":{"algorithm":"uniform"}}]}`, 422, "estimators[1]", "not one of", nil},
		{"evaluation of clusters without any", "POST", "/v1/evaluations", `{"placement":"web","estimators":["mips"],"candidates":[{"name":"b","spec":{"algorithm":"uniform"}}]}`, 422, "estimators[0]", "cluster_by", nil},
		{"evaluation by two kinds of clusters", "POST", "/v1/evaluations", `{"placement":"web","clusters":{"a":"x"},"cluster_by":"goal","candidates":[{"name":"b","spec":{"algorithm":"uniform"}}]}`, 422, "cluster_by", "not both", nil},
		{"evaluation by a cluster without a name", "POST", "/v1/evaluations", `{"placement":"web","clusters":{"a":""},"candidates":[{"name":"b","spec":{"algorithm":"uniform"}}]}`, 422, "clusters.a", "names", nil},
		{"evaluation clustered by an owner", "POST", "/v1/evaluations", `{"placement":"web","cluster_by":"owner","candidates":[{"name":"b","spec":{"algorithm":"uniform"}}]}`, 422, "cluster_by", "group", nil},
		{"evaluation cross-fitted by row", "POST", "/v1/evaluations", `{"placement":"web","cross_fit":"row","candidates":[{"name":"b","spec":{"algorithm":"uniform"}}]}`, 422, "cross_fit", "customer", nil},
		{"evaluation of half a split", "POST", "/v1/evaluations", `{"placement":"web","split":{"salt":"a","from":0.5,"to":0.5},"candidates":[{"name":"b","spec":{"algorithm":"uniform"}}]}`, 422, "split", "from < to", nil},
		{"search of nothing", "POST", "/v1/searches", `{"placement":"web","specs":[]}`, 422, "specs", "array length", nil},
		{"search at an unknown placement", "POST", "/v1/searches", `{"placement":"nowhere","specs":[` + ucb + `]}`, 422, "placement", "there is no nowhere", nil},
		{"search of an unknown field", "POST", "/v1/searches", `{"placement":"web","grid":{"alpha":[1]},"specs":[` + ucb + `]}`, 422, "grid", "no such field", nil},
		{"search with an unknown parameter", "POST", "/v1/searches", `{"placement":"web","specs":[{"name":"a","spec":{"algorithm":"linucb"},"grid":{"v":[1,2]}}]}`, 422, "specs[0].grid.v", "unknown parameter; linucb has alpha", nil},
		{"search with an empty grid", "POST", "/v1/searches", `{"placement":"web","specs":[{"name":"a","spec":{"algorithm":"linucb"},"grid":{"alpha":[]}}]}`, 422, "specs[0].grid.alpha", "is empty", nil},
		{"search beyond a bound", "POST", "/v1/searches", `{"placement":"web","specs":[{"name":"a","spec":{"algorithm":"linucb"},"grid":{"floor":[0.1,1.5]}}]}`, 422, "specs[0].grid.floor[1]", "between 0 and 1", nil},
		{"search with a text in the grid", "POST", "/v1/searches", `{"placement":"web","specs":[{"name":"a","spec":{"algorithm":"linucb"},"grid":{"floor":["low"]}}]}`, 422, "specs[0].grid.floor[0]", "number", nil},
		{"search among too many", "POST", "/v1/searches", `{"placement":"web","specs":[{"name":"a","spec":{"algorithm":"linucb"},"grid":{"floor":[` + fifteen + `],"alpha":[` + fifteen + `]}}]}`, 422, "specs", "more than 200", nil},
		{"search of what does not learn", "POST", "/v1/searches", `{"placement":"web","specs":[{"name":"a","spec":{"algorithm":"uniform"}}]}`, 422, "specs[0].spec.algorithm", "learns nothing", nil},
		{"search of a wrong spec", "POST", "/v1/searches", `{"placement":"web","specs":[{"name":"a","spec":{"algorithm":"linucb","params":{"v":1}}}]}`, 422, "specs[0].spec.params.v", "unknown parameter", nil},
		{"search of two specs by one name", "POST", "/v1/searches", `{"placement":"web","specs":[` + ucb + `,{"name":"a","spec":{"algorithm":"ucb1"}}]}`, 422, "specs[1].name", "specs[0] too", nil},
		{"search of the same twice", "POST", "/v1/searches", `{"placement":"web","specs":[` + ucb + `,{"name":"b","spec":{"algorithm":"linucb"}}]}`, 422, "specs[1]", "same policy as a", nil},
		{"search of a spec without a name", "POST", "/v1/searches", `{"placement":"web","specs":[{"name":"","spec":{"algorithm":"ucb1"}}]}`, 422, "specs[0].name", "needs a name", nil},
		{"search with one border", "POST", "/v1/searches", `{"placement":"web","train_to":"2026-09-01T00:00:00Z","specs":[` + ucb + `]}`, 422, "select_to", "is missing", nil},
		{"search with parts that overlap", "POST", "/v1/searches", `{"placement":"web","train_to":"2026-09-02T00:00:00Z","select_to":"2026-09-01T00:00:00Z","specs":[` + ucb + `]}`, 422, "select_to", "after train_to", nil},
		{"search with nothing to train on", "POST", "/v1/searches", `{"placement":"web","from":"2026-09-01T00:00:00Z","train_to":"2026-09-01T00:00:00Z","select_to":"2026-10-01T00:00:00Z","specs":[` + ucb + `]}`, 422, "train_to", "after from", nil},
		{"search without a gate", "POST", "/v1/searches", `{"placement":"web","train_to":"2026-09-01T00:00:00Z","select_to":"2026-10-01T00:00:00Z","to":"2026-10-01T00:00:00Z","specs":[` + ucb + `]}`, 422, "select_to", "before the end", nil},
		{"search with a gate of the future", "POST", "/v1/searches", `{"placement":"web","mature_at":"2027-01-01T00:00:00Z","specs":[` + ucb + `]}`, 422, "mature_at", "in the future", nil},
		{"search by shares of all", "POST", "/v1/searches", `{"placement":"web","shares":{"train":0.6,"select":0.4},"specs":[` + ucb + `]}`, 422, "shares.select", "nothing to the gate", nil},
		{"search by shares and borders", "POST", "/v1/searches", `{"placement":"web","shares":{"train":0.6,"select":0.2},"train_to":"2026-09-01T00:00:00Z","select_to":"2026-10-01T00:00:00Z","specs":[` + ucb + `]}`, 422, "shares", "not both", nil},
		{"search by customers and borders", "POST", "/v1/searches", `{"placement":"web","salt":"s","train_to":"2026-09-01T00:00:00Z","select_to":"2026-10-01T00:00:00Z","specs":[` + ucb + `]}`, 422, "salt", "not both", nil},
		{"search by any version of an objective", "POST", "/v1/searches", `{"placement":"web","objective":"value","specs":[` + ucb + `]}`, 422, "objective", "must name a version", nil},
		{"search with rewards the wrong way round", "POST", "/v1/searches", `{"placement":"web","reward_min":1,"reward_max":0,"specs":[` + ucb + `]}`, 422, "reward_max", "below reward_min", nil},
		{"search for a policy without an id", "POST", "/v1/searches", `{"placement":"web","policy":"A b","specs":[` + ucb + `]}`, 422, "policy", "lower-case", nil},
		{"search for an experiment that exists", "POST", "/v1/searches", `{"placement":"web","experiment":{"id":"exp-1","reward":"purchase"},"specs":[` + ucb + `]}`, 422, "experiment.id", "exists already", nil},
		{"search for an experiment on two rewards", "POST", "/v1/searches", `{"placement":"web","experiment":{"id":"new"},"specs":[` + ucb + `]}`, 422, "experiment.reward", "is missing", nil},
		{"search for an experiment on no reward", "POST", "/v1/searches", `{"placement":"web","experiment":{"id":"new","reward":"smiles"},"specs":[` + ucb + `]}`, 422, "experiment.reward", "not a reward kind", nil},
		{"training of an unknown version", "POST", "/v1/policies/lints/versions/9/models", `{"placement":"web"}`, 404, "id", "not known", nil},
		{"training at an unknown placement", "POST", "/v1/policies/lints/versions/1/models", `{"placement":"nowhere"}`, 422, "placement", "there is no", nil},
		{"key with an unknown role", "POST", "/v1/keys", `{"role":"king","name":"x"}`, 422, "role", "one of", nil},
		{"key for nobody", "POST", "/v1/keys", `{"role":"channel","name":""}`, 422, "name", "length", nil},
		{"unknown query parameter", "GET", "/v1/audit?limt=3", ``, 422, "limt", "no such query parameter", nil},
		{"limit of zero", "GET", "/v1/audit?limit=0", ``, 422, "limit", ">= 1", nil},
		{"unknown route", "GET", "/v1/nothing", ``, 404, "", "openapi.json", nil},
		{"unknown method", "DELETE", "/v1/actions/mens", ``, 405, "", "does not take DELETE", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before, written := f.dom.seen(), f.reg.changes()
			w := f.do(Admin, tt.method, tt.path, tt.body, tt.headers...)
			if w.Code != tt.status {
				t.Fatalf("status %d, want %d: %s", w.Code, tt.status, w.Body)
			}
			p := problemOf(t, w)
			text := p.Detail
			if tt.field != "" {
				if len(p.Problems) == 0 || p.Problems[0].Field != tt.field {
					t.Fatalf("problems %+v, want field %q", p.Problems, tt.field)
				}
				text = p.Problems[0].Message + " " + p.Problems[0].Cure
			}
			if !strings.Contains(text, tt.says) {
				t.Errorf("%q does not say %q", text, tt.says)
			}
			if f.dom.seen() != before || f.reg.changes() != written {
				t.Error("something reached the domain or the registry")
			}
		})
	}
}
