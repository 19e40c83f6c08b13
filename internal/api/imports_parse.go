package api

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"nextbest"
)

// randomisation is how the rows of an import were randomised: weights nil is
// uniform.
type randomisation struct {
	named   bool
	weights map[string]float64
}

func parseRandomisation(text string) (randomisation, error) {
	kind, list, weighted := strings.Cut(text, ":")
	switch {
	case text == "":
		return randomisation{}, nil
	case text == "uniform":
		return randomisation{named: true}, nil
	case kind != "weights" || !weighted:
		return randomisation{}, fmt.Errorf("%q is not known; write uniform, or weights:a=0.5,b=0.5", text)
	}
	r := randomisation{named: true, weights: map[string]float64{}}
	for _, pair := range strings.Split(list, ",") {
		action, number, _ := strings.Cut(pair, "=")
		w, err := strconv.ParseFloat(number, 64)
		if err != nil || !(w > 0) || math.IsInf(w, 0) || !nextbest.ValidID(action) {
			return randomisation{}, fmt.Errorf("%q is not an action with a positive weight, such as a=0.5", pair)
		}
		r.weights[action] = w
	}
	return r, nil
}

// probabilities returns what each eligible action was given.
func (r randomisation) probabilities(eligible []string) ([]float64, error) {
	p := make([]float64, len(eligible))
	sum := 0.0
	for i, a := range eligible {
		p[i] = 1
		if r.weights != nil {
			w, ok := r.weights[a]
			if !ok {
				return nil, fmt.Errorf("%s has no weight in the randomisation", a)
			}
			p[i] = w
		}
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return p, nil
}

// importParser reads the rows of an import.
type importParser struct {
	scan       scanner
	random     randomisation
	now        time.Time
	kinds      *rewardKinds
	pseudonyms Pseudonyms
}

// rows reads every line, so that the refusal can name all that are wrong.
func (p *importParser) rows(body []byte) ([]ImportRow, error) {
	out := make([]ImportRow, 0, bytes.Count(body, []byte{'\n'})+1)
	ids := map[string]int{}
	var problems nextbest.Problems
	bad, code := 0, nextbest.Invalid
	for n := 1; len(body) > 0; n++ {
		line := body
		if i := bytes.IndexByte(body, '\n'); i >= 0 {
			line, body = body[:i], body[i+1:]
		} else {
			body = nil
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		p.scan.reset(line)
		row, err := p.row()
		if err == nil {
			err = p.scan.end()
		}
		if before, twice := ids[row.ID]; err == nil && row.ID != "" && twice {
			err = inField(refuse("%q is the id of line %d too", row.ID, before), "id")
		}
		if err == nil {
			row.Line = n
			ids[row.ID] = n
			out = append(out, row)
			continue
		}
		e, ok := err.(*bodyError)
		if !ok {
			return nil, err
		}
		if e.malformed {
			code = Malformed
		}
		if bad++; len(problems) < maxProblems {
			problems = append(problems, nextbest.Problem{Field: at("line "+strconv.Itoa(n), e.field), Message: e.message, Cure: e.cure})
		}
	}
	switch {
	case bad > 0:
		return nil, &nextbest.Error{Code: code, Message: fmt.Sprintf("%d bad lines of %d; nothing was imported", bad, bad+len(out)), Problems: problems}
	case len(out) == 0:
		return nil, nextbest.FieldErrorf("body", "must hold at least one line")
	}
	return out, nil
}

// row reads one line.
func (p *importParser) row() (ImportRow, error) {
	s := &p.scan
	row := ImportRow{Propensity: math.NaN()}
	if err := s.open('{'); err != nil {
		return row, err
	}
	seen := map[string]bool{}
	for first := true; ; first = false {
		b, ok, err := s.name(first)
		if err != nil {
			return row, err
		}
		if !ok {
			break
		}
		name := s.intern(b)
		if seen[name] {
			return row, inField(refuse("the name appears twice"), name)
		}
		seen[name] = true
		if err := p.member(&row, name); err != nil {
			return row, inField(err, name)
		}
	}
	for _, name := range []string{"customer", "time", "context", "action", "eligible"} {
		if !seen[name] {
			return row, inField(refuse("is missing"), name)
		}
	}
	for i := range row.Rewards {
		if r := &row.Rewards[i]; r.Time.IsZero() {
			r.Time = row.Time
		} else if r.Time.Before(row.Time) {
			return row, inField(inIndex(inField(refuse("lies before the decision"), "time"), i), "rewards")
		}
	}
	return row, p.check(&row)
}

// member reads one value of a row.
func (p *importParser) member(row *ImportRow, name string) (err error) {
	s := &p.scan
	switch name {
	case "id":
		row.ID, err = s.text(maxRewardID)
	case "customer":
		row.Attributes = map[string]any{}
		row.Customer, err = s.described(p.pseudonyms, row.Attributes)
	case "time":
		row.Time, err = s.time(p.now)
	case "context":
		row.Context = map[string]any{}
		err = s.fields(row.Context, 1)
	case "action":
		row.Action, err = s.action()
	case "propensity":
		row.Propensity, err = s.number()
	case "eligible":
		row.Eligible, err = each(s, s.action)
	case "probabilities":
		row.Probabilities, err = each(s, s.number)
	case "rewards":
		row.Rewards, err = each(s, p.reward)
	default:
		err = unknownField()
	}
	return err
}

// check refuses a row whose probabilities cannot be what happened.
func (p *importParser) check(row *ImportRow) error {
	chosen := slices.Index(row.Eligible, row.Action)
	if chosen < 0 {
		return inField(refuse("does not hold the action %s, which was taken", row.Action), "eligible")
	}
	for i, a := range row.Eligible {
		if slices.Index(row.Eligible, a) != i {
			return inField(refuse("holds %s twice", a), "eligible")
		}
	}
	if p.random.named {
		probabilities, err := p.random.probabilities(row.Eligible)
		if err != nil {
			return inField(refuse("%v", err), "eligible")
		}
		if given := row.Propensity; given > 0 && given <= 1 && math.Abs(given-probabilities[chosen]) > 1e-6 {
			return inField(refuse("is %v, but the randomisation that was named gives %v", given, probabilities[chosen]).with("leave the propensity or the randomisation out"), "propensity")
		}
		row.Probabilities, row.Propensity = probabilities, probabilities[chosen]
		return nil
	}
	if !(row.Propensity > 0 && row.Propensity <= 1) {
		message := refuse("is %v; it must lie in (0, 1]: the probability with which this action was chosen", row.Propensity)
		if math.IsNaN(row.Propensity) {
			message = refuse("is missing: the probability with which this action was chosen")
		}
		return inField(message.with("if you know how the rows were randomised, say so with randomisation=uniform or randomisation=weights:…"), "propensity")
	}
	if row.Probabilities == nil {
		return nil
	}
	if len(row.Probabilities) != len(row.Eligible) {
		return inField(refuse("holds %d numbers for %d eligible actions", len(row.Probabilities), len(row.Eligible)), "probabilities")
	}
	sum := 0.0
	for i, q := range row.Probabilities {
		if q < 0 || q > 1 {
			return inField(inIndex(refuse("is %v; a probability lies in [0, 1]", q), i), "probabilities")
		}
		sum += q
	}
	if math.Abs(sum-1) > 1e-6 {
		return inField(refuse("sum to %v instead of 1", sum), "probabilities")
	}
	if math.Abs(row.Probabilities[chosen]-row.Propensity) > 1e-6 {
		return inField(inIndex(refuse("is %v, but the propensity of %s is %v", row.Probabilities[chosen], row.Action, row.Propensity), chosen), "probabilities")
	}
	return nil
}

// reward reads one reward of a row.
func (p *importParser) reward() (r ImportReward, err error) {
	s := &p.scan
	if err := s.open('{'); err != nil {
		return r, err
	}
	value := math.NaN()
	for first := true; ; first = false {
		b, ok, err := s.name(first)
		if err != nil {
			return r, err
		}
		if !ok {
			break
		}
		name := s.intern(b)
		switch name {
		case "id":
			r.ID, err = s.text(maxRewardID)
		case "kind":
			r.Kind, err = s.text(63)
			if err == nil && !p.kinds.known(r.Kind) {
				err = refuse("%s is not a reward kind of any objective or experiment", clip([]byte(r.Kind)))
			}
		case "value":
			value, err = s.number()
		case "time":
			r.Time, err = s.time(p.now)
		default:
			err = unknownField()
		}
		if err != nil {
			return r, inField(err, name)
		}
	}
	if r.Kind == "" {
		return r, inField(refuse("is missing"), "kind")
	}
	if math.IsNaN(value) {
		return r, inField(refuse("is missing"), "value")
	}
	r.Value = value
	return r, nil
}

// action reads the id of an action.
func (s *scanner) action() (string, error) {
	b, err := s.str()
	if err != nil {
		return "", err
	}
	id := s.intern(b)
	if !nextbest.ValidID(id) {
		return "", refuse("%s is not the id of an action", clip(b))
	}
	return id, nil
}

// each reads an array, element by element.
func each[T any](s *scanner, read func() (T, error)) ([]T, error) {
	if err := s.open('['); err != nil {
		return nil, err
	}
	var out []T
	for first := true; ; first = false {
		ok, err := s.element(first)
		if err != nil || !ok {
			return out, err
		}
		v, err := read()
		if err != nil {
			return nil, inIndex(err, len(out))
		}
		out = append(out, v)
	}
}
