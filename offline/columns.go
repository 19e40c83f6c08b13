package offline

import (
	"fmt"
	"slices"

	"github.com/google/uuid"

	"nextbest"
	"nextbest/estimators"
)

// columns fills in, for one lane, what only some estimators read of a row. A
// lane without one has none of them.
type columns struct {
	blocks    timeBlocks
	stability [][]float64     // h by policy (candidates, then doing nothing) and block; nil unless weighted AIPW is computed
	clusters  *clusterWeights // nil unless asked for
	mrdr      []*rewardModel  // by candidate; nil unless asked for
	lists     bool            // estimators of lists were asked for
	list      *rewardModel    // of lists; nil unless asked for

	// Of lists: what ran, and the place in the current one.
	ran       estimators.Ratio // rewards per list
	reward, n float64          // of the current customer
	last      uuid.UUID
	slot      int

	// Of the current row.
	b             *nextbest.Batch
	i, part       int
	block         uint8
	eligible      []uint32
	local         []int32
	probabilities []float64
	x             []float64
	chosen        int
	actions       []int32   // scratch
	q             []float64 // scratch
}

// begin begins a row with the features x, whose models are those of a part.
func (k *columns) begin(b *nextbest.Batch, i, part int, local []int32, x []float64) {
	k.b, k.i, k.part, k.local, k.x, k.chosen = b, i, part, local, x, b.Chosen[i]
	k.eligible, k.probabilities = b.Row(i)
	k.block = k.blocks.of(b.Time[i])
	if k.lists {
		if k.slot++; b.Decision[i] != k.last || k.last == uuid.Nil {
			k.last, k.slot = b.Decision[i], 0
			k.n++
		}
		k.reward += b.Reward[i]
	}
}

// close ends the current customer.
func (k *columns) close() {
	if k.n > 0 {
		k.ran.Add(k.reward, k.n)
	}
	k.reward, k.n = 0, 0
}

// candidate fills in the row of the c-th candidate, whose distribution is p, and
// tells e of it.
func (k *columns) candidate(c int, row *estimators.Row, p []float64, e *extras) {
	k.weigh(c, row)
	row.Mixture, row.Cluster = row.Weight, 0
	if e == nil {
		return
	}
	if k.clusters != nil {
		var support float64
		row.Cluster, support = k.clusters.row(k.eligible, k.local, p, k.probabilities, k.chosen)
		e.clustered += support
		e.seen++
	}
	if k.mrdr != nil {
		other := *row
		other.Q, other.QPolicy = k.expect(k.mrdr[c], 0, p)
		e.mrdr = append(e.mrdr, other)
	}
	if k.lists {
		s := estimators.Slot{Weight: row.Weight, Marginal: row.Weight, Reward: row.Reward}
		if k.list != nil && k.slot < mostSlots {
			s.Q, s.QPolicy = k.expect(k.list, k.slot, p)
		}
		e.lists.add(k.b.Decision[k.i], s)
	}
}

// unanswered fills in the row of a candidate that cannot be asked about it.
func (k *columns) unanswered(c int, row *estimators.Row, e *extras) {
	k.weigh(c, row)
	row.Mixture, row.Cluster = 0, 0
	if e == nil {
		return
	}
	e.seen++
	if k.mrdr != nil {
		e.mrdr = append(e.mrdr, *row)
	}
	if k.lists {
		e.lists.add(k.b.Decision[k.i], estimators.Slot{Reward: row.Reward})
	}
}

// weigh gives a row the h of a policy: a candidate's number, or their count for
// doing nothing.
func (k *columns) weigh(policy int, row *estimators.Row) {
	if k.stability != nil {
		row.Stability = k.stability[policy][k.block]
	}
}

// expect returns a model's prediction of the logged action and of a candidate
// with the distribution p, in a slot from 0.
func (k *columns) expect(m *rewardModel, slot int, p []float64) (q, policy float64) {
	k.actions = k.actions[:0]
	for _, e := range k.eligible {
		a := k.local[e]
		if m == k.list {
			a = slotAction(a, slot)
		}
		k.actions = append(k.actions, a)
	}
	k.q = slices.Grow(k.q[:0], len(k.actions))[:len(k.actions)]
	m.predict(k.q, k.part, k.actions, k.x)
	for n, v := range k.q {
		policy += p[n] * v
	}
	return k.q[k.chosen], policy
}

