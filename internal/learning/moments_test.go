package learning

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"nextbest"
	"nextbest/bandit"
)

// TestMomentsFromTheLog compares with two passes over the contexts, and checks
// that what is logged later, or set aside, does not matter.
func TestMomentsFromTheLog(t *testing.T) {
	rng := rand.New(rand.NewPCG(12, 12))
	r, log, c := newPlatform(), &fakeLog{}, &clock{epoch.Add(time.Hour)}
	tr := newTrainer(t, r, log, log, c)
	const definition = `{"features":[{"name":"age","type":"numeric"},{"name":"web","type":"boolean"}]}`
	if _, err := tr.Moments(t.Context(), []byte(definition), "mail", time.Time{}, time.Time{}); nextbest.CodeOf(err) != nextbest.Conflict {
		t.Errorf("an empty log: %v", err)
	}
	var ages []float64
	for i := range 40 {
		d := decision(rng, epoch.Add(time.Duration(i)*time.Minute), "c")
		d.SetAside = i%4 == 0
		log.add(d)
		var logged struct{ Context map[string]any }
		if err := json.Unmarshal(d.Context, &logged); err != nil {
			t.Fatal(err)
		}
		if 10 <= i && i < 30 && !d.SetAside {
			ages = append(ages, logged.Context["age"].(float64))
		}
	}
	var mean, squares float64
	for _, v := range ages {
		mean += v / float64(len(ages))
	}
	for _, v := range ages {
		squares += (v - mean) * (v - mean)
	}
	document, err := tr.Moments(t.Context(), []byte(definition), "mail", epoch.Add(10*time.Minute), epoch.Add(30*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bandit.NewSchema(document); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Features []struct{ Mean, SD float64 }
		Moments  bandit.Source
	}
	if err := json.Unmarshal(document, &got); err != nil {
		t.Fatal(err)
	}
	if f := got.Features[0]; math.Abs(f.Mean-mean) > 1e-9 || math.Abs(f.SD-math.Sqrt(squares/float64(len(ages)))) > 1e-9 {
		t.Errorf("%v ± %v, want %v ± %v", f.Mean, f.SD, mean, math.Sqrt(squares/float64(len(ages))))
	}
	if want := (bandit.Source{Placement: "mail", From: epoch.Add(10 * time.Minute), To: epoch.Add(30 * time.Minute), Upto: 40, Rows: int64(len(ages))}); got.Moments != want {
		t.Errorf("%+v, want %+v", got.Moments, want)
	}
	if _, err := tr.Moments(t.Context(), []byte(definition), "mail", epoch.Add(50*time.Minute), time.Time{}); nextbest.CodeOf(err) != nextbest.Conflict {
		t.Errorf("no rows: %v", err)
	}
	if _, err := tr.Moments(t.Context(), []byte(definition), "nowhere", time.Time{}, time.Time{}); nextbest.CodeOf(err) != nextbest.NotFound {
		t.Errorf("no placement: %v", err)
	}
}
