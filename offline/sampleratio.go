package offline

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"nextbest"
	"nextbest/estimators"
)

// holdoutArm is the arm of customers who are left alone (experiments.HoldoutArm).
const holdoutArm = "holdout"

// alphaSampleRatio is the chance that a healthy log is ever accused of having
// lost customers of an arm, however often it is evaluated while it grows.
const alphaSampleRatio = 0.001

// sampleRatio checks that customers fell to the arms in the logged shares. A
// customer stays in an arm, so it counts once, at its first selected row: as held
// out or not (unless arms are selected), and in each experiment by its arm among
// those that are not the holdout. Later rows say who came back, which may be an arm's doing.
type sampleRatio struct {
	query  *nextbest.Query
	splits map[string]*armSplit

	// Of the current customer.
	counted     bool     // as held out or not
	experiments []string // that it was counted in
	last        *nextbest.ArmShares
	lastIn      string // experiment
}

// notHeld stands for all arms but the holdout.
const notHeld = "not held out"

// armSplit is the customers that were to fall to the same arms in the same shares.
type armSplit struct {
	experiment string
	arms       []string
	shares     []float64 // of the selected arms, summing to 1
	counts     []int
}

func newSampleRatio(q *nextbest.Query) *sampleRatio {
	return &sampleRatio{query: q, splits: map[string]*armSplit{}}
}

// open begins a customer.
func (s *sampleRatio) open() {
	s.counted, s.experiments, s.last = false, s.experiments[:0], nil
}

// row takes one row, in order of time within a customer.
func (s *sampleRatio) row(b *nextbest.Batch, i int) {
	if i >= len(b.Shares) || b.Shares[i] == nil {
		return
	}
	m, in := b.Shares[i], b.Experiment[i]
	if m == s.last && in == s.lastIn {
		return
	}
	s.last, s.lastIn = m, in
	arm := b.Arm[i]
	if !s.counted && s.selects(holdoutArm) && len(s.query.Arms) == 0 {
		held, all := 0.0, 0.0
		for k, a := range m.Arms {
			all += m.Shares[k]
			if a == holdoutArm {
				held += m.Shares[k]
			}
		}
		if s.counted = true; held > 0 && held < all {
			side := notHeld
			if arm == holdoutArm {
				side = holdoutArm
			}
			s.at("", []string{holdoutArm, notHeld}, []float64{held / all, 1 - held/all}).count(side)
		}
	}
	if arm == holdoutArm || slices.Contains(s.experiments, in) {
		return
	}
	s.experiments = append(s.experiments, in)
	var arms []string
	var shares []float64
	sum := 0.0
	for k, a := range m.Arms {
		if a != holdoutArm && s.selects(a) {
			arms, shares, sum = append(arms, a), append(shares, m.Shares[k]), sum+m.Shares[k]
		}
	}
	if len(arms) < 2 || !(sum > 0) {
		return
	}
	for k := range shares {
		shares[k] /= sum
	}
	s.at(in, arms, shares).count(arm)
}

// selects reports whether the query's rows may be of an arm, as it does in the
// mixture's propensity: rows that were selected by their arm fell to the others
// with no chance.
func (s *sampleRatio) selects(arm string) bool {
	if arm == holdoutArm && (s.query.SkipHeld || s.query.Experiment != "") {
		return false
	}
	return len(s.query.Arms) == 0 || slices.Contains(s.query.Arms, arm)
}

func (s *sampleRatio) at(experiment string, arms []string, shares []float64) *armSplit {
	key := append([]byte(experiment), 0)
	for k, a := range arms {
		// A holdout that grew changes an experiment's shares by rounding alone.
		shares[k] = math.Round(shares[k]*1e12) / 1e12
		key = append(append(key, a...), 0)
		key = binary.BigEndian.AppendUint64(key, math.Float64bits(shares[k]))
	}
	x := s.splits[string(key)]
	if x == nil {
		x = &armSplit{experiment: experiment, arms: arms, shares: shares, counts: make([]int, len(arms))}
		s.splits[string(key)] = x
	}
	return x
}

// count takes one customer. An arm that the row does not list among those it
// might have been in is not counted.
func (x *armSplit) count(arm string) {
	if k := slices.Index(x.arms, arm); k >= 0 {
		x.counts[k]++
	}
}

