package main

import (
	"fmt"
	"os"

	"nextbest/offline/coverage"
)

// benchCoverageCmd needs no platform: it simulates logs with a known truth.
type benchCoverageCmd struct {
	Replications int    `help:"Simulated logs of each setting." default:"1000"`
	Seed         uint64 `help:"Seed of the simulation." default:"1"`
	Out          string `help:"Write the page to this file, such as docs/coverage.md, rather than to standard output." type:"path"`
}

// Run writes the page, and fails where an interval covers too little without a
// report saying so.
func (c *benchCoverageCmd) Run(t *terminal) error {
	if c.Replications < 100 {
		return fmt.Errorf("--replications %d: at least 100 are needed to tell .92 from .95", c.Replications)
	}
	results := coverage.Study(coverage.Settings(), c.Replications, c.Seed, func(done, of int) {
		t.progress("%d of %d settings", done, of)
	})
	t.done()
	out := t.out
	if c.Out != "" {
		file, err := os.Create(c.Out)
		if err != nil {
			return err
		}
		defer file.Close()
		out = file
	}
	if err := coverage.Write(out, results, c.Replications, c.Seed); err != nil {
		return err
	}
	if failures := coverage.Failures(results, c.Replications); len(failures) > 0 {
		return fmt.Errorf("%d intervals cover too little: see the end of the page", len(failures))
	}
	return nil
}
