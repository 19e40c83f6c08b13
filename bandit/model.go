package bandit

import (
	"cmp"
	"math"
	"slices"
	"time"

	"nextbest"
)

// priorNoise is the residual noise before anything was learned. All actions
// are then alike, so it only scales the logged scores.
const priorNoise = 1

// precision returns the prior precision λ of every weight: ridge times the mean
// squared length s of all rows learned so far, s rounded to a power of two so
// that it seldom changes; s = 1 before anything was learned. A typical context's
// score then has the prior variance σ²/ridge whatever the number of features and
// their scale, which is what lets one default serve all data sets.
func precision(ridge, squaredLengths, rows float64) float64 {
	s := squaredLengths / rows
	if !(s > 0) || math.IsInf(s, 1) {
		return ridge
	}
	return math.Ldexp(ridge, int(math.RoundToEven(math.Log2(s))))
}

// Model is an immutable snapshot of what a Learner knows: for each action that
// has rows, sorted by id, n, Σr², b = Σ r x and Σ x xᵀ (or what its kind keeps), and the factor that
// decisions use. Everything else is derived from these sums alone, so that a
// model read back from its bytes decides bit for bit as the original.
type Model struct {
	kind      kind
	width     int
	ridge     float64
	precision float64 // λ
	halfLife  int64   // of a row's weight, microseconds; 0: rows do not fade
	at        int64   // when the rows were weighed, Unix microseconds; 0 where they do not fade
	arms      []*armModel
}

type armModel struct {
	action string
	sums
	factor factor // of gram + λ·I
}

// derive computes from the sums what decisions use: the precision and every
// factor. It names the action whose matrix is not positive definite.
func (m *Model) derive() (action string, ok bool) {
	var lengths, rows float64
	for _, a := range m.arms {
		lengths += a.squaredLengths(m.kind)
		rows += a.n
	}
	m.precision = precision(m.ridge, lengths, rows)
	for _, a := range m.arms {
		if a.factor, ok = factorise(a.gram, a.b, m.precision); !ok {
			return a.action, false
		}
	}
	return "", true
}

// accepts says why a model was not learned as the policy asks, if so.
func (s Spec) accepts(m *Model) error {
	switch {
	case m.kind != s.kind():
		return nextbest.Errorf(nextbest.Invalid, "the model is not one of %s, whose models are of kind %d and not %d: train a model under this policy version", s.Algorithm, s.kind(), m.kind)
	case m.ridge != s.param("ridge"):
		return nextbest.Errorf(nextbest.Invalid, "the model was learned with ridge %g and the policy asks for %g: train a model under this policy version", m.ridge, s.param("ridge"))
	case m.halfLife != s.HalfLife().Microseconds():
		return nextbest.Errorf(nextbest.Invalid, "the model was learned with a half-life of %s and the policy asks for %s (0s: none): train a model under this policy version",
			time.Duration(m.halfLife)*time.Microsecond, s.HalfLife())
	}
	return nil
}

// squaredLengths returns Σ‖x‖², the trace of a packed Σ x xᵀ.
func squaredLengths(gram []float64, width int) float64 {
	var s float64
	for i := range width {
		s += gram[triangle(i)+i]
	}
	return s
}

// residual returns Σr² − bᵀA⁻¹b ≥ 0: the sum of squared errors of predicting
// each row from those before it, e²/(1 + xᵀA⁻¹x), in whatever order they came
// (the recursive residuals of Brown, Durbin and Evans 1975).
func (a *armModel) residual() float64 { return math.Max(a.squares-a.factor.explained(), 0) }

// noise returns σ = √(Σ residuals / Σ rows).
func noise(residuals, rows []float64) float64 {
	var sum, n float64
	for i, r := range residuals {
		sum += r
		n += rows[i]
	}
	if n == 0 {
		return priorNoise
	}
	return math.Sqrt(sum / n)
}

// arm returns an action's sums, nil where it has no rows.
func (m *Model) arm(action string) *armModel {
	i, ok := slices.BinarySearchFunc(m.arms, action, func(a *armModel, id string) int { return cmp.Compare(a.action, id) })
	if !ok {
		return nil
	}
	return m.arms[i]
}

// Width returns the number of features.
func (m *Model) Width() int { return m.width }

// Precision returns the prior precision λ that is added to every action's Σ x xᵀ:
// the parameter ridge times the mean squared length of the rows, the latter
// rounded to a power of two.
func (m *Model) Precision() float64 { return m.precision }

// Actions returns the ids of the actions that have rows, sorted.
func (m *Model) Actions() []string {
	ids := make([]string, len(m.arms))
	for i, a := range m.arms {
		ids[i] = a.action
	}
	return ids
}

// Rows returns the number of rows learned, over all actions; where rows fade,
// the sum of their weights.
func (m *Model) Rows() float64 {
	var n float64
	for _, a := range m.arms {
		n += a.n
	}
	return n
}

// Noise returns the standard deviation σ of the residual noise, pooled over the
// actions: σ² = Σ_a (Σr² − bᵀA⁻¹b) / Σ_a n; 1 before anything was learned,
// and of logistic models, whose noise is that of their likelihood.
func (m *Model) Noise() float64 {
	if m.kind == kindLogistic {
		return 1
	}
	residuals, rows := make([]float64, len(m.arms)), make([]float64, len(m.arms))
	for i, a := range m.arms {
		residuals[i], rows[i] = a.residual(), a.n
	}
	return noise(residuals, rows)
}

// Statistics are the sufficient statistics of one action.
type Statistics struct {
	N       float64     // rows, or Σ of their weights
	Squares float64     // Σ r²; of hurdle_thompson Σ 1{r≠0}
	B       []float64   // Σ r x; of hurdle_thompson Σ 1{r≠0} x
	A       [][]float64 // λI + Σ x xᵀ, see Model.Precision
	// Of hurdle_thompson alone, 0 otherwise: Σ r and Σ r².
	Amounts, AmountSquares float64
}

// Statistics returns a copy of an action's sufficient statistics, and whether
// it has any.
func (m *Model) Statistics(action string) (Statistics, bool) {
	if a := m.arm(action); a != nil {
		s := Statistics{N: a.n, Squares: a.squares, B: slices.Clone(a.b), A: make([][]float64, m.width), Amounts: a.amounts, AmountSquares: a.amountSquares}
		for i := range s.A {
			s.A[i] = make([]float64, m.width)
			for j := range i + 1 {
				v := a.gram[triangle(i)+j]
				s.A[i][j], s.A[j][i] = v, v
			}
			s.A[i][i] += m.precision
		}
		return s, true
	}
	return Statistics{}, false
}
