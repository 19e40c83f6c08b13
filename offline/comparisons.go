package offline

import (
	"fmt"
	"math"
	"strings"

	"nextbest/estimators"
)

// Comparison is how one candidate does beside another on the same customers:
// the difference of their DR scores customer by customer, in which what both do
// alike cancels. Two intervals that overlap may well belong to candidates that
// differ for certain.
type Comparison struct {
	Candidate string `json:"candidate"`
	Other     string `json:"other"`
	// Difference is the candidate's value minus the other's. Its interval is for
	// this pair alone.
	Difference *Figure `json:"difference,omitempty"`
	// Problem says why there is none.
	Problem string `json:"problem,omitempty"`
}

// mostPairs bounds the pairs that have intervals by empirical likelihood, whose
// memory is flat but not small; beyond it intervals are normal.
const mostPairs = 28

// pairs accumulate the differences of every two candidates: (0, 1), (0, 2), …,
// (1, 2), ….
type pairs struct {
	candidates int
	over       []estimators.Ratio
	contrasts  []contrast
	like       []estimators.Likelihood // nil where there are too many
}

func newPairs(candidates int) *pairs {
	n := candidates * (candidates - 1) / 2
	p := &pairs{candidates: candidates, over: make([]estimators.Ratio, n), contrasts: make([]contrast, n)}
	if n <= mostPairs {
		p.like = make([]estimators.Likelihood, n)
	}
	return p
}

// add takes the sums of one customer under each candidate.
func (p *pairs) add(tallies []*tally) {
	k := 0
	for i, t := range tallies[:p.candidates] {
		a := &t.customer
		dr, gap := a.Model+a.Correction, a.Weight-a.Support
		for _, u := range tallies[i+1 : p.candidates] {
			b := &u.customer
			d := dr - (b.Model + b.Correction)
			p.over[k].Add(d, a.Rows)
			p.contrasts[k].add(a.Weight-b.Weight, a.WeightedReward-b.WeightedReward)
			if p.like != nil {
				p.like[k].Add(a.Rows, gap-(b.Weight-b.Support), d)
			}
			k++
		}
	}
}

func (p *pairs) merge(o *pairs) {
	for k := range p.over {
		p.over[k].Merge(&o.over[k])
		p.contrasts[k].merge(&o.contrasts[k])
		if p.like != nil {
			p.like[k].Merge(&o.like[k])
		}
	}
}

// comparisons returns every two candidates' difference. shares are the rows of
// each that it could not be asked about.
func (j *judge) comparisons(l *lane, results []Result, shares []float64) []Comparison {
	out := []Comparison{}
	p, g := l.pairs, &j.g
	width, spread := g.rewardMax-g.rewardMin, j.q.high-j.q.low
	k := -1
	for i := range p.candidates {
		for o := i + 1; o < p.candidates; o++ {
			k++
			a, b := &results[i], &results[o]
			c := Comparison{Candidate: a.Name, Other: b.Name}
			if a.DR == nil || b.DR == nil || a.Refused() || b.Refused() {
				of := a
				if !a.Refused() {
					of = b
				}
				c.Problem = "refused for " + of.Name
				if of.Refused() {
					c.Problem += ": " + of.Refusals[0].Message
				}
				out = append(out, c)
				continue
			}
			e := j.evidence(l.tallies[i])
			gap, err := p.over[k].Estimate()
			if c.Difference = e.figure(gap, err); c.Difference != nil {
				if e.likelihood && p.like != nil {
					w := e.maxWeight
					e.improve(c.Difference, func() (float64, estimators.Interval, error) {
						s := estimators.Support{UMin: -w, UMax: w, GMin: -spread, GMax: spread, EMin: g.rewardMin - j.q.high, EMax: g.rewardMax - j.q.low}
						return p.like[k].Interval(s, -width, width, j.req.Level)
					})
				}
				room := (shares[i] + shares[o]) * width
				c.Difference.Low, c.Difference.High = c.Difference.Low-room, c.Difference.High+room
				_, rows := p.over[k].Sums()
				if n, few := p.contrasts[k].few(j.req.Limits.Conversions, width, rows, gap.StdErr); few && c.Difference.Method == methodNormal {
					c.Difference = nil
					c.Problem = fmt.Sprintf("they differ by what %.1f conversions on one side say (at least %.0f needed): an interval would cover too little; log for longer, or declare the exploration floor", n, j.req.Limits.Conversions)
				}
			} else {
				c.Problem = "it is not a finite number on this log"
			}
			out = append(out, c)
		}
	}
	return out
}

// discover runs e-BH over the candidates' e-values against "no better than what
// ran": of those it names, the share that is not better is at most Delta in
// expectation, however the candidates depend on one another (Wang and Ramdas
// 2022, arXiv 2009.02824). A candidate that was evaluated before pays for it: its
// e-value counts for the look's share of Delta only. One that is refused counts
// among those that were tried, and cannot be named.
func (j *judge) discover(results []Result) {
	logs := make([]float64, len(results))
	for i := range results {
		logs[i] = math.Inf(-1)
		if g := results[i].Gate; g != nil && g.Declared && !results[i].Refused() {
			logs[i] = g.LogE - math.Log(j.req.Delta/j.spent(i))
		}
	}
	for i, named := range estimators.EBH(logs, j.req.Delta) {
		if g := results[i].Gate; g != nil {
			g.Discovered = named
		}
	}
}

// spent is the i-th candidate's error before it is shared among the candidates.
func (j *judge) spent(i int) float64 {
	if j.req.Looks == nil {
		return j.req.Delta
	}
	return estimators.Spend(j.req.Delta, j.req.Looks[i])
}

// writeComparisons writes how the candidate with the largest DR does beside each
// other one, and which are worth an experiment; the JSON has every pair.
func (r *Report) writeComparisons(b *strings.Builder) {
	var leader *Result
	var named []string
	for i := range r.Results {
		x := &r.Results[i]
		if x.Baseline || x.Refused() || x.DR == nil {
			continue
		}
		if leader == nil || x.DR.Value > leader.DR.Value {
			leader = x
		}
		if x.Gate != nil && x.Gate.Discovered {
			named = append(named, x.Name)
		}
	}
	rows := [][]string{{"best candidate", "beside", fmt.Sprintf("difference [%.0f%%]", 100*r.Level), "interval"}}
	for _, c := range r.Comparisons {
		if leader == nil || c.Difference == nil || c.Candidate != leader.Name && c.Other != leader.Name {
			continue
		}
		d, other := *c.Difference, c.Other
		if c.Other == leader.Name {
			other, d.Value, d.Low, d.High = c.Candidate, -d.Value, -d.High, -d.Low
		}
		rows = append(rows, []string{leader.Name, other, fmt.Sprintf("%s [%s, %s]", signed(d.Value), signed(d.Low), signed(d.High)), strings.ReplaceAll(d.Method, "_", " ")})
	}
	if len(rows) > 1 {
		writeColumns(b, rows)
	}
	if len(r.Comparisons) > 0 && len(named) > 0 {
		fmt.Fprintf(b, "better than what ran, with at most %.0f%% of those named expected not to be (e-BH): %s\n", 100*r.Delta, strings.Join(named, ", "))
	}
}
