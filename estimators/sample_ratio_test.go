package estimators

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestSampleRatioByEnumeration(t *testing.T) {
	shares := []float64{.1, .3, .6}
	var mean, moved float64
	var walk func(counts []int, probability, other float64, depth int)
	walk = func(counts []int, probability, other float64, depth int) {
		if depth == 0 {
			e := math.Exp(SampleRatioLogE(counts, shares))
			mean += probability * e
			moved += other * e
			return
		}
		for k, s := range shares {
			counts[k]++
			walk(counts, probability*s, other/3, depth-1)
			counts[k]--
		}
	}
	walk(make([]int, 3), 1, 1, 8)
	if math.Abs(mean-1) > 1e-9 { // log Γ(10⁵ + n) − log Γ(10⁵) loses six digits
		t.Errorf("E[e] = %.15f under the shares, want 1", mean)
	}
	if moved < 1.2 {
		t.Errorf("E[e] = %v when all arms are equal, want more than 1", moved)
	}
}

func TestSampleRatioOrderAndPureFunctionAgree(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 9))
	shares := []float64{.05, .45, .5}
	test := NewSampleRatio(shares)
	for range 5000 {
		u, k := rng.Float64(), 0
		for u > shares[k] && k < 2 {
			u -= shares[k]
			k++
		}
		test.Add(k)
	}
	if a, b := test.LogE(), SampleRatioLogE(test.Counts(), shares); math.Abs(a-b) > 1e-7 {
		t.Errorf("customer by customer %v, from the counts %v", a, b)
	}
}

func TestSampleRatioErrorRates(t *testing.T) {
	const alpha = .05 // platforms use .001; .05 shows a wrong test with fewer runs
	n, customers := reps(t, 100, 600), 10_000
	for _, c := range []struct {
		name        string
		declared    []float64
		real        float64 // probability of the first arm
		least, most float64
		alpha       float64
	}{
		{"healthy", []float64{.5, .5}, .5, 0, alpha, alpha},
		{"healthy, control 10%", []float64{.1, .9}, .1, 0, alpha, alpha},
		{"one arm loses 10%", []float64{.5, .5}, .4737, .75, 1, .001},
	} {
		rng := rand.New(rand.NewPCG(41, uint64(len(c.name))))
		failed := 0
		for range n {
			test := NewSampleRatio(c.declared)
			for range customers {
				if rng.Float64() < c.real {
					test.Add(0)
				} else {
					test.Add(1)
				}
			}
			if test.MaxLogE() >= -math.Log(c.alpha) {
				failed++
			}
		}
		rate := float64(failed) / float64(n)
		t.Logf("%-25s failed %.4f", c.name, rate)
		if rate > c.most+slack(c.most, n) || rate < c.least-slack(c.least, n) {
			t.Errorf("%s: failed in %.4f of %d runs, want %.3f to %.3f", c.name, rate, n, c.least, c.most)
		}
	}
}

func TestEBH(t *testing.T) {
	log := func(e ...float64) []float64 {
		for i := range e {
			e[i] = math.Log(e[i])
		}
		return e
	}
	for _, c := range []struct {
		e    []float64
		want []bool
	}{
		{log(25), []bool{true}},
		{log(19), []bool{false}},
		{log(30, 30), []bool{true, true}},                       // neither reaches 2/α = 40, both reach 2/(2α)
		{log(30, 1), []bool{false, false}},                      // 30 < 40
		{log(1, 60, 25, 3), []bool{false, false, false, false}}, // 60 < 80, 25 < 40
		{log(1, 60, 45, 3), []bool{false, true, true, false}},
		{nil, []bool{}},
	} {
		got := EBH(c.e, .05)
		for i := range c.want {
			if got[i] != c.want[i] {
				t.Errorf("log e-values %v: rejected %v, want %v", c.e, got, c.want)
				break
			}
		}
	}
}
