// Package classification plays a labelled data set as a bandit, so that a policy
// can be tried without a log or a platform.
package classification

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"

	"nextbest"
	"nextbest/bandit"
)

// Set is a data set with labels that is played as a bandit: an arm for each
// label, a reward of 1 for the right one, and nothing known about the others
// (Beygelzimer and Langford 2009, arXiv 0812.4044).
type Set struct {
	Name     string   // of the label's column
	Arms     []string // the labels, sorted; as numbers where all are
	Label    []int    // of each row, an index into Arms
	Features []string // what the rows are encoded as, the bias first
	columns  []column
}

// Rows returns the number of rows.
func (c *Set) Rows() int { return len(c.Label) }

// Play is what came of a data set.
type Play struct {
	Rows   int     `json:"rows"`
	Reward float64 `json:"total_reward"`
	Mean   float64 `json:"mean_progressive_reward"` // each row decided before it is learned from
	Late   float64 `json:"mean_reward_last_tenth"`
}

// Play runs a policy over the rows in an order, one row at a time:
// distribution, draw, reward, learning. Draws follow the seed. progress, if not
// nil, is told the number of rows played.
//
// A row is encoded with the moments of rows played before it. They are taken
// anew whenever the number of those has doubled, and the learner then learns
// them again as they are encoded now: so a schema's next version would.
func (c *Set) Play(spec bandit.Spec, order []int, seed uint64, progress func(rows int)) (Play, error) {
	g := game{c: c, spec: spec, encoder: newEncoder(c, spec), chosen: make([]int32, len(order))}
	if err := g.begin(); err != nil {
		return Play{}, err
	}
	k := len(c.Arms)
	p, scores, arms := make([]float64, k), make([]float64, k), make([]int32, k)
	salt := "classification-" + strconv.FormatUint(seed, 10)
	out := Play{Rows: len(order)}
	tenth := max(len(order)/10, 1)
	for t, row := range order {
		if t >= firstMoments && t&(t-1) == 0 {
			if err := g.again(order[:t]); err != nil {
				return Play{}, err
			}
		}
		for a, id := range c.Arms {
			arms[a] = g.policy.Arm(id)
		}
		x := g.encoder.encode(row)
		if err := g.policy.Distribution(p, scores, &bandit.Request{X: x, Arms: arms, Preferred: -1}); err != nil {
			return Play{}, fmt.Errorf("row %d: %w", row, err)
		}
		a := bandit.Draw(p, nextbest.Uniform(salt, strconv.Itoa(t)))
		g.chosen[t] = int32(a)
		reward := c.reward(row, a)
		out.Reward += reward
		if t >= len(order)-tenth {
			out.Late += reward / float64(tenth)
		}
		if err := g.learn(row, a); err != nil {
			return Play{}, err
		}
		if progress != nil && t%256 == 255 {
			progress(t + 1)
		}
	}
	out.Mean = out.Reward / float64(len(order))
	return out, nil
}

// firstMoments is the number of rows after which moments are taken for the
// first time, a power of two. Until then numbers are encoded as 0.
const firstMoments = 4

// reward returns 1 where the arm is the row's label.
func (c *Set) reward(row, arm int) float64 {
	if c.Label[row] == arm {
		return 1
	}
	return 0
}

// game is a policy at play.
type game struct {
	c       *Set
	spec    bandit.Spec
	encoder *encoder
	policy  bandit.Policy
	learner *bandit.Learner // nil where nothing is learned
	chosen  []int32         // arm of each row played, in order
}

// begin gives the game a policy that knows nothing.
func (g *game) begin() (err error) {
	if g.spec.Algorithm == "rules" {
		return nextbest.FieldErrorf("algorithm", "rules are conditions on a customer's context, which a data set has none of; name another algorithm")
	}
	if !g.spec.Learns() {
		g.policy, err = bandit.New(g.spec, nil)
		return err
	}
	width := g.encoder.width
	if stored := float64(len(g.c.Arms)) * float64(width) * float64(width); stored > maxNumbers {
		return nextbest.Errorf(nextbest.Invalid, "%d arms with %d features each take %.0f GB of sums; at most %.0f GB are used: leave columns out or group levels", len(g.c.Arms), width, 8*stored/1e9, 8*maxNumbers/1e9)
	}
	if g.learner, err = bandit.NewLearner(g.spec, width); err != nil {
		return err
	}
	g.policy, err = g.learner.Live()
	return err
}

// maxNumbers bounds arms × features², about what a learner keeps.
const maxNumbers = 3e8

// again takes new moments from the rows played and learns them anew.
func (g *game) again(played []int) error {
	if g.learner == nil || !g.encoder.moments(played) {
		return nil
	}
	learner, err := bandit.NewLearner(g.spec, g.encoder.width)
	if err != nil {
		return err
	}
	g.learner = learner
	for t, row := range played {
		g.encoder.encode(row)
		if err := g.learn(row, int(g.chosen[t])); err != nil {
			return err
		}
	}
	g.policy, err = learner.Live()
	return err
}

// learn adds the row that was encoded last.
func (g *game) learn(row, arm int) error {
	if g.learner == nil {
		return nil
	}
	if err := g.learner.Learn(g.c.Arms[arm], g.encoder.x, g.c.reward(row, arm)); err != nil {
		return fmt.Errorf("row %d: %w", row, err)
	}
	return nil
}

// Shuffled returns the rows in an order that the seed fixes.
func (c *Set) Shuffled(seed uint64) []int {
	salt := "order-" + strconv.FormatUint(seed, 10)
	key, order := make([]float64, c.Rows()), make([]int, c.Rows())
	for i := range order {
		order[i], key[i] = i, nextbest.Uniform(salt, strconv.Itoa(i))
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(key[a], key[b]), cmp.Compare(a, b)) })
	return order
}

// number gives each label an arm: sorted as numbers where all are, else as
// strings.
func (c *Set) number(labels []string) error {
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
		return nextbest.FieldErrorf("label", "column %q takes only one value, %q; a bandit needs at least two arms", c.Name, c.Arms[0])
	}
	if len(c.Arms) > maxClasses {
		return nextbest.FieldErrorf("label", "column %q takes %d values; at most %d arms are possible: is it a number to be predicted, not a class?", c.Name, len(c.Arms), maxClasses)
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
