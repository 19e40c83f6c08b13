package pages

import (
	"fmt"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"nextbest/offline"
)

// weightChart draws how the weights lie, in logarithmic bins.
func weightChart(of string, bins []offline.WeightBin, ess float64, units int64, unit string) (Chart, bool) {
	p := newPlot("weight (logarithmic)", "rows")
	b := &bars{color: accent}
	zero, rows := int64(0), int64(0)
	for _, bin := range bins {
		rows += bin.Rows
		if bin.To == 0 {
			zero = bin.Rows
			continue
		}
		b.from, b.to, b.height = append(b.from, math.Log2(bin.From)), append(b.to, math.Log2(bin.To)), append(b.height, float64(bin.Rows))
	}
	if len(b.height) == 0 {
		return Chart{}, false
	}
	p.Add(b)
	p.X.Tick.Marker = plot.TickerFunc(powers)
	p.Add(&upright{x: 0})
	p.X.Min, p.X.Max = math.Min(p.X.Min, -0.25), math.Max(p.X.Max, 0.25)
	description := fmt.Sprintf("Histogram of the weights π/μ of %d rows; %d rows (%s) have weight 0 and are not drawn. The dashed line is weight 1. The %d %ss are worth %.0f (effective sample size).",
		rows, zero, percent(float64(zero)/math.Max(float64(rows), 1)), units, unit, ess)
	return render(p, 720, 200, "Weights"+of, description), true
}

// powers marks whole powers of 2, at most nine of them.
func powers(min, max float64) []plot.Tick {
	step := math.Max(1, math.Ceil((max-min)/9))
	var out []plot.Tick
	for v := math.Ceil(min/step) * step; v <= max; v += step {
		out = append(out, plot.Tick{Value: v, Label: short(math.Exp2(v))})
	}
	return out
}

// pair compares two shares of one action.
type pair struct {
	name          string
	logged, asked float64
}

// overlapChart draws what the logger did beside what the candidate would.
func overlapChart(title, loggedName, askedName string, pairs []pair) Chart {
	const most = 40
	more := ""
	if len(pairs) > most {
		more = fmt.Sprintf(" The %d most frequent of %d actions.", most, len(pairs))
		pairs = pairs[:most]
	}
	p := newPlot("probability", "")
	names := make([]string, len(pairs))
	logged, asked := make(plotter.XYs, len(pairs)), make(plotter.XYs, len(pairs))
	for i, a := range pairs {
		y := float64(len(pairs) - 1 - i)
		names[len(pairs)-1-i] = a.name
		logged[i], asked[i] = plotter.XY{X: a.logged, Y: y}, plotter.XY{X: a.asked, Y: y}
		p.Add(&whisker{low: math.Min(a.logged, a.asked), high: math.Max(a.logged, a.asked), y: y, color: muted})
	}
	for _, s := range []struct {
		name   string
		points plotter.XYs
		glyph  draw.GlyphDrawer
		second bool
	}{{loggedName, logged, draw.BoxGlyph{}, true}, {askedName, asked, draw.CircleGlyph{}, false}} {
		sc, err := plotter.NewScatter(s.points)
		if err != nil {
			continue // no actions
		}
		sc.Color, sc.Shape, sc.Radius = accent, s.glyph, 3.5
		if s.second {
			sc.Color = second
		}
		p.Add(sc)
		p.Legend.Add(s.name, sc)
	}
	p.NominalY(names...)
	p.Y.Min, p.Y.Max = -0.6, float64(len(pairs))+0.8 // room for the legend
	p.X.Min, p.X.Max = -0.03*p.X.Max, 1.03*p.X.Max
	p.Y.Tick.Length, p.Y.LineStyle.Width = 0, 0
	return render(p, 720, vg.Length(90+18*len(pairs)), title, "For each action, a square for "+loggedName+" and a dot for "+askedName+"."+more)
}

// calibrationChart draws how often actions were taken against how often their
// propensities say.
func calibrationChart(cells []offline.Calibration, limit float64) (Chart, bool) {
	if len(cells) == 0 {
		return Chart{}, false
	}
	p := newPlot("expected by the logged propensities", "taken")
	good, wrong := plotter.XYs{}, plotter.XYs{}
	most := 0.0
	for _, c := range cells {
		at := plotter.XY{X: c.Expected, Y: c.Taken}
		most = math.Max(most, math.Max(at.X, at.Y))
		if c.Failed {
			wrong = append(wrong, at)
		} else {
			good = append(good, at)
		}
	}
	diagonal, err := plotter.NewLine(plotter.XYs{{}, {X: most, Y: most}})
	if err != nil {
		return Chart{}, false
	}
	diagonal.Color, diagonal.Dashes = muted, []vg.Length{4, 3}
	p.Add(diagonal)
	for _, s := range []struct {
		points plotter.XYs
		wrong  bool
	}{{good, false}, {wrong, true}} {
		if sc, err := plotter.NewScatter(s.points); err == nil && len(s.points) > 0 {
			sc.Color, sc.Shape, sc.Radius = accent, draw.CircleGlyph{}, 3.5
			if s.wrong {
				sc.Color, sc.Shape = bad, draw.CrossGlyph{}
			}
			p.Add(sc)
		}
	}
	return render(p, 420, 320, "Propensity calibration",
		fmt.Sprintf("Each point is one action in one tenth of its logged probability; on the dashed line it was taken as often as logged. %d cells were judged, %d fail (a cross) at |z| above %.2f; the worst is %s at z %.2f.",
			len(cells), len(wrong), limit, cells[0].Action, cells[0].Z)), true
}
