package offline

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"nextbest"
	"nextbest/estimators"
)

// SearchReport is what came of a search.
type SearchReport struct {
	Version string      `json:"version"`
	Query   QueryRecord `json:"query"` // of which rows the parts are made
	Parts   Parts       `json:"parts"`
	Seed    uint64      `json:"seed"`
	Delta   float64     `json:"delta"`
	// Each is every candidate's share of delta: delta divided by all that were
	// tried, those that failed among them.
	Each       float64    `json:"each"`
	Criterion  string     `json:"criterion"`
	Log        LogSummary `json:"log"` // of the select part
	Logged     *Figure    `json:"logged,omitempty"`
	BestFixed  *Figure    `json:"best_fixed,omitempty"`
	Tried      int        `json:"tried"`
	Outcome    Outcome    `json:"outcome"`
	Best       string     `json:"best,omitempty"`   // the candidate with the largest bound, chosen or not
	Winner     *Winner    `json:"winner,omitempty"` // registered
	Verdict    string     `json:"verdict"`
	Warnings   []string   `json:"warnings"`
	Candidates []Tried    `json:"candidates"` // in the order of the grids
}

// Outcome is how a search ended.
type Outcome string

// The outcomes of a search. Only Chosen has a winner, and only then was the gate
// part read.
const (
	Chosen     Outcome = "chosen"
	NoneBetter Outcome = "none_better" // none can be told from what ran
	AllRefused Outcome = "all_refused" // or failed
)

// Tried is one candidate on the select part. Its specification is that of the
// request with these parameters: of 200, all of them would not fit into a record.
type Tried struct {
	Name    string             `json:"name"`
	Of      string             `json:"of"` // the specification's name
	Params  map[string]float64 `json:"params"`
	Trained *Trained           `json:"trained,omitempty"`
	Problem string             `json:"problem,omitempty"` // why it could not be trained or asked
	Rank    int                `json:"rank,omitempty"`    // by the bound, from 1; absent: refused or failed
	// Value is DR, VsLogged its paired difference to what ran. Both intervals are
	// at 1 − 2·each: the lower end is a bound at each.
	Value    *Figure              `json:"value,omitempty"`
	VsLogged *Figure              `json:"vs_logged,omitempty"`
	ESS      float64              `json:"ess"`
	Refusals []estimators.Refusal `json:"refusals"`
}

// Winner is what a search registered, and what the gate part says of it.
type Winner struct {
	Name       string       `json:"name"`
	Policy     nextbest.Ref `json:"policy"`
	Model      uint64       `json:"model"`
	Evaluation string       `json:"evaluation"`           // id: the evidence
	Experiment string       `json:"experiment,omitempty"` // id of the draft
	Rows       int64        `json:"rows"`                 // of the gate part
	Value      *Figure      `json:"value,omitempty"`
	VsLogged   *Figure      `json:"vs_logged,omitempty"`
	// VsBestFixed is the difference to the best fixed action on the gate part, and
	// BestFixed which action that was.
	VsBestFixed *Figure `json:"vs_best_fixed,omitempty"`
	BestFixed   string  `json:"best_fixed,omitempty"`
	Gate        *Gate   `json:"gate,omitempty"`
	// Searches counts the earlier winners that were judged on rows of this gate
	// part.
	Earlier  int                  `json:"earlier,omitempty"`
	Refusals []estimators.Refusal `json:"refusals"`
	Verdict  string               `json:"verdict"`
}

const searchCriterion = "the largest lower bound, at delta divided by all candidates tried, of the paired difference to what ran (DR) on the select part, among candidates that are not refused"

func newSearchReport(req *SearchRequest, each float64) *SearchReport {
	q := &req.Query
	return &SearchReport{
		Version: Version, Parts: req.Parts, Seed: req.Seed, Delta: req.Delta, Each: each, Criterion: searchCriterion, Tried: len(req.Combinations),
		Query: QueryRecord{Placement: q.Placement, Source: q.Source, From: req.Parts.Train.From, To: req.Parts.Gate.To, MatureAt: req.Parts.Gate.MatureAt, Upto: q.Upto, Definitions: req.Definitions,
			Objective: q.Objective, SkipHeld: q.SkipHeld, Propensity: propensity(q), RewardModel: cmp.Or(req.RewardModel, modelRidge), Ridge: cmp.Or(req.Ridge, 1), MinSupport: cmp.Or(req.MinSupport, 1e-6)},
		Warnings: []string{}, Candidates: []Tried{},
	}
}

// log takes what a run says of the rows and of what stands beside candidates.
func (s *SearchReport) log(r *Report) {
	s.Log = r.Log
	for name, into := range map[string]**Figure{nameLogged: &s.Logged, nameBestFixed: &s.BestFixed} {
		if x, ok := r.Result(name); ok && !x.Refused() {
			*into = x.DR
		}
	}
	for _, w := range r.Warnings {
		// How many candidates one of the runs had says nothing about the search.
		if !strings.Contains(w, " candidates were compared: ") {
			s.Warnings = append(s.Warnings, w)
		}
	}
}

// take fills in what a run says of the candidate.
func (t *Tried) take(r *Result) {
	t.ESS, t.Refusals = r.Diagnostics.ESS, r.Refusals
	if !r.Refused() {
		t.Value, t.VsLogged = r.DR, r.VsLogged
	}
}

