package decisions

import (
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"nextbest"
	"nextbest/bandit"
	"nextbest/experiments"
	"nextbest/internal/actions"
	"nextbest/internal/rules"
)

// work is the scratch space of one decision; it is used again for others.
type work struct {
	customer  string // pseudonym
	context   map[string]any
	input     rules.Input
	canonical canonical
	x         [][]float32 // beside the placement's schemas
	now       time.Time
	uniform   float64
	slot      uint8 // being decided, 1-based
	taken     []int // the placement's actions drawn for earlier slots of the call
	loading   bool

	assignment experiments.Assignment
	// mixture holds the arms the customer might have been in; serving is the
	// index of the one that serves. Outside experiments and holdouts there is
	// one arm.
	mixture []mixed
	serving int
	mixing  bool // arms are logged

	contacts  []nextbest.Contact
	reserved  reservation
	selection actions.Selection
	question  question
	scaled    []float64 // backs question.scale and offset
	p         [][]float64
	scores    []float64
	drawn     int // position among the eligible
	// rows are the records of the call's slots. Others keep them.
	rows []nextbest.Decision
}

// mixed is one arm of the mixture.
type mixed struct {
	name  string
	share float64
	*served
}

// prepare checks the call, forms the canonical context and encodes the
// features of every schema at the placement, so that a call is refused or not
// whatever arm the customer is in.
func (w *work) prepare(c *Catalogue, pl *placement, call *Call, limit int) error {
	customer, err := c.Pseudonym(call.Customer.Type, call.Customer.ID)
	if err != nil {
		return err
	}
	w.customer = customer
	buf, fault := w.canonical.write(call.Context, call.Customer.Attributes, call.Scores)
	if fault != nil {
		return fault
	}
	if len(buf) > limit {
		return nextbest.Errorf(nextbest.TooLarge, "context, customer and scores have %d bytes; at most %d are allowed", len(buf), limit)
	}
	attributes := call.Customer.Attributes
	w.context = call.Context
	if w.canonical.foreign || identifies(attributes) {
		// Use exactly what the log will give back.
		said, err := readContext(buf)
		if err != nil {
			return err
		}
		w.context, attributes = said.Context, said.Customer
	}
	w.question.given = call.Scores
	w.input.Context, w.input.Customer = w.context, attributes
	for len(w.x) < len(pl.schemas) {
		w.x = append(w.x, nil)
	}
	for i, u := range pl.schemas {
		w.x[i] = slices.Grow(w.x[i][:0], u.schema.Width())[:u.schema.Width()]
		if err := u.schema.Encode(w.x[i], w.context, w.now); err != nil {
			return err
		}
	}
	return nil
}

func identifies(attributes map[string]any) bool {
	for k := range attributes {
		if rules.Identifier(k) {
			return true
		}
	}
	return false
}

// placementArms are the arms that customers of a placement are assigned to.
type placementArms struct {
	holdout    *experiments.Holdout
	definition *experiments.Definition // nil: no experiment
	arms       []*served               // beside the definition's; nil in replays
	policy     *served                 // outside the experiment
}

// assign places the customer in holdout, experiment or neither.
func (w *work) assign(c *Catalogue, pl *placement) {
	to := placementArms{holdout: c.holdout, policy: pl.policy}
	if pl.trial != nil {
		to.definition, to.arms = pl.trial.definition, pl.trial.arms
	}
	w.assignTo(&to)
}

func (w *work) assignTo(to *placementArms) {
	w.assignment = experiments.Assign(to.definition, to.holdout, w.customer)
	w.mixture, w.serving = w.mixture[:0], 0
	held := to.holdout.HeldShare()
	w.mixing = held > 0 || to.definition != nil
	if held > 0 {
		w.mixture = append(w.mixture, mixed{name: experiments.HoldoutArm, share: held})
	}
	first := len(w.mixture)
	if w.assignment.Enrolled {
		for i := range to.definition.Arms {
			m := mixed{name: to.definition.Arms[i].ID, share: (1 - held) * to.definition.Arms[i].Share}
			if to.arms != nil {
				m.served = to.arms[i]
			}
			w.mixture = append(w.mixture, m)
		}
		first += w.assignment.Arm
	} else {
		w.mixture = append(w.mixture, mixed{share: 1 - held, served: to.policy})
	}
	if !w.assignment.Held {
		w.serving = first
	}
}

