package pages

import (
	"bytes"
	"fmt"
	"html"
	"html/template"
	"image/color"
	"math"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Chart is a picture with the words that say what it shows.
type Chart struct {
	Title         string
	Description   string // everything that it shows, in words
	Caption       string
	SVG           template.HTML
	width, height vg.Length
	body          string
}

// The colours that charts draw with stand for the page's own, which follow the
// reader's light or dark setting.
var (
	ink    = color.RGBA{R: 1, G: 1, B: 1, A: 255}
	accent = color.RGBA{R: 2, G: 2, B: 2, A: 255}
	second = color.RGBA{R: 3, G: 3, B: 3, A: 255}
	muted  = color.RGBA{R: 4, G: 4, B: 4, A: 255}
	bad    = color.RGBA{R: 5, G: 5, B: 5, A: 255}
)

var themed = strings.NewReplacer(
	"#010101", "var(--ink)", "#000000", "var(--ink)", "#020202", "var(--accent)", "#030303", "var(--second)", "#040404", "var(--muted)", "#050505", "var(--bad)",
	"font-family:Liberation Sans", "font-family:Liberation Sans,Arial,Helvetica,sans-serif", "font-family:Liberation Serif", "font-family:Liberation Sans,Arial,Helvetica,sans-serif")

// theme is the colours of a chart that stands alone; page.html has the same.
const theme = `<style>svg{--ink:#1b1f24;--muted:#8b949e;--accent:#0b62c4;--second:#b35900;--bad:#c0262d;background:#fff}
@media(prefers-color-scheme:dark){svg{--ink:#e6edf3;--muted:#7d8590;--accent:#58a6ff;--second:#f0883e;--bad:#ff7b72;background:#0d1117}}</style>`

func newPlot(xLabel, yLabel string) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Color, a.Label.TextStyle.Color, a.Tick.Label.Color, a.Tick.Color = ink, ink, ink, muted
		a.LineStyle.Color = muted
		a.Label.TextStyle.Font.Variant, a.Tick.Label.Font.Variant = "Sans", "Sans"
		a.Tick.Label.Font.Size, a.Label.TextStyle.Font.Size = 10, 11
	}
	p.X.Label.Text, p.Y.Label.Text = xLabel, yLabel
	p.Legend.TextStyle.Font.Variant, p.Legend.TextStyle.Color = "Sans", ink
	p.Legend.Top, p.Legend.Padding, p.Legend.ThumbnailWidth = true, 4, 22
	return p
}

// render draws a plot.
func render(p *plot.Plot, width, height vg.Length, title, description string) Chart {
	c := vgsvg.New(width, height)
	p.Draw(draw.New(c))
	var b bytes.Buffer
	c.WriteTo(&b) // a buffer takes everything
	s := b.String()
	if i := strings.Index(s, "<g "); i >= 0 {
		s = s[i:]
	}
	ch := Chart{Title: title, Description: description, Caption: description, width: width, height: height, body: themed.Replace(strings.TrimSuffix(strings.TrimSpace(s), "</svg>"))}
	ch.SVG = template.HTML(ch.svg("")) // its texts are escaped by vgsvg and svg
	return ch
}

// svg is the chart, with room at its sides for the last label of an axis, its title and description for readers who cannot see
// it.
func (c *Chart) svg(style string) string {
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" role="img" width="%.0f" viewBox="-16 0 %.0f %.0f" fill="var(--ink)"><title>%s</title><desc>%s</desc>%s%s</svg>`,
		1.2*c.width.Points(), c.width.Points()+32, c.height.Points(), html.EscapeString(c.Title), html.EscapeString(c.Description), style, c.body)
}

func (c *Chart) alone() string {
	return `<?xml version="1.0" encoding="UTF-8"?>` + "\n" + c.svg(theme) + "\n"
}

// mark is one line of a forest plot.
type mark struct {
	name             string
	value, low, high float64
	point            bool // value is known
	refused          bool
}

