package demo

import (
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// mailing is one customer of the MineThatData e-mail test (Kevin Hillstrom,
// 2008): who they were, what they were randomly sent, what they did.
type mailing struct {
	context    map[string]any
	action     string
	visit      bool
	conversion bool
	spend      float64
}

// sent maps the published segments to actions.
var sent = map[string]string{"Mens E-Mail": "mens-email", "Womens E-Mail": "womens-email", "No E-Mail": "do-nothing"}

var hillstromColumns = []string{"recency", "history_segment", "history", "mens", "womens", "zip_code", "newbie", "channel", "segment", "visit", "conversion", "spend"}

// readHillstrom reads the data set as published, plain or compressed.
func readHillstrom(path string) ([]mailing, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var in io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if in, err = gzip.NewReader(f); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	r := csv.NewReader(in)
	head, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	at := map[string]int{}
	for i, name := range head {
		at[strings.TrimPrefix(name, "\ufeff")] = i
	}
	for _, name := range hillstromColumns {
		if _, ok := at[name]; !ok {
			return nil, fmt.Errorf("%s has no column %s; the published file has %s", path, name, strings.Join(hillstromColumns, ", "))
		}
	}
	var out []mailing
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		m, err := parseMailing(func(name string) string { return row[at[name]] })
		if err != nil {
			return nil, fmt.Errorf("%s, row %d: %w", path, len(out)+1, err)
		}
		out = append(out, m)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s has no rows", path)
	}
	return out, nil
}

func parseMailing(column func(name string) string) (m mailing, err error) {
	number := func(name string) float64 {
		v, e := strconv.ParseFloat(column(name), 64)
		if e != nil {
			err = errors.Join(err, fmt.Errorf("%s is %q, not a number", name, column(name)))
		}
		return v
	}
	m.action = sent[column("segment")]
	if m.action == "" {
		return m, fmt.Errorf("segment is %q, not Mens E-Mail, Womens E-Mail or No E-Mail", column("segment"))
	}
	m.context = map[string]any{
		"recency": number("recency"), "history": number("history"), "mens": number("mens") == 1, "womens": number("womens") == 1,
		"newbie": number("newbie") == 1, "zip_code": column("zip_code"), "channel": column("channel"),
	}
	m.visit, m.conversion, m.spend = number("visit") == 1, number("conversion") == 1, number("spend")
	return m, err
}

// hillstromFeatures is the schema, with moments of the data set itself.
func hillstromFeatures(rows []mailing) map[string]any {
	moments := func(name string) (mean, sd float64) {
		values := make([]float64, len(rows))
		for i, m := range rows {
			values[i] = m.context[name].(float64)
		}
		return stat(values)
	}
	levels := func(name string) []string {
		seen := map[string]bool{}
		var out []string
		for _, m := range rows {
			if v := m.context[name].(string); !seen[v] {
				seen[v] = true
				out = append(out, v)
			}
		}
		slices.Sort(out)
		return out
	}
	recency, recencySD := moments("recency")
	history, historySD := moments("history")
	return map[string]any{"features": []map[string]any{
		{"name": "recency", "type": "numeric", "mean": recency, "sd": recencySD, "missing": "refuse"},
		{"name": "history", "type": "numeric", "mean": history, "sd": historySD, "clip": 4, "missing": "refuse"},
		{"name": "mens", "type": "boolean", "missing": "refuse"},
		{"name": "womens", "type": "boolean", "missing": "refuse"},
		{"name": "newbie", "type": "boolean", "missing": "refuse"},
		{"name": "zip_code", "type": "categorical", "levels": levels("zip_code")},
		{"name": "channel", "type": "categorical", "levels": levels("channel")},
	}}
}
