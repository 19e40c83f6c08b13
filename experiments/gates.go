package experiments

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"nextbest"
	"nextbest/estimators"
)

// Gate is one condition of a promotion: whether it is met, by what number,
// what it needs, and what would cure it.
type Gate struct {
	Name   string   `json:"name"`
	Passed bool     `json:"passed"`
	Number *float64 `json:"number"` // null where nothing could be measured
	Needs  string   `json:"needs"`
	Detail string   `json:"detail"`
	Cure   string   `json:"cure,omitempty"` // of a gate that is not passed
}

// The gates' names.
const (
	GateOffline      = "offline_bound"
	GateLive         = "live_test"
	GateGuardrails   = "guardrails"
	GateSampleRatio  = "sample_ratio"
	GatePropensity   = "propensity"
	GateDuration     = "duration"
	GateSecondPerson = "second_person"
)

// OfflineEvidence is what an evaluation says about one policy and model.
type OfflineEvidence struct {
	Evaluation string
	Placement  string // id, without a version
	Policy     nextbest.Ref
	Model      uint64
	Objective  nextbest.Objective // what was summed
	// Value is the candidate's value per decision, with its interval: what is
	// promised. NaN ends are unknown.
	Value, Low, High float64
	// GainLow is the lower confidence bound of the candidate's value minus the
	// logging policy's, the one number that the gate looks at; Level its
	// confidence.
	GainLow float64
	Level   float64
	Look    int // which evaluation of the candidate at the placement this was; 0: not counted
	// Ran are the policies (id@version) that wrote the rows, "" for an import's;
	// First is the time of the oldest row. The gain is over these.
	Ran   []string
	First time.Time
	// Refusals are the evaluation's reasons to give no verdict.
	Refusals []string
	// Calibration of the log's propensities, nil when it was not checked.
	Calibration *Calibration
}

// Calibration is the worst cell of the check Σ(1{a} − μ)/√Σμ(1−μ) by action
// and decile, with the limit for all cells together.
type Calibration struct {
	Worst float64
	Limit float64
	Cell  string
}

// Case is everything that the gates look at.
type Case struct {
	Definition *Definition
	Evidence   *Evidence
	Offline    *OfflineEvidence    // nil: there is none
	Missing    string              // why there is none
	Objective  *nextbest.Objective // the placement's
	Replaced   string              // what the placement serves now, where that is not the control any more
	Serving    string              // policy that the placement serves now, id@version
	Since      time.Time           // since when, with its present model; zero: the policy has no models
	Arm        string
	Model      uint64
	Now        time.Time
	Authors    []string // who wrote the experiment
	Approver   string
}

// Gates judges a promotion. The arm must be a candidate of the definition.
func Gates(c Case) []Gate {
	gates := []Gate{c.offline(), c.live(), c.guardrails(), c.sampleRatio(), c.propensity(), c.duration(), c.secondPerson()}
	for i := range gates {
		if gates[i].Passed {
			gates[i].Cure = ""
		}
	}
	return gates
}

// Passed reports whether every gate is passed.
func Passed(gates []Gate) bool {
	for _, g := range gates {
		if !g.Passed {
			return false
		}
	}
	return true
}

func (c *Case) candidate() nextbest.Ref { return c.Definition.Arms[c.Definition.Arm(c.Arm)].Policy }

func (c *Case) name() string {
	if c.Model == 0 {
		return c.candidate().String()
	}
	return fmt.Sprintf("%s model %d", c.candidate(), c.Model)
}

func (c *Case) offline() Gate {
	g := Gate{Name: GateOffline, Needs: "a lower bound of the gain over what the placement serves above 0"}
	o := c.Offline
	if o == nil {
		g.Detail = c.Missing
		g.Cure = fmt.Sprintf("evaluate %s offline on rows of placement %s that it was not trained on, and name the evaluation", c.name(), c.Definition.Placement)
		return g
	}
	g.Number = finite(o.GainLow)
	switch {
	case o.Placement != c.Definition.Placement:
		g.Number = nil
		g.Detail = fmt.Sprintf("evaluation %s is of placement %s, the experiment of %s: what was earned there does not bound the gain here, where others come and something else is served", o.Evaluation, o.Placement, c.Definition.Placement)
		g.Cure = fmt.Sprintf("name an evaluation on decisions of %s, made with an exploration floor; evidence from elsewhere is a reason to experiment, not to promote", c.Definition.Placement)
	case o.Policy != c.candidate() || o.Model != c.Model:
		g.Number = nil
		g.Detail = fmt.Sprintf("evaluation %s is of %s model %d, the promotion of %s", o.Evaluation, o.Policy, o.Model, c.name())
		g.Cure = "evaluate exactly the policy version and model that are to be promoted"
	case !c.measures(&o.Objective):
		g.Number = nil
		g.Detail = fmt.Sprintf("evaluation %s is neither of the placement's objective nor of %s alone, within %v", o.Evaluation, c.Definition.Primary.Reward, c.Definition.Window)
		g.Cure = "evaluate by what the experiment is for: leave objective and reward out, or name the primary metric's reward"
	case len(o.Ran) != 1 || o.Ran[0] != c.Serving || o.First.Before(c.Since):
		g.Number = nil
		g.Detail = fmt.Sprintf("evaluation %s compares with %s, and placement %s serves %s%s: a gain over the one says nothing of the other", o.Evaluation, ran(o), o.Placement, c.Serving, since(c.Since))
		g.Cure = fmt.Sprintf("evaluate again on rows that %s alone decided: from when it began to serve, and to before the experiment", c.Serving)
	case len(o.Refusals) > 0:
		g.Detail = fmt.Sprintf("evaluation %s refuses a verdict: %s", o.Evaluation, strings.Join(o.Refusals, "; "))
		g.Cure = "do what the evaluation's report says, and evaluate again"
	case !(o.GainLow > 0):
		g.Detail = fmt.Sprintf("at %.4g confidence the gain is only known to be at least %.4g%s", o.Level, o.GainLow, look(o))
		g.Cure = "evaluate on more rows, or a better candidate"
	default:
		g.Passed = true
		g.Detail = fmt.Sprintf("evaluation %s: at %.4g confidence the gain is at least %.4g per decision%s", o.Evaluation, o.Level, o.GainLow, look(o))
	}
	return g
}

