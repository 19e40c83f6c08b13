package bandit

import "slices"

// kind is which sums a model keeps, and what its bytes begin with.
type kind uint16

const (
	kindRidge  kind = 1 // one ridge regression per action, on the reward
	kindHurdle kind = 2 // the same on whether the reward is 0, and sums of the rewards that are not
	// kindLogistic is a logistic regression per action, each row replaced by the
	// Gaussian one that it is taken for; see logistic.go.
	kindLogistic kind = 3
)

// kind returns which sums the policy's algorithm learns.
func (s Spec) kind() kind { return max(algorithms[s.Algorithm].kind, kindRidge) }

// sums are the sufficient statistics of one action: what every row adds to.
type sums struct {
	n       float64 // rows, or Σ of their weights
	squares float64 // Σ r²; kind 2: Σ 1{r≠0}; kind 3: Σ r
	// Kind 2 alone.
	amounts       float64 // Σ r
	amountSquares float64 // Σ r²
	// Kind 3 alone.
	lengths float64 // Σ ‖x‖²

	b    []float64 // Σ r x; kind 2: Σ 1{r≠0} x; kind 3: Σ w z x
	gram []float64 // Σ x xᵀ, packed lower triangle; kind 3: Σ w x xᵀ
}

func newSums(width int) sums {
	return sums{b: make([]float64, width), gram: make([]float64, triangle(width))}
}

// scalars returns the numbers that a kind keeps beside b and gram, in the order
// of the bytes.
func (s *sums) scalars(k kind) []*float64 {
	switch k {
	case kindHurdle:
		return []*float64{&s.n, &s.squares, &s.amounts, &s.amountSquares}
	case kindLogistic:
		return []*float64{&s.n, &s.squares, &s.lengths}
	}
	return []*float64{&s.n, &s.squares}
}

func (s *sums) clone() sums {
	c := *s
	c.b, c.gram = slices.Clone(s.b), slices.Clone(s.gram)
	return c
}

// add adds a row of kind 1 or 2 with a weight, −1 to take one out.
func (s *sums) add(k kind, x []float64, reward, weight float64) {
	if k == kindHurdle {
		s.amounts += float64(weight * reward)
		s.amountSquares += float64(weight * float64(reward*reward))
		if reward != 0 {
			reward = 1
		}
	}
	s.n += weight
	s.squares += float64(weight * float64(reward*reward))
	s.outer(x, float64(weight*reward), weight)
}

// squaredLengths returns Σ ‖x‖² over the rows.
func (s *sums) squaredLengths(k kind) float64 {
	if k == kindLogistic {
		return s.lengths
	}
	return squaredLengths(s.gram, len(s.b))
}

// outer adds wr·x to b and weight·x xᵀ to gram.
func (s *sums) outer(x []float64, wr, weight float64) {
	b, gram := s.b[:len(x)], s.gram
	for i, xi := range x {
		b[i] += float64(wr * xi)
		wx := float64(weight * xi)
		row := gram[:i+1]
		for j, xj := range x[:len(row)] {
			row[j] += float64(wx * xj)
		}
		gram = gram[i+1:]
	}
}

func (s *sums) merge(from *sums) {
	s.n += from.n
	s.squares += from.squares
	s.amounts += from.amounts
	s.amountSquares += from.amountSquares
	for i, v := range from.b {
		s.b[i] += v
	}
	for i, v := range from.gram {
		s.gram[i] += v
	}
}

// scale multiplies every sum.
func (s *sums) scale(factor float64) {
	s.n *= factor
	s.squares *= factor
	s.amounts *= factor
	s.amountSquares *= factor
	for i := range s.b {
		s.b[i] *= factor
	}
	for i := range s.gram {
		s.gram[i] *= factor
	}
}
