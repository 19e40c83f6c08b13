package bandit

import (
	"math"

	"nextbest"
)

// logisticThompson is Thompson sampling for rewards between 0 and 1 (Chapelle
// and Li 2011): the logit of action a's expected reward is Gaussian with mean
// θ_aᵀx and standard deviation v √(xᵀA_a⁻¹x), and an action's probability is that
// of its score, scale × expected reward + offset, being the highest, by
// quadrature. Where scale and offset are the same for all, the order of the
// scores is that of the logits.
type logisticThompson struct {
	*linear
	v, floor float64
}

func newLogisticThompson(s Spec, beliefs *posterior) (Policy, error) {
	return logisticThompson{newLinear(s, beliefs), s.param("v"), s.param("floor")}, nil
}

func (t logisticThompson) Floor(k int) float64 { return t.floor / float64(k) }

func (t logisticThompson) Distribution(p, scores []float64, r *Request) error {
	r.check(p, scores)
	w := t.workspace()
	defer t.pool.Put(w)
	logits := Request{X: r.X, Arms: r.Arms}
	if err := t.score(w, &logits, true); err != nil {
		return err
	}
	for i, sd := range w.sd {
		w.mean[i] = math.Min(math.Max(w.mean[i], -largestLogit), largestLogit)
		scale, offset := r.arbitration(i)
		scores[i] = float64(scale*expectedResponse(w.mean[i], sd)) + offset
		w.sd[i] = math.Min(float64(t.v*sd), (saturation-math.Abs(w.mean[i]))/tail)
		if scores[i]-scores[i] != 0 || w.sd[i]-w.sd[i] != 0 {
			return nextbest.Errorf(nextbest.Invalid, "the score of eligible action %d is not a finite number (logit %g, standard deviation %g): check the context and the action's value, lever and cost", i, w.mean[i], sd)
		}
	}
	var err error
	if r.sameArbitration() {
		err = w.maximum.probabilities(p, w.mean, w.sd)
	} else {
		err = w.logistic.probabilities(p, w.mean, w.sd, r)
	}
	if err != nil {
		return err
	}
	explore(p, t.floor)
	return nil
}

// Logits are held within bounds, so that no probability that counts is 1 to the
// last digit: a mean beyond ±20, a 5e8th, is one of ±20, and tail standard
// deviations reach no further than 36.
const (
	largestLogit = 20
	saturation   = 36
)

// expectedResponse is the mean of a logistic of a Gaussian, within .01 (MacKay
// 1992, "The evidence framework applied to classification networks", eq. 10).
func expectedResponse(mean, sd float64) float64 {
	return logistic(mean / math.Sqrt(1+float64(math.Pi/8*float64(sd*sd))))
}

// arbitration returns action i's scale and offset.
func (r *Request) arbitration(i int) (scale, offset float64) {
	scale = 1
	if r.Scale != nil {
		scale = r.Scale[i]
	}
	if r.Offset != nil {
		offset = r.Offset[i]
	}
	return scale, offset
}

// sameArbitration reports whether arbitration leaves the order of the actions as
// it is.
func (r *Request) sameArbitration() bool {
	scale, offset := r.arbitration(0)
	for i := range r.Arms {
		if s, o := r.arbitration(i); s != scale || o != offset {
			return false
		}
	}
	return scale > 0
}
