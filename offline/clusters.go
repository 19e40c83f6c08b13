package offline

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"nextbest"
	"nextbest/estimators"
)

// asks reports whether the named estimator was asked for.
func (r *Request) asks(name string) bool {
	return slices.ContainsFunc(r.Estimators, func(c estimators.Choice) bool { return c.Name == name })
}

// reads reports whether an estimator reads a column.
func reads(c *estimators.Choice, column estimators.Column) bool {
	return slices.Contains(c.Columns, column)
}

// clustered reports whether actions have clusters.
func (r *Request) clustered() bool { return len(r.Clusters) > 0 || r.ClusterBy != "" }

// checkClusters refuses estimators of clusters without clusters, and clusters
// without a name.
func (r *Request) checkClusters(p *nextbest.Problems) {
	for i := range r.Estimators {
		if c := &r.Estimators[i]; reads(c, estimators.ColumnCluster) && !r.clustered() {
			p.Add("estimators["+strconv.Itoa(i)+"]", "%s weighs clusters of actions: give clusters, or cluster_by where the actions' definitions say", c.Name)
		}
	}
	for _, a := range slices.Sorted(maps.Keys(r.Clusters)) {
		if r.Clusters[a] == "" {
			p.Add("clusters."+a, "a cluster needs a name")
		}
	}
}

// clusterNumbers gives each action, by number, that of its cluster. unknown are
// the actions of the request that the log never had.
func clusterNumbers(clusters map[string]string, names []string) (of []int32, n int, unknown []string) {
	number := map[string]int32{}
	of = make([]int32, len(names))
	for a, name := range names {
		// An action without a cluster is one of its own, whatever others are called.
		key := "action " + name
		if c, ok := clusters[name]; ok {
			key = "cluster " + c
		}
		k, ok := number[key]
		if !ok {
			k = int32(len(number))
			number[key] = k
		}
		of[a] = k
	}
	for _, a := range slices.Sorted(maps.Keys(clusters)) {
		if !slices.Contains(names, a) {
			unknown = append(unknown, a)
		}
	}
	return of, len(number), unknown
}

// clusterWeights computes w(x, c) = π(c|x)/μ(c|x) of rows.
type clusterWeights struct {
	of      []int32   // cluster by action
	π, μ    []float64 // scratch by cluster
	support float64
}

// of a row: the weight of the logged action's cluster c, and the candidate's mass
// on clusters that the logger takes at least with the least supported
// probability. μ is the serving policy's distribution: given who served, the
// action was drawn from it.
func (w *clusterWeights) row(eligible []uint32, local []int32, π, μ []float64, chosen int) (weight, support float64) {
	for k, e := range eligible {
		c := w.of[local[e]]
		w.π[c] += π[k]
		w.μ[c] += μ[k]
	}
	c := w.of[local[eligible[chosen]]]
	if w.μ[c] >= w.support {
		weight = w.π[c] / w.μ[c]
	}
	for _, e := range eligible {
		c := w.of[local[e]]
		if w.μ[c] >= w.support {
			support += w.π[c]
		}
		w.π[c], w.μ[c] = 0, 0
	}
	if support > 1-1e-9 {
		support = 1 // rounding is not missing support
	}
	return weight, support
}

// weighClusters adds the current customer by the weights of its clusters.
func (e *extras) weighClusters() {
	if !e.ofClusters || len(e.rows) == 0 {
		return
	}
	var c estimators.Customer
	for i := range e.rows {
		r := &e.rows[i]
		c.Add(&estimators.Row{Weight: r.Cluster, Support: r.Cluster, Reward: r.Reward, Matched: r.Matched})
	}
	e.byCluster.Add(&c)
}

// weighs are what the weights say that an estimator multiplies rewards by: those
// of clusters, of whole lists, or the candidate's own.
func (e *extras) weighs(c *estimators.Choice, r *Result) estimators.Diagnostics {
	switch {
	case reads(c, estimators.ColumnCluster):
		return e.byCluster.Estimate()
	case listed(c):
		return e.lists.weigh.Estimate()
	}
	return r.Diagnostics
}

// clustersShown returns the clusters of a report: what the request gave, or of the
// definitions those of the log's actions.
func clustersShown(req *Request, names []string) map[string]string {
	if req.ClusterBy == "" {
		return req.Clusters
	}
	out := map[string]string{}
	for _, a := range names {
		if c, ok := req.Clusters[a]; ok {
			out[a] = c
		}
	}
	return out
}

// clusterNote warns of clusters that the request names in vain.
func clusterNote(unknown []string) string {
	return fmt.Sprintf("clusters name actions that the log does not have: %s", strings.Join(unknown, ", "))
}
