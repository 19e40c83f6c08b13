package offline

import (
	"fmt"
	"math"

	"nextbest/estimators"
)

// methodSequence is an asymptotic confidence sequence, tightest at the number of
// customers of this log.
const methodSequence = "asymptotic_sequence"

// weighsByTime reports whether AIPW by blocks of time is computed: on request, and where
// the logger learned from the rows and has the floor that it needs.
func weighsByTime(req *Request, s *study) bool {
	if req.Adaptive && req.CrossFit != crossFitTime {
		return false
	}
	_, floored := maxWeight(req, s)
	return floored && (req.Adaptive || req.asks("adaptive_aipw"))
}

// unweighed says why there is no AIPW by blocks of time; empty where there is.
func unweighed(req *Request, s *study, blocks timeBlocks) string {
	_, floored := maxWeight(req, s)
	switch {
	case !floored:
		return "AIPW by blocks of time needs a declared exploration floor: without one the variance of a row's term has no bound"
	case req.Adaptive && req.CrossFit != crossFitTime:
		return "AIPW of an adaptive log needs reward models of earlier rows only: ask for cross_fit time"
	case blocks.n() < 2:
		return "AIPW by blocks of time needs to know what came before a row, and all decisions are of one time"
	}
	return ""
}

// logged is what is known of how a row's action was drawn.
type logged struct {
	probabilities []float64 // of the policy that served; NaN or none where unknown
	chosen        int
	propensity    float64 // that weighs
}

// known reports whether the serving policy's probabilities are.
func (l *logged) known() bool { return len(l.probabilities) > 0 && !math.IsNaN(l.probabilities[0]) }

// mixed reports whether the propensity is of several arms together.
func (l *logged) mixed() bool {
	return l.known() && math.Abs(l.probabilities[l.chosen]-l.propensity) > 1e-12
}

// secondMoment is Σ_a π(a|x)²/e(a|x), the mean of the squared weight given the
// row's context, or the row's own squared weight where e is only known of the
// action that was taken; both have the same mean.
func (l *logged) secondMoment(π []float64, support float64) (m float64) {
	if !l.known() || l.mixed() {
		if l.propensity < support {
			return 0
		}
		w := π[l.chosen] / l.propensity
		return w * w
	}
	for k, e := range l.probabilities {
		if e >= support {
			m += π[k] * π[k] / e
		}
	}
	return m
}

// stabilityTotals sum second moments by policy (the candidates, then doing
// nothing) and block of time.
type stabilityTotals struct {
	sum  [][]float64
	rows [][]float64
}

func newStabilityTotals(policies, blocks int) *stabilityTotals {
	t := &stabilityTotals{}
	for range policies {
		t.sum, t.rows = append(t.sum, make([]float64, blocks)), append(t.rows, make([]float64, blocks))
	}
	return t
}

func (t *stabilityTotals) add(policy int, block uint8, m float64) {
	t.sum[policy][block] += m
	t.rows[policy][block]++
}

func (t *stabilityTotals) merge(o *stabilityTotals) {
	for p := range t.sum {
		for b := range t.sum[p] {
			t.sum[p][b] += o.sum[p][b]
			t.rows[p][b] += o.rows[p][b]
		}
	}
}

// weights returns h of every policy and block of time,
//
//	h_b = (mean over the rows j of the block before of Σ_a π(a|x_j)²/e_j(a|x_j))^(−1/4)
//
// It is known before the block begins, and the same for every row of it, whatever
// its context. The power −1/2 would be about one over the standard deviation of a
// row's term (Hadad et al. 2021, arXiv 1911.02768, §2.2), and gives the terms one
// variance; but Σh then follows the luck of the log, and V = Σhφ/Σh is biased with
// it: by −.14 of its standard deviation where no action is better than another, by
// −.07 with −1/4, whose mean squared error is the least of −1/2, −1/4 and 0 (note
// 28 in docs/decisions). The first block has the h of uniform logging and a
// candidate that is certain; a block before which the candidate never agreed with
// the log has that of the block before.
func (t *stabilityTotals) weights(eligible float64) [][]float64 {
	out := make([][]float64, len(t.sum))
	for p := range out {
		m := max(eligible, 1)
		for b := range t.sum[p] {
			if b > 0 && t.sum[p][b-1] > 0 {
				m = t.sum[p][b-1] / t.rows[p][b-1]
			}
			out[p] = append(out[p], math.Pow(m, -0.25))
		}
	}
	return out
}

