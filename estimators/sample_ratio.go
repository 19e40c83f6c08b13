package estimators

import (
	"fmt"
	"math"
)

// sampleRatioPrior holds the concentrations of the Dirichlet priors, centred
// on the declared shares, that the test mixes with equal weights: a coarse
// mistake (an arm that gets nobody) is seen within a few customers, a loss of
// a few percent of one arm within some ten thousand.
var sampleRatioPrior = [...]float64{10, 1000, 100000}

// SampleRatio tests, at every customer, whether customers fall to the arms in
// the declared shares. It is the sequential multinomial test of Lindon & Malek
// (2022, arXiv 2011.03567): the evidence is the Dirichlet-multinomial
// probability of the assignments over their probability under the shares θ,
//
//	E = mean_c B(cθ + n)/B(cθ) · Π_k θ_k^(−n_k)
//
// with B the multivariate beta function. E ≥ 1/α happens with probability at
// most α however often one looks, where a daily χ² test would fail far more
// often. A failed sample ratio means that customers were lost or assigned
// otherwise than declared, and that no comparison between the arms holds.
type SampleRatio struct {
	shares []float64
	counts []int
	n      int
	logs   [len(sampleRatioPrior)]float64
	max    float64
}

// NewSampleRatio returns a test of the given positive shares, which are scaled
// to sum to 1. It panics on a share that is not positive and finite.
func NewSampleRatio(shares []float64) *SampleRatio {
	t := &SampleRatio{shares: make([]float64, len(shares)), counts: make([]int, len(shares))}
	var sum float64
	for k, s := range shares {
		if !(s > 0) || math.IsInf(s, 1) {
			panic(fmt.Sprintf("estimators: share %d of the sample ratio is %v", k, s))
		}
		sum += s
	}
	for k, s := range shares {
		t.shares[k] = s / sum
	}
	return t
}

// Add takes in one customer of the arm with index k.
func (t *SampleRatio) Add(k int) {
	// The beta functions telescope into a product of predictive probabilities.
	theta := t.shares[k]
	for i, c := range sampleRatioPrior {
		t.logs[i] += math.Log((c*theta + float64(t.counts[k])) / ((c + float64(t.n)) * theta))
	}
	t.counts[k]++
	t.n++
	if top := math.Max(math.Max(t.logs[0], t.logs[1]), t.logs[2]); top > t.max { // the mean is below its largest term
		t.max = math.Max(t.max, t.LogE())
	}
}

// Counts returns the customers of each arm. The caller must not change them.
func (t *SampleRatio) Counts() []int { return t.counts }

// LogE returns the logarithm of the evidence against the shares.
func (t *SampleRatio) LogE() float64 {
	top := math.Max(math.Max(t.logs[0], t.logs[1]), t.logs[2])
	var sum float64
	for _, v := range t.logs {
		sum += math.Exp(v - top)
	}
	return top + math.Log(sum/float64(len(t.logs)))
}

// MaxLogE returns the largest LogE at any customer so far.
func (t *SampleRatio) MaxLogE() float64 { return t.max }

// SampleRatioLogE returns what SampleRatio.LogE gives after these counts: the
// evidence does not depend on the order. Lengths that differ panic.
func SampleRatioLogE(counts []int, shares []float64) float64 {
	if len(counts) != len(shares) {
		panic("estimators: counts and shares differ in length")
	}
	t := NewSampleRatio(shares)
	var n int
	for _, c := range counts {
		n += c
	}
	for i, c := range sampleRatioPrior {
		log := lgamma(c) - lgamma(c+float64(n))
		for k, m := range counts {
			a := c * t.shares[k]
			log += lgamma(a+float64(m)) - lgamma(a) - float64(m)*math.Log(t.shares[k])
		}
		t.logs[i] = log
	}
	return t.LogE()
}

func lgamma(x float64) float64 {
	v, _ := math.Lgamma(x)
	return v
}
