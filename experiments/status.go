package experiments

import (
	"math"
	"time"

	"nextbest/estimators"
)

// Evidence is what an experiment's mature customers say at one moment. It may
// be looked at at any time: every number that decides something is
// anytime-valid.
type Evidence struct {
	MatureAt    time.Time     `json:"mature_at"` // customers whose window had passed then
	Customers   int           `json:"customers"`
	First       time.Time     `json:"first,omitzero"` // enrolments of the first and the last mature customer
	Last        time.Time     `json:"last,omitzero"`
	Arms        []ArmEvidence `json:"arms"`
	SampleRatio EValue        `json:"sample_ratio"`
}

// EValue is evidence against a null hypothesis with what it needs to reject.
type EValue struct {
	E       float64 `json:"e"`
	Largest float64 `json:"largest"` // at any customer so far
	Needs   float64 `json:"needs"`
}

// Reached reports whether the evidence now rejects.
func (v EValue) Reached() bool { return v.E >= v.Needs }

// EverReached reports whether it did at any customer.
func (v EValue) EverReached() bool { return v.Largest >= v.Needs }

// Estimate is a number with its confidence sequence, whose ends are null as
// long as there is too little to say.
type Estimate struct {
	Value float64  `json:"value"`
	Low   *float64 `json:"low"`
	High  *float64 `json:"high"`
}

// ArmEvidence describes one arm, and compares a candidate with the control.
type ArmEvidence struct {
	Arm       string  `json:"arm"`
	Policy    string  `json:"policy"`
	Model     uint64  `json:"model"`
	Share     float64 `json:"share"`
	Control   bool    `json:"control,omitempty"`
	Customers int     `json:"customers"`
	// Converted customers and their rate; the mean of the primary metric.
	Converted int     `json:"converted"`
	Rate      float64 `json:"rate"`
	Mean      float64 `json:"mean"`
	// The objective's value, null where its aggregation is not a sum.
	ValuePerCustomer *Estimate `json:"value_per_customer"`
	ValuePerDecision *Estimate `json:"value_per_decision"`
	// Promised is what the evaluation expected of ValuePerDecision.
	Promised *Estimate `json:"promised,omitempty"`

	Lift       *Lift               `json:"lift,omitempty"`
	Guardrails []GuardrailEvidence `json:"guardrails,omitempty"` // the primary metric's watch first
}

// Lift is a candidate against the control by the primary metric.
type Lift struct {
	Difference Estimate  `json:"difference"`      // per customer
	Ratio      *Estimate `json:"ratio,omitempty"` // of conversion rates, exact
	// Superior is the evidence that conversions are more frequent, against
	// RR ≤ 1; Lower the one-sided lower bound for values. Conversions have the
	// first, values the second.
	Superior *EValue  `json:"superior,omitempty"`
	Lower    *float64 `json:"lower,omitempty"`
	// Passed says whether the live test is passed, all candidates considered.
	Passed bool `json:"passed"`
}

// GuardrailEvidence is a watched metric of one candidate.
type GuardrailEvidence struct {
	Reward    string          `json:"reward"`
	Kind      string          `json:"kind"`
	Harm      estimators.Harm `json:"harm"`
	Margin    float64         `json:"margin"`
	Window    string          `json:"window"`
	Control   float64         `json:"control"` // rate or capped mean per customer
	Candidate float64         `json:"candidate"`
	// Rollback is the evidence of harm beyond the margin, NonInferior that there
	// is none; the primary metric has no non-inferiority, it needs superiority.
	Rollback    EValue  `json:"rollback"`
	NonInferior *EValue `json:"non_inferior,omitempty"`
}

// Evidence returns what the customers so far say.
func (a *Accumulator) Evidence() *Evidence {
	d := a.def
	e := &Evidence{MatureAt: a.matureAt.UTC(), First: a.first, Last: a.last, SampleRatio: evalue(a.ratio, 1/SampleRatioAlpha)}
	primary := a.readings[0].metrics[0]
	for k, arm := range d.Arms {
		t := &a.tallies[k]
		e.Customers += t.customers
		v := ArmEvidence{Arm: arm.ID, Policy: arm.Policy.String(), Model: arm.Model, Share: arm.Share, Control: arm.Control, Customers: t.customers}
		v.Mean = perCustomer(primary.sums[k], t.customers)
		v.Converted = a.converted[k]
		v.Rate = perCustomer(float64(v.Converted), t.customers)
		if t.value.n > 0 {
			mean, sd := t.value.perCustomer()
			v.ValuePerCustomer = t.estimate(d, mean, sd)
			mean, sd = t.value.perDecision()
			v.ValuePerDecision = t.estimate(d, mean, sd)
		}
		if p := a.pairs[k]; p != nil {
			v.Lift = a.lift(p)
			v.Guardrails = a.guardrails(p)
		}
		e.Arms = append(e.Arms, v)
	}
	a.judge(e)
	return e
}

