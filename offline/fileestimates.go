package offline

import (
	"context"
	"hash/fnv"

	"nextbest"
	"nextbest/estimators"
)

// fileTally accumulates the second pass over a log file.
type fileTally struct {
	totals []estimators.Accumulator
	weigh  estimators.Weighing
	values estimators.WeightLikelihood // for IPS and SNIPS
	robust estimators.Likelihood       // for DR
	gap    estimators.Likelihood       // of (w − 1)r: against what ran
	over   estimators.Ratio

	low, high, gapLow, gapHigh estimators.Betting
	rewardMin, rewardMax       float64

	one [1]estimators.Row // scratch: a row that is its own unit

	distribution, ran *distributionTally // nil unless asked for
}

func newFileTally(totals []estimators.Accumulator, origin, rewardMin, rewardMax float64) *fileTally {
	scale := rewardMax - rewardMin
	if !(scale > 0) {
		scale = 1
	}
	return &fileTally{totals: totals, rewardMin: rewardMin, rewardMax: rewardMax,
		values:  estimators.WeightLikelihood{Origin: origin},
		robust:  estimators.Likelihood{Origin: origin},
		low:     estimators.Betting{Scale: scale},
		high:    estimators.Betting{Scale: scale},
		gapLow:  estimators.Betting{Bound: scale, Scale: scale},
		gapHigh: estimators.Betting{Bound: scale, Scale: scale},
	}
}

// add takes the rows of one customer, or one row where that is the unit.
func (t *fileTally) add(rows []estimators.Row) {
	for _, total := range t.totals {
		total.Add(rows)
	}
	var c estimators.Customer
	for i := range rows {
		c.Add(&rows[i])
	}
	if t.distribution != nil {
		for i := range rows {
			t.distribution.rows = append(t.distribution.rows, estimators.CDFRow{Weight: rows[i].Weight, Reward: rows[i].Reward})
			t.ran.rows = append(t.ran.rows, estimators.CDFRow{Weight: 1, Reward: rows[i].Reward})
		}
		t.distribution.close()
		t.ran.close()
	}
	t.weigh.Add(&c)
	t.values.Add(&c)
	t.robust.Add(c.Rows, c.Weight-c.Support, c.Model+c.Correction)
	t.gap.Add(c.Rows, c.Weight-c.Support, c.WeightedReward-c.Reward)
	t.over.Add(c.WeightedReward-c.Reward, c.Rows)
	n := c.Rows
	t.low.Add(n, max(0, c.WeightedReward-t.rewardMin*c.Weight))
	t.high.Add(n, max(0, t.rewardMax*c.Weight-c.WeightedReward))
	t.gapLow.Add(n, c.WeightedReward-c.Reward-t.rewardMin*(c.Weight-n))
	t.gapHigh.Add(n, t.rewardMax*(c.Weight-n)-(c.WeightedReward-c.Reward))
}

// unsortedRows is how many rows of a file whose customers are not in order are
// kept in memory at one time (some 150 MB).
const unsortedRows = 1 << 20

// tally is the second pass: it gives t every unit's rows. Where customers come
// in ascending order, or rows are the unit, memory is flat; otherwise the file
// is read once for every unsortedRows rows, and each time the customers of one
// share of the hashes are gathered.
func (r *fileRun) tally(ctx context.Context, t *fileTally) error {
	_, byCustomer := r.columns[fieldCustomer]
	switch {
	case !byCustomer:
		return r.rows(ctx, func(p *filePiece, i int, row *estimators.Row) {
			t.one[0] = *row
			t.add(t.one[:])
			r.units++
		})
	case r.study.ascending:
		var open []estimators.Row
		customer := ""
		flush := func() {
			if len(open) > 0 {
				t.add(open)
				r.units++
			}
			open = open[:0]
		}
		err := r.rows(ctx, func(p *filePiece, i int, row *estimators.Row) {
			if p.customers[i] != customer {
				flush()
				customer = p.customers[i]
			}
			open = append(open, *row)
		})
		flush()
		return err
	}
	shares := uint64((r.study.rows + unsortedRows - 1) / unsortedRows)
	for share := range shares {
		if err := r.gather(ctx, share, shares, t); err != nil {
			return err
		}
	}
	return nil
}

// gather groups the rows of a share of the customers, in the order in which
// the customers first appear.
func (r *fileRun) gather(ctx context.Context, share, shares uint64, t *fileTally) error {
	type kept struct{ weight, support, reward, q, qPolicy, propensity, cluster, stability float64 }
	index := map[string]int{}
	var of [][]kept
	hash := fnv.New64a()
	err := r.rows(ctx, func(p *filePiece, i int, row *estimators.Row) {
		c := p.customers[i]
		if shares > 1 {
			hash.Reset()
			hash.Write([]byte(c))
			if hash.Sum64()%shares != share {
				return
			}
		}
		k, ok := index[c]
		if !ok {
			k = len(of)
			index[c] = k
			of = append(of, nil)
		}
		of[k] = append(of[k], kept{row.Weight, row.Support, row.Reward, row.Q, row.QPolicy, row.Propensity, row.Cluster, row.Stability})
	})
	if err != nil {
		return err
	}
	var rows []estimators.Row
	for _, ks := range of {
		rows = rows[:0]
		for _, k := range ks {
			rows = append(rows, estimators.Row{Weight: k.weight, Support: k.support, Reward: k.reward, Q: k.q, QPolicy: k.qPolicy, Propensity: k.propensity, Cluster: k.cluster, Stability: k.stability, Matched: k.reward != 0})
		}
		t.add(rows)
		r.units++
	}
	return nil
}

// rows calls f with each row of the file, which the first pass has checked.
func (r *fileRun) rows(ctx context.Context, f func(p *filePiece, i int, row *estimators.Row)) error {
	var row estimators.Row
	var n int64
	err := r.log.read(ctx, r.columns, func(p *filePiece) error {
		for i := range p.n {
			action, _ := r.book.of(p, i)
			if action < 0 || action >= len(r.study.actions) {
				return nextbest.Errorf(nextbest.Conflict, "the file changed while it was read")
			}
			p.row(i, action, &row)
			row.Support = r.support(p, i)
			r.furnish(p, i, action, &row)
			f(p, i, &row)
		}
		n += int64(p.n)
		r.told += int64(p.n)
		if r.progress != nil {
			r.progress(r.told)
		}
		return ctx.Err()
	})
	if err == nil && n != r.study.rows {
		err = nextbest.Errorf(nextbest.Conflict, "the file changed while it was read: %d rows, then %d", r.study.rows, n)
	}
	return err
}

// support is the candidate's mass on actions that the log can speak for: those
// that were ever taken, or all where a floor is declared.
func (r *fileRun) support(p *filePiece, i int) float64 {
	if r.floored || !p.evaluations.present() || r.untried == 0 {
		return 1
	}
	off := 0.0
	for a, π := range p.evaluations.row(i) {
		if a >= len(r.study.actions) || r.study.actions[a].rows == 0 {
			off += π
		}
	}
	return max(0, 1-off)
}
