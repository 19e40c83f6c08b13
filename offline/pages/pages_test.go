package pages

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"html"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"nextbest"
	"nextbest/estimators"
	"nextbest/offline"
)

// wellFormed reads a page as XML would be read, with HTML's void elements, and
// counts its elements.
func wellFormed(t *testing.T, s string) map[string]int {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(s))
	d.Strict, d.AutoClose, d.Entity = true, []string{"meta", "br"}, xml.HTMLEntity
	s = strings.TrimPrefix(s, "<!doctype html>")
	d = xml.NewDecoder(strings.NewReader(strings.NewReplacer(`charset="utf-8">`, `charset="utf-8"/>`, `initial-scale=1">`, `initial-scale=1"/>`, `content="light dark">`, `content="light dark"/>`).Replace(s)))
	d.Entity = xml.HTMLEntity
	count := map[string]int{}
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return count
		}
		if err != nil {
			t.Fatalf("not well formed: %v", err)
		}
		if e, ok := tok.(xml.StartElement); ok {
			count[e.Name.Local]++
			for _, a := range e.Attr {
				if (a.Name.Local == "src" || a.Name.Local == "href") && !strings.HasPrefix(a.Value, "#") {
					t.Errorf("an outside resource: %s", a.Value)
				}
			}
		}
	}
}

var outside = regexp.MustCompile(`@import|url\(|<script|<link|<iframe|<img|https?://`)

// checkPage looks at what every page must be.
func checkPage(t *testing.T, p *Page, report any) {
	t.Helper()
	var b bytes.Buffer
	if err := p.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	s := b.String()
	count := wellFormed(t, s)
	if count["svg"] < 2 || count["svg"] != count["title"]-1 || count["svg"] != count["desc"] {
		t.Errorf("%d charts, %d titles (one is the page's), %d descriptions", count["svg"], count["title"], count["desc"])
	}
	for _, m := range outside.FindAllString(strings.ReplaceAll(s, `xmlns="http://www.w3.org/2000/svg"`, ""), -1) {
		t.Errorf("the page does not stand alone: %s", m)
	}
	if strings.Contains(s, "NaN") || strings.Contains(s, "ZgotmplZ") || strings.Contains(s, "#010101") {
		t.Error("a number that is none, or a text that was refused")
	}
	raw, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	cells := map[string]bool{}
	for _, m := range regexp.MustCompile(`<td>([^<]*)</td>`).FindAllStringSubmatch(s, -1) {
		cells[html.UnescapeString(m[1])] = true
	}
	n := 0
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if v, ok := tok.(json.Number); ok {
			n++
			if !cells[v.String()] {
				t.Errorf("the page lacks %s", v)
			}
		}
	}
	if n < 30 {
		t.Errorf("only %d numbers in the report", n)
	}
	var plot bytes.Buffer
	if err := p.WritePlot(&plot); err != nil {
		t.Fatal(err)
	}
	if c := wellFormed(t, strings.TrimPrefix(plot.String(), `<?xml version="1.0" encoding="UTF-8"?>`)); c["svg"] != 1 || c["title"] != 1 || c["desc"] != 1 {
		t.Errorf("plot: %v", c)
	}
}

