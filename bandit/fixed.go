package bandit

import (
	"maps"
	"slices"

	"nextbest"
)

// fixed gives the eligible actions probabilities in proportion to declared
// weights. Actions without a weight get none; where no eligible action has one,
// nothing is done.
type fixed struct {
	index     map[string]int32
	weights   []float64
	doNothing int32
	floor     float64
}

func newFixed(s Spec, _ *posterior) (Policy, error) {
	f := &fixed{index: map[string]int32{}, floor: s.param("floor")}
	for _, action := range slices.Sorted(maps.Keys(s.Weights)) {
		f.index[action] = int32(len(f.weights))
		f.weights = append(f.weights, s.Weights[action])
	}
	if _, ok := f.index[nextbest.DoNothing]; !ok {
		f.index[nextbest.DoNothing] = int32(len(f.weights))
		f.weights = append(f.weights, 0)
	}
	f.doNothing = f.index[nextbest.DoNothing]
	return f, nil
}

func (f *fixed) Arm(action string) int32 { return armOf(f.index, action) }

func (f *fixed) Floor(k int) float64 { return f.floor / float64(k) }

func (f *fixed) Distribution(p, scores []float64, r *Request) error {
	r.check(p, scores)
	clear(scores)
	var sum float64
	for i, a := range r.Arms {
		p[i] = 0
		if a >= 0 {
			p[i] = f.weights[a]
		}
		sum += p[i]
	}
	if sum == 0 {
		i := slices.Index(r.Arms, f.doNothing)
		if i < 0 {
			return nextbest.Errorf(nextbest.Invalid, "fixed weights: no eligible action has a weight and %s is not eligible; give one of the placement's actions a weight", nextbest.DoNothing)
		}
		p[i], sum = 1, 1
	}
	for i := range p {
		p[i] /= sum
	}
	explore(p, f.floor)
	return nil
}

func armOf(index map[string]int32, action string) int32 {
	if i, ok := index[action]; ok {
		return i
	}
	return -1
}