// ran names the policies that an evaluation compares with.
func ran(o *OfflineEvidence) string {
	names := make([]string, len(o.Ran))
	for i, n := range o.Ran {
		if names[i] = n; n == "" {
			names[i] = "whatever made an imported log"
		}
	}
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ") + " from " + o.First.UTC().Format(time.RFC3339)
}

func since(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " with its present model since " + t.UTC().Format(time.RFC3339)
}

// look says that the level was shared among several evaluations.
func look(o *OfflineEvidence) string {
	if o.Look < 2 {
		return ""
	}
	return fmt.Sprintf(" (evaluation number %d of this candidate here: each further one has a smaller share of the error)", o.Look)
}

// measures reports whether an evaluation by an objective is about what the
// experiment is for: the placement's objective, or the primary metric's reward
// alone. A gain in anything else (opened e-mails, say) promises neither.
func (c *Case) measures(o *nextbest.Objective) bool {
	if o.Window != c.Definition.Window {
		return false
	}
	if len(o.Terms) == 1 && o.Terms[0].Reward == c.Definition.Primary.Reward && o.Terms[0].Weight > 0 {
		return true
	}
	p := c.Objective
	return p != nil && slices.Equal(o.Terms, p.Terms) && o.Default == p.Default && cmp.Or(o.Aggregation, "sum") == cmp.Or(p.Aggregation, "sum")
}

func (c *Case) live() Gate {
	arm := c.Evidence.Arm(c.Arm)
	l := arm.Lift
	g := Gate{Name: GateLive, Passed: l.Passed, Cure: "wait: more customers whose window has passed, if the candidate is better at all"}
	if c.Replaced != "" {
		g.Passed, g.Needs = false, "a control that is what the placement serves"
		g.Detail = fmt.Sprintf("placement %s was changed while the experiment ran: it serves %s, and the candidate was compared with %s", c.Definition.Placement, c.Replaced, c.Definition.Arms[c.Definition.Control()].Policy)
		g.Cure = "set the placement back to the control, or test the candidate against what is served in a new experiment"
		return g
	}
	sofar := fmt.Sprintf("%d of %d mature customers of %s converted, %s against %s", arm.Converted, arm.Customers, c.Arm, percent(arm.Rate), percent(c.control().Rate))
	if l.Superior == nil {
		g.Number, g.Needs = l.Lower, "a lower bound of the difference in value per customer above 0"
		g.Detail = fmt.Sprintf("value per customer %.4g against %.4g (each counts for 0 to %.4g, a net loss for 0), %s", arm.Mean, c.control().Mean, c.Definition.Primary.Cap, sofar)
		if l.Lower == nil {
			g.Cure = fmt.Sprintf("wait: both arms need %d mature customers with a value, more where a few of them carry most of it", estimators.BurnIn)
		}
		return g
	}
	g.Number = finite(l.Superior.E)
	g.Needs = fmt.Sprintf("an e-value of %.4g or more", l.Superior.Needs)
	g.Detail = sofar
	if g.Cure != "" && arm.Rate < c.control().Rate {
		g.Cure = "stop the experiment: the candidate converts less often than the control so far"
	}
	return g
}

func (c *Case) control() *ArmEvidence {
	return &c.Evidence.Arms[c.Definition.Control()]
}

