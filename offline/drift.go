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
	steps []weightSteps

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

// weightSteps are what a stretch's rows say of the weights they may have had.
type weightSteps struct {
	variance float64 // of Σ(w − s), by the logged probabilities: ΣE[w²] − s²
	largest  float64 // weight that was possible, or that came where that is unknown
	unknown  bool    // some rows lack the probabilities of what was not taken
}

func (w *weightSteps) merge(o weightSteps) {
	w.variance += o.variance
	w.largest = max(w.largest, o.largest)
	w.unknown = w.unknown || o.unknown
}

// possible returns E[w²] and the largest weight of a row at which a candidate has
// the distribution p and the policy that served had probabilities, of which those
// below support count as never tried.
func possible(p, probabilities []float64, support float64) (square, largest float64) {
	for k, π := range p {
		if μ := probabilities[k]; π > 0 && μ >= support {
			w := π / μ
			square += π * w
			largest = max(largest, w)
		}
	}
	return square, largest
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
	d.steps = append(d.steps, weightSteps{})
	return i
}

// add adds one row of the current customer. square is E[w²] and largest the
// largest weight by the logged probabilities; NaN where they are unknown.
func (d *drift) add(policy string, micros int64, weight, support, square, largest float64) {
	day := micros / 86400e6
	if len(d.keys) == 0 || d.last.day != day || d.last.policy != policy {
		d.last = stretch{policy, day}
		d.at = d.find(d.last)
	}
	if step := &d.steps[d.at]; square == square {
		step.variance += square - support*support
		step.largest = max(step.largest, largest)
	} else {
		step.unknown = true
		step.largest = max(step.largest, weight)
	}
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
		d.steps[at].merge(o.steps[i])
	}
}

// driftSteps is how many squares of the largest step the variance of a stretch's
// sum must hold where it comes from the sample alone: with fewer the sample may
// miss what is rare, a weight that is large or one that is 0.
const driftSteps = 50

// z is how far a stretch's weights are from their supported mass, in standard
// errors; false where that cannot be said. Every decision was drawn on its own with
// the logged probabilities, so the variance is known, whatever the sample shows;
// where customers vary more than that, theirs counts.
func (d *drift) z(i int) (z, mean float64, ok bool) {
	e, err := d.gaps[i].Estimate()
	if err != nil {
		return 0, 0, false
	}
	gap, rows := d.gaps[i].Sums()
	variance, step := 0.0, d.steps[i]
	if e.StdErr == e.StdErr {
		variance = e.StdErr * e.StdErr * rows * rows
	}
	if step.unknown {
		if most := max(step.largest, 1); variance < driftSteps*most*most {
			return 0, 0, false
		}
	} else {
		variance = max(variance, step.variance)
	}
	if !(variance > 1e-9) || step.largest <= 0 {
		return 0, 0, false
	}
	most := 1.0 // a weight is at most the supported mass below it
	if gap > 0 {
		most = step.largest
	}
	return estimators.TailZ(gap, variance, most), 1 + e.Value, true
}

// warnings names stretches whose mean weight is off, at a false-alarm rate of
// alphaCalibration over all of them (two-sided, Bonferroni).
func (d *drift) warnings() (out []string) {
	type judged struct {
		stretch
		mean, z float64
	}
	var js []judged
	for i, k := range d.keys {
		if z, mean, ok := d.z(i); ok {
			js = append(js, judged{k, mean, z})
		}
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
