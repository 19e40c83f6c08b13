package pages

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"

	"nextbest/estimators"
)

// Page is a report ready to be written.
type Page struct {
	Title   string
	Verdict string
	// Verdicts, instead of Verdict: a line each.
	Verdicts []string
	State    string // good, bad, open or refused: how the verdict is coloured
	Facts    []Fact
	Charts   []Chart // the forest plot first
	Tables   []Table
	Refused  []Reason
	Missing  []Reason
	Notes    []string
	Methods  []Method
	Numbers  []Number // every one of the JSON
}

// Fact is one line of the summary.
type Fact struct{ Name, Value string }

// Table is a table of text; the first column names the row.
type Table struct {
	Title string
	Note  string
	Head  []string
	Rows  [][]string
}

// Reason is a refusal, and of what.
type Reason struct {
	Of string
	estimators.Refusal
}

// Method names a formula and where it is from.
type Method struct{ Name, Formula, Source, Note string }

// Number is one value of the report's JSON.
type Number struct{ Path, Value string }

//go:embed page.html
var pageHTML string

var page = template.Must(template.New("page").Parse(pageHTML))

// WriteHTML writes the page.
func (p *Page) WriteHTML(w io.Writer) error {
	var b bytes.Buffer
	if err := page.Execute(&b, p); err != nil {
		return err
	}
	_, err := b.WriteTo(w)
	return err
}

// WritePlot writes the forest plot as an SVG file of its own.
func (p *Page) WritePlot(w io.Writer) error {
	if len(p.Charts) == 0 {
		return fmt.Errorf("there is no interval to plot")
	}
	_, err := io.WriteString(w, p.Charts[0].alone())
	return err
}

// numbersOf lists the leaves of a report's JSON.
func numbersOf(report any) ([]Number, error) {
	raw, err := json.Marshal(report)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	var out []Number
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			var keys []string
			for k := range v {
				keys = append(keys, k)
			}
			slices.Sort(keys)
			for _, k := range keys {
				walk(strings.TrimPrefix(path+"."+k, "."), v[k])
			}
		case []any:
			for i, x := range v {
				walk(path+"["+strconv.Itoa(i)+"]", x)
			}
		case nil:
			out = append(out, Number{path, "none"})
		default:
			out = append(out, Number{path, fmt.Sprint(v)})
		}
	}
	walk("", v)
	return out, nil
}

// short writes a number for reading: four significant digits.
func short(v float64) string {
	s := strconv.FormatFloat(v, 'g', 4, 64)
	if !strings.Contains(s, "e") {
		return s
	}
	if f := strconv.FormatFloat(v, 'f', -1, 64); len(f) < 9 {
		return f
	}
	return s
}

func interval(low, high float64) string { return "[" + short(low) + ", " + short(high) + "]" }

func percent(v float64) string { return strconv.FormatFloat(100*v, 'f', 1, 64) + "%" }
