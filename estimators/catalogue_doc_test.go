package estimators

import (
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
)

// documented is the catalogue as the rows of a table.
func documented() string {
	number := func(v float64) string {
		switch {
		case math.IsInf(v, 1) || v == math.MaxFloat64:
			return "∞"
		case v == -math.MaxFloat64:
			return "−∞"
		}
		return fmt.Sprint(v)
	}
	var b strings.Builder
	for _, d := range catalogue {
		parameter, fallback, among, slope := "", "", "", ""
		if p := d.Parameter; p != nil {
			parameter = fmt.Sprintf("`%s`: %s", p.Name, p.Meaning)
			fallback, among = number(p.Default), fmt.Sprintf("%s to %s", number(p.Min), number(p.Max))
			if math.IsNaN(p.Default) {
				fallback = "estimated"
			}
			if p.PerReward {
				fallback += " / the largest reward"
			}
			if p.Grid != nil {
				slope = "yes"
			}
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s | %s | %s |\n", d.Name, strings.ReplaceAll(d.Formula, "|", "\\|"), d.Note, parameter, fallback, among, slope, d.Source)
	}
	return b.String()
}

// TestDocumentedCatalogue keeps docs/estimators.md equal to the catalogue.
func TestDocumentedCatalogue(t *testing.T) {
	const path = "../docs/estimators.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const ruler = "|---|---|---|---|---|---|---|---|\n"
	_, rows, found := strings.Cut(string(text), ruler)
	if !found {
		t.Fatalf("%s has no table of eight columns", path)
	}
	rows, _, _ = strings.Cut(rows, "\n\n")
	if want := documented(); strings.TrimRight(rows, "\n") != strings.TrimRight(want, "\n") {
		t.Errorf("%s is not the catalogue. Its rows must be\n%s", path, want)
	}
}
