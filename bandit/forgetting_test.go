package bandit

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

const day = 24 * time.Hour

// dated is a row with the time of its decision.
type dated struct {
	row
	at time.Time
}

var beginning = time.Date(2021, 3, 1, 7, 30, 0, 123456000, time.UTC)

// datedRows are rows spread evenly over a span, in order of time.
func datedRows(n, k, d int, span time.Duration, seed uint64) []dated {
	rows := make([]dated, n)
	for i, r := range randomRows(n, k, d, seed) {
		rows[i] = dated{r, beginning.Add(span / time.Duration(n) * time.Duration(i))}
	}
	return rows
}

func learnDated(t *testing.T, spec Spec, rows []dated) *Learner {
	t.Helper()
	l, err := NewLearner(spec, len(rows[0].x))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if err := l.LearnAt(r.action, r.x, r.reward, r.at); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// weighted sums rows with weights 2^(−age/halfLife) one by one: what a model of
// time w is defined to be.
func weighted(t *testing.T, spec Spec, rows []dated, w time.Time) *Model {
	t.Helper()
	m := &Model{kind: kindRidge, width: len(rows[0].x), ridge: spec.param("ridge"), halfLife: spec.HalfLife().Microseconds(), at: w.UnixMicro()}
	for k := range 100 {
		a := &armModel{action: actionID(k), sums: newSums(m.width)}
		for _, r := range rows {
			if r.action != a.action {
				continue
			}
			weight := math.Pow(2, -w.Sub(r.at).Hours()/spec.HalfLife().Hours())
			a.n += weight
			a.squares += weight * r.reward * r.reward
			for i, x := range r.x {
				a.b[i] += weight * r.reward * float64(x)
				for j := range i + 1 {
					a.gram[triangle(i)+j] += weight * float64(x) * float64(r.x[j])
				}
			}
		}
		if a.n >= fadedRows {
			m.arms = append(m.arms, a)
		}
	}
	if action, ok := m.derive(); !ok {
		t.Fatalf("the sums of %s are not positive definite", action)
	}
	return m
}

// TestFadingEqualsWeightedSums: in any order, in pieces, through bytes, with a
// clock that moves a little or by years, the model of time W is the weighted fit.
func TestFadingEqualsWeightedSums(t *testing.T) {
	spec := mustSpec(t, `{"algorithm":"linear_thompson","forgetting":{"half_life":"30d"}}`)
	rows := datedRows(3000, 4, 6, 5*365*day, 1)
	w := beginning.Add(5*365*day + 14*day)
	want := weighted(t, spec, rows, w)
	rng := rand.New(rand.NewPCG(1, 2))
	check := func(what string, l *Learner, w time.Time, want *Model) *Model {
		t.Helper()
		l.Age(w)
		m := l.Model()
		sameFaded(t, what, m, want, 1e-9)
		return m
	}
	check("in order", learnDated(t, spec, rows), w, want)
	backwards := append([]dated(nil), rows...)
	for i := range len(rows) / 2 {
		backwards[i], backwards[len(rows)-1-i] = backwards[len(rows)-1-i], backwards[i]
	}
	check("backwards", learnDated(t, spec, backwards), w, want)
	shuffled := append([]dated(nil), rows...)
	rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	check("shuffled", learnDated(t, spec, shuffled), w, want)

	for _, order := range [][2][]dated{{rows[:700], rows[700:]}, {rows[700:], rows[:700]}} {
		merged := learnDated(t, spec, order[0])
		if err := merged.Merge(learnDated(t, spec, order[1])); err != nil {
			t.Fatal(err)
		}
		check("merged", merged, w, want)
	}
	empty, err := NewLearner(spec, 6)
	if err != nil {
		t.Fatal(err)
	}
	if err := empty.Merge(learnDated(t, spec, rows)); err != nil {
		t.Fatal(err)
	}
	check("merged into nothing", empty, w, want)

	// Live: a model every ten rows, each continued through its bytes.
	live := learnDated(t, spec, rows[:10])
	for i := 10; i < len(rows); i += 10 {
		m := check("on the way", live, rows[i-1].at, weighted(t, spec, rows[:i], rows[i-1].at))
		b, _ := m.MarshalBinary()
		again, err := UnmarshalModel(b)
		if err != nil {
			t.Fatal(err)
		}
		if live, err = ResumeLearner(spec, again); err != nil {
			t.Fatal(err)
		}
		for _, r := range rows[i:min(i+10, len(rows))] {
			if err := live.LearnAt(r.action, r.x, r.reward, r.at); err != nil {
				t.Fatal(err)
			}
		}
	}
	m := check("resumed 299 times", live, w, want)

	b, _ := m.MarshalBinary()
	again, err := UnmarshalModel(b)
	if err != nil {
		t.Fatal(err)
	}
	if b2, _ := again.MarshalBinary(); !bytes.Equal(b, b2) {
		t.Error("a model that fades encodes to other bytes after decoding")
	}
	r := &Request{X: rows[0].x, Arms: []int32{0, 1, 2, 3, -1}}
	p1, s1 := distribution(t, mustPolicy(t, spec, m), r)
	p2, s2 := distribution(t, mustPolicy(t, spec, again), r)
	if !equal(p1, p2, 0) || !equal(s1, s2, 0) {
		t.Error("a model that fades decides otherwise after decoding")
	}
}

// sameFaded is sameStatistics for weights that are not whole: n to the tolerance.
func sameFaded(t *testing.T, what string, got, want *Model, tolerance float64) {
	t.Helper()
	if got.at != want.at {
		t.Fatalf("%s: of the moment %d, want %d", what, got.at, want.at)
	}
	copied := *got
	copied.arms = nil
	for i, a := range got.arms {
		c := *a
		if i < len(want.arms) && math.Abs(c.n-want.arms[i].n) <= tolerance*want.arms[i].n {
			c.n = want.arms[i].n
		}
		copied.arms = append(copied.arms, &c)
	}
	sameStatistics(t, what, &copied, want, tolerance)
}

// TestFadingOverAges: rows a century apart neither overflow nor poison one
// another; an action whose rows have faded is gone, and comes back with new ones.
func TestFadingOverAges(t *testing.T) {
	spec := mustSpec(t, `{"algorithm":"linucb","forgetting":{"half_life":"1d"}}`)
	rows := datedRows(40, 2, 3, 10*day, 3)
	l := learnDated(t, spec, rows)
	l.Age(beginning.Add(25 * day))
	if m := l.Model(); len(m.Actions()) != 2 {
		t.Fatalf("after two weeks it knows %v", m.Actions())
	}
	l.Age(beginning.Add(60 * day))
	if m := l.Model(); len(m.Actions()) != 0 || m.Rows() != 0 || m.Noise() != priorNoise {
		t.Fatalf("after fifty half-lives it knows %v", m.Actions())
	}
	l.Age(beginning) // a clock set back
	if m := l.Model(); m.at != beginning.Add(60*day).UnixMicro() {
		t.Fatalf("it grew younger: %d", m.at)
	}
	late := []dated{{rows[0].row, beginning.Add(100 * 365 * day)}, {rows[1].row, beginning.Add(100*365*day + time.Hour)}}
	late[0].action, late[1].action = actionID(7), actionID(7)
	for _, r := range late {
		if err := l.LearnAt(r.action, r.x, r.reward, r.at); err != nil {
			t.Fatal(err)
		}
	}
	sameFaded(t, "a century later", l.Model(), weighted(t, spec, late, late[1].at), 1e-12)
	if len(l.arms) != 1 {
		t.Errorf("sums of %d actions are kept", len(l.arms))
	}
	for _, r := range rows { // a century out of order: they weigh nothing
		if err := l.LearnAt(r.action, r.x, r.reward, r.at); err != nil {
			t.Fatal(err)
		}
	}
	sameFaded(t, "old rows afterwards", l.Model(), weighted(t, spec, late, late[1].at), 1e-12)

	if err := l.Unlearn(late[0].action, late[0].x, late[0].reward); err == nil {
		t.Error("a row was taken out of sums that fade")
	}
	plain := learn(t, mustSpec(t, `{"algorithm":"linucb"}`), randomRows(9, 1, 3, 1))
	if err := l.Merge(plain); err == nil {
		t.Error("learners with and without a half-life were merged")
	}
	if _, err := ResumeLearner(spec, plain.Model()); err == nil || !strings.Contains(err.Error(), "half-life") {
		t.Errorf("resumed from a model without a half-life: %v", err)
	}
	if _, err := New(mustSpec(t, `{"algorithm":"linucb"}`), l.Model()); err == nil {
		t.Error("a policy took a model with another half-life")
	}
}

// TestLearnWithoutTimes: plain callers age the learner and learn.
func TestLearnWithoutTimes(t *testing.T) {
	spec := mustSpec(t, `{"algorithm":"linear_thompson","forgetting":{"half_life":"7d"}}`)
	rows := datedRows(300, 3, 4, 60*day, 5)
	l, err := NewLearner(spec, 4)
	if err != nil {
		t.Fatal(err)
	}
	live, err := l.Live()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		l.Age(r.at)
		if err := l.Learn(r.action, r.x, r.reward); err != nil {
			t.Fatal(err)
		}
	}
	last := rows[len(rows)-1]
	sameFaded(t, "aged and learned", l.Model(), weighted(t, spec, rows, last.at), 1e-9)
	snapshot := mustPolicy(t, spec, l.Model())
	a, b := &Request{X: last.x}, &Request{X: last.x}
	for k := range 3 {
		a.Arms, b.Arms = append(a.Arms, live.Arm(actionID(k))), append(b.Arms, snapshot.Arm(actionID(k)))
	}
	p1, _ := distribution(t, live, a)
	p2, _ := distribution(t, snapshot, b)
	if !equal(p1, p2, 1e-8) {
		t.Errorf("live %v, snapshot %v", p1, p2)
	}
}