// adaptiveTally is the AIPW of one policy by models of earlier blocks, in which
// every row counts alike: a mean over the log as it is. Weights that follow what
// the logger explored would value the time in which it agreed with the candidate
// most, which is another value where rewards or customers change with time (note
// 28 in docs/decisions).
type adaptiveTally struct {
	total *estimators.Total
	rows  []estimators.Row // of the current customer
}

func newAdaptiveTally() *adaptiveTally { return &adaptiveTally{total: estimators.NewAdaptiveAIPW()} }

// add takes a row of the current customer, which counts like every other.
func (a *adaptiveTally) add(row *estimators.Row) {
	a.rows = append(a.rows, *row)
	a.rows[len(a.rows)-1].Stability = 1
}

func (a *adaptiveTally) close() {
	if len(a.rows) > 0 {
		a.total.Add(a.rows)
		a.rows = a.rows[:0]
	}
}

// sequence is an estimate with its asymptotic confidence sequence; nil where
// there are too few matched conversions for one, as they are or as equal ones.
func (j *judge) sequence(x estimators.Estimate, err error, d *estimators.Diagnostics) *Figure {
	if err != nil {
		return nil
	}
	iv := x.Asymptotic(min(d.MatchedConversions, d.EffectiveConversions), float64(x.Customers), 1-j.req.Level)
	if !finite(x.Value, iv.Low, iv.High) {
		return nil
	}
	return &Figure{x.Value, iv.Low, iv.High, methodSequence}
}

// adaptive fills in the value of a policy on a log whose logger learned from it.
func (j *judge) adaptive(r *Result, t *tally) {
	if !j.req.Adaptive || t.adaptive == nil {
		return
	}
	x, err := t.adaptive.total.Estimate()
	d := &r.Diagnostics
	if r.Value = j.sequence(x, err, d); r.Value == nil && err == nil {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%.1f converting customers match, worth %.1f equal ones, and AIPW has no interval below %d: read the betting intervals", d.MatchedConversions, d.EffectiveConversions, estimators.BurnIn))
	}
}

// pickedAdaptive says how values of an adaptive log are given, and why.
func (j *judge) pickedAdaptive(rewards string) Picked {
	if j.unweighed != "" {
		return Picked{methodBetting, "an adaptive logger; " + rewards + ": empirical likelihood needs loggers that did not learn from the rows; " + j.unweighed}
	}
	return Picked{methodSequence, fmt.Sprintf("an adaptive logger with weights of at most %.4g by its declared floor; %s: values are by AIPW, whose reward models come from earlier ones of %d blocks of time alone, with a confidence sequence that is tightest at these %d customers and begins at %d matched conversions; IPS, SNIPS, differences and gates keep their intervals by betting, which are guaranteed",
		j.maxWeight, rewards, j.blocks.n(), j.s.customers, estimators.BurnIn)}
}

// Main is the figure that a result is read by: AIPW by earlier blocks where the logger
// learned from the rows, otherwise DR.
func (r *Result) Main() *Figure {
	if r.Value != nil && r.Value.Method == methodSequence {
		return r.Value
	}
	return r.DR
}

// MainName is what Main is called in the head of a table.
func (r *Report) MainName() string {
	if r.Picked.Interval == methodSequence {
		return "AIPW"
	}
	return "DR"
}

// valuesOf says in a sentence's part how values of an adaptive log are given,
// where something may be in the way.
func valuesOf(unweighed string) string {
	if unweighed != "" {
		return unweighed
	}
	return "values are by AIPW with an asymptotic confidence sequence"
}
