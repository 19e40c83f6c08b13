package bandit

// uniform gives every eligible action the same probability.
type uniform struct{}

func newUniform(Spec, *posterior) (Policy, error) { return uniform{}, nil }

func (uniform) Arm(string) int32 { return -1 }

func (uniform) Floor(k int) float64 { return 1 / float64(k) }

func (uniform) Distribution(p, scores []float64, r *Request) error {
	r.check(p, scores)
	clear(scores)
	for i := range p {
		p[i] = 1 / float64(len(p))
	}
	return nil
}