// TestSharedWeightsFade: policies that derive their parameters from all actions'
// sums decide by the faded ones, live and from a snapshot alike, however long
// ago the rows were.
func TestSharedWeightsFade(t *testing.T) {
	for _, algorithm := range []string{"shared_thompson", "hybrid_linucb"} {
		spec := mustSpec(t, fmt.Sprintf(`{"algorithm":%q,"action_features":{"action-0":[1,0],"action-1":[0,1],"action-2":[1,1]},"forgetting":{"half_life":"7d"}}`, algorithm))
		rows := datedRows(300, 3, 4, 60*day, 6)
		l := learnDated(t, spec, rows)
		live, err := l.Live()
		if err != nil {
			t.Fatal(err)
		}
		for _, age := range []time.Duration{0, 30 * day, 300 * day} {
			w := rows[len(rows)-1].at.Add(age)
			l.Age(w)
			want := mustPolicy(t, spec, weighted(t, spec, rows, w))
			a, b := &Request{X: rows[0].x}, &Request{X: rows[0].x}
			for k := range 3 {
				a.Arms, b.Arms = append(a.Arms, live.Arm(actionID(k))), append(b.Arms, want.Arm(actionID(k)))
			}
			p1, s1 := distribution(t, live, a)
			p2, s2 := distribution(t, want, b)
			if algorithm == "shared_thompson" { // its draws follow from the model's very bytes
				p2, _ = distribution(t, mustPolicy(t, spec, l.Model()), b)
			}
			if !equal(p1, p2, 1e-8) || !equal(s1, s2, 1e-8) {
				t.Errorf("%s after %s: live %v %v, the weighted fit %v %v", algorithm, age, p1, s1, p2, s2)
			}
		}
	}
}

