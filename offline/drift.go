package offline

import (
	"fmt"
	"math"
	"sort"
	"time"

	"gonum.org/v1/gonum/stat/distuv"

	"nextbest/estimators"
)

// drift checks that a candidate's weights average to its supported mass for
// every serving policy version and day: propensities that went wrong for one
// deployment show here when the whole log still looks fine.
type drift struct {
	index map[stretch]int
	keys  []stretch
	gaps  []estimators.Ratio // Σ(w − s) per row, by customer
	max   []float64          // largest weight

	last    stretch
	at      int
	pending []pendingGap // of the current customer
}

// stretch is one policy version's rows of one day.
type stretch struct {
	policy string
	day    int64 // since the Unix epoch, UTC
}

type pendingGap struct {
	at        int
	gap, rows float64
}

// mostStretches bounds the memory; what comes later shares the last one.
const mostStretches = 4096

func (d *drift) find(k stretch) int {
	i, ok := d.index[k]
	if ok {
		return i
	}
	if len(d.keys) == mostStretches {
		return mostStretches - 1
	}
	if d.index == nil {
		d.index = map[stretch]int{}
	}
	i = len(d.keys)
	d.index[k] = i
	d.keys = append(d.keys, k)
	d.gaps = append(d.gaps, estimators.Ratio{})
	d.max = append(d.max, 0)
	return i
}

// add adds one row of the current customer.
func (d *drift) add(policy string, micros int64, weight, support float64) {
	day := micros / 86400e6
	if len(d.keys) == 0 || d.last.day != day || d.last.policy != policy {
		d.last = stretch{policy, day}
		d.at = d.find(d.last)
	}
	d.max[d.at] = max(d.max[d.at], weight)
	for i := range d.pending {
		if p := &d.pending[i]; p.at == d.at {
			p.gap += weight - support
			p.rows++
			return
		}
	}
	d.pending = append(d.pending, pendingGap{d.at, weight - support, 1})
}

// close ends the current customer.
func (d *drift) close() {
	for _, p := range d.pending {
		d.gaps[p.at].Add(p.gap, p.rows)
	}
	d.pending = d.pending[:0]
}

func (d *drift) merge(o *drift) {
	for i, k := range o.keys {
		at := d.find(k)
		d.gaps[at].Merge(&o.gaps[i])
		d.max[at] = max(d.max[at], o.max[i])
	}
}

// driftMatches is how many of the largest weights a stretch must be expected
// to hold before its mean is judged: with fewer the normal approximation
// accuses healthy logs.
const driftMatches = 50

// warnings names stretches whose mean weight is off, at a false-alarm rate of
// alphaCalibration over all of them (two-sided, Bonferroni).
func (d *drift) warnings() (out []string) {
	type judged struct {
		stretch
		mean, z float64
	}
	var js []judged
	for i, k := range d.keys {
		_, rows := d.gaps[i].Sums()
		e, err := d.gaps[i].Estimate()
		if err != nil || !(e.StdErr > 1e-12) || d.max[i] <= 0 || rows/d.max[i] < driftMatches || float64(e.Customers)/d.max[i] < driftMatches {
			continue
		}
		js = append(js, judged{k, 1 + e.Value, e.Value / e.StdErr})
	}
	if len(js) == 0 {
		return nil
	}
	limit := distuv.UnitNormal.Quantile(1 - alphaCalibration/(2*float64(len(js))))
	sort.SliceStable(js, func(i, j int) bool { return math.Abs(js[i].z) > math.Abs(js[j].z) })
	for _, j := range js {
		if math.Abs(j.z) > limit && len(out) < 5 {
			out = append(out, fmt.Sprintf("on %s under %s the weights average to %.3f instead of 1 (z %.1f): look at what was deployed",
				time.Unix(j.day*86400, 0).UTC().Format(time.DateOnly), j.policy, j.mean, j.z))
		}
	}
	return out
}
