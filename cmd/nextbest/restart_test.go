package main

import (
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"nextbest/cmd/nextbest/client"
)

// TestRestart stops a platform with both engines embedded and opens its folder
// again: everything that was acknowledged is there and goes on to count.
func TestRestart(t *testing.T) {
	t.Parallel()
	e := engines{Data: t.TempDir(), Replicas: 1, ClickHouseMemory: 1024, JournalSize: 512}
	r := start(t, e, quick)
	define(t, r)
	r.ready(t)
	trainOnImport(t, r)
	doc, _ := placementAt(t, r, "shop")
	doc["policy"], doc["model"] = "lints@1", 1
	must(t, r.owner, "PUT", "/v1/placements/learned", doc, nil)

	if _, err := openServer(t.Context(), e, quick, slog.New(slog.DiscardHandler), t.Logf); err == nil || !strings.Contains(err.Error(), e.Data) {
		t.Errorf("a second server on the folder: %v", err)
	}

	capped := decide(t, r.channel, call("mailbox", "C-1", 3, "men"))
	if capped.Action != "once" {
		t.Fatalf("first contact: %+v", capped)
	}
	must(t, r.channel, "POST", "/v1/decisions/"+capped.ID+"/impression", obj{"status": "shown"}, nil)
	freed := decide(t, r.channel, call("mailbox", "C-2", 3, "men"))
	must(t, r.channel, "POST", "/v1/decisions/"+freed.ID+"/impression", obj{"status": "bounced"}, nil)
	reserved := decide(t, r.channel, call("mailbox", "C-3", 3, "men"))
	learned := decide(t, r.channel, call("learned", "C-1", 3, "women"))
	var definitions obj
	etag := must(t, r.owner, "GET", "/v1/placements/learned", nil, &definitions).Get("ETag")
	for i := range 100 {
		decide(t, r.channel, call("shop", fmt.Sprintf("N-%d", i), 3, "men"))
	}
	// What is acknowledged last has the least time to reach ClickHouse.
	var last []string
	for i := range 50 {
		last = append(last, orderLine(fmt.Sprintf("late-%d", i), learned.ID, time.Now()))
	}
	must(t, r.channel, "POST", "/v1/rewards", lines(last...), nil, ndjson)
	key := client.Header("Idempotency-Key", "before")
	first := decide(t, r.channel, call("shop", "C-1", 3, "men"), key)
	before := r.state(t)
	r.stop()

	again := start(t, e, quick)
	// The keys of before work as before.
	channel, owner, analyst := again.channel.As(r.channel.Key), again.owner.As(r.owner.Key), again.analyst.As(r.analyst.Key)
	if after := again.state(t); after.Journal != before.Journal || after.Revision < before.Revision {
		t.Errorf("%+v before, %+v after", before, after)
	}
	var same obj
	if h := must(t, owner, "GET", "/v1/placements/learned", nil, &same); h.Get("ETag") != etag || !reflect.DeepEqual(same, definitions) {
		t.Errorf("definition %v at %s before, %v at %s after", definitions, etag, same, h.Get("ETag"))
	}
	repeated := decide(t, channel, call("shop", "C-1", 3, "men"), key)
	if !repeated.Repeated || repeated.ID != first.ID || repeated.Action != first.Action || repeated.Propensity != first.Propensity {
		t.Errorf("the key of before gets %+v, had %+v", repeated, first)
	}
	refused(t, channel, 409, "POST", "/v1/decisions", call("shop", "C-1", 4, "men"), key)
	again.ready(t)
	for customer, want := range map[string]string{"C-1": "do-nothing", "C-2": "once", "C-3": "do-nothing"} {
		if m := decide(t, channel, call("mailbox", customer, 3, "men")); m.Action != want || want == "do-nothing" && m.why("once") != "cap_reached" {
			t.Errorf("%s gets %+v, want %s", customer, m, want)
		}
	}
	if reserved.Action != "once" {
		t.Errorf("reserved %+v", reserved)
	}
	if m := decide(t, channel, call("learned", "C-1", 3, "women")); m.Model != 1 || !reflect.DeepEqual(m.Probabilities, learned.Probabilities) {
		t.Errorf("model %d gives %v, gave %v", m.Model, m.Probabilities, learned.Probabilities)
	}
	if d, w := again.counts(t, "shop"); d != 40+101 || w != 40+50 {
		t.Errorf("%d decisions and %d rewards in the log, want 141 and 90", d, w)
	}
	verified(t, analyst)
}

// trainOnImport makes model 1 of lints from an imported log.
func trainOnImport(t *testing.T, r *rig) {
	t.Helper()
	var rows []string
	for i := range 40 {
		taste := []string{"men", "women"}[i%2]
		rows = append(rows, fmt.Sprintf(`{"id":"%d","customer":{"id":"T-%d"},"time":"2026-01-05T10:00:00Z","context":{"recency":%d,"taste":%q},"action":"womens","eligible":["do-nothing","mens","womens","news"],"rewards":[{"kind":"order","value":%d}]}`,
			i, i, 1+i%12, taste, i%2))
	}
	got, err := r.analyst.Import(t.Context(), client.ImportOptions{Name: "old", Placement: "shop", Randomisation: "uniform"}, lines(rows...))
	if err != nil || got.Rows != 40 {
		t.Fatalf("%+v, %v", got, err)
	}
	must(t, r.analyst, "POST", "/v1/policies/lints/versions/1/models", obj{"placement": "shop"}, nil)
}
