package offline

import (
	"encoding/binary"
	"fmt"
	"math"
	"sort"

	"github.com/google/uuid"
)

// PolicyTree says in a few questions for whom which action is best: a tree of
// limited depth over the rows' features whose leaves take one action each, grown
// by doubly-robust scores Γ_a = q(x, a) + 1{A = a}(r − q(x, a))/μ (Athey and
// Wager 2021, Econometrica 89:133; Zhou, Athey and Wager 2023, arXiv 1810.04778).
//
// It is grown on one half of the customers and its leaves are valued on the
// other, so that the values are not flattered by the growing.
type PolicyTree struct {
	Depth  int    `json:"depth"`
	Grown  int    `json:"grown_on"`  // rows of the sample it was grown on
	Valued int    `json:"valued_on"` // rows its values come from
	Leaves []Leaf `json:"leaves"`
	// Value is the tree's on the rows it was valued on, and Gain that minus the
	// best single action's, which the growing half chose.
	Value      *Figure `json:"value,omitempty"`
	BestAction string  `json:"best_action,omitempty"`
	Gain       *Figure `json:"gain,omitempty"`
	Problem    string  `json:"problem,omitempty"` // why there is no tree
}

// Leaf is one end of the tree.
type Leaf struct {
	When   []string `json:"when"` // conditions on features, all of which hold
	Action string   `json:"action"`
	Rows   int      `json:"rows"` // of the valuing half
	Value  *Figure  `json:"value,omitempty"`
	// Gain is the value minus that of doing nothing, where that was possible.
	Gain *Figure `json:"gain,omitempty"`
	// Conversions are the customers who converted after the leaf's action, and
	// those who did after nothing was done; with few of either an interval would
	// cover too little, and there is none.
	Conversions int `json:"conversions"`
}

const (
	treeSample   = 20_000 // rows of one lane
	treeDepth    = 2
	treeCuts     = 16 // candidate thresholds of a feature
	treeLeafRows = 200
)

// treeRows keeps rows with the scores of all actions, thinned by the customer's
// hash where there are too many.
type treeRows struct {
	halvings int
	rows     []treeRow
}

type treeRow struct {
	key      uint64 // of the customer
	customer uint64
	x        []float32
	scores   []float64 // by action; where it was not possible, doing nothing's
	taken    int32     // action that was logged
	weight   float64   // one over its propensity
	matched  bool      // and a reward that counts followed
}

// add takes a row with features; scores run beside the eligible actions, NaN where
// the logger could not take one.
func (t *treeRows) add(customer uint64, x []float32, actions int, eligible []uint32, local []int32, scores []float64, nothing, chosen int, propensity float64, matched bool) {
	key := mixKey(customer)
	if key>>(64-t.halvings) != 0 {
		return
	}
	row := treeRow{key: key, customer: customer, x: append([]float32(nil), x...), scores: make([]float64, actions), taken: local[eligible[chosen]],
		weight: 1 / propensity, matched: matched}
	idle := math.NaN()
	if nothing >= 0 {
		idle = scores[nothing]
	}
	for a := range row.scores {
		row.scores[a] = idle
	}
	for k, e := range eligible {
		if !math.IsNaN(scores[k]) {
			row.scores[local[e]] = scores[k]
		}
	}
	t.rows = append(t.rows, row)
	for len(t.rows) > treeSample {
		t.halvings++
		t.thin()
	}
}

func (t *treeRows) thin() {
	kept := t.rows[:0]
	for _, r := range t.rows {
		if r.key>>(64-t.halvings) == 0 {
			kept = append(kept, r)
		}
	}
	clear(t.rows[len(kept):])
	t.rows = kept
}

func (t *treeRows) merge(o *treeRows) {
	t.halvings = max(t.halvings, o.halvings)
	t.rows = append(t.rows, o.rows...)
	t.thin()
}

func mixKey(h uint64) uint64 {
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:8], h)
	return sampleKey(id, 1)
}

