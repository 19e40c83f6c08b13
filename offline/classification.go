package offline

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"

	"nextbest"
	"nextbest/bandit"
)

// Classification is a data set with labels that is played as a bandit: an arm
// for each label, a reward of 1 for the right one, and nothing known about the
// others (Beygelzimer and Langford 2009, arXiv 0812.4044).
type Classification struct {
	Features []string    // names of the columns of X
	X        [][]float32 // one row each, encoded
	Label    []int       // index into Arms
	Arms     []string    // the labels, sorted; as numbers where all are
}

// Play is what came of a data set.
type Play struct {
	Rows   int     `json:"rows"`
	Reward float64 `json:"total_reward"`
	Mean   float64 `json:"mean_progressive_reward"` // each row decided before it is learned from
	Late   float64 `json:"mean_reward_last_tenth"`
}

// Play runs a policy over the rows in an order (indices into X), one row at a
// time: distribution, draw, reward, learning. Draws follow the seed. progress,
// if not nil, is told the number of rows played.
func (c *Classification) Play(spec bandit.Spec, order []int, seed uint64, progress func(rows int)) (Play, error) {
	policy, learner, err := c.policy(spec)
	if err != nil {
		return Play{}, err
	}
	k := len(c.Arms)
	p, scores, arms := make([]float64, k), make([]float64, k), make([]int32, k)
	salt := "classification-" + strconv.FormatUint(seed, 10)
	out := Play{Rows: len(order)}
	tenth := max(len(order)/10, 1)
	for t, row := range order {
		for a, id := range c.Arms {
			arms[a] = policy.Arm(id)
		}
		request := bandit.Request{X: c.X[row], Arms: arms, Preferred: -1}
		if err := policy.Distribution(p, scores, &request); err != nil {
			return Play{}, fmt.Errorf("row %d: %w", row, err)
		}
		a := bandit.Draw(p, nextbest.Uniform(salt, strconv.Itoa(t)))
		var reward float64
		if a == c.Label[row] {
			reward = 1
		}
		out.Reward += reward
		if t >= len(order)-tenth {
			out.Late += reward / float64(tenth)
		}
		if learner != nil {
			if err := learner.Learn(c.Arms[a], c.X[row], reward); err != nil {
				return Play{}, fmt.Errorf("row %d: %w", row, err)
			}
		}
		if progress != nil && t%1024 == 1023 {
			progress(t + 1)
		}
	}
	out.Mean = out.Reward / float64(len(order))
	return out, nil
}

// policy returns the policy to play, and its learner unless it learns nothing.
func (c *Classification) policy(spec bandit.Spec) (bandit.Policy, *bandit.Learner, error) {
	if spec.Algorithm == "rules" {
		return nil, nil, nextbest.FieldErrorf("algorithm", "rules are conditions on a customer's context, which a data set has none of; name another algorithm")
	}
	if !spec.Learns() {
		policy, err := bandit.New(spec, nil)
		return policy, nil, err
	}
	learner, err := bandit.NewLearner(spec, len(c.Features))
	if err != nil {
		return nil, nil, err
	}
	policy, err := learner.Live()
	return policy, learner, err
}

// Shuffled returns the rows in an order that the seed fixes.
func (c *Classification) Shuffled(seed uint64) []int {
	salt := "order-" + strconv.FormatUint(seed, 10)
	key := make([]float64, len(c.X))
	order := make([]int, len(c.X))
	for i := range order {
		order[i], key[i] = i, nextbest.Uniform(salt, strconv.Itoa(i))
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(key[a], key[b]), cmp.Compare(a, b)) })
	return order
}

// arms numbers the labels: sorted as numbers where all are, else as strings.
func (c *Classification) arms(labels []string) error {
	c.Arms = slices.Compact(slices.Sorted(slices.Values(labels)))
	value := make(map[string]float64, len(c.Arms))
	for _, l := range c.Arms {
		if v, err := strconv.ParseFloat(l, 64); err == nil && !math.IsNaN(v) {
			value[l] = v
		}
	}
	if len(value) == len(c.Arms) {
		slices.SortStableFunc(c.Arms, func(a, b string) int { return cmp.Compare(value[a], value[b]) })
	}
	if len(c.Arms) < 2 {
		return nextbest.FieldErrorf("label", "takes only one value, %q; a bandit needs at least two arms", c.Arms[0])
	}
	if len(c.Arms) > maxClasses {
		return nextbest.FieldErrorf("label", "takes %d values; at most %d arms are possible: is this column a number to be predicted, not a class?", len(c.Arms), maxClasses)
	}
	index := make(map[string]int, len(c.Arms))
	for i, l := range c.Arms {
		index[l] = i
	}
	c.Label = make([]int, len(labels))
	for i, l := range labels {
		c.Label[i] = index[l]
	}
	return nil
}

// maxClasses bounds the arms of a data set.
const maxClasses = 1000
