package offline

import (
	"errors"
	"fmt"
	"math"

	"nextbest/estimators"
)

// unanswered counts the rows of one candidate that it could not be asked about.
type unanswered struct {
	rows  int64
	first string // the first row's error
}

// take reports whether an error is one of these, and counts it.
func (u *unanswered) take(err error) bool {
	var lacks Unanswered
	if !errors.As(err, &lacks) {
		return false
	}
	if u.rows++; u.rows == 1 {
		u.first = lacks.Error()
	}
	return true
}

func (u *unanswered) merge(o *unanswered) {
	if u.rows == 0 {
		u.first = o.first
	}
	u.rows += o.rows
}

// unanswered refuses a candidate that could not be asked about too many rows,
// and says how many there were in any case. It returns their share.
func (j *judge) unanswered(r *Result, t *tally) (share float64) {
	u := &t.unanswered
	if u.rows == 0 {
		return 0
	}
	r.Unanswered = u.rows
	share = float64(u.rows) / float64(r.Diagnostics.Rows)
	what := fmt.Sprintf("the candidate cannot be asked about %d of %d rows (the first: %s)", u.rows, int64(r.Diagnostics.Rows), u.first)
	if limit := j.req.Limits.OffSupport; share > limit {
		r.Refusals = append(r.Refusals, estimators.Refusal{Code: estimators.RefusedUnanswered,
			Message: fmt.Sprintf("%s: %.1f%%, more than %.0f%%", what, 100*share, 100*limit),
			Cure:    cureUnanswered})
	} else {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%s: their rewards may have been anything in the range of rewards, and every interval is wider by that", what))
	}
	return share
}

// room widens figures that have a share of unanswered rows as what ran or as the
// mean of the others.
func (j *judge) room(share float64, figures ...*Figure) {
	room := share * (j.g.rewardMax - j.g.rewardMin)
	for _, f := range figures {
		if f != nil {
			f.Low, f.High = f.Low-room, f.High+room
		}
	}
}

// share is the part of a segment's rows that the candidate could not be asked
// about.
func (t *segmentTally) share(d *estimators.Diagnostics) float64 {
	return float64(t.lacking) / float64(d.Rows)
}

// segmentRefusals are those of one segment alone. Rows that the candidate could
// not be asked about are off support too, and are named for what they are.
func (j *judge) segmentRefusals(t *segmentTally, d *estimators.Diagnostics) []estimators.Refusal {
	out := []estimators.Refusal{}
	share, limit := t.share(d), j.req.Limits.OffSupport
	if share > limit {
		out = append(out, estimators.Refusal{Code: estimators.RefusedUnanswered,
			Message: fmt.Sprintf("the candidate cannot be asked about %d of %d rows of this segment: %.1f%%, more than %.0f%%", t.lacking, d.Rows, 100*share, 100*limit), Cure: cureUnanswered})
	}
	for _, x := range estimators.Judge(*d, j.req.Limits) {
		if x.Code != estimators.RefusedOffSupport || d.OffSupport-share > limit {
			out = append(out, x)
		}
	}
	return out
}

const cureUnanswered = "let the candidate's feature schema say what stands in for a missing value (missing: mean, zero or indicator), or evaluate on decisions logged since the feature is sent"

// widen makes room in the intervals for a share of rows of which nothing is
// known but that a decision's reward lies in the range of rewards (Manski 1990):
// by the whole range where the figure has them as what ran or as the mean of the
// others, by Manski's bounds where it has them as nothing.
func (j *judge) widen(r *Result, share float64) {
	if share == 0 {
		return
	}
	g := &j.g
	if f := r.IPS; f != nil {
		iv := estimators.Manski(estimators.Interval{Low: f.Low, High: f.High}, share, g.rewardMin, g.rewardMax)
		f.Low, f.High = math.Min(iv.Low, f.Value), math.Max(iv.High, f.Value)
	}
	j.room(share, r.SNIPS, r.DM, r.DR, r.Value, r.VsLogged, r.VsBestFixed)
	for i := range r.Estimates {
		// Some of these have the rows as nothing.
		if f := &r.Estimates[i].Figure; r.Estimates[i].Problem == "" {
			most := share * max(math.Abs(g.rewardMin), math.Abs(g.rewardMax), g.rewardMax-g.rewardMin)
			f.Low, f.High = f.Low-most, f.High+most
		}
	}
}