// choose ranks the candidates and says what came of the search.
func (s *SearchReport) choose(anyway bool) {
	var ranked []*Tried
	for i := range s.Candidates {
		t := &s.Candidates[i]
		if t.Refusals == nil {
			t.Refusals = []estimators.Refusal{}
		}
		if t.Problem == "" && len(t.Refusals) == 0 && t.VsLogged != nil {
			ranked = append(ranked, t)
		}
	}
	slices.SortStableFunc(ranked, func(a, b *Tried) int { return cmp.Compare(b.VsLogged.Low, a.VsLogged.Low) })
	for i, t := range ranked {
		t.Rank = i + 1
	}
	if len(ranked) == 0 {
		s.Outcome = AllRefused
		s.Verdict = fmt.Sprintf("nothing is registered: the select part allows a conclusion about none of %d candidates (%s); the gate part was not read", s.Tried, s.commonest())
		return
	}
	best := ranked[0]
	s.Best = best.Name
	clear := best.VsLogged.Low > 0
	if !clear && !anyway {
		s.Outcome = NoneBetter
		s.Verdict = fmt.Sprintf("nothing is registered: of %d candidates none can be told from what ran on the select part at δ/m = %s each (the best, %s: %s); the gate part was not read", s.Tried, number(s.Each), best.Name, gain(best.VsLogged))
		return
	}
	s.Outcome = Chosen
	s.Verdict = fmt.Sprintf("%s is chosen of %d candidates: on the select part, at δ/m = %s, %s", best.Name, s.Tried, number(s.Each), gain(best.VsLogged))
	if !clear {
		s.Warnings = append(s.Warnings, fmt.Sprintf("%s could not be told from what ran on the select part and was chosen because that was asked for: the gate alone speaks for it", best.Name))
	}
}

// gain writes a difference with its bound.
func gain(f *Figure) string {
	return fmt.Sprintf("%s over what ran, at least %s", signed(f.Value), signed(f.Low))
}

// commonest returns the most frequent reason for which candidates were left out,
// the first of several.
func (s *SearchReport) commonest() string {
	counts, why := map[string]int{}, ""
	for _, t := range s.Candidates {
		reason := t.Problem
		if reason == "" && len(t.Refusals) > 0 {
			reason = t.Refusals[0].Message
		}
		if reason == "" {
			reason = "no estimate"
		}
		if counts[reason]++; why == "" || counts[reason] > counts[why] {
			why = reason
		}
	}
	return why
}

// Candidate returns what is reported of a candidate by name.
func (s *SearchReport) Candidate(name string) (*Tried, bool) {
	for i := range s.Candidates {
		if s.Candidates[i].Name == name {
			return &s.Candidates[i], true
		}
	}
	return nil, false
}

// Judge takes what the evaluation on the gate part says of the winner, which is
// registered under w's policy and model. It returns whether the gate is passed.
func (s *SearchReport) Judge(w Winner, gate *Report) (passed bool, err error) {
	name := fmt.Sprintf("%s/%d", w.Policy, w.Model)
	r, ok := gate.Result(name)
	if !ok {
		return false, nextbest.Errorf(nextbest.Internal, "the evaluation %s of the gate part has no result of %s", w.Evaluation, name)
	}
	w.Name, w.Rows, w.Gate, w.Refusals = s.Best, gate.Log.Rows, r.Gate, r.Refusals
	if !r.Refused() {
		w.Value, w.VsLogged, w.VsBestFixed, w.BestFixed = r.DR, r.VsLogged, r.VsBestFixed, gate.FixedNames()
	}
	if r.Gate != nil {
		passed = r.Gate.Passed
	}
	switch {
	case r.Refused():
		w.Verdict = "the gate part allows no conclusion: " + r.Refusals[0].Message + " — " + r.Refusals[0].Cure
	case r.Gate == nil:
		w.Verdict = "the gate part gives no lower bound of the gain"
	case !r.Gate.Declared:
		w.Verdict = fmt.Sprintf("the gate needs reward_min and reward_max to be declared: by the rewards seen, between %s and %s, the gain is at least %s", number(r.Gate.RewardMin), number(r.Gate.RewardMax), signed(r.Gate.Lower))
	case !passed:
		w.Verdict = fmt.Sprintf("not passed: on the gate part the gain over what ran is only known to be at least %s per decision (δ = %s)", signed(r.Gate.Lower), number(r.Gate.Delta))
	default:
		w.Verdict = fmt.Sprintf("passed: on the gate part the gain over what ran is at least %s per decision (δ = %s)", signed(r.Gate.Lower), number(r.Gate.Delta))
	}
	if r.Gate != nil && r.Gate.Look > 1 {
		w.Earlier = r.Gate.Look - 1
		w.Verdict += fmt.Sprintf("; it is look number %d at rows of this gate part, so it has only δ·6/(π²·%d²)", r.Gate.Look, r.Gate.Look)
	}
	if w.VsBestFixed != nil {
		w.Verdict += "; " + against(w.VsBestFixed, "always "+w.BestFixed)
	}
	s.Winner = &w
	s.Verdict += fmt.Sprintf(". It is registered as %s model %d, a draft: nothing is served by it. Gate %s", w.Policy, w.Model, w.Verdict)
	return passed, nil
}
