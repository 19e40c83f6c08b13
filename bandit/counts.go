package bandit

import (
	"math"

	"nextbest"
)

// counts are the rows and the rewards of each action, for policies that see no
// context. They are the sums n and b of a model with the bias alone.
type counts struct {
	index  map[string]int32
	n, sum []float64
	total  float64
}

func newCounts(p *posterior) *counts {
	if p == nil || p.counts == nil {
		return &counts{}
	}
	return p.counts
}

// countsPosterior takes the counts from a model's sums.
func countsPosterior(s Spec, m *Model) (*posterior, error) {
	c := &counts{index: make(map[string]int32, len(m.arms))}
	for i, a := range m.arms {
		if math.Abs(a.gram[0]-a.n) > 1e-9*a.n {
			return nil, nextbest.Errorf(nextbest.Invalid, "%s needs the bias alone, which is always 1, and the rows of %q have another feature", s.Algorithm, a.action)
		}
		c.index[a.action] = int32(i)
		c.n, c.sum, c.total = append(c.n, a.n), append(c.sum, a.b[0]), c.total+a.n
	}
	p := disjointPosterior(m)
	p.counts = c
	return p, nil
}

// Arm returns the index of an action, −1 for one without rows.
func (c *counts) Arm(action string) int32 { return armOf(c.index, action) }

// worth returns the scale and the offset of eligible action i.
func (r *Request) worth(i int) (scale, offset float64) {
	scale = 1
	if r.Scale != nil {
		scale = r.Scale[i]
	}
	if r.Offset != nil {
		offset = r.Offset[i]
	}
	return scale, offset
}

func overflows(algorithm string, i int) error {
	return nextbest.Errorf(nextbest.Invalid, "%s: the score of eligible action %d is not a finite number; check its value, lever and cost", algorithm, i)
}