// estimate attaches an arm's confidence sequence to a mean over its customers.
func (t *tally) estimate(d *Definition, mean, sd float64) *Estimate {
	if t.matched < estimators.BurnIn {
		return &Estimate{Value: mean}
	}
	r := estimators.AsymptoticRadius(t.customers, sd, d.Alpha, float64(d.PlannedCustomers), false)
	return interval(mean, mean-r, mean+r)
}

func (a *Accumulator) lift(p *pair) *Lift {
	d := a.def
	low, high := p.sequence.Interval(d.Alpha)
	l := &Lift{Difference: *interval(p.sequence.Estimate(), low, high)}
	if p.superiority == nil {
		l.Lower = finite(p.sequence.LowerBound(d.Alpha / float64(len(d.Arms)-1)))
		return l
	}
	v := evalue(p.superiority, 1/d.Alpha)
	l.Superior = &v
	control, candidate := p.superiority.Counts()
	if control > 0 {
		s := d.Arms[d.Control()].Share / (d.Arms[d.Control()].Share + d.Arms[p.arm].Share)
		low, high := estimators.RatioSequence(control, candidate, s, d.Alpha)
		l.Ratio = interval(float64(candidate)/(1-s)/(float64(control)/s), low, high)
	}
	return l
}

// judge decides the live tests: e-BH over the candidates' e-values for
// conversions, a Bonferroni-corrected bound for values.
func (a *Accumulator) judge(e *Evidence) {
	var arms []int
	var logs []float64
	for k, p := range a.pairs {
		switch {
		case p == nil:
		case p.superiority == nil:
			e.Arms[k].Lift.Passed = e.Arms[k].Lift.Lower != nil && *e.Arms[k].Lift.Lower > 0
		default:
			arms, logs = append(arms, k), append(logs, p.superiority.LogE())
		}
	}
	rejected := estimators.EBH(logs, a.def.Alpha)
	passed := 0
	for _, r := range rejected {
		if r {
			passed++
		}
	}
	for i, k := range arms {
		l := e.Arms[k].Lift
		l.Passed = rejected[i]
		// What one candidate needs given how many others pass.
		rank := passed
		if !rejected[i] {
			rank++
		}
		l.Superior.Needs = math.Exp(estimators.EBHThreshold(len(logs), rank, a.def.Alpha))
	}
}

func (a *Accumulator) guardrails(p *pair) []GuardrailEvidence {
	d := a.def
	out := make([]GuardrailEvidence, len(p.rollback))
	needs := float64(len(p.rollback)*(len(d.Arms)-1)) / d.RollbackAlpha
	for _, r := range a.readings {
		for _, m := range r.metrics {
			g := &out[m.guardrail+1]
			*g = GuardrailEvidence{
				Reward: r.query.Rewards[m.index], Kind: m.kind, Harm: m.harm, Margin: m.margin, Window: r.query.Window.String(),
				Control:   perCustomer(m.sums[d.Control()], m.customers[d.Control()]),
				Candidate: perCustomer(m.sums[p.arm], m.customers[p.arm]),
				Rollback:  evalue(p.rollback[m.guardrail+1], needs),
			}
			if m.guardrail >= 0 {
				v := evalue(p.noninferior[m.guardrail], 1/d.Alpha)
				g.NonInferior = &v
			}
		}
	}
	return out
}

// Harmed returns the first watched metric of any candidate that ever showed
// harm, and the arm.
func (e *Evidence) Harmed() (arm string, g *GuardrailEvidence) {
	for i := range e.Arms {
		for j := range e.Arms[i].Guardrails {
			if g := &e.Arms[i].Guardrails[j]; g.Rollback.EverReached() {
				return e.Arms[i].Arm, g
			}
		}
	}
	return "", nil
}

// Arm returns the evidence of an arm, nil when there is none.
func (e *Evidence) Arm(id string) *ArmEvidence {
	for i := range e.Arms {
		if e.Arms[i].Arm == id {
			return &e.Arms[i]
		}
	}
	return nil
}

// evalue keeps e-values within what JSON can write.
func evalue(t test, needs float64) EValue {
	return EValue{E: exp(t.LogE()), Largest: exp(t.MaxLogE()), Needs: needs}
}

func exp(log float64) float64 { return math.Exp(math.Min(log, 690)) }

func perCustomer(sum float64, n int) float64 {
	if n == 0 {
		return 0
	}
	return sum / float64(n)
}

func interval(v, low, high float64) *Estimate {
	return &Estimate{Value: v, Low: finite(low), High: finite(high)}
}

// finite returns nil for what JSON cannot write.
func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}