func TestForgettingSpec(t *testing.T) {
	for document, text := range map[string]string{
		`{"algorithm":"uniform","forgetting":{"half_life":"30d"}}`:             "learns nothing",
		`{"algorithm":"linucb","forgetting":{}}`:                               "either half_life or window",
		`{"algorithm":"linucb","forgetting":{"half_life":"1d","window":"1d"}}`: "either half_life or window",
		`{"algorithm":"linucb","forgetting":{"half_life":"1ms"}}`:              "forgetting.half_life",
		`{"algorithm":"linucb","forgetting":{"window":90}}`:                    "forgetting.window",
		`{"algorithm":"linucb","forgetting":{"halflife":"1d"}}`:                "unknown field",
		`{"algorithm":"linucb","forgetting":{"half_life":"1.000000001s"}}`:     "microseconds",
		`{"algorithm":"linucb","forgetting":3}`:                                "object",
	} {
		if _, err := ParseSpec([]byte(document)); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, want %q", document, err, text)
		}
	}
	spec := mustSpec(t, `{"algorithm":"linucb","forgetting":{"window":"64d"}}`)
	for hours := range 100 {
		w := beginning.Add(time.Duration(hours) * time.Hour)
		since := spec.Since(w)
		if age := w.Sub(since); age < 64*day || age >= 65*day || since.UnixMicro()%day.Microseconds() != 0 {
			t.Fatalf("the window of %s begins at %s", w, since)
		}
	}
	if early := spec.Since(time.Unix(0, 0).Add(-time.Hour)); !early.Equal(time.Unix(0, 0).Add(-65 * day)) {
		t.Errorf("before 1970 it begins at %s", early)
	}
	if !mustSpec(t, `{"algorithm":"linucb"}`).Since(beginning).IsZero() {
		t.Error("without a window it begins")
	}
}