// node is a tree under construction: a leaf where left is nil.
type node struct {
	feature     int
	cut         float32
	left, right *node
	action      int
}

// growing holds the rows of the growing half.
type growing struct {
	rows    []treeRow
	actions int
	width   int
}

// best returns the action with the largest total score, taken where it was
// possible and else nothing, and the total; −1 where neither was possible
// everywhere.
func (g *growing) best(rows []int) (int, float64) {
	sums := make([]float64, g.actions)
	for _, i := range rows {
		for a, s := range g.rows[i].scores {
			sums[a] += s // NaN stays
		}
	}
	at, most := -1, math.Inf(-1)
	for a, s := range sums {
		if s > most {
			at, most = a, s
		}
	}
	return at, most
}

// grow returns the best tree of so many questions, chosen greedily, one
// question at a time with the best leaves below it.
func (g *growing) grow(rows []int, depth int) (*node, float64) {
	action, value := g.best(rows)
	leaf := &node{action: action}
	if depth == 0 || action < 0 || len(rows) < 2*treeLeafRows {
		return leaf, value
	}
	var feature int
	var cut float32
	gain := value
	for k := range g.width {
		for _, c := range g.cuts(rows, k) {
			if v := g.split(rows, k, c); v > gain {
				gain, feature, cut = v, k, c
			}
		}
	}
	if !(gain > value) {
		return leaf, value
	}
	var low, high []int
	for _, i := range rows {
		if g.rows[i].x[feature] <= cut {
			low = append(low, i)
		} else {
			high = append(high, i)
		}
	}
	left, a := g.grow(low, depth-1)
	right, b := g.grow(high, depth-1)
	return &node{feature: feature, cut: cut, left: left, right: right}, a + b
}

// cuts returns thresholds between the quantiles of a feature.
func (g *growing) cuts(rows []int, k int) []float32 {
	values := make([]float32, len(rows))
	for n, i := range rows {
		values[n] = g.rows[i].x[k]
	}
	sort.Slice(values, func(a, b int) bool { return values[a] < values[b] })
	var out []float32
	for c := 1; c < treeCuts; c++ {
		v := values[c*len(values)/treeCuts]
		if v == values[len(values)-1] {
			break
		}
		if len(out) == 0 || v != out[len(out)-1] {
			out = append(out, v)
		}
	}
	if len(out) == 0 && values[0] != values[len(values)-1] {
		out = append(out, values[0]) // most rows share one value
	}
	return out
}

// split returns the value of one question with the best action on either side.
func (g *growing) split(rows []int, k int, cut float32) float64 {
	low, high := make([]float64, g.actions), make([]float64, g.actions)
	n := 0
	for _, i := range rows {
		r := &g.rows[i]
		side := high
		if r.x[k] <= cut {
			side = low
			n++
		}
		for a, s := range r.scores {
			side[a] += s
		}
	}
	if n < treeLeafRows || len(rows)-n < treeLeafRows {
		return math.Inf(-1)
	}
	return largest(low) + largest(high)
}

// largest returns the largest number, −Inf where there is none.
func largest(v []float64) float64 {
	most := math.Inf(-1)
	for _, x := range v {
		if x > most {
			most = x
		}
	}
	return most
}

