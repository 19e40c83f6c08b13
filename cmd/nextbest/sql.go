package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"nextbest/internal/api"
)

type sqlCmd struct {
	remote
	Query string `arg:"" help:"One SELECT, or DESCRIBE of a view; docs/schema.md has the views."`
	JSON  bool   `help:"Print columns and rows as JSON on standard output." xor:"format"`
	CSV   bool   `name:"csv" help:"Print CSV with a header." xor:"format"`
}

// Run asks and prints a table, CSV or JSON.
func (c *sqlCmd) Run(ctx context.Context, t *terminal) error {
	server, done, err := c.connect(ctx, t)
	if err != nil {
		return err
	}
	defer done()
	var out struct {
		Columns []api.SQLColumn     `json:"columns"`
		Rows    [][]json.RawMessage `json:"rows"`
	}
	if _, err := server.Call(ctx, "POST", "/v1/sql", map[string]string{"query": c.Query}, &out); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(t.out, out)
	}
	rows := make([][]string, 1, 1+len(out.Rows))
	for _, k := range out.Columns {
		rows[0] = append(rows[0], k.Name)
	}
	for _, r := range out.Rows {
		texts := make([]string, len(r))
		for i, v := range r {
			texts[i] = cell(v)
		}
		rows = append(rows, texts)
	}
	if c.CSV {
		w := csv.NewWriter(t.out)
		return w.WriteAll(rows)
	}
	_, err = fmt.Fprint(t.out, aligned(rows))
	return err
}

// cell writes a JSON value for people: strings without quotes, null as nothing.
func cell(v json.RawMessage) string {
	var s string
	switch {
	case string(v) == "null":
		return ""
	case json.Unmarshal(v, &s) == nil:
		return s
	}
	return string(v)
}

// aligned writes rows in columns two spaces apart. Line breaks and tabs within
// a value become spaces.
func aligned(rows [][]string) string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i := range row {
			row[i] = strings.Map(func(r rune) rune {
				if r < ' ' || r == 0x7f {
					return ' '
				}
				return r
			}, row[i])
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		for i, v := range row {
			b.WriteString(v)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(v)+2))
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}