// TestForgettingFollowsDrift: in a world whose best actions change every 1,000
// hours, forgetting earns more; in one that stays, it costs little. Rewards are
// linear in the context with noise of .5, one decision an hour, and actions chosen at
// random earn 0 on average.
func TestForgettingFollowsDrift(t *testing.T) {
	const d, k, horizon, worlds = 4, 4, 4000, 10
	play := func(seed uint64, drifts bool, document string) float64 {
		spec := mustSpec(t, document)
		rng := rand.New(rand.NewPCG(seed, 77))
		l, err := NewLearner(spec, d)
		if err != nil {
			t.Fatal(err)
		}
		var theta [k][d]float64
		var policy Policy
		var earned float64
		p, scores := make([]float64, k), make([]float64, k)
		for step := range horizon {
			at := beginning.Add(time.Duration(step) * time.Hour)
			if step == 0 || drifts && step%1000 == 0 {
				for a := range k {
					for j := range d {
						theta[a][j] = rng.NormFloat64() / 2
					}
				}
			}
			if step%20 == 0 {
				l.Age(at)
				policy = mustPolicy(t, spec, l.Model())
			}
			x := randomX(rng, d)
			r := &Request{X: x}
			for a := range k {
				r.Arms = append(r.Arms, policy.Arm(actionID(a)))
			}
			if err := policy.Distribution(p, scores, r); err != nil {
				t.Fatal(err)
			}
			a := Draw(p, rng.Float64())
			reward := 0.5 * rng.NormFloat64()
			for j, v := range x {
				reward += theta[a][j] * float64(v)
			}
			earned += reward
			if err := l.LearnAt(actionID(a), x, reward, at); err != nil {
				t.Fatal(err)
			}
		}
		return earned / horizon
	}
	const never, fading = `{"algorithm":"linear_thompson"}`, `{"algorithm":"linear_thompson","forgetting":{"half_life":"300h"}}`
	gain := func(drifts bool) (mean, se, level float64) {
		var sum, squares float64
		for w := range uint64(worlds) {
			without, with := play(w, drifts, never), play(w, drifts, fading)
			level += without / worlds
			sum += with - without
			squares += (with - without) * (with - without)
		}
		mean = sum / worlds
		return mean, math.Sqrt((squares/worlds - mean*mean) / (worlds - 1)), level
	}
	if mean, se, level := gain(true); mean-4*se < 0.25*level {
		t.Errorf("where the world drifts, forgetting adds %.4f ± %.4f to %.4f; at least a quarter was promised", mean, se, level)
	} else {
		t.Logf("drift: %.4f, forgetting adds %.4f ± %.4f", level, mean, se)
	}
	if mean, se, level := gain(false); mean-4*se < -0.01*level {
		t.Errorf("where it stays, forgetting costs %.4f ± %.4f of %.4f; at most a hundredth was promised", -mean, se, level)
	} else {
		t.Logf("no drift: %.4f, forgetting adds %.4f ± %.4f", level, mean, se)
	}
}
