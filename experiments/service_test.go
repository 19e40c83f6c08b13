package experiments

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nextbest"
)

func TestWatchRollsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		p.started(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Watch(ctx) }()
		time.Sleep(3*p.Interval + time.Second)
		synctest.Wait()
		if d := p.state(t, "exp-1"); d.State != Running {
			t.Fatalf("a harmless experiment is %s", d.State)
		}
		p.journal.fill(8000, map[string]int{"control": 10, "candidate": 6}, map[string]int{})
		time.Sleep(p.Interval)
		synctest.Wait()
		d, r, err := p.Get("exp-1")
		if err != nil || d.State != RolledBack || r.Actor != Watcher || !strings.Contains(r.Reason, "purchase") {
			t.Errorf("%s by %s: %s %v", d.State, r.Actor, r.Reason, err)
		}
		if got, v := p.serves(t); got.Policy.ID != "rules" || v != 1 {
			t.Errorf("placement %+v at version %d", got, v)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestCheckReportsTheLog(t *testing.T) {
	p := newPlatform(t)
	p.started(t)
	p.journal.err = nextbest.Errorf(nextbest.Unavailable, "ClickHouse is away")
	if err := p.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "exp-1") || p.state(t, "exp-1").State != Running {
		t.Errorf("%v", err)
	}
}

func TestRollbackOfThePlacement(t *testing.T) {
	p := newPlatform(t)
	p.started(t)
	if _, err := p.Promote(t.Context(), byBob); err != nil {
		t.Fatal(err)
	}
	back, err := p.Rollback(t.Context(), "email", "ann", "complaints")
	if err != nil || back.Policy.String() != "rules@1" || back.Model != 0 || back.Version != 3 || back.Experiment != "" {
		t.Fatalf("%+v %v", back, err)
	}
	if st, err := p.Status(t.Context(), "exp-1"); err != nil || st.Serving || st.State != Promoted {
		t.Errorf("%+v %v", st, err)
	}
	// Again would mean forth to the policy that was just undone.
	if _, err := p.Rollback(t.Context(), "email", "ann", "again"); nextbest.CodeOf(err) != nextbest.Conflict {
		t.Errorf("a second rollback: %v", err)
	}
	// Three policies on top of one another come off one by one.
	for _, policy := range []string{"lints@1", "lints@2"} {
		p.put(t, nextbest.KindPlacement, "email", `{"objective":"value@1","policy":"`+policy+`"}`)
	}
	for _, want := range []string{"lints@1", "rules@1"} {
		if back, err := p.Rollback(t.Context(), "email", "ann", "back"); err != nil || back.Policy.String() != want {
			t.Errorf("%+v %v, want %s", back, err, want)
		}
	}
}

func TestRollbackEndsARunningExperiment(t *testing.T) {
	p := newPlatform(t)
	p.started(t)
	back, err := p.Rollback(t.Context(), "email", "ann", "complaints")
	if err != nil || back.Experiment != "exp-1" || back.Policy.String() != "rules@1" || back.Version != 1 {
		t.Fatalf("%+v %v", back, err)
	}
	if d := p.state(t, "exp-1"); d.State != RolledBack {
		t.Errorf("experiment %s", d.State)
	}
}