// decideSlots decides slot after slot, each over the actions that are left, as
// conditional distributions given the slots before it, and forms their records.
// Each contact is added to w.contacts, so that caps count it in the slots that
// follow. Do-nothing ends the list: no slot is left empty in the middle, and
// there is no row for the slots after it.
func (w *work) decideSlots(c *Catalogue, pl *placement, id uuid.UUID, reservation time.Duration) error {
	w.rows, w.taken = make([]nextbest.Decision, 0, pl.slots), w.taken[:0]
	w.reserved.contacts = w.reserved.contacts[:0]
	for w.slot = 1; w.slot <= pl.slots; w.slot++ {
		w.uniform = bandit.DrawUniform(c.salts[c.salt], id, w.slot)
		if err := w.decide(pl); err != nil {
			return err
		}
		w.rows = append(w.rows, w.record(c, pl, id))
		chosen := w.selection.Eligible[w.drawn]
		if chosen.Index == pl.nothing {
			break
		}
		w.taken = append(w.taken, chosen.Index)
		if pl.tracked && chosen.Treatment != nil {
			w.contact(c, pl, id, reservation)
		}
	}
	return nil
}

// contact adds the contact of the slot that was decided.
func (w *work) contact(c *Catalogue, pl *placement, id uuid.UUID, reservation time.Duration) {
	chosen := w.selection.Eligible[w.drawn]
	k := nextbest.Contact{
		DecisionID: id, Slot: w.slot, Action: pl.ids[chosen.Index], Group: c.groups[pl.ids[chosen.Index]],
		Channel: chosen.Treatment.Channel, Time: w.now, Status: nextbest.Reserved, Expires: w.now.Add(reservation),
	}
	if pl.assumed {
		k.Status = nextbest.Contacted
	}
	w.contacts = append(w.contacts, k)
	w.reserved.contacts = append(w.reserved.contacts, k)
}

// decide finds the eligible actions for the history in w.contacts without those
// that are taken, forms every arm's distribution and draws from the serving one.
func (w *work) decide(pl *placement) error {
	at := actions.Situation{Input: &w.input, Now: w.now, Channels: pl.channels, Contacts: w.contacts, Loading: w.loading, Taken: w.taken}
	w.selection.Select(pl.actions, &at)
	q := &w.question
	q.eligible, q.names, q.input, q.actions = q.eligible[:0], q.names[:0], &w.input, pl.actions
	w.scaled = w.scaled[:0]
	for j, e := range w.selection.Eligible {
		if e.Index == pl.nothing {
			q.nothing = j
		}
		q.eligible = append(q.eligible, e.Index)
		q.names = append(q.names, pl.ids[e.Index])
		w.scaled = append(w.scaled, pl.scale[e.Index])
	}
	if pl.external { // a call is refused or not whatever arm the customer is in
		if err := q.unscored(); err != nil {
			return err
		}
	}
	k := len(q.eligible)
	q.scale, q.offset = nil, nil
	if pl.affine {
		for _, i := range q.eligible {
			w.scaled = append(w.scaled, pl.offset[i])
		}
		q.scale, q.offset = w.scaled[:k], w.scaled[k:]
	}
	for len(w.p) < len(w.mixture) {
		w.p = append(w.p, nil)
	}
	w.scores = slices.Grow(w.scores[:0], 2*k)[:2*k]
	for i := range w.mixture {
		w.p[i] = slices.Grow(w.p[i][:0], k)[:k]
		m := &w.mixture[i]
		if m.served == nil {
			clear(w.p[i])
			w.p[i][q.nothing] = 1
			continue
		}
		var x []float32
		if m.slot >= 0 {
			x = w.x[m.slot]
		}
		scores := w.scores[k:] // of the other arms: not kept
		if i == w.serving {
			scores = w.scores[:k]
		}
		if err := m.distribution(w.p[i], scores, q, m.ids, x); err != nil {
			return nextbest.Errorf(nextbest.Internal, "policy %s, model %d: %w", m.policySpec.name, m.model, err)
		}
	}
	w.drawn = bandit.Draw(w.p[w.serving], w.uniform)
	return nil
}

