package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const smallLog = "reward,action,propensity,evaluation_probability\n1,a,0.5,1\n0,b,0.5,0\n0,a,0.5,1\n1,b,0.5,0\n"

// command runs a command line and returns its exit code and what it wrote.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var files [2]*os.File
	for i := range files {
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files[i] = f
	}
	code = run(t.Context(), args, files[0], files[1])
	var text [2]string
	for i, f := range files {
		b, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		text[i] = string(b)
	}
	return code, text[0], text[1]
}

// A page and a plot never overwrite what is read, whatever it is called, nor each
// other.
func TestOutputsSpareInputs(t *testing.T) {
	dir := t.TempDir()
	log, link, page := filepath.Join(dir, "log.csv"), filepath.Join(dir, "link"), filepath.Join(dir, "page.html")
	if err := os.WriteFile(log, []byte(smallLog), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(log, link); err != nil {
		t.Fatal(err)
	}
	spec := filepath.Join(dir, "spec.json")
	if err := os.WriteFile(spec, []byte(smallLog), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"--file", log, "--html", log}, {"--file", log, "--plot", log}, {"--file", log, "--html", link},
		{"--file", link, "--plot", filepath.Join(dir, ".", "log.csv")}, {"--file", log, "--html", page, "--plot", dir + "/./page.html"},
		{"--placement", "shop", "--spec", "a=" + spec, "--html", spec},
	} {
		code, _, stderr := command(t, append([]string{"evaluate"}, args...)...)
		if code != 1 || !strings.Contains(stderr, "is the file that is read") && !strings.Contains(stderr, "is where --html writes too") {
			t.Errorf("%q: %d, %s", args, code, stderr)
		}
	}
	code, _, stderr := command(t, "search", "--placement", "shop", "--spec", spec, "--grid", "alpha=1", "--plot", spec)
	if code != 1 || !strings.Contains(stderr, "is the file that is read") {
		t.Errorf("search: %d, %s", code, stderr)
	}
	for _, path := range []string{log, spec} {
		if b, err := os.ReadFile(path); err != nil || string(b) != smallLog {
			t.Errorf("%s was overwritten: %v", path, err)
		}
	}
	if _, err := os.Stat(page); err == nil {
		t.Error("a page was written though its plot has the same name")
	}
	plot := filepath.Join(dir, "plot.svg")
	if code, _, stderr := command(t, "evaluate", "--file", log, "--html", page, "--plot", plot); code != 0 {
		t.Errorf("two names: %d, %s", code, stderr)
	}
}

// What is for placements is refused of a file, each flag by its name and on a line
// of its own.
func TestFileRefusesPlacementFlags(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log.csv")
	if err := os.WriteFile(log, []byte(smallLog), 0o600); err != nil {
		t.Fatal(err)
	}
	given := [][]string{{"--source", "live"}, {"--from", "2026-01-01T00:00:00Z"}, {"--to", "2026-01-01T00:00:00Z"}, {"--split", "s:0:1"},
		{"--objective", "orders@1"}, {"--reward", "visit"}, {"--reward-model", "ridge"}, {"--cross-fit", "time"}, {"--train-from", "2026-01-01T00:00:00Z"},
		{"--train-to", "2026-01-01T00:00:00Z"}, {"--train-split", "s:0:1"}, {"--cluster-by", "group"}, {"--baseline", "fixed:a"}, {"--segment", "day"},
		{"--tree"}, {"--bootstrap", "200"}}
	all := []string{"evaluate", "--file", log}
	for _, args := range given {
		code, _, stderr := command(t, append([]string{"evaluate", "--file", log}, args...)...)
		if code != 1 || !strings.Contains(stderr, args[0]+": it means nothing with --file") {
			t.Errorf("%q: %d, %s", args, code, stderr)
		}
		all = append(all, args...)
	}
	_, _, stderr := command(t, all...)
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	if len(lines) != 1+len(given) {
		t.Fatalf("%d lines of %d problems:\n%s", len(lines), len(given), stderr)
	}
	for i, args := range given {
		if !strings.HasPrefix(lines[1+i], "  "+args[0]+": ") {
			t.Errorf("line %d is %q, want %s", 1+i, lines[1+i], args[0])
		}
	}
}