func TestStartNeedsWhatItNames(t *testing.T) {
	for name, c := range map[string]struct {
		old, new string
		saves    bool // the draft is refused only when started
		says     string
	}{
		"placement": {`"placement":"email"`, `"placement":"none"`, false, "placement"},
		"policy":    {`lints@1`, `lints@9`, false, "arms[1].policy"},
		"model":     {`"model":2`, `"model":3`, false, "arms[1].model"},
		"window":    {`"window":"14d"`, `"window":"7d"`, false, "window"},
		"control":   {`rules@1`, `lints@1`, true, "arms[0].policy"},
	} {
		p := newPlatform(t)
		_, err := p.Save(t.Context(), "exp-1", []byte(strings.Replace(document, c.old, c.new, 1)), "ann", "", 0)
		if c.saves && err == nil {
			_, err = p.Start(t.Context(), "exp-1", "ann", "")
		}
		if nextbest.CodeOf(err) != nextbest.Invalid || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	p := newPlatform(t)
	if _, err := p.Start(t.Context(), "none", "ann", ""); nextbest.CodeOf(err) != nextbest.NotFound {
		t.Errorf("%v", err)
	}
}

func TestSaveRampStop(t *testing.T) {
	p := newPlatform(t)
	half := strings.Replace(document, `"salt"`, `"ramp":0.5,"author":"zoe","salt"`, 1)
	r, err := p.Save(t.Context(), "exp-1", []byte(half), "ann", "", 0)
	if err != nil || p.state(t, "exp-1").Author != "ann" {
		t.Fatal(err)
	}
	if _, err := p.Save(t.Context(), "exp-1", []byte(half), "eve", "", r.Revision+5); nextbest.CodeOf(err) != nextbest.Stale {
		t.Errorf("a stale revision: %v", err)
	}
	if _, err := p.Save(t.Context(), "exp-1", []byte(half), "eve", "", r.Revision); err != nil || p.state(t, "exp-1").Author != "ann" {
		t.Fatal(err)
	}
	if _, err := p.Start(t.Context(), "exp-1", "carol", ""); err != nil {
		t.Fatal(err)
	}
	d, rec, _ := p.Get("exp-1")
	if got := strings.Join(p.authors(d, rec), " "); got != "ann eve" {
		t.Errorf("authors %s", got)
	}
	if _, err := p.Ramp(t.Context(), "exp-1", .8, "ann", ""); err != nil || p.state(t, "exp-1").Ramp != .8 {
		t.Error(err)
	}
	if _, err := p.Ramp(t.Context(), "exp-1", .4, "ann", ""); nextbest.CodeOf(err) != nextbest.Invalid {
		t.Errorf("a shrinking ramp: %v", err)
	}
	if _, err := p.Save(t.Context(), "exp-1", []byte(half), "ann", "", nextbest.AnyRevision); nextbest.CodeOf(err) != nextbest.Conflict {
		t.Errorf("a change while running: %v", err)
	}
	if _, err := p.Stop(t.Context(), "exp-1", "ann", "enough"); err != nil || p.state(t, "exp-1").State != Stopped {
		t.Error(err)
	}
	if _, err := p.Stop(t.Context(), "exp-1", "ann", "again"); nextbest.CodeOf(err) != nextbest.Conflict {
		t.Errorf("stopping twice: %v", err)
	}
}

func TestOneExperimentAtAPlacement(t *testing.T) {
	p := newPlatform(t)
	ids := []string{"exp-1", "exp-2", "exp-3", "exp-4"}
	for _, id := range ids {
		if _, err := p.Save(t.Context(), id, []byte(document), "ann", "", 0); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	errs := make([]error, len(ids))
	for i, id := range ids {
		wg.Go(func() { _, errs[i] = p.Start(context.Background(), id, "ann", "") })
	}
	wg.Wait()
	running, started := 0, 0
	for i, id := range ids {
		if p.state(t, id).State == Running {
			running++
		}
		if errs[i] == nil {
			started++
		} else if nextbest.CodeOf(errs[i]) != nextbest.Conflict {
			t.Errorf("%s: %v", id, errs[i])
		}
	}
	if running != 1 || started != 1 {
		t.Errorf("%d run, %d were told so: %v", running, started, errs)
	}
	// What a crash between the two writes of a second start leaves behind.
	for _, id := range ids {
		if d, r, _ := p.Get(id); d.State == Draft {
			next, _ := d.Start(p.clock)
			if _, err := p.registry.Put(t.Context(), nextbest.Change{Kind: nextbest.KindExperiment, ID: id, Document: next.Document(), IfMatch: r.Revision}); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	first := p.firstRunning("email")
	if err := p.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := p.running("email", ""); len(left) != 1 || left[0].ID != first {
		t.Errorf("after a look %d run, the first is %s", len(left), first)
	}
}

func TestOnlineArmsNameTheirModel(t *testing.T) {
	p := newPlatform(t)
	online := strings.Replace(document, `"model":2`, `"model":0,"learning":"online"`, 1)
	if _, err := p.Save(t.Context(), "exp-1", []byte(online), "ann", "", 0); err != nil {
		t.Fatal(err)
	}
	p.clock = start
	if _, err := p.Start(t.Context(), "exp-1", "ann", ""); err != nil {
		t.Fatal(err)
	}
	p.clock = start.Add(40 * day)
	p.journal.fill(8000, map[string]int{"control": 10, "candidate": 15}, map[string]int{"control": 5, "candidate": 5})
	for model, says := range map[uint64]string{0: "learns online", 7: "no model 7"} {
		q := byBob
		q.Model = model
		if _, err := p.Promote(t.Context(), q); nextbest.CodeOf(err) != nextbest.Invalid || !strings.Contains(err.Error(), says) {
			t.Errorf("model %d: %v", model, err)
		}
	}
	q := byBob
	q.Model = 2
	if _, err := p.Promote(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	if got, _ := p.serves(t); got.Model != 2 || got.Learning != "frozen" {
		t.Errorf("%+v", got)
	}
}

func TestWaitsForLateRewards(t *testing.T) {
	day := 24 * time.Hour
	for _, v := range []struct{ settle, window, want time.Duration }{
		{0, 14 * day, day}, {0, time.Hour, 6 * time.Minute}, {time.Second, 14 * day, time.Second}, {-1, 14 * day, 0},
	} {
		s := &Service{Options{Settle: v.settle}}
		if got := s.waits(&Definition{Window: nextbest.Duration(v.window)}); got != v.want {
			t.Errorf("settle %v, window %v: waits %v, want %v", v.settle, v.window, got, v.want)
		}
	}
}