func (k *columns) merge(o *columns) { k.ran.Merge(&o.ran) }

// lacking says, for each column that a log cannot give, why.
func lacking(req *Request, s *study, g *groundwork) map[estimators.Column]string {
	out := map[estimators.Column]string{}
	if s.unknown > 0 {
		out[estimators.ColumnCluster] = fmt.Sprintf("%d rows carry only the propensity of the logged action: the weight of a cluster needs the probabilities of all", s.unknown)
	}
	switch {
	case req.Adaptive:
		out[estimators.ColumnMixture] = "the logger learned from these rows, and the balanced weight is for fixed loggers"
	case req.Query.Own && len(s.arms) > 1:
		out[estimators.ColumnMixture] = "weights use the serving arm's own propensity, for what may be done for a customer depends on the arm that served before: the mixture of the arms is not the probability with which an action was taken"
	}
	if why := unweighed(req, s, g.blocks); why != "" {
		out[estimators.ColumnStability] = why
	}
	if g.lists != nil {
		if why := g.lists.unlistable(); why != "" {
			out[estimators.ColumnSlots], out[estimators.ColumnMarginals] = why, why
		}
	}
	if s.later > 0 {
		out[estimators.ColumnMarginals] = "it needs the probability of each action at each slot whatever stands above it, and the log has the probabilities given the slots that were drawn: what would have followed other ones is not known; cascade_dr needs no more than what was logged"
	}
	return out
}

// newColumns returns nil where no estimator needs any.
func (r *run) newColumns(s *study, g *groundwork, w ranges) *columns {
	req := r.req
	need := g.stability != nil || slices.ContainsFunc(req.Estimators, func(c estimators.Choice) bool { return !Computes(c) })
	if !need {
		return nil
	}
	c := &columns{blocks: g.blocks, lists: g.lists != nil && g.lists.unlistable() == "" || req.asks("position_ips") && s.later == 0}
	actions := len(r.actions.names)
	if g.stability != nil {
		c.stability = g.stability.weights(float64(s.eligible) / float64(max(s.rows, 1)))
	}
	if req.clustered() && s.unknown == 0 {
		of, n, _ := clusterNumbers(req.Clusters, r.actions.names)
		c.clusters = &clusterWeights{of: of, π: make([]float64, n), μ: make([]float64, n), support: req.MinSupport}
	}
	for _, m := range g.mrdr {
		c.mrdr = append(c.mrdr, m.fit(actions, req.Ridge, w.rewardMin, w.rewardMax))
	}
	if g.lists != nil && g.lists.unlistable() == "" {
		n := float64(g.lists.longest)
		c.list = g.lists.model.fit(actions*mostSlots, req.Ridge, min(w.rewardMin, n*w.rewardMin), max(w.rewardMax, n*w.rewardMax))
	}
	return c
}

// listed reports whether an estimator is one of lists.
func listed(c *estimators.Choice) bool {
	return reads(c, estimators.ColumnSlots) || reads(c, estimators.ColumnMarginals)
}

// errFewMatched is why weighted AIPW has a value but no interval, and so is not
// shown.
var errFewMatched = fmt.Errorf("its confidence sequence begins at %d converting customers that match", estimators.BurnIn)

// problem says why an estimator cannot be had for a candidate; empty where it can.
func (e *extras) problem(j *judge, c *estimators.Choice, r *Result) string {
	for _, column := range c.Columns {
		if why := j.lacks[column]; why != "" {
			return why
		}
	}
	if listed(c) && r.Unanswered > 0 {
		return "the candidate cannot be asked about every slot of every list"
	}
	if why := keep(estimators.Judge(e.weighs(c, r), j.req.Limits), estimators.RefusedESS, estimators.RefusedConversions, estimators.RefusedShare); len(why) > 0 && (listed(c) || reads(c, estimators.ColumnCluster)) {
		return "by its own weights " + why[0].Message
	}
	if reads(c, estimators.ColumnCluster) && e.seen > 0 {
		if off := 1 - e.clustered/e.seen; off > j.req.Limits.OffSupport {
			return fmt.Sprintf("%.1f%% of the candidate's decisions are of clusters that the log never tries there (limit %.0f%%)", 100*off, 100*j.req.Limits.OffSupport)
		}
	}
	return ""
}