// guardrails reports the weakest number of all, and every guardrail that fails.
func (c *Case) guardrails() Gate {
	needs := 1 / c.Definition.Alpha
	g := Gate{Name: GateGuardrails, Passed: true, Needs: fmt.Sprintf("an e-value of non-inferiority of %.4g or more for each", needs)}
	least := math.Inf(1)
	var details, harmed []string
	for _, e := range c.Evidence.Arm(c.Arm).Guardrails {
		if e.Rollback.EverReached() {
			g.Passed = false
			harmed = append(harmed, e.Reward)
			details = append(details, fmt.Sprintf("%s is harmed: %.4g against %.4g, evidence %.4g of %.4g for a rollback", e.Reward, e.Candidate, e.Control, e.Rollback.Largest, e.Rollback.Needs))
		}
		if e.NonInferior == nil {
			continue
		}
		least = math.Min(least, e.NonInferior.E)
		if !e.NonInferior.Reached() {
			g.Passed = false
		}
		details = append(details, fmt.Sprintf("%s %.4g against %.4g, margin %.3g, e-value %.4g", e.Reward, e.Candidate, e.Control, e.Margin, e.NonInferior.E))
	}
	g.Number = finite(least)
	switch {
	case len(harmed) > 0:
		g.Cure = "stop the experiment: the candidate harms " + strings.Join(harmed, ", ")
	case !g.Passed:
		g.Cure = "wait: more conversions of each guardrail's reward, or a new experiment with wider margins"
	}
	if g.Detail = strings.Join(details, "; "); g.Detail == "" {
		g.Detail = "no guardrail is declared"
	}
	return g
}

func (c *Case) sampleRatio() Gate {
	v := c.Evidence.SampleRatio
	var counts []string
	for _, a := range c.Evidence.Arms {
		counts = append(counts, fmt.Sprintf("%s %d for a share of %.4g", a.Arm, a.Customers, a.Share))
	}
	return Gate{
		Name: GateSampleRatio, Passed: !v.EverReached(), Number: finite(v.Largest),
		Needs:  fmt.Sprintf("evidence against the declared shares below %.4g", v.Needs),
		Detail: strings.Join(counts, ", "),
		Cure:   "find where customers are lost or assigned otherwise than declared, and start a new experiment: no comparison in this one holds",
	}
}

func (c *Case) propensity() Gate {
	g := Gate{Name: GatePropensity, Needs: "logged actions as frequent as their propensities say"}
	if c.Offline == nil || c.Offline.Calibration == nil {
		g.Detail = "no evaluation has checked the calibration of the propensities"
		g.Cure = "name an evaluation of this placement; every evaluation checks them"
		return g
	}
	k := c.Offline.Calibration
	g.Number = finite(math.Abs(k.Worst))
	g.Passed = math.Abs(k.Worst) <= k.Limit
	g.Needs = fmt.Sprintf("every cell within %.3g standard errors", k.Limit)
	g.Detail = fmt.Sprintf("the worst cell, %s, is off by %.3g standard errors", k.Cell, k.Worst)
	g.Cure = "find what changes decisions after they are drawn, or draws otherwise than logged, and evaluate on rows from after the repair"
	return g
}

func (c *Case) duration() Gate {
	d := c.Definition
	ran := c.Now.Sub(d.Started)
	if d.Started.IsZero() {
		ran = 0
	} else if !d.Ended.IsZero() {
		ran = d.Ended.Sub(d.Started)
	}
	days := ran.Hours() / 24
	ends := d.Started.Add(d.MinimumDuration.Std()).UTC().Format(time.RFC3339)
	return Gate{
		Name: GateDuration, Passed: ran >= d.MinimumDuration.Std() && !d.Started.IsZero(), Number: &days,
		Needs:  fmt.Sprintf("%v since the start, so that every day of the week counts alike", d.MinimumDuration),
		Detail: fmt.Sprintf("running for %v", ran.Round(time.Second)),
		Cure:   "wait until " + ends,
	}
}

func (c *Case) secondPerson() Gate {
	g := Gate{Name: GateSecondPerson, Passed: c.Approver != "", Needs: "an approver who did not write the experiment", Cure: "let somebody else promote it"}
	for _, a := range c.Authors {
		if a == c.Approver {
			g.Passed = false
		}
	}
	one := 0.0
	if g.Passed {
		one = 1
	}
	g.Number = &one
	g.Detail = fmt.Sprintf("written by %s, approved by %q", strings.Join(c.Authors, ", "), c.Approver)
	return g
}

func percent(v float64) string { return fmt.Sprintf("%.3g%%", 100*v) }

// RefusedError is the answer to a promotion that the gates do not admit. It is
// a nextbest.Conflict with one problem for each gate that is not passed.
type RefusedError struct {
	Gates []Gate
	err   *nextbest.Error
}

func refuse(d *Definition, gates []Gate) *RefusedError {
	e := nextbest.Errorf(nextbest.Conflict, "the gates do not admit the promotion of experiment %s", d.ID)
	for _, g := range gates {
		if g.Passed {
			continue
		}
		number := "not measured"
		if g.Number != nil {
			number = fmt.Sprintf("%.4g", *g.Number)
		}
		e.Problems = append(e.Problems, nextbest.Problem{Field: "gates." + g.Name, Message: fmt.Sprintf("%s, needs %s: %s", number, g.Needs, g.Detail), Cure: g.Cure})
	}
	return &RefusedError{Gates: gates, err: e}
}

// Error lists every gate that is not passed.
func (e *RefusedError) Error() string { return e.err.Error() }

// Unwrap returns the nextbest.Error.
func (e *RefusedError) Unwrap() error { return e.err }
