package estimators

import (
	"fmt"
	"math"
)

// Harm is the direction in which a guardrail's metric gets worse.
type Harm string

// The two directions.
const (
	HarmIncrease Harm = "increase" // more is worse: opt-outs, complaints
	HarmDecrease Harm = "decrease" // less is worse: purchases, visits
)

// NewRatioRollback tests H₀: the candidate's conversion rate is no worse than
// the control's by more than a relative margin (RR ≤ 1+margin where more is
// worse, RR ≥ 1−margin where less is). Evidence of 1/α_r takes the candidate
// back; a candidate within the margin is ever taken back with probability at
// most α_r. Margin 0 asks whether it is worse at all.
func NewRatioRollback(share, margin float64, harm Harm) *RatioTest {
	if harm == HarmIncrease {
		return NewRatioTest(share, 1+margin, Above)
	}
	return NewRatioTest(share, 1-margin, Below)
}

// NewRatioNonInferiority tests the opposite, H₀: the candidate is worse than
// the control by the relative margin or more. Evidence of 1/α shows that it is
// not; with several guardrails each needs its own 1/α (intersection-union).
func NewRatioNonInferiority(share, margin float64, harm Harm) *RatioTest {
	if harm == HarmIncrease {
		return NewRatioTest(share, 1+margin, Below)
	}
	return NewRatioTest(share, 1-margin, Above)
}

// DifferenceTest is an exact, anytime-valid test of the difference
// Δ = E[Y|candidate] − E[Y|control] for a bounded metric 0 ≤ Y ≤ B, by betting
// on the Horvitz-Thompson contrast X = ZY/p − (1−Z)Y/(1−p), p the candidate's
// share of the pair, E[X] = Δ (Waudby-Smith & Ramdas 2024, arXiv 2010.09686):
//
//	Above, H₀: Δ ≤ c:  E = mean_k Π (1 + λ_k(X − c)),  0 < λ_k < 1/(B/(1−p) + c)
//	Below, H₀: Δ ≥ c:  E = mean_k Π (1 − λ_k(X − c)),  0 < λ_k < 1/(B/p − c)
//
// Each customer is one X, counted when enrolment + window has passed.
type DifferenceTest struct {
	p, bound, c float64
	sign        float64
	lambda      []float64
	logs        []float64 // Σ log factor over the customers with Y ≠ 0
	zeros       int       // customers with Y = 0: X = 0, one factor for all
	n           int
	max         float64
}

var differenceLogWeights = func() []float64 {
	w := make([]float64, 12)
	for k := range w {
		w[k] = -math.Log(float64(len(w)))
	}
	return w
}()

// NewDifferenceTest returns a test for a candidate with share p of the pair's
// customers, values in [0, bound], and the null difference c, |c| < bound. It
// panics on anything else.
func NewDifferenceTest(p, bound, c float64, side Side) *DifferenceTest {
	if !(p > 0 && p < 1 && bound > 0 && math.Abs(c) < bound) {
		panic(fmt.Sprintf("estimators: difference test with share %v, bound %v and null difference %v", p, bound, c))
	}
	t := &DifferenceTest{p: p, bound: bound, c: c, sign: 1}
	limit := 1 / (bound/(1-p) + c)
	if side == Below {
		t.sign, limit = -1, 1/(bound/p-c)
	}
	// The best bet is about Δ−c over the variance of X; halving from near the
	// limit covers three and a half orders of magnitude of it.
	for range differenceLogWeights {
		limit /= 2
		t.lambda = append(t.lambda, limit)
	}
	t.logs = make([]float64, len(t.lambda))
	return t
}

// NewDifferenceRollback tests H₀: the candidate is no worse than the control
// by more than margin, in the metric's unit per customer.
func NewDifferenceRollback(p, bound, margin float64, harm Harm) *DifferenceTest {
	if harm == HarmIncrease {
		return NewDifferenceTest(p, bound, margin, Above)
	}
	return NewDifferenceTest(p, bound, -margin, Below)
}

// NewDifferenceNonInferiority tests H₀: the candidate is worse than the
// control by margin or more.
func NewDifferenceNonInferiority(p, bound, margin float64, harm Harm) *DifferenceTest {
	if harm == HarmIncrease {
		return NewDifferenceTest(p, bound, margin, Below)
	}
	return NewDifferenceTest(p, bound, -margin, Above)
}

// Add takes in one customer. y is brought into [0, B] first, so that the test
// is of the capped metric; NaN panics.
func (t *DifferenceTest) Add(candidate bool, y float64) {
	if math.IsNaN(y) {
		panic("estimators: difference test of NaN")
	}
	t.n++
	if y = math.Min(math.Max(y, 0), t.bound); y == 0 {
		t.zeros++
		return
	}
	x := y / t.p
	if !candidate {
		x = -y / (1 - t.p)
	}
	for k, l := range t.lambda {
		t.logs[k] += math.Log1p(t.sign * l * (x - t.c))
	}
	t.max = math.Max(t.max, t.LogE())
}

// Merge adds another test's customers; both must have been made with the same
// arguments.
func (t *DifferenceTest) Merge(o *DifferenceTest) {
	for k := range t.logs {
		t.logs[k] += o.logs[k]
	}
	t.zeros += o.zeros
	t.n += o.n
	t.max = math.Max(math.Max(t.max, o.max), t.LogE())
}

// N returns the number of customers.
func (t *DifferenceTest) N() int { return t.n }

// LogE returns the logarithm of the evidence against H₀; it starts at 0.
func (t *DifferenceTest) LogE() float64 {
	return mixture(differenceLogWeights, func(k int) float64 {
		return t.logs[k] + float64(t.zeros)*math.Log1p(-t.sign*t.lambda[k]*t.c)
	})
}

// MaxLogE returns the largest LogE at any customer with Y ≠ 0 so far, or the
// present one.
func (t *DifferenceTest) MaxLogE() float64 { return math.Max(t.max, t.LogE()) }
