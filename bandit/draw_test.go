package bandit

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/google/uuid"

	"nextbest"
)

// vectors are the numbers of testdata/vectors.json, made by testdata/vectors.py.
type vectors struct {
	Uniform []struct {
		Salt, Key string
		Value     float64
	}
	DrawUniform []struct {
		Salt  string
		ID    uuid.UUID
		Slot  uint8
		Value float64
	} `json:"draw_uniform"`
	Draw []struct {
		P     []float64
		U     float64
		Index int
	}
	Gaussian []struct{ Mean, SD, P []float64 } `json:"gaussian_maximum"`
	Floor    []struct {
		P       []float64
		Epsilon float64
		Mu      []float64
	}
}

func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Uniform) == 0 || len(v.DrawUniform) == 0 || len(v.Draw) == 0 || len(v.Gaussian) == 0 || len(v.Floor) == 0 {
		t.Fatal("vectors.json lacks a section")
	}
	for _, c := range v.Uniform {
		if got := nextbest.Uniform(c.Salt, c.Key); got != c.Value {
			t.Errorf("Uniform(%q, %q) = %v, want %v", c.Salt, c.Key, got, c.Value)
		}
	}
	for _, c := range v.DrawUniform {
		if got := DrawUniform(c.Salt, c.ID, c.Slot); got != c.Value {
			t.Errorf("DrawUniform(%q, %s, %d) = %v, want %v", c.Salt, c.ID, c.Slot, got, c.Value)
		}
	}
	for _, c := range v.Draw {
		if got := Draw(c.P, c.U); got != c.Index {
			t.Errorf("Draw(%v, %v) = %d, want %d", c.P, c.U, got, c.Index)
		}
	}
	for _, c := range v.Gaussian {
		for a, got := range probabilitiesOf(t, c.Mean, c.SD) {
			if math.Abs(got-c.P[a]) > 1e-10 {
				t.Errorf("mean %v, sd %v, action %d: %.15g, want %.15g", c.Mean, c.SD, a, got, c.P[a])
			}
		}
	}
	for _, c := range v.Floor {
		explore(c.P, c.Epsilon)
		for a, got := range c.P {
			if math.Abs(got-c.Mu[a]) > 1e-15 {
				t.Errorf("floor %g: %v, want %v", c.Epsilon, c.P, c.Mu)
			}
		}
	}
}

func TestDrawFollowsTheDistribution(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	p := []float64{0.0005, 0, 0.2, 0.5995, 0, 0.2}
	const n = 400_000
	counts := make([]float64, len(p))
	for range n {
		counts[Draw(p, rng.Float64())]++
	}
	var chi2 float64
	for i := range p {
		if p[i] == 0 {
			if counts[i] > 0 {
				t.Errorf("an action with probability 0 was drawn %g times", counts[i])
			}
			continue
		}
		chi2 += (counts[i] - n*p[i]) * (counts[i] - n*p[i]) / (n * p[i])
	}
	if chi2 > 30.7 { // the 1 − 1e-6 quantile of χ² with 3 degrees of freedom
		t.Errorf("χ² = %.1f, counts %v", chi2, counts)
	}
}

// FuzzDraw checks that whatever the probabilities, what is drawn has one.
func FuzzDraw(f *testing.F) {
	f.Add(uint64(1), 0.5, 3)
	f.Add(uint64(2), 1-0x1p-53, 20)
	f.Fuzz(func(t *testing.T, seed uint64, u float64, k int) {
		if !(u >= 0 && u < 1) || k < 1 || k > 1000 {
			t.Skip()
		}
		rng := rand.New(rand.NewPCG(seed, 0))
		p := make([]float64, k)
		var sum float64
		for i := range p {
			if rng.IntN(2) == 0 {
				p[i] = rng.ExpFloat64()
				sum += p[i]
			}
		}
		for i := range p {
			if sum > 0 {
				p[i] /= sum
			}
		}
		switch i := Draw(p, u); {
		case i < 0 && sum > 0:
			t.Errorf("nothing was drawn from %v", p)
		case i >= 0 && !(p[i] > 0):
			t.Errorf("u=%v drew action %d with probability %v", u, i, p[i])
		}
	})
}