// writeLog writes a log whose actions have names that are no HTML.
func writeLog(t *testing.T, n int) string {
	t.Helper()
	r := rand.New(rand.NewPCG(9, 9))
	var b strings.Builder
	b.WriteString("reward,action,propensity,position,evaluation_probabilities,predicted_rewards\n")
	for i := range n {
		a := r.IntN(2)
		y := 0
		if r.Float64() < []float64{0.2, 0.4}[a] {
			y = 1
		}
		b.WriteString(strings.Join([]string{strconv.Itoa(y), []string{"<b>a</b>", "b & c"}[a], "0.5", strconv.Itoa(i % 3), `"[0.2,0.8]"`, `"[0.2,0.4]"`}, ",") + "\n")
	}
	path := filepath.Join(t.TempDir(), "log.csv")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFilePage(t *testing.T) {
	for _, n := range []int{2000, 40} { // an answer, and a refusal
		r, err := offline.EvaluateFile(context.Background(), writeLog(t, n), offline.FileOptions{Floor: 0.5, Actions: []string{"<b>a</b>", "b & c"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		p, err := OfFile(r)
		if err != nil {
			t.Fatal(err)
		}
		checkPage(t, p, r)
		for _, table := range p.Tables {
			for _, row := range table.Rows {
				if table.Title == "Estimates" && strings.HasPrefix(row[0], "clipped_ips") && !strings.Contains(row[len(row)-1], "knows nothing of the bias") {
					t.Errorf("%q says nothing of its bias", row)
				}
			}
		}
		if refused := p.State == "refused"; refused != (n == 40) || refused && len(p.Refused) == 0 {
			t.Errorf("%d rows: %s, %v", n, p.State, p.Refused)
		}
	}
}

// A page shows what an adaptive log of revenue was asked for.
func TestRunPageOfAdaptiveRevenue(t *testing.T) {
	sim := &offline.Simulation{Types: 3, Actions: 4, Customers: 3000, Each: 2, Rate: 0.1, Epsilon: 0.5, Revenue: true, Seed: 3}
	q := nextbest.Query{Placement: "shop", MatureAt: sim.End().AddDate(1, 0, 0), Objective: nextbest.Objective{Terms: []nextbest.Term{{Reward: "revenue", Weight: 1}}}}
	for _, adaptive := range []bool{false, true} {
		r, err := offline.Run(context.Background(), sim, offline.Request{Query: q, Candidates: []offline.Candidate{uniform{}}, Seed: 1, Adaptive: adaptive, Distribution: true}, nil)
		if err != nil {
			t.Fatal(err)
		}
		p, err := OfRun(r)
		if err != nil {
			t.Fatal(err)
		}
		checkPage(t, p, r)
		found := 0
		for _, table := range p.Tables {
			switch {
			case table.Title == "Estimates" && strings.HasPrefix(table.Head[4], map[bool]string{false: "DR,", true: "AIPW,"}[adaptive]):
				found++
			case table.Title == "Distribution of a decision's reward" && strings.Contains(table.Rows[0][2], map[bool]string{false: "[", true: "fixed loggers"}[adaptive]):
				found++
			}
		}
		if found != 2 {
			t.Errorf("adaptive %v: tables %+v", adaptive, p.Tables)
		}
		var table bytes.Buffer
		if err := r.WriteTable(&table); err != nil || !strings.Contains(table.String(), "mean of the best 5%") || adaptive != strings.Contains(table.String(), "AIPW [95%]") {
			t.Errorf("adaptive %v: %v\n%s", adaptive, err, table.String())
		}
	}
}

// uniform is a candidate that does everything alike.
type uniform struct{}

func (uniform) Name() string { return "uniform@1" }

func (uniform) Distribution(p []float64, _ *nextbest.Batch, _ int) error {
	for i := range p {
		p[i] = 1 / float64(len(p))
	}
	return nil
}

func TestRunPage(t *testing.T) {
	choice, err := estimators.ParseChoice("dros:lambda=10")
	if err != nil {
		t.Fatal(err)
	}
	sim := &offline.Simulation{Types: 3, Actions: 4, Features: 2, Customers: 10000, Each: 3, Rate: 0.1, Epsilon: 0.3, Seed: 3}
	q := nextbest.Query{Placement: "shop", MatureAt: sim.End().AddDate(1, 0, 0), Objective: nextbest.Objective{Terms: []nextbest.Term{{Reward: "conversion", Weight: 1}}}}
	r, err := offline.Run(context.Background(), sim, offline.Request{Query: q, Candidates: []offline.Candidate{uniform{}, sim.Best()}, Seed: 1,
		Estimators: []estimators.Choice{choice}, Segments: []string{"day"}, Tree: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := OfRun(r)
	if err != nil {
		t.Fatal(err)
	}
	checkPage(t, p, r)
	tables := map[string]Table{}
	for _, table := range p.Tables {
		tables[table.Title] = table
	}
	if others := tables["Other estimators"]; len(others.Rows) != 2 || others.Rows[0][1] != "dros:lambda=10" || !strings.Contains(others.Rows[0][5], "bias") {
		t.Errorf("table %+v", others)
	}
	for title, rows := range map[string]int{"Candidates compared": 1, "Segments": 6, "Actions against doing nothing": 3, "For whom which action is best": 2} {
		if got := tables[title]; len(got.Rows) < rows || strings.Contains(strings.Join(got.Rows[0], " "), "refused") {
			t.Errorf("%s: %+v", title, got)
		}
	}
	titles := ""
	for _, c := range p.Charts {
		titles += c.Title + "; "
	}
	for _, want := range []string{"Values", "Lift", "Cumulative value over time", "Weights of uniform@1", "Overlap by action: uniform@1", "Propensity calibration",
		"Candidates compared", "Lift over what ran by segment", "Lift of each action over doing nothing"} {
		if !strings.Contains(titles, want) {
			t.Errorf("charts %s lack %s", titles, want)
		}
	}
}
