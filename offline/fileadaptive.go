package offline

import (
	"fmt"
	"math"

	"nextbest/estimators"
)

// pieceSums sums a value by the order of rows, in at most mostPieces pieces of equal
// length, which doubles as rows come.
type pieceSums struct {
	size int64 // rows of a piece
	rows int64
	sums []float64
}

const mostPieces = 256

func (g *pieceSums) add(v float64) {
	if g.size == 0 {
		g.size = 1
	}
	if g.rows == g.size*mostPieces {
		for k := range len(g.sums) / 2 {
			g.sums[k] = g.sums[2*k] + g.sums[2*k+1]
		}
		g.sums = g.sums[:len(g.sums)/2]
		g.size *= 2
	}
	if k := g.rows / g.size; k == int64(len(g.sums)) {
		g.sums = append(g.sums, 0)
	}
	g.sums[g.rows/g.size] += v
	g.rows++
}

// block is the block of about as many rows that a row is in, from 0.
func (g *pieceSums) block(row int64) int {
	return int(row / g.size * blocksOfTime / int64(len(g.sums)))
}

// blocks returns the sums as those of a policy.
func (g *pieceSums) blocks() *stabilityTotals {
	t := newStabilityTotals(1, blocksOfTime)
	for k, v := range g.sums {
		b := g.block(int64(k) * g.size)
		t.sum[0][b] += v
		t.rows[0][b] += float64(min(g.size, g.rows-int64(k)*g.size))
	}
	return t
}

// secondMoment is Σ_a π(a|x)²/e(a|x) of row i, or the square of its own weight
// where the file has not all probabilities.
func (p *filePiece) secondMoment(i int, r *estimators.Row) (m float64) {
	if !p.logged.present() || !p.evaluations.present() {
		return r.Weight * r.Weight
	}
	e := p.logged.row(i)
	for a, π := range p.evaluations.row(i) {
		if e[a] > 0 {
			m += π * π / e[a]
		}
	}
	return m
}

// prepare readies what only some estimators need: h of rows in the order of the
// file, which is taken for that of time, and clusters.
func (r *fileRun) prepare(logger string, broken bool) {
	if _, declared := r.o.maxWeight(); logger == loggerAdaptive && declared && !broken {
		actions := 0.0
		for k := range r.study.actions {
			if r.study.actions[k].rows > 0 {
				actions++
			}
		}
		r.stability = r.study.moments.blocks().weights(actions)[0]
	}
	if code, _, _ := r.unclustered(""); code != "" {
		return
	}
	n := r.study.lists
	names := make([]string, n)
	for a := range n {
		r.local, r.numbers = append(r.local, uint32(a)), append(r.numbers, int32(a))
		names[a] = r.book.name(a)
	}
	of, k, unknown := clusterNumbers(r.o.Clusters, names)
	r.unknown = unknown
	// A cluster that the logger never takes has no row to weigh.
	r.clusters = &clusterWeights{of: of, π: make([]float64, k), μ: make([]float64, k), support: math.SmallestNonzeroFloat64}
}

// unclustered says why clusters cannot be weighed; empty where they can.
func (r *fileRun) unclustered(name string) (code, message, cure string) {
	_, logged := r.columns[fieldLogged]
	_, evaluations := r.columns[fieldEvaluations]
	switch {
	case !logged || !evaluations:
		return missingColumn, fmt.Sprintf("%s needs %s and %s, the probabilities of all actions under logger and candidate", name, fieldLogged, fieldEvaluations), "add both as lists"
	case len(r.o.Clusters) == 0:
		return missingColumn, name + " needs the clusters of actions", "give them with --cluster ACTION=CLUSTER,…"
	}
	return "", "", ""
}

// furnish fills in what only some estimators read of a row.
func (r *fileRun) furnish(p *filePiece, i, action int, row *estimators.Row) {
	if r.stability != nil {
		row.Stability = r.stability[r.study.moments.block(p.first+int64(i))]
	}
	if r.clusters != nil {
		var support float64
		row.Cluster, support = r.clusters.row(r.local, r.numbers, p.evaluations.row(i), p.logged.row(i), action)
		r.clustered += support
		r.weighed++
	}
}

// sequence gives weighted AIPW its asymptotic confidence sequence.
func (j *fileJudge) sequence(f *FileEstimate, x estimators.Estimate) {
	f.Note += "; rows are in the order of time"
	if j.r.modelled() {
		f.Note += ", and predictions were fitted to earlier rows"
	} else {
		f.Note += "; without predictions q is 0"
	}
	d := &j.report.Diagnostics
	if !f.set(x.Asymptotic(d.MatchedConversions, float64(x.Customers), 1-j.r.o.Level), nil, methodSequence) {
		j.lacks(missingInterval, fmt.Sprintf("%s has no interval: %.1f converting %ss match, and its confidence sequence begins at %d", f.Name, d.MatchedConversions, j.report.Unit, estimators.BurnIn), "log for longer")
		return
	}
	f.IntervalWhy = "the interval of weighted AIPW, for a logger that learned; it is asymptotic, where betting is guaranteed"
}

// distributions fills in what was asked for of the rewards.
func (j *fileJudge) distributions() {
	rep, o := j.report, j.r.o
	if !o.Distribution {
		return
	}
	fill := func(t *distributionTally, problem string, units float64) *Distribution {
		d := &Distribution{Estimator: "snips", Problem: problem}
		if problem != "" {
			return d
		}
		if err := d.fill(t.cdf, o.Level, units/o.Limits.Conversions); err != nil {
			return &Distribution{Estimator: "snips", Problem: err.Error()}
		}
		if k, ok := estimators.FindInterval(methodNormal); ok {
			d.Note = k.Warning(rep.Diagnostics.Diagnostics)
		}
		return d
	}
	problem, candidate := "", ""
	if j.t.distribution == nil {
		problem = "rewards are 0 and 1: their mean is all that there is to their distribution"
	} else if n := j.r.study.matched; float64(n) < o.Limits.Conversions {
		problem = fmt.Sprintf("only %d rows converted (at least %.0f needed)", n, o.Limits.Conversions)
	}
	switch {
	case problem != "":
		candidate = problem
	case rep.Refused():
		candidate = rep.Refusals[0].Message
	case rep.Log.Logger == loggerAdaptive:
		candidate = "the logger learned from these rows, and the intervals of a distribution are for fixed loggers"
	}
	rep.Distribution, rep.LoggedDistribution = fill(j.t.distribution, candidate, rep.Diagnostics.ESS), fill(j.t.ran, problem, float64(rep.Diagnostics.Customers))
}
