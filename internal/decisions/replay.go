package decisions

import (
	"slices"
	"time"

	"nextbest"
	"nextbest/internal/actions"
	"nextbest/internal/rules"
)

// replay puts a logged eligible set before arms, as the pipeline did. It is
// scratch space: one goroutine at a time.
type replay struct {
	question question
	input    rules.Input
	ids      []int32
	scale    []float64
	offset   []float64
	x        []float32
	p        []float64
	scores   []float64
}

// ask prepares the question of one row: the eligible actions in their logged
// order, with what each was worth. define gives an action's definition, nil
// where there is none.
func (r *replay) ask(eligible int, name func(i int) string, define func(name string) *actions.Compiled) {
	q := &r.question
	q.eligible, q.names, q.actions = q.eligible[:0], q.names[:0], q.actions[:0]
	r.scale, r.offset = r.scale[:0], r.offset[:0]
	q.nothing, q.input = -1, &r.input
	affine := false
	for i := range eligible {
		n := name(i)
		if n == nextbest.DoNothing {
			q.nothing = i
		}
		a := define(n)
		scale, offset := 1.0, 0.0
		if a != nil {
			scale, offset = a.Scale, a.Offset
		}
		affine = affine || scale != 1 || offset != 0
		q.eligible, q.names, q.actions = append(q.eligible, i), append(q.names, n), append(q.actions, a)
		r.scale, r.offset = append(r.scale, scale), append(r.offset, offset)
	}
	q.scale, q.offset = nil, nil
	if affine {
		q.scale, q.offset = r.scale, r.offset
	}
}

// situate sets the variables of rules and the call's scores.
func (r *replay) situate(said loggedContext, at time.Time) {
	r.input.Context, r.input.Customer, r.question.given = said.Context, said.Customer, said.Scores
	r.input.SetNow(at)
}

// answer computes an arm's distribution and scores over the question's
// eligible actions, into r.p and r.scores.
func (r *replay) answer(a *arm, x []float32) error {
	k := len(r.question.names)
	r.ids = r.ids[:0]
	for _, n := range r.question.names {
		r.ids = append(r.ids, a.policy.Arm(n))
	}
	r.p = slices.Grow(r.p[:0], k)[:k]
	r.scores = slices.Grow(r.scores[:0], k)[:k]
	return a.distribution(r.p, r.scores, &r.question, r.ids, x)
}

// encode encodes the context of a decision made at a time for an arm, into r.x;
// nil for arms without features.
func (r *replay) encode(a *arm, context map[string]any, at time.Time) ([]float32, error) {
	if a.schema == nil {
		return nil, nil
	}
	r.x = slices.Grow(r.x[:0], a.schema.Width())[:a.schema.Width()]
	return r.x, a.schema.Encode(r.x, context, at)
}
