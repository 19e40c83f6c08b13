package pages

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"nextbest/offline"
)

// OfSearch is the page of a search over hyperparameters.
func OfSearch(r *offline.SearchReport) (*Page, error) {
	numbers, err := numbersOf(r)
	if err != nil {
		return nil, err
	}
	p := &Page{Title: "Search at " + r.Query.Placement, Verdict: r.Verdict + ".", Numbers: numbers, State: "open", Notes: slices.Clone(r.Warnings)}
	for _, x := range []struct {
		name string
		*offline.Part
	}{{"train part", &r.Parts.Train}, {"select part", &r.Parts.Select}, {"gate part", &r.Parts.Gate}} {
		p.Facts = append(p.Facts, Fact{x.name, partText(x.Part)})
	}
	p.Facts = append(p.Facts, Fact{"candidates tried", fmt.Sprint(r.Tried)}, Fact{"each one's share of δ = " + short(r.Delta), short(r.Each)}, Fact{"winner", r.Criterion},
		Fact{"customers of the select part", fmt.Sprint(r.Log.Customers)}, Fact{"what ran earned there", short(r.Log.MeanReward)},
		Fact{"up to journal position", fmt.Sprint(r.Query.Upto)}, Fact{"seed", fmt.Sprint(r.Seed)}, Fact{"method", r.Version})
	var lifts, values []mark
	t := Table{Title: "Candidates on the select part", Note: fmt.Sprintf("Intervals at %g%%: their lower end is a bound at δ/m.", 100*(1-2*r.Each)),
		Head: []string{"candidate", "rank", "value (DR)", "against what ran", "ESS", "trained on", "left out because"}}
	for _, c := range r.Candidates {
		row := []string{c.Name, "–", "–", "–", short(c.ESS), "–", c.Problem}
		if c.Trained != nil {
			row[5] = fmt.Sprintf("%d rows", c.Trained.Rows)
		}
		for _, f := range c.Refusals {
			p.Refused = append(p.Refused, Reason{c.Name, f})
			row[6] = f.Message
		}
		if c.Rank > 0 {
			row[1], row[3] = fmt.Sprint(c.Rank), short(c.VsLogged.Value)+" "+interval(c.VsLogged.Low, c.VsLogged.High)+" "+strings.ReplaceAll(c.VsLogged.Method, "_", " ")
			if c.Value != nil {
				row[2] = short(c.Value.Value) + " " + interval(c.Value.Low, c.Value.High)
				values = append(values, mark{name: c.Name, value: c.Value.Value, low: c.Value.Low, high: c.Value.High, point: true})
			}
			lifts = append(lifts, mark{name: c.Name, value: c.VsLogged.Value, low: c.VsLogged.Low, high: c.VsLogged.High, point: true})
		}
		t.Rows = append(t.Rows, row)
	}
	if len(lifts) > 0 {
		p.Charts = append(p.Charts, forest(lifts, 0, "no difference", "value minus that of what ran", "Candidates on the select part"))
	}
	if len(values) > 0 {
		p.Charts = append(p.Charts, forest(values, r.Log.MeanReward, "what ran", "value per decision", "Their values"))
	}
	p.Tables = append(p.Tables, t)
	if w := r.Winner; w != nil {
		p.State = "bad"
		if w.Gate != nil && w.Gate.Passed {
			p.State = "good"
		} else if len(w.Refusals) > 0 {
			p.State = "refused"
		}
		p.Facts = append(p.Facts, Fact{"registered as", fmt.Sprintf("%s model %d, a draft", w.Policy, w.Model)}, Fact{"evidence", "evaluation " + w.Evaluation + " on the gate part: " + w.Verdict})
		if w.Experiment != "" {
			p.Facts = append(p.Facts, Fact{"draft experiment", w.Experiment})
		}
		for _, f := range w.Refusals {
			p.Refused = append(p.Refused, Reason{w.Name + " on the gate part", f})
		}
	}
	p.Methods = append([]Method{{"search", "argmax lower(M[dr − r], δ/m)", "select part of a time split; Bonferroni over the candidates", "the gate part judges the winner alone"}}, runMethods...)
	p.Methods = append(p.Methods, intervalMethods...)
	return p, nil
}

func partText(x *offline.Part) string {
	from := "the beginning"
	if !x.From.IsZero() {
		from = x.From.Format(time.DateTime)
	}
	s := fmt.Sprintf("%d decisions, %s to %s", x.Rows, from, x.To.Format(time.DateTime))
	if x.Split != nil {
		s += fmt.Sprintf(", customers %s:%g:%g", x.Split.Salt, x.Split.From, x.Split.To)
	}
	return s
}
