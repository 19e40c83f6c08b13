package offline

import (
	"fmt"
	"slices"
	"strings"
)

// FixedNames returns the actions that were the best fixed one for the customers of
// some fold, sorted, joined by commas; empty where none was.
func (r *Report) FixedNames() string {
	var names []string
	for _, a := range r.BestFixed {
		if a != "" && !slices.Contains(names, a) {
			names = append(names, a)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// Label is a result's name for reading: the best fixed action's says which it is.
func (r *Report) Label(x *Result) string {
	if names := r.FixedNames(); x.Name == nameBestFixed && names != "" {
		return x.Name + " (" + names + ")"
	}
	return x.Name
}

// fixedShare says on whose customers differences to the best fixed action stand;
// empty where on all.
func (r *Report) fixedShare(fixed *Result) string {
	n := fixed.Diagnostics.Customers
	if n == 0 || n >= r.Log.Customers {
		return ""
	}
	return fmt.Sprintf("the best fixed action is chosen for each fold from the folds before it, so its row and the differences to it stand on the %s of %s customers for whom one was chosen: a difference need not equal that of two rows, nor even have its sign",
		thousands(float64(n)), thousands(float64(r.Log.Customers)))
}

// GateText says what a gate's bound is, at which error and look, and what came of
// it; empty where a result has no gate.
func (r *Report) GateText(x *Result) string {
	g := x.Gate
	if g == nil {
		return ""
	}
	text := fmt.Sprintf("lower bound %s at δ = %s", signed(g.Lower), number(g.Delta))
	if g.Look > 0 {
		text += fmt.Sprintf(", look %d", g.Look)
	}
	switch {
	case g.Passed:
		return text + ": passed"
	case x.Refused():
		return text + ": not passed, as the conclusion is refused"
	case !g.Declared && g.Lower > 0:
		return text + ": not passed, as reward_min and reward_max are not declared"
	}
	return text + ": not passed"
}

// BothTrue explains a verdict of "better than what ran" beside a gate that its
// bound did not pass; empty where there is nothing to explain.
func (r *Report) BothTrue(x *Result) string {
	if x.Gate == nil || x.Gate.Passed || x.Gate.Lower > 0 || x.Refused() || x.VsLogged == nil || x.VsLogged.Low <= 0 {
		return ""
	}
	return fmt.Sprintf("both are true: the interval answers this one question at %.4g%%, the gate's bound holds for every look and candidate together, so it asks for more evidence", 100*r.Level)
}

// BesideFixed says in words how the candidates stand against the best fixed action
// where none is shown to beat it; empty where one is, or it cannot be judged.
func (r *Report) BesideFixed() string {
	judged := false
	for i := range r.Results {
		x := &r.Results[i]
		if x.Baseline || x.Refused() || x.VsBestFixed == nil {
			continue
		}
		if x.VsBestFixed.Low > 0 {
			return ""
		}
		judged = true
	}
	fixed, ok := r.Result(nameBestFixed)
	if !judged || !ok || fixed.Refused() || r.FixedNames() == "" {
		return ""
	}
	return "nothing here is shown to beat always " + r.FixedNames()
}

// gateErrors says what error each candidate's gate had.
func gateErrors(req *Request) string {
	n := len(req.Candidates)
	j := judge{req: req}
	var each []string
	for i, c := range req.Candidates {
		text := fmt.Sprintf("%s %s", c.Name(), number(j.spent(i)/float64(n)))
		if req.Looks != nil {
			text += fmt.Sprintf(" at look %d", req.Looks[i])
		}
		each = append(each, text)
	}
	return strings.Join(each, ", ")
}

// writeGates writes each candidate's gate.
func (r *Report) writeGates(b *strings.Builder) {
	for i := range r.Results {
		x := &r.Results[i]
		if text := r.GateText(x); text != "" {
			fmt.Fprintf(b, "gate: %s: %s\n", x.Name, text)
		}
		if text := r.BothTrue(x); text != "" {
			fmt.Fprintf(b, "      %s.\n", text)
		}
	}
	if text := r.BesideFixed(); text != "" {
		b.WriteString(text + ".\n")
	}
}
