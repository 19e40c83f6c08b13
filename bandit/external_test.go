package bandit

import (
	"math"
	"math/rand/v2"
	"testing"

	"nextbest"
)

func TestExternal(t *testing.T) {
	r := &Request{Arms: []int32{-1, -1, -1}, Scores: []float64{0.5, 0.375, 0.25}, Scale: []float64{1, 2, 1}, Offset: []float64{0, -0.25, 0}}
	for document, want := range map[string][]float64{ // of the scores .5, .5 and .25
		`{"algorithm":"external"}`:                                             {0.475 + 0.05/3, 0.475 + 0.05/3, 0.05 / 3},
		`{"algorithm":"external","params":{"epsilon":0.3}}`:                    {0.45, 0.45, 0.1},
		`{"algorithm":"external","params":{"epsilon":0,"temperature":1e6}}`:    {1. / 3, 1. / 3, 1. / 3},
		`{"algorithm":"external","params":{"epsilon":0.3,"temperature":1e-3}}`: {0.45, 0.45, 0.1},
	} {
		p, _ := distribution(t, mustPolicy(t, mustSpec(t, document), nil), r)
		if !equal(p, want, 1e-6) {
			t.Errorf("%s: %v, want %v", document, p, want)
		}
	}
	p := mustPolicy(t, mustSpec(t, `{"algorithm":"external","params":{"epsilon":0,"temperature":0.2}}`), nil)
	got, scores := distribution(t, p, &Request{Arms: []int32{-1, -1}, Scores: []float64{0.1, 0.3}})
	if want := 1 / (1 + math.Exp(1)); math.Abs(got[0]-want) > 1e-15 || scores[1] != 0.3 {
		t.Errorf("%v with scores %v, want %v first", got, scores, want)
	}
}

func TestExternalDistributions(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 3000 {
		k := 1 + rng.IntN(12)
		r := &Request{Arms: make([]int32, k)}
		for range k {
			r.Scores = append(r.Scores, math.Exp(20*rng.NormFloat64())*rng.NormFloat64())
			r.Scale = append(r.Scale, math.Exp(8*rng.NormFloat64()))
			r.Offset = append(r.Offset, rng.NormFloat64())
		}
		for _, document := range []string{`{"algorithm":"external"}`, `{"algorithm":"external","params":{"epsilon":0,"temperature":0.01}}`} {
			distribution(t, mustPolicy(t, mustSpec(t, document), nil), r)
		}
	}
}

func TestExternalRefuses(t *testing.T) {
	policy := mustPolicy(t, mustSpec(t, `{"algorithm":"external"}`), nil)
	for _, given := range [][]float64{nil, {1, math.NaN()}, {math.Inf(1), 1}, {1, 1e308}} {
		err := policy.Distribution(make([]float64, 2), make([]float64, 2), &Request{Arms: []int32{-1, -1}, Scores: given, Scale: []float64{1, 10}})
		if nextbest.CodeOf(err) != nextbest.Invalid {
			t.Errorf("scores %v: %v", given, err)
		}
	}
}