// tree grows and values a policy tree. columns names the features, x0, x1, …
// where nobody does; nothing is do-nothing's number, −1 without one.
func (t *treeRows) tree(names, columns []string, width, nothing int, conversions float64, ev evidence) *PolicyTree {
	out := &PolicyTree{Depth: treeDepth, Leaves: []Leaf{}}
	g := growing{actions: len(names), width: width}
	var valuing []treeRow
	for _, r := range t.rows {
		if mixKey(r.customer+1)&1 == 0 {
			g.rows = append(g.rows, r)
		} else {
			valuing = append(valuing, r)
		}
	}
	out.Grown, out.Valued = len(g.rows), len(valuing)
	if len(g.rows) < 2*treeLeafRows || len(valuing) < 2*treeLeafRows {
		out.Problem = fmt.Sprintf("%d rows with features are too few for a tree: log for longer", len(t.rows))
		return out
	}
	all := make([]int, len(g.rows))
	for i := range all {
		all[i] = i
	}
	root, _ := g.grow(all, treeDepth)
	single, _ := g.best(all)
	if single < 0 {
		out.Problem = "no action was possible on every row, not even doing nothing"
		return out
	}
	out.BestAction = names[single]
	whole := &leafValues{}
	leaves := map[*node]*leafValues{}
	for i := range valuing {
		r := &valuing[i]
		leaf := root
		for leaf.left != nil {
			if r.x[leaf.feature] <= leaf.cut {
				leaf = leaf.left
			} else {
				leaf = leaf.right
			}
		}
		v := leaves[leaf]
		if v == nil {
			v = &leafValues{}
			leaves[leaf] = v
		}
		own := r.score(leaf.action)
		v.add(r.customer, own, r.score(nothing))
		v.own.row(r, leaf.action, nothing)
		v.idle.row(r, nothing, nothing)
		v.single.row(r, single, nothing)
		whole.add(r.customer, own, r.scores[single])
	}
	whole.close()
	value, gain := sides{}, sides{} // that must be known for the tree to be
	root.leaves(nil, columns, func(n *node, when []string) {
		l := Leaf{When: when, Action: "(none possible)"}
		if n.action >= 0 {
			l.Action = names[n.action]
		}
		if v := leaves[n]; v != nil {
			v.close()
			l.Rows, l.Conversions = v.rows, int(v.own.customers)
			against := sides{}
			if n.action != nothing {
				l.Conversions += int(v.idle.customers)
				against = sides{&v.own, &v.idle}
			}
			l.Value = (sides{&v.own}).figure(&v.value, ev, conversions)
			l.Gain = against.figure(&v.against, ev, conversions)
			value = append(value, &v.own)
			if n.action != single {
				gain = append(gain, &v.own, &v.single)
			}
		}
		out.Leaves = append(out.Leaves, l)
	})
	out.Value, out.Gain = value.figure(&whole.value, ev, conversions), gain.figure(&whole.against, ev, conversions)
	return out
}

// score is an action's, NaN without an action.
func (r *treeRow) score(action int) float64 {
	if action < 0 {
		return math.NaN()
	}
	return r.scores[action]
}

// leaves calls f with every leaf and the conditions that lead to it.
func (n *node) leaves(when, columns []string, f func(n *node, when []string)) {
	if n.left == nil {
		f(n, append([]string{}, when...))
		return
	}
	name := fmt.Sprintf("x%d", n.feature)
	if n.feature < len(columns) {
		name = columns[n.feature]
	}
	n.left.leaves(append(when[:len(when):len(when)], fmt.Sprintf("%s ≤ %.4g", name, n.cut)), columns, f)
	n.right.leaves(append(when[:len(when):len(when)], fmt.Sprintf("%s > %.4g", name, n.cut)), columns, f)
}

// tree grows the tree of the rows that l has kept.
func (j *judge) tree(l *lane, names []string) *PolicyTree {
	refuse := func(why string) *PolicyTree {
		return &PolicyTree{Depth: treeDepth, Leaves: []Leaf{}, Problem: why}
	}
	var schema string
	for _, s := range j.s.schemas() {
		if schema != "" && s != "" {
			return refuse("rows carry features of several schemas (" + schema + ", " + s + "): ask for the rows of one")
		}
		schema = s
	}
	switch {
	case len(j.general) > 0:
		return refuse(j.general[0].Message)
	case l.model.width == 0:
		return refuse("rows carry no features: let the policies that serve name a feature schema")
	}
	var columns []string
	if j.req.Columns != nil {
		columns = j.req.Columns(schema)
	}
	return l.tree.tree(names, columns, l.model.width, int(l.nothing), j.req.Limits.Conversions, j.evidence(l.tallies[0]))
}