// forest draws intervals under one another, with a line at reference.
func forest(marks []mark, reference float64, referenceName, xLabel, title string) Chart {
	p := newPlot(xLabel, "")
	names := make([]string, len(marks))
	for i, m := range marks {
		y := float64(len(marks) - 1 - i)
		names[len(marks)-1-i] = m.name
		c := color.Color(accent)
		if m.refused {
			c = muted
		}
		p.Add(&whisker{low: m.low, high: m.high, y: y, color: c})
		if m.point {
			s, _ := plotter.NewScatter(plotter.XYs{{X: m.value, Y: y}}) // one finite point
			s.Color, s.Shape, s.Radius = c, draw.CircleGlyph{}, 4
			p.Add(s)
		}
	}
	p.NominalY(names...)
	p.Y.Min, p.Y.Max = -0.6, float64(len(marks))-0.4
	p.Y.Tick.Length, p.Y.LineStyle.Width = 0, 0
	caption := "Intervals"
	if len(marks) > 0 && marks[0].refused {
		caption = "Intervals, in grey because no conclusion may be drawn from them"
	}
	if finite(reference) {
		p.X.Min, p.X.Max = math.Min(p.X.Min, reference), math.Max(p.X.Max, reference)
		p.Add(&upright{x: reference})
		caption += fmt.Sprintf("; the dashed line is %s, %s", referenceName, short(reference))
	}
	room := 0.03 * (p.X.Max - p.X.Min)
	p.X.Min, p.X.Max = p.X.Min-room, p.X.Max+room
	c := render(p, 720, vg.Length(60+26*len(marks)), title, caption+". "+describe(marks)+".")
	c.Caption = caption + "."
	return c
}

func describe(marks []mark) string {
	var out []string
	for _, m := range marks {
		s := m.name
		if m.point {
			s += " " + short(m.value)
		}
		out = append(out, s+" "+interval(m.low, m.high))
	}
	return strings.Join(out, "; ")
}

// whisker is a horizontal interval.
type whisker struct {
	low, high, y float64
	color        color.Color
}

// Plot draws it.
func (w *whisker) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	style := draw.LineStyle{Color: w.color, Width: 2}
	c.StrokeLine2(style, x(w.low), y(w.y), x(w.high), y(w.y))
	for _, end := range []float64{w.low, w.high} {
		c.StrokeLine2(style, x(end), y(w.y)-4, x(end), y(w.y)+4)
	}
}

// DataRange is what the axes must show.
func (w *whisker) DataRange() (xmin, xmax, ymin, ymax float64) { return w.low, w.high, w.y, w.y }

// upright is a dashed line across the plot.
type upright struct{ x float64 }

// Plot draws it.
func (u *upright) Plot(c draw.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&c)
	c.StrokeLine2(draw.LineStyle{Color: second, Width: 1, Dashes: []vg.Length{4, 3}}, x(u.x), c.Min.Y, x(u.x), c.Max.Y)
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// series is a line of a chart over time.
type series struct {
	name   string
	points plotter.XYs
}

// lines draws one or two series.
func lines(all []series, p *plot.Plot, width, height vg.Length, title, description string) (Chart, error) {
	for i, s := range all {
		l, err := plotter.NewLine(s.points)
		if err != nil {
			return Chart{}, fmt.Errorf("chart %s: %w", title, err)
		}
		l.Width = 2
		l.Color = []color.Color{accent, second, muted, bad, ink}[i%5]
		if i >= 2 {
			l.Dashes = []vg.Length{vg.Length(2 + 2*i), 3}
		}
		p.Add(l)
		p.Legend.Add(s.name, l)
	}
	p.Y.Max += 0.3 * (p.Y.Max - p.Y.Min) // room for the legend
	return render(p, width, height, title, description), nil
}

// bars draws counts between edges.
type bars struct {
	from, to, height []float64
	color            color.Color
}

// Plot draws them.
func (b *bars) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for i, h := range b.height {
		c.FillPolygon(b.color, []vg.Point{{X: x(b.from[i]) + 0.5, Y: y(0)}, {X: x(b.from[i]) + 0.5, Y: y(h)}, {X: x(b.to[i]) - 0.5, Y: y(h)}, {X: x(b.to[i]) - 0.5, Y: y(0)}})
	}
}

// DataRange is what the axes must show.
func (b *bars) DataRange() (xmin, xmax, ymin, ymax float64) {
	xmin, xmax = math.Inf(1), math.Inf(-1)
	for i, h := range b.height {
		xmin, xmax, ymax = math.Min(xmin, b.from[i]), math.Max(xmax, b.to[i]), math.Max(ymax, h)
	}
	return xmin, xmax, 0, ymax
}