// record forms the row of the log. It owns all its memory.
func (w *work) record(c *Catalogue, pl *placement, id uuid.UUID) nextbest.Decision {
	m := &w.mixture[w.serving]
	k := len(w.question.eligible)
	floats := make([]float64, 2*k)
	d := nextbest.Decision{
		ID: id, Slot: w.slot, Time: w.now, Placement: pl.name, Objective: pl.objective, Customer: w.customer, Source: "live",
		Action: w.question.names[w.drawn], Propensity: w.p[w.serving][w.drawn],
		Eligible: pl.ids, Probabilities: floats[:k:k],
		Context: slices.Clone(w.canonical.buf), Salt: c.salt, Catalogue: c.Revision,
	}
	if t := w.selection.Eligible[w.drawn].Treatment; t != nil {
		d.Treatment, d.Channel = t.ID, t.Channel
	}
	if k != len(pl.ids) {
		d.Eligible = slices.Clone(w.question.names)
	}
	copy(d.Probabilities, w.p[w.serving])
	if len(w.selection.Excluded) > 0 {
		d.Excluded = slices.Clone(w.selection.Excluded)
	}
	slot := -1
	if m.served != nil {
		d.Policy, d.Model, slot = m.policySpec.name, m.model, m.slot
		d.Numerics = bandit.Numerics
		if m.spec.Learns() || m.spec.External() {
			d.Scores = floats[k:]
			copy(d.Scores, w.scores[:k])
		}
	}
	// Rows of policies without features carry those of another schema at the
	// placement, so that others can learn from them.
	if (slot < 0 || pl.schemas[slot].name == "") && pl.shared >= 0 {
		slot = pl.shared
	}
	if slot >= 0 {
		d.Features, d.X = pl.schemas[slot].name, slices.Clone(w.x[slot])
	}
	if w.mixing {
		w.recordArms(&d, pl)
	} else {
		d.Floor = m.policy.Floor(k)
	}
	return d
}

// recordArms fills in the arm that served and the whole mixture.
func (w *work) recordArms(d *nextbest.Decision, pl *placement) {
	m := &w.mixture[w.serving]
	d.Arm = m.name
	if pl.trial != nil && w.assignment.Enrolled {
		d.SetAside = pl.trial.definition.SetAside
		if m.served != nil {
			d.Experiment = pl.trial.name
		}
	}
	k := len(w.question.eligible)
	d.Arms = make([]nextbest.ArmProbability, len(w.mixture))
	for i := range w.mixture {
		a := &w.mixture[i]
		d.Arms[i] = nextbest.ArmProbability{Arm: a.name, Share: a.share, Probability: w.p[i][w.drawn]}
		floor := 0.0
		if a.served != nil {
			d.Arms[i].Policy, d.Arms[i].Model = a.policySpec.name, a.model
			floor = a.policy.Floor(k)
		} else if k == 1 {
			floor = 1
		}
		d.Arms[i].Floor = floor
		d.Floor += a.share * floor
	}
	d.Floor = min(d.Floor, 1)
}

// ref splits a logged id@version.
func ref(s string) (nextbest.Ref, error) {
	r, err := nextbest.ParseRef(s)
	if err == nil && !strings.Contains(s, "@") {
		err = nextbest.Errorf(nextbest.Invalid, "%q names no version", s)
	}
	return r, err
}
