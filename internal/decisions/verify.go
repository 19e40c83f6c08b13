package decisions

import (
	"context"
	"fmt"
	"math"
	"slices"

	"nextbest"
	"nextbest/bandit"
	"nextbest/experiments"
	"nextbest/internal/actions"
)

// Verified is the outcome of replaying logged decisions.
type Verified struct {
	Checked   int64 `json:"checked"`
	Identical int64 `json:"identical"`
	Skipped   int64 `json:"skipped"` // imported rows: nobody here drew them
	// Differences has one entry for each thing that differs, of the first rows
	// that do.
	Differences []Difference `json:"differences"`
}

// Difference is one thing that a replay found otherwise than the log has it.
type Difference struct {
	Decision string `json:"decision_id"`
	Slot     uint8  `json:"slot"`
	What     string `json:"what"` // draw, propensity, distribution, x, arms …
	Logged   string `json:"logged"`
	Replayed string `json:"replayed"`
}

// Where the logged arithmetic is another, recomputed numbers may differ by this.
const otherNumerics = 1e-12

const (
	keptDifferences = 100
	keptArms        = 64
)

// Verify replays logged decisions against the definitions of a catalogue made
// with all versions: each draw from the logged probabilities and salt, bit for
// bit; X from the logged context; the serving distribution and scores and every
// arm's probability and floor from X, model and eligible set (bit for bit where Numerics
// are this program's, within 1e-12 elsewhere); assignment, shares and floor.
// rows calls its argument for each row. Rows that differ are reported, not
// errors; an error is one of rows or ctx.
func Verify(ctx context.Context, c *Catalogue, rows func(each func(*nextbest.Decision) error) error, progress func(checked int64)) (*Verified, error) {
	v := &Verified{Differences: []Difference{}}
	r := newVerifier(c)
	err := rows(func(d *nextbest.Decision) error {
		if err := ctx.Err(); err != nil {
			return nextbest.Errorf(nextbest.Unavailable, "verification stopped after %d rows: %w", v.Checked, err)
		}
		if d.Source != "" && d.Source != "live" {
			v.Skipped++
			return nil
		}
		v.Checked++
		if found := r.row(d); len(found) == 0 {
			v.Identical++
		} else if len(v.Differences) < keptDifferences {
			v.Differences = append(v.Differences, found...)
		}
		if progress != nil && v.Checked%1000 == 0 {
			progress(v.Checked)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if progress != nil {
		progress(v.Checked)
	}
	return v, nil
}

// verifier replays rows one after the other.
type verifier struct {
	replay
	c       *Catalogue
	arms    map[armKey]*arm
	assign  map[assignKey]assignment
	found   []Difference
	d       *nextbest.Decision
	exact   bool // the row's arithmetic is this program's
	context map[string]any
	earlier []nextbest.Decision // slots of the decision that came before
}

type assignKey struct {
	placement string
	revision  uint64
}

type assignment struct {
	holdout    *experiments.Holdout
	definition *experiments.Definition
	name       string
}

func newVerifier(c *Catalogue) *verifier {
	return &verifier{c: c, arms: map[armKey]*arm{}, assign: map[assignKey]assignment{}}
}

func (v *verifier) differs(what string, logged, replayed any) {
	v.found = append(v.found, Difference{v.d.ID.String(), v.d.Slot, what, fmt.Sprint(logged), fmt.Sprint(replayed)})
}

// same compares two numbers by the row's arithmetic.
func (v *verifier) same(a, b float64) bool {
	if v.exact {
		return math.Float64bits(a) == math.Float64bits(b)
	}
	return math.Abs(a-b) <= otherNumerics*max(1, math.Abs(a), math.Abs(b))
}

// row returns what differs in one row.
func (v *verifier) row(d *nextbest.Decision) []Difference {
	v.d, v.found = d, nil
	v.exact = d.Numerics == bandit.Numerics || d.Numerics == ""
	chosen := slices.Index(d.Eligible, d.Action)
	if len(d.Eligible) != len(d.Probabilities) || chosen < 0 {
		v.differs("eligible", fmt.Sprintf("%d actions, %d probabilities, %s drawn", len(d.Eligible), len(d.Probabilities), d.Action), "the drawn action among as many actions as probabilities")
		return v.found
	}
	if !slices.IsSorted(d.Eligible) || !slices.Contains(d.Eligible, nextbest.DoNothing) {
		v.differs("eligible", d.Eligible, "sorted, with do-nothing")
	}
	v.checkEarlier()
	v.checkDraw(chosen)
	said, err := readContext(d.Context)
	if err != nil {
		v.differs("context", string(d.Context), err)
		return v.found
	}
	v.context = said.Context
	v.checkX()
	v.ask(len(d.Eligible), func(i int) string { return d.Eligible[i] }, func(name string) *actions.Compiled { return v.c.action(name, d.Catalogue) })
	v.situate(said, d.Time)
	v.checkServing()
	v.checkArms(chosen)
	v.checkAssignment()
	return v.found
}

// checkEarlier compares a slot with the slots of the same decision before it,
// where the rows have them: slots count on, what was drawn is not drawn again,
// and nothing follows do-nothing.
func (v *verifier) checkEarlier() {
	d := v.d
	if len(v.earlier) > 0 && v.earlier[0].ID != d.ID || d.Slot == 1 {
		v.earlier = v.earlier[:0]
	}
	for i := range v.earlier {
		e := &v.earlier[i]
		if e.Slot >= d.Slot || e.Action == nextbest.DoNothing {
			v.differs("slot", d.Slot, fmt.Sprintf("the list ended with slot %d, %s", e.Slot, e.Action))
		}
		if slices.Contains(d.Eligible, e.Action) {
			v.differs("eligible", d.Eligible, fmt.Sprintf("without %s, drawn for slot %d", e.Action, e.Slot))
		}
	}
	v.earlier = append(v.earlier, nextbest.Decision{ID: d.ID, Slot: d.Slot, Action: d.Action})
}

func (v *verifier) checkDraw(chosen int) {
	d := v.d
	salt, ok := v.c.salts[d.Salt]
	if !ok {
		v.differs("salt", d.Salt, "not defined")
		return
	}
	sum := 0.0
	for _, p := range d.Probabilities {
		if !(p >= 0) {
			sum = math.NaN()
		}
		sum += p
	}
	if !(math.Abs(sum-1) <= 1e-9) {
		v.differs("probabilities", sum, "not negative, with sum 1")
	}
	u := bandit.DrawUniform(salt, d.ID, d.Slot)
	if i := bandit.Draw(d.Probabilities, u); i != chosen {
		replayed := "nothing"
		if i >= 0 {
			replayed = d.Eligible[i]
		}
		v.differs("draw", d.Action, replayed)
	}
	if math.Float64bits(d.Propensity) != math.Float64bits(d.Probabilities[chosen]) {
		v.differs("propensity", d.Propensity, d.Probabilities[chosen])
	}
}

// checkX encodes the logged context again.
func (v *verifier) checkX() {
	d := v.d
	schema := biasAlone
	if d.Features != "" {
		r, err := ref(d.Features)
		if err == nil {
			schema, err = v.c.Schema(r)
		}
		if err != nil {
			v.differs("features", d.Features, err)
			return
		}
	} else if len(d.X) == 0 {
		return
	}
	v.x = slices.Grow(v.x[:0], schema.Width())[:schema.Width()]
	if err := schema.Encode(v.x, v.context, d.Time); err != nil {
		v.differs("x", "the context was encoded", err)
		return
	}
	if !slices.EqualFunc(v.x, d.X, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) {
		v.differs("x", d.X, v.x)
	}
}

// arm finds or loads a logged policy version and model.
func (v *verifier) arm(policy string, model uint64) (*arm, error) {
	r, err := ref(policy)
	if err != nil {
		return nil, err
	}
	key := armKey{r, model}
	if a := v.arms[key]; a != nil {
		return a, nil
	}
	a := v.c.arms[key]
	if a == nil {
		if a, err = v.c.newArm(key); err != nil {
			return nil, err
		}
	}
	if len(v.arms) >= keptArms {
		for other := range v.arms {
			delete(v.arms, other)
			break
		}
	}
	v.arms[key] = a
	return a, nil
}

// distribution recomputes an arm's distribution into v.p; false when it is not
// possible, which is a difference.
func (v *verifier) distribution(what, policy string, model uint64) bool {
	a, err := v.arm(policy, model)
	if err != nil {
		v.differs(what, fmt.Sprintf("%s, model %d", policy, model), err)
		return false
	}
	x := v.d.X
	if a.schema == nil || a.spec.Features != v.d.Features {
		if x, err = v.encode(a, v.context, v.d.Time); err != nil {
			v.differs(what, "the context was encoded", err)
			return false
		}
	} else if len(x) != a.schema.Width() {
		v.differs(what, fmt.Sprintf("X has %d features", len(x)), a.schema.Width())
		return false
	}
	if err := v.answer(a, x); err != nil {
		v.differs(what, fmt.Sprintf("%s, model %d", policy, model), err)
		return false
	}
	return true
}

func (v *verifier) checkServing() {
	d := v.d
	if d.Arm == experiments.HoldoutArm {
		for i, p := range d.Probabilities {
			if (p == 1) != (d.Eligible[i] == nextbest.DoNothing) {
				v.differs("distribution", d.Probabilities, "do-nothing with certainty, in the holdout")
				return
			}
		}
		return
	}
	if !v.distribution("distribution", d.Policy, d.Model) {
		return
	}
	if !slices.EqualFunc(d.Probabilities, v.p, v.same) {
		v.differs("distribution", d.Probabilities, slices.Clone(v.p))
	}
	if len(d.Scores) > 0 && !slices.EqualFunc(d.Scores, v.scores, v.same) {
		v.differs("scores", d.Scores, slices.Clone(v.scores))
	}
}

// checkArms recomputes every arm's probability of the drawn action and floor,
// and the mixture's floor.
func (v *verifier) checkArms(chosen int) {
	d := v.d
	k := len(d.Eligible)
	if len(d.Arms) == 0 {
		if a, err := v.arm(d.Policy, d.Model); err == nil && !v.same(d.Floor, a.policy.Floor(k)) {
			v.differs("floor", d.Floor, a.policy.Floor(k))
		}
		return
	}
	floor := 0.0
	serving := false
	for _, logged := range d.Arms {
		p, f := 0.0, 0.0
		if logged.Arm == experiments.HoldoutArm {
			if d.Action == nextbest.DoNothing {
				p = 1
			}
			if k == 1 {
				f = 1
			}
		} else {
			if !v.distribution("arm "+logged.Arm, logged.Policy, logged.Model) {
				return
			}
			a, _ := v.arm(logged.Policy, logged.Model)
			p, f = v.p[chosen], a.policy.Floor(k)
		}
		if !v.same(logged.Probability, p) {
			v.differs("arm "+logged.Arm, logged.Probability, p)
		}
		if !v.same(logged.Floor, f) {
			v.differs("floor of arm "+logged.Arm, logged.Floor, f)
		}
		if logged.Arm == d.Arm {
			serving = true
			if math.Float64bits(logged.Probability) != math.Float64bits(d.Propensity) {
				v.differs("arm "+logged.Arm, logged.Probability, d.Propensity)
			}
		}
		floor += logged.Share * f
	}
	if !serving {
		v.differs("arms", fmt.Sprintf("without the serving arm %q", d.Arm), "the serving arm is in the mixture")
	}
	if floor = min(floor, 1); !v.same(d.Floor, floor) {
		v.differs("floor", d.Floor, floor)
	}
	if m := d.MixturePropensity(); !(m > 0 && m <= 1+1e-12) {
		v.differs("mixture", m, "a probability above 0")
	}
}

// checkAssignment assigns the customer again, by the holdout and the experiment
// that were in force.
func (v *verifier) checkAssignment() {
	d := v.d
	placement, err := ref(d.Placement)
	if err != nil {
		v.differs("placement", d.Placement, err)
		return
	}
	key := assignKey{placement.ID, d.Catalogue}
	a, ok := v.assign[key]
	if !ok {
		a.holdout, a.definition, a.name = v.c.assigners(key.placement, key.revision)
		v.assign[key] = a
	}
	w := work{customer: d.Customer}
	pl := &placementArms{holdout: a.holdout, definition: a.definition}
	w.assignTo(pl)
	var experiment, arm string
	if w.mixing {
		arm = w.mixture[w.serving].name
		if w.assignment.Enrolled && !w.assignment.Held {
			experiment = a.name
		}
	}
	if d.Experiment != experiment || d.Arm != arm {
		v.differs("assignment", fmt.Sprintf("experiment %q, arm %q", d.Experiment, d.Arm), fmt.Sprintf("experiment %q, arm %q", experiment, arm))
	}
	want := w.mixture
	if !w.mixing {
		want = nil
	}
	if !slices.EqualFunc(d.Arms, want, func(l nextbest.ArmProbability, m mixed) bool { return l.Arm == m.name && l.Share == m.share }) {
		replayed := make([]string, len(want))
		for i, m := range want {
			replayed[i] = fmt.Sprintf("%s %v", m.name, m.share)
		}
		v.differs("shares", d.Arms, replayed)
	}
	setAside := w.assignment.Enrolled && a.definition.SetAside
	if d.SetAside != setAside {
		v.differs("set_aside", d.SetAside, setAside)
	}
}
