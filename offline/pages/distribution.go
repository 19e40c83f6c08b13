package pages

import (
	"strings"

	"gonum.org/v1/plot/plotter"

	"nextbest/offline"
)

// namedDistribution is the distribution of one policy's rewards, nil where none
// was asked for.
type namedDistribution struct {
	name string
	*offline.Distribution
}

// distributions adds the quantiles, tails and curves of the rewards where they
// were asked for.
func (p *Page) distributions(all []namedDistribution) {
	t := Table{Title: "Distribution of a decision's reward", Note: "By self-normalised weights. Quantiles are rounded up to thresholds, their intervals outwards; tails are means of the worst and the best decisions.",
		Head: []string{"policy", "what", "value with its interval"}}
	var curves []series
	for _, x := range all {
		d := x.Distribution
		switch {
		case d == nil:
			continue
		case d.Problem != "":
			t.Rows = append(t.Rows, []string{x.name, "no distribution", d.Problem})
			continue
		}
		for _, q := range d.Quantiles {
			t.Rows = append(t.Rows, []string{x.name, q.Name(), q.String()})
		}
		for _, tail := range d.Tails {
			t.Rows = append(t.Rows, []string{x.name, tail.Name(), short(tail.Value) + " " + interval(tail.Low, tail.High)})
		}
		if d.Note != "" {
			p.Notes = append(p.Notes, x.name+": distribution: "+d.Note)
		}
		s := series{name: x.name}
		for _, point := range d.Points {
			s.points = append(s.points, plotter.XY{X: point.Threshold, Y: 1 - point.F})
		}
		if len(curves) < 3 {
			curves = append(curves, s)
		}
	}
	if len(t.Rows) == 0 {
		return
	}
	p.Tables = append(p.Tables, t)
	p.Methods = append(p.Methods, Method{"distribution", "F(t) = 1 − Σw 1{r > t}/Σw", "Huang et al. 2021, arXiv 2104.08977", "pointwise intervals by the score; quantiles by Woodruff 1952; tails by Rockafellar & Uryasev 2000"})
	if len(curves) == 0 {
		return
	}
	var names []string
	for _, c := range curves {
		names = append(names, c.name)
	}
	plot := newPlot("reward", "share of decisions that earn more")
	if c, err := lines(curves, plot, 720, 260, "Share of decisions that earn more than a reward", "One line for each of "+strings.Join(names, ", ")+"; the table has the quantiles."); err == nil {
		p.Charts = append(p.Charts, c)
	}
}