func (s *sampleRatio) merge(o *sampleRatio) {
	for key, from := range o.splits {
		to := s.splits[key]
		if to == nil {
			s.splits[key] = from
			continue
		}
		for k, n := range from.counts {
			to.counts[k] += n
		}
	}
}

// SampleRatio says whether customers fell to the arms in the logged shares.
type SampleRatio struct {
	Checked bool       `json:"checked"` // false: no row carries arms with shares, or a single one was selected
	Failed  bool       `json:"failed"`
	Limit   float64    `json:"limit"` // p_value at or below which a split fails
	Splits  []ArmSplit `json:"splits"`
}

// ArmSplit is one group of customers: the holdout beside everybody else, or an
// experiment's arms. An experiment whose shares changed has several.
type ArmSplit struct {
	Experiment string     `json:"experiment,omitempty"`
	Customers  int        `json:"customers"` // by their first row
	Arms       []ArmCount `json:"arms"`
	// PValue is one over the evidence of the sequential multinomial test, times
	// the number of splits, at most 1. It holds however often the log is evaluated.
	PValue float64 `json:"p_value"`
	Failed bool    `json:"failed"`
}

// ArmCount is an arm's customers.
type ArmCount struct {
	Arm      string  `json:"arm"`
	Share    float64 `json:"share"` // among the selected arms
	Expected float64 `json:"expected"`
	Observed int     `json:"observed"`
}

// judge returns the splits, the least likely first.
func (s *sampleRatio) judge() SampleRatio {
	out := SampleRatio{Limit: alphaSampleRatio, Splits: []ArmSplit{}}
	for _, x := range s.splits {
		n := 0
		for _, c := range x.counts {
			n += c
		}
		if n == 0 {
			continue
		}
		split := ArmSplit{Experiment: x.experiment, Customers: n, PValue: x.pValue(len(s.splits))}
		split.Failed = split.PValue <= alphaSampleRatio
		out.Failed = out.Failed || split.Failed
		for k, a := range x.arms {
			split.Arms = append(split.Arms, ArmCount{Arm: a, Share: x.shares[k], Expected: x.shares[k] * float64(n), Observed: x.counts[k]})
		}
		out.Splits = append(out.Splits, split)
	}
	out.Checked = len(out.Splits) > 0
	slices.SortFunc(out.Splits, func(a, b ArmSplit) int {
		return cmp.Or(cmp.Compare(a.PValue, b.PValue), cmp.Compare(a.Experiment, b.Experiment), cmp.Compare(b.Customers, a.Customers), cmp.Compare(a.Arms[0].Share, b.Arms[0].Share))
	})
	return out
}

// pValue is 1/E by Markov's inequality, times the number of splits (Bonferroni).
func (x *armSplit) pValue(splits int) float64 {
	var counts []int
	var shares []float64
	for k, share := range x.shares {
		if share > 0 {
			counts, shares = append(counts, x.counts[k]), append(shares, share)
		} else if x.counts[k] > 0 {
			return 0 // nobody can fall to this arm
		}
	}
	return min(1, float64(splits)*math.Exp(-estimators.SampleRatioLogE(counts, shares)))
}

// refusal says which arm has the wrong number of customers, and what to do.
func (r *SampleRatio) refusal(q *nextbest.Query) estimators.Refusal {
	x := &r.Splits[0]
	var arms []string
	for _, a := range x.Arms {
		name := a.Arm
		if name == "" {
			name = "no arm"
		}
		arms = append(arms, fmt.Sprintf("%s %d instead of %.0f", name, a.Observed, a.Expected))
	}
	where := "the holdout and everybody else"
	if x.Experiment != "" {
		where = "the arms of " + x.Experiment
	}
	cure := "find out where customers of an arm were lost, filtered or moved to another, and evaluate rows logged since"
	if !q.From.IsZero() {
		cure += "; if the arms ran before " + q.From.UTC().Format("2006-01-02 15:04") + " UTC, begin the range where they began: an arm that brings customers back has more of them later"
	}
	return estimators.Refusal{Code: estimators.RefusedSampleRatio,
		Message: fmt.Sprintf("%d customers did not fall to %s in the logged shares: %s (p %.2g)", x.Customers, where, strings.Join(arms, ", "), x.PValue), Cure: cure}
}
