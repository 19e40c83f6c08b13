package pages

import (
	"fmt"
	"strings"

	"nextbest/offline"
)

// whom adds what says for whom the candidates do better: segments, each action's
// lift over doing nothing, and the policy tree.
func (p *Page) whom(r *offline.Report) {
	p.segments(r)
	p.uplift(r)
	p.tree(r.Tree)
}

// segments adds the candidates by the values of the keys that were asked for,
// and a forest plot of their lifts.
func (p *Page) segments(r *offline.Report) {
	t := Table{Title: "Segments", Note: "Each segment on its own; among many, some will look better or worse by luck.",
		Head: []string{"candidate", "segment", "rows", "customers", "what ran", fmt.Sprintf("DR, %g%% interval", 100*r.Level), "against what ran"}}
	var marks []mark
	for i := range r.Results {
		x := &r.Results[i]
		for _, s := range x.Segments {
			of := s.By + " = " + s.Value
			row := []string{x.Name, of, fmt.Sprint(s.Rows), fmt.Sprint(s.Customers), short(s.Logged), "–", "–"}
			switch {
			case len(s.Refusals) > 0:
				row[6] = "refused: " + s.Refusals[0].Message
			case x.Refused():
				row[6] = "refused"
			default:
				row[5], row[6] = whole(s.DR), whole(s.VsLogged)
				if s.VsLogged == nil && s.Note != "" {
					row[6] = s.Note
				}
				if v := s.VsLogged; v != nil {
					marks = append(marks, mark{name: x.Name + ", " + of, value: v.Value, low: v.Low, high: v.High, point: true})
				}
			}
			t.Rows = append(t.Rows, row)
		}
	}
	p.table(t)
	if n := len(marks); n > 0 && n <= mostMarks {
		p.Charts = append(p.Charts, forest(marks, 0, "no difference", "value minus that of what ran", "Lift over what ran by segment"))
	}
}

// mostMarks bounds the lines of a forest plot that can still be read.
const mostMarks = 40

// uplift adds what each action adds over doing nothing.
func (p *Page) uplift(r *offline.Report) {
	t := Table{Title: "Actions against doing nothing", Note: "Doubly-robust contrasts on the rows where the log could do either; an action that adds nothing on average may still be best for some.",
		Head: []string{"action", "rows", "taken", "nothing done", fmt.Sprintf("lift, %g%% interval", 100*r.Level)}}
	var marks []mark
	for _, u := range r.Uplift {
		lift := whole(u.Lift)
		if u.Problem != "" {
			lift = u.Problem
		}
		t.Rows = append(t.Rows, []string{u.Action, fmt.Sprint(u.Rows), fmt.Sprint(u.Taken), fmt.Sprint(u.Idle), lift})
		if f := u.Lift; f != nil {
			marks = append(marks, mark{name: u.Action, value: f.Value, low: f.Low, high: f.High, point: true})
		}
	}
	p.table(t)
	if n := len(marks); n > 0 && n <= mostMarks {
		p.Charts = append(p.Charts, forest(marks, 0, "nothing done", "lift over doing nothing", "Lift of each action over doing nothing"))
	}
	if len(t.Rows) > 0 {
		p.Methods = append(p.Methods, Method{"lift", "M[Γ_a − Γ_0], Γ_a = q(x,a) + 1{A=a}(r−q)/μ", "Robins, Rotnitzky & Zhao 1994; Dudík et al. 2011, arXiv 1103.4601", "over the rows where the log could take the action or do nothing"})
	}
}

// tree adds the policy tree.
func (p *Page) tree(x *offline.PolicyTree) {
	switch {
	case x == nil:
		return
	case x.Problem != "":
		p.Notes = append(p.Notes, "no policy tree: "+x.Problem)
		return
	}
	t := Table{Title: "For whom which action is best", Note: fmt.Sprintf("A tree of %d questions, grown on %d rows and valued on %d others.", x.Depth, x.Grown, x.Valued),
		Head: []string{"for whom", "best action", "rows", "value", "over doing nothing"}}
	for _, l := range x.Leaves {
		when := strings.Join(l.When, " and ")
		if when == "" {
			when = "everybody"
		}
		t.Rows = append(t.Rows, []string{when, l.Action, fmt.Sprint(l.Rows), whole(l.Value), whole(l.Gain)})
	}
	if x.Gain != nil {
		t.Note += fmt.Sprintf(" Over always %s: %s.", x.BestAction, whole(x.Gain))
	}
	p.table(t)
	p.Methods = append(p.Methods, Method{"policy tree", "argmax over trees of M[Γ_tree(x)]", "Zhou, Athey & Wager 2023, arXiv 1810.04778", "values from customers that it was not grown on"})
}

// table adds a table that has rows.
func (p *Page) table(t Table) {
	if len(t.Rows) > 0 {
		p.Tables = append(p.Tables, t)
	}
}
