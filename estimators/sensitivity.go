package estimators

import (
	"math"
	"slices"
)

// Sensitivity says how wrong the propensities may be before a conclusion falls:
// if every true propensity lies within a factor Γ of the logged one, μ·[1/Γ, Γ],
// then weights lie in w·[1/Γ, Γ], and SNIPS takes its least value where rewards up
// to a threshold weigh Γ and those above it 1/Γ, and its largest the other way
// round (Zhao, Small and Bhattacharya 2019, arXiv 1711.11286, prop. 2, for the
// marginal sensitivity model of Tan 2006). Rewards are kept in bins of relative
// width 2⁻⁷ with exact sums, so memory is flat; rewards of a few kinds are exact.
// The zero value is ready to use.
type Sensitivity struct {
	bins map[uint32]*[2]float64 // Σw, Σwr
}

// Add adds one row.
func (s *Sensitivity) Add(weight, reward float64) {
	if weight == 0 {
		return
	}
	if s.bins == nil {
		s.bins = make(map[uint32]*[2]float64)
	}
	k := bin(reward, 0)
	b := s.bins[k]
	if b == nil {
		b = new([2]float64)
		s.bins[k] = b
	}
	b[0] += weight
	b[1] += weight * reward
}

// Merge adds o's rows.
func (s *Sensitivity) Merge(o *Sensitivity) {
	if s.bins == nil {
		s.bins = make(map[uint32]*[2]float64, len(o.bins))
	}
	for k, v := range o.bins {
		b := s.bins[k]
		if b == nil {
			b = new([2]float64)
			s.bins[k] = b
		}
		b[0] += v[0]
		b[1] += v[1]
	}
}

// sorted returns the bins by their mean reward.
func (s *Sensitivity) sorted() [][2]float64 {
	out := make([][2]float64, 0, len(s.bins))
	for _, b := range s.bins {
		out = append(out, *b)
	}
	slices.SortFunc(out, func(a, b [2]float64) int {
		switch x, y := a[1]/a[0], b[1]/b[0]; {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	return out
}

// Range returns what SNIPS can be when propensities are off by up to a factor
// gamma ≥ 1. ErrNoWeight without a positive weight.
func (s *Sensitivity) Range(gamma float64) (Interval, error) {
	if len(s.bins) == 0 {
		return Interval{}, ErrNoWeight
	}
	return sensitivityRange(s.sorted(), gamma), nil
}

func sensitivityRange(bins [][2]float64, gamma float64) Interval {
	var w, x float64
	for _, b := range bins {
		w += b[0]
		x += b[1]
	}
	iv := Interval{Low: x / w, High: x / w}
	var below, part float64
	g := gamma * gamma
	for _, b := range bins {
		below += b[0]
		part += b[1]
		iv.Low = min(iv.Low, (g*part+x-part)/(g*below+w-below))
		iv.High = max(iv.High, (part+g*(x-part))/(below+g*(w-below)))
	}
	return iv
}

// Flip returns the least Γ at which the verdict on a value falls. The verdict is
// SNIPS against a baseline with a margin, the distance from the estimate to the
// end of its interval that matters: better if value − margin > baseline, worse if
// value + margin < baseline. It is 1 where there is no verdict and +Inf where no Γ
// up to 1e6 turns it.
func (s *Sensitivity) Flip(baseline, margin float64) (float64, error) {
	if len(s.bins) == 0 {
		return 0, ErrNoWeight
	}
	bins := s.sorted()
	v := sensitivityRange(bins, 1).Low
	var holds func(iv Interval) bool
	switch {
	case v-margin > baseline:
		holds = func(iv Interval) bool { return iv.Low-margin > baseline }
	case v+margin < baseline:
		holds = func(iv Interval) bool { return iv.High+margin < baseline }
	default:
		return 1, nil
	}
	lo, hi := 0.0, math.Log(1e6)
	if holds(sensitivityRange(bins, 1e6)) {
		return math.Inf(1), nil
	}
	for hi-lo > 1e-12 {
		mid := (lo + hi) / 2
		if holds(sensitivityRange(bins, math.Exp(mid))) {
			lo = mid
		} else {
			hi = mid
		}
	}
	return math.Exp(hi), nil
}
