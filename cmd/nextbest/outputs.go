package main

import (
	"os"
	"path/filepath"

	"nextbest"
)

// checkOutputs refuses a page or a plot ("" for neither) that would overwrite one
// of the files that a command reads, or each other.
func checkOutputs(p *nextbest.Problems, html, plot string, inputs ...string) {
	for _, out := range []struct{ flag, path string }{{"--html", html}, {"--plot", plot}} {
		for _, in := range inputs {
			if sameFile(out.path, in) {
				p.Add(out.flag, "%s is the file that is read: writing to it would destroy it; give another name", out.path)
			}
		}
	}
	if sameFile(html, plot) {
		p.Add("--plot", "%s is where --html writes too: give each a file of its own", plot)
	}
}

// sameFile reports whether two paths name one file, which need not be there yet.
func sameFile(a, b string) bool {
	if a == "" || b == "" {
		return false
	}
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	if err1 == nil && err2 == nil {
		return os.SameFile(x, y)
	}
	return (err1 == nil) == (err2 == nil) && placeOf(a) == placeOf(b)
}

// placeOf is a path without links in its folder.
func placeOf(path string) string {
	full, err := filepath.Abs(path)
	if err != nil {
		return filepath.Clean(path)
	}
	if folder, err := filepath.EvalSymlinks(filepath.Dir(full)); err == nil {
		return filepath.Join(folder, filepath.Base(full))
	}
	return full
}
