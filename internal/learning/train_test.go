package learning

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"nextbest"
	"nextbest/bandit"
)

var lints = nextbest.Ref{ID: "lints", Version: 1}

func train(t *testing.T, tr *Trainer, q Request) Model {
	t.Helper()
	q.Policy, q.Actor = lints, "ann"
	rec, err := tr.Train(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	m, err := ParseModel(rec)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestBatchFit compares what was learned with the sums over the same rows.
func TestBatchFit(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	r, log, c := newPlatform(), &fakeLog{}, &clock{epoch.Add(time.Hour)}
	history(rng, log, &clock{}, 20, 0.5, func(int) {})
	split := &nextbest.Split{Salt: "half", From: 0, To: 0.5}
	m := train(t, newTrainer(t, r, log, log, c), Request{Placement: "mail", Split: split, From: epoch.Add(-time.Minute)})
	_, got := r.parameters(m.Number)

	type sums struct{ n, squares, b0 float64 }
	want := map[string]*sums{}
	objective := nextbest.Objective{Terms: []nextbest.Term{{Reward: "purchase", Weight: 1}, {Reward: "opt_out", Weight: -5}}, Window: nextbest.Duration(time.Minute), Default: 0.25}
	rows := log.rows(nextbest.Query{Placement: "mail", From: epoch.Add(-time.Minute), MatureAt: c.t, Objective: objective, SkipSetAside: true})
	used := 0
	for _, row := range rows {
		if u := nextbest.Uniform("half", row.d.Customer); u >= 0.5 {
			continue
		}
		used++
		s := want[row.d.Action]
		if s == nil {
			s = &sums{}
			want[row.d.Action] = s
		}
		s.n++
		s.squares += row.reward * row.reward
		s.b0 += row.reward // x[0] is the bias
	}
	if used == 0 || used == len(rows) || m.Trained.Rows != int64(used) || len(want) != 3 {
		t.Fatalf("%d of %d rows are in the split, %d learned", used, len(rows), m.Trained.Rows)
	}
	for action, w := range want {
		s, ok := got.Statistics(action)
		if !ok || s.N != w.n || math.Abs(s.Squares-w.squares) > 1e-9*w.squares || math.Abs(s.B[0]-w.b0) > 1e-9*(1+math.Abs(w.b0)) {
			t.Errorf("%s: %+v, want %+v", action, s, w)
		}
	}
}

// TestBase: a model that continues another has learned each row once, and
// knows what both were learned from; so has the live model that starts there.
func TestBase(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	r, log, c := newPlatform(), &fakeLog{}, &clock{epoch.Add(10 * time.Minute)}
	for i := range 100 {
		log.add(decision(rng, epoch.Add(time.Duration(i)*6*time.Second), fmt.Sprintf("c%d", i%7)))
	}
	tr := newTrainer(t, r, touchedLog{log}, log, c)
	first := train(t, tr, Request{Placement: "mail", MatureAt: epoch.Add(5 * time.Minute)})
	second := train(t, tr, Request{Placement: "mail", Base: first.Number, From: first.Trained.To})
	whole := train(t, tr, Request{Placement: "mail"})
	if first.Trained.Rows == 0 || second.Trained.Rows != whole.Trained.Rows {
		t.Fatalf("rows: %d, then %d, all %d", first.Trained.Rows, second.Trained.Rows, whole.Trained.Rows)
	}
	_, continued := r.parameters(second.Number)
	_, all := r.parameters(whole.Number)
	assertSame(t, continued, all)

	ranges, err := Ranges(r, lints, second.Number)
	if err != nil || len(ranges) != 2 || ranges[0].Model != 1 || !ranges[0].To.Equal(ranges[1].From) {
		t.Fatalf("ranges: %+v, %v", ranges, err)
	}

	r.define(nextbest.KindPlacement, "mail", fmt.Sprintf(`{"objective":"value@1","policy":"lints@1","learning":"online","model":%d}`, second.Number))
	for range 3 {
		c.t = c.t.Add(20 * time.Second)
		log.add(decision(rng, c.t, "late"))
		if err := tr.Pass(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	m, live := r.parameters(r.current())
	if m.Base != second.Number || !m.Trained.From.Equal(second.Trained.To) || tr.Status()[0].Rebuilds != 1 {
		t.Fatalf("live model: %+v", m)
	}
	_, all = r.parameters(train(t, tr, Request{Placement: "mail"}).Number)
	assertSame(t, live, all)
	again, err := tr.Reproduce(t.Context(), lints, m.Number)
	if err != nil {
		t.Fatal(err)
	}
	assertSame(t, live, again.Model)
}

func TestTrainRefusals(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	r, log, c := newPlatform(), &fakeLog{}, &clock{epoch.Add(time.Hour)}
	tr := newTrainer(t, r, log, log, c)
	refused := func(name string, code nextbest.Code, text string, q Request) {
		t.Helper()
		if q.Policy.ID == "" {
			q.Policy = lints
		}
		if q.Actor == "" {
			q.Actor = "ann"
		}
		if _, err := tr.Train(t.Context(), q); nextbest.CodeOf(err) != code || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v (code %q), want %q and %q", name, err, nextbest.CodeOf(err), code, text)
		}
	}
	refused("empty log", nextbest.Conflict, "nothing has been logged", Request{Placement: "mail"})
	log.add(decision(rng, c.t, "c"))
	refused("nothing mature", nextbest.Conflict, "no mature decision", Request{Placement: "mail"})
	refused("future", nextbest.Invalid, "in the future", Request{Placement: "mail", MatureAt: c.t.Add(time.Second)})
	refused("placement", nextbest.NotFound, `placement "none"`, Request{Placement: "none"})
	refused("objective", nextbest.NotFound, "none@1", Request{Placement: "mail", Objective: "none@1"})
	refused("objective without version", nextbest.Invalid, "must name a version", Request{Placement: "mail", Objective: "value"})
	refused("policy", nextbest.NotFound, "none@3", Request{Placement: "mail", Policy: nextbest.Ref{ID: "none", Version: 3}})
	refused("policy without version", nextbest.Invalid, "must name a version", Request{Placement: "mail", Policy: nextbest.Ref{ID: "lints"}})
	refused("not learning", nextbest.Invalid, "learns nothing", Request{Placement: "mail", Policy: nextbest.Ref{ID: "even", Version: 1}})
	refused("base", nextbest.NotFound, "no model 9", Request{Placement: "mail", Base: 9})
	refused("split", nextbest.Invalid, "from < to", Request{Placement: "mail", Split: &nextbest.Split{Salt: "s", From: 0.5, To: 0.5}})
	odd := decision(rng, epoch, "c")
	odd.Context = []byte(`{"context":{"age":"old"},"customer":{}}`)
	log.add(odd)
	refused("features", nextbest.Conflict, "fits the features f@1", Request{Placement: "mail"})
	if h := r.history(nextbest.KindModel, "lints.1"); len(h) != 0 || len(r.blobs) != 0 {
		t.Fatalf("refused training left %d models", len(h))
	}
	log.add(decision(rng, epoch, "d"))
	if m := train(t, tr, Request{Placement: "mail"}); m.Trained.Rows != 1 {
		t.Errorf("learned %d rows beside one that does not fit", m.Trained.Rows)
	}
	if _, err := tr.Train(t.Context(), Request{Policy: lints, Placement: "mail"}); nextbest.CodeOf(err) != nextbest.Invalid {
		t.Errorf("without an actor: %v", err)
	}
	if _, err := Train(t.Context(), log, Job{Policy: lints, Spec: bandit.Spec{Algorithm: "linucb"}, Queries: []nextbest.Query{{Placement: "mail", MatureAt: c.t}}}); nextbest.CodeOf(err) != nextbest.Invalid {
		t.Errorf("without a position: %v", err)
	}
}

// TestLoggedFeatures: where the row's features are in the same schema, x is taken
// from the log and the context is not needed; what the context gives is the
// same to the last bit.
func TestLoggedFeatures(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	r, c := newPlatform(), &clock{epoch.Add(time.Hour)}
	rec, _ := r.Get(nextbest.KindFeatures, "f")
	schema, err := bandit.NewSchema(rec.Document)
	if err != nil {
		t.Fatal(err)
	}
	encoded, logged := &fakeLog{}, &fakeLog{}
	for i := range 30 {
		d := decision(rng, epoch, fmt.Sprintf("c%d", i))
		encoded.add(d)
		var in struct{ Context map[string]any }
		if err := json.Unmarshal(d.Context, &in); err != nil {
			t.Fatal(err)
		}
		d.X = make([]float32, schema.Width())
		if err := schema.Encode(d.X, in.Context, d.Time); err != nil {
			t.Fatal(err)
		}
		d.Features, d.Context = "f@1", []byte("not needed")
		logged.add(d)
	}
	var bytesOf [2][]byte
	for i, log := range []*fakeLog{encoded, logged} {
		_, m := r.parameters(train(t, newTrainer(t, r, log, log, c), Request{Placement: "mail"}).Number)
		if bytesOf[i], err = m.MarshalBinary(); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(bytesOf[0], bytesOf[1]) {
		t.Error("logged and encoded features give different models")
	}
}

func TestBadRows(t *testing.T) {
	rng := rand.New(rand.NewPCG(10, 10))
	r, c := newPlatform(), &clock{epoch.Add(time.Hour)}
	for name, spoil := range map[string]func(*nextbest.Decision, *nextbest.Reward){
		"action not eligible": func(d *nextbest.Decision, _ *nextbest.Reward) { d.Action = "z" },
		"infinite reward":     func(_ *nextbest.Decision, r *nextbest.Reward) { r.Value = math.Inf(1) },
	} {
		log := &fakeLog{}
		d := decision(rng, epoch, "c")
		w := nextbest.Reward{ID: "r", Kind: "purchase", Value: 1, Time: d.Time, DecisionID: d.ID}
		spoil(&d, &w)
		log.add(d)
		log.add(w)
		_, err := newTrainer(t, r, log, log, c).Train(t.Context(), Request{Policy: lints, Placement: "mail", Actor: "ann"})
		if nextbest.CodeOf(err) != nextbest.Internal || !strings.Contains(err.Error(), d.ID.String()) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOverlaps(t *testing.T) {
	at := func(h int) time.Time { return epoch.Add(time.Duration(h) * time.Hour) }
	split := func(salt string, from, to float64) *nextbest.Split {
		return &nextbest.Split{Salt: salt, From: from, To: to}
	}
	r := Range{Placement: "mail@2", Trained: Trained{From: at(1), To: at(2), Split: split("s", 0, 0.5)}}
	for _, c := range []struct {
		name string
		q    nextbest.Query
		want bool
	}{
		{"everything", nextbest.Query{Placement: "mail"}, true},
		{"another placement", nextbest.Query{Placement: "web"}, false},
		{"before", nextbest.Query{Placement: "mail", To: at(1)}, false},
		{"after", nextbest.Query{Placement: "mail", From: at(2)}, false},
		{"into", nextbest.Query{Placement: "mail", From: at(0), To: at(1).Add(1)}, true},
		{"the other half", nextbest.Query{Placement: "mail", Split: split("s", 0.5, 1)}, false},
		{"a little of it", nextbest.Query{Placement: "mail", Split: split("s", 0.49, 1)}, true},
		{"another salt", nextbest.Query{Placement: "mail", Split: split("t", 0.5, 1)}, true},
	} {
		if got := r.Overlaps(c.q); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
		if got := Splits([]Range{r}, c.q); (len(got) == 1) != c.want {
			t.Errorf("%s: splits %v", c.name, got)
		}
	}
	all := Splits([]Range{{Placement: "mail"}}, nextbest.Query{Placement: "mail"})
	if len(all) != 1 || all[0] != (nextbest.Split{To: 1}) {
		t.Errorf("every customer is %v", all)
	}
}

func FuzzParseModel(f *testing.F) {
	f.Add([]byte(`{"policy":"lints@1","hash":"ab","placement":"mail","objective":"value@1","trained":{"from":"2026-01-01T00:00:00Z","to":"2026-02-01T00:00:00Z","mature_at":"2026-02-01T00:00:00Z","upto":7,"split":{"salt":"s","from":0,"to":0.5},"rows":3},"base":0}`), uint64(2))
	f.Add([]byte(`{"policy":"lints@1","hash":"ab","base":5}`), uint64(2))
	f.Fuzz(func(t *testing.T, document []byte, version uint64) {
		m, err := ParseModel(nextbest.Record{Kind: nextbest.KindModel, ID: "lints.1", Version: version, Document: document})
		if err != nil {
			if nextbest.CodeOf(err) != nextbest.Invalid {
				t.Fatalf("code of %v", err)
			}
			return
		}
		if m.Policy != lints || m.Hash == "" || m.Number != version || m.Base >= max(1, version) {
			t.Fatalf("accepted %+v", m)
		}
		again, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseModel(nextbest.Record{Kind: nextbest.KindModel, ID: "lints.1", Version: version, Document: again}); err != nil {
			t.Fatalf("what was accepted is not accepted again: %v", err)
		}
	})
}

func FuzzParseCurrent(f *testing.F) {
	f.Add([]byte(`{"model":814}`))
	f.Add([]byte(`{"model":-1}`))
	f.Add([]byte(`{"model":1}{"model":2}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		c, err := parseCurrent(nextbest.Record{Kind: nextbest.KindCurrent, ID: "lints.1", Document: document})
		if err != nil {
			return
		}
		again, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if d, err := parseCurrent(nextbest.Record{ID: "lints.1", Document: again}); err != nil || d != c {
			t.Fatalf("%q gives %+v and then %+v, %v", document, c, d, err)
		}
	})
}

// BenchmarkTrain learns 1,000 rows of 32 features in batches.
func BenchmarkTrain(b *testing.B) {
	var features []string
	for i := range 31 {
		features = append(features, fmt.Sprintf(`{"name":"f%d","type":"numeric"}`, i))
	}
	schema, err := bandit.NewSchema([]byte(`{"features":[` + strings.Join(features, ",") + `]}`))
	if err != nil {
		b.Fatal(err)
	}
	spec, err := bandit.ParseSpec([]byte(`{"algorithm":"linear_thompson","features":"f@1"}`))
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(11, 11))
	batch := &nextbest.Batch{Offsets: []int{0}, Width: 32}
	for i := range 20 {
		batch.Actions = append(batch.Actions, fmt.Sprintf("a%d", i))
	}
	for i := range 1000 {
		d := decision(rng, epoch, "c")
		for a := range 20 {
			batch.Eligible = append(batch.Eligible, uint32(a))
		}
		batch.Offsets = append(batch.Offsets, len(batch.Eligible))
		batch.Probabilities = append(batch.Probabilities, make([]float64, 20)...)
		batch.Time = append(batch.Time, d.Time.UnixMicro())
		batch.Decision, batch.Policies = append(batch.Decision, d.ID), append(batch.Policies, "lints@1")
		batch.Time = append(batch.Time, d.Time.UnixMicro())
		batch.Features = append(batch.Features, "")
		batch.Chosen, batch.Reward = append(batch.Chosen, i%20), append(batch.Reward, rng.Float64())
		context := map[string]any{}
		for j := range 31 {
			context[fmt.Sprintf("f%d", j)] = rng.Float64()
		}
		x := make([]float32, 32)
		if err := schema.Encode(x, context, d.Time); err != nil {
			b.Fatal(err)
		}
		batch.X = append(batch.X, x...)
		raw, err := json.Marshal(map[string]any{"context": context, "customer": map[string]any{}})
		if err != nil {
			b.Fatal(err)
		}
		batch.Contexts = append(batch.Contexts, raw)
	}
	for name, features := range map[string]string{"logged": spec.Features, "encoded": "other@1"} {
		b.Run(name, func(b *testing.B) {
			for i := range batch.Features {
				batch.Features[i] = features
			}
			s, err := newStudent(Job{Policy: lints, Spec: spec, Schema: schema})
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				for i := range batch.N() {
					if err := s.row(batch, i); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
