package estimators

import (
	"fmt"
	"math"
)

// Side is the side of the null value on which a one-sided test looks for
// evidence. A two-sided mixture would reward harm as well as benefit, so there
// is none.
type Side int

// The two sides.
const (
	Above Side = iota // H₀: at most the null value
	Below             // H₀: at least the null value
)

// RatioTest is an exact, anytime-valid test of the ratio RR of a candidate's
// conversion rate to the control's. It sees only the first conversion of each
// customer and asks whose it was: at enrolment a customer of the pair falls to
// the control with probability s, so if the rates have ratio R₀, a conversion
// is the control's with probability s₀ = s/(s + (1−s)R₀), whatever the rates
// are and however they drift (the conditional argument of Lindon & Malek 2022,
// arXiv 2011.03567, for time-inhomogeneous Bernoulli processes). Against each
// ρ_k of a fixed grid, q_k = s/(s + (1−s)R₀e^(±ρ_k)), a control conversion
// multiplies by q_k/s₀ and a candidate's by (1−q_k)/(1−s₀);
//
//	E = Σ_k π_k Π_i m_i(ρ_k)
//
// has expectation at most 1 at any stopping time under H₀ (RR ≤ R₀ for Above,
// RR ≥ R₀ for Below, for every customer given the past), so E ≥ 1/α is reached
// with probability at most α (Ville 1939).
//
// It is valid only if every assigned customer counts from the first eligible
// decision, whatever was shown; each is judged once, when enrolment + window
// has passed; nobody changes arm; and s is constant within the pair. The null
// of a window that is still open is another one: a candidate that only speeds
// customers up would be promoted.
//
// The counts are sufficient: E depends on nothing else, and Merge is exact.
type RatioTest struct {
	control, candidate int
	logControl         []float64 // log factor of a control conversion, by grid point
	logCandidate       []float64
	max                float64 // of LogE over the conversions so far
}

// ratioGrid holds the effects |log(RR/R₀)| that the mixture bets on, and the
// logarithms of their weights: .9 half-normal(.3), which is where effects of
// policies lie, and .1 half-normal(1.2), so that a disaster is seen within a
// few conversions. Any fixed weights keep the test valid.
var ratioGrid, ratioLogWeights = func() (grid, logw []float64) {
	var w []float64
	var sum float64
	add := func(rho, width float64) {
		density := .9/.3*math.Exp(-rho*rho/(2*.3*.3)) + .1/1.2*math.Exp(-rho*rho/(2*1.2*1.2))
		grid, w = append(grid, rho), append(w, density*width)
		sum += density * width
	}
	for k := 1; k <= 24; k++ {
		add(.05*float64(k), .05)
	}
	for k := 1; k <= 10; k++ {
		add(1.2+.2*float64(k), .2)
	}
	for _, v := range w {
		logw = append(logw, math.Log(v/sum))
	}
	return grid, logw
}()

// NewRatioTest returns a test for a control that holds the given share of the
// pair's customers, 0 < share < 1, against the null ratio > 0. It panics on
// anything else.
func NewRatioTest(share, ratio float64, side Side) *RatioTest {
	if !(share > 0 && share < 1 && ratio > 0 && !math.IsInf(ratio, 1)) {
		panic(fmt.Sprintf("estimators: ratio test with share %v and null ratio %v", share, ratio))
	}
	t := &RatioTest{logControl: make([]float64, len(ratioGrid)), logCandidate: make([]float64, len(ratioGrid))}
	odds := (1 - share) / share * ratio
	for k, rho := range ratioGrid {
		if side == Below {
			rho = -rho
		}
		// q/s₀ = (1+odds)/(1+odds·e^ρ); (1−q)/(1−s₀) = e^ρ q/s₀.
		t.logControl[k] = math.Log1p(odds) - math.Log1p(odds*math.Exp(rho))
		t.logCandidate[k] = rho + t.logControl[k]
	}
	return t
}

// NewSuperiorityTest tests H₀: RR ≤ 1, that the candidate converts no better
// than the control, for a control with the given share of the pair.
func NewSuperiorityTest(share float64) *RatioTest { return NewRatioTest(share, 1, Above) }

// Add takes in one customer's first conversion, the control's or the
// candidate's. Customers who did not convert carry no information about the
// ratio and are not added.
func (t *RatioTest) Add(control bool) {
	if control {
		t.control++
	} else {
		t.candidate++
	}
	t.max = math.Max(t.max, t.LogE())
}

// Merge adds another test's conversions; both must have been made with the
// same arguments. The running maximum afterwards is the larger of both and of
// the present value.
func (t *RatioTest) Merge(o *RatioTest) {
	t.control += o.control
	t.candidate += o.candidate
	t.max = math.Max(math.Max(t.max, o.max), t.LogE())
}

// Counts returns the conversions seen.
func (t *RatioTest) Counts() (control, candidate int) { return t.control, t.candidate }

// LogE returns the logarithm of the evidence against H₀; it starts at 0.
func (t *RatioTest) LogE() float64 {
	return mixture(ratioLogWeights, func(k int) float64 {
		return float64(t.control)*t.logControl[k] + float64(t.candidate)*t.logCandidate[k]
	})
}

// MaxLogE returns the largest LogE at any conversion so far. It may stop an
// experiment by Ville's inequality as LogE may, but it must not enter EBH.
func (t *RatioTest) MaxLogE() float64 { return t.max }

// mixture returns log Σ_k exp(logw[k] + log(k)) without overflow.
func mixture(logw []float64, log func(k int) float64) float64 {
	top := math.Inf(-1)
	var buf [64]float64
	terms := buf[:0]
	for k, w := range logw {
		v := w + log(k)
		terms = append(terms, v)
		top = math.Max(top, v)
	}
	if math.IsInf(top, 0) {
		return top
	}
	var sum float64
	for _, v := range terms {
		sum += math.Exp(v - top)
	}
	return top + math.Log(sum)
}

// RatioSequence returns a confidence sequence for RR from the conversions of a
// pair whose control has the given share: every R₀ that neither one-sided test
// rejects at alpha/2. It is exact at any stopping time where RR is the same for
// all customers; where it varies, the customers' ratios are not all below low
// nor all above high. With no conversions it is (0, +Inf).
func RatioSequence(control, candidate int, share, alpha float64) (low, high float64) {
	return RatioBound(control, candidate, share, alpha/2, Above), RatioBound(control, candidate, share, alpha/2, Below)
}

// RatioBound returns one end: for Above the largest R₀ such that RR ≤ R₀ is
// rejected at alpha, which is 0 when there is none; for Below the smallest R₀
// such that RR ≥ R₀ is rejected, +Inf when there is none. The evidence is
// monotone in R₀, so that the end is found by bisection of log R₀, to 1e-9.
func RatioBound(control, candidate int, share, alpha float64, side Side) float64 {
	rejected := func(logRatio float64) bool {
		t := NewRatioTest(share, math.Exp(logRatio), side)
		t.control, t.candidate = control, candidate
		return t.LogE() >= -math.Log(alpha)
	}
	inside, outside := 14.0, -14.0 // a ratio of a million either way
	none := 0.0
	if side == Below {
		inside, outside, none = outside, inside, math.Inf(1)
	}
	if !rejected(outside) {
		return none
	}
	for math.Abs(inside-outside) > 1e-9 {
		mid := (inside + outside) / 2
		if rejected(mid) {
			outside = mid
		} else {
			inside = mid
		}
	}
	return math.Exp(outside)
}
