package logging

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"nextbest"
)

func TestZZMem(t *testing.T) {
	store := testStore(t)
	fillLog(t, store, 4000000)
	q := nextbest.Query{Placement: "email-daily", MatureAt: time.Unix(1800000000, 0),
		Objective: nextbest.Objective{Terms: []nextbest.Term{{Reward: "purchase", Weight: 1}, {Reward: "visit", Weight: 0.1}}, Window: nextbest.Duration(14 * 24 * time.Hour)}}
	for _, upto := range []uint64{0, 9000000} {
		q.Upto = upto
		t0 := time.Now()
		n := 0
		var most uint64
		var ms runtime.MemStats
		err := store.Rows(t.Context(), q, func(b *nextbest.Batch) error {
			n += b.N()
			if n%(1<<19) < b.N() {
				runtime.ReadMemStats(&ms)
				most = max(most, ms.HeapInuse)
			}
			return nil
		})
		fmt.Println(n, err, time.Since(t0), "heap MB", most>>20)
	}
	t0 := time.Now()
	v, err := store.Values(t.Context(), ValueQuery{Placement: "email-daily", Objective: q.Objective, Bucket: 24 * time.Hour, Mature: true})
	fmt.Println(len(v), err, time.Since(t0))
	t0 = time.Now()
	c, err := store.Counts(t.Context(), Span{Placement: "email-daily"})
	fmt.Println(c, err, time.Since(t0))
	t0 = time.Now()
	m, err := store.ActionMix(t.Context(), Span{Placement: "email-daily"}, 24*time.Hour)
	fmt.Println(len(m), err, time.Since(t0))
	var ids []string
	queryRow(t, store, "SELECT groupArray(toString(decision_id)) FROM (SELECT decision_id FROM decisions_raw WHERE cityHash64(decision_id) % 100000 = 0 LIMIT 20)", &ids)
	t0 = time.Now()
	for _, id := range ids {
		var u nextbest.Decision
		fmt.Sscan(id, &u)
		_ = store.Decisions(t.Context(), DecisionQuery{IDs: parse(id)}, func(d *nextbest.Decision) error { return nil })
	}
	fmt.Println("by id", time.Since(t0)/time.Duration(len(ids)))
	t0 = time.Now()
	_ = store.Decisions(t.Context(), DecisionQuery{Key: "abc"}, func(d *nextbest.Decision) error { return nil })
	fmt.Println("by key", time.Since(t0))
	t0 = time.Now()
	n := 0
	err = store.Decisions(t.Context(), DecisionQuery{Placement: "email-daily", Limit: 500000}, func(d *nextbest.Decision) error { n++; return nil })
	fmt.Println("decisions", n, err, time.Since(t0))
	t0 = time.Now()
	n = 0
	err = store.Contacts(t.Context(), time.Time{}, func(string, nextbest.Contact) error { n++; return nil })
	fmt.Println("contacts", n, err, time.Since(t0))
	t0 = time.Now()
	var u uint64
	queryRow(t, store, "SELECT count() FROM attributed_rewards(window=1209600)", &u)
	fmt.Println("attributed", u, time.Since(t0))
}
